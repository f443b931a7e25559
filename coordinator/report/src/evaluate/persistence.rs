//! How long the signal lasts: accuracy over layers and offsets, and fitted decays with and without the prompt.

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, Layer, ReadOut};
use rayon::prelude::*;

use super::curves::{argmax, validation};
use super::{Bench, Cell};
use crate::results::{Decay, Estimate, HalfLife, Persistence, Place};
use crate::statistics::decay::DecayFit;
use crate::statistics::metrics;

/// One per place with at least two offsets in full context, for the primary probe and pooling.
pub fn all(bench: &Bench<'_>, probe: &str, pooling: &str, floor: f64) -> Vec<Persistence> {
    let places: BTreeSet<Place> = bench.cells.keys().map(|c| c.place).collect();
    let places: Vec<Place> = places.into_iter().collect();
    places.par_iter().filter_map(|place| one(bench, *place, probe, pooling, floor)).collect()
}

fn one(bench: &Bench<'_>, place: Place, probe: &str, pooling: &str, floor: f64) -> Option<Persistence> {
    // Beyond the prompt there is no pooling to choose.
    let ours = |c: &&Cell| c.place == place && c.probe == probe && (c.read_out.offset > 0 || c.read_out.pooling.as_str() == pooling);
    let cells: Vec<&Cell> = bench.cells.keys().filter(ours).collect();
    let set =
        |context: Context| -> BTreeSet<u32> { cells.iter().filter(|c| c.read_out.context == context).map(|c| c.read_out.offset).collect() };
    let (offsets, masked_offsets) = (set(Context::Full), set(Context::MaskedPrompt));
    if offsets.len() < 2 {
        return None;
    }
    let layers: BTreeSet<Layer> = cells.iter().map(|c| c.layer).collect();
    let find = |layer: Layer, offset: u32, context: Context| -> Option<&Vec<usize>> {
        let cell = cells.iter().find(|c| c.layer == layer && c.read_out.offset == offset && c.read_out.context == context)?;
        bench.cells.get(*cell)
    };
    let grid = |context: Context| -> Vec<Vec<Option<Estimate>>> {
        let row = |layer: &Layer| offsets.iter().map(|k| Some(bench.mean_accuracy(find(*layer, *k, context)?)?.0)).collect();
        layers.iter().map(row).collect()
    };
    let (layers, offsets): (Vec<Layer>, Vec<u32>) = (layers.iter().copied().collect(), offsets.iter().copied().collect());
    // The decay layer: lowest mean validation log-loss over offsets, or highest mean accuracy.
    let mean_over = |value: &dyn Fn(&Vec<usize>) -> Option<f64>, layer: Layer| -> Option<f64> {
        let values: Option<Vec<f64>> = offsets.iter().map(|k| value(find(layer, *k, Context::Full)?)).collect();
        values.map(|v| v.iter().sum::<f64>() / v.len() as f64)
    };
    let losses: Option<Vec<f64>> = layers.iter().map(|l| mean_over(&|p| validation(bench, p), *l)).collect();
    let layer = match losses {
        Some(losses) => layers[argmax(losses.iter().map(|l| -l))],
        None => {
            layers[argmax(layers.iter().map(|l| mean_over(&|p| Some(bench.mean_accuracy(p)?.0.value), *l).unwrap_or(f64::NEG_INFINITY)))]
        }
    };
    let mut decays = Vec::new();
    for (context, offsets) in [(Context::Full, &offsets), (Context::MaskedPrompt, &masked_offsets.iter().copied().collect())] {
        let sets: Vec<(u32, &Vec<usize>)> = offsets.iter().filter_map(|k| Some((*k, find(layer, *k, context)?))).collect();
        if sets.len() > 1 {
            decays.extend(series(bench, &sets, context, floor));
        }
    }
    let masked = if masked_offsets.is_empty() { Vec::new() } else { grid(Context::MaskedPrompt) };
    Some(Persistence { place, full: grid(Context::Full), masked, layers, offsets, layer, decays })
}

