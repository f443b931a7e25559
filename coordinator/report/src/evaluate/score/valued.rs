//! Metrics of several labels a row, of intensities, and of places on scales.

use limbic_proto::rows::Scheme;

use super::Sheet;
use crate::evaluate::measure::Ruler;
use crate::statistics::metrics;
use crate::statistics::moments::{self, Drawn, Moments};
use crate::statistics::ranking::{Ranked, mean_of_draws};
use crate::statistics::several;
use crate::statistics::tally::Totals;

/// Metrics of several labels a row.
pub const SEVERAL: &[&str] = &["micro-f1", "macro-f1", "subset-accuracy", "ranking-precision", "log-loss", "map", "auroc"];
/// Metrics of one label.
pub const OF_LABEL: &[&str] = &["recall", "precision", "f1", "ap"];
/// Metrics of intensities, of each class and their mean.
pub const INTENSITY: &[&str] = &["pearson", "ccc", "mae", "qwk"];
/// Metrics of places on scales, of each scale and their mean.
pub const CONTINUOUS: &[&str] = &["pearson", "ccc", "mae", "r2"];

/// Of several labels a row.
pub fn several(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, values: &[f32]) {
    let (target, resamples) = (&ruler.target, ruler.resamples);
    let classes = target.classes.len();
    let present = target.present(values);
    let n = present.iter().filter(|p| **p).count();
    if n == 0 {
        return;
    }
    let groups = ruler.groups_of(&present);
    let tally = several::tally(ruler.groups, classes, &target.values, values, &present);
    let (totals, draws) = (tally.totals(), tally.draw(resamples, None));
    let two = |t: &Totals| [several::micro_f1(t), metrics::macro_f1(t, &totals)];
    let ([micro, mean], [micros, means]) = (two(&totals), draws.map(two));
    sheet.put("micro-f1", micro, Some(&micros), n, groups);
    sheet.put_biased("macro-f1", mean, &means, n, groups);
    let slice = |of: &[f32], row: usize| -> Vec<f32> { of[row * classes..][..classes].to_vec() };
    let row = |row: usize| (slice(&target.values, row), slice(values, row));
    type OfRow<'a> = &'a dyn Fn(&[f32], &[f32]) -> f64;
    let rows: [(&str, OfRow<'_>); 3] = [
        ("subset-accuracy", &|t, p| f64::from(u8::from(several::exact(t, p)))),
        ("ranking-precision", &several::ranking),
        ("log-loss", &several::loss),
    ];
    for (name, of_row) in rows {
        let mean = ruler.mean(&present, |r| {
            let (truth, predicted) = row(r);
            of_row(&truth, &predicted)
        });
        if let Some(mean) = mean {
            sheet.put(name, mean.value, Some(&mean.draws), n, groups);
        }
    }
    let there: Vec<usize> = (0..target.rows()).filter(|r| present[*r]).collect();
    let (mut precisions, mut areas) = (Vec::new(), Vec::new());
    let mut drawn: (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    for (class, name) in target.classes.iter().enumerate() {
        let ranked = Ranked::new(values, &there, classes, class, |r| target.is(r, class));
        let rows = totals.truth[class] as usize;
        let precision = ranked.precision();
        precisions.push(precision);
        areas.push(ranked.area());
        if sheet.ranked {
            drawn.0.push(ranked.precision_draws(ruler.group, resamples));
            drawn.1.push(ranked.area_draws(ruler.group, resamples));
        }
        if sheet.detailed {
            let three = |t: &Totals| [metrics::recall(t, class), metrics::precision(t, class), metrics::f1(t, class)];
            // Precision rests on the rows called so, too; average precision on the others.
            let (own, called) = (tally.truth[class].len(), tally.predicted[class].len());
            let few = [(rows, own), (rows.min(totals.predicted[class] as usize), called), (rows, own.max(called))];
            for (((metric, value), draws), few) in OF_LABEL.iter().zip(three(&totals)).zip(draws.map(three)).zip(few) {
                sheet.put_of_class(&format!("{metric}:{name}"), value, Some(&draws), rows, few);
            }
            let draws = drawn.0.last().map(Vec::as_slice);
            sheet.put_of_class(&format!("ap:{name}"), precision, draws, rows, (rows.min(n - rows), own));
        }
    }
    for (name, of_classes, lists) in [("map", precisions, drawn.0), ("auroc", areas, drawn.1)] {
        let draws = sheet.ranked.then(|| mean_of_draws(&lists, resamples.count()));
        sheet.put(name, metrics::mean(of_classes.into_iter()), draws.as_deref(), n, groups);
    }
}

/// Of numbers: the statistics of each class or scale, and their mean.
pub fn numbers(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, values: &[f32]) {
    let target = &ruler.target;
    let (classes, intensity) = (target.classes.len(), target.scheme == Scheme::Intensity);
    let present = target.present(values);
    let n = present.iter().filter(|p| **p).count();
    if n == 0 {
        return;
    }
    let groups = ruler.groups_of(&present);
    let plain: Vec<Drawn> = (0..classes).map(|class| ruler.moments(values, &present, class)).collect();
    let varying: Vec<(usize, usize)> = (0..classes).map(|class| ruler.varying(&present, class)).collect();
    // Of intensities, kappa looks at the levels that predictions are nearest to.
    let levels: Vec<Drawn> = if intensity { levels(ruler, values, &present) } else { Vec::new() };
    type Statistic = fn(&Moments) -> f64;
    let of: [(&str, &[Drawn], Statistic); 5] = [
        ("pearson", &plain, Moments::pearson),
        ("ccc", &plain, Moments::ccc),
        ("mae", &plain, Moments::mae),
        ("r2", if intensity { &[] } else { &plain }, Moments::r2),
        ("qwk", &levels, Moments::ccc),
    ];
    for (name, drawn, statistic) in of {
        let lists: Vec<Vec<f64>> = drawn.iter().map(|d| d.map(statistic)).collect();
        if lists.is_empty() {
            continue;
        }
        let of_classes: Vec<f64> = drawn.iter().map(|d| statistic(&d.all)).collect();
        let draws = mean_of_draws(&lists, ruler.resamples.count());
        sheet.put(name, metrics::mean(of_classes.iter().copied()), Some(&draws), n, groups);
        if sheet.detailed {
            for (at, (class, draws)) in target.classes.iter().zip(&lists).enumerate() {
                // An error is one of every row; what goes along with the truth hangs on the rows in which that varies.
                let rests = if name == "mae" { (n, groups) } else { varying[at] };
                sheet.put_of_class(&format!("{name}:{class}"), of_classes[at], Some(draws), n, rests);
            }
        }
    }
}

/// The moments of predictions rounded to levels.
fn levels(ruler: &Ruler<'_>, values: &[f32], present: &[bool]) -> Vec<Drawn> {
    let (classes, highest) = (ruler.target.classes.len(), ruler.target.highest());
    let rounded: Vec<f32> = values.iter().map(|value| moments::level(*value, highest) as f32).collect();
    (0..classes).map(|class| ruler.moments(&rounded, present, class)).collect()
}
