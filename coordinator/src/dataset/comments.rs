//! Raw comments: texts that a corpus is to be made of, with no labels or with some that are only compared.

use limbic_proto::rows::Scheme;
use limbic_proto::spec::{Balance, Comments, DatasetSpec, EmptyTexts, MultipleLabels, NearDuplicates, SplitShares, UnknownLabels};

use super::error::DatasetError;
use super::read::{Source, read};
use super::{Draft, File, ids};

/// A raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Unique among the comments.
    pub id: String,
    /// The text.
    pub text: String,
    /// Where it belongs: the author or thread, or itself.
    pub group: String,
    /// The labels that somebody gave it.
    pub labels: Vec<String>,
}

/// Reads comments, in the order of the files. What is noticed on the way is added to `notes`.
///
/// # Errors
/// The first thing in the files that can't be read so, with its line or row and column.
pub fn comments(spec: &Comments, files: Vec<File>, notes: &mut Vec<String>) -> Result<Vec<Comment>, DatasetError> {
    let Source { files, utterances } = read(&columns(spec), files, notes)?;
    let labels: Vec<Vec<String>> = utterances.iter().map(|u| u.labels.iter().map(|(label, _)| label.clone()).collect()).collect();
    let mut drafts: Vec<Draft> = utterances.into_iter().map(Draft::new).collect();
    ids::settle(&files, &mut drafts, notes)?;
    let comment = |(draft, labels): (Draft, _)| Comment { id: draft.id, text: draft.text, group: draft.group, labels };
    Ok(drafts.into_iter().zip(labels).map(comment).collect())
}

/// The same columns as a dataset's: no label, or any number of them.
fn columns(spec: &Comments) -> DatasetSpec {
    DatasetSpec {
        source: spec.source.clone(),
        format: spec.format,
        text: spec.text.clone(),
        // A raw file has such; nothing can be made of them.
        empty_texts: EmptyTexts::Skip,
        scheme: Scheme::Multi,
        label: spec.label.clone().unwrap_or_default(),
        values: Vec::new(),
        id: spec.id.clone(),
        group: spec.group.clone(),
        split: None,
        labels: Vec::new(),
        label_map: spec.label_map.clone(),
        unknown_labels: UnknownLabels::default(),
        label_separator: None,
        multiple_labels: MultipleLabels::default(),
        balance: Balance::default(),
        shares: SplitShares::default(),
        near_duplicates: NearDuplicates::default(),
        limit: None,
        seed: 0,
    }
}
