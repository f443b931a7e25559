//! How well scores rank the rows of each class: area under the ROC curve and average precision, one class against the
//! rest, on all rows and in every resample.

use super::metrics::mean;
use super::resamples::Resamples;

/// The rows of one class's ranking, by ascending score.
#[derive(Debug)]
pub struct Ranked {
    /// Ends of runs of equal scores.
    ends: Vec<usize>,
    /// `(row, positive)`.
    rows: Vec<(u32, bool)>,
}

/// The average precision that rows have on average in a random order, without ties, where `hits` of `rows` are of the class (Bestgen
/// 2015): more than their share, for a row counts in its own precision. NaN without rows of the class.
pub fn at_random(hits: usize, rows: usize) -> f64 {
    if hits == 0 {
        return f64::NAN;
    }
    // The precision at place k is 1/k for the row there, and of the k - 1 rows above the share of the class among the others.
    let own = (1..=rows).map(|place| 1.0 / place as f64).sum::<f64>() / rows as f64;
    own + (1.0 - own) * (hits - 1) as f64 / (rows - 1).max(1) as f64
}

impl Ranked {
    /// The rows `present` by column `class` of `scores` `[rows, classes]`; `positive` says which are of the class.
    pub fn new(scores: &[f32], present: &[usize], classes: usize, class: usize, positive: impl Fn(usize) -> bool) -> Ranked {
        let score = |row: u32| scores[row as usize * classes + class];
        let mut rows: Vec<(u32, bool)> = present.iter().map(|r| (*r as u32, positive(*r))).collect();
        rows.sort_unstable_by(|a, b| score(a.0).total_cmp(&score(b.0)).then(a.0.cmp(&b.0)));
        let ends = (1..=rows.len()).filter(|&i| i == rows.len() || score(rows[i - 1].0) != score(rows[i].0)).collect();
        Ranked { ends, rows }
    }

    /// The area under the ROC curve (Hanley and McNeil 1982; ties count half); NaN without rows of both kinds.
    pub fn area(&self) -> f64 {
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

    /// The average precision: precision at each score, weighted by the recall gained there (scikit-learn's
    /// `average_precision_score`); NaN without rows of the class.
    pub fn precision(&self) -> f64 {
        let (mut above, mut hits, mut sum) = (0.0, 0.0, 0.0);
        for run in self.runs() {
            let found = run.iter().filter(|r| r.1).count() as f64;
            above += run.len() as f64;
            hits += found;
            sum += found * hits / above;
        }
        if hits == 0.0 { f64::NAN } else { sum / hits }
    }

    /// Runs of equal scores, the highest first.
    fn runs(&self) -> impl Iterator<Item = &[(u32, bool)]> {
        (0..self.ends.len()).rev().map(|i| &self.rows[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]])
    }

    /// The average precision in every resample, a row's own place not counted in its precision; `group` is each row's group.
    ///
    /// With its own row (and in a resample all its copies) in it, the precision at a row of the class is too high by as much
    /// as it lacks to 1, over the rows that are ranked so high: much where few rows are of the class, and the same way in
    /// every class, so that the mean over many rare ones is nearly always above its interval's true value. Among the
    /// *other* rows above it the share of the class is unbiased. (Where there is none above, precision counts as 1.)
    ///
    /// Of rows of equal score each counts in every one's precision, in its own no more than in the others'. What is left out is
    /// then the row's share of its run's places: without the whole row, a score that is the same for all would have a lower
    /// average precision than the share of the class, which is what it has in any number of rows.
    pub fn precision_draws(&self, group: &[u32], resamples: &Resamples) -> Vec<f64> {
        let count = resamples.count();
        let (mut above, mut hits) = (vec![0_f32; count], vec![0_f32; count]);
        let mut sum = vec![0_f64; count];
        let of = |row: u32| resamples.of(group[row as usize]).iter().map(|w| f32::from(*w));
        for run in self.runs() {
            // Rows of equal score stand above one another.
            for (row, positive) in run {
                above.iter_mut().zip(of(*row)).for_each(|(a, w)| *a += w);
                if *positive {
                    hits.iter_mut().zip(of(*row)).for_each(|(h, w)| *h += w);
                }
            }
            for (row, _) in run.iter().filter(|r| r.1) {
                for ((sum, w), (a, h)) in sum.iter_mut().zip(of(*row)).zip(above.iter().zip(&hits)) {
                    let own = w / run.len() as f32;
                    let precision = if *a > own { (h - own) / (a - own) } else { 1.0 };
                    *sum += f64::from(w * precision);
                }
            }
        }
        sum.iter().zip(hits).map(|(s, h)| s / f64::from(h)).collect()
    }

