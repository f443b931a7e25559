//! What is compared with what.

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, Layer, ReadOut};

use super::super::bench::{Bench, Origin};
use super::super::curves::{CONTROLS, control_cells, line};
use super::super::persistence::CONTEXTS;
use super::{Pair, Side};
use crate::evaluate::BASELINES;
use crate::results::{DepthCurve, Line, Persistence, Place, Results};

/// All pairs, family by family.
pub fn all(bench: &Bench<'_>, results: &Results) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let trained: BTreeSet<usize> = bench.trained().collect();
    let curves: Vec<&DepthCurve> = results.depth.iter().filter(|c| trained.contains(&c.place.model)).collect();
    pairs.extend(trained.iter().filter_map(|m| results.best_of(*m)).flat_map(|best| baselines(bench, best)));
    pairs.extend(models(bench, &curves));
    pairs.extend(trained.iter().flat_map(|model| conditions(bench, results, *model)));
    pairs.extend(results.persistence.iter().filter(|p| trained.contains(&p.place.model)).flat_map(|p| contexts(bench, results, p)));
    pairs.extend(results.persistence.iter().filter(|p| trained.contains(&p.place.model)).filter_map(|p| carried(bench, results, p)));
    pairs.extend(curves.iter().flat_map(|curve| probes(bench, results, curve)));
    pairs.extend(curves.iter().flat_map(|curve| controls(bench, results, curve)));
    pairs.extend(results.transfer.iter().flat_map(|matrix| transfer(bench, matrix)));
    pairs
}

fn pair(family: &'static str, curve: &DepthCurve, condition: Option<usize>, subject: Side, against: Side) -> Pair {
    Pair { family, model: curve.place.model, condition, subject, against }
}

fn side(bench: &Bench<'_>, curve: &DepthCurve) -> Side {
    let best = curve.shown();
    Side { name: named(bench, &line(curve), best.layer), predictions: best.predictions.clone() }
}

/// What a probe at a layer is called.
fn named(bench: &Bench<'_>, line: &Line, layer: Layer) -> String {
    let probe = crate::wording::probe(&line.probe, line.pooling.filter(|_| bench.poolings.len() > 1));
    format!("{probe}, {}, layer {layer}", bench.study.condition_name(line.condition))
}

/// A model's best curve against every baseline. One that says the same as an earlier one (of labels of a single token their mean
/// likelihood is the likelihood) isn't tested twice.
fn baselines(bench: &Bench<'_>, best: &DepthCurve) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut earlier: Vec<Vec<u32>> = Vec::new();
    for probe in BASELINES {
        for owner in [None, Some(best.place.model)] {
            let predictions = bench.baseline(probe, owner);
            let bits: Vec<u32> =
                predictions.iter().filter_map(|i| bench.read(*i)).flat_map(|v| v.iter().map(|s| s.to_bits()).collect::<Vec<_>>()).collect();
            if !predictions.is_empty() && !earlier.contains(&bits) {
                earlier.push(bits);
                let against = Side { name: probe.to_owned(), predictions };
                pairs.push(pair("baselines", best, Some(best.place.condition), side(bench, best), against));
            }
        }
    }
    pairs
}

/// A model's curves under one condition against those under another.
fn conditions(bench: &Bench<'_>, results: &Results, model: usize) -> Vec<Pair> {
    let under = |condition: usize| results.depth.iter().find(|c| c.place == Place { model, condition });
    let contrasts = results.contrasts();
    let both = contrasts.pairs().filter_map(|(later, earlier)| under(later).zip(under(earlier)));
    both.map(|(later, earlier)| pair("conditions", later, None, side(bench, later), side(bench, earlier))).collect()
}

/// Every two models under the same condition, the larger one first.
fn models(bench: &Bench<'_>, curves: &[&DepthCurve]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let size = |c: &DepthCurve| bench.study.models[c.place.model].parameters;
    for (i, a) in curves.iter().enumerate() {
        for b in curves[i + 1..].iter().filter(|b| b.place.condition == a.place.condition && b.place.model != a.place.model) {
            let (large, small) = if size(a) >= size(b) { (a, b) } else { (b, a) };
            let named = |c: &DepthCurve| {
                let side = side(bench, c);
                Side { name: format!("{}, {}", bench.study.models[c.place.model].name, side.name), ..side }
            };
            pairs.push(pair("models", large, Some(a.place.condition), named(large), named(small)));
        }
    }
    pairs
}

