//! Decay of the signal over offsets: per condition, per context and probe, per class, and how long a half of it lasts.

use limbic_proto::axis::Context;

use super::chart::{Axes, Chart, HEIGHT, WIDTH, ends, range, text_width, thin, ticks};
use super::data::{self, Data};
use super::palette::Colour;
use super::pen::{Align, Script, Stroke};
use super::{Figure, Key, Panel};
use crate::results::{Decay, Estimate, HalfLife, Persistence, Results};
use crate::study::Study;
use crate::wording::{Unit, half_life as half_life_words};

/// Offsets are spaced by the logarithm of 1 + k, so that the first tokens aren't squeezed.
fn at(offset: u32) -> f64 {
    f64::from(offset).ln_1p()
}

fn points(decay: &Decay) -> Vec<(f64, Estimate)> {
    decay.points.iter().map(|(k, e)| (at(*k), *e)).collect()
}

fn axes(results: &Results, title: String, y: (f64, f64), unit: Unit, y_label: String) -> Axes {
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
        y_ticks: ticks(y, 5, |v| unit.tick(v)),
        x_label: "offset (tokens after the prompt)".to_owned(),
        y_label,
    }
}

/// One curve as it is drawn.
struct Drawn<'a> {
    name: String,
    decay: &'a Decay,
    stroke: Stroke,
    banded: bool,
}

/// Bands, then lines.
fn draw(chart: &Chart<'_>, unit: Unit, drawn: &[Drawn<'_>]) {
    for d in drawn.iter().filter(|d| d.banded) {
        chart.pen.series(&d.name, || chart.band(&points(d.decay), d.stroke.colour));
    }
    for d in drawn {
        chart.pen.series(&d.name, || {
            chart.curve(&points(d.decay), d.stroke, d.stroke.dash.is_none());
            for (k, e) in &d.decay.points {
                let context = if d.decay.context == Context::Full { String::new() } else { format!(", {}", d.decay.context.as_str()) };
                chart.mark(at(*k), e.value, format!("{}{context}, offset {k}: {}", d.name, unit.estimate(*e)));
            }
        });
    }
}

fn primary(results: &Results) -> &str {
    results.probe.as_deref().unwrap_or("")
}

fn table<'a>(study: &Study, of: impl Iterator<Item = (&'a Persistence, &'a Decay)>) -> Data {
    let mut data = Data::new(&["model", "condition", "layer", "probe", "fitted", "context", "class", "offset", "value", "lo", "hi", "n"]);
    for (p, d) in of {
        for (k, e) in &d.points {
            let mut row = vec![
                study.models[p.place.model].name.clone(),
                study.conditions[p.place.condition].name.clone(),
                p.layer.to_string(),
                d.probe.clone(),
                if d.transferred { "at offset 0" } else { "at each offset" }.to_owned(),
                d.context.as_str().to_owned(),
                d.class.map_or_else(String::new, |c| study.classes[c].clone()),
                k.to_string(),
            ];
            row.extend(data::estimate(Some(*e)));
            data.push(row);
        }
    }
    data
}

