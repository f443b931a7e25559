//! The one number that a study is about, of some rows: what layers and probes are chosen by on validation rows, as reports
//! measure it on test rows.

use super::labels::Labels;
use super::report::argmax;

/// The measure of predictions `[n, K]`: under one class a row the share of rows whose label has the highest value (ties going to
/// the lower class); under several the average precision (precision at each score, weighted by the recall gained there), mean
/// over the classes that some row has; of numbers Pearson's correlation, mean over the classes or scales whose truth varies, 0
/// for one whose prediction doesn't. Every row counts once. None where it is undefined: without rows, or such classes.
pub fn measure(predictions: &[f32], labels: &Labels<'_>, outputs: usize) -> Option<f64> {
    let n = predictions.len() / outputs.max(1);
    let of_class = |values: &[f32], class: usize| -> Option<f64> {
        let column = |of: &[f32]| -> Vec<f32> { of.iter().skip(class).step_by(outputs).copied().collect() };
        let (truth, predicted) = (column(values), column(predictions));
        if let Labels::Multi(_) = labels { average_precision(&predicted, &truth) } else { pearson(&predicted, &truth) }
    };
    match labels {
        Labels::Single(classes) => {
            let right = predictions.chunks_exact(outputs).zip(*classes).filter(|(row, class)| argmax(row) == **class as usize).count();
            (n > 0).then(|| right as f64 / n as f64)
        }
        Labels::Multi(values) | Labels::Intensity(values) | Labels::Continuous(values) => {
            let defined: Vec<f64> = (0..outputs).filter_map(|class| of_class(values, class)).collect();
            (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
        }
    }
}

/// Rows of equal score count together; none without a row of the class.
fn average_precision(scores: &[f32], truth: &[f32]) -> Option<f64> {
    let mut rows: Vec<(f32, bool)> = scores.iter().zip(truth).map(|(score, truth)| (*score, *truth > 0.5)).collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut above, mut hits, mut sum) = (0.0, 0.0, 0.0);
    for run in rows.chunk_by(|a, b| a.0 == b.0) {
        let found = run.iter().filter(|row| row.1).count() as f64;
        above += run.len() as f64;
        hits += found;
        sum += found * hits / above;
    }
    (hits > 0.0).then(|| sum / hits)
}

/// None where the truth doesn't vary.
fn pearson(predicted: &[f32], truth: &[f32]) -> Option<f64> {
    let constant = |of: &[f32]| of.iter().all(|v| *v == of[0]);
    if truth.is_empty() || constant(truth) {
        return None;
    }
    if constant(predicted) {
        return Some(0.0);
    }
    let mean = |of: &[f32]| of.iter().map(|v| f64::from(*v)).sum::<f64>() / of.len() as f64;
    let (x, y) = (mean(predicted), mean(truth));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (p, t) in predicted.iter().zip(truth) {
        let (p, t) = (f64::from(*p) - x, f64::from(*t) - y);
        (xx, yy, xy) = (xx + p * p, yy + t * t, xy + p * t);
    }
    Some((xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_class_a_row_it_is_the_share_of_right_rows() {
        let predictions = [0.5, 0.3, 0.2, 0.1, 0.2, 0.7, 0.4, 0.4, 0.2, 0.2, 0.5, 0.3];
        assert_eq!(measure(&predictions, &Labels::Single(&[0, 1, 0, 1]), 3), Some(0.75), "a tie goes to the lower class");
        assert_eq!(measure(&[], &Labels::Single(&[]), 3), None);
    }

    #[test]
    fn of_several_labels_it_is_the_mean_average_precision() {
        // scikit-learn's average_precision_score: [1, 0, 1, 1] by [0.9, 0.8, 0.7, 0.1] is 0.80556; [0, 0, 1, 0] by
        // [0.2, 0.5, 0.5, 0.1] is 0.5. No row has the third.
        let truth = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let predictions = [0.9, 0.2, 0.4, 0.8, 0.5, 0.3, 0.7, 0.5, 0.2, 0.1, 0.1, 0.1];
        let found = measure(&predictions, &Labels::Multi(&truth), 3).expect("two classes");
        assert!((found - f64::midpoint((1.0 + 2.0 / 3.0 + 0.75) / 3.0, 0.5)).abs() < 1e-12, "{found}");
        assert_eq!(measure(&predictions, &Labels::Multi(&[0.0; 12]), 3), None);
    }

    #[test]
    fn of_numbers_it_is_the_mean_correlation() {
        // numpy.corrcoef([1, 2, 4, 3], [2, 1, 5, 3]) = 0.8315218; the second scale's prediction never varies, nor the third's truth.
        let truth = [2.0, 1.0, 4.0, 1.0, 2.0, 4.0, 5.0, 3.0, 4.0, 3.0, 1.0, 4.0];
        let predictions = [1.0, 2.5, 1.0, 2.0, 2.5, 2.0, 4.0, 2.5, 0.0, 3.0, 2.5, 1.0];
        for labels in [Labels::Continuous(&truth), Labels::Intensity(&truth)] {
            let found = measure(&predictions, &labels, 3).expect("two scales");
            assert!((found - 0.831_521_8 / 2.0).abs() < 1e-6, "{found}");
        }
    }
}
