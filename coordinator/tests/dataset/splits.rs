//! Splits by shares: groups whole, classes within tolerance, seeds reproducible.

use std::collections::BTreeMap;

use limbic_proto::rows::Split;
use serde_json::json;

use crate::{Numbers, count, error, ingested, lines, text};

#[test]
fn every_class_comes_within_one_row_of_its_shares() {
    let counts = [500, 37, 7, 100];
    let shares = [0.7, 0.15, 0.15];
    for seed in 0..20 {
        let done = ingested(json!({"seed": seed}), "d.jsonl", &lines(&counts));
        for (class, n) in (0..).zip(counts) {
            for (split, share) in Split::ALL.into_iter().zip(shares) {
                let found = count(&done.rows.rows, class, split) as f64;
                assert!((found - n as f64 * share).abs() <= 1.0, "seed {seed}, class {class}, {split:?}: {found} of {n}");
            }
        }
    }
}

#[test]
fn three_rows_of_a_class_reach_all_three_splits() {
    let done = ingested(json!({}), "d.jsonl", &lines(&[3, 50]));
    assert_eq!(Split::ALL.map(|s| count(&done.rows.rows, 0, s)), [1, 1, 1]);
}

#[test]
fn groups_stay_whole_and_classes_near_their_shares() {
    for seed in 0..20 {
        let mut numbers = Numbers(seed);
        let rows = 2000;
        let lines: String = (0..rows)
            .map(|i| {
                let author = numbers.below(20) * numbers.below(20);
                json!({"text": text(i), "label": numbers.below(4), "author": author}).to_string() + "\n"
            })
            .collect();
        let done = ingested(json!({"group": "author", "seed": seed}), "d.jsonl", &lines);
        let mut splits: BTreeMap<&str, Split> = BTreeMap::new();
        for row in &done.rows.rows {
            assert_eq!(*splits.entry(&row.group).or_insert(row.split), row.split, "seed {seed}, group {}", row.group);
        }
        for class in 0..4 {
            let total = done.rows.rows.iter().filter(|r| r.class == class).count() as f64;
            for (split, share) in Split::ALL.into_iter().zip([0.7, 0.15, 0.15]) {
                let found = count(&done.rows.rows, class, split) as f64 / total;
                assert!((found - share).abs() < 0.03, "seed {seed}, class {class}, {split:?}: {found:.3} for {share}");
            }
        }
    }
}

#[test]
fn every_split_gets_its_share_of_large_groups() {
    for seed in 0..10 {
        // 560 rows of their own and 140 pairs; and authors of 1 to 40 rows.
        let pairs = (0..840).map(|i| if i < 560 { i } else { 560 + (i - 560) / 2 });
        let authors = (1..=40).flat_map(|size| (0..size).map(move |_| size));
        for (groups, large) in [(pairs.collect::<Vec<usize>>(), 560), (authors.collect(), 21)] {
            let line =
                |(i, group): (usize, &usize)| json!({"text": text(i), "label": i % 4, "author": format!("{group:04}")}).to_string() + "\n";
            let file: String = groups.iter().enumerate().map(line).collect();
            let rows = ingested(json!({"group": "author", "seed": seed, "near_duplicates": "ignore"}), "d.jsonl", &file).rows.rows;
            let whole = groups.iter().filter(|group| **group >= large).count() as f64;
            for (split, share) in Split::ALL.into_iter().zip([0.7, 0.15, 0.15]) {
                let of_large = rows.iter().filter(|r| r.split == split && r.group.parse::<usize>().unwrap() >= large).count() as f64;
                assert!((of_large / whole - share).abs() < 0.08, "seed {seed}, {split:?}: {of_large} of {whole} rows of large groups");
            }
        }
    }
}

#[test]
fn a_rare_class_reaches_every_split_where_its_groups_allow() {
    // Six authors of twenty rows; three of them have one row of the rare class.
    for seed in 0..12 {
        let line = |i: usize| {
            let label = if i.is_multiple_of(20) && i / 20 < 3 { "c" } else { ["a", "b"][i % 2] };
            json!({"text": text(i), "label": label, "author": i / 20}).to_string() + "\n"
        };
        let file: String = (0..120).map(line).collect();
        let done = ingested(json!({"group": "author", "seed": seed, "near_duplicates": "ignore"}), "d.jsonl", &file);
        assert_eq!(Split::ALL.map(|split| count(&done.rows.rows, 2, split)), [1, 1, 1], "seed {seed}");
    }
}

