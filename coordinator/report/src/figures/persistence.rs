//! Decay of the signal over offsets: per condition, per context and probe, and per class.

use limbic_proto::axis::Context;

use super::chart::{Axes, BANDED, Chart, HEIGHT, ends, range, thin, ticks};
use super::data::{self, Data};
use super::depth::{control_mark, control_stroke};
use super::palette::Colour;
use super::pen::Stroke;
use super::{Figure, Key, Panel, spread_key};
use crate::results::{ControlCurve, Decay, Estimate, Persistence, Results, Spread};
use crate::study::Study;
use crate::wording::{Notation, capital, decay as decay_words, list};

/// Offsets are spaced by the logarithm of 1 + k, so that the first tokens aren't squeezed.
pub fn at(offset: u32) -> f64 {
    f64::from(offset).ln_1p()
}

fn points(decay: &Decay) -> Vec<(f64, Estimate)> {
    decay.points.iter().map(|(k, e)| (at(*k), *e)).collect()
}

fn axes(results: &Results, title: String, y: (f64, f64), notation: Notation, y_label: String) -> Axes {
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
        y_ticks: ticks(y, 5, |v| notation.tick(v)),
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

/// What the axis of some decays must hold: intervals, and from the lowest to the highest sampling seed.
fn extent<'a>(decays: impl Iterator<Item = &'a Decay> + Clone) -> impl Iterator<Item = f64> {
    let spreads = decays.clone().flat_map(|d| d.spreads().flat_map(|(_, s)| [s.lowest, s.highest]).collect::<Vec<_>>());
    ends(decays.flat_map(|d| d.points.iter().map(|p| p.1))).chain(spreads)
}

/// All spreads over sampling seeds in some decays.
fn spreads<'a>(decays: impl Iterator<Item = &'a Decay>) -> impl Iterator<Item = Spread> {
    decays.flat_map(|d| d.spread.iter().copied().flatten())
}

/// Bands, then lines.
fn draw(chart: &Chart<'_>, notation: Notation, drawn: &[Drawn<'_>]) {
    for d in drawn.iter().filter(|d| d.banded) {
        chart.pen.series(&d.name, || chart.band(&points(d.decay), d.stroke.colour));
    }
    for d in drawn {
        chart.pen.series(&d.name, || {
            chart.curve(&points(d.decay), d.stroke, d.stroke.dash.is_none());
            d.decay.spreads().for_each(|(k, spread)| chart.span(at(k), spread, d.stroke.colour));
            for (i, (k, e)) in d.decay.points.iter().enumerate() {
                let context = if d.decay.context == Context::Full { String::new() } else { format!(", {}", d.decay.context.as_str()) };
                let spread = d.decay.spread.get(i).copied().flatten();
                let spread = spread.map_or_else(String::new, |s| format!("; {} seeds: {}", s.seeds, notation.spread(s)));
                chart.mark(at(*k), e.value, format!("{}{context}, offset {k}: {}{spread}", d.name, notation.estimate(*e)));
            }
        });
    }
}

/// What a curve would be without any signal, at each offset on the rows that reach it.
fn floor(decay: &Decay) -> impl Iterator<Item = (u32, f64)> + '_ {
    decay.to_majority().into_iter().flat_map(|fit| fit.offsets.iter().copied().zip(fit.floor.iter().copied()))
}

/// The floors of the curves in full context: one level line where all are the same at every offset, else one line for each.
fn floors(chart: &Chart<'_>, everywhere: f64, drawn: &[Drawn<'_>]) {
    let stroke = Stroke::dotted(Colour::Muted, 1.8);
    let full: Vec<Vec<(u32, f64)>> =
        drawn.iter().map(|d| d.decay).filter(|d| d.context == Context::Full && !d.transferred).map(|d| floor(d).collect()).collect();
    if full.iter().flatten().all(|(_, level)| (level - everywhere).abs() < 1e-12) {
        chart.level(everywhere, stroke);
    } else {
        full.iter().for_each(|line| chart.line(&line.iter().map(|(k, level)| (at(*k), *level)).collect::<Vec<_>>(), stroke));
    }
}

/// The probe that curves are about.
pub fn primary(results: &Results) -> &str {
    results.probe.as_deref().unwrap_or("")
}