    /// The area in every resample; `group` is each row's group.
    pub fn area_draws(&self, group: &[u32], resamples: &Resamples) -> Vec<f64> {
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

/// The mean of several classes' draws, resample by resample, over the classes that have any. Where a resample has no row of one, the mean
/// of its other draws stands: the mean over the other classes would be another statistic, by as much as that class is easier or harder
/// than they are.
pub fn mean_of_draws(draws: &[Vec<f64>], count: usize) -> Vec<f64> {
    let centres: Vec<f64> = draws.iter().map(|draws| mean(draws.iter().copied())).collect();
    let drawn = |r: usize| draws.iter().zip(&centres).map(move |(draws, centre)| if draws[r].is_nan() { *centre } else { draws[r] });
    (0..count).map(|r| mean(drawn(r))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    fn binary(scores: &[f32]) -> Vec<f32> {
        scores.iter().flat_map(|s| [1.0 - s, *s]).collect()
    }

    fn auroc(scores: &[f32], truth: &[u32], present: &[usize], classes: usize) -> f64 {
        mean((0..classes).map(|class| Ranked::new(scores, present, classes, class, |r| truth[r] as usize == class).area()))
    }

    #[test]
    fn scikit_learns_example() {
        // sklearn's docs: roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) = 0.75.
        let area = auroc(&binary(&[0.1, 0.4, 0.35, 0.8]), &[0, 0, 1, 1], &[0, 1, 2, 3], 2);
        assert!((area - 0.75).abs() < 1e-12, "{area}");
        assert_eq!(auroc(&binary(&[0.5; 4]), &[0, 0, 1, 1], &[0, 1, 2, 3], 2), 0.5);
        assert!(auroc(&binary(&[0.1, 0.2]), &[0, 0], &[0, 1], 2).is_nan());
    }

    /// Mean over the drawn rows of the class of its share among the rows drawn that score as high, without the row's part of its
    /// copies: one for each row of its score, drawn or not.
    fn without_itself(scores: &[f32], truth: &[u32], drawn: &[usize], class: usize) -> f64 {
        let is = |row: usize| truth[row] as usize == class;
        let score = |row: usize| scores[row * 3 + class];
        let precision = |row: usize| {
            let copies = drawn.iter().filter(|other| **other == row).count() as f64;
            let own = copies / (0..truth.len()).filter(|other| score(*other) == score(row)).count() as f64;
            let high: Vec<usize> = drawn.iter().copied().filter(|other| score(*other) >= score(row)).collect();
            let (above, hits) = (high.len() as f64, high.iter().filter(|other| is(**other)).count() as f64);
            if above > own { (hits - own) / (above - own) } else { 1.0 }
        };
        mean(drawn.iter().filter(|row| is(**row)).map(|row| precision(*row)))
    }

    #[test]
    fn a_row_is_not_counted_in_its_own_precision() {
        // By falling score: joy, other, joy. As it stands (1 + 2/3) / 2; without themselves 1 and, of the two above, 1/2.
        let ranked = Ranked::new(&binary(&[0.9, 0.5, 0.1]), &[0, 1, 2], 2, 1, |r| r != 1);
        assert!((ranked.precision() - 5.0 / 6.0).abs() < 1e-12);
        let draws = ranked.precision_draws(&[0, 0, 0], &Resamples::new(1, 2, 0.95, 0));
        assert!(draws.iter().all(|d| (d - 0.75).abs() < 1e-6), "{draws:?}");
    }

    #[test]
    fn of_equal_scores_a_row_leaves_out_its_share() {
        // One of four is joy, and nothing tells which: 1/4 as it stands. Without a quarter of the row 0.75 / 3.75.
        let ranked = Ranked::new(&binary(&[0.5; 4]), &[0, 1, 2, 3], 2, 1, |r| r == 2);
        assert!((ranked.precision() - 0.25).abs() < 1e-12);
        let draws = ranked.precision_draws(&[0; 4], &Resamples::new(1, 2, 0.95, 0));
        assert!(draws.iter().all(|d| (d - 0.2).abs() < 1e-6), "{draws:?}");
    }

    #[test]
    fn a_random_order_has_what_is_expected_of_it() {
        // Of two rows the one of the class comes first or second: (1 + 1/2) / 2.
        assert!((at_random(1, 2) - 0.75).abs() < 1e-12 && (at_random(3, 3) - 1.0).abs() < 1e-12 && at_random(1, 1) == 1.0);
        assert!(at_random(0, 9).is_nan());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (hits, rows) in [(1, 12), (4, 40), (15, 30), (20, 300)] {
            let (present, group): (Vec<usize>, Vec<u32>) = ((0..rows).collect(), vec![0; rows]);
            let all = Resamples::new(1, 1, 0.95, 3);
            let (mut value, mut draw) = (Vec::new(), Vec::new());
            for _ in 0..2_000 {
                let scores: Vec<f32> = (0..rows).map(|_| rng.random()).collect();
                let ranked = Ranked::new(&scores, &present, 1, 0, |row| row < hits);
                value.push(ranked.precision());
                draw.push(ranked.precision_draws(&group, &all)[0]);
            }
            let share = hits as f64 / rows as f64;
            for (name, found, expected) in [("value", value, at_random(hits, rows)), ("draws", draw, share)] {
                let centre = mean(found.iter().copied());
                let error = (mean(found.iter().map(|f| (f - centre).powi(2))) / found.len() as f64).sqrt();
                assert!((centre - expected).abs() < 4.0 * error, "{name}, {hits} of {rows}: {centre} ± {error}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_class_that_a_resample_lacks_has_its_mean_there() {
        let (easy, rare, absent) = (vec![0.9, 0.8, 0.9], vec![0.1, f64::NAN, 0.3], vec![f64::NAN; 3]);
        let draws = mean_of_draws(&[easy, rare, absent], 3);
        assert!(draws.iter().zip([0.5, 0.5, 0.6]).all(|(draw, expected)| (draw - expected).abs() < 1e-12), "{draws:?}");
    }

    proptest! {
        #[test]
        fn draws_are_those_of_the_drawn_rows(rows in prop::collection::vec((0_u32..3, 0_u8..6, 0_u8..6), 4..30), seed in 0_u64..5) {
            let truth: Vec<u32> = rows.iter().map(|r| r.0).collect();
            let scores: Vec<f32> = rows.iter().flat_map(|r| [f32::from(r.1), f32::from(r.2), f32::from(r.1 + r.2)]).collect();
            let group: Vec<u32> = (0..rows.len() as u32).map(|r| r / 2).collect();
            let present: Vec<usize> = (0..rows.len()).collect();
            let resamples = Resamples::new(rows.len().div_ceil(2), 7, 0.95, seed);
            for class in 0..3 {
                let ranked = |rows: &[usize]| Ranked::new(&scores, rows, 3, class, |r| truth[r] as usize == class);
                let (areas, precisions) = (ranked(&present).area_draws(&group, &resamples), ranked(&present).precision_draws(&group, &resamples));
                for r in 0..7 {
                    let drawn: Vec<usize> = present.iter().flat_map(|row| {
                        std::iter::repeat_n(*row, usize::from(resamples.of(group[*row])[r]))
                    }).collect();
                    for (draw, direct) in [(areas[r], ranked(&drawn).area()), (precisions[r], without_itself(&scores, &truth, &drawn, class))] {
                        prop_assert!(draw.is_nan() && direct.is_nan() || (draw - direct).abs() < 1e-6, "{} {}", draw, direct);
                    }
                }
            }
        }
    }
}
