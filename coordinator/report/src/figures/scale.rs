//! Scores beside model size.

use super::chart::{Axes, Chart, HEIGHT, ends, range, ticks};
use super::data::{self, Data};
use super::palette::Colour;
use super::pen::Stroke;
use super::{Figure, Key, Panel};
use crate::results::{Estimate, Results, ScaleRow};
use crate::study::Study;
use crate::wording::{Notation, capital, count, layer, parameters};

const BEST: Colour = Colour::Series(0);
const LAST: Colour = Colour::Series(2);
const ZERO: Colour = Colour::Series(1);
const JSON: Colour = Colour::Series(3);
const TWIN: Colour = Colour::Series(6);

/// What stands for one model, as (series, colour, sideways, estimate, words).
type Point = (&'static str, Colour, f64, Estimate, String);

/// One panel per condition; models without a known size are left out.
pub fn scale(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let size = |r: &ScaleRow| study.models[r.place.model].parameters;
    let rows: Vec<&ScaleRow> = results.scale.iter().filter(|r| size(r) > 0).collect();
    if rows.is_empty() {
        return None;
    }
    let flat: Vec<_> = results.baselines.iter().filter(|b| b.model.is_none()).collect();
    let measured = rows.iter().flat_map(|r| [Some(r.best), Some(r.last), r.zero_shot, r.zero_shot_json, r.twin]).flatten();
    let y = range(notation, ends(measured).chain(flat.iter().map(|b| b.score.value)));
    let logs: Vec<f64> = rows.iter().map(|r| (size(r) as f64).log10()).collect();
    let (low, high) = logs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
    let pad = ((high - low) * 0.12).max(0.12);
    let mut data = Data::new(&["condition", "model", "parameters", "what", "layer", "value", "lo", "hi", "n"]);
    let mut panels = Vec::new();
    for (condition, entry) in study.conditions.iter().enumerate() {
        let here: Vec<&ScaleRow> = rows.iter().copied().filter(|r| r.place.condition == condition).collect();
        if here.is_empty() {
            continue;
        }
        let axes = Axes {
            title: entry.name.clone(),
            x: (low - pad, high + pad),
            y,
            x_ticks: size_ticks(&here.iter().map(|r| size(r)).collect::<Vec<_>>(), (low - pad, high + pad)),
            y_ticks: ticks(y, 5, |v| notation.tick(v)),
            x_label: "parameters (log scale)".to_owned(),
            y_label: format!("test {}", results.measure.words),
        };
        let best: Vec<String> =
            here.iter().map(|r| format!("{} {}", study.models[r.place.model].name, notation.value(r.best.value))).collect();
        for row in &here {
            for (what, _, _, e, _) in points(study, notation, row) {
                let model = &study.models[row.place.model];
                let at = if what.starts_with("zero-shot") {
                    String::new()
                } else if what == "last layer" {
                    row.last_layer.to_string()
                } else {
                    row.layer.to_string()
                };
                let mut cells = vec![entry.name.clone(), model.name.clone(), model.parameters.to_string(), what.to_owned(), at];
                cells.extend(data::estimate(Some(e)));
                data.push(cells);
            }
        }
        panels.push(Panel::new(format!("{}: best layer {}", axes.title, best.join(", ")), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            for line in &flat {
                chart.level(line.score.value, baseline(&line.probe));
            }
            for trend in results.trends.iter().filter(|t| t.family.is_none() && t.condition.is_none_or(|c| c == condition)) {
                let colour = match trend.what {
                    "best layer" => BEST,
                    "last layer" => LAST,
                    "zero-shot-json" => JSON,
                    _ => ZERO,
                };
                let at = |x: f64| (x, trend.intercept + trend.slope.value * x);
                pen.series(trend.what, || chart.line(&[at(low), at(high)], Stroke::solid(colour, 1.2)));
            }
            for row in &here {
                for (what, colour, aside, e, words) in points(study, notation, row) {
                    pen.series(what, || chart.whisker((size(row) as f64).log10(), e, colour, aside, words));
                }
            }
        }));
    }
    let mut keys = vec![Key::series("best layer", "points", BEST), Key::series("last layer", "points", LAST)];
    if rows.iter().any(|r| r.zero_shot.is_some()) {
        keys.push(Key::series("zero-shot", "points", ZERO));
    }
    if rows.iter().any(|r| r.zero_shot_json.is_some()) {
        keys.push(Key::series("zero-shot-json", "points", JSON));
    }
    if rows.iter().any(|r| r.twin.is_some()) {
        keys.push(Key::series("random weights", "points", TWIN));
    }
    keys.extend(flat.iter().map(|line| baseline_key(&line.probe)));
    let drawn = results.trends.iter().any(|t| t.family.is_none());
    Some(Figure {
        name: "scale",
        title: format!("{} and model size", capital(results.measure.words)),
        caption: format!(
            "Test {} of {} against parameters. Whiskers are bootstrap intervals over groups of test rows{}.{}",
            results.measure.words,
            results.the_probe(),
            if drawn { "; thin lines are least-squares trends on the logarithm of size" } else { "" },
            beside(&rows)
        ),
        alt: format!(
            "Dots with whiskers: {} of the probe at its best and last layer{}, per model size, with baselines as level lines.",
            results.measure.words,
            if rows.iter().any(|r| r.zero_shot.or(r.zero_shot_json).is_some()) { " and of zero-shot prompting" } else { "" }
        ),
        keys,
        panels,
        data,
    })
}

