//! What a curve over offsets is without any signal: at each offset on the rows whose replies reach it.

use limbic_proto::rows::{Scheme, Split};

use super::super::bench::Bench;
use super::super::measure::{Drawn, at_random, mean_of_labels, shares};
use crate::study::Study;

/// A measure without any signal, and what is followed per class.
pub(super) struct Floor {
    pub whole: Drawn,
    pub classes: Vec<Drawn>,
}

/// The measure without any signal on some rows: the accuracy there of always naming one class, the average precision of a random
/// order, or a correlation of 0. Late offsets hold the rows of longer replies, whose mix of classes is another than that of all: a probe
/// that was fitted there and tells nothing names the commonest class of the train rows that reach it (`named`). Where that isn't known
/// it is what the majority baseline names, and where that wasn't run, the commonest class of the test rows.
///
/// How many rows are of that class is a random number, which is resampled with them, where the rows are those that happen to reach an
/// offset, and where the test split was not made to have its classes' shares. Else every resample has the floor of all rows. Draws
/// of average precisions don't count a row in its own, as their values do, and are level with the labels' shares.
pub(super) fn floor(bench: &Bench<'_>, rows: &[bool], named: Option<u32>) -> Option<Floor> {
    let (measure, target) = (&bench.measure, &bench.ruler.target);
    let n = rows.iter().filter(|there| **there).count();
    let all = n == rows.len() || n == 0;
    let flat = |value: f64, draw: f64| {
        let draws = vec![draw; bench.ruler.resamples.count()];
        Drawn { value, draws, n: usize::MAX, rests: usize::MAX, groups: usize::MAX }
    };
    let everywhere = || flat(measure.floor, measure.floor);
    let of_classes = || measure.class_floors.iter().map(|value| flat(*value, *value)).collect();
    // It has no rows of its own: how much can be told is up to the curve.
    let right = |right: &dyn Fn(usize) -> f64| {
        Some(Drawn { n: usize::MAX, rests: usize::MAX, groups: usize::MAX, ..bench.ruler.mean(rows, right)? })
    };
    let is = |class: usize| move |row: usize| f64::from(u8::from(target.is(row, class)));
    match target.scheme {
        Scheme::Single if all && (n == 0 || designed(bench.study)) => Some(Floor { whole: everywhere(), classes: of_classes() }),
        Scheme::Single => {
            let named = named.map(|class| class as usize).filter(|class| *class < target.classes.len());
            let whole = match (named, majority(bench)) {
                (Some(class), _) => right(&is(class))?,
                (None, Some(share)) => right(&|row| share[row])?,
                (None, None) => right(&is(commonest(bench)))?,
            };
            Some(Floor { whole, classes: of_classes() })
        }
        Scheme::Multi => {
            let shares = shares(target, rows);
            let values = if all { measure.class_floors.clone() } else { at_random(&shares, n) };
            let whole = if all { measure.floor } else { mean_of_labels(&values) };
            let classes = values.into_iter().zip(&shares).map(|(value, share)| flat(value, *share)).collect();
            Some(Floor { whole: flat(whole, mean_of_labels(&shares)), classes })
        }
        Scheme::Intensity | Scheme::Continuous => Some(Floor { whole: everywhere(), classes: of_classes() }),
    }
}

/// How far the rows of classes in test, as Pearson's χ² beside those in train has it, may be apart for each degree of freedom where the
/// split was made to have the same shares: in splits that weren't it is 1 in the mean.
const BY_DESIGN: f64 = 0.1;

/// Whether each class has as many test rows as its share of train: a split that is stratified, or one that is as if it were. Nothing is
/// known of studies that don't tell their splits, which are taken for such.
fn designed(study: &Study) -> bool {
    let of = |split: Split| study.dataset.splits.iter().find(|entry| entry.split == split);
    let (Some(train), Some(test)) = (of(Split::Train), of(Split::Test)) else { return true };
    let (all, tested): (usize, usize) = (train.of_class.iter().sum(), test.of_class.iter().sum());
    let apart = |(train, test): (&usize, &usize)| match *train as f64 * tested as f64 / all as f64 {
        expected if expected > 0.0 => (*test as f64 - expected).powi(2) / expected,
        _ => *test as f64,
    };
    let statistic: f64 = train.of_class.iter().zip(&test.of_class).map(apart).sum();
    statistic <= BY_DESIGN * train.of_class.len().saturating_sub(1) as f64
}

/// How often the majority baseline is right about each row; none where it wasn't run.
fn majority(bench: &Bench<'_>) -> Option<Vec<f64>> {
    let target = &bench.ruler.target;
    let baselines = bench.baseline("majority", None);
    let mut right = vec![0.0; target.rows()];
    for i in &baselines {
        let called = target.predicted(&bench.read(*i)?);
        for (row, call) in called.into_iter().enumerate() {
            right[row] += f64::from(u8::from(call == Some(target.class[row]))) / baselines.len() as f64;
        }
    }
    (!baselines.is_empty()).then_some(right)
}

/// The commonest class of all test rows.
fn commonest(bench: &Bench<'_>) -> usize {
    let target = &bench.ruler.target;
    let count = |class: usize| (0..target.rows()).filter(|row| target.is(*row, class)).count();
    (0..bench.study.classes.len()).rev().max_by_key(|class| count(*class)).unwrap_or(0)
}
