//! From a study to its results: every prediction is scored, then curves, trends, decays and comparisons are drawn from
//! the same resamples.
//!
//! Predictions are read when they are needed and not kept: once each to be scored, and again those few that a curve, a
//! decay or a difference rests on. What stays in memory of a prediction is its scores.

pub mod bench;
mod choice;
mod compare;
mod curves;
mod dominant;
mod geometry;
mod levels;
pub mod measure;
mod persistence;
mod replies;
mod scale;
mod score;
pub mod target;
mod transfer;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use limbic_proto::axis::{Context, Pooling};
use limbic_proto::rows::Scheme;
use limbic_proto::unit::UnitKind;

use bench::{Bench, Ground, Origin, Series};
pub use choice::Merit;
pub use compare::{Pair, Side, correct, difference};
pub use curves::line;
use measure::Ruler;
use target::{Rollup, Target};
pub use warnings::too_few;

use crate::results::{Choice, Cost, GeometryResults, Line, Place, Results, Scores};
use crate::study::{ReportError, Study};

/// Names that are baselines, in the order of tables.
pub const BASELINES: [&str; 7] =
    ["majority", "bag-of-words", "mean-embedding", "zero-shot", "zero-shot-mean", "zero-shot-calibrated", "zero-shot-json"];

/// Scores every prediction and sums them up.
///
/// # Errors
/// What [`Study::check`] finds; a prediction or geometry that can't be read, or has another shape.
pub fn evaluate(study: &Study) -> Result<Results, ReportError> {
    study.check()?;
    let ground = Ground::new(study);
    let mut bench = bench(study, &ground);
    let catalogue = score::catalogue(&bench);
    let affordable = score::affordable(&bench);
    let mut scores: Vec<Scores> = score::all(&bench, &catalogue, None, affordable).into_iter().map(|s| s.1).collect();
    let headline = catalogue.id(None, bench.measure.name);
    let found = scores.iter().map(|s| s.get(headline?)).map(|e| (e.map(|e| e.value), e.map_or(0, |e| e.n as u32)));
    (bench.values, bench.rows) = found.unzip();
    bench.cells = cells(&bench);
    floors(&mut bench);

    let mut results = Results {
        catalogue,
        scores: Vec::new(),
        measure: bench.measure.clone(),
        probe: main_probe(&bench),
        pooling: None,
        poolings: Vec::new(),
        chosen: Choice::Test,
        best: Vec::new(),
        rows: study.test.len(),
        groups: ground.groups.groups(),
        baselines: baselines(&bench),
        over_seeds: BTreeMap::new(),
        probes: Vec::new(),
        curves: Vec::new(),
        depth: Vec::new(),
        scale: Vec::new(),
        trends: Vec::new(),
        persistence: Vec::new(),
        conditions: Vec::new(),
        transfer: Vec::new(),
        reading: None,
        calls: Vec::new(),
        verdicts: Vec::new(),
        kappas: Vec::new(),
        dominant: Vec::new(),
        geometry: GeometryResults::default(),
        levels: Vec::new(),
        comparisons: Vec::new(),
        costs: costs(study),
        warnings: Vec::new(),
    };
    summaries(&bench, &mut results);
    results.warnings = warnings::all(&bench, &results.comparisons, &results.persistence);
    if !affordable {
        let wanted: BTreeSet<usize> = results.baselines.iter().chain(&results.probes).flat_map(|l| l.predictions.iter().copied()).collect();
        for (i, scored) in score::all(&bench, &results.catalogue, Some(&wanted), true) {
            scores[i] = scored;
        }
        results.warnings.push(format!(
            "Intervals of {} were computed for the {} baselines and representative layers only; all other metrics have intervals everywhere.",
            if study.scheme == Scheme::Multi { "average precision and AUROC" } else { "AUROC, log-loss and calibration error" },
            wanted.len()
        ));
    }
    results.scores = scores;
    let lines: Vec<&Line> = results.baselines.iter().chain(&results.probes).collect();
    // Classes one by one are shown of baselines and of each model's best probe.
    let single = |line: &Line| line.layer.is_none() || results.best.iter().any(|c| c.shown().predictions == line.predictions);
    results.over_seeds = score::over_seeds(&bench, &results.catalogue, &lines, single);
    match bench.failed.into_inner().expect("nobody panicked with it") {
        Some(error) => Err(error),
        None => Ok(results),
    }
}