/// The measure over offsets, one panel per model, one colour per condition: full context and masked prompt.
pub fn conditions(study: &Study, results: &Results) -> Option<Figure> {
    let unit = Unit::of(&results.measure);
    let shown = |d: &&Decay| {
        d.class.is_none() && !d.transferred && d.probe == primary(results) && matches!(d.context, Context::Full | Context::MaskedPrompt)
    };
    let all = results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown));
    let floor = results.measure.floor;
    let y = range(unit, ends(all.flat_map(|d| d.points.iter().map(|p| p.1))).chain([floor]));
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<&Persistence> = results.persistence.iter().filter(|p| p.place.model == model).collect();
        if here.is_empty() {
            continue;
        }
        let axes = axes(results, entry.name.clone(), y, unit, format!("test {}", results.measure.words));
        let drawn: Vec<Drawn<'_>> = here
            .iter()
            .flat_map(|p| p.decays.iter().filter(shown).map(move |d| (p, d)))
            .map(|(p, decay)| {
                let colour = Colour::Series(p.place.condition);
                let full = decay.context == Context::Full;
                let stroke = if full { Stroke::solid(colour, 2.0) } else { Stroke::dashed(colour, 1.6) };
                Drawn { name: study.conditions[p.place.condition].name.clone(), decay, stroke, banded: true }
            })
            .collect();
        let words = |p: &&Persistence| {
            let fit = p.decay(primary(results), Context::Full, None).and_then(Decay::main);
            let half = fit.map_or_else(String::new, |f| half_life_words(&f.half_life, p.within()));
            format!("{}, layer {}, half-life {half}", study.conditions[p.place.condition].name, p.layer)
        };
        let label = format!("{}: {}", entry.name, here.iter().map(words).collect::<Vec<_>>().join("; "));
        panels.push(Panel::new(label, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            chart.level(floor, Stroke::dotted(Colour::Muted, 1.8));
            draw(&chart, unit, &drawn);
        }));
    }
    let named = (0..study.conditions.len()).filter(|c| results.persistence.iter().any(|p| p.place.condition == *c));
    let mut keys: Vec<Key> = named.map(|c| Key::series(study.conditions[c].name.clone(), "line", Colour::Series(c))).collect();
    if results.persistence.iter().any(|p| p.decays.iter().any(|d| d.context == Context::MaskedPrompt)) {
        keys.push(Key::new("masked prompt", "dash", Colour::Muted));
    }
    keys.push(Key::new("majority", "dot", Colour::Muted));
    Some(Figure {
        name: "persistence-conditions",
        title: format!("Decay of {} over offsets", results.measure.words),
        caption: format!(
            "Test {} at the layer that is best on average over offsets, against the number of tokens after the prompt (log scale). Solid: the prompt is in the context. Dashed: the continuation was encoded again without its prompt, so what is left lies in the continuation itself.",
            results.measure.words
        ),
        alt: format!(
            "Curves of {} over offsets, one panel per model, one colour per condition, dashed for the masked-prompt control.",
            results.measure.words
        ),
        keys,
        panels,
        data: table(study, results.persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_none()).map(move |d| (p, d)))),
    })
}

/// What a curve is called, and how it looks.
fn curve_style(results: &Results, d: &Decay) -> (String, Stroke) {
    let main = d.probe == primary(results);
    match (main, d.transferred, d.context) {
        (true, false, Context::Full) => ("fitted at each offset".to_owned(), Stroke::solid(Colour::Series(0), 2.0)),
        (true, false, Context::MaskedPrompt) => ("masked prompt".to_owned(), Stroke::dashed(Colour::Series(1), 1.8)),
        (true, false, Context::ShuffledReply) => ("shuffled reply".to_owned(), Stroke::dashed(Colour::Series(2), 1.8)),
        (true, false, Context::Filler) => ("filler".to_owned(), Stroke::dashed(Colour::Series(4), 1.8)),
        (true, true, _) => ("fitted at offset 0".to_owned(), Stroke::solid(Colour::Series(3), 1.8)),
        (false, _, _) => (d.probe.clone(), Stroke::long(Colour::Series(if d.probe == "offset-mlp" { 5 } else { 6 }), 1.8)),
    }
}

/// All curves of a place: the probe fitted at each offset, its controls, that of offset 0 carried over, the offset-aware one.
pub fn curves(study: &Study, results: &Results) -> Option<Figure> {
    let unit = Unit::of(&results.measure);
    let shown = |d: &&Decay| {
        let main = d.probe == primary(results);
        d.class.is_none()
            && (main && (!d.transferred || d.context == Context::Full) || d.probe == "offset-mlp" && d.context == Context::Full)
    };
    let several = results.persistence.iter().any(|p| p.decays.iter().filter(shown).count() > 2);
    if !several {
        return None;
    }
    let all = results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown));
    let floor = results.measure.floor;
    let y = range(unit, ends(all.flat_map(|d| d.points.iter().map(|p| p.1))).chain([floor]));
    let (mut panels, mut keys): (Vec<Panel>, Vec<Key>) = (Vec::new(), Vec::new());
    for p in &results.persistence {
        let title = format!("{} · {}", study.models[p.place.model].name, study.conditions[p.place.condition].name);
        let drawn: Vec<Drawn<'_>> = p
            .decays
            .iter()
            .filter(shown)
            .map(|decay| {
                let (name, stroke) = curve_style(results, decay);
                let banded = !decay.transferred && decay.context == Context::Full && decay.probe == primary(results);
                Drawn { name, decay, stroke, banded }
            })
            .collect();
        for d in &drawn {
            let mark = match d.stroke.dash {
                None => "line",
                Some((on, _)) if on > 8.0 => "long",
                Some(_) => "dash",
            };
            if !keys.iter().any(|k| k.label == d.name) {
                keys.push(Key::series(d.name.clone(), mark, d.stroke.colour));
            }
        }
        let axes = axes(results, title.clone(), y, unit, format!("test {}", results.measure.words));
        panels.push(Panel::new(title, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            chart.level(floor, Stroke::dotted(Colour::Muted, 1.8));
            draw(&chart, unit, &drawn);
        }));
    }
    keys.push(Key::new("majority", "dot", Colour::Muted));
    Some(Figure {
        name: "persistence-curves",
        title: "What lasts, by control and by probe".to_owned(),
        caption: "The probe fitted at each offset, beside what the reply alone carries (masked prompt), what the prompt alone carries forward (shuffled reply, filler), the probe of offset 0 used unchanged at every offset, and the offset-aware perceptron.".to_owned(),
        alt: "Curves over offsets, one panel per model and condition, one line per context and probe.".to_owned(),
        keys,
        panels,
        data: table(study, results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown).map(move |d| (p, d)))),
    })
}

