//! Tables of paired differences.

use super::section::{Cell, dash};
use crate::results::{Comparison, Results};
use crate::study::Study;
use crate::wording::{Notation, count, p_value};

/// The columns of [`rows`].
pub const COLUMNS: &[&str] =
    &["model", "what", "#score", "against", "#its score", "#difference", "#p (Holm)", "#p (BH)", "#would show", "#rows"];

/// What the last columns mean; p-values were corrected over so many comparisons, and `detectable` says whether any could be told what
/// would show.
pub fn note(corrected: usize, detectable: bool) -> String {
    let p = match corrected {
        0 => "no p-value: the rows are too few or of one group, or the two differ on none of them".to_owned(),
        1 => "p of a single comparison, so that there is nothing to correct".to_owned(),
        n => format!("p after Holm's and after Benjamini and Hochberg's correction over {} comparisons", count(n as u64)),
    };
    let shown = if detectable {
        "; would show, where it can be told: the smallest difference that a single comparison on these rows would show with 80% power, uncorrected, as every interval is"
    } else {
        ""
    };
    format!("{p}{shown}")
}

/// The same of one family of paired differences.
pub fn note_of(results: &Results, family: &str) -> String {
    let all = || results.comparisons.iter().filter(|c| c.family == family);
    note(all().map(|c| c.corrected).max().unwrap_or(0), all().any(|c| c.detectable.is_some()))
}

/// The rows of one family of paired differences.
pub fn rows(study: &Study, results: &Results, family: &str) -> Vec<Vec<Cell>> {
    let notation = Notation::of(&results.measure);
    results.comparisons.iter().filter(|c| c.family == family).map(|c| row(study, notation, c)).collect()
}

fn row(study: &Study, notation: Notation, c: &Comparison) -> Vec<Cell> {
    let p = |p: Option<f64>| match p {
        Some(value) => Cell::sorted(p_value(p), value),
        None => p_value(p).into(),
    };
    vec![
        study.models[c.model].name.clone().into(),
        c.subject.clone().into(),
        notation.value(c.subject_score).into(),
        c.against.clone().into(),
        notation.value(c.against_score).into(),
        Cell::sorted(notation.points(c.difference), c.difference.value),
        p(c.p_holm),
        p(c.p_bh),
        c.detectable.map_or_else(dash, |d| Cell::sorted(notation.difference(d).replace('+', "±"), d)),
        count(c.difference.n as u64).into(),
    ]
}

/// In what differences are, for captions: `, in points of accuracy`.
pub fn of_what(results: &Results) -> String {
    if results.measure.share { format!("in points of {}", results.measure.words) } else { format!("in {}", results.measure.words) }
}