/// A bench without scores and cells.
pub fn bench<'a>(study: &'a Study, ground: &'a Ground) -> Bench<'a> {
    let target = Target::new(study);
    let ruler = |target: Target| Ruler::new(target, &ground.groups, &ground.group, &ground.resamples);
    let coarser = study.options.levels.iter().filter(|_| study.scheme != Scheme::Continuous);
    let levels = coarser.map(|level| Rollup::new(level, &study.classes)).map(|rollup| {
        let rolled = ruler(target.rolled(&rollup));
        (rollup, rolled)
    });
    Bench {
        study,
        levels: levels.collect(),
        measure: measure::measure(&target),
        ruler: ruler(target),
        cells: BTreeMap::new(),
        poolings: poolings(study),
        values: Vec::new(),
        rows: Vec::new(),
        failed: Mutex::new(None),
    }
}

/// The poolings that probes were fitted at, at the prompt.
fn poolings(study: &Study) -> Vec<Pooling> {
    let read_outs = study.predictions.iter().filter_map(|p| p.read_out).filter(|r| r.context == Context::Full && r.offset == 0);
    read_outs.map(|r| r.pooling).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Every section's summary.
fn summaries(bench: &Bench<'_>, results: &mut Results) {
    let all = curves::all(bench);
    let twins: BTreeSet<usize> = (0..bench.study.models.len()).filter(|m| bench.study.models[*m].random_weights.is_some()).collect();
    results.probes = all.iter().map(curves::line).collect();
    let pooling = curves::main_pooling(&all);
    (results.pooling, results.poolings) = (pooling, bench.poolings.iter().map(|p| p.as_str()).collect());
    (results.best, results.chosen) = curves::best(bench, &all, results.probe.as_deref());
    results.depth = all.iter().filter(|c| Some(&c.probe) == results.probe.as_ref() && Some(c.pooling) == pooling).cloned().collect();
    results.curves = all;
    (results.scale, results.trends) = scale::scale(bench, &results.depth);
    if let (Some(probe), Some(pooling)) = (results.probe.clone(), pooling) {
        results.persistence = persistence::all(bench, &probe, pooling);
        results.transfer = transfer::all(bench, &results.depth, &probe, pooling);
    }
    results.persistence.retain(|p| !twins.contains(&p.place.model));
    results.conditions = conditions(bench, results);
    results.geometry = geometry::all(bench, results);
    results.levels = levels::all(bench, results);
    results.comparisons = compare::all(bench, results);
    results.reading = replies::reading(bench, results);
    results.calls = replies::calls(bench, results);
    let shifts;
    (results.verdicts, results.kappas, shifts) = replies::all(bench, &results.calls);
    results.dominant = dominant::all(bench, results);
    results.comparisons.extend(shifts);
    compare::correct(&mut results.comparisons);
}

fn cells(bench: &Bench<'_>) -> BTreeMap<Series, bench::Cells> {
    let mut cells: BTreeMap<Series, bench::Cells> = BTreeMap::new();
    for (i, p) in bench.study.predictions.iter().enumerate() {
        if let (Some(model), Some(condition), Some(layer), Some(read_out)) = (p.model, p.condition, p.layer, p.read_out)
            && bench.values[i].is_some()
        {
            let origin = Origin { control: p.control, fitted_condition: p.fitted_condition, fitted_at: p.fitted_at };
            let series = Series { place: Place { model, condition }, probe: p.probe.clone(), origin };
            cells.entry(series).or_default().entry((layer, read_out)).or_default().push(i);
        }
    }
    for seeds in cells.values_mut().flat_map(|c| c.values_mut()) {
        seeds.sort_by_key(|i| (bench.study.predictions[*i].sampling_seed, bench.study.predictions[*i].seed));
    }
    cells
}

/// The floor is what the majority baseline reaches, where it was run. (Of labels its scores are tied, and have the labels' shares:
/// less than what has no signal either but ranks rows.)
fn floors(bench: &mut Bench<'_>) {
    if bench.study.scheme != Scheme::Multi
        && let Some(value) = bench.value(&bench.baseline("majority", None))
    {
        bench.measure.floor = value;
    }
}

/// The main probe: the one that is asked for, else by a fixed order, so that sections of different sweeps are about the same one.
fn main_probe(bench: &Bench<'_>) -> Option<String> {
    let probes: BTreeSet<&str> = bench.cells.keys().filter(|s| s.origin == Origin::default()).map(|s| &*s.probe).collect();
    let first = bench.study.predictions.iter().map(|p| &*p.probe).find(|p| probes.contains(p))?;
    let asked = bench.study.options.probe.as_deref();
    Some(asked.into_iter().chain(["logistic", "ridge"]).find(|p| probes.contains(p)).unwrap_or(first).to_owned())
}

fn baselines(bench: &Bench<'_>) -> Vec<Line> {
    let models = std::iter::once(None).chain((0..bench.study.models.len()).map(Some));
    let mut lines = Vec::new();
    for probe in BASELINES {
        for model in models.clone() {
            let predictions = bench.baseline(probe, model);
            if let Some(score) = bench.estimate(&predictions) {
                lines.push(Line {
                    probe: probe.to_owned(),
                    model,
                    condition: None,
                    layer: None,
                    pooling: None,
                    predictions,
                    score,
                    spread: None,
                });
            }
        }
    }
    lines
}

/// One per place if there are several conditions: the score and what is known per class at the representative layer.
fn conditions(bench: &Bench<'_>, results: &Results) -> Vec<crate::results::ConditionResult> {
    if bench.study.conditions.len() < 2 {
        return Vec::new();
    }
    let one = |curve: &crate::results::DepthCurve| {
        let best = curve.shown();
        crate::results::ConditionResult {
            place: curve.place,
            layer: best.layer,
            score: best.score,
            of_class: recall(bench, &best.predictions),
        }
    };
    let trained = |c: &&crate::results::DepthCurve| bench.study.models[c.place.model].random_weights.is_none();
    results.depth.iter().filter(trained).map(one).collect()
}

/// Recall per class where rows are of one class, else what is followed per class.
fn recall(bench: &Bench<'_>, predictions: &[usize]) -> Vec<Option<crate::results::Estimate>> {
    let (ruler, classes) = (&bench.ruler, bench.study.classes.len());
    if bench.study.scheme != Scheme::Single {
        return bench.of_classes(predictions, None).into_iter().map(|d| Some(d?.estimate(ruler.resamples))).collect();
    }
    let of = |i: &usize| {
        let values = bench.read(*i)?;
        let predicted = ruler.target.predicted(&values);
        let of_class = |class: usize| {
            let rows: Vec<bool> = predicted.iter().zip(&ruler.target.class).map(|(p, t)| p.is_some() && *t as usize == class).collect();
            ruler.mean(&rows, |row| f64::from(u8::from(predicted[row] == Some(class as u32))))
        };
        Some((0..classes).map(of_class).collect::<Vec<_>>())
    };
    let seeds: Vec<Vec<Option<measure::Drawn>>> = predictions.iter().filter_map(of).collect();
    let mean = |class: usize| {
        let all: Option<Vec<measure::Drawn>> = seeds.iter().map(|s| s[class].clone()).collect();
        Some(measure::Drawn::mean(&all?)?.estimate(ruler.resamples))
    };
    (0..classes).map(mean).collect()
}

fn costs(study: &Study) -> Vec<Cost> {
    let kind_of = |device: &str| device.split(':').next().unwrap_or(device).to_owned();
    let devices: BTreeSet<String> = study.runs.iter().map(|r| kind_of(&r.device)).collect();
    let mut costs = Vec::new();
    for kind in UnitKind::ALL {
        for device in &devices {
            let runs: Vec<_> = study.runs.iter().filter(|r| r.kind == kind && kind_of(&r.device) == *device).collect();
            if runs.is_empty() {
                continue;
            }
            let mut seconds: Vec<f64> = runs.iter().map(|r| r.seconds).filter(|s| s.is_finite()).collect();
            costs.push(Cost {
                kind: kind.as_str(),
                device: device.clone(),
                units: runs.len(),
                seconds: seconds.iter().sum(),
                median_seconds: if seconds.is_empty() { 0.0 } else { crate::statistics::resamples::quantile(&mut seconds, 0.5) },
                tokens: runs.iter().map(|r| r.tokens).sum(),
                bytes: runs.iter().map(|r| r.bytes).sum(),
            });
        }
    }
    costs
}
