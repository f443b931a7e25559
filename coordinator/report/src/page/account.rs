//! The closing sections: what it cost, where every number comes from, what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::spec::{Balance, DatasetSpec, Sources};

use super::section::{Block, Cell, DASH, Section, cells};
use super::unmeasured::unmeasured;
use crate::results::Results;
use crate::study::Study;
use crate::wording::{bytes, count, counted, duration, parameters};

/// Seconds, tokens and bytes by kind of unit; none where nothing has been committed.
pub fn cost(study: &Study, results: &Results) -> Option<Section> {
    if results.costs.is_empty() {
        return None;
    }
    let mut section = Section::new("cost", "Cost");
    let workers: BTreeSet<&str> = study.runs.iter().map(|r| r.worker.as_str()).collect();
    let devices: BTreeSet<&str> = study.runs.iter().map(|r| r.device.as_str()).collect();
    let seconds: f64 = results.costs.iter().map(|c| c.seconds).sum();
    let units: usize = results.costs.iter().map(|c| c.units).sum();
    section.say(format!(
        "{} took {} of worker time on {} ({}).",
        counted(units, "unit"),
        duration(seconds),
        counted(workers.len(), "worker"),
        devices.into_iter().collect::<Vec<_>>().join(", ")
    ));
    let rows = results.costs.iter().map(|c| {
        let rate = if c.tokens > 0 && c.seconds > 0.0 { count((c.tokens as f64 / c.seconds).round() as u64) } else { DASH.to_owned() };
        let tokens = if c.tokens > 0 { count(c.tokens) } else { DASH.to_owned() };
        vec![
            Cell::from(c.kind),
            c.device.clone().into(),
            count(c.units as u64).into(),
            Cell::sorted(duration(c.seconds), c.seconds),
            Cell::sorted(duration(c.median_seconds), c.median_seconds),
            tokens.into(),
            rate.into(),
            Cell::sorted(bytes(c.bytes), c.bytes as f64),
        ]
    });
    section.table(
        "Committed attempts by kind of unit and of device",
        &["kind", "device", "#units", "#worker time", "#median unit", "#tokens", "#tokens per second", "#bytes written"],
        rows.collect(),
    );
    Some(section)
}

/// Models, software, seeds, spec.
pub fn provenance(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("provenance", "Provenance");
    section.say(format!(
        "Computed by {} for sweep {}. Intervals are {:.0}% percentile bootstrap intervals over {} of test rows ({} resamples, ChaCha8, seed {}); every metric and difference sees the same resamples. Intervals of average precision and of ECE are freed of what noise adds to them.",
        study.software,
        study.sweep,
        study.options.confidence * 100.0,
        counted(results.groups, "group"),
        count(study.options.resamples as u64),
        study.seed
    ));
    let short = |digest: &str| digest.chars().take(16).collect::<String>();
    let rows = study.models.iter().map(|m| {
        vec![
            Cell::from(m.name.clone()),
            match m.random_weights {
                Some(seed) => format!("{}, random weights of seed {seed}", m.source).into(),
                None => m.source.clone().into(),
            },
            short(&m.digest).into(),
            Cell::sorted(parameters(m.parameters), m.parameters as f64),
            m.layers.to_string().into(),
            m.hidden.to_string().into(),
            m.dtype.clone().into(),
        ]
    });
    section.table("Models", &["model", "source", "digest", "#parameters", "#blocks", "#width", "number format"], rows.collect());
    let seeds: BTreeSet<u64> = study.predictions.iter().map(|p| p.seed).collect();
    let mut rows = vec![
        cells(["labels".to_owned(), study.scheme.as_str().to_owned()]),
        cells(["classes".to_owned(), study.classes.join(", ")]),
        cells(["test rows".to_owned(), format!("{} in {}", count(results.rows as u64), counted(results.groups, "group"))]),
        cells(["digest of the rows (BLAKE3)".to_owned(), study.dataset.digest.clone()]),
        cells(["probe seeds".to_owned(), numbers(&seeds)]),
    ];
    rows.extend(
        drawn(study).into_iter().filter(|(_, seeds)| !seeds.is_empty()).map(|(what, seeds)| cells([what.to_owned(), numbers(&seeds)])),
    );
    section.table("Data and seeds", &["what", "value"], rows);
    splits(study, &mut section);
    workers(study, &mut section);
    let caption = match study.asked().len() {
        0 | 1 => "The spec as it was accepted".to_owned(),
        n => format!("The specs of the sweep's {n} revisions as they were accepted, the first one first"),
    };
    if let Ok(text) = serde_json::to_string_pretty(&study.spec) {
        section.blocks.push(Block::Code { caption, text });
    }
    section
}

