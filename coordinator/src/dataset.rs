//! Ingestion: the bytes of a dataset file become canonical [`Rows`], with their splits, groups and weights.
//!
//! The steps, each in a file of its own: `read` (JSONL, CSV, TSV, Parquet), `label` (label map and classes), `given`
//! (a split column), `draw` (the limit), `near` (near-duplicates), `split` (by shares), `balance`. Everything random is
//! a rank: the digest of purpose, seed and row id. So the result depends on the content and the seed alone, and a row
//! that is added or left out moves few others. Rows keep the order of the file.

mod balance;
mod columns;
mod delimited;
mod draw;
mod duplicates;
mod error;
mod given;
mod jsonl;
mod label;
mod near;
mod nearest;
mod parquet;
mod read;
mod split;

use std::collections::HashMap;

use bytes::Bytes;
use limbic_proto::rows::{Row, Rows, Split};
use limbic_proto::spec::{DatasetSpec, NearDuplicates};

pub use error::{DatasetError, Known, Place};

/// A dataset that is ready for the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The canonical rows, in the order of the file.
    pub rows: Rows,
    /// What was decided or left out on the way, one sentence each, for people.
    pub notes: Vec<String>,
}

/// A row on its way: labelled, perhaps without a split yet.
#[derive(Debug)]
struct Draft {
    place: Place,
    id: String,
    text: String,
    class: u32,
    group: String,
    /// What the split column says, as it stands there.
    word: Option<String>,
    split: Option<Split>,
    weight: u32,
}

/// Reads a dataset, labels, splits and balances it. `name` is the file's name: it is quoted in messages, and its
/// ending tells the format where the spec doesn't.
///
/// # Errors
/// The first thing in the file that the spec can't be applied to, with its line or row and column. Every error is
/// final: the file or the spec must change.
pub fn ingest(spec: &DatasetSpec, name: &str, bytes: Bytes) -> Result<Ingested, DatasetError> {
    let mut notes = Vec::new();
    let source = read::read(spec, name, bytes, &mut notes)?;
    let columns = source.columns.clone();
    let (classes, mut drafts) = label::classify(spec, name, source, &mut notes)?;
    unique_ids(name, &drafts)?;
    let given = given::apply(name, &columns, &mut drafts, &mut notes)?;
    drafts = draw::limit(spec, &classes, given, drafts, &mut notes)?;
    if spec.near_duplicates == NearDuplicates::Together {
        drafts = duplicates::settle(drafts, given, &mut notes);
    }
    split::complete(&spec.shares, spec.seed, given, classes.len(), &mut drafts, &mut notes);
    split::check(name, &classes, &drafts)?;
    let drafts = balance::balance(spec.balance, spec.seed, &classes, drafts, &mut notes);
    notes.push(sizes(&drafts));
    let rows = drafts.into_iter().map(finish).collect();
    Ok(Ingested { rows: Rows { scheme: spec.scheme, classes, rows }, notes })
}

/// How far a split column settles the splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// There is none: rows are split by shares.
    Nothing,
    /// It names train and test; validation is taken from train.
    TrainTest,
    /// It names all three.
    All,
}

fn unique_ids(name: &str, drafts: &[Draft]) -> Result<(), DatasetError> {
    let mut seen = HashMap::with_capacity(drafts.len());
    for draft in drafts {
        if let Some(first) = seen.insert(draft.id.as_str(), draft.place) {
            return Err(DatasetError::DuplicateId { file: name.to_owned(), place: draft.place, id: draft.id.clone(), first });
        }
    }
    Ok(())
}

fn sizes(drafts: &[Draft]) -> String {
    let parts = Split::ALL.map(|split| format!("{} {}", drafts.iter().filter(|d| d.split == Some(split)).count(), split.as_str()));
    format!("{} rows: {}", drafts.len(), parts.join(", "))
}

fn finish(draft: Draft) -> Row {
    let split = draft.split.expect("every row has a split by now");
    Row { id: draft.id, text: draft.text, class: draft.class, group: draft.group, split, weight: draft.weight, values: Vec::new() }
}
