//! Dense products on plain slices: a bounds-checked face of the `gemm` crate, and symmetric self-products.
//!
//! Blocks are cut by size alone and a sum is never cut, so bits don't depend on the number of threads.

use std::ops::{AddAssign, Div, Mul, Sub};

use rayon::prelude::*;

/// The two element types of dense products.
pub(crate) trait Real:
    Copy + Send + Sync + PartialOrd + AddAssign + Mul<Output = Self> + Sub<Output = Self> + Div<Output = Self> + 'static
{
    const ZERO: Self;
    const ONE: Self;
    /// The value nearest to `value`.
    fn of(value: f64) -> Self;
    /// Its square root.
    fn root(self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn of(value: f64) -> Self {
        value as f32
    }
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn of(value: f64) -> Self {
        value
    }
    fn root(self) -> Self {
        self.sqrt()
    }
}

/// A strided read-only view, `[rows, columns]`: element `(i, j)` is `data[i * step.0 + j * step.1]`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub data: &'a [T],
    pub shape: (usize, usize),
    pub step: (usize, usize),
}

impl<'a, T> Strided<'a, T> {
    /// A row-major view, `[rows, columns]`.
    pub fn rows(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self { data, shape: (rows, columns), step: (columns, 1) }
    }

    /// The transpose, `[columns, rows]`.
    pub fn transposed(self) -> Self {
        Self { shape: (self.shape.1, self.shape.0), step: (self.step.1, self.step.0), ..self }
    }
}

fn reaches(len: usize, shape: (usize, usize), step: (usize, usize)) -> bool {
    shape.0 == 0 || shape.1 == 0 || (shape.0 - 1) * step.0 + (shape.1 - 1) * step.1 < len
}

/// `out = keep * out + factor * lhs * rhs`, where `out` has element `(i, j)` at `i * step.0 + j * step.1`. Runs on this thread.
pub(crate) fn product<T: Real>(out: &mut [T], step: (usize, usize), keep: T, factor: T, lhs: Strided<'_, T>, rhs: Strided<'_, T>) {
    on_threads(1, out, step, keep, factor, lhs, rhs);
}

/// [`product`] on so many threads.
pub(crate) fn on_threads<T: Real>(
    threads: usize,
    out: &mut [T],
    step: (usize, usize),
    keep: T,
    factor: T,
    lhs: Strided<'_, T>,
    rhs: Strided<'_, T>,
) {
    let (m, n) = (lhs.shape.0, rhs.shape.1);
    assert!(reaches(out.len(), (m, n), step), "the result of a product does not fit");
    assert!(m < 2 || n < 2 || step.0 * m <= step.1 || step.1 * n <= step.0, "rows of a result overlap");
    // SAFETY: the asserts bound every element that is written within `out`, which is borrowed mutably, and keep them distinct.
    unsafe { multiply(threads, out.as_mut_ptr(), step, keep, factor, lhs, rhs) }
}

/// `lhs * rhs` as new numbers, row by row, on so many threads. Nobody fills them with zeros before, which takes one thread a few
/// percent of the time of the product while the others wait.
pub(crate) fn new_product<T: Real>(threads: usize, lhs: Strided<'_, T>, rhs: Strided<'_, T>) -> Vec<T> {
    let (m, n) = (lhs.shape.0, rhs.shape.1);
    let mut out = Vec::with_capacity(m * n);
    // SAFETY: there is room for m rows of n numbers, which nothing else refers to; with `keep` 0 each is written and none is read.
    unsafe {
        multiply(threads, out.as_mut_ptr(), (n, 1), T::ZERO, T::ONE, lhs, rhs);
        out.set_len(m * n);
    }
    out
}

/// [`on_threads`] to wherever `out` points; where `keep` is 0 nothing there is read.
///
/// # Safety
/// Element `(i, j)` of the result may be written at `i * step.0 + j * step.1` behind `out` and is in neither factor.
unsafe fn multiply<T: Real>(
    threads: usize,
    out: *mut T,
    step: (usize, usize),
    keep: T,
    factor: T,
    lhs: Strided<'_, T>,
    rhs: Strided<'_, T>,
) {
    let (m, k) = lhs.shape;
    let n = rhs.shape.1;
    assert_eq!(k, rhs.shape.0, "inner lengths of a product");
    assert!(reaches(lhs.data.len(), lhs.shape, lhs.step) && reaches(rhs.data.len(), rhs.shape, rhs.step));
    // SAFETY: the assert above bounds every element that `gemm` reads within its slice; of `out` the caller says it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            step.1 as isize,
            step.0 as isize,
            keep != T::ZERO,
            lhs.data.as_ptr(),
            lhs.step.1 as isize,
            lhs.step.0 as isize,
            rhs.data.as_ptr(),
            rhs.step.1 as isize,
            rhs.step.0 as isize,
            keep,
            factor,
            false,
            false,
            false,
            if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None },
        );
    }
}

/// Columns of one block of a symmetric product.
const BLOCK: usize = 192;

/// Adds the lower triangle of `a * a^T`, `a` `[p, q]`, to `out`, column-major `[p, p]`.
///
/// Above the diagonal blocks nothing is written; within them the upper half is written too.
pub(crate) fn add_self_product<T: Real>(a: Strided<'_, T>, out: &mut [T]) {
    let p = a.shape.0;
    out.par_chunks_mut(p * BLOCK).enumerate().for_each(|(block, panel)| {
        let first = block * BLOCK;
        let below = Strided { data: &a.data[first * a.step.0..], shape: (p - first, a.shape.1), step: a.step };
        let across = Strided { shape: (panel.len() / p, a.shape.1), ..below }.transposed();
        product(&mut panel[first..], (1, p), T::ONE, T::ONE, below, across);
    });
}

/// The transpose of a row-major `[rows, columns]`, written to `out` as `[columns, rows]`.
pub(crate) fn transpose<T: Copy>(a: &[T], rows: usize, columns: usize, out: &mut [T]) {
    for (i, row) in a.chunks_exact(columns).take(rows).enumerate() {
        for (j, &v) in row.iter().enumerate() {
            out[j * rows + i] = v;
        }
    }
}

/// The inner product of two vectors, summed in `f64` over eight interleaved partial sums.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut part = [0f64; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            part[i] += x[i] * y[i];
        }
    }
    part.iter().sum::<f64>() + tail
}
