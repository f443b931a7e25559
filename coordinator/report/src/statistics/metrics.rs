//! Metrics of class counts: accuracy, balanced accuracy, precision, recall, F1.

use super::tally::Totals;

/// Share of rows predicted right, in 0..=1; NaN without rows.
pub fn accuracy(totals: &Totals) -> f64 {
    ratio(totals.hit.iter().sum(), totals.truth.iter().sum())
}

/// Share of a class's rows that are found (sensitivity); NaN if it has none.
pub fn recall(totals: &Totals, class: usize) -> f64 {
    ratio(totals.hit[class], totals.truth[class])
}

/// Share of a class's predictions that are right; NaN if it is never predicted.
pub fn precision(totals: &Totals, class: usize) -> f64 {
    ratio(totals.hit[class], totals.predicted[class])
}

/// How much likelier a row of the class is to be called so than a row of another: recall minus false-alarm rate, in
/// -1..=1, and 0 for whatever doesn't look at the row, however often it names the class (Youden 1950; Powers 2011).
pub fn informedness(totals: &Totals, class: usize) -> f64 {
    let others = totals.truth.iter().sum::<u32>() - totals.truth[class];
    recall(totals, class) - ratio(totals.predicted[class] - totals.hit[class], others)
}

/// Harmonic mean of precision and recall, as 2·hit / (truth + predicted); NaN if the class neither occurs nor is
/// predicted (van Rijsbergen 1979).
pub fn f1(totals: &Totals, class: usize) -> f64 {
    ratio(2 * totals.hit[class], totals.truth[class] + totals.predicted[class])
}

/// Mean F1 over the classes that occur or are predicted: scikit-learn's `f1_score(average="macro")`. For `all` see [`over_classes`].
pub fn macro_f1(totals: &Totals, all: &Totals) -> f64 {
    over_classes(f1, totals, all)
}

/// Mean recall over the classes that occur: scikit-learn's `balanced_accuracy_score`. For `all` see [`over_classes`].
pub fn balanced_accuracy(totals: &Totals, all: &Totals) -> f64 {
    over_classes(recall, totals, all)
}

/// The mean of a metric over the classes for which it is defined on `all` rows. Where those of `totals`, a resample, have none of a class,
/// what it has on all rows stands: the mean over the others would be another statistic.
fn over_classes(of: fn(&Totals, usize) -> f64, totals: &Totals, all: &Totals) -> f64 {
    let drawn = |class: usize| {
        let (drawn, whole) = (of(totals, class), of(all, class));
        if drawn.is_nan() || whole.is_nan() { whole } else { drawn }
    };
    mean((0..all.truth.len()).map(drawn))
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 { f64::NAN } else { f64::from(part) / f64::from(whole) }
}

/// Mean of what isn't NaN; NaN if nothing is.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.filter(|v| !v.is_nan()).fold((0.0, 0_u32), |(s, n), v| (s + v, n + 1));
    if n == 0 { f64::NAN } else { sum / f64::from(n) }
}

#[cfg(test)]
mod tests {
    use super::super::tally::{RowGroups, Tally};
    use super::*;
    use proptest::prelude::*;

    fn totals(truth: &[u32], predicted: &[u32], classes: usize) -> Totals {
        let names: Vec<String> = (0..truth.len()).map(|i| (i / 2).to_string()).collect();
        let groups = RowGroups::new(names.iter().map(String::as_str));
        let predicted: Vec<Option<u32>> = predicted.iter().map(|p| Some(*p)).collect();
        Tally::new(&groups, classes, truth, &predicted).totals()
    }

    #[test]
    fn scikit_learns_example() {
        // sklearn's docs: y_true = [0,1,2,0,1,2], y_pred = [0,2,1,0,0,1] -> macro F1 0.266…, accuracy 1/3.
        let t = totals(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], 3);
        assert!((macro_f1(&t, &t) - 0.266_666_666_666_667).abs() < 1e-12);
        assert!((accuracy(&t) - 1.0 / 3.0).abs() < 1e-12);
        assert!((precision(&t, 0) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(recall(&t, 0), 1.0);
        assert!((f1(&t, 0) - 0.8).abs() < 1e-12);
        // sklearn's docs: balanced_accuracy_score([0,1,0,0,1,0], [0,1,0,0,0,1]) = 0.625.
        let t = totals(&[0, 1, 0, 0, 1, 0], &[0, 1, 0, 0, 0, 1], 2);
        assert!((balanced_accuracy(&t, &t) - 0.625).abs() < 1e-12);
    }

    #[test]
    fn informedness_ignores_bias() {
        // 2 of 2 found, 1 of 4 falsely: 1 - .25.
        let t = totals(&[0, 0, 1, 1, 2, 2], &[0, 0, 0, 1, 1, 2], 3);
        assert!((informedness(&t, 0) - 0.75).abs() < 1e-12);
        let always = totals(&[0, 0, 1, 1, 2, 2], &[0; 6], 3);
        assert!((0..3).all(|class| informedness(&always, class) == 0.0));
    }

    #[test]
    fn a_class_that_never_occurs_is_left_out() {
        let t = totals(&[0, 1], &[0, 1], 5);
        assert_eq!(macro_f1(&t, &t), 1.0);
        assert!(recall(&t, 4).is_nan() && f1(&t, 4).is_nan());
    }

    #[test]
    fn a_class_that_a_resample_lacks_keeps_what_it_has_on_all_rows() {
        let all = totals(&[0, 0, 1, 1, 2, 2], &[0, 0, 1, 0, 0, 0], 4);
        let drawn = totals(&[0, 0, 1, 1], &[0, 1, 1, 1], 4);
        assert!((balanced_accuracy(&drawn, &all) - (0.5 + 1.0 + 0.0) / 3.0).abs() < 1e-12);
        assert_eq!(balanced_accuracy(&all, &all), 0.5);
    }

    proptest! {
        #[test]
        fn in_bounds_and_consistent(rows in prop::collection::vec((0_u32..4, 0_u32..4), 1..80)) {
            let (truth, predicted): (Vec<u32>, Vec<u32>) = rows.iter().copied().unzip();
            let t = totals(&truth, &predicted, 4);
            let right = rows.iter().filter(|(a, b)| a == b).count() as f64 / rows.len() as f64;
            prop_assert!((accuracy(&t) - right).abs() < 1e-12);
            for value in [macro_f1(&t, &t), balanced_accuracy(&t, &t)] {
                prop_assert!((0.0..=1.0).contains(&value));
            }
            for class in 0..4 {
                let (p, r, f) = (precision(&t, class), recall(&t, class), f1(&t, class));
                if p + r > 0.0 {
                    prop_assert!((f - 2.0 * p * r / (p + r)).abs() < 1e-12);
                }
            }
        }
    }
}
