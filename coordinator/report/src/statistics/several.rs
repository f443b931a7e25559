//! Several labels a row: counts at a threshold, and how well each row's labels are ranked.

use super::resamples::Column;
use super::tally::{RowGroups, Tally, Totals};

/// A class counts as predicted from this probability on.
pub const THRESHOLD: f32 = 0.5;

/// Per class how many rows have it, are predicted to have it, have and are. `truth` and `predicted` are `[rows, classes]`;
/// only rows that `present` names count.
pub fn tally(groups: &RowGroups, classes: usize, truth: &[f32], predicted: &[f32], present: &[bool]) -> Tally {
    let mut tally = Tally { truth: vec![Vec::new(); classes], predicted: vec![Vec::new(); classes], hit: vec![Vec::new(); classes] };
    let add = |column: &mut Column, group: u32| match column.last_mut() {
        Some(last) if last.0 == group => last.1 += 1,
        _ => column.push((group, 1)),
    };
    for (group, row) in groups.iter().filter(|(_, row)| present[*row]) {
        for class in 0..classes {
            let (is, called) = (truth[row * classes + class] > 0.0, predicted[row * classes + class] >= THRESHOLD);
            for (column, counts) in [(&mut tally.truth, is), (&mut tally.predicted, called), (&mut tally.hit, is && called)] {
                if counts {
                    add(&mut column[class], group);
                }
            }
        }
    }
    tally
}

/// F1 over all (row, class) pairs; NaN if no class occurs and none is predicted.
pub fn micro_f1(totals: &Totals) -> f64 {
    let sum = |counts: &[u32]| f64::from(counts.iter().sum::<u32>());
    let whole = sum(&totals.truth) + sum(&totals.predicted);
    if whole == 0.0 { f64::NAN } else { 2.0 * sum(&totals.hit) / whole }
}

/// Whether exactly the true labels are predicted.
pub fn exact(truth: &[f32], predicted: &[f32]) -> bool {
    truth.iter().zip(predicted).all(|(t, p)| (*t > 0.0) == (*p >= THRESHOLD))
}

/// How far up one row's labels stand in the ranking of all: the mean, over its labels, of the share of labels among what
/// is ranked at least as high (Schapire and Singer 2000; scikit-learn's `label_ranking_average_precision_score`); 1 for a
/// row without or with all labels.
pub fn ranking(truth: &[f32], scores: &[f32]) -> f64 {
    let labels: Vec<usize> = (0..truth.len()).filter(|c| truth[*c] > 0.0).collect();
    if labels.is_empty() || labels.len() == truth.len() {
        return 1.0;
    }
    let above = |class: usize, among: &mut dyn Iterator<Item = usize>| among.filter(|c| scores[*c] >= scores[class]).count() as f64;
    let share = |class: &usize| above(*class, &mut labels.iter().copied()) / above(*class, &mut (0..truth.len()));
    labels.iter().map(share).sum::<f64>() / labels.len() as f64
}

/// -ln of the probability that a row's labels are as they are, summed over classes, in nats; probabilities are clipped at
/// f32's epsilon.
pub fn loss(truth: &[f32], probabilities: &[f32]) -> f64 {
    let eps = f64::from(f32::EPSILON);
    let of = |(t, p): (&f32, &f32)| -(if *t > 0.0 { f64::from(*p) } else { 1.0 - f64::from(*p) }).clamp(eps, 1.0).ln();
    truth.iter().zip(probabilities).map(of).sum()
}
