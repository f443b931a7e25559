//! What replies express: kept labels, recall and precision, and where labels go.

use super::conditions::{Dot, Rows, rows_range};
use super::data::{self, Data};
use super::heat::{Grid, key, panels};
use super::palette::Colour;
use super::{Figure, Key, spread_key};
use crate::results::{Estimate, Results, Source, Verdict};
use crate::study::Study;
use crate::wording::{Notation, reading};

/// Who says it, in words.
pub fn source(study: &Study, source: Source) -> String {
    match source {
        Source::Judge { model } => format!("judge {}", study.models[model].name),
        Source::Probe => "probe on the reply".to_owned(),
    }
}

/// Which probe it is, for captions; nothing where none reads replies.
fn probe(results: &Results) -> String {
    results.reading.map_or_else(String::new, |r| format!(" Probe: {}.", reading(r)))
}

/// Who says it, in as few words as tell the sources apart.
fn short(study: &Study, results: &Results, source: Source) -> String {
    match source {
        Source::Judge { .. } if results.judges().len() < 2 => "judge".to_owned(),
        Source::Judge { .. } => self::source(study, source),
        Source::Probe => "probe".to_owned(),
    }
}

/// The colours of judges, which repeat; the probe has the one between them.
const OF_JUDGES: [usize; 6] = [0, 2, 3, 4, 5, 6];

fn colour(results: &Results, source: Source) -> Colour {
    match source {
        Source::Judge { model } => {
            let at = results.judges().iter().position(|judge| *judge == model).unwrap_or(0);
            Colour::Series(OF_JUDGES[at % OF_JUDGES.len()])
        }
        Source::Probe => Colour::Series(1),
    }
}

fn models(study: &Study, results: &Results) -> Vec<usize> {
    (0..study.models.len()).filter(|m| results.verdicts.iter().any(|v| v.place.model == *m)).collect()
}

