//! Accuracy per prompt condition.

use super::chart::{Axes, Chart, WIDTH, ends, share_range, ticks};
use super::palette::Colour;
use super::pen::{Stroke, draw};
use super::scale::{baseline, percent0};
use super::{Figure, Key, Panel};
use crate::results::Results;
use crate::study::{ReportError, Study};
use crate::wording::percent;

/// One panel per model, one row per condition.
pub fn accuracy(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    if results.conditions.is_empty() {
        return Ok(None);
    }
    let flat: Vec<_> = results.baselines.iter().filter(|b| b.model.is_none() && b.probe != "majority").collect();
    let x = share_range(ends(results.conditions.iter().map(|c| c.accuracy)).chain(flat.iter().map(|b| b.accuracy.value)));
    let longest = study.conditions.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * 6.4 + 14.0).clamp(50.0, 150.0);
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<_> = results.conditions.iter().filter(|c| c.place.model == model).collect();
        if here.is_empty() {
            continue;
        }
        let n = here.len() as f64;
        let height = 78.0 + 26.0 * n;
        let axes = Axes {
            title: entry.name.clone(),
            x,
            y: (-0.5, n - 0.5),
            x_ticks: ticks(x, 5, percent0),
            y_ticks: here.iter().enumerate().map(|(i, c)| (n - 1.0 - i as f64, study.conditions[c.place.condition].name.clone())).collect(),
            x_label: "test accuracy".to_owned(),
            y_label: String::new(),
        };
        let body = draw("conditions", WIDTH, height, |pen| {
            let chart = Chart::new(pen, &axes, height, left)?;
            for line in &flat {
                chart.line(&[(line.accuracy.value, -0.5), (line.accuracy.value, n - 0.5)], baseline(&line.probe))?;
            }
            for (i, c) in here.iter().enumerate() {
                let ends = c.accuracy.lo.zip(c.accuracy.hi);
                chart.lying_whisker(n - 1.0 - i as f64, c.accuracy.value, ends, Colour::Series(c.place.condition), 0.0)?;
            }
            Ok(())
        })?;
        let words = here.iter().map(|c| format!("{} {}", study.conditions[c.place.condition].name, percent(c.accuracy.value)));
        panels.push(Panel::new(format!("{}: {}", entry.name, words.collect::<Vec<_>>().join(", ")), height, body));
    }
    let keys = flat.iter().map(|b| Key::new(b.probe.clone(), "dash", Stroke::dashed(Colour::Muted, 1.0).colour)).collect();
    Ok(Some(Figure {
        name: "conditions",
        title: "Accuracy per prompt condition".to_owned(),
        caption: "Test accuracy of the probe at each condition's representative layer, with bootstrap intervals.".to_owned(),
        alt: "Dots with whiskers: accuracy per prompt condition, one panel per model.".to_owned(),
        keys,
        panels,
    }))
}
