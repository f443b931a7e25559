//! The section of tables: baselines, probes and their paired differences.

use super::Section;
use crate::results::{Estimate, Line, Results};
use crate::study::Study;
use crate::wording::{count, estimate, layer, p_value, percent, points};

/// The columns of [`differences`].
pub const DIFFERENCE: &[&str] = &["model", "probe", "#accuracy", "against", "#its accuracy", "#difference", "#p", "#rows"];

/// The rows of one family of paired differences.
pub fn differences(study: &Study, results: &Results, family: &str) -> Vec<Vec<String>> {
    let row = |c: &crate::results::Comparison| {
        vec![
            study.models[c.model].name.clone(),
            c.subject.clone(),
            percent(c.subject_accuracy),
            c.against.clone(),
            percent(c.against_accuracy),
            points(c.difference),
            p_value(c.p_holm),
            count(c.difference.n as u64),
        ]
    };
    results.comparisons.iter().filter(|c| c.family == family).map(row).collect()
}

fn line(study: &Study, results: &Results, l: &Line) -> Vec<String> {
    // The mean over seeds; with one seed, with its interval.
    let metric = |name: &str| -> Option<Estimate> {
        let values: Option<Vec<Estimate>> = l.predictions.iter().map(|i| results.scores[*i].get(name)).collect();
        match values?.as_slice() {
            [] => None,
            [one] => Some(*one),
            many => Some(Estimate::point(many.iter().map(|e| e.value).sum::<f64>() / many.len() as f64, many[0].n)),
        }
    };
    let share = |name: &str| metric(name).map_or_else(|| "–".to_owned(), estimate);
    let real = |name: &str| metric(name).map_or_else(|| "–".to_owned(), |e| format!("{:.3}", e.value));
    let or_dash = |s: &str| if s.is_empty() { "–".to_owned() } else { s.to_owned() };
    vec![
        l.probe.clone(),
        or_dash(study.model_name(l.model)),
        or_dash(study.condition_name(l.condition)),
        l.layer.map_or_else(|| "–".to_owned(), layer),
        estimate(l.accuracy),
        share("macro-f1"),
        real("auroc"),
        real("log-loss"),
        real("ece"),
    ]
}

/// Baselines, probes, and what separates them.
pub fn baselines(study: &Study, results: &Results) -> Section {
    let mut section = Section::new("baselines", "Baselines and probes");
    if results.baselines.is_empty() && results.probes.is_empty() {
        section.say("Neither a baseline nor a probe has a result yet.");
        return section;
    }
    section.say("How much of it is in the words alone, and how much in the probe? Probes stand at their representative layer; log-loss is in nats, ECE is the expected calibration error over 15 bins, AUROC the macro average of one class against the rest.");
    if results.baselines.is_empty() {
        section.say("No baseline was run.");
    }
    let columns = ["probe", "model", "condition", "#layer", "#accuracy", "#macro-F1", "#AUROC", "#log-loss", "#ECE"];
    section.table("Baselines", &columns, results.baselines.iter().map(|l| line(study, results, l)).collect());
    section.table("Probes at their representative layer", &columns, results.probes.iter().map(|l| line(study, results, l)).collect());
    section.table(
        "Probe minus baseline, paired over the same test rows, in points of accuracy; p after Holm's correction",
        DIFFERENCE,
        differences(study, results, "baselines"),
    );
    section.table("Other probes minus the main one, paired", DIFFERENCE, differences(study, results, "probes"));
    section
}
