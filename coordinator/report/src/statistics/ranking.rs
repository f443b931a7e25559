//! Area under the ROC curve, one class against the rest, on all rows and in every resample.

use super::metrics::mean;
use super::resamples::Resamples;

/// The rows of one class's ranking, by ascending score.
struct Ranked {
    /// Ends of runs of equal scores.
    ends: Vec<usize>,
    /// `(row, positive)`.
    rows: Vec<(u32, bool)>,
}

impl Ranked {
    fn new(scores: &[f32], truth: &[u32], present: &[usize], classes: usize, class: usize) -> Ranked {
        let score = |row: u32| scores[row as usize * classes + class];
        let mut rows: Vec<(u32, bool)> = present.iter().map(|r| (*r as u32, truth[*r] as usize == class)).collect();
        rows.sort_unstable_by(|a, b| score(a.0).total_cmp(&score(b.0)).then(a.0.cmp(&b.0)));
        let ends = (1..=rows.len()).filter(|&i| i == rows.len() || score(rows[i - 1].0) != score(rows[i].0)).collect();
        Ranked { ends, rows }
    }

    fn area(&self) -> f64 {
        let (mut negatives, mut positives, mut below) = (0_u64, 0_u64, 0_u64);
        let mut start = 0;
        for &end in &self.ends {
            let hits = self.rows[start..end].iter().filter(|r| r.1).count() as u64;
            let misses = (end - start) as u64 - hits;
            below += hits * (2 * negatives + misses);
            negatives += misses;
            positives += hits;
            start = end;
        }
        if negatives == 0 || positives == 0 { f64::NAN } else { below as f64 / (2 * negatives * positives) as f64 }
    }

    fn draws(&self, group: &[u32], resamples: &Resamples) -> Vec<f64> {
        let count = resamples.count();
        let (mut negatives, mut positives, mut below) = (vec![0_f32; count], vec![0_f32; count], vec![0_f64; count]);
        let (mut hits, mut misses) = (vec![0_f32; count], vec![0_f32; count]);
        let add = |sum: &mut [f32], row: u32| {
            for (s, w) in sum.iter_mut().zip(resamples.of(group[row as usize])) {
                *s += f32::from(*w);
            }
        };
        let mut start = 0;
        for &end in &self.ends {
            if let [(row, positive)] = self.rows[start..end] {
                if positive {
                    for ((b, n), w) in below.iter_mut().zip(&negatives).zip(resamples.of(group[row as usize])) {
                        *b += f64::from(*n * f32::from(*w));
                    }
                    add(&mut positives, row);
                } else {
                    add(&mut negatives, row);
                }
            } else {
                hits.fill(0.0);
                misses.fill(0.0);
                for &(row, positive) in &self.rows[start..end] {
                    add(if positive { &mut hits } else { &mut misses }, row);
                }
                for i in 0..count {
                    below[i] += f64::from(hits[i]) * (f64::from(negatives[i]) + 0.5 * f64::from(misses[i]));
                    negatives[i] += misses[i];
                    positives[i] += hits[i];
                }
            }
            start = end;
        }
        (0..count).map(|i| below[i] / (f64::from(negatives[i]) * f64::from(positives[i]))).collect()
    }
}

/// Macro one-vs-rest AUROC (Hanley & McNeil 1982; ties count half): the mean over classes that occur and don't fill
/// everything. `scores` is `[rows, classes]`, `present` the rows that count.
pub fn auroc(scores: &[f32], truth: &[u32], present: &[usize], classes: usize) -> f64 {
    mean((0..classes).map(|class| Ranked::new(scores, truth, present, classes, class).area()))
}

/// The same in every resample; `group` is each row's group. Costs rows x classes x resamples.
pub fn auroc_draws(scores: &[f32], truth: &[u32], present: &[usize], classes: usize, group: &[u32], resamples: &Resamples) -> Vec<f64> {
    let per_class: Vec<Vec<f64>> =
        (0..classes).map(|class| Ranked::new(scores, truth, present, classes, class).draws(group, resamples)).collect();
    (0..resamples.count()).map(|r| mean(per_class.iter().map(|draws| draws[r]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(scores: &[f32]) -> Vec<f32> {
        scores.iter().flat_map(|s| [1.0 - s, *s]).collect()
    }

    #[test]
    fn scikit_learns_example() {
        // sklearn's docs: roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) = 0.75.
        let area = auroc(&binary(&[0.1, 0.4, 0.35, 0.8]), &[0, 0, 1, 1], &[0, 1, 2, 3], 2);
        assert!((area - 0.75).abs() < 1e-12, "{area}");
        assert_eq!(auroc(&binary(&[0.5; 4]), &[0, 0, 1, 1], &[0, 1, 2, 3], 2), 0.5);
        assert!(auroc(&binary(&[0.1, 0.2]), &[0, 0], &[0, 1], 2).is_nan());
    }

    proptest! {
        #[test]
        fn draws_are_the_area_of_the_drawn_rows(rows in prop::collection::vec((0_u32..3, 0_u8..6, 0_u8..6), 4..30), seed in 0_u64..5) {
            let truth: Vec<u32> = rows.iter().map(|r| r.0).collect();
            let scores: Vec<f32> = rows.iter().flat_map(|r| [f32::from(r.1), f32::from(r.2), f32::from(r.1 + r.2)]).collect();
            let group: Vec<u32> = (0..rows.len() as u32).map(|r| r / 2).collect();
            let present: Vec<usize> = (0..rows.len()).collect();
            let resamples = Resamples::new(rows.len().div_ceil(2), 7, 0.95, seed);
            let draws = auroc_draws(&scores, &truth, &present, 3, &group, &resamples);
            for (r, draw) in draws.iter().enumerate() {
                let drawn: Vec<usize> = present.iter().flat_map(|row| {
                    std::iter::repeat_n(*row, usize::from(resamples.of(group[*row])[r]))
                }).collect();
                let direct = auroc(&scores, &truth, &drawn, 3);
                prop_assert!(draw.is_nan() && direct.is_nan() || (draw - direct).abs() < 1e-9, "{} {}", draw, direct);
            }
        }
    }
}
