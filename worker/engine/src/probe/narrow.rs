//! Products of many rows with a few vectors, the lanes: what every iteration of a linear probe's solver consists of.
//!
//! General products pack their operands into blocks first, which here takes longer than multiplying: every number of the rows
//! takes part in a few multiplications only. These read each number from where it is, for up to six lanes at a time, fetch
//! what comes next meanwhile, and read it from a near cache for the next six. Lanes lie one after another, `[lanes][n]`. Sums
//! have one order, whichever lanes and rows are computed together.

use std::ops::Range;

use crate::kernel::lanes::dispatch;

/// Rows of `width` numbers that begin every `step` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub data: &'a [f32],
    pub step: usize,
    pub width: usize,
    pub count: usize,
}

impl<'a> Rows<'a> {
    /// Row-major `[count, width]`.
    pub fn new(data: &'a [f32], count: usize, width: usize) -> Self {
        Self { data, step: width, width, count }
    }

    fn row(&self, at: usize) -> &'a [f32] {
        &self.data[at * self.step..][..self.width]
    }

    fn check(&self) {
        let end = if self.count == 0 { 0 } else { (self.count - 1) * self.step + self.width };
        assert!(end <= self.data.len(), "{} rows of {} every {} in {}", self.count, self.width, self.step, self.data.len());
    }
}

/// Vectors of one length that begin every `step` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a> {
    pub data: &'a [f32],
    pub step: usize,
    pub count: usize,
}

impl<'a> Lanes<'a> {
    fn lane(&self, at: usize, len: usize) -> &'a [f32] {
        &self.data[at * self.step..][..len]
    }
}

/// Lanes that are multiplied at a time: with two vectors of each the processor's registers hold their sums.
const TOGETHER: usize = 6;

/// Bytes of rows that stay in a near cache while lanes pass.
const NEAR: usize = 128 << 10;

/// Rows that a gathered sum takes up at a time, from the nearest cache.
const SUMMED: usize = 16;

/// How many pairs of rows ahead are fetched.
const AHEAD: usize = 2;

/// Lanes in groups of nearly the same size.
fn groups(lanes: usize) -> impl Iterator<Item = Range<usize>> {
    let many = lanes.div_ceil(TOGETHER);
    (0..many).map(move |group| group * lanes / many..(group + 1) * lanes / many)
}

