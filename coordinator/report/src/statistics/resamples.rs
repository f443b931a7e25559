//! The grouped bootstrap: how often each group of test rows is drawn in each resample, and weighted sums under it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::results::Estimate;

/// Rows below which a statistic of them gets no interval and no p-value: it hangs on a few, whatever its resamples say.
pub const FEWEST: usize = 10;

/// Whether resamples tell how much a statistic varies that rests on so many rows, which are of so many groups.
pub fn telling(rows: usize, groups: usize) -> bool {
    rows >= FEWEST && groups > 1
}

/// Whether a score is 0 or 1 and in every resample the same, where it is defined: none of 32 rows found is found in no resample either,
/// which is no certainty that none ever is.
pub fn settled(score: f64, draws: &[f64]) -> bool {
    (score == 0.0 || score == 1.0) && draws.iter().all(|draw| *draw == score || draw.is_nan())
}

/// One column of group totals: `(group, total)` where the total isn't zero, groups ascending.
pub type Column = Vec<(u32, u32)>;

/// Cluster bootstrap weights (Efron & Tibshirani 1993, ch. 8; Field & Welsh 2007): each resample draws as many groups
/// as there are, with replacement, and keeps all rows of a drawn group.
#[derive(Debug, Clone)]
pub struct Resamples {
    groups: usize,
    count: usize,
    confidence: f64,
    /// `[groups, count]`: sums run along resamples, so that they vectorise.
    weights: Vec<u16>,
    heaviest: u32,
}

impl Resamples {
    /// `count` resamples of `groups` groups; intervals cover `confidence` in 0..1. The seed alone decides the draw.
    pub fn new(groups: usize, count: usize, confidence: f64, seed: u64) -> Resamples {
        let mut weights = vec![0_u16; groups * count];
        for resample in 0..count {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(resample as u64);
            for _ in 0..groups {
                let group = rng.random_range(0..groups as u32) as usize;
                let weight = &mut weights[group * count + resample];
                *weight = weight.saturating_add(1);
            }
        }
        let heaviest = u32::from(weights.iter().copied().max().unwrap_or(0));
        Resamples { groups, count, confidence, weights, heaviest }
    }

    /// How many resamples there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is an interval of anything: there are resamples, of two groups or more.
    pub fn has_intervals(&self) -> bool {
        self.groups > 1 && self.count > 0
    }

    /// The weights of one group, one per resample.
    pub fn of(&self, group: u32) -> &[u16] {
        &self.weights[group as usize * self.count..][..self.count]
    }

    /// The column's total in every resample, exactly: sums in 16 bits where they can't overflow, then in 32.
    pub fn sum(&self, column: &[(u32, u32)]) -> Vec<u32> {
        let mut total = vec![0_u32; self.count];
        let mut partial = vec![0_u16; self.count];
        let mut bound = 0_u32;
        let flush = |total: &mut [u32], partial: &mut [u16]| {
            for (t, p) in total.iter_mut().zip(partial) {
                *t += u32::from(std::mem::take(p));
            }
        };
        for &(group, value) in column {
            let weights = self.of(group);
            let most = value.saturating_mul(self.heaviest);
            if most > u32::from(u16::MAX) {
                for (t, w) in total.iter_mut().zip(weights) {
                    *t += value * u32::from(*w);
                }
                continue;
            }
            if bound + most > u32::from(u16::MAX) {
                flush(&mut total, &mut partial);
                bound = 0;
            }
            bound += most;
            if value == 1 {
                for (p, w) in partial.iter_mut().zip(weights) {
                    *p += w;
                }
            } else {
                let value = value as u16;
                for (p, w) in partial.iter_mut().zip(weights) {
                    *p += value * w;
                }
            }
        }
        flush(&mut total, &mut partial);
        total
    }

    /// The weighted sum of real group totals in every resample.
    pub fn sum_real(&self, column: &[(u32, f64)]) -> Vec<f64> {
        let mut total = vec![0.0; self.count];
        for &(group, value) in column {
            for (t, w) in total.iter_mut().zip(self.of(group)) {
                *t += value * f64::from(*w);
            }
        }
        total
    }

    /// The percentile interval of a statistic's draws; draws in which it is undefined (NaN) are left out, and there
    /// is no interval if that leaves under half of them. Nor is there one with fewer than two groups: each resample
    /// is then the same, and an interval of width 0 would look like certainty.
    pub fn interval(&self, draws: &[f64]) -> Option<(f64, f64)> {
        if self.groups < 2 {
            return None;
        }
        let mut defined: Vec<f64> = draws.iter().copied().filter(|d| !d.is_nan()).collect();
        if defined.is_empty() || defined.len() * 2 < draws.len() {
            return None;
        }
        let tail = (1.0 - self.confidence) / 2.0;
        Some((quantile(&mut defined, tail), quantile(&mut defined, 1.0 - tail)))
    }

