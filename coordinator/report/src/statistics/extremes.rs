//! Whether the largest of several statistics can be told from the smallest.

/// Two-sided p-value of "they are equal", of the largest and the smallest of several statistics: how often, in resamples moved so
/// that all are equal, the difference of any two is, in its own standard errors, as large as that of these two was (single-step
/// maximum, Westfall & Young 1993). So that they are the extremes, of however many, doesn't count for them. `draws` are
/// `[statistics][resamples]`, paired; draws that are NaN are left out. A standard error is taken to be at least `resolution`.
/// None of fewer than two, or without draws.
pub fn told_apart(values: &[f64], draws: &[Vec<f64>], resolution: f64) -> Option<f64> {
    let at = |pick: fn(&f64, &f64) -> bool| (0..values.len()).reduce(|a, b| if pick(&values[b], &values[a]) { b } else { a });
    let (largest, smallest) = (at(|b, a| b > a)?, at(|b, a| b < a)?);
    let count = draws.iter().map(Vec::len).min().unwrap_or(0);
    if values.len() > 1 && count > 1 && largest == smallest {
        return Some(1.0);
    }
    // Per resample the largest difference in standard errors, of those pairs that are defined there.
    let mut furthest = vec![f64::NEG_INFINITY; count];
    let mut observed = None;
    for a in 0..values.len() {
        for b in a + 1..values.len() {
            let apart = values[a] - values[b];
            let moved: Vec<f64> = draws[a].iter().zip(&draws[b]).map(|(x, y)| x - y - apart).collect();
            let defined: Vec<f64> = moved.iter().copied().filter(|d| !d.is_nan()).collect();
            let mean = defined.iter().sum::<f64>() / defined.len() as f64;
            let variance = defined.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (defined.len() as f64 - 1.0);
            let error = variance.sqrt().max(resolution);
            for (furthest, moved) in furthest.iter_mut().zip(&moved) {
                *furthest = furthest.max(moved.abs() / error);
            }
            if [a, b] == [largest.min(smallest), largest.max(smallest)] {
                observed = Some(apart.abs() / error);
            }
        }
    }
    let observed = observed.filter(|_| count > 1)?;
    // Resamples in which no pair is defined tell nothing.
    let told = furthest.iter().filter(|far| far.is_finite()).count();
    let as_far = furthest.iter().filter(|far| **far >= observed).count();
    Some((as_far as f64 + 1.0) / (told as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A sum of twelve uniform numbers is normal enough.
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
    }

    /// Statistics of this error around these means, with draws of them.
    fn drawn(rng: &mut ChaCha8Rng, means: &[f64], error: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
        let values: Vec<f64> = means.iter().map(|mean| mean + error * normal(rng)).collect();
        let draws = values.iter().map(|value| (0..200).map(|_| value + error * normal(rng)).collect()).collect();
        (values, draws)
    }

    #[test]
    fn of_many_that_are_equal_the_extremes_are_rarely_told_apart() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for several in [2, 7, 20] {
            let mut told = || {
                let (values, draws) = drawn(&mut rng, &vec![1.0; several], 0.3);
                told_apart(&values, &draws, 0.01).expect("draws") < 0.05
            };
            let share = (0..300).filter(|_| told()).count() as f64 / 300.0;
            assert!(share < 0.09, "{share} of {several}");
        }
    }

    #[test]
    fn one_that_is_far_off_is_told_apart() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut told = || {
            let (values, draws) = drawn(&mut rng, &[1.0, 1.0, 1.0, 1.0, 3.0], 0.3);
            told_apart(&values, &draws, 0.01).expect("draws") < 0.05
        };
        assert!((0..50).all(|_| told()));
    }

    #[test]
    fn nothing_is_told_of_one_or_without_draws() {
        assert_eq!(told_apart(&[], &[], 0.1), None);
        assert_eq!(told_apart(&[1.0], &[vec![1.0; 9]], 0.1), None);
        assert_eq!(told_apart(&[1.0, 2.0], &[Vec::new(), Vec::new()], 0.1), None);
        // Equal ones are never told apart.
        assert_eq!(told_apart(&[1.0, 1.0], &[vec![1.0; 9], vec![1.0; 9]], 0.1), Some(1.0));
    }
}
