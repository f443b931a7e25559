//! The dataset part of a spec: where the rows come from, which columns mean what, how they are split.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Sources;
use crate::rows::Scheme;

/// Labelled utterances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// A local path, an object-store URL, or `hf://datasets/OWNER/NAME[@REVISION]/FILE`; a list of them, which are read one
    /// after the other; or `{train: …, validation: …, test: …}`, whose files hold the rows of one split each. A `*` in a file's
    /// name stands for whatever is there: `data/train-*.parquet` are all such files, by name.
    pub source: Sources,
    /// The file format; `auto` goes by each file's ending. Text formats may be compressed, with gzip or zstd.
    #[serde(default)]
    pub format: Format,
    /// The column of the utterance.
    #[serde(default = "text")]
    pub text: String,
    /// What to do with rows whose text is empty.
    #[serde(default, skip_serializing_if = "EmptyTexts::is_default")]
    pub empty_texts: EmptyTexts,
    /// What the labels are: one class a row, several, intensities of classes, or numbers on scales.
    #[serde(default, skip_serializing_if = "Scheme::is_default")]
    pub scheme: Scheme,
    /// The column of the label: a string, or a list of strings (see `scheme` and `multiple_labels`). Under `intensity` a map
    /// from class to level (JSONL only). Not read where `values` names columns.
    #[serde(default = "label")]
    pub label: String,
    /// The columns of numbers, which name the scales or classes: under `continuous` always, under `intensity` (whole numbers,
    /// 0 to 100) and `multi` (0 or 1) where the labels stand in a column for each class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The column of the row's id; the default is `id` where there is one and every row has one of its own there, else the row
    /// number. Empty = the row number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The column of the group: rows of one group never straddle a split, and intervals resample groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The column that says `train`, `validation` or `test`; the default is `split` where there is one. Without it, or where this is
    /// empty, rows are split here by `shares`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The classes, in the order of the reports; the default is all labels found, sorted (those of `values` in their order).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Source label -> class; source labels that it doesn't name must be classes themselves (see `unknown_labels`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_map: BTreeMap<String, String>,
    /// What to do with labels that are neither classes nor in the map.
    #[serde(default, skip_serializing_if = "UnknownLabels::is_default")]
    pub unknown_labels: UnknownLabels,
    /// What stands between the labels of one text, such as `,` in `2,27` or `['joy', 'love']`, where files can't hold lists (CSV and TSV).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
    /// What to do, under `single`, with a row of several labels or none (after `label_map`).
    #[serde(default)]
    pub multiple_labels: MultipleLabels,
    /// Class balancing.
    #[serde(default)]
    pub balance: Balance,
    /// The shares of the three splits, where there is no split column.
    #[serde(default)]
    pub shares: SplitShares,
    /// Whether near-duplicates are kept in one split.
    #[serde(default)]
    pub near_duplicates: NearDuplicates,
    /// At most this many rows, drawn with `seed`, stratified by class (under `continuous` by fifths of the first scale).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The seed of splitting, balancing and drawing.
    #[serde(default)]
    pub seed: u64,
}

fn text() -> String {
    "text".to_owned()
}

fn label() -> String {
    "label".to_owned()
}

/// The file formats that rows are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By the file's ending.
    #[default]
    Auto,
    /// One JSON object a line, or one array of objects.
    Jsonl,
    /// Comma-separated values with a header line.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

/// What to do with rows that have no text, or one of white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmptyTexts {
    /// Refuse the dataset, naming the row.
    #[default]
    Error,
    /// Leave such rows out (their number is told).
    Skip,
}

impl EmptyTexts {
    fn is_default(&self) -> bool {
        *self == EmptyTexts::default()
    }
}

/// What to do with labels that are neither classes nor in the label map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownLabels {
    /// Refuse the dataset, naming the row.
    #[default]
    Error,
    /// Leave out rows that have one (their number is told).
    Skip,
    /// Leave out the label alone, as if the row didn't have it.
    Ignore,
}

impl UnknownLabels {
    fn is_default(&self) -> bool {
        *self == UnknownLabels::default()
    }
}

/// What to do with a row of several labels in a single-label sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MultipleLabels {
    /// Refuse the dataset, naming the row.
    #[default]
    Error,
    /// Leave such rows out (their number is told).
    Skip,
}

/// Class balancing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Leave classes as they are.
    #[default]
    None,
    /// Every class cut to the smallest one's size, within each split.
    Undersample,
    /// As in the study: in train, minority classes are repeated up to the largest class other than `neutral`, and
    /// `neutral` is cut to it; validation and test are cut to their smallest class.
    Paper,
}

/// The shares of the three splits; they must sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitShares {
    /// Rows that probes are fitted on.
    pub train: f64,
    /// Rows that strengths and epochs are chosen on.
    pub validation: f64,
    /// Rows that every reported number is measured on.
    pub test: f64,
}

impl Default for SplitShares {
    fn default() -> Self {
        SplitShares { train: 0.7, validation: 0.15, test: 0.15 }
    }
}

/// What to do about near-duplicates (word 3-gram Jaccard similarity of at least 0.8 after case and punctuation are
/// folded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NearDuplicates {
    /// Put them into one split, as if they were one group.
    #[default]
    Together,
    /// Don't look for them.
    Ignore,
}
