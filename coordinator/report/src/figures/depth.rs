//! Accuracy over layers.

use limbic_proto::axis::Layer;

use super::chart::{Axes, Chart, HEIGHT, WIDTH, ends, share_range, thin, ticks};
use super::palette::Colour;
use super::pen::{Stroke, draw};
use super::scale::{baseline, percent0};
use super::{Figure, Key, Panel};
use crate::results::{DepthCurve, Estimate, Results};
use crate::study::{ReportError, Study};
use crate::wording::percent;

fn range(results: &Results) -> (f64, f64) {
    let measured = results.depth.iter().flat_map(|c| &c.points).map(|p| p.accuracy);
    share_range(ends(measured).chain(results.baselines.iter().filter(|b| b.model.is_none()).map(|b| b.accuracy.value)))
}

/// Bands first, then lines, then the rings at the peaks, so that no band covers a line.
fn curves(
    chart: &Chart<'_, '_>,
    results: &Results,
    curves: &[(&DepthCurve, Colour)],
    x: impl Fn(&DepthCurve, Layer) -> f64,
) -> Result<(), ReportError> {
    for line in results.baselines.iter().filter(|b| b.model.is_none()) {
        chart.level(line.accuracy.value, baseline(&line.probe))?;
    }
    let points = |c: &DepthCurve| -> Vec<(f64, Estimate)> { c.points.iter().map(|p| (x(c, p.layer), p.accuracy)).collect() };
    for (curve, colour) in curves {
        chart.band(&points(curve), *colour)?;
    }
    for (curve, colour) in curves {
        chart.curve(&points(curve), Stroke::solid(*colour, 2.0), curve.points.len() <= 14)?;
    }
    for (curve, colour) in curves {
        if let Some(peak) = curve.points.iter().find(|p| p.layer == curve.peak.layer) {
            chart.ring(x(curve, peak.layer), peak.accuracy.value, 5.0, *colour)?;
        }
    }
    Ok(())
}

fn keys(results: &Results, series: impl Iterator<Item = (String, Colour)>) -> Vec<Key> {
    let mut keys: Vec<Key> = series.map(|(name, colour)| Key::new(name, "line", colour)).collect();
    keys.push(Key::new("peak", "ring", Colour::Muted));
    for line in results.baselines.iter().filter(|b| b.model.is_none()) {
        keys.push(Key::new(line.probe.clone(), if line.probe == "majority" { "dot" } else { "dash" }, Colour::Muted));
    }
    keys
}

/// One panel per model, one curve per condition.
pub fn per_model(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let y = range(results);
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<(&DepthCurve, Colour)> =
            results.depth.iter().filter(|c| c.place.model == model).map(|c| (c, Colour::Series(c.place.condition))).collect();
        if here.is_empty() {
            continue;
        }
        // `final` (after the norm) lies half a step beyond the last block.
        let beyond = f64::from(entry.layers) + (f64::from(entry.layers) * 0.07).max(0.5);
        let x = |_: &DepthCurve, layer: Layer| match layer {
            Layer::Block(l) => f64::from(l),
            Layer::Final => beyond,
        };
        let mut layers: Vec<Layer> = here.iter().flat_map(|c| c.0.points.iter().map(|p| p.layer)).collect();
        layers.sort_unstable();
        layers.dedup();
        let blocks = layers.iter().filter(|l| !l.normed()).map(|l| (x(here[0].0, *l), l.to_string())).collect();
        let mut x_ticks = thin(blocks, 9);
        if layers.contains(&Layer::Final) {
            // The last block's label would touch `final`.
            x_ticks.retain(|t| beyond - t.0 > f64::from(entry.layers) * 0.1);
            x_ticks.push((beyond, "final".to_owned()));
        }
        let last = if layers.contains(&Layer::Final) { beyond } else { f64::from(entry.layers) };
        let pad = (f64::from(entry.layers) * 0.03).max(0.1);
        let axes = Axes {
            title: entry.name.clone(),
            x: (-pad, last + pad * 1.6),
            y,
            x_ticks,
            y_ticks: ticks(y, 5, percent0),
            x_label: "layer (0 = embeddings, final = after the final norm)".to_owned(),
            y_label: "test accuracy".to_owned(),
        };
        let body = draw("depth", WIDTH, HEIGHT, |pen| curves(&Chart::new(pen, &axes, HEIGHT, 54.0)?, results, &here, x))?;
        panels.push(Panel::new(label(study, &entry.name, &here), HEIGHT, body));
    }
    let shown = (0..study.conditions.len()).filter(|c| results.depth.iter().any(|d| d.place.condition == *c));
    Ok(Some(Figure {
        name: "depth",
        title: "Accuracy over layers".to_owned(),
        caption: "Test accuracy of the probe at every measured layer. Bands are bootstrap intervals; rings mark the highest layer."
            .to_owned(),
        alt: "Curves of accuracy over layers, one panel per model, one curve per prompt condition.".to_owned(),
        keys: keys(results, shown.map(|c| (study.conditions[c].name.clone(), Colour::Series(c)))),
        panels,
    }))
}

