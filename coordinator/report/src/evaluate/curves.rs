//! Curves over layers: one per place, probe and pooling, with the peak and the layer that stands for the curve.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::{Context, Pooling};

use super::Bench;
use crate::results::{DepthCurve, DepthPoint, Estimate, Line, Peak, Place};

/// All curves at the first measured offset with full context, ordered by place, probe and pooling.
pub fn all(bench: &Bench<'_>) -> Vec<DepthCurve> {
    let mut keys: BTreeSet<(Place, String, Pooling)> = BTreeSet::new();
    let mut first: BTreeMap<Place, u32> = BTreeMap::new();
    for cell in bench.cells.keys().filter(|c| c.read_out.context == Context::Full) {
        let offset = first.entry(cell.place).or_insert(cell.read_out.offset);
        *offset = cell.read_out.offset.min(*offset);
    }
    for cell in bench.cells.keys() {
        if cell.read_out.context == Context::Full && first.get(&cell.place) == Some(&cell.read_out.offset) {
            keys.insert((cell.place, cell.probe.clone(), cell.read_out.pooling));
        }
    }
    keys.into_iter()
        .filter_map(|(place, probe, pooling)| {
            let offset = *first.get(&place)?;
            let layers = bench.study.models[place.model].layers;
            let mut points = Vec::new();
            let mut draws = Vec::new();
            for (cell, predictions) in &bench.cells {
                let r = cell.read_out;
                if (cell.place, &cell.probe, r.pooling, r.offset, r.context) != (place, &probe, pooling, offset, Context::Full) {
                    continue;
                }
                let (accuracy, drawn) = bench.mean_accuracy(predictions)?;
                points.push(DepthPoint {
                    layer: cell.layer,
                    depth: cell.layer.depth(layers),
                    accuracy,
                    seed_sd: seed_sd(bench, predictions),
                    validation_log_loss: validation(bench, predictions),
                    predictions: predictions.clone(),
                });
                draws.push(drawn);
            }
            let peak = peak(bench, &points, &draws)?;
            let (best, chosen_on_validation) = representative(&points);
            Some(DepthCurve { place, probe, pooling: pooling.as_str(), points, peak, best, chosen_on_validation })
        })
        .collect()
}

/// Mean validation log-loss of some fits; none if one of them has none.
pub fn validation(bench: &Bench<'_>, predictions: &[usize]) -> Option<f64> {
    let losses: Option<Vec<f64>> =
        predictions.iter().map(|i| bench.study.predictions[*i].fit.as_ref()?.validation_log_loss.filter(|l| l.is_finite())).collect();
    losses.filter(|l| !l.is_empty()).map(|l| l.iter().sum::<f64>() / l.len() as f64)
}

fn seed_sd(bench: &Bench<'_>, predictions: &[usize]) -> Option<f64> {
    let values: Vec<f64> = predictions.iter().filter_map(|i| Some(bench.scores[*i].accuracy()?.value)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.len() > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt())
}

/// The point with the lowest validation log-loss if all have one (and so its test accuracy isn't flattered by the
/// choice), else the one with the highest test accuracy.
fn representative(points: &[DepthPoint]) -> (usize, bool) {
    let losses: Option<Vec<f64>> = points.iter().map(|p| p.validation_log_loss).collect();
    match losses {
        Some(losses) => (argmax(losses.iter().map(|l| -l)), true),
        None => (argmax(points.iter().map(|p| p.accuracy.value)), false),
    }
}

/// The first index of the highest value; 0 if there is none.
pub fn argmax(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best }).0
}

/// The highest point, with the percentile interval of the argmax over resamples.
fn peak(bench: &Bench<'_>, points: &[DepthPoint], draws: &[Vec<f64>]) -> Option<Peak> {
    let at = argmax(points.iter().map(|p| p.accuracy.value));
    let drawn: Vec<f64> = (0..bench.resamples.count()).map(|r| argmax(draws.iter().map(|d| d[r])) as f64).collect();
    let interval = bench.resamples.interval(&drawn);
    let (from, to) = interval.unwrap_or((at as f64, at as f64));
    let (from, to) = (points.get(from.floor() as usize)?, points.get(to.ceil() as usize)?);
    let point = &points[at];
    Some(Peak {
        layer: point.layer,
        depth: Estimate { value: point.depth, lo: interval.map(|_| from.depth), hi: interval.map(|_| to.depth), n: point.accuracy.n },
        from: from.layer,
        to: to.layer,
    })
}

/// A curve's representative layer as a line of the table of probes.
pub fn line(curve: &DepthCurve) -> Line {
    let best = &curve.points[curve.best];
    Line {
        probe: curve.probe.clone(),
        model: Some(curve.place.model),
        condition: Some(curve.place.condition),
        layer: Some(best.layer),
        pooling: Some(curve.pooling),
        predictions: best.predictions.clone(),
        accuracy: best.accuracy,
    }
}