/// The columns of a table of decays; what sampling seeds say apart where there are several.
fn columns(several: bool) -> Vec<&'static str> {
    let always = ["model", "condition", "layer", "probe", "fitted", "context", "class", "control", "offset", "value", "lo", "hi", "n"];
    always.into_iter().chain(data::SPREAD.into_iter().filter(|_| several)).collect()
}

/// Whether sampling seeds say anything apart.
fn several(results: &Results) -> bool {
    results.persistence.iter().flat_map(|p| &p.decays).any(|d| !d.spread.is_empty())
}

fn table<'a>(study: &Study, results: &Results, of: impl Iterator<Item = (&'a Persistence, &'a Decay)>) -> Data {
    let several = several(results);
    let mut data = Data::new(&columns(several));
    for (p, d) in of {
        for (i, (k, e)) in d.points.iter().enumerate() {
            let mut row = vec![
                study.models[p.place.model].name.clone(),
                study.conditions[p.place.condition].name.clone(),
                p.layer.to_string(),
                d.probe.clone(),
                if d.transferred { "at offset 0" } else { "at each offset" }.to_owned(),
                d.context.as_str().to_owned(),
                d.class.map_or_else(String::new, |c| study.classes[c].clone()),
                String::new(),
                k.to_string(),
            ];
            row.extend(data::estimate(Some(*e)));
            if several {
                row.extend(data::spread(d.spread.get(i).copied().flatten()));
            }
            data.push(row);
        }
    }
    data
}

/// The measure over offsets, one panel per model, one colour per condition: full context and masked prompt.
pub fn conditions(study: &Study, results: &Results) -> Option<Figure> {
    let notation = Notation::of(&results.measure);
    let shown = |d: &&Decay| {
        d.class.is_none() && !d.transferred && d.probe == primary(results) && matches!(d.context, Context::Full | Context::MaskedPrompt)
    };
    let all = results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown));
    let everywhere = results.measure.floor;
    let y = range(notation, extent(all.clone()).chain(all.flat_map(floor).map(|f| f.1)).chain([everywhere]));
    let mut panels = Vec::new();
    for (model, entry) in study.models.iter().enumerate() {
        let here: Vec<&Persistence> = results.persistence.iter().filter(|p| p.place.model == model).collect();
        if here.is_empty() {
            continue;
        }
        let axes = axes(results, entry.name.clone(), y, notation, format!("test {}", results.measure.words));
        let drawn: Vec<Drawn<'_>> = here
            .iter()
            .flat_map(|p| p.decays.iter().filter(shown).map(move |d| (p, d)))
            .map(|(p, decay)| {
                let colour = Colour::Series(p.place.condition);
                let full = decay.context == Context::Full;
                let stroke = if full { Stroke::solid(colour, 2.0) } else { Stroke::dashed(colour, 1.6) };
                Drawn { name: study.conditions[p.place.condition].name.clone(), decay, stroke, banded: here.len() <= BANDED }
            })
            .collect();
        let words = |p: &&Persistence| {
            let fit = p.decay(primary(results), Context::Full, None).and_then(Decay::main);
            let half = fit.map_or_else(String::new, decay_words);
            format!("{}, layer {}, half-life {half}", study.conditions[p.place.condition].name, p.layer)
        };
        let label = format!("{}: {}", entry.name, here.iter().map(words).collect::<Vec<_>>().join("; "));
        panels.push(Panel::new(label, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            floors(&chart, everywhere, &drawn);
            draw(&chart, notation, &drawn);
        }));
    }
    let named = (0..study.conditions.len()).filter(|c| results.persistence.iter().any(|p| p.place.condition == *c));
    let mut keys: Vec<Key> = named.map(|c| Key::series(study.conditions[c].name.clone(), "line", Colour::Series(c))).collect();
    let masked = results.persistence.iter().any(masked);
    if masked {
        keys.push(Key::new("masked prompt", "dash", Colour::Muted));
    }
    let (dashed, control) = if masked {
        (
            " Dashed: the continuation was encoded again without its prompt, so what is left lies in the continuation itself.",
            ", dashed for the masked-prompt control",
        )
    } else {
        ("", "")
    };
    keys.push(Key::new(results.measure.level(), "dot", Colour::Muted));
    keys.extend(spread_key(spreads(results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown)))));
    Some(Figure {
        name: "persistence-conditions",
        title: format!("Decay of {} over offsets", results.measure.words),
        caption: format!(
            "Test {} at the layer that is best on average over offsets, against the number of tokens after the prompt (log scale). Solid: the prompt is in the context.{dashed} Dotted: {}, on the rows whose replies reach the offset.",
            results.measure.words,
            results.measure.the_level()
        ),
        alt: format!("Curves of {} over offsets, one panel per model, one colour per condition{control}.", results.measure.words),
        keys,
        panels,
        data: table(
            study,
            results,
            results.persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_none()).map(move |d| (p, d))),
        ),
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
    let notation = Notation::of(&results.measure);
    let shown = |d: &&Decay| {
        let main = d.probe == primary(results);
        d.class.is_none()
            && (main && (!d.transferred || d.context == Context::Full) || d.probe == "offset-mlp" && d.context == Context::Full)
    };
    let several = results.persistence.iter().any(|p| p.decays.iter().filter(shown).count() + p.controls.len() > 1);
    if !several {
        return None;
    }
    let all = results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown));
    let everywhere = results.measure.floor;
    let controls = results.persistence.iter().flat_map(|p| &p.controls).flat_map(|c| c.points.iter().flatten().map(|e| e.value));
    let y = range(notation, extent(all.clone()).chain(all.flat_map(floor).map(|f| f.1)).chain(controls).chain([everywhere]));
    let (mut panels, mut keys): (Vec<Panel>, Vec<Key>) = (Vec::new(), Vec::new());
    let mut named: Vec<&'static str> = Vec::new();
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
        for c in &p.controls {
            if !named.contains(&c.control) {
                named.push(c.control);
            }
        }
        let axes = axes(results, title.clone(), y, notation, format!("test {}", results.measure.words));
        panels.push(Panel::new(title, HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            floors(&chart, everywhere, &drawn);
            p.controls.iter().for_each(|c| control(&chart, notation, p, c));
            draw(&chart, notation, &drawn);
        }));
    }
    keys.extend(named.iter().map(|c| Key::series(*c, control_mark(c), Colour::Ink)));
    keys.push(Key::new(results.measure.level(), "dot", Colour::Muted));
    keys.extend(spread_key(spreads(results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown)))));
    let mut data = table(study, results, results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown).map(move |d| (p, d))));
    results.persistence.iter().for_each(|p| control_rows(study, results, p, &mut data));
    Some(Figure {
        name: "persistence-curves",
        title: "What lasts, by control and by probe".to_owned(),
        caption: beside(results, &results.persistence.iter().flat_map(|p| p.decays.iter().filter(shown)).collect::<Vec<_>>(), &named),
        alt: "Curves over offsets, one panel per model and condition, one line per context, probe and control.".to_owned(),
        keys,
        panels,
        data,
    })
}

