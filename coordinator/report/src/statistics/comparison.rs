//! Paired comparisons: bootstrap p-values of a difference, and Holm's correction over a family of them.

use super::student;

/// Draws that differ by no more than this share of their mean are equal but for rounding.
const EQUAL: f64 = 1e-12;

/// Two-sided p-value of "the difference is zero" from its bootstrap draws: twice the smaller tail share, each with one
/// added draw so that it is never 0 (Davison & Hinkley 1997, eq. 4.11; the inversion of the percentile interval).
/// 1 without draws.
///
/// Student's tail with the draws' mean and standard error takes its place where it is larger, and where all draws lie on one side of
/// zero: their number is then too few to tell how small it is. With `groups` that were resampled it has one degree of freedom
/// less, and the error is larger by √(g / (g − 1)), by which resampling them understates it; counted tails of few groups are too
/// thin by as much. The mean, not the value on all rows: that of
/// average precisions is biased, and the draws aren't. Draws that are all the same say nothing of chance, and count.
pub fn p_value(draws: &[f64], groups: usize) -> f64 {
    let defined: Vec<f64> = draws.iter().copied().filter(|d| !d.is_nan()).collect();
    let n = defined.len() as f64;
    let low = defined.iter().filter(|d| **d <= 0.0).count() as f64;
    let high = defined.iter().filter(|d| **d >= 0.0).count() as f64;
    let counted = (draw_beyond(defined.len()) * (f64::min(low, high) + 1.0)).min(1.0);
    if defined.len() < 2 || groups < 2 {
        return counted;
    }
    let mean = defined.iter().sum::<f64>() / n;
    let understated = groups as f64 / (groups as f64 - 1.0);
    let error = (understated * defined.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    if error <= EQUAL * mean.abs() {
        return counted;
    }
    let tails = student::tails(mean.abs() / error, groups - 1).clamp(f64::MIN_POSITIVE, 1.0);
    if f64::min(low, high) > 0.0 { tails.max(counted) } else { tails }
}

/// By how much one more of so many draws beyond zero raises a [`p_value`].
pub fn draw_beyond(draws: usize) -> f64 {
    2.0 / (draws as f64 + 1.0)
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
        assert!((p_value(&draws, 100) - 0.02).abs() < 1e-12);
        assert_eq!(p_value(&[0.0; 10], 100), 1.0);
        assert_eq!(p_value(&[], 100), 1.0);
        // Five standard errors: no draw in a thousand crosses zero. The tail of many groups is the normal one, 5.7e-7; that of
        // twenty is of 5 · √(19 / 20) at 19 degrees of freedom, 1.06e-4.
        let draws: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 4.0 } else { 6.0 }).collect();
        for (groups, expected) in [(1_000_000, 5.733e-7), (20, 1.06e-4)] {
            let p = p_value(&draws, groups);
            assert!((p / expected - 1.0).abs() < 0.02, "{p}");
        }
        assert_eq!(p_value(&draws, 1), 2.0 / 1001.0, "one group tells nothing");
    }

    #[test]
    fn small_p_values_of_twenty_groups_are_as_rare_as_they_say() {
        use rand::{Rng, SeedableRng};
        const GROUPS: usize = 20;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let mut p = |seed: u64| {
            // A sum of twelve uniform numbers is normal enough.
            let normal = |_| (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
            let column: Vec<(u32, f64)> = (0..GROUPS as u32).zip((0..GROUPS).map(normal)).collect();
            let resamples = crate::statistics::resamples::Resamples::new(GROUPS, 1000, 0.95, seed);
            p_value(&resamples.sum_real(&column), GROUPS)
        };
        let all: Vec<f64> = (0..6000).map(&mut p).collect();
        // 300, 17 and 4 are expected; a normal tail gives 2.5 times as many of the second kind, and 4.5 of the third.
        let below = |limit: f64| all.iter().filter(|p| **p < limit).count();
        let found = [0.05, 0.05 / 18.0, 0.05 / 69.0].map(below);
        assert!((250..=450).contains(&found[0]) && found[1] <= 30 && found[2] <= 11, "{found:?} of 6000");
    }

    #[test]
    fn draws_that_are_all_the_same_are_no_certainty() {
        // Sums of tenths are no tenth: equal but for rounding is equal.
        for draws in [vec![0.1; 199], vec![-3.0; 199], (0..199).map(|i| if i % 2 == 0 { 0.3 } else { 0.1 + 0.2 }).collect()] {
            assert_eq!(p_value(&draws, 100), 0.01, "{}", draws[0]);
        }
        let far: Vec<f64> = (0..1000).map(|i| 1.0 + 1e-6 * f64::from(i % 2)).collect();
        assert!(p_value(&far, 100) > 0.0);
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
