//! Heat maps: scores over layer x offset, classes over conditions, transfer between conditions.

use super::chart::{WIDTH, fitted, share_range, signed_range, text_width};
use super::data::{self, Data};
use super::palette::{Colour, gradient, heat};
use super::pen::{Align, Pen, Script};
use super::{Figure, Key, Panel};
use crate::results::{Estimate, Results};
use crate::statistics::linkage::Merge;
use crate::study::Study;
use crate::wording::{Notation, capital};

/// A grid of numbers with labelled rows (top to bottom) and columns.
#[derive(Debug, Default)]
pub struct Grid {
    /// Above the panel.
    pub title: String,
    /// Labels of the rows.
    pub rows: Vec<String>,
    /// Labels of the columns.
    pub columns: Vec<String>,
    /// `[rows][columns]`.
    pub cells: Vec<Vec<Option<f64>>>,
    /// Under the panel.
    pub x_label: &'static str,
    /// Left of the panel, turned.
    pub y_label: &'static str,
    /// Whether column labels are words, which are turned.
    pub turned: bool,
    /// What a row's and a column's label are called when a cell is read out.
    pub names: (&'static str, &'static str),
    /// A tree over the columns, drawn above them; the columns are in the order of its leaves.
    pub tree: Option<Tree>,
}

/// A dendrogram.
#[derive(Debug)]
pub struct Tree {
    /// The merges.
    pub merges: Vec<Merge>,
    /// The items in the order of the leaves.
    pub order: Vec<usize>,
}

/// The longest that a turned label gets.
const TURNED: f64 = 132.0;

/// Room for a dendrogram.
const TREE: f64 = 44.0;

impl Grid {
    fn foot(&self) -> f64 {
        if self.turned {
            let longest = self.columns.iter().map(|c| text_width(c, 11.0)).fold(0.0, f64::max).min(TURNED);
            longest + 16.0 + if self.x_label.is_empty() { 0.0 } else { 18.0 }
        } else {
            46.0
        }
    }

    fn head(&self) -> f64 {
        34.0 + if self.tree.is_some() { TREE } else { 0.0 }
    }

    fn left(&self) -> f64 {
        let longest = self.rows.iter().map(|r| text_width(r, 11.0)).fold(0.0, f64::max);
        (longest + 16.0 + if self.y_label.is_empty() { 0.0 } else { 14.0 }).clamp(40.0, WIDTH * 0.4)
    }

    fn height(&self) -> f64 {
        let least = if self.turned { 12.0 } else { 6.0 };
        let row = (210.0 / self.rows.len() as f64).clamp(least, 24.0);
        self.head() + row * self.rows.len() as f64 + self.foot()
    }

    fn draw(&self, pen: &Pen, notation: Notation, range: (f64, f64)) {
        let (left, right, top, height) = (self.left(), WIDTH - 14.0, self.head(), self.height());
        let bottom = height - self.foot();
        let (w, h) = ((right - left) / self.columns.len() as f64, (bottom - top) / self.rows.len() as f64);
        let script = |align| Script::new(11.0, Colour::Muted, align);
        let title = fitted(&self.title, 13.0, WIDTH - 28.0);
        pen.text((14.0, 14.0), &title, Script { bold: true, ..Script::new(13.0, Colour::Ink, Align::Left) });
        let gap = if h > 9.0 && w > 9.0 { 0.5 } else { 0.0 };
        for (r, row) in self.cells.iter().enumerate() {
            for (c, cell) in row.iter().enumerate() {
                let (x, y) = (left + c as f64 * w, top + r as f64 * h);
                let (colour, ink) = match cell {
                    Some(v) => heat((v - range.0) / (range.1 - range.0)),
                    None => (Colour::Grid.hex().to_owned(), Colour::Ink.hex()),
                };
                pen.cell((x + gap, y + gap), (x + w - gap, y + h - gap), &colour);
                let middle = (x + w / 2.0, y + h / 2.0);
                if let Some(v) = cell {
                    let words = format!("{} {}, {} {}: {}", self.names.0, self.rows[r], self.names.1, self.columns[c], notation.value(*v));
                    pen.mark(middle, words.trim_start());
                    if w >= 24.0 && h >= 12.0 {
                        pen.text(middle, &notation.cell(*v), Script { colour: ink, ..Script::new(10.0, Colour::Ink, Align::Center) });
                    }
                }
            }
        }
        let every = (12.0 / h).ceil().max(1.0) as usize;
        for (r, label) in self.rows.iter().enumerate().filter(|(r, _)| (self.rows.len() - 1 - r).is_multiple_of(every)) {
            let label = fitted(label, 11.0, left - 12.0);
            pen.text((left - 7.0, top + (r as f64 + 0.5) * h), &label, script(Align::Right));
        }
        let every = (if self.turned { 12.0 } else { 26.0 } / w).ceil().max(1.0) as usize;
        for (c, label) in self.columns.iter().enumerate().filter(|(c, _)| c.is_multiple_of(every)) {
            let at = (left + (c as f64 + 0.5) * w, bottom + if self.turned { 8.0 } else { 12.0 });
            let label = fitted(label, 11.0, TURNED);
            pen.text(at, &label, if self.turned { Script { turned: true, ..script(Align::Right) } } else { script(Align::Center) });
        }
        if !self.x_label.is_empty() {
            pen.text((f64::midpoint(left, right), height - 9.0), self.x_label, script(Align::Center));
        }
        if !self.y_label.is_empty() {
            pen.text((9.0, f64::midpoint(top, bottom)), self.y_label, Script { turned: true, ..script(Align::Center) });
        }
        if let Some(tree) = &self.tree {
            tree.draw(pen, (left, w), (34.0, top - 4.0));
        }
    }
}