/// Full context against each control at the last offset that has both, at the layer of the decay curves.
fn contexts(bench: &Bench<'_>, results: &Results, persistence: &Persistence) -> Vec<Pair> {
    let Some(cells) = results.probe.as_ref().and_then(|probe| bench.home(persistence.place, probe)) else { return Vec::new() };
    let at = |offset: u32, context: Context| cells.get(&(persistence.layer, ReadOut { context, ..ReadOut::at(offset) }));
    let mut pairs = Vec::new();
    for context in CONTEXTS.into_iter().skip(1) {
        let last = persistence.offsets.iter().rev().find(|k| at(**k, context).is_some() && at(**k, Context::Full).is_some());
        let Some(offset) = last.copied() else { continue };
        let condition = bench.study.condition_name(Some(persistence.place.condition));
        let name = format!("{condition}, layer {}, offset {offset}, full context", persistence.layer);
        let of = |context: Context| at(offset, context).expect("just found").clone();
        pairs.push(Pair {
            family: "contexts",
            model: persistence.place.model,
            condition: Some(persistence.place.condition),
            subject: Side { name, predictions: of(Context::Full) },
            against: Side { name: context.as_str().to_owned(), predictions: of(context) },
        });
    }
    pairs
}

/// The probe of offset 0 against the one fitted there, at the last offset that has both, in full context, at the layer of the
/// decay curves.
fn carried(bench: &Bench<'_>, results: &Results, persistence: &Persistence) -> Option<Pair> {
    let (place, probe) = (persistence.place, results.probe.as_ref()?);
    let offset = persistence.carried(probe)?;
    let at = |origin: Origin| bench.of(place, probe, origin)?.get(&(persistence.layer, ReadOut::at(offset))).cloned();
    let condition = bench.study.condition_name(Some(place.condition));
    let moved = Origin { fitted_at: Some(ReadOut::LAST), ..Origin::default() };
    let name = format!("{probe} of offset 0, {condition}, layer {}, offset {offset}", persistence.layer);
    Some(Pair {
        family: "carried",
        model: place.model,
        condition: Some(place.condition),
        subject: Side { name, predictions: at(moved)? },
        against: Side { name: "fitted there".to_owned(), predictions: at(Origin::default())? },
    })
}

/// Every other probe and pooling against the main one, both at their representative layers.
fn probes(bench: &Bench<'_>, results: &Results, curve: &DepthCurve) -> Vec<Pair> {
    let ours = (Some(curve.place.model), Some(curve.place.condition));
    let main = |l: &&Line| (&l.probe, l.pooling) == (&curve.probe, Some(curve.pooling));
    let others = results.probes.iter().filter(|l| !main(l) && (l.model, l.condition) == ours);
    let one = |line: &Line| {
        let subject = Side { name: named(bench, line, line.layer?), predictions: line.predictions.clone() };
        Some(pair("probes", curve, line.condition, subject, side(bench, curve)))
    };
    others.filter_map(one).collect()
}

/// Every probe at its representative layer against its controls there.
fn controls(bench: &Bench<'_>, results: &Results, curve: &DepthCurve) -> Vec<Pair> {
    let ours = (Some(curve.place.model), Some(curve.place.condition));
    let mut pairs = Vec::new();
    for line in results.probes.iter().filter(|l| (l.model, l.condition) == ours) {
        let Some(layer) = line.layer else { continue };
        let read_out = bench.study.predictions[line.predictions[0]].read_out.expect("a probe has a read-out");
        for control in CONTROLS {
            let cells = control_cells(bench, curve.place, &line.probe, control);
            let Some(predictions) = cells.and_then(|cells| cells.get(&(layer, read_out))) else { continue };
            let subject = Side { name: named(bench, line, layer), predictions: line.predictions.clone() };
            let against = Side { name: control.name().to_owned(), predictions: predictions.clone() };
            pairs.push(pair("controls", curve, line.condition, subject, against));
        }
    }
    pairs
}

/// Probes of another condition against those of the condition itself.
fn transfer(bench: &Bench<'_>, matrix: &crate::results::TransferMatrix) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for &tested in &matrix.conditions {
        let place = Place { model: matrix.model, condition: tested };
        let Some(home) = bench.home(place, &matrix.probe).and_then(|c| c.get(&(matrix.layer, matrix.read_out))) else { continue };
        for &fitted in matrix.conditions.iter().filter(|c| **c != tested) {
            let origin = Origin { fitted_condition: Some(fitted), ..Origin::default() };
            let moved = bench.of(place, &matrix.probe, origin).and_then(|c| c.get(&(matrix.layer, matrix.read_out)));
            let Some(predictions) = moved.cloned() else { continue };
            let name = |c: usize| bench.study.conditions[c].name.clone();
            pairs.push(Pair {
                family: "transfer",
                model: matrix.model,
                condition: Some(tested),
                subject: Side { name: format!("fitted under {}, used under {}", name(fitted), name(tested)), predictions },
                against: Side { name: format!("fitted under {}", name(tested)), predictions: home.clone() },
            });
        }
    }
    pairs
}
