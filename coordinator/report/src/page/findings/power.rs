//! What this test set can show at all.

use crate::results::{Comparison, Results};
use crate::wording::{Notation, count};

/// The smallest difference that a comparison would show, of the middle one and over all that would show any.
pub fn sentence(results: &Results, confidence: f64, notation: Notation) -> Option<String> {
    let mut known: Vec<f64> = results.comparisons.iter().filter_map(|c| c.detectable).collect();
    known.sort_by(f64::total_cmp);
    let (least, most, n) = (known.first()?, known.last()?, count(known.len() as u64));
    // What is clear needs no more rows to show.
    let clear = |c: &&Comparison| c.detectable.is_none() && c.p_holm.is_some_and(|p| p < 1.0 - confidence);
    let clear = results.comparisons.iter().filter(clear).count();
    let over = match results.comparisons.len() - known.len() - clear {
        0 if clear == 0 => format!("over all {n} comparisons"),
        0 => format!("over {n} comparisons"),
        1 => format!("over {n} comparisons; one more has too few rows that differ to show any"),
        none => format!("over {n} comparisons; {} more have too few rows that differ to show any", count(none as u64)),
    };
    let over =
        if known.len() == 1 { String::new() } else { format!(" (from {} to {} {over})", plain(notation, *least), plain(notation, *most)) };
    Some(format!(
        "A single paired comparison on these {} test rows would show differences of about {}{} with 80% power{over}; smaller ones may be there and not be seen.",
        count(results.rows as u64),
        plain(notation, known[known.len() / 2]),
        notation.of_difference(),
    ))
}

fn plain(notation: Notation, v: f64) -> String {
    notation.difference(v).replace('+', "")
}
