//! Scores over layers.

use limbic_proto::axis::Layer;

use super::chart::{Axes, BANDED, Chart, HEIGHT, ends, range, thin, ticks};
use super::data::{self, Data};
use super::palette::Colour;
use super::pen::Stroke;
use super::scale::{baseline, baseline_key};
use super::{Figure, Key, Panel};
use crate::results::{DepthCurve, Estimate, Results};
use crate::study::Study;
use crate::wording::{Notation, capital, layer as layer_words};

fn y_range(results: &Results, notation: Notation) -> (f64, f64) {
    let measured = results.depth.iter().flat_map(|c| &c.points).map(|p| p.score);
    let controls = results.depth.iter().flat_map(|c| &c.controls).flat_map(|c| c.points.iter().flatten()).map(|e| e.value);
    let flat = results.baselines.iter().filter(|b| b.model.is_none()).map(|b| b.score.value);
    range(notation, ends(measured).chain(flat).chain(controls))
}

/// The curves of trained models; those of random weights stand beside theirs as controls.
fn trained<'a>(study: &Study, results: &'a Results) -> Vec<&'a DepthCurve> {
    results.depth.iter().filter(|c| study.models[c.place.model].random_weights.is_none()).collect()
}

/// A curve as it is drawn.
struct Drawn<'a> {
    curve: &'a DepthCurve,
    colour: Colour,
    name: String,
}

/// Bands first, then lines, then the rings at the peaks, so that no band covers a line.
fn curves(chart: &Chart<'_>, results: &Results, notation: Notation, drawn: &[Drawn<'_>], x: impl Fn(&DepthCurve, Layer) -> f64) {
    for line in results.baselines.iter().filter(|b| b.model.is_none()) {
        chart.level(line.score.value, baseline(&line.probe));
    }
    let points = |c: &DepthCurve| -> Vec<(f64, Estimate)> { c.points.iter().map(|p| (x(c, p.layer), p.score)).collect() };
    for d in drawn.iter().filter(|_| drawn.len() <= BANDED) {
        chart.pen.series(&d.name, || chart.band(&points(d.curve), d.colour));
    }
    for (row, d) in drawn.iter().enumerate() {
        chart.pen.series(&d.name, || {
            chart.curve(&points(d.curve), Stroke::solid(d.colour, 2.0), d.curve.points.len() <= 14);
            for p in &d.curve.points {
                let good = p.as_good() == Some(true);
                if good && d.curve.points.len() > 2 {
                    chart.footnote(x(d.curve, p.layer), row, d.colour);
                }
                let note = if good { ", as good as the best" } else { "" };
                let words = format!("{}, layer {}: {}{note}", d.name, layer_words(p.layer), notation.estimate(p.score));
                chart.mark(x(d.curve, p.layer), p.score.value, words);
            }
        });
    }
    for d in drawn {
        if let Some(peak) = d.curve.points.iter().find(|p| p.layer == d.curve.peak.layer) {
            chart.pen.series(&d.name, || chart.ring(x(d.curve, peak.layer), peak.score.value, 5.0, d.colour));
        }
    }
}

/// How a control is drawn.
pub fn control_stroke(control: &str, colour: Colour) -> Stroke {
    match control {
        "shuffled-labels" => Stroke::dashed(colour, 1.3),
        "random-weights" => Stroke::long(colour, 1.3),
        _ => Stroke::dotted(colour, 1.6),
    }
}

/// The mark of its key.
pub fn control_mark(control: &str) -> &'static str {
    match control {
        "shuffled-labels" => "dash",
        "random-weights" => "long",
        _ => "dot",
    }
}

fn keys(results: &Results, series: impl Iterator<Item = (String, Colour)>) -> Vec<Key> {
    let mut keys: Vec<Key> = series.map(|(name, colour)| Key::series(name, "line", colour)).collect();
    keys.push(Key::new("peak", "ring", Colour::Muted));
    keys.extend(results.baselines.iter().filter(|b| b.model.is_none()).map(|line| baseline_key(&line.probe)));
    keys
}

