//! Probes of one condition on the states of another.

use std::collections::BTreeSet;

use limbic_proto::axis::{Layer, Pooling, ReadOut};

use super::bench::{Bench, Origin};
use super::choice::{self, Merit};
use crate::results::{DepthCurve, Place, TransferMatrix};

/// One matrix per model, of the main probe and pooling at the layer that is best on average over conditions.
pub fn all(bench: &Bench<'_>, curves: &[DepthCurve], probe: &str, pooling: &str) -> Vec<TransferMatrix> {
    let Some(pooling) = bench.poolings.iter().copied().find(|p| p.as_str() == pooling) else { return Vec::new() };
    bench.trained().filter_map(|model| one(bench, curves, model, probe, pooling)).collect()
}

fn one(bench: &Bench<'_>, curves: &[DepthCurve], model: usize, probe: &str, pooling: Pooling) -> Option<TransferMatrix> {
    let read_out = ReadOut { pooling, ..ReadOut::LAST };
    let moved = bench.cells.iter().filter(|(s, _)| s.place.model == model && &*s.probe == probe && s.origin.control.is_none());
    let moved: Vec<_> = moved.filter(|(s, _)| s.origin.fitted_condition.is_some()).collect();
    let conditions: BTreeSet<usize> =
        moved.iter().flat_map(|(s, _)| [Some(s.place.condition), s.origin.fitted_condition]).flatten().collect();
    let conditions: Vec<usize> = conditions.into_iter().collect();
    let at = |layer: Layer, fitted: usize, tested: usize| {
        let origin = Origin { fitted_condition: Some(fitted).filter(|f| *f != tested), ..Origin::default() };
        bench.of(Place { model, condition: tested }, probe, origin)?.get(&(layer, read_out))
    };
    let layers: BTreeSet<Layer> = moved.iter().flat_map(|(_, cells)| cells.keys().map(|k| k.0)).collect();
    let merits: Vec<Merit> = layers.iter().map(|l| worth(curves, model, *l)).collect();
    let layer = *layers.iter().nth(choice::best(&merits).0)?;
    let cell = |fitted: &usize, tested: &usize| bench.estimate(at(layer, *fitted, *tested)?);
    let cells: Vec<Vec<_>> = conditions.iter().map(|fitted| conditions.iter().map(|tested| cell(fitted, tested)).collect()).collect();
    let carried = cells.iter().flatten().any(Option::is_some);
    carried.then(|| TransferMatrix { model, layer, read_out, probe: probe.to_owned(), conditions, cells })
}

/// How good a layer is on average over a model's conditions.
fn worth(curves: &[DepthCurve], model: usize, layer: Layer) -> Merit {
    let points = curves.iter().filter(|c| c.place.model == model).filter_map(|c| c.points.iter().find(|p| p.layer == layer));
    Merit::mean(&points.map(Merit::of).collect::<Vec<_>>())
}