fn numbers(seeds: &BTreeSet<u64>) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The seeds of what else was drawn; none where nothing was. (That of few-shot examples is in the note that names them.)
fn drawn(study: &Study) -> [(&'static str, BTreeSet<u64>); 2] {
    let asked = study.asked();
    // Without a column that says the split, rows are split by a draw; balancing and limiting draw from each split's.
    let drawn = |d: &&DatasetSpec| {
        d.split.as_deref().is_none_or(str::is_empty) && matches!(d.source, Sources::Files(_))
            || d.balance != Balance::None
            || d.limit.is_some()
    };
    let replies = asked.iter().filter_map(|spec| spec.continuation.as_ref()).filter(|c| c.sampled()).flat_map(|c| c.sampling_seeds());
    [
        ("seed of splitting, balancing and drawing rows", asked.iter().map(|spec| &spec.dataset).filter(drawn).map(|d| d.seed).collect()),
        ("sampling seeds of replies", replies.chain(study.sampling_seeds()).collect()),
    ]
}

/// Rows per split and class.
fn splits(study: &Study, section: &mut Section) {
    let number = |n: usize| Cell::sorted(count(n as u64), n as f64);
    let repeated = study.dataset.splits.iter().any(|s| s.weight > s.rows as u64);
    let mut columns = vec!["split".to_owned(), "#rows".to_owned(), "#groups".to_owned()];
    columns.extend(repeated.then(|| "#rows, repeated ones counted".to_owned()));
    let counted = !study.classes.is_empty() && study.dataset.splits.iter().all(|s| s.of_class.len() == study.classes.len());
    columns.extend(study.classes.iter().filter(|_| counted).map(|c| format!("#{c}")));
    let rows = study.dataset.splits.iter().map(|s| {
        let mut row = vec![Cell::from(s.split.as_str()), number(s.rows), number(s.groups)];
        row.extend(repeated.then(|| number(s.weight as usize)));
        row.extend(s.of_class.iter().filter(|_| counted).map(|n| number(*n)));
        row
    });
    let per_class = if counted { ", and of each class" } else { "" };
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    section.table(format!("Rows of each split{per_class}"), &columns, rows.collect());
}

/// The versions of the software whose attempts were committed.
fn workers(study: &Study, section: &mut Section) {
    let mut found: BTreeMap<(&str, &str), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for run in &study.runs {
        let (units, workers) = found.entry((&run.software, &run.device)).or_default();
        *units += 1;
        workers.insert(&run.worker);
    }
    let row = |((software, device), (units, workers)): ((&str, &str), (usize, BTreeSet<&str>))| {
        let workers: Vec<&str> = workers.into_iter().collect();
        let named =
            if workers.len() > 6 { format!("{} and {} more", workers[..6].join(", "), workers.len() - 6) } else { workers.join(", ") };
        vec![software.into(), device.into(), Cell::sorted(count(units as u64), units as f64), named.into()]
    };
    let rows = found.into_iter().map(row).collect();
    section.table("What computed the committed units", &["version", "device", "#units", "workers"], rows);
}

/// Notes, warnings and what failed for good.
pub fn notes(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("notes", "Notes");
    let items: Vec<String> = study.notes.iter().chain(&results.warnings).cloned().collect();
    if let Some(sentence) = unmeasured(study, results) {
        section.say(sentence);
    }
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
        let rows = study.quarantined.iter().map(|q| cells([q.title.clone(), q.unit.chars().take(16).collect(), q.error.clone()]));
        section.table("Quarantined units", &["unit", "key", "last error"], rows.collect());
    }
    section
}
