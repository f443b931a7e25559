//! Nothing of a held-out row reaches train: rewrites, near-duplicates and few-shot examples, planted and looked for.

use std::collections::{BTreeMap, BTreeSet};

use limbic::dataset::{Ingested, ingest};
use limbic_proto::rows::Split;
use limbic_proto::spec::FewShot;
use serde_json::json;

use crate::{Numbers, file, spec, text};

const CLASSES: [&str; 3] = ["anger", "joy", "neutral"];

/// A corpus as a pipeline makes it: originals, rewrites that share the original's group but no word with it, and copies
/// with small changes that share no group.
struct Corpus {
    lines: String,
    /// For every row, what it was made from.
    origin: BTreeMap<String, usize>,
}

fn corpus(seed: u64, originals: usize) -> Corpus {
    let mut numbers = Numbers(seed);
    let (mut rows, mut origin) = (Vec::new(), BTreeMap::new());
    let mut put = |id: String, of: usize, group: String, text: String, class: usize| {
        origin.insert(id.clone(), of);
        rows.push(json!({"id": id, "text": text, "label": CLASSES[class], "group": group}).to_string() + "\n");
    };
    for i in 0..originals {
        let class = numbers.below(CLASSES.len());
        let group = format!("g{i}");
        put(format!("o{i}"), i, group.clone(), text(i), class);
        for r in 0..numbers.below(3) {
            let other = numbers.below(CLASSES.len());
            put(format!("o{i}-rewritten{r}"), i, group.clone(), format!("rewritten{i} as{i} version{r} of{i} number{r}"), other);
        }
        if numbers.below(3) == 0 {
            let copy = [text(i).to_uppercase(), format!("{}!!", text(i)), text(i).replace(' ', "  ")][numbers.below(3)].clone();
            put(format!("copy{i}"), i, format!("elsewhere{i}"), copy, class);
        }
    }
    // Their order must not matter.
    for i in (1..rows.len()).rev() {
        rows.swap(i, numbers.below(i + 1));
    }
    Corpus { lines: rows.concat(), origin }
}

fn split_up(corpus: &Corpus, fields: serde_json::Value, few_shot: &[FewShot]) -> Ingested {
    ingest(&spec(fields), vec![file("d.jsonl", corpus.lines.clone())], few_shot).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn no_origin_straddles_a_split_under_any_seed() {
    for seed in 0..40 {
        let corpus = corpus(seed, 150);
        for fields in [
            json!({"group": "group", "seed": seed}),
            json!({"group": "group", "seed": seed, "balance": "paper"}),
            json!({"group": "group", "seed": seed, "limit": 120}),
        ] {
            let done = split_up(&corpus, fields.clone(), &[FewShot { per_class: 2, seed }]);
            let mut split_of: BTreeMap<usize, Split> = BTreeMap::new();
            for row in &done.rows.rows {
                let before = *split_of.entry(corpus.origin[&row.id]).or_insert(row.split);
                assert_eq!(before, row.split, "seed {seed}, {fields}, row {}", row.id);
            }
            assert!(Split::ALL.iter().all(|split| split_of.values().any(|s| s == split)));
        }
    }
}

#[test]
fn the_test_sees_a_leak() {
    // Without groups and near-duplicates the same corpus does straddle.
    let corpus = corpus(1, 150);
    let done = split_up(&corpus, json!({"near_duplicates": "ignore"}), &[]);
    let mut splits: BTreeMap<usize, BTreeSet<Split>> = BTreeMap::new();
    for row in &done.rows.rows {
        splits.entry(corpus.origin[&row.id]).or_default().insert(row.split);
    }
    assert!(splits.values().filter(|s| s.len() > 1).count() > 20);
}

#[test]
fn few_shot_examples_are_in_no_split_and_their_origin_is_held_out_nowhere() {
    for seed in 0..20 {
        let corpus = corpus(seed, 150);
        let fields = json!({"group": "group", "seed": seed});
        let asked = [FewShot { per_class: 3, seed: 1 }, FewShot { per_class: 1, seed: 1 }, FewShot { per_class: 1, seed: 2 }];
        let (done, whole) = (split_up(&corpus, fields.clone(), &asked), split_up(&corpus, fields, &[]));
        assert_eq!(done.examples.iter().map(Vec::len).collect::<Vec<_>>(), [9, 3, 3]);
        let shown: BTreeSet<&str> = done.examples.iter().flatten().map(|row| row.id.as_str()).collect();
        for row in &done.rows.rows {
            assert!(!shown.contains(row.id.as_str()), "seed {seed}: {} is shown and measured on", row.id);
            let origin = corpus.origin[&row.id];
            let of_an_example = shown.iter().any(|id| corpus.origin[*id] == origin);
            assert!(!of_an_example || row.split == Split::Train, "seed {seed}: {} repeats an example", row.id);
        }
        // Taking examples out moves no other row.
        let rest: Vec<_> = whole.rows.rows.into_iter().filter(|row| !shown.contains(row.id.as_str())).collect();
        assert_eq!(done.rows.rows, rest);
        // One seed draws the same first, and every class has its number.
        assert!(done.examples[1].iter().all(|row| done.examples[0].contains(row)));
        for class in CLASSES {
            assert_eq!(done.examples[0].iter().filter(|row| row.class == class).count(), 3);
        }
        assert_ne!(done.examples[1], done.examples[2]);
    }
}

#[test]
fn the_same_rows_give_the_same_examples_and_their_order_is_drawn() {
    let corpus = corpus(3, 150);
    let draw = |seed| split_up(&corpus, json!({"group": "group"}), &[FewShot { per_class: 2, seed }]).examples.remove(0);
    assert_eq!(draw(5), draw(5));
    let orders: BTreeSet<Vec<String>> = (0..8).map(|seed| draw(seed).into_iter().map(|row| row.class).collect()).collect();
    assert!(orders.len() > 4, "{orders:?}");
}

#[test]
fn texts_that_hold_the_mark_are_passed_over() {
    let line = |i: usize| {
        let words = if i < 20 { format!("{} {{text}}", text(i)) } else { text(i) };
        json!({"text": words, "label": format!("c{}", i % 2), "split": if i < 30 { "train" } else { "test" }}).to_string() + "\n"
    };
    let lines: String = (0..50).map(line).collect();
    let draw = |per_class| ingest(&spec(json!({})), vec![file("d.jsonl", lines.clone())], &[FewShot { per_class, seed: 0 }]);
    assert!(draw(3).unwrap().examples[0].iter().all(|row| !row.text.contains("{text}")));
    let refused = draw(6).unwrap_err().to_string();
    assert!(refused.starts_with("conditions: `few_shot` draws 6 examples of each class from train, which has "), "{refused}");
}

#[test]
fn a_class_may_not_be_used_up() {
    let corpus = corpus(4, 150);
    let all = FewShot { per_class: 10_000, seed: 0 };
    let refused = ingest(&spec(json!({"group": "group"})), vec![file("d.jsonl", corpus.lines)], &[all]).unwrap_err().to_string();
    assert!(refused.contains("lower `per_class`"), "{refused}");
}