fn table(study: &Study, curves: &[&DepthCurve]) -> Data {
    let mut data = Data::new(&[
        "model",
        "condition",
        "probe",
        "what",
        "layer",
        "depth",
        "value",
        "lo",
        "hi",
        "n",
        "p_as_good_as_peak",
        "validation_loss",
        "compression",
    ]);
    for c in curves {
        let name = |what: &str| {
            [study.models[c.place.model].name.clone(), study.conditions[c.place.condition].name.clone(), c.probe.clone(), what.to_owned()]
        };
        for p in &c.points {
            let mut row = name("probe").to_vec();
            row.extend([p.layer.to_string(), data::number(p.depth)]);
            row.extend(data::estimate(Some(p.score)));
            row.extend([p.as_good_as_peak, p.validation_loss, p.compression].map(|v| v.map_or_else(String::new, data::number)));
            data.push(row);
        }
        for control in &c.controls {
            for (p, e) in c.points.iter().zip(&control.points) {
                let mut row = name(control.control).to_vec();
                row.extend([p.layer.to_string(), data::number(p.depth)]);
                row.extend(data::estimate(*e));
                row.extend([const { String::new() }; 3]);
                data.push(row);
            }
        }
    }
    data
}

/// Where layers lie on an axis of blocks: `final` (after the norm) half a step beyond the last block.
fn place(layer: Layer, blocks: u32) -> f64 {
    match layer {
        Layer::Block(l) => f64::from(l),
        Layer::Final => f64::from(blocks) + (f64::from(blocks) * 0.07).max(0.5),
    }
}

/// The x axis of a model's layers: its range and ticks.
pub fn layer_axis(layers: &[Layer], blocks: u32) -> ((f64, f64), Vec<(f64, String)>) {
    let mut layers = layers.to_vec();
    layers.sort_unstable();
    layers.dedup();
    let beyond = place(Layer::Final, blocks);
    let numbered = layers.iter().filter(|l| !l.normed()).map(|l| (place(*l, blocks), l.to_string())).collect();
    let mut ticks = thin(numbered, 9);
    let normed = layers.contains(&Layer::Final);
    if normed {
        // The last block's label would touch `final`.
        ticks.retain(|t| beyond - t.0 > f64::from(blocks) * 0.1);
        ticks.push((beyond, "final".to_owned()));
    }
    let last = if normed { beyond } else { f64::from(blocks) };
    let pad = (f64::from(blocks) * 0.03).max(0.1);
    ((-pad, last + pad * 1.6), ticks)
}

/// Where a layer lies on that axis.
pub fn layer_place(layer: Layer, blocks: u32) -> f64 {
    place(layer, blocks)
}

