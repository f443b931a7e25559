//! From a study to its results: every prediction is scored, then curves, trends, decays and comparisons are drawn from
//! the same resamples.

mod compare;
mod curves;
mod persistence;
mod scale;
mod score;
mod warnings;

use std::collections::BTreeMap;

use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::unit::UnitKind;

use crate::results::{Cost, Estimate, Line, Place, Results, Scores};
use crate::statistics::resamples::Resamples;
use crate::statistics::tally::{RowGroups, Tally};
use crate::study::{Prediction, Study};

/// Names that are baselines, in the order of tables.
pub const BASELINES: [&str; 3] = ["majority", "bag-of-words", "zero-shot"];

/// A place's fits at one tap and read-out by one probe: everything but the seed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    place: Place,
    probe: String,
    read_out: ReadOut,
    layer: Layer,
}

/// What all summaries share.
struct Bench<'a> {
    study: &'a Study,
    truth: Vec<u32>,
    groups: RowGroups,
    resamples: Resamples,
    /// Predictions per cell, seeds ascending; those without a single row are left out.
    cells: BTreeMap<Cell, Vec<usize>>,
    scores: Vec<Scores>,
    /// Per prediction, the accuracy in every resample.
    accuracy: Vec<Vec<f64>>,
}

impl Bench<'_> {
    /// The class each row is predicted as: the first with the highest probability; none where the row is absent.
    fn predicted(&self, p: &Prediction) -> Vec<Option<u32>> {
        predicted(p, self.truth.len(), self.study.classes.len())
    }

    fn tally(&self, p: &Prediction) -> Tally {
        Tally::new(&self.groups, self.study.classes.len(), &self.truth, &self.predicted(p))
    }

    /// Mean accuracy of some predictions (seeds) and its draws.
    fn mean_accuracy(&self, predictions: &[usize]) -> Option<(Estimate, Vec<f64>)> {
        let values: Vec<Estimate> = predictions.iter().filter_map(|i| self.scores[*i].accuracy()).collect();
        let n = values.iter().map(|e| e.n).min()?;
        let value = values.iter().map(|e| e.value).sum::<f64>() / values.len() as f64;
        let draws = mean_draws(predictions.iter().map(|i| &self.accuracy[*i]));
        // A fit whose rows are all of one group has no interval; neither has a mean with it.
        let point = values.iter().any(|e| e.lo.is_none());
        Some((if point { Estimate::point(value, n) } else { self.resamples.estimate(value, &draws, n) }, draws))
    }

    /// The predictions of a baseline, for one model or for none.
    fn baseline(&self, probe: &str, model: Option<usize>) -> Vec<usize> {
        let found = |p: &Prediction| p.probe == probe && p.layer.is_none() && p.model == model;
        (0..self.study.predictions.len()).filter(|i| found(&self.study.predictions[*i]) && self.scores[*i].accuracy().is_some()).collect()
    }
}

/// The class each row is predicted as; none where the row is all zeros, isn't finite or the shape is wrong.
pub(crate) fn predicted(p: &Prediction, rows: usize, classes: usize) -> Vec<Option<u32>> {
    if classes == 0 || p.probabilities.len() != rows * classes {
        return vec![None; rows];
    }
    let best = |row: &[f32]| {
        let mut best = 0;
        for (class, value) in row.iter().enumerate() {
            if !value.is_finite() {
                return None;
            }
            if *value > row[best] {
                best = class;
            }
        }
        (row[best] > 0.0).then_some(best as u32)
    };
    p.probabilities.chunks_exact(classes).map(best).collect()
}

/// The mean of several draw lists, resample by resample.
fn mean_draws<'a>(lists: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let mut sum: Vec<f64> = Vec::new();
    let mut n = 0.0;
    for list in lists {
        if sum.is_empty() {
            sum = vec![0.0; list.len()];
        }
        for (s, d) in sum.iter_mut().zip(list) {
            *s += d;
        }
        n += 1.0;
    }
    sum.iter_mut().for_each(|s| *s /= n);
    sum
}

