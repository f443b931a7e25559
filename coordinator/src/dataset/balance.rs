//! Class balancing, within each split: cutting classes to one size, or repeating rows by weight as the study did.

use std::collections::BTreeMap;

use limbic_proto::rows::Split;
use limbic_proto::spec::Balance;

use super::Draft;
use super::draw::ranked;

/// The class that the study cuts rather than measures the others by.
const NEUTRAL: &str = "neutral";

/// Cuts and weighs the rows as `balance` says; rows are drawn by seed.
pub(super) fn balance(balance: Balance, seed: u64, classes: &[String], drafts: Vec<Draft>, notes: &mut Vec<String>) -> Vec<Draft> {
    if balance == Balance::None {
        return drafts;
    }
    let mut weights: Vec<u32> = vec![0; drafts.len()];
    for split in Split::ALL {
        let rows = by_class(&drafts, split);
        let size = size(balance, split, classes, rows.iter().map(|(class, rows)| (*class, rows.len())));
        notes.push(format!("balance: every class counts {size} times in {}", split.as_str()));
        for rows in rows.into_values() {
            let (each, rest) = (size / rows.len(), size % rows.len());
            for (nth, i) in ranked("balance", seed, &drafts, rows).into_iter().enumerate() {
                weights[i] = (each + usize::from(nth < rest)) as u32;
            }
        }
    }
    let (cut, repeated) = (weights.iter().filter(|w| **w == 0).count(), weights.iter().filter(|w| **w > 1).count());
    notes.push(format!("balance: {cut} rows were left out and {repeated} count more than once"));
    let weighed = drafts.into_iter().zip(weights).filter(|(_, weight)| *weight > 0);
    weighed.map(|(draft, weight)| Draft { weight, ..draft }).collect()
}

/// What every class comes to in a split, from the rows that each class has there.
pub(super) fn size(balance: Balance, split: Split, classes: &[String], counts: impl Iterator<Item = (u32, usize)>) -> usize {
    let size = match (balance, split) {
        (Balance::None, _) => counts.map(|(_, n)| n).max(),
        (Balance::Paper, Split::Train) => {
            counts.filter(|(class, _)| !classes[*class as usize].eq_ignore_ascii_case(NEUTRAL)).map(|(_, n)| n).max()
        }
        _ => counts.map(|(_, n)| n).min(),
    };
    size.unwrap_or_default()
}

fn by_class(drafts: &[Draft], split: Split) -> BTreeMap<u32, Vec<usize>> {
    let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, draft) in drafts.iter().enumerate().filter(|(_, d)| d.split == Some(split)) {
        rows.entry(draft.class).or_default().push(i);
    }
    rows
}
