//! A split column: the words that it may hold, and when one that the spec doesn't name is followed.
//!
//! A column that the spec names must be right in every row. A column that merely is called `split` is followed only if
//! all its words are known, it has train and test rows, and it keeps declared groups whole; else the rows are split by
//! shares, and a note says why.

use std::collections::HashMap;

use limbic_proto::rows::Split;

use super::columns::Columns;
use super::error::DatasetError;
use super::{Draft, Given};

/// Sets the drafts' splits from the split column, if there is one to follow.
pub(super) fn apply(file: &str, columns: &Columns, drafts: &mut [Draft], notes: &mut Vec<String>) -> Result<Given, DatasetError> {
    let Some(column) = &columns.split else { return Ok(Given::Nothing) };
    match splits(file, column, drafts) {
        Ok(splits) => {
            for (draft, split) in drafts.iter_mut().zip(&splits) {
                draft.split = Some(*split);
            }
            let all = splits.contains(&Split::Validation);
            let rest = if all { "" } else { ", which has no validation rows: they are taken from train, by the ratio of `shares`" };
            notes.push(format!("the splits are those of column `{column}`{rest}"));
            Ok(if all { Given::All } else { Given::TrainTest })
        }
        Err(e) if columns.split_named => Err(e),
        Err(e) => {
            notes.push(format!("column `{column}` is not followed (name it in `dataset.split` to insist); rows are split by shares: {e}"));
            Ok(Given::Nothing)
        }
    }
}

fn splits(file: &str, column: &str, drafts: &[Draft]) -> Result<Vec<Split>, DatasetError> {
    let mut groups: HashMap<&str, Split> = HashMap::new();
    let mut splits = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let word = draft.word.as_deref().unwrap_or_default();
        let split = parse(word).ok_or_else(|| DatasetError::UnknownSplit {
            file: file.to_owned(),
            place: draft.place,
            column: column.to_owned(),
            word: word.to_owned(),
        })?;
        let before = *groups.entry(&draft.group).or_insert(split);
        if before != split {
            return Err(DatasetError::GroupStraddles {
                file: file.to_owned(),
                place: draft.place,
                group: draft.group.clone(),
                split,
                before,
            });
        }
        splits.push(split);
    }
    match [Split::Train, Split::Test].into_iter().find(|s| !splits.contains(s)) {
        Some(split) => Err(DatasetError::MissingSplit { file: file.to_owned(), column: column.to_owned(), split }),
        None => Ok(splits),
    }
}

fn parse(word: &str) -> Option<Split> {
    match word.trim().to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}
