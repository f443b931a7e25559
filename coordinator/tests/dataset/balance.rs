//! Balanced classes count exactly the same.

use std::collections::BTreeMap;

use limbic_proto::rows::{Row, Split};
use serde_json::json;

use crate::{ingested, lines};

/// How often each class counts in each split.
fn weights(rows: &[Row]) -> BTreeMap<Split, Vec<u32>> {
    let mut weights: BTreeMap<Split, Vec<u32>> = BTreeMap::new();
    for row in rows {
        weights.entry(row.split).or_insert_with(|| vec![0; 3])[row.class as usize] += row.weight;
    }
    weights
}

#[test]
fn undersampling_cuts_every_class_to_the_smallest_of_its_split() {
    for seed in 0..10 {
        let done = ingested(json!({"balance": "undersample", "seed": seed}), "d.jsonl", &lines(&[200, 90, 40]));
        assert!(done.rows.rows.iter().all(|r| r.weight == 1));
        let found = weights(&done.rows.rows);
        assert_eq!([&found[&Split::Train], &found[&Split::Validation], &found[&Split::Test]], [&[28; 3], &[6; 3], &[6; 3]]);
    }
}

#[test]
fn the_study_repeats_minorities_and_cuts_neutral_in_train_alone() {
    let file = lines(&[400, 100, 20]).replace("c0", "neutral");
    for seed in 0..10 {
        let done = ingested(json!({"balance": "paper", "seed": seed, "labels": ["neutral", "c1", "c2"]}), "d.jsonl", &file);
        let found = weights(&done.rows.rows);
        assert_eq!([&found[&Split::Train], &found[&Split::Validation], &found[&Split::Test]], [&[70; 3], &[3; 3], &[3; 3]]);
        for row in &done.rows.rows {
            let expected = if row.split == Split::Train && row.class == 2 { 5 } else { 1 };
            assert_eq!(row.weight, expected, "{row:?}");
        }
    }
}

#[test]
fn a_size_that_is_no_multiple_is_met_exactly() {
    let done = ingested(json!({"balance": "paper"}), "d.jsonl", &lines(&[151, 33, 47]));
    for (split, counts) in weights(&done.rows.rows) {
        assert!(counts.iter().all(|n| *n == counts[0]), "{split:?}: {counts:?}");
    }
    let spread: Vec<u32> = done.rows.rows.iter().filter(|r| r.class == 1 && r.split == Split::Train).map(|r| r.weight).collect();
    assert!(spread.iter().max().unwrap() - spread.iter().min().unwrap() <= 1, "{spread:?}");
}

#[test]
fn a_limit_is_not_thinned_again_by_balancing() {
    let done = ingested(json!({"balance": "undersample", "limit": 60}), "d.jsonl", &lines(&[500, 90, 40]));
    assert_eq!(done.rows.rows.len(), 60);
    let all = ingested(json!({"balance": "undersample", "limit": 600}), "d.jsonl", &lines(&[500, 90, 40]));
    assert_eq!(all.rows.rows.len(), 120);
}

#[test]
fn a_limit_leaves_given_splits_their_shares_before_balancing() {
    let labels = ["neutral", "a", "neutral", "b"];
    let words = ["train", "train", "train", "validation", "test"];
    let line = |i: usize| json!({"text": crate::text(i), "label": labels[i % 4], "split": words[i % 5]}).to_string() + "\n";
    let file: String = (0..1000).map(line).collect();
    let done = ingested(json!({"balance": "paper", "limit": 200, "labels": ["neutral", "a", "b"]}), "d.jsonl", &file);
    let found = weights(&done.rows.rows);
    assert_eq!([&found[&Split::Train], &found[&Split::Validation], &found[&Split::Test]], [&[40; 3], &[13; 3], &[13; 3]]);
}
