//! Scores beside model size, and their trend on the logarithm of the parameters.

use std::collections::BTreeSet;

use super::bench::Bench;
use super::curves::control_cells;
use super::measure::Drawn;
use crate::results::{DepthCurve, ScaleRow, Trend};
use crate::statistics::resamples::FEWEST;
use crate::statistics::trend::{interval, line};
use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::spec::Control;

/// One row per curve of a trained model, and per condition the trends over models of known, different size, together and by family.
pub fn scale(bench: &Bench<'_>, curves: &[DepthCurve]) -> (Vec<ScaleRow>, Vec<Trend>) {
    let trained: Vec<usize> = bench.trained().collect();
    let curves: Vec<&DepthCurve> = curves.iter().filter(|c| trained.contains(&c.place.model)).collect();
    let mut rows = Vec::new();
    for curve in &curves {
        let (best, last) = (curve.shown(), &curve.points[curve.points.len() - 1]);
        let twin = control_cells(bench, curve.place, &curve.probe, Control::RandomWeights);
        let here = |r: &ReadOut| r.context == Context::Full && r.pooling.as_str() == curve.pooling;
        let twin = twin.and_then(|cells| cells.iter().find(|((l, r), _)| *l == best.layer && here(r)));
        rows.push(ScaleRow {
            place: curve.place,
            layer: best.layer,
            best: best.score,
            last_layer: last.layer,
            last: last.score,
            twin: twin.and_then(|(_, predictions)| bench.estimate(predictions)),
            zero_shot: bench.estimate(&bench.baseline("zero-shot", Some(curve.place.model))),
            zero_shot_json: bench.estimate(&bench.baseline("zero-shot-json", Some(curve.place.model))),
        });
    }
    let mut trends = Vec::new();
    for condition in 0..bench.study.conditions.len() {
        let here: Vec<&&DepthCurve> = curves.iter().filter(|c| c.place.condition == condition).collect();
        let best = here.iter().map(|c| (c.place.model, c.shown().predictions.clone())).collect();
        let last = here.iter().map(|c| (c.place.model, c.points[c.points.len() - 1].predictions.clone())).collect();
        trends.extend(
            [("best layer", best), ("last layer", last)].into_iter().flat_map(|(what, s)| of_sets(bench, Some(condition), what, s)),
        );
    }
    for name in ["zero-shot", "zero-shot-json"] {
        let asked = trained.iter().map(|model| (*model, bench.baseline(name, Some(*model)))).filter(|z| !z.1.is_empty()).collect();
        trends.extend(of_sets(bench, None, name, asked));
    }
    (rows, trends)
}

/// Predictions of some models.
type Sets = Vec<(usize, Vec<usize>)>;

/// The trend over all models, and where they are of several families that of each by itself: models of different makes lie on
/// different lines, and a line through all of them may have a slope that none of these has.
fn of_sets(bench: &Bench<'_>, condition: Option<usize>, what: &'static str, sets: Sets) -> Vec<Trend> {
    let family = |model: usize| bench.study.models[model].family.as_str();
    let families: BTreeSet<&str> = sets.iter().map(|s| family(s.0)).collect();
    let alone = families.iter().filter(|of| families.len() > 1 && !of.is_empty()).filter_map(|of| {
        let ours = sets.iter().filter(|s| family(s.0) == *of).cloned().collect();
        Some(Trend { family: Some((*of).to_owned()), ..trend(bench, condition, what, ours)? })
    });
    let alone: Vec<Trend> = alone.collect();
    trend(bench, condition, what, sets).into_iter().chain(alone).collect()
}

/// The slope over at least three models, with two intervals: the models held fixed and the test rows resampled, and over models.
fn trend(bench: &Bench<'_>, condition: Option<usize>, what: &'static str, sets: Sets) -> Option<Trend> {
    let sized: Vec<(f64, Drawn)> = sets
        .iter()
        .filter(|(model, _)| bench.study.models[*model].parameters > 0)
        .filter_map(|(model, predictions)| Some(((bench.study.models[*model].parameters as f64).log10(), bench.drawn(predictions)?)))
        .collect();
    if sized.len() < 3 {
        return None;
    }
    let x: Vec<f64> = sized.iter().map(|s| s.0).collect();
    let y: Vec<f64> = sized.iter().map(|s| s.1.value).collect();
    let (slope, intercept) = line(&x, &y)?;
    let resamples = bench.ruler.resamples;
    let slopes: Vec<f64> = (0..resamples.count())
        .map(|r| line(&x, &sized.iter().map(|s| s.1.draws[r]).collect::<Vec<_>>()).map_or(f64::NAN, |l| l.0))
        .collect();
    let n = sized.iter().map(|s| s.1.n).min()?;
    let slope = resamples.estimate(slope, &slopes, n, sized.iter().all(|s| s.1.telling()));
    let over_models = (n >= FEWEST).then(|| interval(&x, &y, bench.study.options.confidence)).flatten();
    Some(Trend { condition, what, family: None, slope, over_models, intercept, models: sized.len() })
}
