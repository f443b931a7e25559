//! Given splits: those of a split column, with the words that it may hold, or of files that hold one split each.
//!
//! A column that the spec names must be right in every row. A column that merely is called `split` is followed only if
//! it has train and test rows, and it keeps declared groups whole; else the rows are split by shares, and a note says why.
//! One that has words for splits, and another word, is refused: rows that somebody held out would come into train.

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
        notes.extend(called(files).filter(|_| spec.split.is_none()));
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
        Err(e @ DatasetError::UnknownSplit { .. }) if drafts.iter().any(|d| d.word.as_deref().and_then(parse).is_some()) => Err(e),
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
    let word = |draft: &Draft| draft.word.as_deref().unwrap_or_default().trim().to_lowercase();
    let known = |draft: &Draft| {
        parse(&word(draft)).ok_or_else(|| DatasetError::UnknownSplit {
            file: files.name(draft.file),
            place: draft.place,
            column: column.to_owned(),
            word: draft.word.clone().unwrap_or_default(),
        })
    };
    let mut splits = drafts.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    // Beside other validation rows, and without any called test, those called eval are.
    let evaluated: Vec<bool> = drafts.iter().map(|draft| EVALUATION.contains(&word(draft).as_str())).collect();
    let other = splits.iter().zip(&evaluated).any(|(split, eval)| *split == Split::Validation && !eval);
    if other && !splits.contains(&Split::Test) {
        splits.iter_mut().zip(&evaluated).filter(|(_, eval)| **eval).for_each(|(split, _)| *split = Split::Test);
    }
    let mut groups: HashMap<&str, Split> = HashMap::new();
    for (draft, &split) in drafts.iter().zip(&splits) {
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
    }
    match [Split::Train, Split::Test].into_iter().find(|s| !splits.contains(s)) {
        Some(split) => Err(DatasetError::MissingSplit { file: files.all(), column: column.to_owned(), split }),
        None => Ok(splits),
    }
}

/// Words for rows that are tested on by some, and chosen on by others.
const EVALUATION: [&str; 2] = ["eval", "evaluation"];

fn parse(word: &str) -> Option<Split> {
    match word.trim().to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" | "development" => Some(Split::Validation),
        eval if EVALUATION.contains(&eval) => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}