/// Whether anything was encoded again without its prompt.
fn masked(p: &Persistence) -> bool {
    p.decays.iter().any(|d| d.context == Context::MaskedPrompt)
}

/// What the probe fitted at each offset is drawn beside, those controls included.
fn beside(results: &Results, drawn: &[&Decay], controls: &[&str]) -> String {
    let main = |context: Context| drawn.iter().any(|d| d.probe == primary(results) && !d.transferred && d.context == context);
    let forward: Vec<String> =
        [Context::ShuffledReply, Context::Filler].iter().filter(|c| main(**c)).map(|c| c.as_str().replace('-', " ")).collect();
    let all = [
        main(Context::MaskedPrompt).then(|| "what the reply alone carries (masked prompt)".to_owned()),
        (!forward.is_empty()).then(|| format!("what the prompt alone carries forward ({})", forward.join(", "))),
        drawn.iter().any(|d| d.transferred).then(|| "the probe of offset 0 used unchanged at every offset".to_owned()),
        drawn.iter().any(|d| d.probe == "offset-mlp" && d.probe != primary(results)).then(|| "the offset-aware perceptron".to_owned()),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    let beside = if all.is_empty() { String::new() } else { format!(", beside {}", list(&all)) };
    let nothing = |control: &&str| match *control {
        "shuffled-labels" => "in shuffled labels".to_owned(),
        "random-direction" => "in random directions".to_owned(),
        _ => "in the model's untrained twin at the same offset of its own replies".to_owned(),
    };
    let nothing: Vec<String> = controls.iter().map(nothing).collect();
    let black = if nothing.is_empty() {
        String::new()
    } else {
        format!(" Black: what the same probe finds where there is nothing, {}.", list(&nothing))
    };
    format!("The probe fitted at each offset{beside}.{black}")
}

/// A control along the offsets.
fn control(chart: &Chart<'_>, notation: Notation, p: &Persistence, c: &ControlCurve) {
    let points = p.offsets.iter().zip(&c.points).filter_map(|(k, e)| Some((*k, (*e)?)));
    let points: Vec<(u32, Estimate)> = points.collect();
    chart.pen.series(c.control, || {
        let line: Vec<(f64, f64)> = points.iter().map(|(k, e)| (at(*k), e.value)).collect();
        chart.line(&line, control_stroke(c.control, Colour::Ink));
        for (k, e) in &points {
            chart.mark(at(*k), e.value, format!("{}, offset {k}: {}", c.control, notation.estimate(*e)));
        }
    });
}

/// The rows of a place's controls in the table of [`curves`].
fn control_rows(study: &Study, results: &Results, p: &Persistence, data: &mut Data) {
    for c in &p.controls {
        for (k, e) in p.offsets.iter().zip(&c.points).filter(|(_, e)| e.is_some()) {
            let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
            let mut row: Vec<String> = names.into_iter().cloned().collect();
            row.extend([p.layer.to_string(), primary(results).to_owned(), "at each offset".to_owned(), "full".to_owned()]);
            row.extend([String::new(), c.control.to_owned(), k.to_string()]);
            row.extend(data::estimate(*e));
            if several(results) {
                row.extend(data::spread(None));
            }
            data.push(row);
        }
    }
}

/// The condition that per-class figures are about: the first that was followed over offsets.
pub fn shown_condition(results: &Results) -> Option<usize> {
    results.persistence.iter().map(|p| p.place.condition).min()
}

/// What is followed per class over offsets, one panel per class, one colour per model, under one condition.
pub fn classes(study: &Study, results: &Results) -> Option<Figure> {
    let condition = shown_condition(results)?;
    let notation = Notation::of(&results.measure);
    let here: Vec<&Persistence> = results.persistence.iter().filter(|p| p.place.condition == condition).collect();
    let shown = |d: &&Decay| {
        d.class.is_some() && !d.transferred && d.probe == primary(results) && matches!(d.context, Context::Full | Context::MaskedPrompt)
    };
    let all = here.iter().flat_map(|p| p.decays.iter().filter(shown));
    let levels = results.measure.class_floors.iter().copied();
    let y = super::chart::signed_range(extent(all.clone()).chain(all.flat_map(floor).map(|f| f.1)).chain(levels));
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
        let axes = axes(results, name.clone(), y, notation, results.measure.of_class.to_owned());
        panels.push(Panel::new(name.clone(), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 54.0);
            floors(&chart, results.measure.class_floors[class], &drawn);
            draw(&chart, notation, &drawn);
        }));
    }
    let mut keys: Vec<Key> =
        here.iter().map(|p| Key::series(study.models[p.place.model].name.clone(), "line", Colour::Series(p.place.model))).collect();
    let masked = here.iter().copied().any(masked);
    if masked {
        keys.push(Key::new("masked prompt", "dash", Colour::Muted));
    }
    keys.push(Key::new("no signal", "dot", Colour::Muted));
    keys.extend(spread_key(spreads(here.iter().flat_map(|p| p.decays.iter().filter(shown)))));
    let what = if results.measure.of_class == "informedness" {
        "Informedness of each class: its recall minus the share of other rows that are falsely called so, which is 0 for a probe that has lost the signal, however often it names the class.".to_owned()
    } else {
        format!("{} of each class.", capital(results.measure.of_class))
    };
    Some(Figure {
        name: "persistence-classes",
        title: format!("Decay of each class, condition {}", study.conditions[condition].name),
        caption: format!("{what} Offsets on a log scale. Solid: full context.{}", if masked { " Dashed: masked prompt." } else { "" }),
        alt: format!("Curves of {} over offsets, one panel per class, one colour per model.", results.measure.of_class),
        keys,
        panels,
        data: table(
            study,
            results,
            results.persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_some()).map(move |d| (p, d))),
        ),
    })
}
