//! Accuracy beside model size, and its trend on the logarithm of the parameters.

use super::Bench;
use crate::results::{DepthCurve, ScaleRow, Trend};
use crate::statistics::trend::line;

/// One row per curve, and per condition the trends over models of known, different size.
pub fn scale(bench: &Bench<'_>, curves: &[DepthCurve]) -> (Vec<ScaleRow>, Vec<Trend>) {
    let mut rows = Vec::new();
    for curve in curves {
        let (best, last) = (&curve.points[curve.best], &curve.points[curve.points.len() - 1]);
        let zero_shot = bench.mean_accuracy(&bench.baseline("zero-shot", Some(curve.place.model))).map(|z| z.0);
        rows.push(ScaleRow {
            place: curve.place,
            layer: best.layer,
            best: best.accuracy,
            last_layer: last.layer,
            last: last.accuracy,
            zero_shot,
        });
    }
    let mut trends = Vec::new();
    for condition in 0..bench.study.conditions.len() {
        let here: Vec<&DepthCurve> = curves.iter().filter(|c| c.place.condition == condition).collect();
        let model = |c: &DepthCurve| c.place.model;
        let best = here.iter().map(|c| (model(c), c.points[c.best].predictions.clone())).collect();
        let last = here.iter().map(|c| (model(c), c.points[c.points.len() - 1].predictions.clone())).collect();
        trends.extend(
            [("best layer", best), ("last layer", last)].into_iter().filter_map(|(what, sets)| trend(bench, Some(condition), what, sets)),
        );
    }
    let models = 0..bench.study.models.len();
    let zero = models.map(|model| (model, bench.baseline("zero-shot", Some(model)))).filter(|z| !z.1.is_empty()).collect();
    trends.extend(trend(bench, None, "zero-shot", zero));
    (rows, trends)
}

/// The slope over at least three models; the models are held fixed, the test rows resampled.
fn trend(bench: &Bench<'_>, condition: Option<usize>, what: &'static str, sets: Vec<(usize, Vec<usize>)>) -> Option<Trend> {
    let sized: Vec<(f64, _, Vec<f64>)> = sets
        .iter()
        .filter(|(model, _)| bench.study.models[*model].parameters > 0)
        .filter_map(|(model, predictions)| {
            let (accuracy, draws) = bench.mean_accuracy(predictions)?;
            Some(((bench.study.models[*model].parameters as f64).log10(), accuracy, draws))
        })
        .collect();
    if sized.len() < 3 {
        return None;
    }
    let x: Vec<f64> = sized.iter().map(|s| s.0).collect();
    let y: Vec<f64> = sized.iter().map(|s| s.1.value).collect();
    let (slope, intercept) = line(&x, &y)?;
    let slopes: Vec<f64> = (0..bench.resamples.count())
        .map(|r| line(&x, &sized.iter().map(|s| s.2[r]).collect::<Vec<_>>()).map_or(f64::NAN, |l| l.0))
        .collect();
    let n = sized.iter().map(|s| s.1.n).min()?;
    Some(Trend { condition, what, slope: bench.resamples.estimate(slope, &slopes, n), intercept, models: sized.len() })
}
