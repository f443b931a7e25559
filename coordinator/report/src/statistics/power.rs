//! What a test set can show: the smallest difference that a paired comparison would probably find.

/// The standard normal's 80 % quantile: the power that is asked for.
const POWER: f64 = 0.841_621_233_572_914_3;

/// The smallest difference in accuracy that a paired (McNemar) test of `n` rows finds with 80 % power, given the share of
/// rows on which the two sides differ: the solution of Connor's (1987) n = (z√ψ + z'√(ψ - δ²))² / δ² for δ. `z` is the
/// normal quantile of the two-sided level. None where no difference could be found (δ would exceed the discordance).
pub fn smallest_difference(discordance: f64, n: f64, z: f64) -> Option<f64> {
    if !(discordance > 0.0 && n > 0.0) {
        return None;
    }
    let needed = |delta: f64| ((z * discordance.sqrt() + POWER * (discordance - delta * delta).max(0.0).sqrt()) / delta).powi(2);
    let (mut low, mut high) = (0.0, discordance.min(1.0));
    if needed(high) > n {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if needed(middle) > n { low = middle } else { high = middle }
    }
    Some(high)
}

/// The same for a statistic of any kind, from the standard error of the difference: (z + z')·error (Bloom 1995).
pub fn from_error(error: f64, z: f64) -> f64 {
    (z + POWER) * error
}

/// The two-sided normal quantile of a confidence in 0..1: 1.96 for 0.95.
pub fn two_sided(confidence: f64) -> f64 {
    // erfc falls from 1 to 0, so bisection finds where it is 1 - confidence.
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if super::normal::erfc(middle / std::f64::consts::SQRT_2) > 1.0 - confidence { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_tables() {
        assert!((two_sided(0.95) - 1.959_964).abs() < 1e-5);
        assert!((two_sided(0.99) - 2.575_829).abs() < 1e-5);
    }

    #[test]
    fn a_difference_needs_as_many_rows_as_connor_says() {
        // psi = .3, delta = .1: (1.96·.5477 + .8416·sqrt(.29))² / .01 = 232.9 rows.
        let delta = smallest_difference(0.3, 232.9, 1.959_964).unwrap();
        assert!((delta - 0.1).abs() < 1e-3, "{delta}");
        assert_eq!(smallest_difference(0.02, 20.0, 1.96), None, "too few rows differ");
        assert_eq!(smallest_difference(0.0, 100.0, 1.96), None);
    }

    #[test]
    fn one_that_small_is_found_four_times_in_five() {
        use rand::{Rng, SeedableRng};
        let (n, discordance) = (400, 0.25);
        let delta = smallest_difference(discordance, f64::from(n), 1.959_964).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let up = f64::midpoint(discordance, delta);
        let found = (0..2000).filter(|_| {
            let (mut plus, mut minus) = (0.0, 0.0);
            for _ in 0..n {
                let draw: f64 = rng.random();
                if draw < up {
                    plus += 1.0
                } else if draw < discordance {
                    minus += 1.0
                }
            }
            // McNemar's z.
            (plus - minus) / f64::sqrt(plus + minus) > 1.96
        });
        let share = found.count() as f64 / 2000.0;
        assert!((0.76..0.84).contains(&share), "{share}");
    }
}
