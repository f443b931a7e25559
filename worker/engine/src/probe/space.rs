//! The coordinates in which linear probes are optimised: dense or sparse, each with its preconditioner.
//!
//! The Hessian of a penalised loss is close to `I + C X^T D X` with one scalar per row in `D` (Böhning 1992, "Multinomial
//! logistic regression algorithm", bounds it with a constant one). The Cholesky factor of that is the preconditioner; only
//! the difference between it and the true Hessian is left to the solver's iterations. Scores of many fits on the same
//! features are computed by one product: their weights follow one another as lanes.

use std::ops::Range;

use rayon::prelude::*;

use super::cholesky::Cholesky;
use super::csr::Csr;
use super::narrow::{self, Lanes, Rows};
use super::product::{Strided, add_self_product, transpose};

/// What the solver needs from a data set.
pub(crate) trait Space: Sync {
    /// Number of features, `p`.
    fn width(&self) -> usize;
    /// Number of samples, `n`.
    fn samples(&self) -> usize;
    /// Scores `[lanes][n]` of weights `theta`, `[lanes][p]`.
    fn scores(&self, theta: &[f32], lanes: usize, out: &mut [f32]);
    /// Gradient by the weights, `[lanes][p]`, of a loss whose derivative by the scores is `residual`, `[lanes][n]`.
    fn gather(&self, residual: &[f32], lanes: usize, out: &mut [f32]);
    /// `X^T D X` (or its diagonal) for the row weights `D`, `[n]`.
    fn moment(&self, weights: &[f32]) -> Moment;
}

/// A weighted second moment of the features.
pub(crate) enum Moment {
    /// Its lower triangle, column-major `[p, p]`.
    Dense(Vec<f32>),
    /// Its diagonal, `[p]`.
    Diagonal(Vec<f32>),
}

/// The factored `I + scale * moment`.
pub(crate) enum Factor {
    Single(Cholesky<f32>),
    Double(Cholesky<f64>),
    Diagonal(Vec<f64>),
}

/// Largest rounding error of a single-precision factor, against the penalty's 1, that is left to the solver.
const SINGLE_ERROR: f64 = 0.3;

impl Moment {
    /// Factors `I + scale * moment`.
    pub fn factor(&self, scale: f64) -> Factor {
        let moment = match self {
            Moment::Diagonal(diagonal) => return Factor::Diagonal(diagonal.iter().map(|&v| 1.0 + scale * f64::from(v)).collect()),
            Moment::Dense(moment) => moment,
        };
        let p = (moment.len() as f64).sqrt().round() as usize;
        let trace: f64 = (0..p).map(|i| 1.0 + scale * f64::from(moment[i * p + i])).sum();
        if trace * f64::from(f32::EPSILON) < SINGLE_ERROR {
            let mut matrix: Vec<f32> = moment.iter().map(|&v| v * scale as f32).collect();
            (0..p).for_each(|i| matrix[i * p + i] += 1.0);
            Factor::Single(Cholesky::new(&matrix, p, 1e-7))
        } else {
            let mut matrix: Vec<f64> = moment.iter().map(|&v| f64::from(v) * scale).collect();
            (0..p).for_each(|i| matrix[i * p + i] += 1.0);
            Factor::Double(Cholesky::new(&matrix, p, 1e-7))
        }
    }
}

impl Factor {
    /// Multiplies by the inverse in place, `theta` `[lanes][p]`.
    pub fn solve(&self, theta: &mut [f64], lanes: usize) {
        let p = theta.len() / lanes;
        match self {
            Factor::Single(factor) => {
                let mut narrow: Vec<f32> = theta.iter().map(|&v| v as f32).collect();
                factor.solve_lanes(&mut narrow, lanes);
                theta.iter_mut().zip(&narrow).for_each(|(v, &s)| *v = f64::from(s));
            }
            Factor::Double(factor) => {
                let mut by_column = vec![0f64; theta.len()];
                transpose(theta, lanes, p, &mut by_column);
                factor.solve(&mut by_column, lanes);
                transpose(&by_column, p, lanes, theta);
            }
            Factor::Diagonal(diagonal) => {
                theta.chunks_exact_mut(p).for_each(|lane| lane.iter_mut().zip(diagonal).for_each(|(v, d)| *v /= d));
            }
        }
    }
}

/// Rows per column beyond which the preconditioner looks at evenly spaced rows instead of all.
const ROWS_PER_COLUMN: usize = 12;

/// Rows of a block of a product that is spread over threads.
const BLOCK: usize = 256;

/// Blocks whose sums are held at a time.
const WAVE: usize = 16;

/// Numbers of a sum that a thread adds up at a time.
const ADDED: usize = 1 << 14;

/// Dense features, best with `d <= n`.
pub(crate) struct Dense<'a> {
    x: Strided<'a, f32>,
}