/// One panel per model, one curve per condition, with the first condition's controls.
pub fn per_model(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let y = y_range(results, notation);
    let ours = trained(study, results);
    if ours.iter().all(|c| c.points.len() < 2) {
        return None;
    }
    let mut panels = Vec::new();
    let mut controls: Vec<&'static str> = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<Drawn<'_>> = ours
            .iter()
            .filter(|c| c.place.model == model)
            .map(|curve| {
                let name = study.conditions[curve.place.condition].name.clone();
                Drawn { curve, colour: Colour::Series(curve.place.condition), name }
            })
            .collect();
        let Some(first) = here.first() else { continue };
        let layers: Vec<Layer> = here.iter().flat_map(|d| d.curve.points.iter().map(|p| p.layer)).collect();
        let (x, x_ticks) = layer_axis(&layers, entry.layers);
        let axes = Axes {
            title: entry.name.clone(),
            x,
            y,
            x_ticks,
            y_ticks: ticks(y, 5, |v| notation.tick(v)),
            x_label: "layer (0 = embeddings, final = after the final norm)".to_owned(),
            y_label: format!("test {}", results.measure.words),
        };
        panels.push(Panel::new(label(study, notation, &entry.name, &here), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            for control in &first.curve.controls {
                if !controls.contains(&control.control) {
                    controls.push(control.control);
                }
                let all = first.curve.points.iter().zip(&control.points);
                let points: Vec<(f64, f64)> = all.filter_map(|(p, e)| Some((place(p.layer, entry.layers), (*e)?.value))).collect();
                pen.series(control.control, || {
                    chart.line(&points, control_stroke(control.control, Colour::Ink));
                    for (p, e) in first.curve.points.iter().zip(&control.points) {
                        if let Some(e) = e {
                            let words =
                                format!("{}, {}, layer {}: {}", control.control, first.name, layer_words(p.layer), notation.estimate(*e));
                            chart.mark(place(p.layer, entry.layers), e.value, words);
                        }
                    }
                });
            }
            curves(&chart, results, notation, &here, |_, layer| place(layer, entry.layers));
        }));
    }
    let shown = (0..study.conditions.len()).filter(|c| ours.iter().any(|d| d.place.condition == *c));
    let mut keys = keys(results, shown.map(|c| (study.conditions[c].name.clone(), Colour::Series(c))));
    keys.extend(controls.iter().map(|control| Key::series(*control, control_mark(control), Colour::Ink)));
    let beside = if controls.is_empty() {
        String::new()
    } else {
        format!(" Thin dark lines are controls under {}.", study.conditions[ours[0].place.condition].name)
    };
    Some(Figure {
        name: "depth",
        title: format!("{} over layers", capital(results.measure.words)),
        caption: format!(
            "Test {} of {} at every measured layer. Bands, in panels of up to {BANDED} curves, are bootstrap intervals; rings mark the highest layer, and ticks above the axis the layers that can't be told from it (multiple comparisons with the best, Benjamini-Hochberg at 5%).{beside}",
            results.measure.words,
            results.the_probe()
        ),
        alt: format!("Curves of {} over layers, one panel per model, one curve per prompt condition.", results.measure.words),
        keys,
        panels,
        data: table(study, &results.depth.iter().collect::<Vec<_>>()),
    })
}

