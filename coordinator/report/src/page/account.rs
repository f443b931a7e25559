//! The closing sections: what it cost, where every number comes from, what went wrong.

use std::collections::BTreeSet;

use super::{Block, Section};
use crate::results::Results;
use crate::study::Study;
use crate::wording::{bytes, count, duration, parameters};

/// Seconds, tokens and bytes by kind of unit.
pub fn cost(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("cost", "Cost");
    if results.costs.is_empty() {
        section.say("No unit has been committed yet, so nothing is known about cost.");
        return section;
    }
    let workers: BTreeSet<&str> = study.runs.iter().map(|r| r.worker.as_str()).collect();
    let devices: BTreeSet<&str> = study.runs.iter().map(|r| r.device.as_str()).collect();
    let seconds: f64 = results.costs.iter().map(|c| c.seconds).sum();
    let units: usize = results.costs.iter().map(|c| c.units).sum();
    section.say(format!(
        "{} units took {} of worker time on {} worker{} ({}).",
        count(units as u64),
        duration(seconds),
        workers.len(),
        if workers.len() == 1 { "" } else { "s" },
        devices.into_iter().collect::<Vec<_>>().join(", ")
    ));
    let rows = results.costs.iter().map(|c| {
        let rate = if c.tokens > 0 && c.seconds > 0.0 { count((c.tokens as f64 / c.seconds).round() as u64) } else { "–".to_owned() };
        let tokens = if c.tokens > 0 { count(c.tokens) } else { "–".to_owned() };
        vec![c.kind.to_owned(), count(c.units as u64), duration(c.seconds), duration(c.median_seconds), tokens, rate, bytes(c.bytes)]
    });
    section.table(
        "Committed attempts by kind of unit",
        &["kind", "#units", "#worker time", "#median unit", "#tokens", "#tokens per second", "#bytes written"],
        rows.collect(),
    );
    section
}

/// Models, software, seeds, spec.
pub fn provenance(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("provenance", "Provenance");
    section.say(format!(
        "Computed by {} for sweep {}. Intervals are {:.0}% percentile bootstrap intervals over {} groups of test rows ({} resamples, ChaCha8, seed {}); every metric and difference sees the same resamples.",
        study.software,
        study.sweep,
        study.options.confidence * 100.0,
        count(results.groups as u64),
        count(study.options.resamples as u64),
        study.seed
    ));
    let short = |digest: &str| digest.chars().take(16).collect::<String>();
    let rows = study.models.iter().map(|m| {
        vec![
            m.name.clone(),
            m.source.clone(),
            short(&m.digest),
            parameters(m.parameters),
            m.layers.to_string(),
            m.hidden.to_string(),
            m.dtype.clone(),
        ]
    });
    section.table("Models", &["model", "source", "digest", "#parameters", "#blocks", "#width", "number format"], rows.collect());
    let seeds: BTreeSet<u64> = study.predictions.iter().map(|p| p.seed).collect();
    let rows = vec![
        vec!["classes".to_owned(), study.classes.join(", ")],
        vec!["test rows".to_owned(), format!("{} in {} groups", count(results.rows as u64), count(results.groups as u64))],
        vec!["probe seeds".to_owned(), seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")],
    ];
    section.table("Data and seeds", &["what", "value"], rows);
    if let Ok(text) = serde_json::to_string_pretty(&study.spec) {
        section.blocks.push(Block::Code { caption: "The spec as it was accepted".to_owned(), text });
    }
    section
}

/// Notes, warnings and what failed for good.
pub fn notes(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("notes", "Notes");
    let items: Vec<String> = study.notes.iter().chain(&results.warnings).cloned().collect();
    if items.is_empty() {
        section.say("There is nothing to note.");
    } else {
        section.blocks.push(Block::List { items });
    }
    if study.quarantined.is_empty() {
        section.say("No unit was quarantined.");
    } else {
        let n = study.quarantined.len();
        section.say(format!("{n} unit{} failed for good; their cells are missing above.", if n == 1 { "" } else { "s" }));
        let rows = study.quarantined.iter().map(|q| vec![q.title.clone(), q.unit.chars().take(16).collect(), q.error.clone()]);
        section.table("Quarantined units", &["unit", "key", "last error"], rows.collect());
    }
    section
}
