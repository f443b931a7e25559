//! Heat maps: accuracy over layer x offset, recall over condition x class.

use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::chart::{WIDTH, share_range};
use super::palette::{Colour, gradient, heat};
use super::pen::{Pen, Script, draw};
use super::{Figure, Key, Panel};
use crate::results::Results;
use crate::study::{ReportError, Study};
use crate::wording::percent;

/// A grid of shares with labelled rows (top to bottom) and columns.
struct Grid {
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    /// `[rows][columns]`.
    cells: Vec<Vec<Option<f64>>>,
    x_label: &'static str,
    y_label: &'static str,
    left: f64,
    /// Whether column labels are words, which are turned.
    turned: bool,
}

impl Grid {
    fn height(&self) -> f64 {
        let row = (190.0 / self.rows.len() as f64).clamp(6.0, 24.0);
        34.0 + row * self.rows.len() as f64 + if self.turned { 72.0 } else { 46.0 }
    }

    fn draw(&self, pen: &Pen<'_>, range: (f64, f64)) -> Result<(), ReportError> {
        let (left, right, top, height) = (self.left, WIDTH - 14.0, 34.0, self.height());
        let bottom = height - if self.turned { 72.0 } else { 46.0 };
        let (w, h) = ((right - left) / self.columns.len() as f64, (bottom - top) / self.rows.len() as f64);
        let script = |align| Script::new(11.0, Colour::Muted, align);
        pen.text((left, 14.0), &self.title, Script { bold: true, ..Script::new(13.0, Colour::Ink, HPos::Left) })?;
        let gap = if h > 9.0 && w > 9.0 { 0.5 } else { 0.0 };
        for (r, row) in self.cells.iter().enumerate() {
            for (c, cell) in row.iter().enumerate() {
                let (x, y) = (left + c as f64 * w, top + r as f64 * h);
                let (colour, light) = match cell {
                    Some(v) => heat((v - range.0) / (range.1 - range.0)),
                    None => (Colour::Grid.rgb(), false),
                };
                pen.cell((x + gap, y + gap), (x + w - gap, y + h - gap), colour)?;
                if let Some(v) = cell.filter(|_| w >= 24.0 && h >= 13.0) {
                    let colour = if light { RGBColor(250, 250, 250) } else { RGBColor(20, 20, 20) };
                    pen.text(
                        (x + w / 2.0, y + h / 2.0),
                        &format!("{:.0}", v * 100.0),
                        Script { colour, ..Script::new(10.0, Colour::Ink, HPos::Center) },
                    )?;
                }
            }
        }
        let every = (12.0 / h).ceil().max(1.0) as usize;
        for (r, label) in self.rows.iter().enumerate().filter(|(r, _)| (self.rows.len() - 1 - r).is_multiple_of(every)) {
            pen.text((left - 7.0, top + (r as f64 + 0.5) * h), label, script(HPos::Right))?;
        }
        let every = if self.turned { 1 } else { (24.0 / w).ceil().max(1.0) as usize };
        for (c, label) in self.columns.iter().enumerate().filter(|(c, _)| c.is_multiple_of(every)) {
            let at = (left + (c as f64 + 0.5) * w, bottom + if self.turned { 8.0 } else { 12.0 });
            pen.text(at, label, if self.turned { Script { turned: true, ..script(HPos::Right) } } else { script(HPos::Center) })?;
        }
        if !self.x_label.is_empty() {
            pen.text((f64::midpoint(left, right), height - 9.0), self.x_label, script(HPos::Center))?;
        }
        if !self.y_label.is_empty() {
            pen.text((9.0, f64::midpoint(top, bottom)), self.y_label, Script { turned: true, ..script(HPos::Center) })?;
        }
        Ok(())
    }
}

fn range(grids: &[Grid]) -> (f64, f64) {
    share_range(grids.iter().flat_map(|g| g.cells.iter().flatten().flatten().copied()))
}

fn key(range: (f64, f64)) -> Key {
    Key { label: format!("{:.0}% to {:.0}%", range.0 * 100.0, range.1 * 100.0), mark: "heat", colour: gradient() }
}

fn panels(name: &str, grids: &[Grid], range: (f64, f64)) -> Result<Vec<Panel>, ReportError> {
    let label = |g: &Grid| {
        let known: Vec<f64> = g.cells.iter().flatten().flatten().copied().collect();
        let (lo, hi) = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
        format!("{}: {} to {}", g.title, percent(lo), percent(hi))
    };
    let panel = |g: &Grid| draw(name, WIDTH, g.height(), |pen| g.draw(pen, range)).map(|body| Panel::new(label(g), g.height(), body));
    grids.iter().map(panel).collect()
}

/// Accuracy over layers and offsets, one panel per model and condition, on one scale.
pub fn persistence(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let grids: Vec<Grid> = results
        .persistence
        .iter()
        .map(|p| Grid {
            title: format!("{} · {}", study.models[p.place.model].name, study.conditions[p.place.condition].name),
            // The last layer on top, as in a stack of blocks.
            rows: p.layers.iter().rev().map(|l| l.to_string()).collect(),
            columns: p.offsets.iter().map(u32::to_string).collect(),
            cells: p.full.iter().rev().map(|row| row.iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            x_label: "offset (tokens after the prompt)",
            y_label: "layer",
            left: 54.0,
            turned: false,
        })
        .collect();
    if grids.is_empty() {
        return Ok(None);
    }
    let range = range(&grids);
    Ok(Some(Figure {
        name: "persistence-heat",
        title: "Accuracy over layers and offsets".to_owned(),
        caption: "Test accuracy (in percent) of a probe fitted at each layer and offset, with the prompt in the context. Grey cells have no result.".to_owned(),
        alt: "Heat maps of accuracy, layers from bottom to top and offsets from left to right, one per model and condition.".to_owned(),
        keys: vec![key(range)],
        panels: panels("persistence-heat", &grids, range)?,
    }))
}

/// Recall per class and condition, one panel per model, on one scale.
pub fn recall(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let mut grids = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<_> = results.conditions.iter().filter(|c| c.place.model == model).collect();
        if here.is_empty() {
            continue;
        }
        let names: Vec<String> = here.iter().map(|c| study.conditions[c.place.condition].name.clone()).collect();
        let longest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
        grids.push(Grid {
            title: entry.name.clone(),
            rows: names,
            columns: study.classes.clone(),
            cells: here.iter().map(|c| c.recall.iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            x_label: "",
            y_label: "",
            left: (longest as f64 * 6.2 + 14.0).clamp(40.0, 150.0),
            turned: true,
        });
    }
    if grids.is_empty() {
        return Ok(None);
    }
    let range = range(&grids);
    Ok(Some(Figure {
        name: "conditions-recall",
        title: "Recall per class and condition".to_owned(),
        caption: "Share (in percent) of each class's test rows that the probe at the representative layer finds, per prompt condition."
            .to_owned(),
        alt: "Heat maps of recall, conditions as rows and classes as columns, one per model.".to_owned(),
        keys: vec![key(range)],
        panels: panels("conditions-recall", &grids, range)?,
    }))
}
