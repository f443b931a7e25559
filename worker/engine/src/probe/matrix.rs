//! Borrowed, checked views of what a probe reads: a row-major matrix of features, and a split of it with labels.

use super::error::ProbeError;

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

/// Rows with labels: features `[n, d]`, labels `[n]`, and optionally a non-negative weight per row `[n]`.
#[derive(Debug, Clone, Copy)]
pub struct Split<'a> {
    /// Features `[n, d]`.
    pub x: Matrix<'a>,
    /// Class of each row, `[n]`, each below the number of classes.
    pub y: &'a [u32],
    /// Weight of each row in the loss, `[n]`; all 1 when absent.
    pub weights: Option<&'a [f32]>,
}

impl<'a> Split<'a> {
    /// A split whose rows all weigh 1.
    pub fn new(x: Matrix<'a>, y: &'a [u32]) -> Self {
        Self { x, y, weights: None }
    }

    /// Checks shapes, finiteness, label range and weights; `name` is used in errors ("train", "validation").
    pub(crate) fn check(&self, name: &'static str, classes: usize) -> Result<(), ProbeError> {
        self.x.check(name)?;
        check_labels(name, self.y, self.x.rows(), classes)?;
        check_weights(name, self.weights, self.x.rows())
    }
}

/// Refuses labels of another count than `rows`, or not below `classes`, and fewer than two classes.
pub(crate) fn check_labels(split: &'static str, labels: &[u32], rows: usize, classes: usize) -> Result<(), ProbeError> {
    if classes < 2 {
        return Err(ProbeError::Setting { name: "classes", value: classes.to_string(), need: "a probe separates at least two classes" });
    }
    if labels.len() != rows {
        return Err(ProbeError::Shape { what: "labels", expected: rows, found: labels.len() });
    }
    match labels.iter().position(|&l| l as usize >= classes) {
        Some(row) => Err(ProbeError::LabelOutOfRange { split, row, label: labels[row], classes }),
        None => Ok(()),
    }
}

/// Refuses row weights of another count than `rows`, or negative or non-finite ones.
pub(crate) fn check_weights(split: &'static str, weights: Option<&[f32]>, rows: usize) -> Result<(), ProbeError> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(ProbeError::Shape { what: "row weights", expected: rows, found: weights.len() });
    }
    match weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        Some(row) => Err(ProbeError::NonFinite { split, row, column: 0, value: format!("weight {}", weights[row]) }),
        None => Ok(()),
    }
}

/// Weight of each class, `[classes]`, summed over the rows; refuses a class whose total is zero.
pub(crate) fn class_totals(labels: &[u32], weights: Option<&[f32]>, classes: usize) -> Result<Vec<f64>, ProbeError> {
    let mut totals = vec![0f64; classes];
    for (row, &label) in labels.iter().enumerate() {
        totals[label as usize] += weights.map_or(1.0, |w| f64::from(w[row]));
    }
    match totals.iter().position(|&t| t <= 0.0) {
        Some(class) => Err(ProbeError::AbsentClass { class, classes }),
        None => Ok(totals),
    }
}