/// The conditions of a model with verdicts, ascending.
fn conditions(results: &Results, model: usize) -> Vec<usize> {
    let mut all: Vec<usize> = results.verdicts.iter().filter(|v| v.place.model == model).map(|v| v.place.condition).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How many replies keep the utterance's label, one panel per model, one row per condition.
pub fn kept(study: &Study, results: &Results) -> Option<Figure> {
    let several = results.verdicts.iter().any(|v| v.spread.is_some());
    let columns = ["model", "condition", "who", "value", "lo", "hi", "n"].into_iter().chain(data::SPREAD.into_iter().filter(|_| several));
    let mut data = Data::new(&columns.collect::<Vec<_>>());
    let mut keys: Vec<Key> = Vec::new();
    let mut all = Vec::new();
    for model in models(study, results) {
        let row = |condition: usize| {
            let name = study.conditions[condition].name.clone();
            let here = results.verdicts.iter().filter(|v| (v.place.model, v.place.condition) == (model, condition));
            let dots = here.map(|v| {
                let who = source(study, v.source);
                let mut cells = vec![study.models[model].name.clone(), name.clone(), who.clone()];
                cells.extend(data::estimate(Some(v.kept)));
                if several {
                    cells.extend(data::spread(v.spread));
                }
                data.push(cells);
                if !keys.iter().any(|k| k.label == who) {
                    keys.push(Key::series(who.clone(), "points", colour(results, v.source)));
                }
                let spread = v.spread.map_or_else(String::new, |s| format!("; {} seeds: {}", s.seeds, Notation::Share.spread(s)));
                let words = format!("{name}, {who}: {}{spread}", Notation::Share.estimate(v.kept));
                Dot { series: who, colour: colour(results, v.source), estimate: v.kept, spread: v.spread, words }
            });
            (name.clone(), dots.collect())
        };
        let rows = conditions(results, model).into_iter().map(row).collect();
        let floor = if results.measure.share { results.measure.floor } else { f64::NAN };
        all.push(Rows { title: study.models[model].name.clone(), rows, levels: vec![(floor, "majority".to_owned())] });
    }
    keys.push(Key::new("majority", "dot", Colour::Muted));
    keys.extend(spread_key(results.verdicts.iter().filter_map(|v| v.spread)));
    let x = rows_range(Notation::Share, &all);
    Some(Figure {
        name: "replies-kept",
        title: "How often the reply expresses the utterance's label".to_owned(),
        caption: format!(
            "Share of test rows whose reply expresses the label of the utterance, as each judging model and the probe see it, per prompt condition.{}",
            probe(results)
        ),
        alt: "Dots with whiskers: share of kept labels per prompt condition, one panel per model.".to_owned(),
        keys,
        panels: all.iter().map(|r| r.panel(Notation::Share, x, "replies that express the utterance's label")).collect(),
        data,
    })
}

fn per_class(
    study: &Study,
    results: &Results,
    name: &'static str,
    title: &str,
    caption: &str,
    of: impl Fn(&Verdict) -> &Vec<Option<Estimate>>,
) -> Option<Figure> {
    let mut data = Data::new(&["model", "condition", "who", "class", "value", "lo", "hi", "n"]);
    let mut grids = Vec::new();
    for model in models(study, results) {
        let here: Vec<&Verdict> = results.verdicts.iter().filter(|v| v.place.model == model).collect();
        for v in &here {
            for (class, e) in study.classes.iter().zip(of(v)) {
                let names = [&study.models[model].name, &study.conditions[v.place.condition].name];
                let mut row: Vec<String> = names.into_iter().cloned().collect();
                row.extend([source(study, v.source), class.clone()]);
                row.extend(data::estimate(*e));
                data.push(row);
            }
        }
        let mut order: Vec<&&Verdict> = here.iter().collect();
        order.sort_by_key(|v| (v.source, v.place.condition));
        grids.push(Grid {
            title: study.models[model].name.clone(),
            rows: order
                .iter()
                .map(|v| format!("{} · {}", study.conditions[v.place.condition].name, short(study, results, v.source)))
                .collect(),
            columns: study.classes.clone(),
            cells: order.iter().map(|v| of(v).iter().map(|e| e.map(|e| e.value)).collect()).collect(),
            turned: true,
            names: ("", "class"),
            ..Grid::default()
        });
    }
    let range = super::heat::range(&grids, Notation::Share);
    Some(Figure {
        name,
        title: title.to_owned(),
        caption: format!("{caption}{}", probe(results)),
        alt: format!("Heat maps: {title}, one panel per model, conditions as rows and classes as columns."),
        keys: vec![key(Notation::Share, range)],
        panels: panels(&grids, Notation::Share, range),
        data,
    })
}

/// Recall per class of the utterance.
pub fn recall(study: &Study, results: &Results) -> Option<Figure> {
    let caption = "Of the utterances of each class, the share (in percent) whose reply expresses it.";
    per_class(study, results, "replies-recall", "Recall of each class in the replies", caption, |v| &v.recall)
}

/// Precision per class of the reply.
pub fn precision(study: &Study, results: &Results) -> Option<Figure> {
    let caption = "Of the replies that express each class, the share (in percent) whose utterance was of it. Grey: no reply expresses it.";
    per_class(study, results, "replies-precision", "Precision of each class in the replies", caption, |v| &v.precision)
}

/// Where the labels go: class of the utterance x class of the reply, one panel per model, condition and source.
pub fn shift(study: &Study, results: &Results) -> Option<Figure> {
    let mut data = Data::new(&["model", "condition", "who", "utterance", "reply", "replies"]);
    let mut grids = Vec::new();
    let mut order: Vec<&Verdict> = results.verdicts.iter().collect();
    // The probe's beside the judges' of the same replies.
    order.sort_by_key(|v| (v.place, v.source));
    for v in order {
        let who = source(study, v.source);
        let (model, condition) = (&study.models[v.place.model].name, &study.conditions[v.place.condition].name);
        for (from, row) in study.classes.iter().zip(&v.shift) {
            for (to, n) in study.classes.iter().zip(row) {
                data.push(vec![model.clone(), condition.clone(), who.clone(), from.clone(), to.clone(), n.to_string()]);
            }
        }
        let share = |row: &Vec<usize>| -> Vec<Option<f64>> {
            let all: usize = row.iter().sum();
            row.iter().map(|n| (all > 0).then(|| *n as f64 / all as f64)).collect()
        };
        grids.push(Grid {
            title: format!("{model} · {condition} · {}", short(study, results, v.source)),
            rows: study.classes.clone(),
            columns: study.classes.clone(),
            cells: v.shift.iter().map(share).collect(),
            x_label: "the reply expresses",
            y_label: "utterance",
            turned: true,
            names: ("utterance", "reply"),
            ..Grid::default()
        });
    }
    Some(Figure {
        name: "replies-shift",
        title: "Where labels go from utterance to reply".to_owned(),
        caption: format!("Of the utterances of each class (rows, in percent), what their replies express (columns).{}", probe(results)),
        alt: "Heat maps: class of the utterance as rows, class of the reply as columns, one panel per model, condition and source."
            .to_owned(),
        keys: vec![key(Notation::Share, (0.0, 1.0))],
        panels: panels(&grids, Notation::Share, (0.0, 1.0)),
        data,
    })
}
