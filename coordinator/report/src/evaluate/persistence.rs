//! How long the signal lasts: scores over layers and offsets, and fitted decays in every context.

mod floor;
mod values;

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::spec::Control;
use rayon::prelude::*;

use super::bench::{Bench, Cells, Origin, Series};
use super::choice::{self, Merit};
use super::curves::{CONTROLS, control_cells};
use super::measure::Drawn;
use crate::results::{Choice, ControlCurve, Decay, Estimate, Extremes, Fitted, Grid, HalfLife, Persistence, Place};
use crate::statistics::decay::{DecayFit, LONGEST};
use crate::statistics::extremes::told_apart;
use crate::statistics::resamples::FEWEST;
use values::{AtOffset, Beside, Values};

/// The contexts in the order of tables; what follows `Full` are its controls, the strictest first.
pub const CONTEXTS: [Context; 4] = [Context::Full, Context::MaskedPrompt, Context::ShuffledReply, Context::Filler];

/// One per place with at least two offsets in full context, for the main probe and pooling.
pub fn all(bench: &Bench<'_>, probe: &str, pooling: &str) -> Vec<Persistence> {
    let places: BTreeSet<Place> = bench.cells.keys().map(|s| s.place).collect();
    let places: Vec<Place> = places.into_iter().collect();
    places.par_iter().filter_map(|place| one(bench, *place, probe, pooling)).collect()
}

fn one(bench: &Bench<'_>, place: Place, probe: &str, pooling: &str) -> Option<Persistence> {
    let cells = bench.home(place, probe)?;
    let offsets: Vec<u32> = offsets(cells, Context::Full, pooling);
    if offsets.len() < 2 {
        return None;
    }
    let layers: Vec<Layer> = cells.keys().map(|(l, _)| *l).collect::<BTreeSet<_>>().into_iter().collect();
    let (layer, chosen) = decay_layer(bench, cells, &layers, &offsets, pooling);
    let mut grids = Vec::new();
    for context in CONTEXTS {
        let cell = |l: &Layer, k: &u32| {
            let predictions = find(cells, *l, *k, context, pooling)?;
            // Intervals are for the layer that decays are fitted at.
            if *l == layer { bench.estimate(predictions) } else { bench.point(predictions) }
        };
        let grid: Vec<Vec<Option<Estimate>>> = layers.iter().map(|l| offsets.iter().map(|k| cell(l, k)).collect()).collect();
        if grid.iter().flatten().any(Option::is_some) {
            grids.push(Grid { context, cells: grid });
        }
    }
    let mut traced = Vec::new();
    let from = Series { place, probe: std::sync::Arc::from(""), origin: Origin::default() };
    for (series, cells) in bench.cells.range(from..).take_while(|(series, _)| series.place == place) {
        let transferred = match series.origin {
            Origin { control: None, fitted_condition: None, fitted_at: None } => false,
            Origin { control: None, fitted_condition: None, fitted_at: Some(at) } if at == ReadOut::LAST => true,
            _ => continue,
        };
        let home = bench.home(place, &series.probe);
        traced.extend(curves(bench, &series.probe, transferred, cells, home, layer, pooling));
    }
    let controls = controls(bench, place, probe, layer, &offsets, pooling);
    let (decays, draws): (Vec<Decay>, Vec<Vec<Vec<f64>>>) = traced.into_iter().unzip();
    let mut persistence = Persistence { place, layers, offsets, grids, layer, chosen, decays, controls, extremes: None };
    persistence.extremes = extremes(&persistence, &draws, probe, bench.ruler.resamples.has_intervals());
    Some(persistence)
}

/// Half-lives are told apart by their ratios, and no finer than to so much of themselves.
const RESOLUTION: f64 = 0.05;

