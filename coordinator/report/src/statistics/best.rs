//! Which of several curves' points can't be told from the best one.

/// For each of several statistics, the p-value of "it is as good as the best" (Hsu 1996, multiple comparisons with the
/// best): how often, in resamples moved so that all are equally good, the best lies as far above it as observed. The
/// maximum is taken anew in every resample, so that the best one's being chosen on the same rows doesn't count against the
/// others. `draws` are `[statistics][resamples]`, paired. 1 for the best itself; NaN without draws.
pub fn as_good_as_best(values: &[f64], draws: &[Vec<f64>]) -> Vec<f64> {
    let count = draws.iter().map(Vec::len).min().unwrap_or(0);
    let moved: Vec<Vec<f64>> = values.iter().zip(draws).map(|(v, d)| d.iter().map(|d| d - v).collect()).collect();
    let top: Vec<f64> = (0..count).map(|r| moved.iter().map(|m| m[r]).fold(f64::NEG_INFINITY, f64::max)).collect();
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter()
        .zip(&moved)
        .map(|(value, moved)| {
            let gap = best - value;
            let pairs = top.iter().zip(moved).filter(|(t, m)| t.is_finite() && !m.is_nan());
            let (n, above) = pairs.fold((0.0, 0.0), |(n, above), (t, m)| (n + 1.0, above + f64::from(u8::from(t - m >= gap - 1e-12))));
            if n == 0.0 { f64::NAN } else { (above + 1.0) / (n + 1.0) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_best_is_as_good_as_itself_and_one_far_below_is_not() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut noise = || -> Vec<f64> { (0..400).map(|_| rng.random_range(-0.05..0.05)).collect() };
        let values = [0.5, 0.49, 0.1];
        let draws: Vec<Vec<f64>> = values.iter().map(|v| noise().iter().map(|d| v + d).collect()).collect();
        let p = as_good_as_best(&values, &draws);
        assert!(p[0] == 1.0 && p[1] > 0.3 && p[2] < 0.01, "{p:?}");
    }
}
