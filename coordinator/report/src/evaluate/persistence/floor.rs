//! What a curve over offsets is without any signal: at each offset on the rows whose replies reach it.

use limbic_proto::rows::Scheme;

use super::super::bench::Bench;
use crate::statistics::metrics;

/// The measure without any signal on some rows, and what is followed per class: the majority baseline's accuracy there (where it
/// wasn't run, that of always naming the commonest class of the test rows), the labels' shares of these rows, or a correlation of 0.
/// Late offsets hold the rows of longer replies, whose mix of classes is another than that of all.
pub(super) fn floor(bench: &Bench<'_>, rows: &[bool]) -> (f64, Vec<f64>) {
    let (measure, target) = (&bench.measure, &bench.ruler.target);
    let n = rows.iter().filter(|there| **there).count();
    if n == rows.len() || n == 0 {
        return (measure.floor, measure.class_floors.clone());
    }
    let share = |class: usize| (0..rows.len()).filter(|row| rows[*row] && target.is(*row, class)).count() as f64 / n as f64;
    let shares: Vec<f64> = (0..bench.study.classes.len()).map(share).collect();
    match target.scheme {
        Scheme::Single => (majority(bench, rows).unwrap_or_else(|| shares[commonest(bench)]), measure.class_floors.clone()),
        Scheme::Multi => (metrics::mean(shares.iter().copied().filter(|s| *s > 0.0)), shares),
        Scheme::Intensity | Scheme::Continuous => (measure.floor, measure.class_floors.clone()),
    }
}

/// The majority baseline's accuracy on some rows; none where it wasn't run.
fn majority(bench: &Bench<'_>, rows: &[bool]) -> Option<f64> {
    let target = &bench.ruler.target;
    let of = |i: &usize| {
        let called = target.predicted(&bench.read(*i)?);
        let there: Vec<usize> = (0..rows.len()).filter(|row| rows[*row] && called[*row].is_some()).collect();
        let right = there.iter().filter(|row| called[**row] == Some(target.class[**row])).count();
        (!there.is_empty()).then(|| right as f64 / there.len() as f64)
    };
    let all: Vec<f64> = bench.baseline("majority", None).iter().map(of).collect::<Option<_>>()?;
    (!all.is_empty()).then(|| metrics::mean(all.into_iter()))
}

/// The commonest class of all test rows.
fn commonest(bench: &Bench<'_>) -> usize {
    let target = &bench.ruler.target;
    let count = |class: usize| (0..target.rows()).filter(|row| target.is(*row, class)).count();
    (0..bench.study.classes.len()).rev().max_by_key(|class| count(*class)).unwrap_or(0)
}
