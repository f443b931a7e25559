//! Metrics of one class a row.

use super::Sheet;
use crate::evaluate::measure::Ruler;
use crate::statistics::calibration::{self, Call};
use crate::statistics::metrics;
use crate::statistics::ranking::{Ranked, mean_of_draws};
use crate::statistics::tally::{Tally, Totals};

/// Metrics of the whole.
pub const WHOLE: &[&str] = &["accuracy", "macro-f1", "balanced-accuracy", "log-loss", "ece", "auroc"];
/// Metrics of one class.
pub const OF_CLASS: &[&str] = &["recall", "precision", "f1"];

/// All of them.
pub fn fill(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, values: &[f32]) {
    let target = &ruler.target;
    let predicted = target.predicted(values);
    let tally = Tally::new(ruler.groups, target.classes.len(), &target.class, &predicted);
    let totals = tally.totals();
    let n = totals.truth.iter().sum::<u32>() as usize;
    if n == 0 {
        return;
    }
    let draws = tally.draw(ruler.resamples, (n == target.rows()).then_some(ruler.truth.as_slice()));
    let three = |t: &Totals| [metrics::accuracy(t), metrics::macro_f1(t, &totals), metrics::balanced_accuracy(t, &totals)];
    let groups = tally.groups();
    let ([accuracy, macro_f1, balanced], [accuracies, macro_f1s, balanceds]) = (three(&totals), draws.map(three));
    sheet.put("accuracy", accuracy, Some(&accuracies), n, groups);
    sheet.put_biased("macro-f1", macro_f1, &macro_f1s, n, groups);
    sheet.put("balanced-accuracy", balanced, Some(&balanceds), n, groups);
    if sheet.detailed {
        for (class, name) in target.classes.iter().enumerate() {
            let three = |t: &Totals| [metrics::recall(t, class), metrics::precision(t, class), metrics::f1(t, class)];
            // Recall rests on the class's rows, precision on those called so, too, F1 on both.
            let (own, called) = (tally.truth[class].len(), tally.predicted[class].len());
            let (n, calls) = (totals.truth[class] as usize, totals.predicted[class] as usize);
            let rests = [(n, own), (n.min(calls), called), (n, own.max(called))];
            for (((metric, value), draws), rests) in OF_CLASS.iter().zip(three(&totals)).zip(draws.map(three)).zip(rests) {
                sheet.put_of_class(&format!("{metric}:{name}"), value, Some(&draws), n, rests);
            }
        }
    }
    probabilities(sheet, ruler, values, &predicted, n, groups);
}

/// What looks at the probabilities themselves.
fn probabilities(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, values: &[f32], predicted: &[Option<u32>], n: usize, groups: usize) {
    let (target, resamples) = (&ruler.target, ruler.resamples);
    let classes = target.classes.len();
    let call = |r: usize| predicted[r].map(|c| Call::new(&values[r * classes..][..classes], target.class[r], c));
    let calls: Vec<Option<Call>> = (0..target.rows()).map(call).collect();
    let rows: Vec<usize> = (0..target.rows()).filter(|r| predicted[*r].is_some()).collect();
    let ranked: Vec<Ranked> =
        (0..classes).map(|class| Ranked::new(values, &rows, classes, class, |r| target.class[r] as usize == class)).collect();
    let area = metrics::mean(ranked.iter().map(Ranked::area));
    let [loss, gap] = [calibration::log_loss(&calls), calibration::ece(&calls)];
    if !sheet.ranked {
        for (name, value) in [("log-loss", loss), ("ece", gap), ("auroc", area)] {
            sheet.put(name, value, None, n, groups);
        }
        return;
    }
    sheet.put("log-loss", loss, Some(&calibration::log_loss_draws(&calls, ruler.groups, resamples)), n, groups);
    let gaps = calibration::ece_draws(&calls, ruler.groups, resamples);
    sheet.put_noisy("ece", gap, &gaps, n, groups);
    let areas: Vec<Vec<f64>> = ranked.iter().map(|r| r.area_draws(ruler.group, resamples)).collect();
    sheet.put("auroc", area, Some(&mean_of_draws(&areas, resamples.count())), n, groups);
}
