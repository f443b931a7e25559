//! Sentences about who gives nearly all rows the same label.

use std::collections::BTreeSet;

use crate::results::{Caller, DOMINANT, Dominant, Results, Source};
use crate::study::Study;
use crate::wording::list;

/// So many places are named in a sentence; more are counted.
const NAMED: usize = 6;

/// `more than 90%`.
pub fn bound() -> String {
    format!("more than {:.0}%", DOMINANT * 100.0)
}

/// One sentence for every judge, and for the probe, whose calls of some replies are nearly all of one label.
pub fn of_replies(study: &Study, results: &Results) -> Vec<String> {
    let sources: BTreeSet<Source> = results.verdicts.iter().map(|v| v.source).collect();
    sources.into_iter().filter_map(|source| of_source(study, results, source)).collect()
}

fn of_source(study: &Study, results: &Results, source: Source) -> Option<String> {
    let found: Vec<&Dominant> = results.dominant.iter().filter(|d| d.caller == Caller::Replies(source)).collect();
    let most = found.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
    let models: BTreeSet<usize> = results.verdicts.iter().map(|v| v.place.model).collect();
    let place = |d: &Dominant| {
        let condition = study.condition_name(d.condition);
        let whose = if models.len() > 1 { format!("{}, {condition}", study.models[d.model].name) } else { condition.to_owned() };
        format!("{whose} ({})", d.words(study))
    };
    let of = results.verdicts.iter().filter(|v| v.source == source).count();
    let places = if found.len() <= NAMED {
        list(&found.iter().map(|d| place(d)).collect::<Vec<_>>())
    } else {
        format!("{} of {of} places, most of all {}", found.len(), place(most))
    };
    Some(format!(
        "{} gives one label to {} of the replies in {places}: there its calls tell hardly one reply from another, and what rests on them says nothing of what replies express.",
        match source {
            Source::Judge { model } => format!("Judge {}", study.models[model].name),
            Source::Probe => "The probe".to_owned(),
        },
        bound()
    ))
}

/// Whose answers to a question are nearly all one label.
pub fn of_baseline(study: &Study, results: &Results, name: &str) -> Option<String> {
    let found: Vec<&Dominant> = results.dominant.iter().filter(|d| matches!(d.caller, Caller::Baseline(n) if n == name)).collect();
    let most = found.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
    let place = |d: &Dominant| format!("{} ({})", study.models[d.model].name, d.words(study));
    let of = results.baselines.iter().filter(|b| b.probe == name).count();
    let models = if found.len() <= NAMED {
        list(&found.iter().map(|d| place(d)).collect::<Vec<_>>())
    } else {
        format!("{} of {of} models, most of all {}", found.len(), place(most))
    };
    Some(format!("By {name}, one label is {} of the answers of {models}: they hardly tell one row from another.", bound()))
}

/// `; in 4 of 5 cases …`, behind what rests on some calls; nothing where none is dominated.
pub fn behind(dominated: usize, of: usize, what: &str) -> String {
    match (dominated, of) {
        (0, _) => String::new(),
        (_, 1) => format!("; {what}"),
        (k, n) if k == n => format!("; in all {n} cases {what}"),
        (k, n) => format!("; in {k} of {n} cases {what}"),
    }
}
