//! Given splits: those of a split column, with the words that it may hold, or of files that hold one split each.
//!
//! A column that the spec names must be right in every row. A column that merely is called `split` is followed only if
//! it has train and test rows, and it keeps declared groups whole; else the rows are split by shares, and a note says why.
//! One that has both, and a word that isn't known, is refused: rows that somebody held out would come into train.

use std::collections::{BTreeSet, HashMap};

use limbic_proto::rows::Split;
use limbic_proto::spec::{DatasetSpec, Sources};

use super::error::DatasetError;
use super::read::Files;
use super::{Draft, Given};

/// Sets the drafts' splits from the files or the split column, where they say.
pub(super) fn apply(spec: &DatasetSpec, files: &Files, drafts: &mut [Draft], notes: &mut Vec<String>) -> Result<Given, DatasetError> {
    let by_file = matches!(spec.source, Sources::Splits(_));
    let column = files.iter().find_map(|columns| columns.split.clone());
    let Some(column) = column.or(by_file.then(|| "split".to_owned())) else {
        notes.extend(called(files));
        return Ok(Given::Nothing);
    };
    match splits(files, &column, drafts) {
        Ok(splits) => {
            for (draft, split) in drafts.iter_mut().zip(&splits) {
                draft.split = Some(*split);
            }
            let all = splits.contains(&Split::Validation);
            let rest = if all { "" } else { ", which has no validation rows: they are taken from train, by the ratio of `shares`" };
            let whose = if by_file { "the files".to_owned() } else { format!("column `{column}`") };
            notes.push(format!("the splits are those of {whose}{rest}"));
            Ok(if all { Given::All } else { Given::TrainTest })
        }
        Err(e) if by_file || spec.split.is_some() => Err(e),
        Err(e @ DatasetError::UnknownSplit { .. }) if holds_out(drafts.iter().filter_map(|d| parse(d.word.as_deref()?))) => Err(e),
        Err(e) => {
            notes.push(format!("column `{column}` is not followed (name it in `dataset.split` to insist); rows are split by shares: {e}"));
            Ok(Given::Nothing)
        }
    }
}

/// Whether some are train and some are test.
fn holds_out(splits: impl Iterator<Item = Split>) -> bool {
    let all: BTreeSet<Split> = splits.collect();
    all.contains(&Split::Train) && all.contains(&Split::Test)
}

/// Where files are called after splits that they don't settle.
fn called(files: &Files) -> Option<String> {
    let named = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        name.split(|c: char| !c.is_alphanumeric()).find_map(parse)
    };
    holds_out(files.names().filter_map(named)).then(|| {
        "the files are called after splits, but their rows are split by shares: `source: {train: …, test: …}` keeps them apart".to_owned()
    })
}

fn splits(files: &Files, column: &str, drafts: &[Draft]) -> Result<Vec<Split>, DatasetError> {
    let mut groups: HashMap<&str, Split> = HashMap::new();
    let mut splits = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let word = draft.word.as_deref().unwrap_or_default();
        let split = parse(word).ok_or_else(|| DatasetError::UnknownSplit {
            file: files.name(draft.file),
            place: draft.place,
            column: column.to_owned(),
            word: word.to_owned(),
        })?;
        let before = *groups.entry(&draft.group).or_insert(split);
        if before != split {
            return Err(DatasetError::GroupStraddles {
                file: files.name(draft.file),
                place: draft.place,
                group: draft.group.clone(),
                split,
                before,
            });
        }
        splits.push(split);
    }
    match [Split::Train, Split::Test].into_iter().find(|s| !splits.contains(s)) {
        Some(split) => Err(DatasetError::MissingSplit { file: files.all(), column: column.to_owned(), split }),
        None => Ok(splits),
    }
}

fn parse(word: &str) -> Option<Split> {
    match word.trim().to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" | "development" | "eval" | "evaluation" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}