/// The classes that last longest and shortest, by the half-lives of each decay's fits in every resample; they are `tested` against one
/// another where resamples tell anything.
fn extremes(p: &Persistence, draws: &[Vec<Vec<f64>>], probe: &str, tested: bool) -> Option<Extremes> {
    let mut classes: Vec<(usize, f64, Vec<f64>)> = Vec::new();
    let mut ends = (0f64, f64::INFINITY);
    for (decay, draws) in p.decays.iter().zip(draws) {
        let Some(class) = decay.class.filter(|_| decay.probe == probe && !decay.transferred && decay.context == Context::Full) else {
            continue;
        };
        let Some(fit) = p.of_class(decay) else { continue };
        let (tokens, within) = match fit.half_life {
            // What doesn't decay exponentially has no half-life that others could outlast.
            _ if fit.poor() => continue,
            HalfLife::Reached { tokens, within, .. } => (tokens, within),
            HalfLife::Sooner { within, .. } => (0.0, within),
            HalfLife::NotReached { within, .. } => (f64::INFINITY, within),
            HalfLife::NoSignal | HalfLife::TooFew | HalfLife::TooFewRows => continue,
        };
        let at = decay.fits.iter().position(|f| f.towards == fit.towards).expect("it is one of them");
        ends = (ends.0.max(DecayFit::new(&fit.offsets).shortest()), ends.1.min(f64::from(within) * LONGEST));
        classes.push((class, tokens, draws[at].clone()));
    }
    // What outlasts the offsets by far lasts equally long, as far as they tell, and so does what is gone before the second: as far as
    // those of every class tell, for of a class of few long replies they reach less far.
    let log = |tokens: f64| if tokens.is_nan() { tokens } else { tokens.max(ends.0).min(ends.1.max(ends.0)).ln() };
    for (_, tokens, draws) in &mut classes {
        *tokens = log(*tokens);
        draws.iter_mut().for_each(|tokens| *tokens = log(*tokens));
    }
    if classes.len() < 2 {
        return None;
    }
    classes.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (shortest, longest) = (classes[0].0, classes[classes.len() - 1].0);
    let (values, draws): (Vec<f64>, Vec<Vec<f64>>) = classes.into_iter().map(|c| (c.1, c.2)).unzip();
    let p = if tested { told_apart(&values, &draws, RESOLUTION) } else { None };
    Some(Extremes { longest, shortest, p })
}

/// The probe's controls at the layer of the decay curves, where they were run at two offsets or more.
fn controls(bench: &Bench<'_>, place: Place, probe: &str, layer: Layer, offsets: &[u32], pooling: &str) -> Vec<ControlCurve> {
    let of = |control: Control| {
        let cells = control_cells(bench, place, probe, control)?;
        let at = |k: &u32| bench.estimate(find(cells, layer, *k, Context::Full, pooling)?);
        let points: Vec<Option<Estimate>> = offsets.iter().map(at).collect();
        (points.iter().flatten().count() > 1).then(|| ControlCurve { control: control.name(), points })
    };
    CONTROLS.into_iter().filter_map(of).collect()
}

/// The offsets at which a context was measured; beyond the prompt there is no pooling to choose.
fn offsets(cells: &Cells, context: Context, pooling: &str) -> Vec<u32> {
    let ours = |r: &ReadOut| r.context == context && (r.offset > 0 || r.pooling.as_str() == pooling);
    let offsets: BTreeSet<u32> = cells.keys().map(|(_, r)| *r).filter(ours).map(|r| r.offset).collect();
    offsets.into_iter().collect()
}

fn find<'a>(cells: &'a Cells, layer: Layer, offset: u32, context: Context, pooling: &str) -> Option<&'a Vec<usize>> {
    let ours = |r: &ReadOut| r.offset == offset && r.context == context && (offset > 0 || r.pooling.as_str() == pooling);
    let range = (layer, ReadOut { offset, pooling: Pooling::Last, context: Context::Full })..;
    cells.range(range).take_while(|((l, r), _)| *l == layer && r.offset == offset).find(|((_, r), _)| ours(r)).map(|(_, p)| p)
}

/// The layer that is best on average over the offsets that every layer has, and what it was chosen by.
fn decay_layer(bench: &Bench<'_>, cells: &Cells, layers: &[Layer], offsets: &[u32], pooling: &str) -> (Layer, Choice) {
    let none = Merit { measure: None, loss: None, test: None };
    let merits = |layer: &Layer| -> Vec<Merit> {
        let at = |k: &u32| find(cells, *layer, *k, Context::Full, pooling).map_or(none, |p| Merit::of_fits(bench, p));
        offsets.iter().map(at).collect()
    };
    let (at, chosen) = choice::best(&choice::means(&layers.iter().map(merits).collect::<Vec<_>>()));
    (layers[at], chosen)
}