/// What stands beside the probe, for the caption.
fn beside(rows: &[&ScaleRow]) -> String {
    let any = |of: fn(&ScaleRow) -> bool| rows.iter().any(|r| of(r));
    let sentences = [
        (any(|r| r.zero_shot.is_some()), " Zero-shot: the label that the model finds likeliest as an answer, of all rows."),
        (any(|r| r.zero_shot_json.is_some()), " Zero-shot-json: the label that it writes, of those answers alone that name one."),
        (any(|r| r.twin.is_some()), " Random weights: the same probe at the same layer of the model's untrained twin."),
    ];
    sentences.into_iter().filter(|s| s.0).map(|s| s.1).collect()
}

fn points(study: &Study, notation: Notation, row: &ScaleRow) -> Vec<Point> {
    let model = &study.models[row.place.model].name;
    let words = |what: String, e: Estimate| format!("{model}, {what}: {}", notation.estimate(e));
    let mut points = Vec::new();
    if let Some(e) = row.twin {
        points.push(("random weights", TWIN, 0.0, e, words(format!("random weights, layer {}", layer(row.layer)), e)));
    }
    if let Some(e) = row.zero_shot {
        points.push(("zero-shot", ZERO, 5.0, e, words("zero-shot".to_owned(), e)));
    }
    if let Some(e) = row.zero_shot_json {
        let of = format!("zero-shot-json, the {} answers that name a label", count(e.n as u64));
        points.push(("zero-shot-json", JSON, 10.0, e, words(of, e)));
    }
    points.push(("last layer", LAST, -5.0, row.last, words(format!("last layer ({})", layer(row.last_layer)), row.last)));
    points.push(("best layer", BEST, 0.0, row.best, words(format!("best layer ({})", layer(row.layer)), row.best)));
    points
}

/// How a baseline's level line looks.
pub fn baseline(probe: &str) -> Stroke {
    match probe {
        "majority" => Stroke::dotted(Colour::Muted, 1.8),
        _ => Stroke::dashed(Colour::Muted, 1.4),
    }
}

/// The key of a baseline's level line.
pub fn baseline_key(probe: &str) -> Key {
    Key::new(probe, if probe == "majority" { "dot" } else { "dash" }, Colour::Muted)
}

/// A tick under every size, unless two would touch.
fn size_ticks(sizes: &[u64], range: (f64, f64)) -> Vec<(f64, String)> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for size in sizes {
        let at = (size as f64).log10();
        if ticks.last().is_none_or(|(last, _)| (at - last) / (range.1 - range.0) > 0.11) {
            ticks.push((at, parameters(size)));
        }
    }
    ticks
}
