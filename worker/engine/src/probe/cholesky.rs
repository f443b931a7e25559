//! A blocked Cholesky factorisation, in `f32` where it only preconditions and in `f64` where precision asks for it.

use super::narrow::{Lanes, Rows, gather, scores};
use super::product::{Real, Strided, product};

/// Columns factored before the rest of the matrix is updated by one product.
const PANEL: usize = 48;

/// `L` with `L L^T = A + ridge I`, column-major `[p, p]`; only its lower triangle is meaningful.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky<T> {
    lower: Vec<T>,
    p: usize,
}

impl<T: Real> Cholesky<T> {
    /// Factors the symmetric positive definite `a`, column-major `[p, p]`, whose lower triangle is read.
    ///
    /// `ridge` is relative to the largest diagonal element, and grows tenfold (from 0 to the smallest that counts) until every pivot is
    /// positive.
    ///
    /// # Panics
    /// A value is not finite; hidden states that are not are refused before anything is fitted to them.
    pub fn new(a: &[T], p: usize, mut ridge: f64) -> Self {
        let top = (0..p).map(|i| a[i * p + i]).fold(T::ZERO, |m, v| if v > m { v } else { m });
        // Of states that are all the same nothing is left but the ridge.
        let top = if top > T::ZERO { top } else { T::ONE };
        loop {
            let mut lower = a.to_vec();
            (0..p).for_each(|i| lower[i * p + i] += top * T::of(ridge));
            if factor(&mut lower, p) {
                return Self { lower, p };
            }
            // With a ridge far above every eigenvalue only NaN and infinity are left without a factor.
            assert!(ridge < 1e6, "a matrix of {p} x {p} with values that are not finite was to be factored");
            ridge = (10.0 * ridge).max(f64::EPSILON);
        }
    }

    /// The same without a ridge, if every pivot is positive.
    pub fn exact(a: &[T], p: usize) -> Option<Self> {
        let mut lower = a.to_vec();
        factor(&mut lower, p).then_some(Self { lower, p })
    }

    /// `L`, row-major `[p, p]`, with zeros above its diagonal.
    pub fn rows<U>(&self, convert: impl Fn(T) -> U) -> Vec<U> {
        let zero_above = |(i, j)| if j > i { T::ZERO } else { self.lower[j * self.p + i] };
        (0..self.p * self.p).map(|e| convert(zero_above((e / self.p, e % self.p)))).collect()
    }

    /// Solves `A z = b` in place for `lanes` right-hand sides, `b` row-major `[p, lanes]`.
    pub fn solve(&self, b: &mut [T], lanes: usize) {
        self.forward(b, lanes);
        self.backward(b, lanes);
    }

    /// Solves `L z = b` in place.
    fn forward(&self, b: &mut [T], lanes: usize) {
        for first in (0..self.p).step_by(PANEL) {
            let last = (first + PANEL).min(self.p);
            let (head, tail) = b.split_at_mut(last * lanes);
            let block = &mut head[first * lanes..];
            for j in 0..last - first {
                let column = &self.lower[(first + j) * self.p + first..][..last - first];
                let (done, rest) = block.split_at_mut((j + 1) * lanes);
                let pivot = &mut done[j * lanes..];
                pivot.iter_mut().for_each(|v| *v = *v / column[j]);
                for (row, &l) in rest.chunks_exact_mut(lanes).zip(&column[j + 1..]) {
                    row.iter_mut().zip(&*pivot).for_each(|(v, z)| *v = *v - l * *z);
                }
            }
            let below = self.view(last, self.p, first, last);
            let z = Strided::rows(block, last - first, lanes);
            product(tail, (lanes, 1), T::ONE, T::of(-1.0), below, z);
        }
    }

    /// Solves `L^T z = b` in place.
    pub fn backward(&self, b: &mut [T], lanes: usize) {
        let mut pivot = Vec::with_capacity(lanes);
        for panel in (0..self.p.div_ceil(PANEL)).rev() {
            let (first, last) = (panel * PANEL, ((panel + 1) * PANEL).min(self.p));
            let (head, tail) = b.split_at_mut(last * lanes);
            let block = &mut head[first * lanes..];
            let below = self.view(last, self.p, first, last).transposed();
            let z = Strided::rows(tail, self.p - last, lanes);
            product(block, (lanes, 1), T::ONE, T::of(-1.0), below, z);
            for j in (0..last - first).rev() {
                let column = &self.lower[(first + j) * self.p + first..][..last - first];
                let (done, rest) = block.split_at_mut((j + 1) * lanes);
                pivot.clear();
                pivot.extend_from_slice(&done[j * lanes..]);
                for (row, &l) in rest.chunks_exact(lanes).zip(&column[j + 1..]) {
                    pivot.iter_mut().zip(row).for_each(|(v, z)| *v = *v - l * *z);
                }
                done[j * lanes..].iter_mut().zip(&pivot).for_each(|(v, s)| *v = *s / column[j]);
            }
        }
    }

    fn view(&self, top: usize, bottom: usize, left: usize, right: usize) -> Strided<'_, T> {
        let start = (left * self.p + top).min(self.lower.len());
        Strided { data: &self.lower[start..], shape: (bottom - top, right - left), step: (1, self.p) }
    }
}

