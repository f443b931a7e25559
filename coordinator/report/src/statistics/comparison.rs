//! Paired comparisons: bootstrap p-values of a difference, and Holm's correction over a family of them.

/// Two-sided p-value of "the difference is zero" from its bootstrap draws: twice the smaller tail share, each with one
/// added draw so that it is never 0 (Davison & Hinkley 1997, eq. 4.11; the inversion of the percentile interval).
/// 1 without draws.
pub fn p_value(draws: &[f64]) -> f64 {
    let defined = draws.iter().filter(|d| !d.is_nan());
    let (mut n, mut low, mut high) = (0.0, 0.0, 0.0);
    for draw in defined {
        n += 1.0;
        low += f64::from(u8::from(*draw <= 0.0));
        high += f64::from(u8::from(*draw >= 0.0));
    }
    (2.0 * (f64::min(low, high) + 1.0) / (n + 1.0)).min(1.0)
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
    fn p_values_by_hand() {
        let draws: Vec<f64> = (0..999).map(|i| if i < 9 { -1.0 } else { 1.0 }).collect();
        assert!((p_value(&draws) - 0.02).abs() < 1e-12);
        assert_eq!(p_value(&[0.0; 10]), 1.0);
        assert_eq!(p_value(&[]), 1.0);
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