impl Tree {
    /// Draws the tree above columns that start at `x.0` and are `x.1` wide, between two heights.
    fn draw(&self, pen: &Pen, x: (f64, f64), y: (f64, f64)) {
        let n = self.order.len();
        let highest = self.merges.iter().map(|m| m.distance).fold(1e-9, f64::max);
        let height = |distance: f64| y.1 - (y.1 - y.0) * distance / highest;
        // (middle, height) of every cluster.
        let mut tops: Vec<(f64, f64)> = vec![(0.0, y.1); n];
        for (place, item) in self.order.iter().enumerate() {
            tops[*item].0 = x.0 + (place as f64 + 0.5) * x.1;
        }
        for merge in &self.merges {
            let ((a, a_top), (b, b_top)) = (tops[merge.left], tops[merge.right]);
            let top = height(merge.distance);
            let stroke = super::pen::Stroke::solid(Colour::Muted, 1.0);
            pen.line(&[(a, a_top), (a, top), (b, top), (b, b_top)], stroke);
            tops.push((f64::midpoint(a, b), top));
        }
    }
}

/// The key of a scale of colours.
pub fn key(notation: Notation, range: (f64, f64)) -> Key {
    Key { label: format!("{} to {}", notation.tick(range.0), notation.tick(range.1)), mark: "heat", colour: gradient(), series: false }
}

/// The panels of some grids on one scale.
pub fn panels(grids: &[Grid], notation: Notation, range: (f64, f64)) -> Vec<Panel> {
    let label = |g: &Grid| {
        let known: Vec<f64> = g.cells.iter().flatten().flatten().copied().collect();
        let (lo, hi) = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
        format!("{}: {} to {}", g.title, notation.value(lo), notation.value(hi))
    };
    grids.iter().map(|g| Panel::new(label(g), g.height(), |pen| g.draw(pen, notation, range))).collect()
}

/// The range that all cells of some grids lie in.
pub fn range(grids: &[Grid], notation: Notation) -> (f64, f64) {
    let values = grids.iter().flat_map(|g| g.cells.iter().flatten().flatten().copied());
    if notation == Notation::Share { share_range(values) } else { signed_range(values) }
}