fn label(study: &Study, notation: Notation, title: &str, here: &[Drawn<'_>]) -> String {
    let peak = |c: &DepthCurve| {
        let at = c.points.iter().find(|p| p.layer == c.peak.layer).map_or(f64::NAN, |p| p.score.value);
        format!(
            "{} under {} peaks at layer {} with {}",
            study.models[c.place.model].name,
            study.conditions[c.place.condition].name,
            c.peak.layer,
            notation.value(at)
        )
    };
    format!("{title}: {}", here.iter().map(|d| peak(d.curve)).collect::<Vec<_>>().join("; "))
}

/// One panel per condition, one curve per model, over relative depth; only where there are several models.
pub fn per_condition(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let y = y_range(results, notation);
    let ours = trained(study, results);
    let models: Vec<usize> = (0..study.models.len()).filter(|m| ours.iter().any(|c| c.place.model == *m && c.points.len() > 1)).collect();
    if models.len() < 2 {
        return None;
    }
    let mut panels = Vec::new();
    for (condition, entry) in study.conditions.iter().enumerate() {
        let here: Vec<Drawn<'_>> = ours
            .iter()
            .filter(|c| c.place.condition == condition)
            .map(|curve| Drawn { curve, colour: Colour::Series(curve.place.model), name: study.models[curve.place.model].name.clone() })
            .collect();
        if here.is_empty() {
            continue;
        }
        let normed = here.iter().any(|d| d.curve.points.iter().any(|p| p.layer.normed()));
        let x = |c: &DepthCurve, layer: Layer| if layer.normed() { 1.07 } else { layer.depth(study.models[c.place.model].layers) };
        let mut x_ticks: Vec<(f64, String)> = [0.0, 0.25, 0.5, 0.75].into_iter().map(|v| (v, Notation::Share.tick(v))).collect();
        x_ticks.push(if normed { (1.07, "final".to_owned()) } else { (1.0, "100%".to_owned()) });
        let axes = Axes {
            title: entry.name.clone(),
            x: (-0.03, if normed { 1.12 } else { 1.03 }),
            y,
            x_ticks,
            y_ticks: ticks(y, 5, |v| notation.tick(v)),
            x_label: "relative depth".to_owned(),
            y_label: format!("test {}", results.measure.words),
        };
        panels.push(Panel::new(label(study, notation, &entry.name, &here), HEIGHT, |pen| {
            curves(&Chart::new(pen, &axes, HEIGHT, 54.0), results, notation, &here, x);
        }));
    }
    Some(Figure {
        name: "depth-models",
        title: "Models compared over relative depth".to_owned(),
        caption:
            "The same curves with models side by side. Depth is a share of each model's blocks; final is the state after the final norm."
                .to_owned(),
        alt: format!("Curves of {} over relative depth, one panel per prompt condition, one curve per model.", results.measure.words),
        keys: keys(results, models.iter().map(|m| (study.models[*m].name.clone(), Colour::Series(*m)))),
        panels,
        data: table(study, &ours),
    })
}

/// How much shorter labels become with the probe's help, one panel per model.
pub fn compression(study: &Study, results: &Results) -> Option<Figure> {
    let ours: Vec<&DepthCurve> = results.depth.iter().filter(|c| c.points.iter().any(|p| p.compression.is_some())).collect();
    let all = ours.iter().flat_map(|c| c.points.iter().filter_map(|p| p.compression));
    let (low, high) = all.fold((1.0_f64, 1.0_f64), |r, v| (r.0.min(v), r.1.max(v)));
    let y = (low - 0.05, high + (high - low) * 0.06 + 0.05);
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<&&DepthCurve> = ours.iter().filter(|c| c.place.model == model && c.points.len() > 1).collect();
        let layers: Vec<Layer> = here.iter().flat_map(|c| c.points.iter().map(|p| p.layer)).collect();
        if layers.is_empty() {
            continue;
        }
        let (x, x_ticks) = layer_axis(&layers, entry.layers);
        let axes = Axes {
            title: entry.name.clone(),
            x,
            y,
            x_ticks,
            y_ticks: ticks(y, 5, |v| format!("{v:.2}×")),
            x_label: "layer".to_owned(),
            y_label: "compression".to_owned(),
        };
        panels.push(Panel::new(entry.name.clone(), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            chart.level(1.0, Stroke::dotted(Colour::Muted, 1.6));
            for curve in &here {
                let (name, colour) = (&study.conditions[curve.place.condition].name, Colour::Series(curve.place.condition));
                pen.series(name, || {
                    let at = |p: &crate::results::DepthPoint| Some((place(p.layer, entry.layers), p.compression?));
                    let points: Vec<(f64, f64)> = curve.points.iter().filter_map(at).collect();
                    chart.line(&points, Stroke::solid(colour, 2.0));
                    for p in &curve.points {
                        if let Some((x, y)) = at(p) {
                            chart.mark(x, y, format!("{name}, layer {}: {y:.2} times shorter", layer_words(p.layer)));
                        }
                    }
                });
            }
        }));
    }
    let shown = (0..study.conditions.len()).filter(|c| ours.iter().any(|d| d.place.condition == *c));
    let mut keys: Vec<Key> = shown.map(|c| Key::series(study.conditions[c].name.clone(), "line", Colour::Series(c))).collect();
    keys.push(Key::new("no compression", "dot", Colour::Muted));
    Some(Figure {
        name: "depth-compression",
        title: "Description length of the labels over layers".to_owned(),
        caption: "How many times shorter the labels of train become when they are sent with the probe's help (uniform code over online code, Voita and Titov 2020): a layer that makes the labels easy to learn from few rows compresses more. Measured of logistic probes alone, in one order of train's rows.".to_owned(),
        alt: "Curves of compression over layers, one panel per model, one curve per prompt condition.".to_owned(),
        keys,
        panels,
        data: table(study, &ours),
    })
}
