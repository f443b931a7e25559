//! Curves over layers: one per place, probe and pooling, with the peak, the layer that stands for the curve, and the
//! controls beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::rows::Scheme;
use limbic_proto::spec::Control;
use rayon::prelude::*;

use super::bench::{Bench, Cells, Origin, Series, argmax};
use super::choice::{self, Merit};
use super::measure::Drawn;
use crate::results::{Choice, ControlCurve, DepthCurve, DepthPoint, Estimate, Line, Peak, Place, Spread};
use crate::statistics::best::as_good_as_best;
use crate::statistics::comparison::benjamini_hochberg;

/// The controls of a probe, in the order of tables and figures.
pub const CONTROLS: [Control; 3] = [Control::ShuffledLabels, Control::RandomDirection, Control::RandomWeights];

/// A curve in the making: its series, and the read-out that it is about.
type Wanted<'a> = (&'a Series, &'a Cells, ReadOut);

/// All curves of probes at their own place, at the first measured offset with full context; ordered by place, probe and
/// pooling.
pub fn all(bench: &Bench<'_>) -> Vec<DepthCurve> {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for (series, cells) in bench.cells.iter().filter(|(series, _)| series.origin == Origin::default()) {
        let Some(first) = first_offset(bench, series.place) else { continue };
        let read_outs: BTreeSet<ReadOut> =
            cells.keys().map(|(_, r)| *r).filter(|r| r.context == Context::Full && r.offset == first).collect();
        wanted.extend(read_outs.into_iter().map(|read_out| (series, cells, read_out)));
    }
    wanted.into_par_iter().filter_map(|(series, cells, read_out)| one(bench, series, cells, read_out)).collect()
}

/// The first offset that was measured at a place.
fn first_offset(bench: &Bench<'_>, place: Place) -> Option<u32> {
    let from = Series { place, probe: Arc::from(""), origin: Origin::default() };
    let here = bench.cells.range(from..).take_while(|(series, _)| series.place == place);
    here.filter(|(series, _)| series.origin == Origin::default())
        .flat_map(|(_, cells)| cells.keys())
        .filter(|(_, r)| r.context == Context::Full)
        .map(|(_, r)| r.offset)
        .min()
}

fn one(bench: &Bench<'_>, series: &Series, cells: &Cells, read_out: ReadOut) -> Option<DepthCurve> {
    let layers = bench.study.models[series.place.model].layers;
    let at: Vec<(Layer, &Vec<usize>)> = cells.iter().filter(|((_, r), _)| *r == read_out).map(|((l, _), p)| (*l, p)).collect();
    let drawn: Vec<(Layer, &Vec<usize>, Drawn)> = at.into_iter().filter_map(|(l, p)| Some((l, p, bench.drawn(p)?))).collect();
    let mut points: Vec<DepthPoint> = drawn
        .iter()
        .map(|(layer, predictions, drawn)| DepthPoint {
            layer: *layer,
            depth: layer.depth(layers),
            score: drawn.estimate(bench.ruler.resamples),
            spread: spread(bench, predictions),
            validation_score: bench.validation_score(predictions),
            validation_loss: bench.validation(predictions),
            compression: compression(bench, predictions),
            as_good_as_peak: None,
            predictions: (*predictions).clone(),
        })
        .collect();
    // Of few rows or of one group nothing can be told.
    let told = drawn.iter().all(|(_, _, drawn)| drawn.difference(bench.ruler.resamples).lo.is_some());
    let draws: Vec<Vec<f64>> = drawn.into_iter().map(|(_, _, drawn)| drawn.draws).collect();
    let peak = peak(bench, &points, &draws, told)?;
    if points.len() > 1 && told {
        let values: Vec<f64> = points.iter().map(|p| p.score.value).collect();
        let corrected = benjamini_hochberg(&as_good_as_best(&values, &draws));
        points.iter_mut().zip(corrected).for_each(|(point, p)| point.as_good_as_peak = Some(p));
    }
    let (best, chosen) = representative(&points);
    let controls = controls(bench, series, read_out, &points);
    let (probe, pooling) = (series.probe.to_string(), read_out.pooling.as_str());
    Some(DepthCurve { place: series.place, probe, pooling, points, peak, best, chosen, controls })
}

/// The controls at the same layers.
fn controls(bench: &Bench<'_>, series: &Series, read_out: ReadOut, points: &[DepthPoint]) -> Vec<ControlCurve> {
    let mut curves = Vec::new();
    for control in CONTROLS {
        let Some(cells) = control_cells(bench, series.place, &series.probe, control) else { continue };
        let at = |point: &DepthPoint| cells.get(&(point.layer, read_out)).and_then(|p| bench.estimate(p));
        let points: Vec<Option<Estimate>> = points.iter().map(at).collect();
        if points.iter().any(Option::is_some) {
            curves.push(ControlCurve { control: control.name(), points });
        }
    }
    curves
}