fn label(study: &Study, title: &str, here: &[(&DepthCurve, Colour)]) -> String {
    let peak = |c: &DepthCurve| {
        let at = c.points.iter().find(|p| p.layer == c.peak.layer).map_or(f64::NAN, |p| p.accuracy.value);
        format!(
            "{} under {} peaks at layer {} with {}",
            study.models[c.place.model].name,
            study.conditions[c.place.condition].name,
            c.peak.layer,
            percent(at)
        )
    };
    format!("{title}: {}", here.iter().map(|c| peak(c.0)).collect::<Vec<_>>().join("; "))
}

/// One panel per condition, one curve per model, over relative depth; only where there are several models.
pub fn per_condition(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    if study.models.len() < 2 {
        return Ok(None);
    }
    let y = range(results);
    let mut panels = Vec::new();
    for (condition, entry) in study.conditions.iter().enumerate() {
        let here: Vec<(&DepthCurve, Colour)> =
            results.depth.iter().filter(|c| c.place.condition == condition).map(|c| (c, Colour::Series(c.place.model))).collect();
        if here.is_empty() {
            continue;
        }
        let normed = here.iter().any(|c| c.0.points.iter().any(|p| p.layer.normed()));
        let x = |c: &DepthCurve, layer: Layer| if layer.normed() { 1.07 } else { layer.depth(study.models[c.place.model].layers) };
        let mut x_ticks: Vec<(f64, String)> = [0.0, 0.25, 0.5, 0.75].into_iter().map(|v| (v, percent0(v))).collect();
        x_ticks.push(if normed { (1.07, "final".to_owned()) } else { (1.0, "100%".to_owned()) });
        let axes = Axes {
            title: entry.name.clone(),
            x: (-0.03, if normed { 1.12 } else { 1.03 }),
            y,
            x_ticks,
            y_ticks: ticks(y, 5, percent0),
            x_label: "relative depth".to_owned(),
            y_label: "test accuracy".to_owned(),
        };
        let body = draw("depth-models", WIDTH, HEIGHT, |pen| curves(&Chart::new(pen, &axes, HEIGHT, 54.0)?, results, &here, x))?;
        panels.push(Panel::new(label(study, &entry.name, &here), HEIGHT, body));
    }
    let shown = (0..study.models.len()).filter(|m| results.depth.iter().any(|d| d.place.model == *m));
    Ok(Some(Figure {
        name: "depth-models",
        title: "Models compared over relative depth".to_owned(),
        caption:
            "The same curves with models side by side. Depth is a share of each model's blocks; final is the state after the final norm."
                .to_owned(),
        alt: "Curves of accuracy over relative depth, one panel per prompt condition, one curve per model.".to_owned(),
        keys: keys(results, shown.map(|m| (study.models[m].name.clone(), Colour::Series(m)))),
        panels,
    }))
}
