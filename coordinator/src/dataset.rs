//! Ingestion: the bytes of a dataset's files become canonical [`Rows`], with their labels, splits, groups and weights.
//!
//! The steps, each in a file of its own: `read` (JSONL, CSV, TSV, Parquet), `label` (label map, classes, schemes), `ids`, `given`
//! (a split column, or files of one split), `near` (near-duplicates), `draw` (the limit), `split` (by shares), `examples`
//! (few-shot), `balance`. Everything random is a rank: the digest of purpose, seed and row id. So the result depends on the
//! content and the seed alone, and a row that is added or left out moves few others. Rows are ordered by split, and within one as
//! the files are: what only test rows are asked (zero-shot answers, verdicts on replies) then is of few ranges of rows.

mod balance;
mod columns;
mod comments;
mod delimited;
mod draw;
mod duplicates;
mod error;
mod examples;
mod given;
mod ids;
mod jsonl;
mod label;
mod near;
mod parquet;
mod read;
mod split;

use bytes::Bytes;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::{DatasetSpec, FewShot, NearDuplicates};

use columns::Utterance;
pub use comments::{Comment, comments};
pub use draw::rank;
pub use error::{DatasetError, Known, Place};
pub use examples::Drawn;
pub use near::{clusters, folded, words};
use read::Source;

/// One file of a dataset.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name: it is quoted in messages, and its ending tells the format where the spec doesn't.
    pub name: String,
    /// The split that its rows belong to, if the spec says so.
    pub split: Option<Split>,
    /// What is in it.
    pub bytes: Bytes,
}

/// A dataset that is ready for the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The canonical rows: train, validation, test, each in the order of the files.
    pub rows: Rows,
    /// The few-shot examples of each draw; they are among the rows no longer.
    pub examples: Vec<Vec<Drawn>>,
    /// What was decided or left out on the way, one sentence each, for people.
    pub notes: Vec<String>,
}

/// A row on its way: labelled, perhaps without a split yet.
#[derive(Debug)]
struct Draft {
    /// Its number, counted over all rows of all files from 1.
    number: usize,
    /// Which of the files it is from.
    file: usize,
    place: Place,
    id: String,
    /// Whether a column says its id; else that is its number.
    has_id: bool,
    text: String,
    class: u32,
    /// One number per class or scale, unless each row has one class.
    values: Vec<f32>,
    /// What it counts as where every split should have its share: its class, all of its classes (one more than the last
    /// stands for none), or a part of a scale. Never empty; the first one is its stratum where it can be in one only.
    strata: Vec<u32>,
    group: String,
    /// Whether a column says its group; else that is the row itself.
    has_group: bool,
    /// What the split column says, as it stands there.
    word: Option<String>,
    split: Option<Split>,
    weight: u32,
}

impl Draft {
    /// A row without its labels. Its id is its number where no column says otherwise; its group is itself.
    fn new(utterance: Utterance) -> Draft {
        let Utterance { number, file, place, text, id, group, split, .. } = utterance;
        let (has_id, has_group) = (id.is_some(), group.is_some());
        let id = id.unwrap_or_else(|| number.to_string());
        let group = group.unwrap_or_else(|| id.clone());
        let (class, values, strata, weight) = (0, Vec::new(), Vec::new(), 1);
        Draft { number, file, place, id, has_id, text, class, values, strata, group, has_group, word: split, split: None, weight }
    }

    /// Lets the row go by its number.
    fn number(&mut self) {
        self.id = self.number.to_string();
        if !self.has_group {
            self.group.clone_from(&self.id);
        }
    }
}

/// Reads a dataset, labels, splits and balances it, and takes out the few-shot examples that are asked for.
///
/// # Errors
/// The first thing in the files that the spec can't be applied to, with its line or row and column. Every error is
/// final: the files or the spec must change.
pub fn ingest(spec: &DatasetSpec, files: Vec<File>, few_shot: &[FewShot]) -> Result<Ingested, DatasetError> {
    let mut notes = Vec::new();
    let Source { files, utterances } = read::read(spec, files, &mut notes)?;
    let (classes, mut drafts) = label::label(spec, &files, utterances, &mut notes)?;
    ids::settle(&files, &mut drafts, &mut notes)?;
    let given = given::apply(spec, &files, &mut drafts, &mut notes)?;
    // Before anything is left out: two rows may be akin through a third.
    if spec.near_duplicates == NearDuplicates::Together {
        drafts = duplicates::settle(drafts, given, spec.group.is_some(), &mut notes);
    }
    drafts = draw::limit(spec, &classes, given, drafts, &mut notes)?;
    split::complete(spec, given, &mut drafts, &mut notes);
    let examples = examples::draw(few_shot, &classes, &mut drafts)?;
    split::check(spec, &files.all(), &classes, &drafts, &mut notes)?;
    let mut drafts = balance::balance(spec.balance, spec.seed, &classes, drafts, &mut notes);
    drafts.sort_by_key(|draft| draft.split);
    let rows = drafts.into_iter().map(finish).collect();
    Ok(Ingested { rows: Rows { scheme: spec.scheme, classes, rows }, examples, notes })
}

/// By what [`Draft::strata`] are, in words.
fn stratified(spec: &DatasetSpec) -> String {
    match (spec.scheme, spec.values.first()) {
        (Scheme::Continuous, Some(scale)) => format!("stratified by fifths of `{scale}`"),
        _ => "stratified by class".to_owned(),
    }
}

/// How far files or a split column settle the splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Not at all: rows are split by shares.
    Nothing,
    /// They name train and test; validation is taken from train.
    TrainTest,
    /// They name all three.
    All,
}

fn finish(draft: Draft) -> Row {
    let split = draft.split.expect("every row has a split by now");
    Row { id: draft.id, text: draft.text, class: draft.class, group: draft.group, split, weight: draft.weight, values: draft.values }
}
