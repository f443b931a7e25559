//! Whether the condition changes what replies express, in sentences.

use super::{sure, survivors};
use crate::results::{Comparison, Results};
use crate::study::Study;
use crate::wording::Unit;

/// How often kept labels differ between conditions, and where most; none where no two conditions were judged.
pub fn kept(study: &Study, results: &Results) -> Option<String> {
    let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "replies").collect();
    let strongest = found.iter().max_by(|a, b| a.difference.value.abs().total_cmp(&b.difference.value.abs()))?;
    let clear = found.iter().filter(|c| sure(study, c)).count();
    Some(format!(
        "Of the share of replies that express the utterance's label, {}; the largest is {} points ({}, {} against {}).",
        survivors(clear, &found, &results.contrasts_of_replies().counted(study)),
        Unit::Share.points(strongest.difference),
        study.models[strongest.model].name,
        strongest.subject,
        strongest.against,
    ))
}