    /// The percentile interval of a statistic between 0 and 1 that is biased, and in resamples as much again: both ends are moved by what
    /// its draws are off in the mean, once for theirs and once for that of the value `found` (Efron and Tibshirani 1993, section 10.2). None
    /// of what is the same in every resample at 0 or 1.
    pub fn unbiased_interval(&self, found: f64, draws: &[f64]) -> Option<(f64, f64)> {
        let (lo, hi) = self.interval(draws).filter(|_| !settled(found, draws))?;
        let bias = super::metrics::mean(draws.iter().copied().filter(|draw| !draw.is_nan())) - found;
        Some(((lo - 2.0 * bias).clamp(0.0, 1.0), (hi - 2.0 * bias).clamp(0.0, 1.0)))
    }

    /// A value of `n` rows, with the percentile interval of its draws where these are [`telling`].
    pub fn estimate(&self, value: f64, draws: &[f64], n: usize, telling: bool) -> Estimate {
        let interval = telling.then(|| self.interval(draws)).flatten();
        Estimate { value, lo: interval.map(|i| i.0), hi: interval.map(|i| i.1), n }
    }
}

/// The `q`-quantile (0..=1) with linear interpolation between order statistics (Hyndman & Fan 1996, type 7; NumPy's
/// and R's default). Reorders `values`, which must not be empty and hold no NaN.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    let place = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    if share == 0.0 || above.is_empty() || !low.is_finite() {
        return low;
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    if high.is_finite() { low + share * (high - low) } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_numpys() {
        let mut values = vec![15.0, 20.0, 35.0, 40.0, 50.0];
        assert_eq!(quantile(&mut values, 0.4), 29.0);
        assert_eq!(quantile(&mut values, 0.0), 15.0);
        assert_eq!(quantile(&mut values, 1.0), 50.0);
        assert!((quantile(&mut values, 0.025) - 15.5).abs() < 1e-12);
    }

    #[test]
    fn every_resample_draws_as_many_groups_as_there_are() {
        let resamples = Resamples::new(37, 50, 0.95, 3);
        let all: Column = (0..37).map(|g| (g, 1)).collect();
        assert!(resamples.sum(&all).iter().all(|n| *n == 37));
        assert_eq!(resamples.weights, Resamples::new(37, 50, 0.95, 3).weights);
        assert_ne!(resamples.weights, Resamples::new(37, 50, 0.95, 4).weights);
    }

    #[test]
    fn one_group_has_no_interval() {
        assert_eq!(Resamples::new(1, 200, 0.95, 0).interval(&[0.7; 200]), None);
        assert!(Resamples::new(2, 200, 0.95, 0).interval(&[0.7; 200]).is_some());
    }

    #[test]
    fn the_interval_of_a_mean_is_the_textbooks() {
        // 400 rows, half of them right: standard error sqrt(.25 / 400) = .025, interval .5 +- .049.
        let resamples = Resamples::new(400, 4000, 0.95, 1);
        let right: Column = (0..200).map(|g| (g, 1)).collect();
        let draws: Vec<f64> = resamples.sum(&right).iter().map(|n| f64::from(*n) / 400.0).collect();
        let (lo, hi) = resamples.interval(&draws).expect("an interval");
        assert!((lo - 0.451).abs() < 0.006 && (hi - 0.549).abs() < 0.006, "{lo} {hi}");
    }

    proptest! {
        #[test]
        fn sums_are_exact(values in prop::collection::vec(0_u32..40_000, 1..40), seed in 0_u64..9) {
            let resamples = Resamples::new(values.len(), 17, 0.95, seed);
            let column: Column = values.iter().enumerate().map(|(g, v)| (g as u32, *v)).filter(|c| c.1 > 0).collect();
            let real: Vec<(u32, f64)> = column.iter().map(|(g, v)| (*g, f64::from(*v))).collect();
            for (r, (sum, sum_real)) in resamples.sum(&column).into_iter().zip(resamples.sum_real(&real)).enumerate() {
                let expected: u32 = column.iter().map(|(g, v)| v * u32::from(resamples.of(*g)[r])).sum();
                prop_assert_eq!(sum, expected);
                prop_assert_eq!(sum_real, f64::from(expected));
            }
        }

        #[test]
        fn quantiles_are_ordered(mut values in prop::collection::vec(-1e6_f64..1e6, 1..60), a in 0.0_f64..1.0, b in 0.0_f64..1.0) {
            let (a, b) = (a.min(b), a.max(b));
            let (low, high) = (quantile(&mut values, a), quantile(&mut values, b));
            prop_assert!(low <= high);
        }
    }
}
