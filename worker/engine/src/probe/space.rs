//! The coordinates in which linear probes are optimised: dense or sparse, each with its preconditioner.
//!
//! The Hessian of a penalised loss is close to `I + C X^T D X` with one scalar per row in `D` (Böhning 1992, "Multinomial
//! logistic regression algorithm", bounds it with a constant one). The Cholesky factor of that is the preconditioner; only
//! the difference between it and the true Hessian is left to the solver's iterations. Scores of many fits on the same
//! features are computed by one product: their weights stand side by side as lanes.

use rayon::prelude::*;

use super::cholesky::Cholesky;
use super::csr::Csr;
use super::product::{Strided, add_self_product, product};

/// What the solver needs from a data set.
pub(crate) trait Space: Sync {
    /// Number of features, `p`.
    fn width(&self) -> usize;
    /// Number of samples, `n`.
    fn samples(&self) -> usize;
    /// Scores, lane after lane `[lanes][n]`, of weights `theta`, `[p, lanes]`.
    fn scores(&self, theta: &[f32], lanes: usize, out: &mut [f32]);
    /// Gradient by the weights, `[p, lanes]`, of a loss whose derivative by the scores is `residual`, `[lanes][n]`.
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
    /// Multiplies by the inverse in place, `theta` row-major `[p, lanes]`.
    pub fn solve(&self, theta: &mut [f64], lanes: usize) {
        match self {
            Factor::Single(factor) => {
                let mut narrow: Vec<f32> = theta.iter().map(|&v| v as f32).collect();
                factor.solve(&mut narrow, lanes);
                theta.iter_mut().zip(&narrow).for_each(|(v, &s)| *v = f64::from(s));
            }
            Factor::Double(factor) => factor.solve(theta, lanes),
            Factor::Diagonal(diagonal) => {
                theta.chunks_exact_mut(lanes).zip(diagonal).for_each(|(row, d)| row.iter_mut().for_each(|v| *v /= d));
            }
        }
    }
}

/// Rows per column beyond which the preconditioner looks at evenly spaced rows instead of all.
const ROWS_PER_COLUMN: usize = 12;

/// Rows, and columns, of a block of a product that is spread over threads.
const BLOCK: usize = 256;

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
        let theta = Strided::rows(theta, d, lanes);
        let block = |first: usize| {
            let rows = BLOCK.min(n - first);
            let x = Strided { data: &self.x.data[first * d..], shape: (rows, d), step: self.x.step };
            let mut scores = vec![0f32; lanes * rows];
            product(&mut scores, (1, rows), 0.0, 1.0, x, theta);
            scores
        };
        let blocks: Vec<Vec<f32>> = (0..n).step_by(BLOCK).collect::<Vec<_>>().into_par_iter().map(block).collect();
        for (block, scores) in blocks.iter().enumerate() {
            let rows = scores.len() / lanes;
            for (lane, scores) in out.chunks_exact_mut(n).zip(scores.chunks_exact(rows)) {
                lane[block * BLOCK..][..rows].copy_from_slice(scores);
            }
        }
    }

    fn gather(&self, residual: &[f32], lanes: usize, out: &mut [f32]) {
        let (n, d) = self.x.shape;
        let residual = Strided { data: residual, shape: (n, lanes), step: (1, n) };
        out.par_chunks_mut(BLOCK * lanes).enumerate().for_each(|(block, out)| {
            let columns = out.len() / lanes;
            let x = Strided { data: &self.x.data[block * BLOCK..], shape: (columns, n), step: (1, d) };
            product(out, (lanes, 1), 0.0, 1.0, x, residual);
        });
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
        let mut rows = vec![0f32; out.len()];
        self.x.times(theta, lanes, &mut rows);
        super::product::transpose(&rows, self.x.rows(), lanes, out);
    }

    fn gather(&self, residual: &[f32], lanes: usize, out: &mut [f32]) {
        let mut rows = vec![0f32; residual.len()];
        super::product::transpose(residual, lanes, self.x.rows(), &mut rows);
        self.x.transposed_times(&rows, lanes, out);
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
