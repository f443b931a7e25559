//! How long a half of each class's signal lasts.

use std::collections::BTreeSet;

use limbic_proto::axis::Context;

use super::chart::{Axes, Chart, WIDTH, text_width};
use super::data::{self, Data};
use super::palette::Colour;
use super::pen::{Align, Script, Stroke};
use super::persistence::{at, primary, shown_condition};
use super::{Figure, Panel};
use crate::results::{Decay, HalfLife, Persistence, Results};
use crate::study::Study;
use crate::wording::{decay as decay_words, list};

/// Half-life of each class's signal with its interval, one panel per model, under one condition.
pub fn half_life(study: &Study, results: &Results) -> Option<Figure> {
    let condition = shown_condition(results)?;
    let longest = study.classes.iter().map(|c| text_width(c, 11.0)).fold(0.0, f64::max);
    let left = (longest + 16.0).clamp(50.0, 150.0);
    let mut data = Data::new(&["model", "condition", "class", "towards", "half_life", "lo", "hi", "state", "misses"]);
    let (mut panels, mut towards) = (Vec::new(), Vec::new());
    for p in &results.persistence {
        let rows: Vec<(usize, &Decay)> =
            (0..study.classes.len()).filter_map(|c| Some((c, p.decay(primary(results), Context::Full, Some(c))?))).collect();
        for (class, d) in &rows {
            for f in &d.fits {
                let (state, value, lo, hi) = in_cells(&f.half_life);
                let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name, &study.classes[*class]];
                let mut row: Vec<String> = names.into_iter().cloned().collect();
                row.push(f.towards.map_or(results.measure.level(), Context::as_str).to_owned());
                row.extend([value, lo, hi, state.to_owned(), f.misses.to_string()]);
                data.push(row);
            }
        }
        let known = |d: &Decay| p.of_class(d).is_some_and(|f| f.half_life.lasts());
        if p.place.condition != condition || !rows.iter().any(|(_, d)| known(d)) {
            continue;
        }
        panels.push(half_lives(study, p, &rows, left));
        towards.push((p.place.model, p.towards(primary(results))));
    }
    let of = of(study, results, &towards);
    Some(Figure {
        name: "half-life",
        title: format!("How long each class lasts, condition {}", study.conditions[condition].name),
        caption: format!(
            "Half-life of an exponential decay of {of}, with bootstrap intervals (log scale). A line that runs off the panel (›) has no end within the measured offsets; a class without a mark has no signal to lose, or too few rows or offsets to tell.",
        ),
        alt: "Dots with whiskers: half-life in tokens per class, one panel per model.".to_owned(),
        keys: Vec::new(),
        panels,
        data,
    })
}

/// What decays, in words: of each model that is shown what its classes decay towards.
fn of(study: &Study, results: &Results, towards: &[(usize, Option<Context>)]) -> String {
    let of_class = results.measure.of_class;
    let one = |towards: Option<Context>| match towards {
        None => format!("each class's {of_class} towards no signal"),
        Some(c) => format!("the lead of each class's {of_class} over that of the {} control", c.as_str()),
    };
    let kinds: BTreeSet<Option<Context>> = towards.iter().map(|t| t.1).collect();
    let with_models = |kind: &Option<Context>| {
        let models: Vec<String> = towards.iter().filter(|t| t.1 == *kind).map(|t| study.models[t.0].name.clone()).collect();
        format!("{} in {}", one(*kind), list(&models))
    };
    match kinds.len() {
        0 | 1 => one(kinds.first().copied().flatten()),
        _ => list(&kinds.iter().map(with_models).collect::<Vec<_>>()),
    }
}

fn in_cells(h: &HalfLife) -> (&'static str, String, String, String) {
    let end = |v: &Option<f64>| v.map_or_else(String::new, data::number);
    match h {
        HalfLife::Reached { tokens, lo, hi, .. } => ("reached", data::number(*tokens), end(lo), end(hi)),
        HalfLife::Sooner { than, hi, .. } => ("shorter", data::number(*than), String::new(), end(hi)),
        HalfLife::NotReached { lo, .. } => ("not reached", String::new(), end(lo), String::new()),
        HalfLife::NoSignal => ("no signal", String::new(), String::new(), String::new()),
        HalfLife::TooFew => ("too few offsets", String::new(), String::new(), String::new()),
        HalfLife::TooFewRows => ("too few rows", String::new(), String::new(), String::new()),
    }
}

fn half_lives(study: &Study, p: &Persistence, rows: &[(usize, &Decay)], left: f64) -> Panel {
    let within = p.within().max(1);
    let height = 78.0 + 24.0 * rows.len() as f64;
    let n = rows.len() as f64;
    let top = at(within);
    let mut marks: Vec<u32> = (0..20).map(|i| 1 << i).take_while(|k| *k <= within / 2).collect();
    marks = marks.iter().copied().filter(|k| (k.ilog2() % 2 == 0) == (marks.len() % 2 == 1) || marks.len() < 6).collect();
    marks.push(within);
    let axes = Axes {
        title: study.models[p.place.model].name.clone(),
        x: (0.0, top * 1.09),
        y: (-0.5, n - 0.5),
        x_ticks: marks.iter().map(|k| (at(*k), k.to_string())).collect(),
        y_ticks: rows.iter().enumerate().map(|(i, (c, _))| (n - 1.0 - i as f64, study.classes[*c].clone())).collect(),
        x_label: "half-life (tokens)".to_owned(),
        y_label: String::new(),
    };
    let said = |c: usize, d: &Decay| p.of_class(d).map_or_else(String::new, |f| format!("{} {}", study.classes[c], decay_words(f)));
    let words: Vec<String> = rows.iter().map(|(c, d)| said(*c, d)).collect();
    Panel::new(format!("{}: {}", axes.title, words.join("; ")), height, |pen| {
        let chart = Chart::new(pen, &axes, height, left);
        for (i, (class, d)) in rows.iter().enumerate() {
            let y = n - 1.0 - i as f64;
            let colour = Colour::Series(*class);
            let x = |tokens: f64| tokens.ln_1p();
            match p.of_class(d).map(|f| &f.half_life) {
                Some(HalfLife::Reached { tokens, lo, hi, .. }) => {
                    let ends = lo.map(|lo| (x(lo), hi.map_or(top * 1.09, x)));
                    chart.lying_whisker(y, x(*tokens), ends, colour, 0.0, said(*class, d));
                }
                Some(HalfLife::Sooner { than, hi, .. }) => {
                    let ends = Some((0.0, hi.map_or(x(*than), x)));
                    chart.lying_whisker(y, x(*than), ends, colour, 0.0, said(*class, d));
                }
                Some(HalfLife::NotReached { lo, .. }) => {
                    chart.line(&[(lo.map_or(top, x), y), (top * 1.07, y)], Stroke::solid(colour, 1.8));
                    chart.mark(top * 1.04, y, said(*class, d));
                    let script = Script { bold: true, colour: colour.hex(), ..Script::new(16.0, Colour::Ink, Align::Center) };
                    pen.text((WIDTH - 12.0, chart.y(y)), "›", script);
                }
                Some(HalfLife::NoSignal | HalfLife::TooFew | HalfLife::TooFewRows) | None => {}
            }
        }
    })
}