/// The decay of accuracy and of every class's informedness over some offsets.
fn series(bench: &Bench<'_>, sets: &[(u32, &Vec<usize>)], context: Context, floor: f64) -> Vec<Decay> {
    let classes = bench.study.classes.len();
    let offsets: Vec<u32> = sets.iter().map(|s| s.0).collect();
    let fit = DecayFit::new(&offsets);
    let accuracy: Vec<_> = sets.iter().filter_map(|s| bench.mean_accuracy(s.1)).collect();
    let mut decays = Vec::new();
    if accuracy.len() == sets.len() {
        decays.push(decay(bench, &fit, &offsets, accuracy, context, None, floor));
    }
    // [offsets][seeds] of (totals, draws), counted once for all classes.
    let drawn: Vec<Vec<_>> = sets
        .iter()
        .map(|(_, predictions)| {
            let tally = |i: &usize| bench.tally(&bench.study.predictions[*i]);
            predictions.iter().map(tally).map(|t| (t.totals(), t.draw(&bench.resamples, None))).collect()
        })
        .collect();
    for class in 0..classes {
        // Not the recall: a probe that has lost everything may still name one class for every row.
        let values: Option<Vec<(Estimate, Vec<f64>)>> = drawn
            .iter()
            .map(|seeds| {
                let value = seeds.iter().map(|(totals, _)| metrics::informedness(totals, class)).sum::<f64>() / seeds.len() as f64;
                let lists: Vec<Vec<f64>> =
                    seeds.iter().map(|(_, draws)| draws.map(|t| [metrics::informedness(t, class)])).map(|[d]| d).collect();
                let draws = super::mean_draws(lists.iter());
                let n = seeds.iter().map(|(totals, _)| totals.truth[class]).min()?;
                (n > 0).then(|| (bench.resamples.estimate(value, &draws, n as usize), draws))
            })
            .collect();
        if let Some(values) = values {
            decays.push(decay(bench, &fit, &offsets, values, context, Some(class), 0.0));
        }
    }
    decays
}

fn decay(
    bench: &Bench<'_>,
    fit: &DecayFit,
    offsets: &[u32],
    values: Vec<(Estimate, Vec<f64>)>,
    context: Context,
    class: Option<usize>,
    floor: f64,
) -> Decay {
    let (first, last) = (&values[0], &values[values.len() - 1]);
    let signal = first.0.lo.unwrap_or(first.0.value) > floor;
    let within = *offsets.last().unwrap_or(&0);
    let span = f64::from(within - offsets[0]);
    let half_life = if offsets.len() < 3 {
        HalfLife::TooFew
    } else if !signal {
        HalfLife::NoSignal
    } else {
        let found = fit.fit(&values.iter().map(|v| v.0.value - floor).collect::<Vec<_>>());
        let draws: Vec<f64> =
            (0..bench.resamples.count()).map(|r| fit.fit(&values.iter().map(|v| v.1[r] - floor).collect::<Vec<_>>()).half_life).collect();
        let interval = bench.resamples.interval(&draws);
        let within_span = |v: f64| (v <= span).then_some(v);
        if found.half_life <= span {
            HalfLife::Reached { tokens: found.half_life, lo: interval.map(|i| i.0), hi: interval.and_then(|i| within_span(i.1)) }
        } else {
            HalfLife::NotReached { within, lo: interval.and_then(|i| within_span(i.0)) }
        }
    };
    let retained = signal.then(|| {
        let draws: Vec<f64> =
            first.1.iter().zip(&last.1).map(|(a, b)| if *a > floor { (b - floor) / (a - floor) } else { f64::NAN }).collect();
        bench.resamples.estimate((last.0.value - floor) / (first.0.value - floor), &draws, last.0.n)
    });
    let points = offsets.iter().copied().zip(values.iter().map(|v| v.0)).collect();
    Decay { context, class, points, floor, half_life, retained }
}

/// Whether a read-out is the masked-prompt twin of another.
pub fn twin(a: ReadOut, b: ReadOut) -> bool {
    a.offset == b.offset && a.context == Context::Full && b.context == Context::MaskedPrompt
}
