//! What the reader of the numbers should know: what was left out, cut short or never fitted, and intervals that say less
//! than they seem to.

use std::collections::BTreeMap;

use limbic_proto::axis::Context;
use limbic_proto::unit::UnitKind;

use super::Bench;
use crate::study::{Prediction, Study};
use crate::wording::count;

/// Groups below which the cluster bootstrap is known to give intervals that are too narrow (Cameron, Gelbach & Miller
/// 2008 find it so up to about twenty).
const FEW_GROUPS: usize = 20;

/// At most so many reasons why fits are absent are told.
const REASONS: usize = 6;

/// All warnings, one sentence each.
pub fn all(bench: &Bench<'_>) -> Vec<String> {
    let study = bench.study;
    let mut warnings = Vec::new();
    warnings.extend(groups(bench));
    let mut say = |n: usize, what: &str| {
        if n > 0 {
            warnings.push(format!("{} of {} predictions {what}", count(n as u64), count(study.predictions.len() as u64)));
        }
    };
    let cells = study.test.len() * study.classes.len();
    say(
        study.predictions.iter().filter(|p| p.probabilities.len() != cells).count(),
        "have another shape than the test rows and were left out.",
    );
    say(
        study.predictions.iter().filter(|p| p.probabilities.iter().any(|v| !v.is_finite())).count(),
        "hold numbers that are not finite; those rows count as absent.",
    );
    say(
        study.predictions.iter().filter(|p| p.fit.as_ref().is_some_and(|f| f.absent.is_none() && !f.converged)).count(),
        "come from fits that stopped before their optimum.",
    );
    let full = |p: &Prediction| p.read_out.is_none_or(|r| r.context == Context::Full && r.offset == 0);
    let partial = |i: &usize| bench.scores[*i].accuracy().is_some_and(|a| a.n < bench.truth.len());
    let some: Vec<usize> = (0..study.predictions.len()).filter(partial).collect();
    say(some.iter().filter(|i| full(&study.predictions[**i])).count(), "at offset 0 miss some test rows (skipped prompts).");
    warnings.extend(absent(study));
    warnings.extend(prompts(study));
    warnings
}

/// What resampling so few groups can't tell.
fn groups(bench: &Bench<'_>) -> Option<String> {
    match bench.groups.groups() {
        0 => None,
        1 => Some(
            "All test rows are of one group, so nothing can be said about chance: there are no intervals and no p-values. Name a `group` column with more values, or none."
                .to_owned(),
        ),
        n if n < FEW_GROUPS => Some(format!(
            "The test rows are of only {n} groups: intervals from so few are too narrow and p-values too small; read them as lower bounds of the doubt."
        )),
        _ => None,
    }
}

/// Fits that don't exist, by reason, with the offsets at which they are missing.
fn absent(study: &Study) -> Vec<String> {
    // Reason -> (fits, lowest and highest offset).
    let mut reasons: BTreeMap<&str, (usize, u32, u32)> = BTreeMap::new();
    let mut total = 0;
    for p in &study.predictions {
        if let Some(reason) = p.fit.as_ref().and_then(|f| f.absent.as_deref()) {
            let offset = p.read_out.map_or(0, |r| r.offset);
            let entry = reasons.entry(reason).or_insert((0, offset, offset));
            *entry = (entry.0 + 1, entry.1.min(offset), entry.2.max(offset));
            total += 1;
        }
    }
    if total == 0 {
        return Vec::new();
    }
    let mut most: Vec<(&str, (usize, u32, u32))> = reasons.into_iter().collect();
    most.sort_by_key(|(_, (n, ..))| std::cmp::Reverse(*n));
    let told = most.iter().take(REASONS).map(|(reason, (n, low, high))| {
        let at = if low == high { format!("at offset {low}") } else { format!("at offsets {low} to {high}") };
        format!("{} {at}: {reason}", count(*n as u64))
    });
    let mut sentence = format!(
        "{} of {} fits are absent from every table and figure ({}",
        count(total),
        count(study.predictions.iter().filter(|p| p.fit.is_some()).count() as u64),
        told.collect::<Vec<_>>().join("; ")
    );
    if most.len() > REASONS {
        sentence += &format!("; {} more reasons", most.len() - REASONS);
    }
    vec![sentence + ")."]
}

/// Prompts that were longer than their model's context: how many were left out, how many cut, per model and condition.
fn prompts(study: &Study) -> Vec<String> {
    // (model, condition; none = the zero-shot question) -> rows, skipped, truncated.
    let mut sums: BTreeMap<(usize, Option<usize>), [u64; 3]> = BTreeMap::new();
    for run in study.runs.iter().filter(|r| !matches!(r.kind, UnitKind::Fit | UnitKind::Transfer)) {
        let Some(model) = run.model else { continue };
        let sum = sums.entry((model, run.condition)).or_default();
        for (total, name) in sum.iter_mut().zip(["rows", "skipped_rows", "truncated_rows"]) {
            *total += run.counts.get(name).copied().unwrap_or(0);
        }
    }
    let mut sentences = Vec::new();
    for ((model, condition), [rows, skipped, truncated]) in sums {
        let place = match condition {
            Some(condition) => format!("{}, {}", study.model_name(Some(model)), study.condition_name(Some(condition))),
            None => format!("{}, zero-shot question", study.model_name(Some(model))),
        };
        for (n, what) in [(skipped, "left out"), (truncated, "cut to their last tokens")] {
            if n > 0 {
                sentences.push(format!("{place}: {} of {} prompts were longer than the context and {what}.", count(n), count(rows)));
            }
        }
    }
    sentences
}
