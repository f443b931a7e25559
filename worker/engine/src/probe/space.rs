//! The coordinates in which a linear probe is optimised: dense or sparse, each with its preconditioner.
//!
//! The Hessian of the penalised loss is bounded by `I + X^T D X` for every class at once, with one scalar per row in `D`
//! (Böhning 1992, "Multinomial logistic regression algorithm", uses a constant one). Its Cholesky factor is the
//! preconditioner; only the difference between that and the true Hessian is left to the solver's iterations.

use super::cholesky::Cholesky;
use super::csr::Csr;
use super::product::{Strided, add_self_product, product};

/// What the solver needs from a data set; `K` is the number of classes.
pub(crate) trait Space {
    /// Number of features, `p`.
    fn width(&self) -> usize;
    /// Number of samples, `n`.
    fn samples(&self) -> usize;
    /// Logits without intercept, `[n, K]`, of weights `theta`, `[p, K]`.
    fn logits(&self, theta: &[f32], classes: usize, out: &mut [f32]);
    /// Gradient by the weights, `[p, K]`, of a loss whose derivative by the logits is `residual`, `[n, K]`.
    fn gather(&self, residual: &[f32], classes: usize, out: &mut [f32]);
    /// Rebuilds the preconditioner for curvature `weights` per row, `[n]`.
    fn curvature(&mut self, weights: &[f32]);
    /// Multiplies by the inverse of the penalised, weighted second-moment matrix, in place, `[p, K]`.
    fn precondition(&self, theta: &mut [f64], classes: usize);
}

/// Rows per column beyond which the preconditioner looks at evenly spaced rows instead of all.
const ROWS_PER_COLUMN: usize = 12;

/// Largest rounding error of a single-precision factor, against the penalty's 1, that is left to the solver.
const SINGLE_ERROR: f64 = 0.3;

enum Factor {
    Single(Cholesky<f32>),
    Double(Cholesky<f64>),
}

/// Dense features, best with `d <= n`.
pub(crate) struct Dense<'a> {
    x: Strided<'a, f32>,
    factor: Option<Factor>,
}

impl<'a> Dense<'a> {
    /// Over row-major features `[n, d]`.
    pub fn new(x: &'a [f32], n: usize, d: usize) -> Self {
        Self { x: Strided::rows(x, n, d), factor: None }
    }
}

impl Space for Dense<'_> {
    fn width(&self) -> usize {
        self.x.shape.1
    }

    fn samples(&self) -> usize {
        self.x.shape.0
    }

    fn logits(&self, theta: &[f32], classes: usize, out: &mut [f32]) {
        product(out, (classes, 1), 0.0, 1.0, self.x, Strided::rows(theta, self.width(), classes));
    }

    fn gather(&self, residual: &[f32], classes: usize, out: &mut [f32]) {
        let residual = Strided::rows(residual, self.samples(), classes);
        product(out, (classes, 1), 0.0, 1.0, self.x.transposed(), residual);
    }

    fn curvature(&mut self, weights: &[f32]) {
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
        (0..d).for_each(|i| moment[i * d + i] += 1.0);
        let trace: f64 = (0..d).map(|i| f64::from(moment[i * d + i])).sum();
        self.factor = Some(if trace * f64::from(f32::EPSILON) < SINGLE_ERROR {
            Factor::Single(Cholesky::new(&moment, d, 1e-7))
        } else {
            let moment: Vec<f64> = moment.iter().map(|&v| f64::from(v)).collect();
            Factor::Double(Cholesky::new(&moment, d, 1e-7))
        });
    }

    fn precondition(&self, theta: &mut [f64], classes: usize) {
        match &self.factor {
            Some(Factor::Single(factor)) => {
                let mut narrow: Vec<f32> = theta.iter().map(|&v| v as f32).collect();
                factor.solve(&mut narrow, classes);
                theta.iter_mut().zip(&narrow).for_each(|(v, &s)| *v = f64::from(s));
            }
            Some(Factor::Double(factor)) => factor.solve(theta, classes),
            None => {}
        }
    }
}

/// Sparse features, with the diagonal of the bound as preconditioner.
pub(crate) struct Sparse<'a> {
    x: &'a Csr,
    diagonal: Vec<f32>,
}

impl<'a> Sparse<'a> {
    /// Over sparse rows `[n, d]`.
    pub fn new(x: &'a Csr) -> Self {
        Self { x, diagonal: vec![1.0; x.columns()] }
    }
}

impl Space for Sparse<'_> {
    fn width(&self) -> usize {
        self.x.columns()
    }

    fn samples(&self) -> usize {
        self.x.rows()
    }

    fn logits(&self, theta: &[f32], classes: usize, out: &mut [f32]) {
        self.x.times(theta, classes, out);
    }

    fn gather(&self, residual: &[f32], classes: usize, out: &mut [f32]) {
        self.x.transposed_times(residual, classes, out);
    }

    fn curvature(&mut self, weights: &[f32]) {
        self.diagonal.fill(1.0);
        for (i, &weight) in weights.iter().enumerate() {
            for (j, v) in self.x.row(i) {
                self.diagonal[j] += weight * v * v;
            }
        }
    }

    fn precondition(&self, theta: &mut [f64], classes: usize) {
        for (row, &d) in theta.chunks_exact_mut(classes).zip(&self.diagonal) {
            row.iter_mut().for_each(|v| *v /= f64::from(d));
        }
    }
}
