//! Datasets of several files: one after the other, or one split each.

use std::collections::BTreeMap;

use limbic::dataset::{File, Ingested, ingest};
use limbic_proto::rows::Split;
use limbic_proto::spec::Sources;
use serde_json::json;

use crate::{lines, spec, text};

/// Reads files as a spec that names them would.
fn read(fields: serde_json::Value, files: &[(&str, String)]) -> Result<Ingested, String> {
    let spec = spec(fields);
    let bytes = |name: &str| files.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no file {name}")).1.clone();
    let all = spec.source.files().into_iter().map(|(split, name)| File { name: name.to_owned(), split, bytes: bytes(name).into() });
    ingest(&spec, all.collect(), &[]).map_err(|e| e.to_string())
}

fn numbered(from: usize, count: usize) -> String {
    (from..from + count).map(|i| json!({"text": text(i), "label": format!("c{}", i % 2)}).to_string() + "\n").collect()
}

#[test]
fn files_are_read_one_after_the_other_each_in_its_format() {
    let csv = "emotion,text\n".replace("emotion", "label") + &(20..40).map(|i| format!("c{},{}\n", i % 2, text(i))).collect::<String>();
    let done = read(json!({"source": ["a.jsonl", "b.csv"]}), &[("a.jsonl", numbered(0, 20)), ("b.csv", csv)]).unwrap();
    let texts: BTreeMap<usize, &str> = done.rows.rows.iter().map(|r| (r.id.parse().unwrap(), r.text.as_str())).collect();
    assert_eq!(texts.keys().copied().collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>(), "numbered over both");
    assert_eq!(texts[&21], text(20));
    assert!(done.notes[0].starts_with("a.jsonl, b.csv: 40 rows, 2 classes"), "{:?}", done.notes);
    let whole = read(json!({"source": "a.jsonl"}), &[("a.jsonl", numbered(0, 40))]).unwrap();
    assert_eq!(whole.rows, done.rows, "how rows are spread over files changes nothing");
}

#[test]
fn files_of_one_split_each_settle_the_splits() {
    let source = json!({"source": {"train": ["a.jsonl", "b.jsonl"], "test": "c.jsonl"}});
    let files = [("a.jsonl", numbered(0, 20)), ("b.jsonl", numbered(20, 20)), ("c.jsonl", numbered(40, 20))];
    let done = read(source, &files).unwrap();
    let count = |split| done.rows.rows.iter().filter(|r| r.split == split).count();
    assert_eq!(count(Split::Test), 20);
    assert!(done.rows.rows[40..].iter().all(|r| r.split == Split::Test));
    assert!((6..=8).contains(&count(Split::Validation)), "taken from train: {}", count(Split::Validation));
    assert!(
        done.notes.iter().any(|n| n.starts_with("the splits are those of the files, which has no validation rows")),
        "{:?}",
        done.notes
    );
    let all = json!({"source": {"train": "a.jsonl", "validation": "b.jsonl", "test": "c.jsonl"}});
    assert_eq!(read(all, &files).unwrap().rows.rows.iter().filter(|r| r.split == Split::Validation).count(), 20);
}

#[test]
fn a_column_called_split_gives_way_to_files_of_one_split() {
    let line = |i: usize| json!({"text": text(i), "label": i % 2, "split": "test"}).to_string() + "\n";
    let file = |from: usize| (from..from + 20).map(line).collect::<String>();
    let done = read(json!({"source": {"train": "a.jsonl", "test": "b.jsonl"}}), &[("a.jsonl", file(0)), ("b.jsonl", file(20))]).unwrap();
    assert!(done.rows.rows[..20].iter().all(|r| r.split != Split::Test));
}

#[test]
fn what_is_wrong_is_told_of_its_file() {
    let two = || json!({"source": ["a.jsonl", "b.jsonl"]});
    let with = |b: &str| read(two(), &[("a.jsonl", numbered(0, 20)), ("b.jsonl", b.to_owned())]).unwrap_err();
    assert_eq!(with("{\"text\":1}\n"), "b.jsonl: has no column `label` (`dataset.label`); it has `text`");
    assert_eq!(with("{\"text\":1,\"label\":\"a\"}\n"), "b.jsonl, line 1, column `text`: expected a string, found the number 1");
    let id = |id: &str| format!("{{\"id\":\"{id}\",\"text\":\"t\",\"label\":\"{id}\"}}\n");
    assert_eq!(
        read(json!({"source": ["a.jsonl", "b.jsonl"], "id": "id"}), &[("a.jsonl", id("x") + &id("y")), ("b.jsonl", id("z") + &id("y"))])
            .unwrap_err(),
        "b.jsonl, line 2: the id `y` is already that of a.jsonl, line 2; ids must be unique"
    );
    let grouped = |g: &str| format!("{{\"text\":\"t\",\"label\":\"a\",\"by\":\"{g}\"}}\n");
    let straddling = read(
        json!({"source": {"train": "a.jsonl", "test": "b.jsonl"}, "group": "by", "near_duplicates": "ignore"}),
        &[("a.jsonl", grouped("g")), ("b.jsonl", grouped("g").replace("\"a\"", "\"b\""))],
    );
    assert!(straddling.unwrap_err().starts_with("b.jsonl, line 1: group `g` is in `test` here and in `train` before"));
    assert_eq!(
        read(two(), &[("a.jsonl", lines(&[3])), ("b.jsonl", lines(&[3]))]).unwrap_err(),
        "a.jsonl, b.jsonl: has one class only (`c0`); a probe needs at least two"
    );
}

#[test]
fn a_source_is_written_in_three_ways() {
    let source = |value: serde_json::Value| spec(json!({"source": value})).source;
    assert_eq!(source(json!("a.jsonl")), Sources::from("a.jsonl"));
    assert_eq!(source(json!(["a", "b"])).to_string(), "a, b");
    assert_eq!(source(json!({"test": "b", "train": "a"})).files(), [(Some(Split::Train), "a"), (Some(Split::Test), "b")]);
}
