//! Probes of one condition on the states of another.

use std::collections::BTreeSet;

use limbic_proto::axis::{Layer, ReadOut};

use super::bench::{Bench, Origin, argmax};
use crate::results::{DepthCurve, Place, TransferMatrix};

/// One matrix per model, of the primary probe at the layer that is best on average over conditions.
pub fn all(bench: &Bench<'_>, curves: &[DepthCurve], probe: &str) -> Vec<TransferMatrix> {
    bench.trained().filter_map(|model| one(bench, curves, model, probe)).collect()
}

fn one(bench: &Bench<'_>, curves: &[DepthCurve], model: usize, probe: &str) -> Option<TransferMatrix> {
    let moved = bench.cells.iter().filter(|(s, _)| s.place.model == model && &*s.probe == probe && s.origin.control.is_none());
    let moved: Vec<_> = moved.filter(|(s, _)| s.origin.fitted_condition.is_some()).collect();
    let conditions: BTreeSet<usize> =
        moved.iter().flat_map(|(s, _)| [Some(s.place.condition), s.origin.fitted_condition]).flatten().collect();
    let conditions: Vec<usize> = conditions.into_iter().collect();
    let at = |layer: Layer, fitted: usize, tested: usize| {
        let origin = Origin { fitted_condition: Some(fitted).filter(|f| *f != tested), ..Origin::default() };
        bench.of(Place { model, condition: tested }, probe, origin)?.get(&(layer, ReadOut::LAST))
    };
    let layers: BTreeSet<Layer> = moved.iter().flat_map(|(_, cells)| cells.keys().map(|k| k.0)).collect();
    let layer = *layers.iter().nth(argmax(layers.iter().map(|l| worth(curves, model, *l))))?;
    let cell = |fitted: &usize, tested: &usize| bench.estimate(at(layer, *fitted, *tested)?);
    let cells = conditions.iter().map(|fitted| conditions.iter().map(|tested| cell(fitted, tested)).collect()).collect();
    Some(TransferMatrix { model, layer, probe: probe.to_owned(), conditions, cells })
}

/// How good a layer is on average over a model's conditions: minus the validation loss, or the score where there is none.
fn worth(curves: &[DepthCurve], model: usize, layer: Layer) -> f64 {
    let points: Vec<_> =
        curves.iter().filter(|c| c.place.model == model).filter_map(|c| c.points.iter().find(|p| p.layer == layer)).collect();
    let losses: Option<Vec<f64>> = points.iter().map(|p| p.validation_loss.map(|l| -l)).collect();
    let values = losses.unwrap_or_else(|| points.iter().map(|p| p.score.value).collect());
    if values.is_empty() { f64::NEG_INFINITY } else { values.iter().sum::<f64>() / values.len() as f64 }
}
