//! The section about what replies express.

use std::collections::BTreeSet;

use super::comparisons;
use super::findings::dominant;
use super::section::{Cell, DASH, Section, dash};
use crate::figures::Figure;
use crate::results::{Results, Source, Spread, Verdict};
use crate::study::Study;
use crate::wording::{Notation, count, list, reading};

/// What replies express; none where nobody judged them.
pub fn replies(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.verdicts.is_empty() {
        return None;
    }
    let mut section = Section::new("malleability", "Malleability");
    let name = |model: usize| study.models[model].name.clone();
    let judges: Vec<String> = results.judges().into_iter().map(name).collect();
    let judging = if judges.len() == 1 { "judges by its likelihood" } else { "judge, each by its likelihood" };
    let calibrated = study.asked().iter().filter_map(|spec| spec.judge.as_ref()).any(|judge| !judge.content_free.is_empty());
    let calibrated = if calibrated { ", calibrated by texts without content" } else { "" };
    section.say(format!(
        "What do the replies express {}, against the label of the utterance? {} {judging} of each label{calibrated}.",
        judged(study, results),
        list(&judges)
    ));
    section.lead.extend(results.reading.map(|r| format!("Probe: {}; probabilities are averaged over the measured offsets.", reading(r))));
    if results.verdicts.iter().any(|v| v.spread.is_some()) {
        section.lead.extend(super::persistence::sampled(study));
        section.lead.extend(widest(study, results));
    }
    if let Some(own) = own(study, results) {
        section.say(own);
    }
    section.lead.extend(dominant::of_replies(study, results));
    for figure in ["replies-kept", "replies-recall", "replies-precision", "replies-shift"] {
        section.figure(figures, figure);
    }
    let seeds = results.verdicts.iter().filter_map(|v| v.spread).map(|s| s.seeds).max();
    let spread = |of: Option<Spread>, notation: Notation| of.map_or_else(dash, |s| Cell::sorted(notation.spread(s), s.width()));
    let with_probe = |v: &Verdict| {
        results.kappas.iter().find(|k| k.place == v.place && k.with == Source::Probe && Source::Judge { model: k.judge } == v.source)
    };
    let rows = results.verdicts.iter().map(|v| {
        let who = match v.source {
            Source::Judge { model } => format!("judge {}{}", name(model), if v.of_itself() { " (of itself)" } else { "" }),
            Source::Probe => "probe".to_owned(),
        };
        let most = v
            .most_expressed()
            .map_or_else(|| DASH.to_owned(), |(class, share)| format!("{} ({})", study.classes[class], Notation::Share.value(share)));
        let agreement = with_probe(v);
        let mut row = vec![
            Cell::from(name(v.place.model)),
            study.conditions[v.place.condition].name.clone().into(),
            who.into(),
            Notation::Share.estimate(v.kept).into(),
            most.into(),
            agreement.map_or_else(dash, |k| Notation::Real.estimate(k.kappa).into()),
            count(v.kept.n as u64).into(),
        ];
        if seeds.is_some() {
            row.extend([spread(v.spread, Notation::Share), spread(agreement.and_then(|k| k.spread), Notation::Real)]);
        }
        row
    });
    let mut columns = vec!["model", "condition", "who", "#kept", "most expressed", "#kappa with the probe", "#replies"];
    let mut caption = "Replies that express the utterance's label; most expressed: the label that most replies express; kappa: agreement of judge and probe beyond chance (Cohen 1960)".to_owned();
    caption += &results.reading.map_or_else(String::new, |r| format!("; probe: {}", reading(r)));
    if let Some(seeds) = seeds {
        columns.extend(["#kept between seeds", "#kappa between seeds"]);
        caption += &format!("; between seeds: from the lowest to the highest of {seeds} sampling seeds, with the standard deviation");
    }
    section.table(caption, &columns, rows.collect());
    let between = results.kappas.iter().filter_map(|k| {
        let Source::Judge { model: other } = k.with else { return None };
        let names = [k.place.model, k.judge, other].map(name);
        let own = [k.judge, other].into_iter().find(|judge| *judge == k.place.model).map_or_else(|| DASH.to_owned(), name);
        let [model, first, second] = names;
        let condition = study.conditions[k.place.condition].name.clone();
        let kappa = Cell::sorted(Notation::Real.estimate(k.kappa), k.kappa.value);
        let names = [model, condition, first, second, own].map(Cell::from);
        let mut row: Vec<Cell> = names.into_iter().chain([kappa, count(k.kappa.n as u64).into()]).collect();
        if seeds.is_some() {
            row.push(spread(k.spread, Notation::Real));
        }
        Some(row)
    });
    let mut columns = vec!["model", "condition", "judge", "other judge", "judges itself", "#kappa", "#replies"];
    columns.extend(seeds.map(|_| "#kappa between seeds"));
    section.table(
        "Agreement of the judges on the same replies beyond chance (Cohen's kappa); judges itself: which of the two wrote them",
        &columns,
        between.collect(),
    );
    section.table(
        format!(
            "Kept labels, paired, in points: {}; {}",
            results.contrasts_of_replies().words(study),
            comparisons::note_of(results, "replies")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "replies"),
    );
    Some(section)
}

/// The conditions whose replies were judged, where they are few: `under raw and calm`.
fn judged(study: &Study, results: &Results) -> String {
    let conditions: BTreeSet<usize> = results.verdicts.iter().map(|v| v.place.condition).collect();
    match conditions.len() {
        1..=8 => format!("under {}", list(&conditions.iter().map(|c| study.conditions[*c].name.clone()).collect::<Vec<_>>())),
        n => format!("under each of {n} conditions"),
    }
}

/// Where kept labels differ most between sampling seeds, in words.
fn widest(study: &Study, results: &Results) -> Option<String> {
    let spreads = results.verdicts.iter().filter_map(|v| Some((v, v.spread?)));
    let (v, spread) = spreads.max_by(|a, b| a.1.width().total_cmp(&b.1.width()))?;
    let who = match v.source {
        Source::Judge { model } => format!("judge {}", study.models[model].name),
        Source::Probe => "the probe".to_owned(),
    };
    Some(format!(
        "Between the {} sampling seeds the share of kept labels differs by {} points at most: {} in {}, {}, by {who}.",
        spread.seeds,
        Notation::Share.difference(spread.width()).replace('+', ""),
        Notation::Share.spread(spread),
        study.models[v.place.model].name,
        study.conditions[v.place.condition].name,
    ))
}

/// Which models judge replies of their own; none where nobody does.
fn own(study: &Study, results: &Results) -> Option<String> {
    let own: BTreeSet<usize> = results.verdicts.iter().filter(|v| v.of_itself()).map(|v| v.place.model).collect();
    let names: Vec<String> = own.iter().map(|model| study.models[*model].name.clone()).collect();
    let what = if names.len() == 1 { "judges its own replies" } else { "judge their own replies, each beside the others'" };
    (!names.is_empty()).then(|| {
        format!(
            "{} {what}: where a model judges replies of its own, or of its own family, its verdicts are no independent evidence.",
            list(&names)
        )
    })
}