impl Cholesky<f32> {
    /// Solves `A z = b` in place for right-hand sides that lie one after another, `[lanes][p]`.
    pub fn solve_lanes(&self, b: &mut [f32], lanes: usize) {
        let p = self.p;
        let panels = || (0..p).step_by(PANEL).map(|first| (first, (first + PANEL).min(p)));
        // The columns of a panel below its last row, each of which is contiguous.
        let below =
            |first: usize, last: usize| Rows { data: &self.lower[first * p + last..], step: p, width: p - last, count: last - first };
        let mut few = [0f32; PANEL].repeat(lanes);
        for (first, last) in panels() {
            for lane in b.chunks_exact_mut(p) {
                for j in first..last {
                    let column = &self.lower[j * p..][j..last];
                    lane[j] /= column[0];
                    let z = lane[j];
                    lane[j + 1..last].iter_mut().zip(&column[1..]).for_each(|(v, l)| *v -= l * z);
                }
            }
            if last < p {
                for (few, lane) in few.chunks_exact_mut(PANEL).zip(b.chunks_exact(p)) {
                    few.iter_mut().zip(&lane[first..last]).for_each(|(few, z)| *few = -z);
                }
                let z = Lanes { data: &few, step: PANEL, count: lanes };
                gather(below(first, last), z, &mut b[last..], p);
            }
        }
        for (first, last) in panels().collect::<Vec<_>>().into_iter().rev() {
            if last < p {
                let tail = Lanes { data: &b[last..], step: p, count: lanes };
                scores(below(first, last), tail, &mut few, PANEL);
                for (few, lane) in few.chunks_exact(PANEL).zip(b.chunks_exact_mut(p)) {
                    lane[first..last].iter_mut().zip(few).for_each(|(v, sum)| *v -= sum);
                }
            }
            for lane in b.chunks_exact_mut(p) {
                for j in (first..last).rev() {
                    let column = &self.lower[j * p..][j..last];
                    let sum = column[1..].iter().zip(&lane[j + 1..last]).fold(lane[j], |v, (l, z)| v - l * z);
                    lane[j] = sum / column[0];
                }
            }
        }
    }
}

/// Factors in place, panel by panel; false where a pivot is not positive.
fn factor<T: Real>(a: &mut [T], p: usize) -> bool {
    let mut panel = Vec::new();
    for first in (0..p).step_by(PANEL) {
        let last = (first + PANEL).min(p);
        for j in first..last {
            let (done, rest) = a.split_at_mut(j * p);
            let column = &mut rest[j..p];
            for t in first..j {
                let left = &done[t * p + j..(t + 1) * p];
                let l = left[0];
                column.iter_mut().zip(left).for_each(|(v, u)| *v = *v - l * *u);
            }
            let pivot = column[0];
            let positive = pivot > T::ZERO;
            if !positive {
                return false;
            }
            let inverse = T::ONE / pivot.root();
            column.iter_mut().for_each(|v| *v = *v * inverse);
        }
        panel.clear();
        panel.extend_from_slice(&a[first * p..last * p]);
        for start in (last..p).step_by(4 * PANEL) {
            let end = (start + 4 * PANEL).min(p);
            let rows = |from: usize, to: usize| Strided { data: &panel[from..], shape: (to - from, last - first), step: (1, p) };
            let across = rows(start, end).transposed();
            product(&mut a[start * p + start..end * p], (1, p), T::ONE, T::of(-1.0), rows(start, p), across);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "not finite")]
    fn values_that_are_not_finite_are_named() {
        let _ = Cholesky::new(&[1.0, f64::NAN, f64::NAN, 1.0], 2, 1e-7);
    }

    #[test]
    fn solves_what_it_factored() {
        for p in [1usize, 5, 48, 131, 250] {
            let a: Vec<f32> = (0..p * p).map(|e| ((e / p * 31 + e % p * 17) % 23) as f32 / 23.0).collect();
            let mut spd = vec![0f32; p * p];
            product(&mut spd, (1, p), 0.0, 1.0, Strided::rows(&a, p, p), Strided::rows(&a, p, p).transposed());
            (0..p).for_each(|i| spd[i * p + i] += 1.0);
            let z: Vec<f32> = (0..p * 3).map(|e| (e % 11) as f32 - 5.0).collect();
            let mut b = vec![0f32; p * 3];
            product(&mut b, (3, 1), 0.0, 1.0, Strided::rows(&spd, p, p), Strided::rows(&z, p, 3));
            let mut by_lane: Vec<f32> = (0..p * 3).map(|e| b[e % p * 3 + e / p]).collect();
            let factor = Cholesky::new(&spd, p, 2e-7);
            factor.solve(&mut b, 3);
            factor.solve_lanes(&mut by_lane, 3);
            let worst = b.iter().zip(&z).map(|(x, y)| (x - y).abs()).fold(0f32, f32::max);
            assert!(worst < 0.02, "p {p}: {worst}");
            let worst = (0..p * 3).map(|e| (by_lane[e] - z[e % p * 3 + e / p]).abs()).fold(0f32, f32::max);
            assert!(worst < 0.02, "p {p}, lane after lane: {worst}");
        }
    }
}
