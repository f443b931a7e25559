//! Scores beside model size, and their trend on the logarithm of the parameters.

use super::bench::Bench;
use super::curves::control_cells;
use super::measure::Drawn;
use crate::results::{DepthCurve, ScaleRow, Trend};
use crate::statistics::trend::{interval, line};
use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::spec::Control;

/// One row per curve of a trained model, and per condition the trends over models of known, different size.
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
            [("best layer", best), ("last layer", last)].into_iter().filter_map(|(what, sets)| trend(bench, Some(condition), what, sets)),
        );
    }
    let zero = trained.iter().map(|model| (*model, bench.baseline("zero-shot", Some(*model)))).filter(|z| !z.1.is_empty()).collect();
    trends.extend(trend(bench, None, "zero-shot", zero));
    (rows, trends)
}

/// The slope over at least three models, with two intervals: the models held fixed and the test rows resampled, and over models.
fn trend(bench: &Bench<'_>, condition: Option<usize>, what: &'static str, sets: Vec<(usize, Vec<usize>)>) -> Option<Trend> {
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
    let over_models = interval(&x, &y, bench.study.options.confidence)?;
    let resamples = bench.ruler.resamples;
    let slopes: Vec<f64> = (0..resamples.count())
        .map(|r| line(&x, &sized.iter().map(|s| s.1.draws[r]).collect::<Vec<_>>()).map_or(f64::NAN, |l| l.0))
        .collect();
    let n = sized.iter().map(|s| s.1.n).min()?;
    let groups = sized.iter().map(|s| s.1.groups).min()?;
    Some(Trend { condition, what, slope: resamples.estimate_over(groups, slope, &slopes, n), over_models, intercept, models: sized.len() })
}