#[test]
fn a_seed_gives_one_split_and_another_seed_another() {
    let file = lines(&[60, 60]);
    let rows = |seed: u64| ingested(json!({"seed": seed}), "d.jsonl", &file).rows.rows;
    let splits = |seed: u64| rows(seed).into_iter().map(|r| (r.id, r.split)).collect::<BTreeMap<_, _>>();
    assert_eq!(splits(1), splits(1));
    assert_ne!(splits(1), splits(2));
}

#[test]
fn rows_are_in_the_order_of_splits_and_within_one_in_that_of_the_file() {
    let done = ingested(json!({"limit": 50}), "d.jsonl", &lines(&[60, 60]));
    let order: Vec<(Split, usize)> = done.rows.rows.iter().map(|r| (r.split, r.id.parse().unwrap())).collect();
    assert_eq!(order.len(), 50);
    assert!(order.is_sorted());
    assert!(Split::ALL.iter().all(|split| order.iter().any(|(s, _)| s == split)));
}

#[test]
fn a_limit_keeps_the_classes_proportions() {
    let done = ingested(json!({"limit": 120, "seed": 3}), "d.jsonl", &lines(&[400, 180, 20]));
    let of = |class| done.rows.rows.iter().filter(|r| r.class == class).count();
    assert_eq!([of(0), of(1), of(2)], [80, 36, 4]);
    assert_eq!(
        error(json!({"limit": 5}), "d.jsonl", &lines(&[9, 9])),
        "`dataset.limit` is 5: at least 6 rows are needed for every class to reach every split"
    );
}

/// Rows with a split column: `words[i]` for row i, classes alternating.
fn split_lines(words: &[&str]) -> String {
    let line = |(i, word): (usize, &&str)| json!({"text": text(i), "label": i % 2, "split": word, "author": i / 2}).to_string() + "\n";
    words.iter().enumerate().map(line).collect()
}

#[test]
fn without_validation_rows_some_of_train_are_taken() {
    let words = [["train"; 40], ["test"; 40]].concat();
    let done = ingested(json!({"split": "split"}), "d.jsonl", &split_lines(&words));
    let sizes = Split::ALL.map(|s| done.rows.rows.iter().filter(|r| r.split == s).count());
    // 0.15 of 0.85 of 20 rows of each class are 3.5.
    assert!(sizes[2] == 40 && sizes[0] + sizes[1] == 40 && (6..=8).contains(&sizes[1]), "{sizes:?}");
    assert!(done.notes[1].ends_with("they are taken from train, by the ratio of `shares`"), "{:?}", done.notes);
}

#[test]
fn a_column_that_is_merely_called_split_is_followed_only_where_it_is_one() {
    for (words, why) in [
        (["train"; 40], "no row is in `test`; leave `dataset.split` out to split by shares"),
        (
            ["banana"; 40],
            "`banana` is no split; write train (training), validation (valid, val, dev, development, eval, evaluation) or test (testing), or decline the column with `dataset.split: ''`",
        ),
    ] {
        let done = ingested(json!({}), "d.jsonl", &split_lines(&words));
        assert!(done.rows.rows.iter().any(|r| r.split == Split::Test));
        assert!(done.notes.iter().any(|n| n.starts_with("column `split` is not followed") && n.ends_with(why)), "{:?}", done.notes);
        assert!(error(json!({"split": "split"}), "d.jsonl", &split_lines(&words)).ends_with(why));
    }
}

