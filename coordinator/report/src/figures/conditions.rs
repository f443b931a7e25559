//! Rows of dots with whiskers: conditions, controls, baselines.

use super::chart::{Axes, Chart, WIDTH, ends, range, text_width, ticks};
use super::data::{self, Data};
use super::palette::Colour;
use super::scale::{baseline, baseline_key};
use super::{Figure, Key, Panel};
use crate::results::{Estimate, Line, Results, Spread};
use crate::study::Study;
use crate::wording::{Notation, capital};

/// One dot of a row.
#[derive(Clone)]
pub struct Dot {
    /// Its series, if it is of one that can be hidden.
    pub series: String,
    /// Its colour.
    pub colour: Colour,
    /// Where it lies.
    pub estimate: Estimate,
    /// How far it depends on the sampling seed, where there are several.
    pub spread: Option<Spread>,
    /// What it is.
    pub words: String,
}

/// Rows of dots under one title.
pub struct Rows {
    /// Above the panel.
    pub title: String,
    /// Label and dots of each row, from the top.
    pub rows: Vec<(String, Vec<Dot>)>,
    /// Baselines as upright lines.
    pub levels: Vec<(f64, String)>,
}

impl Rows {
    /// The panel; `x` is the range of its axis.
    pub fn panel(&self, notation: Notation, x: (f64, f64), x_label: &str) -> Panel {
        let n = self.rows.len() as f64;
        let most = self.rows.iter().map(|r| r.1.len()).max().unwrap_or(1);
        let step = 12.0 + 7.0 * most.max(2) as f64;
        let height = 78.0 + step * n;
        let longest = self.rows.iter().map(|r| text_width(&r.0, 11.0)).fold(0.0, f64::max);
        let axes = Axes {
            title: self.title.clone(),
            x,
            y: (-0.5, n - 0.5),
            x_ticks: ticks(x, 5, |v| notation.tick(v)),
            y_ticks: self.rows.iter().enumerate().map(|(i, r)| (n - 1.0 - i as f64, r.0.clone())).collect(),
            x_label: x_label.to_owned(),
            y_label: String::new(),
        };
        let words: Vec<&str> = self.rows.iter().flat_map(|r| r.1.iter().map(|d| d.words.as_str())).take(12).collect();
        Panel::new(format!("{}: {}", self.title, words.join("; ")), height, |pen| {
            let chart = Chart::new(pen, &axes, height, (longest + 16.0).clamp(50.0, WIDTH * 0.45));
            for (value, probe) in &self.levels {
                chart.line(&[(*value, -0.5), (*value, n - 0.5)], baseline(probe));
            }
            for (i, (_, dots)) in self.rows.iter().enumerate() {
                for (j, dot) in dots.iter().enumerate() {
                    let aside = (j as f64 - (dots.len() - 1) as f64 / 2.0) * 7.0;
                    let ends = dot.estimate.lo.zip(dot.estimate.hi);
                    let y = n - 1.0 - i as f64;
                    let draw = || {
                        dot.spread.into_iter().for_each(|spread| chart.lying_span(y, spread, dot.colour, aside));
                        chart.lying_whisker(y, dot.estimate.value, ends, dot.colour, aside, dot.words.clone());
                    };
                    if dot.series.is_empty() { draw() } else { pen.series(&dot.series, draw) }
                }
            }
        })
    }
}

/// What the axes of several panels must hold.
pub fn rows_range(notation: Notation, all: &[Rows]) -> (f64, f64) {
    let dots = || all.iter().flat_map(|r| &r.rows).flat_map(|r| &r.1);
    let spreads = dots().filter_map(|d| d.spread).flat_map(|s| [s.lowest, s.highest]);
    range(notation, ends(dots().map(|d| d.estimate)).chain(spreads).chain(all.iter().flat_map(|r| r.levels.iter().map(|l| l.0))))
}

fn flat(results: &Results) -> Vec<&Line> {
    results.baselines.iter().filter(|b| b.model.is_none() && b.probe != "majority").collect()
}

/// One panel per model, one row per condition.
pub fn scores(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let mut data = Data::new(&["model", "condition", "layer", "value", "lo", "hi", "n"]);
    let levels: Vec<(f64, String)> = flat(results).iter().map(|b| (b.score.value, b.probe.clone())).collect();
    let mut all = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here = results.conditions.iter().filter(|c| c.place.model == model);
        let row = |c: &crate::results::ConditionResult| {
            let name = study.conditions[c.place.condition].name.clone();
            let mut cells = vec![entry.name.clone(), name.clone(), c.layer.to_string()];
            cells.extend(data::estimate(Some(c.score)));
            data.push(cells);
            let words = format!("{name}, layer {}: {}", c.layer, notation.estimate(c.score));
            let dot = Dot { series: String::new(), colour: Colour::Series(c.place.condition), estimate: c.score, spread: None, words };
            (name, vec![dot])
        };
        let rows: Vec<(String, Vec<Dot>)> = here.map(row).collect();
        if !rows.is_empty() {
            all.push(Rows { title: entry.name.clone(), rows, levels: levels.clone() });
        }
    }
    let x = rows_range(notation, &all);
    Some(Figure {
        name: "conditions",
        title: format!("{} per prompt condition", capital(results.measure.words)),
        caption: format!(
            "Test {} of {} at each condition's representative layer, with bootstrap intervals.",
            results.measure.words,
            results.the_probe()
        ),
        alt: format!("Dots with whiskers: {} per prompt condition, one panel per model.", results.measure.words),
        keys: flat(results).iter().map(|b| baseline_key(&b.probe)).collect(),
        panels: all.iter().map(|r| r.panel(notation, x, &format!("test {}", results.measure.words))).collect(),
        data,
    })
}

