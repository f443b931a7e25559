//! Decay of the signal over offsets: per condition, per class, and how long a half of it lasts.

use limbic_proto::axis::Context;
use plotters::style::text_anchor::HPos;

use super::chart::{Axes, Chart, HEIGHT, WIDTH, ends, share_range, signed_range, thin, ticks};
use super::palette::Colour;
use super::pen::{Stroke, draw};
use super::scale::percent0;
use super::{Figure, Key, Panel};
use crate::results::{Decay, Estimate, HalfLife, Persistence, Results};
use crate::study::{ReportError, Study};
use crate::wording::half_life as half_life_words;

/// Offsets are spaced by the logarithm of 1 + k, so that the first tokens aren't squeezed.
fn at(offset: u32) -> f64 {
    f64::from(offset).ln_1p()
}

fn points(decay: &Decay) -> Vec<(f64, Estimate)> {
    decay.points.iter().map(|(k, e)| (at(*k), *e)).collect()
}

fn decay(p: &Persistence, context: Context, class: Option<usize>) -> Option<&Decay> {
    p.decays.iter().find(|d| d.context == context && d.class == class)
}

fn axes(results: &Results, title: String, y: (f64, f64), y_label: &str) -> Axes {
    let mut offsets: Vec<u32> = results.persistence.iter().flat_map(|p| p.offsets.iter().copied()).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let (first, last) = (at(offsets[0]), at(offsets[offsets.len() - 1]));
    let mut x_ticks: Vec<(f64, String)> = Vec::new();
    for k in &offsets {
        if x_ticks.last().is_none_or(|(x, _)| (at(*k) - x) / (last - first) > 0.065) {
            x_ticks.push((at(*k), k.to_string()));
        }
    }
    let pad = (last - first) * 0.02;
    Axes {
        title,
        x: (first - pad, last + pad),
        y,
        x_ticks: thin(x_ticks, 12),
        y_ticks: ticks(y, 5, percent0),
        x_label: "offset (tokens after the prompt)".to_owned(),
        y_label: y_label.to_owned(),
    }
}

/// Bands, then lines; full context solid, masked prompt dashed.
fn both(chart: &Chart<'_, '_>, series: &[(&Persistence, Colour)], class: Option<usize>) -> Result<(), ReportError> {
    // Bands of both contexts and all classes would hide the curves.
    let banded: &[Context] = if class.is_none() { &[Context::MaskedPrompt, Context::Full] } else { &[Context::Full] };
    for context in banded {
        for (p, colour) in series {
            if let Some(d) = decay(p, *context, class) {
                chart.band(&points(d), *colour)?;
            }
        }
    }
    for (context, width) in [(Context::MaskedPrompt, 1.6), (Context::Full, 2.0)] {
        for (p, colour) in series {
            if let Some(d) = decay(p, context, class) {
                let full = context == Context::Full;
                let stroke = if full { Stroke::solid(*colour, width) } else { Stroke::dashed(*colour, width) };
                chart.curve(&points(d), stroke, full)?;
            }
        }
    }
    Ok(())
}

fn keys(results: &Results, series: impl Iterator<Item = (String, Colour)>, floor: &str) -> Vec<Key> {
    let mut keys: Vec<Key> = series.map(|(name, colour)| Key::new(name, "line", colour)).collect();
    if results.persistence.iter().any(|p| p.decays.iter().any(|d| d.context == Context::MaskedPrompt)) {
        keys.push(Key::new("masked prompt", "dash", Colour::Muted));
    }
    keys.push(Key::new(floor, "dot", Colour::Muted));
    keys
}

/// Accuracy over offsets, one panel per model, one colour per condition.
pub fn conditions(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    if results.persistence.is_empty() {
        return Ok(None);
    }
    let all = results.persistence.iter().flat_map(|p| &p.decays).filter(|d| d.class.is_none());
    let y = share_range(ends(all.flat_map(|d| d.points.iter().map(|p| p.1))).chain([results.floor]));
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<(&Persistence, Colour)> =
            results.persistence.iter().filter(|p| p.place.model == model).map(|p| (p, Colour::Series(p.place.condition))).collect();
        if here.is_empty() {
            continue;
        }
        let axes = axes(results, entry.name.clone(), y, "test accuracy");
        let body = draw("persistence-conditions", WIDTH, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0)?;
            chart.level(results.floor, Stroke::dotted(Colour::Muted, 1.6))?;
            both(&chart, &here, None)
        })?;
        let words = |p: &Persistence| {
            let half =
                decay(p, Context::Full, None).map_or_else(String::new, |d| half_life_words(&d.half_life, *p.offsets.last().unwrap_or(&0)));
            format!("{}, layer {}, half-life {half}", study.conditions[p.place.condition].name, p.layer)
        };
        panels.push(Panel::new(
            format!("{}: {}", entry.name, here.iter().map(|h| words(h.0)).collect::<Vec<_>>().join("; ")),
            HEIGHT,
            body,
        ));
    }
    let shown = (0..study.conditions.len()).filter(|c| results.persistence.iter().any(|p| p.place.condition == *c));
    Ok(Some(Figure {
        name: "persistence-conditions",
        title: "Decay of accuracy over offsets".to_owned(),
        caption: "Test accuracy at the layer that is best on average over offsets, against the number of tokens after the prompt (log scale). Solid: the prompt is in the context. Dashed: the continuation was encoded again without its prompt, so what is left lies in the continuation itself.".to_owned(),
        alt: "Curves of accuracy over offsets, one panel per model, one colour per condition, dashed for the masked-prompt control.".to_owned(),
        keys: keys(results, shown.map(|c| (study.conditions[c].name.clone(), Colour::Series(c))), "majority"),
        panels,
    }))
}

