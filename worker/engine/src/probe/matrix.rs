//! Borrowed, checked views of what a probe reads: a row-major matrix of features, and a split of it with labels.

use super::error::ProbeError;
use super::labels::{Labels, Targets};

/// A borrowed row-major matrix of `f32`, `[rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// Views `data` as `[rows, columns]`; its length must be their product.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Result<Self, ProbeError> {
        let expected = rows.saturating_mul(columns);
        if data.len() != expected {
            return Err(ProbeError::Shape { what: "elements of a matrix", expected, found: data.len() });
        }
        Ok(Self { data, rows, columns })
    }

    /// Number of rows (samples), `n`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (features), `d`.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All elements, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Row `index`, `[columns]`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.columns..(index + 1) * self.columns]
    }

    /// Refuses an empty matrix and names the first NaN or infinite element.
    pub fn check(&self, split: &'static str) -> Result<(), ProbeError> {
        if self.rows == 0 || self.columns == 0 {
            return Err(ProbeError::EmptySplit { split });
        }
        // Whole chunks without an early exit, so that the test vectorises.
        let bad = |chunk: &[f32]| chunk.iter().fold(false, |bad, v| bad | !v.is_finite());
        if !self.data.chunks(4096).any(bad) {
            return Ok(());
        }
        let at = self.data.iter().position(|v| !v.is_finite()).unwrap_or(0);
        Err(ProbeError::NonFinite { split, row: at / self.columns, column: at % self.columns, value: self.data[at].to_string() })
    }
}

/// Rows with labels: features `[n, d]` and what each row is labelled with.
#[derive(Debug, Clone, Copy)]
pub struct Split<'a> {
    /// Features `[n, d]`.
    pub x: Matrix<'a>,
    /// Labels and weights of the rows.
    pub targets: Targets<'a>,
}

impl<'a> Split<'a> {
    /// A split whose rows all weigh 1.
    pub fn new(x: Matrix<'a>, labels: impl Into<Labels<'a>>) -> Self {
        Self { x, targets: Targets { labels: labels.into(), weights: None } }
    }

    /// The same split with a non-negative weight per row, `[n]`.
    #[must_use]
    pub fn weighing(self, weights: Option<&'a [f32]>) -> Self {
        Self { targets: Targets { weights, ..self.targets }, ..self }
    }

    /// Checks shapes, finiteness, labels and weights; `name` is used in errors ("train", "validation").
    pub(crate) fn check(&self, name: &'static str, outputs: usize) -> Result<(), ProbeError> {
        self.x.check(name)?;
        self.targets.check(name, self.x.rows(), outputs)
    }
}
