//! Ids: those of a column, or the rows' numbers.

use std::collections::HashMap;

use super::Draft;
use super::error::DatasetError;
use super::read::Files;

/// Makes sure that every row has an id of its own. A column that the spec names must have them. One that merely is called `id` is
/// followed if it has one for each row that stays, in every file; else rows are numbered, and a note says why.
pub(super) fn settle(files: &Files, drafts: &mut [Draft], notes: &mut Vec<String>) -> Result<(), DatasetError> {
    if files.iter().any(|columns| columns.id_named) {
        return twice(drafts).map_or(Ok(()), |(first, second)| Err(duplicate(files, first, second)));
    }
    let Some(column) = files.iter().find_map(|columns| columns.id.clone()) else { return Ok(()) };
    let Some(trouble) = trouble(files, &column, drafts) else { return Ok(()) };
    notes.push(format!("column `{column}` is not followed (name it in `dataset.id` to insist); rows are numbered: {trouble}"));
    drafts.iter_mut().for_each(Draft::number);
    Ok(())
}

/// Why rows can't go by a column.
fn trouble(files: &Files, column: &str, drafts: &[Draft]) -> Option<String> {
    if let Some(without) = drafts.iter().find(|draft| !draft.has_id) {
        return Some(match &files.columns(without.file).id {
            Some(_) => format!("row {} has none", without.number),
            None => format!("{} has no column `{column}`", files.name(without.file)),
        });
    }
    let (first, second) = twice(drafts)?;
    Some(format!("`{}` is the id of rows {} and {}", second.id, first.number, second.number))
}

/// The first two rows of one id.
fn twice(drafts: &[Draft]) -> Option<(&Draft, &Draft)> {
    let mut seen: HashMap<&str, &Draft> = HashMap::with_capacity(drafts.len());
    drafts.iter().find_map(|draft| Some((seen.insert(&draft.id, draft)?, draft)))
}

fn duplicate(files: &Files, first: &Draft, second: &Draft) -> DatasetError {
    let elsewhere = if first.file == second.file { String::new() } else { format!("{}, ", files.name(first.file)) };
    DatasetError::DuplicateId {
        file: files.name(second.file),
        place: second.place,
        id: second.id.clone(),
        first: format!("{elsewhere}{}", first.place),
    }
}