/// The condition that per-class figures are about: the first that was followed over offsets.
pub fn shown_condition(results: &Results) -> Option<usize> {
    results.persistence.iter().map(|p| p.place.condition).min()
}

/// Informedness over offsets, one panel per class, one colour per model, under one condition.
pub fn classes(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let Some(condition) = shown_condition(results) else { return Ok(None) };
    let series: Vec<(&Persistence, Colour)> =
        results.persistence.iter().filter(|p| p.place.condition == condition).map(|p| (p, Colour::Series(p.place.model))).collect();
    let all = series.iter().flat_map(|(p, _)| &p.decays).filter(|d| d.class.is_some());
    let y = signed_range(ends(all.flat_map(|d| d.points.iter().map(|p| p.1))));
    let mut panels = Vec::new();
    for (class, name) in study.classes.iter().enumerate() {
        let Some(floor) = series.iter().find_map(|(p, _)| Some(decay(p, Context::Full, Some(class))?.floor)) else { continue };
        let axes = axes(results, name.clone(), y, "informedness");
        let body = draw("persistence-classes", WIDTH, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0)?;
            chart.level(floor, Stroke::dotted(Colour::Muted, 1.6))?;
            both(&chart, &series, Some(class))
        })?;
        panels.push(Panel::new(name.clone(), HEIGHT, body));
    }
    let models = series.iter().map(|(p, colour)| (study.models[p.place.model].name.clone(), *colour));
    Ok(Some(Figure {
        name: "persistence-classes",
        title: format!("Decay of each class, condition {}", study.conditions[condition].name),
        caption: "Informedness of each class: its recall minus the share of other rows that are falsely called so, which is 0 for a probe that has lost the signal, however often it names the class. Offsets on a log scale. Solid: full context. Dashed: masked prompt.".to_owned(),
        alt: "Curves of informedness over offsets, one panel per class, one colour per model.".to_owned(),
        keys: keys(results, models, "no signal"),
        panels,
    }))
}

/// Half-life of each class's informedness with its interval, one panel per model, under one condition.
pub fn half_life(study: &Study, results: &Results) -> Result<Option<Figure>, ReportError> {
    let Some(condition) = shown_condition(results) else { return Ok(None) };
    let longest = study.classes.iter().map(|c| c.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * 6.4 + 14.0).clamp(50.0, 150.0);
    let mut panels = Vec::new();
    for p in results.persistence.iter().filter(|p| p.place.condition == condition) {
        let within = *p.offsets.last().unwrap_or(&1);
        let rows: Vec<(usize, &Decay)> = (0..study.classes.len()).filter_map(|c| Some((c, decay(p, Context::Full, Some(c))?))).collect();
        if !rows.iter().any(|(_, d)| matches!(d.half_life, HalfLife::Reached { .. } | HalfLife::NotReached { .. })) {
            continue;
        }
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
        let body = draw("half-life", WIDTH, height, |pen| {
            let chart = Chart::new(pen, &axes, height, left)?;
            for (i, (class, d)) in rows.iter().enumerate() {
                let y = n - 1.0 - i as f64;
                let colour = Colour::Series(*class);
                let x = |tokens: f64| tokens.ln_1p();
                match d.half_life {
                    HalfLife::Reached { tokens, lo, hi } => {
                        chart.lying_whisker(y, x(tokens), lo.map(|lo| (x(lo), hi.map_or(top * 1.09, x))), colour, 0.0)?;
                    }
                    HalfLife::NotReached { lo, .. } => {
                        chart.line(&[(lo.map_or(top, x), y), (top * 1.07, y)], Stroke::solid(colour, 1.8))?;
                        pen.text(
                            (WIDTH - 12.0, chart_y(&axes, y, height)),
                            "›",
                            super::pen::Script {
                                bold: true,
                                colour: colour.rgb(),
                                ..super::pen::Script::new(16.0, Colour::Ink, HPos::Center)
                            },
                        )?;
                    }
                    HalfLife::NoSignal | HalfLife::TooFew => {}
                }
            }
            Ok(())
        })?;
        let words = rows.iter().map(|(c, d)| format!("{} {}", study.classes[*c], half_life_words(&d.half_life, within)));
        panels.push(Panel::new(format!("{}: {}", axes.title, words.collect::<Vec<_>>().join("; ")), height, body));
    }
    Ok(Some(Figure {
        name: "half-life",
        title: format!("How long each class lasts, condition {}", study.conditions[condition].name),
        caption: "Half-life of an exponential decay fitted to each class's informedness (recall minus false-alarm rate), with bootstrap intervals (log scale). A line that runs off the panel (›) has no end within the measured offsets; a class without a mark has no signal to lose.".to_owned(),
        alt: "Dots with whiskers: half-life in tokens per class, one panel per model.".to_owned(),
        keys: Vec::new(),
        panels,
    }))
}

/// Where a row lies in a panel of that height.
fn chart_y(axes: &Axes, y: f64, height: f64) -> f64 {
    let (top, bottom) = (34.0, height - 44.0);
    bottom - (y - axes.y.0) / (axes.y.1 - axes.y.0) * (bottom - top)
}
