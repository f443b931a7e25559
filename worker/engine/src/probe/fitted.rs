//! A fitted probe: its tensors and what it predicts.

mod tensors;

use super::csr::Csr;
use super::error::ProbeError;
use super::head::Head;
use super::matrix::Matrix;
use super::product::{Strided, product, transpose};
use super::standardizer::Standardizer;

pub use tensors::{NamedTensor, ProbeKind};

/// Weights and bias of an affine map, `x W^T + b`, laid out as torch's `Linear`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Linear {
    /// `[out, in]`, row-major.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

impl Linear {
    pub(crate) fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }

    /// `out = x W^T + b` for row-major `x`, `[n, in]`, `out` `[n, out]`.
    pub(crate) fn apply(&self, x: &[f32], n: usize, out: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.bias.len());
        out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(&self.bias));
        let weight = Strided::rows(&self.weight, outputs, inputs).transposed();
        product(out, (outputs, 1), 1.0, 1.0, Strided::rows(x, n, inputs), weight);
    }
}

/// A fitted probe: an optional standardiser, affine maps with ReLU between them, and what makes predictions of their scores.
///
/// One map is a linear probe (of the majority and other constant ones its weights are zero), two are a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Which probe this is.
    pub kind: ProbeKind,
    /// Number of features a row must have, `d`.
    pub columns: usize,
    /// Number of classes or scales, `K`.
    pub outputs: usize,
    /// Applied to the features first, where present.
    pub standardizer: Option<Standardizer>,
    /// Appended to every row after that: what an offset-aware probe has learned of the offset that it reads at.
    pub embedding: Option<Vec<f32>>,
    /// The affine maps in order; the last has `K` outputs.
    pub layers: Vec<Linear>,
    /// How scores become predictions.
    pub head: Head,
}

/// Rows predicted at a time, which bounds the scratch memory.
const CHUNK: usize = 512;

impl Fitted {
    /// A linear probe on features as they are.
    pub(crate) fn linear(kind: ProbeKind, layer: Linear, head: Head) -> Self {
        let (columns, outputs) = (layer.inputs(), layer.bias.len());
        Self { kind, columns, outputs, standardizer: None, embedding: None, layers: vec![layer], head }
    }

    /// Predictions `[n, K]`, row-major, of features `[n, d]`: probabilities, expected intensities or places on scales.
    ///
    /// # Errors
    /// The features have another width, or are not finite.
    pub fn predict(&self, x: &Matrix<'_>) -> Result<Vec<f32>, ProbeError> {
        x.check("prediction")?;
        if x.columns() != self.columns {
            let what = "columns of the features";
            return Err(ProbeError::Shape { what, expected: self.columns, found: x.columns() });
        }
        let mut out = Vec::with_capacity(x.rows() * self.outputs);
        for first in (0..x.rows()).step_by(CHUNK) {
            let n = CHUNK.min(x.rows() - first);
            let raw = &x.data()[first * self.columns..(first + n) * self.columns];
            let standard = self.standardizer.as_ref().map(|s| {
                let mut rows = vec![0f32; raw.len()];
                s.apply_rows(x, first, &mut rows);
                rows
            });
            out.extend(self.predictions(standard.as_deref().unwrap_or(raw), n));
        }
        Ok(out)
    }

    /// Predictions `[n, K]` of rows that are standardised already.
    pub fn predictions(&self, rows: &[f32], n: usize) -> Vec<f32> {
        let mut scores = self.scores(rows, n);
        self.head.predict(&mut scores, n, self.outputs);
        scores
    }

    /// Scores `[n, K]` of rows that are standardised already.
    pub(crate) fn scores(&self, rows: &[f32], n: usize) -> Vec<f32> {
        let widened = self.embedding.as_ref().map(|embedding| {
            let mut wide = Vec::with_capacity(rows.len() + n * embedding.len());
            for row in rows.chunks_exact(self.columns) {
                wide.extend_from_slice(row);
                wide.extend_from_slice(embedding);
            }
            wide
        });
        let rows = widened.as_deref().unwrap_or(rows);
        let mut input = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let mut output = vec![0f32; n * layer.bias.len()];
            layer.apply(if i == 0 { rows } else { &input }, n, &mut output);
            if i + 1 < self.layers.len() {
                output.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            input = output;
        }
        input
    }

    /// Scores `[n, K]` of sparse rows under a linear probe without a standardiser.
    pub(crate) fn sparse_scores(&self, x: &Csr) -> Vec<f32> {
        let (k, d, layer) = (self.outputs, self.columns, &self.layers[0]);
        let mut by_column = vec![0f32; d * k];
        transpose(&layer.weight, k, d, &mut by_column);
        let mut out = vec![0f32; x.rows() * k];
        x.times(&by_column, k, &mut out);
        for row in out.chunks_exact_mut(k) {
            row.iter_mut().zip(&layer.bias).for_each(|(l, b)| *l += b);
        }
        out
    }

    /// Predictions `[n, K]` of sparse rows under a linear probe without a standardiser.
    pub(crate) fn sparse_predictions(&self, x: &Csr) -> Vec<f32> {
        let mut scores = self.sparse_scores(x);
        self.head.predict(&mut scores, x.rows(), self.outputs);
        scores
    }

    /// Makes a linear probe on features less `mean` one on the features themselves: the intercept takes the means back.
    pub(crate) fn uncentre(&mut self, mean: &[f32]) {
        let shifts: Vec<f64> = self.layers[0]
            .weight
            .chunks_exact(mean.len())
            .map(|w| w.iter().zip(mean).map(|(&w, &m)| f64::from(w) * f64::from(m)).sum())
            .collect();
        match &mut self.head {
            Head::Ordinal(levels) => levels.iter_mut().zip(&shifts).for_each(|(levels, shift)| {
                levels.thresholds.iter_mut().for_each(|t| *t = (f64::from(*t) + shift) as f32);
            }),
            _ => self.layers[0].bias.iter_mut().zip(&shifts).for_each(|(b, shift)| *b = (f64::from(*b) - shift) as f32),
        }
    }
}
