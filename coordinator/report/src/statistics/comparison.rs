//! Paired comparisons: bootstrap p-values of a difference, and Holm's correction over a family of them.

use std::f64::consts::SQRT_2;

/// Draws that differ by no more than this share of their mean are equal but for rounding.
const EQUAL: f64 = 1e-12;

/// Two-sided p-value of "the difference is zero" from its bootstrap draws: twice the smaller tail share, each with one
/// added draw so that it is never 0 (Davison & Hinkley 1997, eq. 4.11; the inversion of the percentile interval).
/// 1 without draws.
///
/// Where all draws lie on one side of zero that is a bound set by the number of draws, too coarse for Holm's
/// correction over a large family; then the tail is that of a normal distribution with the draws' mean and standard
/// error, and never above the bound. The mean, not the value on all rows: that of average precisions is biased, and the
/// draws aren't. Draws that are all the same say nothing of chance, and leave the bound.
pub fn p_value(draws: &[f64]) -> f64 {
    let defined: Vec<f64> = draws.iter().copied().filter(|d| !d.is_nan()).collect();
    let n = defined.len() as f64;
    let low = defined.iter().filter(|d| **d <= 0.0).count() as f64;
    let high = defined.iter().filter(|d| **d >= 0.0).count() as f64;
    let bound = (2.0 * (f64::min(low, high) + 1.0) / (n + 1.0)).min(1.0);
    if f64::min(low, high) > 0.0 || defined.len() < 2 {
        return bound;
    }
    let mean = defined.iter().sum::<f64>() / n;
    let error = (defined.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    if error <= EQUAL * mean.abs() {
        return bound;
    }
    erfc(mean.abs() / error / SQRT_2).clamp(f64::MIN_POSITIVE, bound)
}

/// The complementary error function for x >= 0, to 1.2e-7 of its value (Press et al., Numerical Recipes, 6.2).
pub fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    t * (-x * x + series).exp()
}

/// Holm's step-down correction (Holm 1979): p-values that hold over the whole family, in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut highest: f64 = 0.0;
    for (rank, i) in order.into_iter().enumerate() {
        highest = highest.max(((p.len() - rank) as f64 * p[i]).min(1.0));
        corrected[i] = highest;
    }
    corrected
}

/// Benjamini and Hochberg's (1995) correction, in the order given: calling those up to q discoveries keeps the expected
/// share of false ones among them at q.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    let mut corrected = vec![0.0; p.len()];
    let mut lowest: f64 = 1.0;
    for (above, i) in order.into_iter().enumerate() {
        lowest = lowest.min(p[i] * p.len() as f64 / (p.len() - above) as f64);
        corrected[i] = lowest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holm_is_rs_p_adjust() {
        // R: p.adjust(c(.01, .04, .03, .005), "holm") = .03 .06 .06 .02
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
    }

    #[test]
    fn benjamini_hochberg_is_rs_p_adjust() {
        // R: p.adjust(c(.01, .04, .03, .005, .9), "BH") = .025 .05 .05 .025 .9
        let corrected = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005, 0.9]);
        for (found, expected) in corrected.iter().zip([0.025, 0.05, 0.05, 0.025, 0.9]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
    }

    #[test]
    fn p_values_by_hand() {
        let draws: Vec<f64> = (0..999).map(|i| if i < 9 { -1.0 } else { 1.0 }).collect();
        assert!((p_value(&draws) - 0.02).abs() < 1e-12);
        assert_eq!(p_value(&[0.0; 10]), 1.0);
        assert_eq!(p_value(&[]), 1.0);
        // Five standard errors: no draw in a thousand crosses zero, the normal tail says 5.7e-7.
        let draws: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 4.0 } else { 6.0 }).collect();
        let p = p_value(&draws);
        assert!((p / 5.733e-7 - 1.0).abs() < 0.02, "{p}");
    }

    #[test]
    fn draws_that_are_all_the_same_are_no_certainty() {
        // Sums of tenths are no tenth: equal but for rounding is equal.
        for draws in [vec![0.1; 199], vec![-3.0; 199], (0..199).map(|i| if i % 2 == 0 { 0.3 } else { 0.1 + 0.2 }).collect()] {
            assert_eq!(p_value(&draws), 0.01, "{}", draws[0]);
        }
        let far: Vec<f64> = (0..1000).map(|i| 1.0 + 1e-6 * f64::from(i % 2)).collect();
        assert!(p_value(&far) > 0.0);
    }

    #[test]
    fn the_normal_tail_is_the_tables() {
        for (z, p) in [(1.959_963_985, 0.05), (2.575_829_304, 0.01), (3.290_526_731, 0.001), (0.0, 1.0)] {
            assert!((erfc(z / SQRT_2) / p - 1.0).abs() < 1e-6, "{z}");
        }
    }

    proptest! {
        #[test]
        fn holm_never_lowers_and_keeps_order(p in prop::collection::vec(0.0_f64..=1.0, 0..20)) {
            let corrected = holm(&p);
            for i in 0..p.len() {
                prop_assert!(corrected[i] >= p[i] && corrected[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || corrected[i] <= corrected[j]);
                }
            }
        }
    }
}
