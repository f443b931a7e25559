//! The section about what replies express.

use std::collections::BTreeSet;

use super::comparisons;
use super::section::{Cell, Section};
use crate::figures::Figure;
use crate::results::{Kappa, Results, Source, Verdict};
use crate::study::Study;
use crate::wording::{Unit, count, list};

/// What replies express; none where nobody judged them.
pub fn replies(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.verdicts.is_empty() {
        return None;
    }
    let mut section = Section::new("malleability", "Malleability");
    let name = |model: usize| study.models[model].name.clone();
    let judges: Vec<String> = results.judges().into_iter().map(name).collect();
    let judging = if judges.len() == 1 { "judges by its likelihood" } else { "judge, each by its likelihood" };
    section.say(format!(
        "What do the replies express under each system prompt, against the label of the utterance? {} {judging} of each label; the probe looks at the states of the reply's tokens (probabilities averaged over the measured offsets).",
        list(&judges)
    ));
    if let Some(own) = own(study, results) {
        section.say(own);
    }
    for figure in ["replies-kept", "replies-recall", "replies-precision", "replies-shift"] {
        section.figure(figures, figure);
    }
    let with_probe = |v: &Verdict| {
        let of = |k: &&Kappa| k.place == v.place && k.with == Source::Probe && Source::Judge { model: k.judge } == v.source;
        results.kappas.iter().find(of).map_or_else(|| "–".into(), |k| Unit::Real.estimate(k.kappa).into())
    };
    let rows = results.verdicts.iter().map(|v| {
        let who = match v.source {
            Source::Judge { model } => format!("judge {}{}", name(model), if v.of_itself() { " (of itself)" } else { "" }),
            Source::Probe => "probe".to_owned(),
        };
        let most = most_expressed(&v.shift)
            .map_or_else(|| "–".to_owned(), |(class, share)| format!("{} ({})", study.classes[class], Unit::Share.value(share)));
        vec![
            Cell::from(name(v.place.model)),
            study.conditions[v.place.condition].name.clone().into(),
            who.into(),
            Unit::Share.estimate(v.kept).into(),
            most.into(),
            with_probe(v),
            count(v.kept.n as u64).into(),
        ]
    });
    section.table(
        "Replies that express the utterance's label; most expressed: the label that most replies express; kappa: agreement of judge and probe beyond chance (Cohen 1960)",
        &["model", "condition", "who", "#kept", "most expressed", "#kappa with the probe", "#replies"],
        rows.collect(),
    );
    let between = results.kappas.iter().filter_map(|k| {
        let Source::Judge { model: other } = k.with else { return None };
        let names = [k.place.model, k.judge, other].map(name);
        let own = [k.judge, other].into_iter().find(|judge| *judge == k.place.model).map_or_else(|| "–".to_owned(), name);
        let [model, first, second] = names;
        let condition = study.conditions[k.place.condition].name.clone();
        let kappa = Cell::sorted(Unit::Real.estimate(k.kappa), k.kappa.value);
        let names = [model, condition, first, second, own].map(Cell::from);
        Some(names.into_iter().chain([kappa, count(k.kappa.n as u64).into()]).collect::<Vec<Cell>>())
    });
    section.table(
        "Agreement of the judges on the same replies beyond chance (Cohen's kappa); judges itself: which of the two wrote them",
        &["model", "condition", "judge", "other judge", "judges itself", "#kappa", "#replies"],
        between.collect(),
    );
    section.table(
        format!(
            "Kept labels, each condition minus {}, paired, in points; {}",
            study.conditions[0].name,
            comparisons::note_of(results, "replies")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "replies"),
    );
    Some(section)
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

fn most_expressed(shift: &[Vec<usize>]) -> Option<(usize, f64)> {
    let classes = shift.len();
    let of = |class: usize| shift.iter().map(|row| row[class]).sum::<usize>();
    let all: usize = (0..classes).map(of).sum();
    let most = (0..classes).max_by_key(|c| (of(*c), classes - c))?;
    (all > 0).then(|| (most, of(most) as f64 / all as f64))
}