/// Asks for numbers before they are needed.
#[inline(always)]
fn fetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(16) {
        // SAFETY: every x86-64 has SSE, and a prefetch reads nothing.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// `out[lane * out_step + row] = <row, lane>`.
pub(crate) fn scores(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize) {
    rows.check();
    dispatch!(scores_body(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize))
}

/// `out[lane * out_step + column] += sum over rows of lane[row] * row[column]`.
pub(crate) fn gather(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize) {
    rows.check();
    dispatch!(gather_body(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize))
}

#[inline(always)]
fn scores_body<const FMA: bool>(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize) {
    let near = (NEAR / (4 * rows.width).max(1)).max(2) & !1;
    for first in (0..rows.count).step_by(near) {
        let last = (first + near).min(rows.count);
        for group in groups(lanes.count) {
            let out = &mut out[group.start * out_step..];
            let lane = |at: usize| lanes.lane(group.start + at, rows.width);
            match group.len() {
                1 => score_group::<FMA, 1>(rows, first..last, [lane(0)], group.start == 0, out, out_step),
                2 => score_group::<FMA, 2>(rows, first..last, [0, 1].map(lane), group.start == 0, out, out_step),
                3 => score_group::<FMA, 3>(rows, first..last, [0, 1, 2].map(lane), group.start == 0, out, out_step),
                4 => score_group::<FMA, 4>(rows, first..last, [0, 1, 2, 3].map(lane), group.start == 0, out, out_step),
                5 => score_group::<FMA, 5>(rows, first..last, [0, 1, 2, 3, 4].map(lane), group.start == 0, out, out_step),
                _ => score_group::<FMA, 6>(rows, first..last, [0, 1, 2, 3, 4, 5].map(lane), group.start == 0, out, out_step),
            }
        }
    }
}

#[inline(always)]
fn score_group<const FMA: bool, const T: usize>(
    rows: Rows<'_>,
    range: Range<usize>,
    lanes: [&[f32]; T],
    fresh: bool,
    out: &mut [f32],
    out_step: usize,
) {
    for first in range.clone().step_by(2) {
        if fresh {
            (0..2).map(|row| first + 2 * AHEAD + row).filter(|row| *row < rows.count).for_each(|row| fetch(rows.row(row)));
        }
        let pair = [rows.row(first), rows.row((first + 1).min(range.end - 1))];
        let sums = dots::<FMA, T>(pair, lanes);
        for (row, sums) in (first..range.end).zip(&sums) {
            sums.iter().enumerate().for_each(|(lane, sum)| out[lane * out_step + row] = *sum);
        }
    }
}

/// The inner products of two rows with some lanes.
#[inline(always)]
fn dots<const FMA: bool, const T: usize>(pair: [&[f32]; 2], lanes: [&[f32]; T]) -> [[f32; T]; 2] {
    let whole = pair[0].len() / 8;
    let blocks = pair.map(|row| &row.as_chunks::<8>().0[..whole]);
    let of_lanes = lanes.map(|lane| &lane.as_chunks::<8>().0[..whole]);
    #[cfg(target_arch = "x86_64")]
    let mut sums = if FMA {
        // SAFETY: `FMA` is only set where `dispatch!` has found AVX2 and FMA.
        unsafe { avx2::dots(blocks, of_lanes) }
    } else {
        plain::dots(blocks, of_lanes)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let mut sums = plain::dots(blocks, of_lanes);
    for (sums, row) in sums.iter_mut().zip(pair) {
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            for at in whole * 8..row.len() {
                *sum += row[at] * lane[at];
            }
        }
    }
    sums
}

#[inline(always)]
fn gather_body<const FMA: bool>(rows: Rows<'_>, lanes: Lanes<'_>, out: &mut [f32], out_step: usize) {
    for first in (0..rows.count).step_by(SUMMED) {
        let last = (first + SUMMED).min(rows.count);
        for column in (0..rows.width / 16 * 16).step_by(16) {
            for row in last..(last + SUMMED).min(rows.count) {
                fetch(&rows.row(row)[column..column + 1]);
            }
            for group in groups(lanes.count) {
                let out = &mut out[group.start * out_step + column..];
                let lane = |at: usize| &lanes.lane(group.start + at, last)[first..];
                let data = &rows.data[first * rows.step + column..];
                match group.len() {
                    1 => sum_group::<FMA, 1>(data, rows.step, [lane(0)], out, out_step),
                    2 => sum_group::<FMA, 2>(data, rows.step, [0, 1].map(lane), out, out_step),
                    3 => sum_group::<FMA, 3>(data, rows.step, [0, 1, 2].map(lane), out, out_step),
                    4 => sum_group::<FMA, 4>(data, rows.step, [0, 1, 2, 3].map(lane), out, out_step),
                    5 => sum_group::<FMA, 5>(data, rows.step, [0, 1, 2, 3, 4].map(lane), out, out_step),
                    _ => sum_group::<FMA, 6>(data, rows.step, [0, 1, 2, 3, 4, 5].map(lane), out, out_step),
                }
            }
        }
        for column in rows.width / 16 * 16..rows.width {
            for lane in 0..lanes.count {
                let factors = &lanes.lane(lane, last)[first..];
                let products = factors.iter().enumerate().map(|(at, factor)| factor * rows.data[(first + at) * rows.step + column]);
                out[lane * out_step + column] += products.sum::<f32>();
            }
        }
    }
}

/// Adds sixteen columns' sums over rows for some lanes, each of which has one factor for each row.
#[inline(always)]
fn sum_group<const FMA: bool, const T: usize>(data: &[f32], step: usize, lanes: [&[f32]; T], out: &mut [f32], out_step: usize) {
    #[cfg(target_arch = "x86_64")]
    let sums = if FMA {
        // SAFETY: `FMA` is only set where `dispatch!` has found AVX2 and FMA.
        unsafe { avx2::sums(data, step, lanes) }
    } else {
        plain::sums(data, step, lanes)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let sums = plain::sums(data, step, lanes);
    for (lane, sums) in sums.iter().enumerate() {
        out[lane * out_step..][..16].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
}

/// The same numbers, but for the rounding of fused multiplications, on any processor.
mod plain {
    /// See [`super::dots`]; without the numbers that fill no block.
    #[inline(always)]
    pub(super) fn dots<const T: usize>(rows: [&[[f32; 8]]; 2], lanes: [&[[f32; 8]]; T]) -> [[f32; T]; 2] {
        rows.map(|row| {
            lanes.map(|lane| {
                let mut s = [0f32; 8];
                for (x, l) in row.iter().zip(lane) {
                    (0..8).for_each(|i| s[i] += x[i] * l[i]);
                }
                ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
            })
        })
    }

    /// See [`super::sum_group`].
    #[inline(always)]
    pub(super) fn sums<const T: usize>(data: &[f32], step: usize, lanes: [&[f32]; T]) -> [[f32; 16]; T] {
        lanes.map(|lane| {
            let mut sums = [0f32; 16];
            for (at, factor) in lane.iter().enumerate() {
                sums.iter_mut().zip(&data[at * step..][..16]).for_each(|(sum, x)| *sum += factor * x);
            }
            sums
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    /// See [`super::dots`]; without the numbers that fill no block.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) fn dots<const T: usize>(rows: [&[[f32; 8]]; 2], lanes: [&[[f32; 8]]; T]) -> [[f32; T]; 2] {
        let whole = rows[0].len();
        assert!(rows[1].len() == whole && lanes.iter().all(|lane| lane.len() == whole));
        let mut sums = [[_mm256_setzero_ps(); T]; 2];
        for at in 0..whole {
            let pair = rows.map(|row| load(&row[at]));
            for t in 0..T {
                let lane = load(&lanes[t][at]);
                sums[0][t] = _mm256_fmadd_ps(pair[0], lane, sums[0][t]);
                sums[1][t] = _mm256_fmadd_ps(pair[1], lane, sums[1][t]);
            }
        }
        sums.map(|sums| sums.map(|sum| total(sum)))
    }

    /// See [`super::sum_group`].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) fn sums<const T: usize>(data: &[f32], step: usize, lanes: [&[f32]; T]) -> [[f32; 16]; T] {
        let count = lanes[0].len();
        assert!(lanes.iter().all(|lane| lane.len() == count) && (count == 0 || (count - 1) * step + 16 <= data.len()));
        let mut sums = [[_mm256_setzero_ps(); 2]; T];
        #[expect(clippy::needless_range_loop, reason = "it counts the rows, of which each lane has a factor")]
        for at in 0..count {
            // SAFETY: the assertion above says that sixteen numbers begin at each row's place.
            let pair = unsafe {
                let from = data.as_ptr().add(at * step);
                [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))]
            };
            for t in 0..T {
                let factor = _mm256_set1_ps(lanes[t][at]);
                sums[t][0] = _mm256_fmadd_ps(pair[0], factor, sums[t][0]);
                sums[t][1] = _mm256_fmadd_ps(pair[1], factor, sums[t][1]);
            }
        }
        let mut out = [[0f32; 16]; T];
        for (out, sums) in out.iter_mut().zip(sums) {
            // SAFETY: the array holds the sixteen numbers that are written.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), sums[1]);
            }
        }
        out
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn load(x: &[f32; 8]) -> __m256 {
        // SAFETY: the array holds the eight numbers that are read.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn total(sum: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + salt * 11) % 29) as f32 / 16.0 - 0.875).collect()
    }

    proptest! {
        /// Numbers are sixteenths, so that sums of their products are exact.
        #[test]
        fn products_are_those_of_the_definition(
            count in 0usize..70, width in 0usize..70, lanes in 1usize..15, gap in 0usize..3, far in any::<bool>()
        ) {
            let count = if far { count * 10 } else { count };
            let (step, of_lane) = (width + gap, width + 2 * gap);
            let x = numbers(count * step, 1);
            let rows = Rows { data: &x, step, width, count };
            let theta = numbers(lanes * of_lane, 2);
            let close = |a: f32, b: f64| (f64::from(a) - b).abs() <= 1e-4 * (1.0 + b.abs());
            let mut plain = vec![f32::NAN; lanes * count];
            let mut swift = plain.clone();
            let given = Lanes { data: &theta, step: of_lane, count: lanes };
            scores(rows, given, &mut swift, count);
            scores_body::<false>(rows, given, &mut plain, count);
            for lane in 0..lanes {
                for row in 0..count {
                    let exact: f64 = (0..width).map(|j| f64::from(x[row * step + j]) * f64::from(theta[lane * of_lane + j])).sum();
                    prop_assert!(close(swift[lane * count + row], exact) && close(plain[lane * count + row], exact));
                }
            }
            let mut plain_scores = plain;
            let residual = numbers(lanes * (count + gap), 3);
            let given = Lanes { data: &residual, step: count + gap, count: lanes };
            let mut plain = vec![0.5f32; lanes * width];
            let mut swift = plain.clone();
            gather(rows, given, &mut swift, width);
            gather_body::<false>(rows, given, &mut plain, width);
            for lane in 0..lanes {
                for column in 0..width {
                    let exact: f64 = (0..count).map(|i| f64::from(x[i * step + column]) * f64::from(residual[lane * (count + gap) + i])).sum();
                    let exact = exact + 0.5;
                    prop_assert!(close(swift[lane * width + column], exact) && close(plain[lane * width + column], exact));
                }
            }
            // A lane's bits don't depend on its neighbours, nor a row's; thirds are never exact.
            let x: Vec<f32> = x.iter().map(|v| v / 3.0).collect();
            let rows = Rows { data: &x, ..rows };
            scores(rows, Lanes { data: &theta, step: of_lane, count: lanes }, &mut plain_scores, count);
            if count > 0 {
                let mut alone = [0f32];
                let row = Rows { data: &x[(count - 1) * step..], count: 1, ..rows };
                scores(row, Lanes { data: &theta[(lanes - 1) * of_lane..], step: 0, count: 1 }, &mut alone, 1);
                prop_assert_eq!(alone[0], plain_scores[lanes * count - 1]);
            }
            let before = swift.clone();
            gather(rows, given, &mut swift, width);
            let last = Lanes { data: &residual[(lanes - 1) * (count + gap)..], step: 0, count: 1 };
            let mut alone = before[(lanes - 1) * width..].to_vec();
            gather(rows, last, &mut alone, width);
            prop_assert_eq!(&alone[..], &swift[(lanes - 1) * width..]);
        }
    }
}
