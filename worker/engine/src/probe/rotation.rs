//! The change of basis that makes wide data (`d > n`) as cheap as square data, without changing the optimum.

use super::cholesky::Cholesky;
use super::product::{Strided, add_self_product, product};

/// An orthonormal basis of the rows' span: `X = Z Q^T` with `Z` `[n, n]` lower triangular and `Q^T Q = I`.
///
/// An L2-penalised optimum lies in the span of the rows (the representer theorem), and `W = Q V` has the norm of `V`, so
/// fitting on `Z` is the same problem. `Z` is the Cholesky factor of the Gram matrix `X X^T`, taken in `f64`, because
/// squaring the condition number in `f32` would lose the small directions that weak regularisation uses.
pub(crate) struct Rotation {
    factor: Cholesky<f64>,
    n: usize,
}

/// Columns of `X` widened to `f64` at a time.
const CHUNK: usize = 256;

impl Rotation {
    /// Of centred row-major features `[n, d]`.
    pub fn new(x: &[f32], n: usize, d: usize) -> Self {
        let mut gram = vec![0f64; n * n];
        for first in (0..d).step_by(CHUNK) {
            let (wide, width) = widened(x, d, first);
            add_self_product(Strided::rows(&wide, n, width), &mut gram);
        }
        // Centred rows are dependent, so a ridge is needed; this one moves a logit by less than 1e-8 of `C * d`.
        Self { factor: Cholesky::new(&gram, n, 1e-10), n }
    }

    /// The rows in the new basis, `Z`, row-major `[n, n]`.
    pub fn rows(&self) -> Vec<f32> {
        self.factor.rows(|v| v as f32)
    }

    /// Weights `[d, K]` in the features of `x` from weights `v`, `[n, K]`, in the new basis: `W = X^T L^-T V`.
    pub fn back(&self, x: &[f32], d: usize, v: &[f64], classes: usize) -> Vec<f64> {
        let mut dual = v.to_vec();
        self.factor.backward(&mut dual, classes);
        let mut w = vec![0f64; d * classes];
        for first in (0..d).step_by(CHUNK) {
            let (wide, width) = widened(x, d, first);
            let out = &mut w[first * classes..(first + width) * classes];
            let wide = Strided::rows(&wide, self.n, width).transposed();
            product(out, (classes, 1), 0.0, 1.0, wide, Strided::rows(&dual, self.n, classes));
        }
        w
    }
}

/// The columns of `x` from `first`, at most [`CHUNK`], as `f64`, with their number.
fn widened(x: &[f32], d: usize, first: usize) -> (Vec<f64>, usize) {
    let width = CHUNK.min(d - first);
    let wide = x.chunks_exact(d).flat_map(|row| row[first..first + width].iter().map(|&v| f64::from(v))).collect();
    (wide, width)
}
