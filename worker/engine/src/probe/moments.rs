//! Weighted means and second moments of features and targets, in `f64`, a block of rows at a time.

mod gathered;

use super::labels::Targets;
use super::matrix::Matrix;
use super::product::{Strided, add_self_product, product};

pub use gathered::{MOMENT_TENSORS, MomentTensors, Moments, Standard};

/// Rows that are widened to `f64` at a time.
const BLOCK: usize = 512;

/// Weighted column means `[d]`.
pub(crate) fn means(x: &Matrix<'_>, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0f64; x.columns()];
    let mut total = 0f64;
    for row in 0..x.rows() {
        let w = weight(row);
        sums.iter_mut().zip(x.row(row)).for_each(|(s, &v)| *s += w * f64::from(v));
        total += w;
    }
    sums.iter_mut().for_each(|s| *s /= total);
    sums
}

/// Rows `from..to` of `x` less their centres, times the root of their weight, row-major `f64`.
fn widened<'m>(
    x: &Matrix<'_>,
    from: usize,
    to: usize,
    centre: &impl Fn(usize) -> &'m [f64],
    weight: &impl Fn(usize) -> f64,
    out: &mut Vec<f64>,
) {
    out.clear();
    for row in from..to {
        let root = weight(row).sqrt();
        out.extend(x.row(row).iter().zip(centre(row)).map(|(&v, c)| root * (f64::from(v) - c)));
    }
}

/// `sum_i w_i (x_i - c_i)(x_i - c_i)^T`, the lower triangle, column-major `[d, d]`.
pub(crate) fn second<'m>(x: &Matrix<'_>, centre: impl Fn(usize) -> &'m [f64], weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let d = x.columns();
    let mut out = vec![0f64; d * d];
    let mut rows = Vec::new();
    for from in (0..x.rows()).step_by(BLOCK) {
        let to = (from + BLOCK).min(x.rows());
        widened(x, from, to, &centre, &weight, &mut rows);
        add_self_product(Strided::rows(&rows, to - from, d).transposed(), &mut out);
    }
    out
}

/// `Z Z^T` of the centred rows times the roots of their weights, the lower triangle, column-major `[n, n]`.
pub(crate) fn gram<'m>(x: &Matrix<'_>, centre: impl Fn(usize) -> &'m [f64], weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let (n, d) = (x.rows(), x.columns());
    let mut out = vec![0f64; n * n];
    for first in (0..d).step_by(BLOCK) {
        let width = BLOCK.min(d - first);
        let mut part = Vec::with_capacity(n * width);
        for row in 0..n {
            let root = weight(row).sqrt();
            let columns = x.row(row)[first..first + width].iter().zip(&centre(row)[first..]);
            part.extend(columns.map(|(&v, c)| root * (f64::from(v) - c)));
        }
        add_self_product(Strided::rows(&part, n, width), &mut out);
    }
    out
}

/// `sum_i w_i (x_i - c) y_i^T`, row-major `[d, lanes]`, of targets `y` `[n, lanes]`.
pub(crate) fn cross(x: &Matrix<'_>, centre: &[f64], y: &[f64], lanes: usize, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let d = x.columns();
    let mut out = vec![0f64; d * lanes];
    let (mut rows, mut weighed) = (Vec::new(), Vec::new());
    for from in (0..x.rows()).step_by(BLOCK) {
        let to = (from + BLOCK).min(x.rows());
        widened(x, from, to, &|_| centre, &|_| 1.0, &mut rows);
        weighed.clear();
        for row in from..to {
            weighed.extend(y[row * lanes..(row + 1) * lanes].iter().map(|v| v * weight(row)));
        }
        let x = Strided::rows(&rows, to - from, d).transposed();
        product(&mut out, (lanes, 1), 1.0, 1.0, x, Strided::rows(&weighed, to - from, lanes));
    }
    out
}

/// `out = Z^T a`, row-major `[d, lanes]`, of the centred rows times the roots of their weights, `a` `[n, lanes]`.
pub(crate) fn back(x: &Matrix<'_>, centre: &[f64], a: &[f64], lanes: usize, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    cross(x, centre, a, lanes, |row| weight(row).sqrt())
}

/// Weighted mean and variance of each column of targets `[n, outputs]`; a variance of nothing but rounding is 0.
pub(crate) fn spread(values: &[f64], outputs: usize, targets: &Targets<'_>) -> (Vec<f64>, Vec<f64>) {
    let total = targets.total(values.len() / outputs);
    let sum = |of: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        let mut sums = vec![0f64; outputs];
        for (row, values) in values.chunks_exact(outputs).enumerate() {
            let weight = targets.weight(row) / total;
            sums.iter_mut().zip(values).enumerate().for_each(|(k, (s, &v))| *s += weight * of(k, v));
        }
        sums
    };
    let mean = sum(&|_, v| v);
    let variance = sum(&|k, v| (v - mean[k]).powi(2));
    let variance = real(variance, &mean);
    (mean, variance)
}

/// Variances of targets; those of nothing but rounding are 0.
fn real(variance: Vec<f64>, mean: &[f64]) -> Vec<f64> {
    variance.into_iter().zip(mean).map(|(v, m)| if v <= (1e-12 * m).powi(2) { 0.0 } else { v }).collect()
}

/// The sum of the squares of all elements of `sum_i w_i z_i z_i^T`, of row-major rows `z` `[n, d]`.
pub(crate) fn square_of_second(z: &[f64], weights: &[f64], d: usize) -> f64 {
    let rooted: Vec<f64> = z.chunks_exact(d).zip(weights).flat_map(|(row, w)| row.iter().map(|v| v * w.sqrt())).collect();
    // Of rows or columns, whichever are fewer: both products have the same squares.
    let rows = Strided::rows(&rooted, weights.len(), d);
    let side = if d < weights.len() { rows.transposed() } else { rows };
    let order = side.shape.0;
    let mut out = vec![0f64; order * order];
    add_self_product(side, &mut out);
    let below = |j: usize| 2.0 * out[j * order + j + 1..(j + 1) * order].iter().map(|v| v * v).sum::<f64>() + out[j * order + j].powi(2);
    (0..order).map(below).sum()
}