/// Scores over layers and offsets, one panel per model and condition, on one scale.
pub fn persistence(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let mut data = Data::new(&["model", "condition", "context", "layer", "offset", "value"]);
    let mut grids = Vec::new();
    for p in &results.persistence {
        let (model, condition) = (&study.models[p.place.model].name, &study.conditions[p.place.condition].name);
        for grid in &p.grids {
            for (layer, row) in p.layers.iter().zip(&grid.cells) {
                for (offset, cell) in p.offsets.iter().zip(row) {
                    let value = cell.map_or_else(String::new, |e| data::number(e.value));
                    let words =
                        [model.clone(), condition.clone(), grid.context.as_str().to_owned(), layer.to_string(), offset.to_string(), value];
                    data.push(words.to_vec());
                }
            }
        }
        if p.layers.len() < 2 {
            continue;
        }
        let full: &[Vec<Option<Estimate>>] = p.grids.first().map_or(&[], |g| &g.cells);
        grids.push(Grid {
            title: format!("{model} · {condition}"),
            // The last layer on top, as in a stack of blocks.
            rows: p.layers.iter().rev().map(|l| l.to_string()).collect(),
            columns: p.offsets.iter().map(u32::to_string).collect(),
            cells: full.iter().rev().map(|row| row.iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            x_label: "offset (tokens after the prompt)",
            y_label: "layer",
            names: ("layer", "offset"),
            ..Grid::default()
        });
    }
    let range = range(&grids, notation);
    Some(Figure {
        name: "persistence-heat",
        title: format!("{} over layers and offsets", capital(results.measure.words)),
        caption: format!(
            "Test {}{} of a probe fitted at each layer and offset, with the prompt in the context. Grey cells have no result. The CSV has the other contexts too.",
            results.measure.words,
            if notation == Notation::Share { " (in percent)" } else { "" }
        ),
        alt: format!(
            "Heat maps of {}, layers from bottom to top and offsets from left to right, one per model and condition.",
            results.measure.words
        ),
        keys: vec![key(notation, range)],
        panels: panels(&grids, notation, range),
        data,
    })
}

/// Recall (or what else is known) per class and condition, one panel per model, on one scale.
pub fn of_classes(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let what = if results.measure.name == "accuracy" { "recall" } else { results.measure.of_class };
    let mut data = Data::new(&["model", "condition", "class", "value", "lo", "hi", "n"]);
    let mut grids = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<_> = results.conditions.iter().filter(|c| c.place.model == model).collect();
        if here.is_empty() {
            continue;
        }
        for c in &here {
            for (class, e) in study.classes.iter().zip(&c.of_class) {
                let mut row = vec![entry.name.clone(), study.conditions[c.place.condition].name.clone(), class.clone()];
                row.extend(data::estimate(*e));
                data.push(row);
            }
        }
        grids.push(Grid {
            title: entry.name.clone(),
            rows: here.iter().map(|c| study.conditions[c.place.condition].name.clone()).collect(),
            columns: study.classes.clone(),
            cells: here.iter().map(|c| c.of_class.iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            turned: true,
            names: ("", "class"),
            ..Grid::default()
        });
    }
    let range = range(&grids, notation);
    Some(Figure {
        name: "conditions-classes",
        title: format!("{} per class and condition", capital(what)),
        caption: if what == "recall" {
            "Share (in percent) of each class's test rows that the probe at the representative layer finds, per prompt condition."
                .to_owned()
        } else {
            format!("The probe's {what} for each class at the representative layer, per prompt condition.")
        },
        alt: format!("Heat maps of {what}, conditions as rows and classes as columns, one per model."),
        keys: vec![key(notation, range)],
        panels: panels(&grids, notation, range),
        data,
    })
}

/// Probes of each condition under every other, one panel per model.
pub fn transfer(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let mut data = Data::new(&["model", "layer", "fitted_under", "tested_under", "value", "lo", "hi", "n"]);
    let mut grids = Vec::new();
    for m in &results.transfer {
        let name = |c: &usize| study.conditions[*c].name.clone();
        for (fitted, row) in m.conditions.iter().zip(&m.cells) {
            for (tested, e) in m.conditions.iter().zip(row) {
                let mut cells = vec![study.models[m.model].name.clone(), m.layer.to_string(), name(fitted), name(tested)];
                cells.extend(data::estimate(*e));
                data.push(cells);
            }
        }
        grids.push(Grid {
            title: format!("{}, layer {}", study.models[m.model].name, m.layer),
            rows: m.conditions.iter().map(name).collect(),
            columns: m.conditions.iter().map(name).collect(),
            cells: m.cells.iter().map(|row| row.iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            x_label: "tested under",
            y_label: "fitted under",
            turned: true,
            names: ("fitted under", "tested under"),
            ..Grid::default()
        });
    }
    let range = range(&grids, notation);
    Some(Figure {
        name: "transfer",
        title: "Probes carried from one condition to another".to_owned(),
        caption: format!(
            "Test {} of the probe fitted under each condition (rows) on the states of every condition (columns), at one layer per model. The diagonal is the probe at home.",
            results.measure.words
        ),
        alt: "Heat maps, the condition of training as rows and that of testing as columns, one per model.".to_owned(),
        keys: vec![key(notation, range)],
        panels: panels(&grids, notation, range),
        data,
    })
}
