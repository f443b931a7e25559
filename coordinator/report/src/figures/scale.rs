//! Accuracy beside model size.

use super::chart::{Axes, Chart, HEIGHT, WIDTH, ends, share_range, ticks};
use super::palette::Colour;
use super::pen::{Stroke, draw};
use super::{Figure, Key, Panel};
use crate::results::{Results, ScaleRow};
use crate::study::{ReportError, Study};
use crate::wording::{parameters, percent};

const BEST: Colour = Colour::Series(0);
const LAST: Colour = Colour::Series(2);
const ZERO: Colour = Colour::Series(1);

/// One panel per condition; models without a known size are left out.
pub fn scale(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let size = |r: &ScaleRow| study.models[r.place.model].parameters;
    let rows: Vec<&ScaleRow> = results.scale.iter().filter(|r| size(r) > 0).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let flat: Vec<_> = results.baselines.iter().filter(|b| b.model.is_none()).collect();
    let measured = rows.iter().flat_map(|r| [Some(r.best), Some(r.last), r.zero_shot]).flatten();
    let y = share_range(ends(measured).chain(flat.iter().map(|b| b.accuracy.value)));
    let logs: Vec<f64> = rows.iter().map(|r| (size(r) as f64).log10()).collect();
    let (low, high) = logs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
    let pad = ((high - low) * 0.12).max(0.12);
    let mut panels = Vec::new();
    for condition in 0..study.conditions.len() {
        let here: Vec<&ScaleRow> = rows.iter().copied().filter(|r| r.place.condition == condition).collect();
        if here.is_empty() {
            continue;
        }
        let axes = Axes {
            title: study.conditions[condition].name.clone(),
            x: (low - pad, high + pad),
            y,
            x_ticks: size_ticks(&here.iter().map(|r| size(r)).collect::<Vec<_>>(), (low - pad, high + pad)),
            y_ticks: ticks(y, 5, percent0),
            x_label: "parameters (log scale)".to_owned(),
            y_label: "test accuracy".to_owned(),
        };
        let body = draw("scale", WIDTH, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0)?;
            for line in &flat {
                chart.level(line.accuracy.value, baseline(&line.probe))?;
            }
            for trend in results.trends.iter().filter(|t| t.condition.is_none_or(|c| c == condition)) {
                let colour = match trend.what {
                    "best layer" => BEST,
                    "last layer" => LAST,
                    _ => ZERO,
                };
                let at = |x: f64| (x, trend.intercept + trend.slope.value * x);
                chart.line(&[at(low), at(high)], Stroke::solid(colour, 1.2))?;
            }
            for row in &here {
                let x = (size(row) as f64).log10();
                if let Some(zero_shot) = row.zero_shot {
                    chart.whisker(x, zero_shot, ZERO, 5.0)?;
                }
                chart.whisker(x, row.last, LAST, -5.0)?;
                chart.whisker(x, row.best, BEST, 0.0)?;
            }
            Ok(())
        })?;
        let best: Vec<String> = here.iter().map(|r| format!("{} {}", study.models[r.place.model].name, percent(r.best.value))).collect();
        panels.push(Panel::new(format!("{}: best layer {}", axes.title, best.join(", ")), HEIGHT, body));
    }
    let mut keys = vec![Key::new("probe, best layer", "points", BEST), Key::new("probe, last layer", "points", LAST)];
    if rows.iter().any(|r| r.zero_shot.is_some()) {
        keys.push(Key::new("zero-shot", "points", ZERO));
    }
    for line in &flat {
        let stroke = baseline(&line.probe);
        keys.push(Key::new(
            line.probe.clone(),
            if stroke.dash == Stroke::dotted(Colour::Ink, 1.0).dash { "dot" } else { "dash" },
            stroke.colour,
        ));
    }
    Ok(Some(Figure {
        name: "scale",
        title: "Accuracy and model size".to_owned(),
        caption: "Test accuracy against parameters. Whiskers are bootstrap intervals over groups of test rows; thin lines are least-squares trends on the logarithm of size.".to_owned(),
        alt: "Dots with whiskers: accuracy of the probe at its best and last layer and of zero-shot prompting, per model size, with baselines as level lines.".to_owned(),
        keys,
        panels,
    }))
}

/// How a baseline's level line looks.
pub fn baseline(probe: &str) -> Stroke {
    match probe {
        "majority" => Stroke::dotted(Colour::Muted, 1.6),
        _ => Stroke::dashed(Colour::Muted, 1.4),
    }
}

/// A whole percentage for an axis.
pub fn percent0(share: f64) -> String {
    format!("{:.0}%", share * 100.0).replace("-0%", "0%").replace('-', "−")
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
