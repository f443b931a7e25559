//! Ingestion: readers, labels, splits, near-duplicates, balance, and what every error says.

mod balance;
mod duplicates;
mod errors;
mod files;
mod labels;
mod leaks;
mod readers;
mod schemes;
mod splits;

use limbic::dataset::{DatasetError, File, Ingested, ingest};
use limbic_proto::rows::{Row, Split};
use limbic_proto::spec::DatasetSpec;

/// A spec of the given YAML-like JSON fields beside the source.
fn spec(fields: serde_json::Value) -> DatasetSpec {
    let mut value = fields;
    if value["source"].is_null() {
        value["source"] = "unused".into();
    }
    serde_json::from_value(value).expect("the test's spec is valid")
}

fn file(name: &str, bytes: impl Into<bytes::Bytes>) -> File {
    File { name: name.to_owned(), split: None, bytes: bytes.into() }
}

fn try_ingest(fields: serde_json::Value, name: &str, text: &str) -> Result<Ingested, DatasetError> {
    ingest(&spec(fields), vec![file(name, text.to_owned())], &[])
}

fn ingested(fields: serde_json::Value, name: &str, text: &str) -> Ingested {
    try_ingest(fields, name, text).unwrap_or_else(|e| panic!("{e}"))
}

fn error(fields: serde_json::Value, name: &str, text: &str) -> String {
    try_ingest(fields, name, text).expect_err("the dataset is refused").to_string()
}

/// A text that is like no other: its words are numbered.
fn text(i: usize) -> String {
    format!("word{i} goes{i} on{i} and{i} ends{i}")
}

/// JSON Lines of `counts[c]` rows of each class `c0`, `c1`, …, interleaved.
fn lines(counts: &[usize]) -> String {
    let mut out = String::new();
    let mut next = 0;
    for round in 0..counts.iter().copied().max().unwrap_or(0) {
        for (class, _) in counts.iter().enumerate().filter(|(_, n)| **n > round) {
            out += &serde_json::json!({"text": text(next), "label": format!("c{class}")}).to_string();
            out.push('\n');
            next += 1;
        }
    }
    out
}

/// By id, read as a number: in the order of the files where no column has ids.
fn by_id(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.id.parse::<usize>().expect("ids are numbers"));
    rows
}

fn count(rows: &[Row], class: u32, split: Split) -> usize {
    rows.iter().filter(|r| r.class == class && r.split == split).count()
}

/// A small generator of numbers for property tests (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}
