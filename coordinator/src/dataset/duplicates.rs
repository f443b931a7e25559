//! What follows from near-duplicates: they join groups, and with given splits the copies of held-out rows go.
//!
//! Given splits are the author's: no row is moved. Of a cluster that straddles them, only the rows of its most protected
//! split stay (test, else validation), so that no number is measured on a text that a probe was fitted or chosen on, and
//! the test set is whole and comparable with what others report on it.

use std::collections::{BTreeMap, HashMap};

use limbic_proto::rows::Split;

use super::near::{Disjoint, clusters};
use super::{Draft, Given};

/// Drops straddling copies (where splits are given) and joins the groups of near-duplicates.
pub(super) fn settle(drafts: Vec<Draft>, given: Given, grouped: bool, notes: &mut Vec<String>) -> Vec<Draft> {
    let texts: Vec<&str> = drafts.iter().map(|d| d.text.as_str()).collect();
    let roots = clusters(&texts);
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, root) in roots.iter().enumerate() {
        members.entry(*root).or_default().push(i);
    }
    members.retain(|_, rows| rows.len() > 1);
    let mixed = members
        .values()
        .filter(|rows| rows.iter().any(|&i| drafts[i].class != drafts[rows[0]].class || drafts[i].values != drafts[rows[0]].values))
        .count();
    let rows: usize = members.values().map(Vec::len).sum();
    notes.push(match members.len() {
        0 => "near-duplicates: none found".to_owned(),
        n => format!("near-duplicates: {n} clusters of {rows} rows in all; {mixed} clusters hold differing labels"),
    });
    let mut kept = vec![true; drafts.len()];
    if given != Given::Nothing {
        notes.extend(drop_straddling(&drafts, members.values(), &mut kept));
    }
    let mut drafts = drafts;
    let before = grouped.then(|| group_sizes(&drafts, &kept).len());
    join_groups(&mut drafts, members.into_values(), &kept);
    notes.extend(before.and_then(|before| joined(before, &group_sizes(&drafts, &kept))));
    drafts.into_iter().zip(kept).filter_map(|(draft, kept)| kept.then_some(draft)).collect()
}

/// Marks the rows that repeat a row of a more protected split.
fn drop_straddling<'a>(drafts: &[Draft], clusters: impl Iterator<Item = &'a Vec<usize>>, kept: &mut [bool]) -> Option<String> {
    let mut dropped: BTreeMap<Split, usize> = BTreeMap::new();
    let mut straddling = 0;
    for rows in clusters {
        // Splits are ordered from train to test.
        let protected = rows.iter().filter_map(|&i| drafts[i].split).max();
        let copies: Vec<usize> = rows.iter().copied().filter(|&i| drafts[i].split != protected).collect();
        straddling += usize::from(!copies.is_empty());
        for i in copies {
            kept[i] = false;
            *dropped.entry(drafts[i].split.expect("splits are given")).or_default() += 1;
        }
    }
    let counts: Vec<String> = dropped.iter().map(|(split, n)| format!("{n} {}", split.as_str())).collect();
    (straddling > 0).then(|| {
        let counts = counts.join(" and ");
        format!("near-duplicates: {straddling} clusters straddle the given splits; {counts} rows that repeat a held-out row were dropped")
    })
}

/// How many rows that stay each group has.
fn group_sizes<'d>(drafts: &'d [Draft], kept: &[bool]) -> HashMap<&'d str, usize> {
    let mut sizes: HashMap<&str, usize> = HashMap::with_capacity(drafts.len());
    for (draft, _) in drafts.iter().zip(kept).filter(|(_, kept)| **kept) {
        *sizes.entry(&draft.group).or_default() += 1;
    }
    sizes
}

/// That declared groups became fewer, and the largest.
fn joined(before: usize, after: &HashMap<&str, usize>) -> Option<String> {
    let (largest, rows) = (after.values().max()?, after.values().sum::<usize>());
    (after.len() < before).then(|| {
        format!(
            "near-duplicates: {before} groups became {}, for texts of different groups are alike; the largest has {largest} of {rows} rows (`near_duplicates: ignore` leaves groups as they are)",
            after.len()
        )
    })
}

/// Near-duplicates and declared groups together make the groups; each is named after its first row's.
fn join_groups(drafts: &mut [Draft], clusters: impl Iterator<Item = Vec<usize>>, kept: &[bool]) {
    let mut groups = Disjoint::new(drafts.len());
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(drafts.len());
    for (i, draft) in drafts.iter().enumerate().filter(|(i, _)| kept[*i]) {
        let j = *first.entry(&draft.group).or_insert(i);
        groups.join(i, j);
    }
    for rows in clusters {
        let mut rows = rows.into_iter().filter(|&i| kept[i]);
        if let Some(root) = rows.next() {
            rows.for_each(|i| groups.join(root, i));
        }
    }
    for i in 0..drafts.len() {
        let root = groups.root(i);
        if root != i {
            drafts[i].group = drafts[root].group.clone();
        }
    }
}