#[test]
fn rows_that_somebody_held_out_do_not_come_into_train_unsaid() {
    let mut words = [["train"; 20], ["test"; 20]].concat();
    words[7] = "hold-out";
    let lines = split_lines(&words);
    let refused = error(json!({}), "d.jsonl", &lines);
    assert!(refused.starts_with("d.jsonl, line 8, column `split`: `hold-out` is no split; write train"), "{refused}");
    let done = ingested(json!({"split": ""}), "d.jsonl", &lines);
    assert!(done.notes.iter().any(|n| n.contains("were split by shares")), "{:?}", done.notes);
    // Also where only some of the words are known.
    for words in [["train", "heldout"], ["heldout", "validation"]] {
        let refused = error(json!({}), "d.jsonl", &split_lines(&[[words[0]; 20], [words[1]; 20]].concat()));
        assert!(refused.contains("`heldout` is no split"), "{refused}");
    }
    // An unknown word is found before groups that lie in two splits.
    let lines = split_lines(&[["train", "test"]; 10].concat()) + &split_lines(&["hold-out"; 2]);
    assert!(error(json!({"group": "author"}), "d.jsonl", &lines).contains("`hold-out` is no split"));
    // Those called eval are tested on where others are called dev, and chosen on where others are called test.
    for (words, eval) in [(["train", "dev", "eval"], Split::Test), (["train", "test", "eval"], Split::Validation)] {
        let done = ingested(json!({}), "d.jsonl", &split_lines(&words.map(|word| [word; 20]).concat()));
        let of = |row: &limbic_proto::rows::Row| row.id.parse::<usize>().unwrap() > 40;
        assert!(done.rows.rows.iter().all(|row| of(row) == (row.split == eval)), "{words:?}: {:?}", done.notes);
    }
    // Another column may be called nearly so.
    let lines = split_lines(&[["train"; 20], ["test"; 20]].concat()).replace("\"author\"", "\"Split\"");
    assert!(ingested(json!({}), "d.jsonl", &lines).notes.iter().any(|n| n.starts_with("the splits are those of column `split`")));
    // However the column is written.
    let lines = split_lines(&[["train"; 20], ["test"; 20]].concat()).replace("\"split\"", "\"Split\"");
    assert!(ingested(json!({}), "d.jsonl", &lines).notes.iter().any(|n| n.starts_with("the splits are those of column `Split`")));
}

#[test]
fn files_that_are_called_after_splits_are_told() {
    let read = |names: [&str; 2], fields: serde_json::Value| {
        let files = names.map(|name| crate::file(name, lines(&[10, 10]).replace("\"id\"", "\"n\"")));
        let mut fields = fields;
        fields["source"] = json!(names);
        let spec = crate::spec(fields);
        limbic::dataset::ingest(&spec, files.to_vec(), &[]).unwrap().notes.into_iter().find(|n| n.contains("called after splits"))
    };
    let both = ["data/train-00000-of-00001.jsonl", "data/test-00000-of-00001.jsonl"];
    assert!(read(both, json!({})).is_some());
    assert_eq!(read(both, json!({"split": ""})), None, "declined");
    assert_eq!(read(["data/train-0.jsonl", "data/train-1.jsonl"], json!({})), None);
}

#[test]
fn declared_groups_weigh_more_than_an_unnamed_split_column() {
    let words: Vec<&str> = (0..60).map(|i| ["train", "test", "validation"][i % 3]).collect();
    let done = ingested(json!({"group": "author"}), "d.jsonl", &split_lines(&words));
    for pair in done.rows.rows.chunks(2) {
        assert_eq!(pair[0].split, pair[1].split);
    }
    assert_eq!(
        error(json!({"group": "author", "split": "split"}), "d.jsonl", &split_lines(&words)),
        "d.jsonl, line 2: group `0` is in `test` here and in `train` before; name splits that keep groups whole, or none (`dataset.split: ''`, files in a list) to split by shares"
    );
}

#[test]
fn shares_that_groups_forbid_are_told() {
    let line = |i: usize| {
        let group = if i < 240 { "one".to_owned() } else { i.to_string() };
        json!({"text": text(i), "label": format!("c{}", i % 2), "author": group}).to_string() + "\n"
    };
    let lines: String = (0..300).map(line).collect();
    let told = |fields: serde_json::Value| ingested(fields, "d.jsonl", &lines).notes.into_iter().find(|note| note.starts_with("shares: "));
    let said = "shares: train 80 % instead of 70 %, validation 10 % instead of 15 %, test 10 % instead of 15 %, for groups stay whole, and the \
                largest has 240 of the 300 rows";
    assert_eq!(told(json!({"group": "author"})).as_deref(), Some(said));
    assert_eq!(told(json!({})), None);
}