/// The cells of a control of a probe at a place: of the same states, or those of the model's twin.
pub fn control_cells<'a>(bench: &'a Bench<'_>, place: Place, probe: &str, control: Control) -> Option<&'a Cells> {
    if control == Control::RandomWeights {
        return bench.home(Place { model: bench.twin(place.model)?, ..place }, probe);
    }
    bench.of(place, probe, Origin { control: Some(control), ..Origin::default() })
}

/// Between the seeds of the probe.
fn spread(bench: &Bench<'_>, predictions: &[usize]) -> Option<Spread> {
    // A curve beyond the prompt is a mean over sampling seeds, too; those have a spread of their own.
    let mut of_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    predictions.iter().for_each(|i| of_seed.entry(bench.study.predictions[*i].seed).or_default().extend(bench.values[*i]));
    let values = of_seed.into_values().filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64);
    Spread::of(&values.collect::<Vec<f64>>())
}

fn compression(bench: &Bench<'_>, predictions: &[usize]) -> Option<f64> {
    let of = |i: &usize| bench.study.predictions[*i].fit.as_ref()?.mdl.map(|mdl| mdl.uniform_bits / mdl.bits);
    let all: Option<Vec<f64>> = predictions.iter().map(of).collect();
    all.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
}

/// The point that stands for a curve, and what it was chosen by.
fn representative(points: &[DepthPoint]) -> (usize, Choice) {
    choice::best(&points.iter().map(Merit::of).collect::<Vec<_>>())
}

/// The highest point, with the percentile interval of the argmax over resamples where these tell anything.
fn peak(bench: &Bench<'_>, points: &[DepthPoint], draws: &[Vec<f64>], told: bool) -> Option<Peak> {
    let at = argmax(points.iter().map(|p| p.score.value));
    let resamples = bench.ruler.resamples;
    let drawn: Vec<f64> = (0..resamples.count()).map(|r| argmax(draws.iter().map(|d| d[r])) as f64).collect();
    let interval = told.then(|| resamples.interval(&drawn)).flatten();
    let (from, to) = interval.unwrap_or((at as f64, at as f64));
    let (from, to) = (points.get(from.floor() as usize)?, points.get(to.ceil() as usize)?);
    let point = &points[at];
    Some(Peak {
        layer: point.layer,
        depth: Estimate { value: point.depth, lo: interval.map(|_| from.depth), hi: interval.map(|_| to.depth), n: point.score.n },
        from: from.layer,
        to: to.layer,
    })
}

/// A curve's representative layer as a line of the table of probes.
pub fn line(curve: &DepthCurve) -> Line {
    let best = curve.shown();
    Line {
        probe: curve.probe.clone(),
        model: Some(curve.place.model),
        condition: Some(curve.place.condition),
        layer: Some(best.layer),
        pooling: Some(curve.pooling),
        predictions: best.predictions.clone(),
        score: best.score,
        spread: best.spread,
    }
}

/// Per model the curve, of all probes, poolings and conditions, whose representative layer is best, and what all were chosen by.
///
/// Of intensities the losses of some probes are of probabilities and those of others of numbers. Where there is nothing else to
/// choose by, those of the `main` probe alone are compared.
pub fn best(bench: &Bench<'_>, curves: &[DepthCurve], main: Option<&str>) -> (Vec<DepthCurve>, Choice) {
    let (_, chosen) = choice::best(&curves.iter().map(|c| Merit::of(c.shown())).collect::<Vec<_>>());
    let alike = bench.study.scheme != Scheme::Intensity || chosen != Choice::ValidationLoss;
    let of = |model: usize| {
        let ours: Vec<&DepthCurve> = curves.iter().filter(|c| c.place.model == model && (alike || Some(&*c.probe) == main)).collect();
        // What one model's fits record beyond another's is left alone, so that all are chosen by the same.
        let merit = |c: &&DepthCurve| {
            let merit = Merit::among_probes(c.shown(), bench.study.scheme, chosen);
            Merit { measure: merit.measure.filter(|_| chosen == Choice::ValidationMeasure), ..merit }
        };
        let (at, _) = choice::best(&ours.iter().map(merit).collect::<Vec<_>>());
        ours.get(at).map(|c| (*c).clone())
    };
    ((0..bench.study.models.len()).filter_map(of).collect(), chosen)
}

/// The pooling that sections are about: `last`, or the first that was measured.
pub fn main_pooling(curves: &[DepthCurve]) -> Option<&'static str> {
    curves.iter().map(|c| c.pooling).min_by_key(|p| usize::from(*p != Pooling::Last.as_str()))
}
