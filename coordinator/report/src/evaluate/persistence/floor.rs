//! What a curve over offsets is without any signal: at each offset on the rows whose replies reach it.

use limbic_proto::rows::Scheme;

use super::super::bench::Bench;
use super::super::measure::{at_random, mean_of_labels, shares};
use crate::statistics::metrics;

/// A measure without any signal, and what is followed per class.
pub(super) type Level = (f64, Vec<f64>);

/// What some rows have without any signal.
pub(super) struct Floor {
    /// On all of them.
    pub value: Level,
    /// In every resample. Draws of average precisions don't count a row in its own, as their values do, and are level with the
    /// labels' shares.
    pub draws: Level,
}

/// The measure without any signal on some rows: the accuracy there of always naming one class, the average precision of a random
/// order, or a correlation of 0. Late offsets hold the rows of longer replies, whose mix of classes is another than that of all: a probe
/// that was fitted there and tells nothing names the commonest class of the train rows that reach it (`named`). Where that isn't known
/// it is what the majority baseline names, and where that wasn't run, the commonest class of the test rows.
pub(super) fn floor(bench: &Bench<'_>, rows: &[bool], named: Option<u32>) -> Floor {
    let (measure, target) = (&bench.measure, &bench.ruler.target);
    let n = rows.iter().filter(|there| **there).count();
    let everywhere = || (measure.floor, measure.class_floors.clone());
    let shares = shares(target, rows);
    let value = match target.scheme {
        _ if n == rows.len() || n == 0 => everywhere(),
        Scheme::Single => {
            let of_named = named.and_then(|class| shares.get(class as usize)).copied();
            (of_named.or_else(|| majority(bench, rows)).unwrap_or_else(|| shares[commonest(bench)]), measure.class_floors.clone())
        }
        Scheme::Multi => {
            let floors = at_random(&shares, n);
            (mean_of_labels(&floors), floors)
        }
        Scheme::Intensity | Scheme::Continuous => everywhere(),
    };
    let draws = if target.scheme == Scheme::Multi { (mean_of_labels(&shares), shares) } else { value.clone() };
    Floor { value, draws }
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