/// The condition that per-class figures are about: the first that was followed over offsets.
pub fn shown_condition(results: &Results) -> Option<usize> {
    results.persistence.iter().map(|p| p.place.condition).min()
}

/// What is followed per class over offsets, one panel per class, one colour per model, under one condition.
pub fn classes(study: &Study, results: &Results) -> Option<Figure> {
    let condition = shown_condition(results)?;
    let unit = Unit::of(&results.measure);
    let here: Vec<&Persistence> = results.persistence.iter().filter(|p| p.place.condition == condition).collect();
    let shown = |d: &&Decay| {
        d.class.is_some() && !d.transferred && d.probe == primary(results) && matches!(d.context, Context::Full | Context::MaskedPrompt)
    };
    let all = here.iter().flat_map(|p| p.decays.iter().filter(shown));
    let floors = results.measure.class_floors.iter().copied();
    let y = super::chart::signed_range(ends(all.flat_map(|d| d.points.iter().map(|p| p.1))).chain(floors));
    let mut panels = Vec::new();
    for (class, name) in study.classes.iter().enumerate() {
        let drawn: Vec<Drawn<'_>> = here
            .iter()
            .flat_map(|p| p.decays.iter().filter(shown).filter(|d| d.class == Some(class)).map(move |d| (p, d)))
            .map(|(p, decay)| {
                let (colour, full) = (Colour::Series(p.place.model), decay.context == Context::Full);
                let stroke = if full { Stroke::solid(colour, 2.0) } else { Stroke::dashed(colour, 1.6) };
                // Bands of both contexts and all models would hide the curves.
                Drawn { name: study.models[p.place.model].name.clone(), decay, stroke, banded: full }
            })
            .collect();
        if drawn.is_empty() {
            continue;
        }
        let axes = axes(results, name.clone(), y, unit, results.measure.of_class.to_owned());
        panels.push(Panel::new(name.clone(), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            chart.level(results.measure.class_floors[class], Stroke::dotted(Colour::Muted, 1.8));
            draw(&chart, unit, &drawn);
        }));
    }
    let mut keys: Vec<Key> =
        here.iter().map(|p| Key::series(study.models[p.place.model].name.clone(), "line", Colour::Series(p.place.model))).collect();
    if here.iter().any(|p| p.decays.iter().any(|d| d.context == Context::MaskedPrompt)) {
        keys.push(Key::new("masked prompt", "dash", Colour::Muted));
    }
    keys.push(Key::new("no signal", "dot", Colour::Muted));
    let what = if results.measure.of_class == "informedness" {
        "Informedness of each class: its recall minus the share of other rows that are falsely called so, which is 0 for a probe that has lost the signal, however often it names the class.".to_owned()
    } else {
        format!("{} of each class.", super::capital(results.measure.of_class))
    };
    Some(Figure {
        name: "persistence-classes",
        title: format!("Decay of each class, condition {}", study.conditions[condition].name),
        caption: format!("{what} Offsets on a log scale. Solid: full context. Dashed: masked prompt."),
        alt: format!("Curves of {} over offsets, one panel per class, one colour per model.", results.measure.of_class),
        keys,
        panels,
        data: table(study, results.persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_some()).map(move |d| (p, d)))),
    })
}