/// One panel per model and condition, one row per probe: the probe and its controls at the same layer.
pub fn controls(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let ours: Vec<_> = results.comparisons.iter().filter(|c| c.family == "controls").collect();
    let mut data = Data::new(&["model", "condition", "probe", "control", "probe_value", "control_value", "selectivity", "lo", "hi", "n"]);
    let mut all: Vec<Rows> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for c in &ours {
        let (model, condition) = (&study.models[c.model].name, study.condition_name(c.condition));
        let probe = c.subject.split(',').next().unwrap_or_default();
        let mut cells = vec![model.clone(), condition.to_owned(), probe.to_owned(), c.against.clone()];
        cells.extend([c.subject_score, c.against_score].map(data::number));
        cells.extend(data::estimate(Some(c.difference)));
        data.push(cells);
        let title = if study.conditions.len() > 1 { format!("{model} · {condition}") } else { model.clone() };
        let at = all.iter().position(|r| r.title == title).unwrap_or_else(|| {
            all.push(Rows { title, rows: Vec::new(), levels: Vec::new() });
            all.len() - 1
        });
        let rows = &mut all[at].rows;
        let row = rows.iter().position(|r| r.0 == probe).unwrap_or_else(|| {
            rows.push((probe.to_owned(), Vec::new()));
            rows.len() - 1
        });
        let number = seen.iter().position(|s| *s == c.against).unwrap_or_else(|| {
            seen.push(&c.against);
            seen.len() - 1
        });
        let words = format!("{}, against {}: {}", c.subject, c.against, notation.points(c.difference));
        rows[row].1.push(Dot { series: c.against.clone(), colour: Colour::Series(number), estimate: c.difference, spread: None, words });
    }
    // Differences of shares, too, lie on both sides of zero.
    let x = rows_range(Notation::Real, &all);
    let x = (x.0.min(-0.02), x.1);
    for rows in &mut all {
        rows.levels.push((0.0, "no difference".to_owned()));
    }
    Some(Figure {
        name: "controls",
        title: "What the probe finds beyond its controls".to_owned(),
        caption: format!(
            "Test {} of each probe minus that of its control at the same layer, on the same rows, with bootstrap intervals. Against shuffled labels this is selectivity. They are tested on the true labels, so it tells leaks and chance apart from signal, not how much a probe could learn by heart (for which the control tasks of Hewitt and Liang 2019 are tested on labels of their own, and description lengths are measured here).",
            results.measure.words
        ),
        alt: "Dots with whiskers: the difference between each probe and its controls, one panel per model and condition.".to_owned(),
        keys: seen.iter().enumerate().map(|(i, c)| Key::series(*c, "points", Colour::Series(i))).collect(),
        panels: all.iter().map(|r| r.panel(notation, x, &format!("difference in {}", results.measure.words))).collect(),
        data,
    })
}

/// One panel per model: its best probe and every baseline.
pub fn baselines(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let mut data = Data::new(&["model", "what", "pooling", "condition", "layer", "value", "lo", "hi", "n"]);
    let mut all = Vec::new();
    for (model, entry) in study.models.iter().enumerate().filter(|(_, m)| m.random_weights.is_none()) {
        let Some(best) = results.best_of(model).map(crate::evaluate::line) else { continue };
        let lines = std::iter::once(&best).chain(results.baselines.iter().filter(|b| b.model.is_none_or(|m| m == model)));
        let row = |line: &Line| {
            let name = match line.layer {
                Some(layer) => format!("{}, layer {layer}", results.named(&line.probe, line.pooling)),
                None => line.probe.clone(),
            };
            let at = line.layer.map_or_else(String::new, |l| l.to_string());
            let pooling = line.pooling.unwrap_or("").to_owned();
            let mut cells = vec![entry.name.clone(), line.probe.clone(), pooling, study.condition_name(line.condition).to_owned(), at];
            cells.extend(data::estimate(Some(line.score)));
            data.push(cells);
            let colour = if line.layer.is_some() { Colour::Series(0) } else { Colour::Series(6) };
            let words = format!("{name}: {}", notation.estimate(line.score));
            (name, vec![Dot { series: String::new(), colour, estimate: line.score, spread: None, words }])
        };
        let rows: Vec<(String, Vec<Dot>)> = lines.map(row).collect();
        if rows.len() > 1 {
            all.push(Rows { title: entry.name.clone(), rows, levels: Vec::new() });
        }
    }
    let x = rows_range(notation, &all);
    Some(Figure {
        name: "baselines",
        title: "The best probe and the baselines".to_owned(),
        caption: format!("Test {} of each model's best probe and of every baseline, with bootstrap intervals.", results.measure.words),
        alt: format!("Dots with whiskers: {} of the best probe and the baselines, one panel per model.", results.measure.words),
        keys: Vec::new(),
        panels: all.iter().map(|r| r.panel(notation, x, &format!("test {}", results.measure.words))).collect(),
        data,
    })
}