impl<'a> Dense<'a> {
    /// Over row-major features `[n, d]`.
    pub fn new(x: &'a [f32], n: usize, d: usize) -> Self {
        Self { x: Strided::rows(x, n, d) }
    }
}

impl Space for Dense<'_> {
    fn width(&self) -> usize {
        self.x.shape.1
    }

    fn samples(&self) -> usize {
        self.x.shape.0
    }

    fn scores(&self, theta: &[f32], lanes: usize, out: &mut [f32]) {
        let (n, d) = self.x.shape;
        let theta = Lanes { data: theta, step: d, count: lanes };
        let block = |first: usize| {
            let rows = BLOCK.min(n - first);
            let mut part = vec![0f32; lanes * rows];
            narrow::scores(Rows::new(&self.x.data[first * d..], rows, d), theta, &mut part, rows);
            part
        };
        for (at, part) in blocks(0..n, block).iter().enumerate() {
            let rows = part.len() / lanes;
            for (lane, part) in out.chunks_exact_mut(n).zip(part.chunks_exact(rows)) {
                lane[at * BLOCK..][..rows].copy_from_slice(part);
            }
        }
    }

    fn gather(&self, residual: &[f32], lanes: usize, out: &mut [f32]) {
        let (n, d) = self.x.shape;
        let block = |first: usize| {
            let rows = Rows::new(&self.x.data[first * d..], BLOCK.min(n - first), d);
            let mut part = vec![0f32; lanes * d];
            narrow::gather(rows, Lanes { data: &residual[first..], step: n, count: lanes }, &mut part, d);
            part
        };
        // Sums over blocks of rows are added in one order, however many threads there are, and few of them held at a time.
        out.fill(0.0);
        for wave in (0..n).step_by(WAVE * BLOCK) {
            let parts = blocks(wave..n.min(wave + WAVE * BLOCK), block);
            out.par_chunks_mut(ADDED).enumerate().for_each(|(at, out)| {
                for part in &parts {
                    out.iter_mut().zip(&part[at * ADDED..]).for_each(|(sum, part)| *sum += part);
                }
            });
        }
    }

    fn moment(&self, weights: &[f32]) -> Moment {
        let (n, d) = self.x.shape;
        let used = n.min((ROWS_PER_COLUMN * d).max(1024));
        let mut scaled = Vec::with_capacity(used * d);
        for i in 0..used {
            let row = i * n / used;
            let root = (weights[row] * n as f32 / used as f32).sqrt();
            scaled.extend(self.x.data[row * d..(row + 1) * d].iter().map(|v| v * root));
        }
        let mut moment = vec![0f32; d * d];
        add_self_product(Strided::rows(&scaled, used, d).transposed(), &mut moment);
        Moment::Dense(moment)
    }
}

/// What comes of each block of some rows, which begins where `each` is told, on all threads.
fn blocks(rows: Range<usize>, each: impl Fn(usize) -> Vec<f32> + Send + Sync) -> Vec<Vec<f32>> {
    rows.step_by(BLOCK).collect::<Vec<_>>().into_par_iter().map(each).collect()
}

/// Sparse features, with the diagonal of the bound as preconditioner.
pub(crate) struct Sparse<'a> {
    x: &'a Csr,
}

impl<'a> Sparse<'a> {
    /// Over sparse rows `[n, d]`.
    pub fn new(x: &'a Csr) -> Self {
        Self { x }
    }
}

impl Space for Sparse<'_> {
    fn width(&self) -> usize {
        self.x.columns()
    }

    fn samples(&self) -> usize {
        self.x.rows()
    }

    fn scores(&self, theta: &[f32], lanes: usize, out: &mut [f32]) {
        let (mut by_column, mut rows) = (vec![0f32; theta.len()], vec![0f32; out.len()]);
        transpose(theta, lanes, self.x.columns(), &mut by_column);
        self.x.times(&by_column, lanes, &mut rows);
        transpose(&rows, self.x.rows(), lanes, out);
    }

    fn gather(&self, residual: &[f32], lanes: usize, out: &mut [f32]) {
        let (mut rows, mut by_column) = (vec![0f32; residual.len()], vec![0f32; out.len()]);
        transpose(residual, lanes, self.x.rows(), &mut rows);
        self.x.transposed_times(&rows, lanes, &mut by_column);
        transpose(&by_column, self.x.columns(), lanes, out);
    }

    fn moment(&self, weights: &[f32]) -> Moment {
        let mut diagonal = vec![0f32; self.x.columns()];
        for (i, &weight) in weights.iter().enumerate() {
            for (j, v) in self.x.row(i) {
                diagonal[j] += weight * v * v;
            }
        }
        Moment::Diagonal(diagonal)
    }
}