/// Half-life of each class's signal with its interval, one panel per model, under one condition.
pub fn half_life(study: &Study, results: &Results) -> Option<Figure> {
    let condition = shown_condition(results)?;
    let longest = study.classes.iter().map(|c| text_width(c, 11.0)).fold(0.0, f64::max);
    let left = (longest + 16.0).clamp(50.0, 150.0);
    let mut data = Data::new(&["model", "condition", "class", "towards", "half_life", "lo", "hi", "state"]);
    let mut panels = Vec::new();
    for p in &results.persistence {
        let rows: Vec<(usize, &Decay)> =
            (0..study.classes.len()).filter_map(|c| Some((c, p.decay(primary(results), Context::Full, Some(c))?))).collect();
        for (class, d) in &rows {
            for f in &d.fits {
                let (state, value, lo, hi) = in_cells(&f.half_life);
                let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name, &study.classes[*class]];
                let mut row: Vec<String> = names.into_iter().cloned().collect();
                row.push(f.towards.map_or("majority", Context::as_str).to_owned());
                row.extend([value, lo, hi, state.to_owned()]);
                data.push(row);
            }
        }
        let known = |d: &Decay| d.main().is_some_and(|f| matches!(f.half_life, HalfLife::Reached { .. } | HalfLife::NotReached { .. }));
        if p.place.condition != condition || !rows.iter().any(|(_, d)| known(d)) {
            continue;
        }
        panels.push(half_lives(study, p, &rows, left));
    }
    let towards = results.persistence.iter().flat_map(|p| &p.decays).find(|d| d.class.is_some()).and_then(|d| d.main()?.towards);
    let towards = towards.map_or_else(|| "no signal".to_owned(), |c| format!("the level of the {} control", c.as_str()));
    Some(Figure {
        name: "half-life",
        title: format!("How long each class lasts, condition {}", study.conditions[condition].name),
        caption: format!(
            "Half-life of an exponential decay of each class's {} towards {towards}, with bootstrap intervals (log scale). A line that runs off the panel (›) has no end within the measured offsets; a class without a mark has no signal to lose.",
            results.measure.of_class
        ),
        alt: "Dots with whiskers: half-life in tokens per class, one panel per model.".to_owned(),
        keys: Vec::new(),
        panels,
        data,
    })
}

fn in_cells(h: &HalfLife) -> (&'static str, String, String, String) {
    let end = |v: &Option<f64>| v.map_or_else(String::new, data::number);
    match h {
        HalfLife::Reached { tokens, lo, hi } => ("reached", data::number(*tokens), end(lo), end(hi)),
        HalfLife::NotReached { lo, .. } => ("not reached", String::new(), end(lo), String::new()),
        HalfLife::NoSignal => ("no signal", String::new(), String::new(), String::new()),
        HalfLife::TooFew => ("too few offsets", String::new(), String::new(), String::new()),
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
    let said = |c: usize, d: &Decay| {
        d.main().map_or_else(String::new, |f| format!("{} {}", study.classes[c], half_life_words(&f.half_life, within)))
    };
    let words: Vec<String> = rows.iter().map(|(c, d)| said(*c, d)).collect();
    Panel::new(format!("{}: {}", axes.title, words.join("; ")), height, |pen| {
        let chart = Chart::new(pen, &axes, height, left);
        for (i, (class, d)) in rows.iter().enumerate() {
            let y = n - 1.0 - i as f64;
            let colour = Colour::Series(*class);
            let x = |tokens: f64| tokens.ln_1p();
            match d.main().map(|f| &f.half_life) {
                Some(HalfLife::Reached { tokens, lo, hi }) => {
                    let ends = lo.map(|lo| (x(lo), hi.map_or(top * 1.09, x)));
                    chart.lying_whisker(y, x(*tokens), ends, colour, 0.0, said(*class, d));
                }
                Some(HalfLife::NotReached { lo, .. }) => {
                    chart.line(&[(lo.map_or(top, x), y), (top * 1.07, y)], Stroke::solid(colour, 1.8));
                    chart.mark(top * 1.04, y, said(*class, d));
                    let script = Script { bold: true, colour: colour.hex(), ..Script::new(16.0, Colour::Ink, Align::Center) };
                    pen.text((WIDTH - 12.0, chart.y(y)), "›", script);
                }
                Some(HalfLife::NoSignal | HalfLife::TooFew) | None => {}
            }
        }
    })
}
