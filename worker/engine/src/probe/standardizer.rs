//! Per-column standardisation, fitted on the training rows only.

use super::error::ProbeError;
use super::matrix::Matrix;

/// Column means and scales: `z = (x - mean) / scale`.
///
/// The scale is the population standard deviation (divisor `n`), and 1 where a column is constant, as
/// [scikit-learn's `StandardScaler`](https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html)
/// has it. Sums are taken in `f64`; the result is kept as `f32`, the precision of the hidden states it is applied to.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardizer {
    /// Mean of each column, `[d]`.
    pub mean: Vec<f32>,
    /// Divisor of each column, `[d]`, never zero.
    pub scale: Vec<f32>,
}

impl Standardizer {
    /// Fits on the rows of `train`, `[n, d]`, which must be finite.
    pub fn fit(train: &Matrix<'_>) -> Result<Self, ProbeError> {
        train.check("train")?;
        let (n, d) = (train.rows() as f64, train.columns());
        let mut mean = vec![0f64; d];
        for row in 0..train.rows() {
            for (m, &v) in mean.iter_mut().zip(train.row(row)) {
                *m += f64::from(v);
            }
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut variance = vec![0f64; d];
        for row in 0..train.rows() {
            for ((s, &v), m) in variance.iter_mut().zip(train.row(row)).zip(&mean) {
                *s += (f64::from(v) - m).powi(2);
            }
        }
        Ok(Self::of(n, &mean, &variance))
    }

    /// That of `n` rows with these column means and sums of squares around them.
    pub(crate) fn of(n: f64, mean: &[f64], squares: &[f64]) -> Self {
        let scale = squares.iter().zip(mean).map(|(v, m)| {
            let v = v / n;
            // scikit-learn's bound below which a variance is rounding error of a constant column.
            let bound = n * f64::EPSILON * v + (n * m * f64::EPSILON).powi(2);
            let scale = v.sqrt() as f32;
            if v <= bound || scale == 0.0 || !scale.is_finite() { 1.0 } else { scale }
        });
        Self { scale: scale.collect(), mean: mean.iter().map(|&m| m as f32).collect() }
    }

    /// Centres on the training means, with scale 1: what an unpenalised intercept absorbs without changing the optimum.
    pub(crate) fn centring(train: &Matrix<'_>) -> Result<Self, ProbeError> {
        let mut fitted = Self::fit(train)?;
        fitted.scale.fill(1.0);
        Ok(fitted)
    }

    /// Number of columns, `d`.
    pub fn columns(&self) -> usize {
        self.mean.len()
    }

    /// Standardises `x`, `[n, d]`, into a new row-major `[n, d]`.
    pub fn apply(&self, x: &Matrix<'_>) -> Result<Vec<f32>, ProbeError> {
        if x.columns() != self.columns() {
            return Err(ProbeError::Shape { what: "columns of the features", expected: self.columns(), found: x.columns() });
        }
        let mut out = vec![0f32; x.data().len()];
        self.apply_rows(x, 0, &mut out);
        Ok(out)
    }

    /// Standardises the rows of `x` from `first` on that fit into `out`, `[rows, d]`.
    pub(crate) fn apply_rows(&self, x: &Matrix<'_>, first: usize, out: &mut [f32]) {
        for (i, z) in out.chunks_exact_mut(self.columns()).enumerate() {
            for (((z, &v), &m), &s) in z.iter_mut().zip(x.row(first + i)).zip(&self.mean).zip(&self.scale) {
                *z = (v - m) / s;
            }
        }
    }
}
