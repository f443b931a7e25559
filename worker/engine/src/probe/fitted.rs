//! A fitted probe: its tensors, what it predicts, and the named list it is saved to and loaded from.

use std::collections::BTreeMap;

use super::error::ProbeError;
use super::matrix::Matrix;
use super::product::{Strided, product};
use super::softmax::softmax;
use super::standardizer::Standardizer;

/// Which probe a [`Fitted`] is, as stored beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Multinomial logistic regression.
    Logistic,
    /// The two-layer ReLU network.
    Mlp,
    /// Class frequencies of the training rows.
    Majority,
}

/// One named tensor of a stored probe, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Name, unique within the probe.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

impl NamedTensor {
    pub(crate) fn new(name: &str, shape: &[usize], data: Vec<f32>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data }
    }
}

/// Weights and bias of an affine map, `x W^T + b`, laid out as torch's `Linear`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[out, in]`, row-major.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

impl Linear {
    fn inputs(&self) -> usize {
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

/// A fitted probe: an optional standardiser, then affine maps with ReLU between them, then softmax.
///
/// No layers (only a bias) is the majority probe, one is logistic regression, two are the MLP.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Which probe this is.
    pub kind: ProbeKind,
    /// Number of features a row must have, `d`.
    pub columns: usize,
    /// Number of classes, `K`.
    pub classes: usize,
    /// Applied to the features first, where present.
    pub standardizer: Option<Standardizer>,
    /// The affine maps in order; the last has `K` outputs. The majority probe's has zero weights.
    pub layers: Vec<Linear>,
}

/// Rows predicted at a time, which bounds the scratch memory.
const CHUNK: usize = 512;

impl Fitted {
    /// Probabilities `[n, K]`, row-major, of features `[n, d]`.
    pub fn predict_proba(&self, x: &Matrix<'_>) -> Result<Vec<f32>, ProbeError> {
        x.check("prediction")?;
        if x.columns() != self.columns {
            let what = "columns of the features";
            return Err(ProbeError::Shape { what, expected: self.columns, found: x.columns() });
        }
        let mut out = Vec::with_capacity(x.rows() * self.classes);
        for first in (0..x.rows()).step_by(CHUNK) {
            let n = CHUNK.min(x.rows() - first);
            let raw = &x.data()[first * self.columns..(first + n) * self.columns];
            let standard = self.standardizer.as_ref().map(|s| {
                let mut rows = vec![0f32; raw.len()];
                s.apply_rows(x, first, &mut rows);
                rows
            });
            out.extend(self.probabilities(standard.as_deref().unwrap_or(raw), n));
        }
        Ok(out)
    }

    /// Probabilities `[n, K]` of rows that are standardised already.
    pub(crate) fn probabilities(&self, rows: &[f32], n: usize) -> Vec<f32> {
        let mut input = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let mut output = vec![0f32; n * layer.bias.len()];
            layer.apply(if i == 0 { rows } else { &input }, n, &mut output);
            if i + 1 < self.layers.len() {
                output.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            input = output;
        }
        softmax_rows(&mut input, n, self.classes);
        input
    }

    /// The probe as named tensors: `mean` and `scale` `[d]` where standardised, then `0.weight`, `0.bias`, `1.weight`, ...
    pub fn to_tensors(&self) -> Vec<NamedTensor> {
        let mut out = Vec::new();
        if let Some(s) = &self.standardizer {
            out.push(NamedTensor::new("mean", &[self.columns], s.mean.clone()));
            out.push(NamedTensor::new("scale", &[self.columns], s.scale.clone()));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let shape = [layer.bias.len(), layer.inputs()];
            out.push(NamedTensor::new(&format!("{i}.weight"), &shape, layer.weight.clone()));
            out.push(NamedTensor::new(&format!("{i}.bias"), &shape[..1], layer.bias.clone()));
        }
        out
    }

    /// Rebuilds a probe of `kind` from [`Fitted::to_tensors`]; every shape is checked.
    pub fn from_tensors(kind: ProbeKind, tensors: &[NamedTensor]) -> Result<Self, ProbeError> {
        let named: BTreeMap<&str, &NamedTensor> = tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        let wrong = |name: &str, reason: String| ProbeError::Tensor { name: name.into(), reason };
        let take = |name: &str, rank: usize| {
            let tensor = *named.get(name).ok_or_else(|| wrong(name, "is missing".into()))?;
            if tensor.shape.len() != rank || tensor.shape.iter().product::<usize>() != tensor.data.len() {
                let reason = format!("shape {:?} for {} elements", tensor.shape, tensor.data.len());
                return Err(wrong(name, reason));
            }
            Ok(tensor)
        };
        let depth = if kind == ProbeKind::Mlp { 2 } else { 1 };
        let mut layers: Vec<Linear> = Vec::new();
        for i in 0..depth {
            let (weight_name, bias_name) = (format!("{i}.weight"), format!("{i}.bias"));
            let (weight, bias) = (take(&weight_name, 2)?, take(&bias_name, 1)?);
            let inputs = layers.last().map_or(weight.shape[1], |l| l.bias.len());
            if weight.shape != [bias.data.len(), inputs] || weight.data.is_empty() {
                return Err(wrong(&weight_name, format!("shape {:?} does not fit", weight.shape)));
            }
            layers.push(Linear { weight: weight.data.clone(), bias: bias.data.clone() });
        }
        let (columns, classes) = (layers[0].inputs(), layers[depth - 1].bias.len());
        let standardizer = if named.contains_key("mean") {
            let (mean, scale) = (take("mean", 1)?, take("scale", 1)?);
            for tensor in [mean, scale] {
                if tensor.data.len() != columns {
                    return Err(wrong(&tensor.name, format!("{} columns for {columns}", tensor.data.len())));
                }
            }
            Some(Standardizer { mean: mean.data.clone(), scale: scale.data.clone() })
        } else {
            None
        };
        Ok(Self { kind, columns, classes, standardizer, layers })
    }
}

/// Softmax of each row of a row-major `[n, classes]`, in place.
pub(crate) fn softmax_rows(logits: &mut [f32], n: usize, classes: usize) {
    let mut by_class = vec![0f32; logits.len()];
    super::product::transpose(logits, n, classes, &mut by_class);
    softmax(&mut by_class, n);
    super::product::transpose(&by_class, classes, n, logits);
}
