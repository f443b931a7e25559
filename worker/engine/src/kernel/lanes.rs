//! Loops over f32 slices, compiled once for any CPU and once for AVX2 with FMA.
//!
//! The bodies are plain loops over blocks of eight that the compiler vectorises; `FMA` says whether a multiply-add is
//! one instruction, and the choice is made at run time.

/// `a * b + c`, fused where the instruction exists.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Runs `$body::<FMA>($args)` with AVX2 code where the CPU has it.
macro_rules! dispatch {
    ($body:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn wide($($arg: $ty),*) $(-> $ret)? {
                $body::<true>($($arg),*)
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the CPU has the features that `wide` is compiled for.
                return unsafe { wide($($arg),*) };
            }
        }
        $body::<false>($($arg),*)
    }};
}
pub(crate) use dispatch;

/// The inner product of two slices of one length.
#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [[0f32; 8]; 2];
    let (mut a16, mut b16) = (a.chunks_exact(16), b.chunks_exact(16));
    for (x, y) in (&mut a16).zip(&mut b16) {
        for i in 0..8 {
            sums[0][i] = madd::<FMA>(x[i], y[i], sums[0][i]);
            sums[1][i] = madd::<FMA>(x[8 + i], y[8 + i], sums[1][i]);
        }
    }
    let mut lane = [0f32; 8];
    for i in 0..8 {
        lane[i] = sums[0][i] + sums[1][i];
    }
    let mut sum = ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
    for (x, y) in a16.remainder().iter().zip(b16.remainder()) {
        sum = madd::<FMA>(*x, *y, sum);
    }
    sum
}

/// The inner products of `q` with the rows of `data` that start every `stride` numbers: one per element of `out`.
///
/// Each product is summed in the same order whichever rows it is computed with.
#[inline(always)]
pub(crate) fn dots<const FMA: bool>(q: &[f32], data: &[f32], stride: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if FMA {
        debug_assert!(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"), "see `dispatch!`");
        // SAFETY: `FMA` is only set where `dispatch!` has found AVX2 and FMA.
        return unsafe { dots_avx2(q, data, stride, out) };
    }
    for (j, out) in out.iter_mut().enumerate() {
        *out = dot::<FMA>(q, &data[j * stride..][..q.len()]);
    }
}

/// [`dots`], four rows at a time: the compiler does not find this form by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn dots_avx2(q: &[f32], data: &[f32], stride: usize, out: &mut [f32]) {
    use std::arch::x86_64::{
        __m256, _mm_add_ps, _mm_storeu_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_loadu_ps,
        _mm256_setzero_ps,
    };
    let load = |x: &[f32; 8]| -> __m256 {
        // SAFETY: the array holds the eight numbers that are read.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    };
    let (whole, tail) = q.as_chunks::<8>();
    for (group, out) in out.chunks_mut(4).enumerate() {
        let row = |j: usize| &data[(group * 4 + j.min(out.len() - 1)) * stride..][..q.len()];
        let rows = [row(0), row(1), row(2), row(3)];
        let parts = rows.map(|row| &row.as_chunks::<8>().0[..whole.len()]);
        let mut sums = [_mm256_setzero_ps(); 4];
        for (i, q) in whole.iter().enumerate() {
            let q = load(q);
            for j in 0..4 {
                sums[j] = _mm256_fmadd_ps(q, load(&parts[j][i]), sums[j]);
            }
        }
        let sums = _mm256_hadd_ps(_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3]));
        let sums = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
        let mut products = [0f32; 4];
        // SAFETY: the array has room for the four numbers that are written.
        unsafe { _mm_storeu_ps(products.as_mut_ptr(), sums) };
        for (j, out) in out.iter_mut().enumerate() {
            let rest = &rows[j][whole.len() * 8..];
            *out = tail.iter().zip(rest).fold(products[j], |sum, (x, y)| x.mul_add(*y, sum));
        }
    }
}

/// The sum of a slice's squares.
#[inline(always)]
pub(crate) fn squares<const FMA: bool>(a: &[f32]) -> f32 {
    let (whole, rest) = a.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for chunk in whole {
        for i in 0..16 {
            sums[i] = madd::<FMA>(chunk[i], chunk[i], sums[i]);
        }
    }
    let first = sums.iter().sum();
    rest.iter().fold(first, |sum, x| madd::<FMA>(*x, *x, sum))
}

/// e^x for x <= 88 within two units in the last place; far negative x gives 0 or nearly so.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number in the low mantissa bits
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = madd::<FMA>(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = madd::<FMA>(n, -0.693_359_4, x);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = madd::<FMA>(1.987_569_1e-4, r, 1.398_2e-3);
    p = madd::<FMA>(p, r, 8.333_452e-3);
    p = madd::<FMA>(p, r, 4.166_579_6e-2);
    p = madd::<FMA>(p, r, 1.666_666_5e-1);
    p = madd::<FMA>(p, r, 5.000_000_3e-1);
    p = madd::<FMA>(p, r * r, r) + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32).wrapping_add(127);
    p * f32::from_bits((exponent as u32) << 23)
}

/// `x += y`.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    use rayon::prelude::*;
    const BLOCK: usize = 1 << 15;
    x.par_chunks_mut(BLOCK).zip(y.par_chunks(BLOCK)).for_each(|(x, y)| {
        for (x, y) in x.iter_mut().zip(y) {
            *x += *y;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_libraries() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp::<false>(x)) - truth).abs() <= 3e-7 * truth, "exp({x})");
        }
        assert!(exp::<false>(f32::NEG_INFINITY) < 1e-37);
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    fn run_dots(q: &[f32], data: &[f32], stride: usize, out: &mut [f32]) {
        dispatch!(dots(q: &[f32], data: &[f32], stride: usize, out: &mut [f32]))
    }

    #[test]
    fn dot_counts_every_element() {
        for n in [1, 7, 8, 15, 16, 17, 48, 65] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected = a.iter().map(|x| x * x).sum::<f32>();
            assert_eq!(dot::<false>(&a, &a), expected, "{n}");
            let rows: Vec<f32> = (0..7).flat_map(|_| a.iter().copied().chain([f32::NAN])).collect();
            let mut all = [0f32; 7];
            run_dots(&a, &rows, n + 1, &mut all);
            assert_eq!(all, [expected; 7], "{n}");
        }
    }
}