/// Scores every prediction and sums them up. A prediction of the wrong shape has no scores and a warning;
/// [`Study::check`] says which.
pub fn evaluate(study: &Study) -> Results {
    let truth: Vec<u32> = study.test.iter().map(|r| r.class.min(study.classes.len().saturating_sub(1) as u32)).collect();
    let groups = RowGroups::new(study.test.iter().map(|r| r.group.as_str()));
    let resamples = Resamples::new(groups.groups(), study.options.resamples, study.options.confidence, study.seed);
    let mut bench = Bench { study, truth, groups, resamples, cells: BTreeMap::new(), scores: Vec::new(), accuracy: Vec::new() };
    (bench.scores, bench.accuracy) = score::counts(&bench);
    for (i, p) in study.predictions.iter().enumerate() {
        if let (Some(model), Some(condition), Some(layer), Some(read_out)) = (p.model, p.condition, p.layer, p.read_out)
            && bench.scores[i].accuracy().is_some()
            && model < study.models.len()
            && condition < study.conditions.len()
        {
            let cell = Cell { place: Place { model, condition }, probe: p.probe.clone(), read_out, layer };
            bench.cells.entry(cell).or_default().push(i);
        }
    }
    for seeds in bench.cells.values_mut() {
        seeds.sort_by_key(|i| study.predictions[*i].seed);
    }

    let mut results = Results { rows: study.test.len(), groups: bench.groups.groups(), floor: floor(&bench), ..Results::default() };
    results.probe = primary_probe(study, &bench);
    results.baselines = baselines(&bench);
    let all = curves::all(&bench);
    results.probes = all.iter().map(curves::line).collect();
    let pooling = all.iter().map(|c| c.pooling).min_by_key(|p| usize::from(*p != Pooling::Last.as_str()));
    results.depth = all.into_iter().filter(|c| Some(&c.probe) == results.probe.as_ref() && Some(c.pooling) == pooling).collect();
    (results.scale, results.trends) = scale::scale(&bench, &results.depth);
    if let (Some(probe), Some(pooling)) = (&results.probe, pooling) {
        results.persistence = persistence::all(&bench, probe, pooling, results.floor);
    }
    results.conditions = compare::conditions(&bench, &results.depth);
    results.comparisons = compare::all(&bench, &results);
    results.costs = costs(study);
    results.warnings = warnings::all(&bench);
    let wanted = results.baselines.iter().chain(&results.probes).flat_map(|l| l.predictions.iter().copied()).collect();
    results.scores = score::probabilities(&mut bench, &wanted, &mut results.warnings);
    results
}

fn primary_probe(study: &Study, bench: &Bench<'_>) -> Option<String> {
    let fitted = |p: &&Prediction| bench.cells.keys().any(|c| c.probe == p.probe);
    let mut probes = study.predictions.iter().filter(|p| p.layer.is_some()).filter(fitted);
    let first = probes.next()?;
    let logistic = first.probe == "logistic" || probes.any(|p| p.probe == "logistic");
    Some(if logistic { "logistic".to_owned() } else { first.probe.clone() })
}

/// The majority baseline's accuracy, or else the largest class share of the test rows.
fn floor(bench: &Bench<'_>) -> f64 {
    if let Some((accuracy, _)) = bench.mean_accuracy(&bench.baseline("majority", None)) {
        return accuracy.value;
    }
    let share = |class: usize| bench.truth.iter().filter(|t| **t as usize == class).count() as f64 / bench.truth.len().max(1) as f64;
    (0..bench.study.classes.len()).map(share).fold(0.0, f64::max)
}

fn baselines(bench: &Bench<'_>) -> Vec<Line> {
    let models = std::iter::once(None).chain((0..bench.study.models.len()).map(Some));
    let mut lines = Vec::new();
    for probe in BASELINES {
        for model in models.clone() {
            let predictions = bench.baseline(probe, model);
            if let Some((accuracy, _)) = bench.mean_accuracy(&predictions) {
                lines.push(Line { probe: probe.to_owned(), model, condition: None, layer: None, pooling: None, predictions, accuracy });
            }
        }
    }
    lines
}

fn costs(study: &Study) -> Vec<Cost> {
    let mut costs = Vec::new();
    for kind in UnitKind::ALL {
        let runs: Vec<_> = study.runs.iter().filter(|r| r.kind == kind).collect();
        if runs.is_empty() {
            continue;
        }
        let mut seconds: Vec<f64> = runs.iter().map(|r| r.seconds).filter(|s| s.is_finite()).collect();
        costs.push(Cost {
            kind: kind.as_str(),
            units: runs.len(),
            seconds: seconds.iter().sum(),
            median_seconds: if seconds.is_empty() { 0.0 } else { crate::statistics::resamples::quantile(&mut seconds, 0.5) },
            tokens: runs.iter().map(|r| r.tokens).sum(),
            bytes: runs.iter().map(|r| r.bytes).sum(),
        });
    }
    costs
}