/// A curve of one context: offsets, and at each the predictions behind it, the measure and what is followed per class.
struct Measured<'a> {
    context: Context,
    offsets: Vec<u32>,
    predictions: Vec<&'a [usize]>,
    values: Values,
    /// The same without any signal, on the rows of each offset.
    floors: Values,
}

/// All curves of one series, with the decays fitted to them; and for each of its fits the half-life in every resample.
fn curves<'a>(
    bench: &'a Bench<'_>,
    probe: &str,
    transferred: bool,
    cells: &'a Cells,
    home: Option<&'a Cells>,
    layer: Layer,
    pooling: &str,
) -> Vec<(Decay, Vec<Vec<f64>>)> {
    let count = bench.study.classes.len();
    let mut measured: Vec<Measured<'_>> = Vec::new();
    for context in CONTEXTS {
        let mut sets: Vec<(u32, &'a Vec<usize>)> =
            offsets(cells, context, pooling).into_iter().filter_map(|k| Some((k, find(cells, layer, k, context, pooling)?))).collect();
        // The probe that is carried over starts where it was fitted.
        if transferred && context == Context::Full {
            let start = home.and_then(|home| find(home, layer, 0, Context::Full, Pooling::Last.as_str()));
            start.into_iter().for_each(|predictions| sets.insert(0, (0, predictions)));
        }
        let found = |(k, p): &(u32, &'a Vec<usize>)| Some((*k, p.as_slice(), AtOffset::of(bench, p)?, AtOffset::floor(bench, p)?));
        let found: Vec<(u32, &[usize], AtOffset, AtOffset)> = sets.iter().filter_map(found).collect();
        if found.len() < 2 {
            continue;
        }
        let (offsets, predictions) = found.iter().map(|f| (f.0, f.1)).unzip();
        let (at, floors) = found.into_iter().map(|f| (f.2, f.3)).unzip();
        measured.push(Measured { context, offsets, predictions, values: Values::new(at, count), floors: Values::new(floors, count) });
    }
    let mut decays = Vec::new();
    for curve in &measured {
        let controls = measured.iter().filter(|m| curve.context == Context::Full && m.context != Context::Full);
        let ours = (curve.offsets.as_slice(), curve.predictions.as_slice());
        let beside = |control: &Measured<'_>| Beside::new(bench, ours, control.context, (&control.offsets, &control.predictions));
        let beside: Vec<Beside> = controls.filter_map(beside).collect();
        for class in std::iter::once(None).chain((0..count).map(Some)) {
            let Some(values) = curve.values.of(class) else { continue };
            let towards =
                |b: &Beside| Some(fit(bench, &b.offsets, b.curve.of(class)?, Some(b.control), b.level.of(class)?, &b.of_seeds(class)));
            let mut fits: Vec<(Fitted, Vec<f64>)> = beside.iter().filter_map(towards).collect();
            let Some(floors) = curve.floors.of(class) else { continue };
            fits.push(fit(bench, &curve.offsets, values, None, floors, &curve.values.above(&curve.floors, class)));
            let points = curve.offsets.iter().zip(values).map(|(k, v)| (*k, v.estimate(bench.ruler.resamples)));
            let (points, spread) = (points.collect(), curve.values.spread(class));
            let (fits, draws) = fits.into_iter().unzip();
            let decay = Decay { probe: probe.to_owned(), transferred, context: curve.context, class, points, spread, fits };
            decays.push((decay, draws));
        }
    }
    decays
}

/// The decay of what `values` have above `floors`, from the first of the offsets on, with the half-life in every resample where one was
/// fitted; `of_seeds` is the same of each sampling seed alone. Offsets that few rows reach are left out.
fn fit(
    bench: &Bench<'_>,
    offsets: &[u32],
    values: &[Drawn],
    towards: Option<Context>,
    floors: &[Drawn],
    of_seeds: &[Vec<f64>],
) -> (Fitted, Vec<f64>) {
    let resamples = bench.ruler.resamples;
    let kept: Vec<usize> = (0..offsets.len()).filter(|at| *at == 0 || values[*at].rests >= FEWEST).collect();
    let offsets: Vec<u32> = kept.iter().map(|at| offsets[*at]).collect();
    let excess: Vec<Drawn> = kept.iter().map(|at| values[*at].minus(&floors[*at])).collect();
    let (first, last) = (&excess[0], &excess[excess.len() - 1]);
    let start = first.difference(resamples);
    // Of few rows a value above the floor is no signal: chance lifts it as often. (Of one group nothing is tested at all.)
    let untested = start.lo.is_none() && (first.rests < FEWEST || resamples.has_intervals());
    let signal = !untested && start.lo.unwrap_or(start.value) > 0.0;
    let within = offsets[offsets.len() - 1] - offsets[0];
    let span = f64::from(within);
    let (mut misses, mut lives) = (0, Vec::new());
    let half_life = if values.len() < 3 {
        HalfLife::TooFew
    } else if untested || offsets.len() < 3 {
        HalfLife::TooFewRows
    } else if !signal {
        HalfLife::NoSignal
    } else {
        let shape = DecayFit::new(&offsets);
        let found = shape.fit(&excess.iter().map(|e| e.value).collect::<Vec<_>>());
        let outside = |(k, e): &(&u32, &Drawn)| {
            let (left, measured) = (found.at(f64::from(**k - offsets[0])), e.difference(resamples));
            measured.lo.is_some_and(|lo| left < lo) || measured.hi.is_some_and(|hi| left > hi)
        };
        misses = offsets.iter().zip(&excess).filter(outside).count();
        let draw = |r: usize| shape.fit(&excess.iter().map(|e| e.draws[r]).collect::<Vec<_>>()).half_life;
        lives = (0..resamples.count()).map(draw).collect();
        let interval = if start.lo.is_some() { resamples.interval(&lives) } else { None };
        let within_span = |v: f64| (v <= span).then_some(v);
        if found.half_life == 0.0 {
            HalfLife::Sooner { than: shape.shortest(), within, hi: interval.and_then(|i| within_span(i.1)) }
        } else if found.half_life <= span {
            HalfLife::Reached { tokens: found.half_life, within, lo: interval.map(|i| i.0), hi: interval.and_then(|i| within_span(i.1)) }
        } else {
            HalfLife::NotReached { within, lo: interval.and_then(|i| within_span(i.0)) }
        }
    };
    // Of one offset all would be kept.
    let retained = (signal && offsets.len() > 1).then(|| {
        let ratio = |(a, b): (&f64, &f64)| if *a > 0.0 { b / a } else { f64::NAN };
        let draws: Vec<f64> = first.draws.iter().zip(&last.draws).map(ratio).collect();
        resamples.estimate(last.value / first.value, &draws, last.n, first.telling() && last.telling())
    });
    let groups = kept.iter().map(|at| values[*at].groups).min().unwrap_or(0);
    let of_seed_kept = |excess: &Vec<f64>| of_seed(&offsets, &kept.iter().map(|at| excess[*at]).collect::<Vec<_>>());
    let of_seeds = of_seeds.iter().filter(|_| half_life.lasts()).map(of_seed_kept).collect();
    let floor = kept.iter().map(|at| floors[*at].value).collect();
    let clear = excess[1..].iter().filter(|e| e.difference(resamples).lo.is_some_and(|lo| lo > 0.0)).count();
    let later = clear > 0 && 2 * clear >= excess.len() - 1;
    (Fitted { towards, offsets, floor, half_life, later, misses, groups, retained, of_seeds }, lives)
}

/// The half-life of one sampling seed's curve, by its excess alone.
fn of_seed(offsets: &[u32], excess: &[f64]) -> HalfLife {
    let within = offsets[offsets.len() - 1] - offsets[0];
    if excess[0] <= 0.0 {
        return HalfLife::NoSignal;
    }
    let shape = DecayFit::new(offsets);
    match shape.fit(excess).half_life {
        0.0 => HalfLife::Sooner { than: shape.shortest(), within, hi: None },
        tokens if tokens <= f64::from(within) => HalfLife::Reached { tokens, within, lo: None, hi: None },
        _ => HalfLife::NotReached { within, lo: None },
    }
}
