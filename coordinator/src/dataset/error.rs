//! Why a dataset is refused: every error names the file, the line or row, the column, what was found and what to do.

use std::fmt;

use limbic_proto::rows::Split;
use limbic_proto::spec::meant;

use crate::progress::counted;

/// Where in a file: text formats count lines, Parquet counts rows; both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file.
    Line(usize),
    /// A row of a Parquet file.
    Row(usize),
}

impl Place {
    /// The number alone.
    pub fn number(self) -> usize {
        match self {
            Place::Line(n) | Place::Row(n) => n,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(n) => write!(f, "line {n}"),
            Place::Row(n) => write!(f, "row {n}"),
        }
    }
}

/// The names there are, where another one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// All of them.
    pub names: Vec<String>,
    /// The one that was probably meant.
    pub hint: Option<String>,
}

impl Known {
    pub(super) fn new(wanted: &str, names: &[String]) -> Box<Known> {
        Box::new(Known { names: names.to_vec(), hint: meant(wanted, names.iter().map(String::as_str)).map(str::to_owned) })
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let quoted: Vec<String> = self.names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
        f.write_str(&quoted.join(", "))?;
        if self.names.len() > SHOWN {
            write!(f, " and {} more", self.names.len() - SHOWN)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; did you mean `{hint}`?"),
            None => Ok(()),
        }
    }
}

/// What is likely to be wrong with a file of one column, whose name has what separates columns elsewhere.
fn separated(columns: &Known) -> &'static str {
    match columns.names.as_slice() {
        [all] if all.contains('\t') => "; columns that tabs separate are read with `dataset.format: tsv`",
        [all] if all.contains(',') => "; columns that commas separate are read with `dataset.format: csv`",
        _ => "",
    }
}

/// Why a dataset is refused. None of these goes away by trying again: the file or the spec must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages name")]
pub enum DatasetError {
    /// `format: auto` and an ending that says nothing.
    #[error(
        "{file}: the ending tells no format (.jsonl, .ndjson, .json, .csv, .tsv, .parquet do, all but the last also with .gz or .zst behind them); set `dataset.format` to jsonl, csv, tsv or parquet"
    )]
    UnknownFormat { file: String },
    /// Nothing in it.
    #[error("{file}: holds no rows")]
    Empty { file: String },
    /// A file of a kind that isn't read.
    #[error("{file}: {what}")]
    Foreign { file: String, what: &'static str },
    /// What is compressed can't be unpacked.
    #[error("{file}: can't be unpacked with {how} ({message}): is the file whole?")]
    Packed { file: String, how: &'static str, message: String },
    /// No row has a text.
    #[error("{file}: column `{column}` is empty in all {rows} rows; check `dataset.text`")]
    AllTextsEmpty { file: String, column: String, rows: usize },
    /// Every row was left out.
    #[error("{file}: all {rows} rows have several labels or none, and `multiple_labels: skip` leaves such rows out")]
    AllSkipped { file: String, rows: usize },
    /// Every row has a label that is no class.
    #[error(
        "{file}: every row has a label that is no class, and `unknown_labels: skip` leaves such rows out; check `dataset.labels` and `dataset.label_map`"
    )]
    AllUnknown { file: String },
    /// No row has a label.
    #[error("{file}: none of its {rows} rows has a label; check `dataset.label` and `dataset.values`")]
    NoClasses { file: String, rows: usize },
    /// Fewer rows of a class than few-shot examples of it.
    #[error(
        "conditions: `few_shot` draws {asked} examples of each class from train, which has {rows} usable rows of class `{class}`, and one must stay: lower `per_class`, or add rows"
    )]
    TooFewExamples { asked: usize, class: String, rows: usize },
    /// Bytes that are no text.
    #[error("{file}, line {line}: is not UTF-8 (byte {byte:#04x} at position {position} of the line); save the file as UTF-8")]
    NotUtf8 { file: String, line: usize, position: usize, byte: u8 },
    /// Not the format's syntax.
    #[error("{file}, {place}: {message}")]
    Syntax { file: String, place: Place, message: String },
    /// Not a readable Parquet file.
    #[error("{file}: can't be read as Parquet: {message}")]
    Parquet { file: String, message: String },
    /// A column that the spec names (or needs) isn't there.
    #[error("{file}: has no column `{column}` (`dataset.{role}`); it has {known}{}", separated(known))]
    MissingColumn { file: String, role: &'static str, column: String, known: Box<Known> },
    /// Two columns of one name.
    #[error("{file}: has several columns named `{column}` (`dataset.{role}`); rename all but one")]
    AmbiguousColumn { file: String, role: &'static str, column: String },
    /// A value of the wrong type, or none.
    #[error("{file}, {place}, column `{column}`: expected {expected}, found {found}")]
    Value { file: String, place: Place, column: String, expected: &'static str, found: String },
    /// No text, or one of nothing but white space.
    #[error("{file}, {place}, column `{column}`: the text is empty; leave the row out, or set `dataset.empty_texts: skip`")]
    EmptyText { file: String, place: Place, column: String },
    /// A row without a label.
    #[error("{file}, {place}, column `{column}`: the row has no label; leave it out, or set `multiple_labels: skip`")]
    NoLabel { file: String, place: Place, column: String },
    /// A label that is neither in the map nor a class.
    #[error(
        "{file}, {place}, column `{column}`: unknown label `{label}`: add it to `label_map` or `labels`, or set `unknown_labels: skip` to leave such rows out; the classes are {known}"
    )]
    UnknownLabel { file: String, place: Place, column: String, label: String, known: Box<Known> },
    /// A row of several classes in a single-label sweep.
    #[error(
        "{file}, {place}, column `{column}`: the row has several labels ({}); set `multiple_labels: skip` to leave such rows out",
        labels.join(", ")
    )]
    SeveralLabels { file: String, place: Place, column: String, labels: Vec<String> },
    /// Vectors instead of lists of labels.
    #[error(
        "{file}, {place}, column `{column}`: lists of {length} zeros and ones are no lists of labels; give each class a column of its own and name those in `dataset.values`, or write the labels' names; where they are labels that are called so, say `dataset.labels: ['0', '1']`"
    )]
    OneHot { file: String, place: Place, column: String, length: usize },
    /// Labels that hardly repeat.
    #[error(
        "{file}: column `{column}` has {classes} classes in {rows} rows, and each needs a row in every split: is `dataset.label` the right column? `label_map` makes few classes of many"
    )]
    TooManyClasses { file: String, column: String, classes: usize, rows: usize },
    /// One class tells nothing apart.
    #[error("{file}: has one class only (`{class}`); a probe needs at least two")]
    OneClass { file: String, class: String },
    /// An id that came before.
    #[error("{file}, {place}: the id `{id}` is already that of {first}; ids must be unique")]
    DuplicateId { file: String, place: Place, id: String, first: String },
    /// A word that names no split.
    #[error(
        "{file}, {place}, column `{column}`: `{word}` is no split; write train (training), validation (valid, val, dev, development, eval, evaluation) or test (testing), or decline the column with `dataset.split: ''`"
    )]
    UnknownSplit { file: String, place: Place, column: String, word: String },
    /// The split column leaves out train or test.
    #[error("{file}, column `{column}`: no row is in `{}`; leave `dataset.split` out to split by shares", split.as_str())]
    MissingSplit { file: String, column: String, split: Split },
    /// A group in two of the given splits.
    #[error(
        "{file}, {place}: group `{group}` is in `{}` here and in `{}` before; name splits that keep groups whole, or none (`dataset.split: ''`, files in a list) to split by shares",
        split.as_str(),
        before.as_str()
    )]
    GroupStraddles { file: String, place: Place, group: String, split: Split, before: Split },
    /// A class that a split can't be judged on.
    #[error(
        "{file}: `{}` would have no row of class `{class}`, which has {} in {}; add rows, or merge the class into another with `label_map`{}",
        split.as_str(),
        counted(*rows, "row"),
        counted(*groups, "group"),
        if *alike { ". Rows that are nearly the same text are one group: `near_duplicates: ignore` parts them" } else { "" }
    )]
    ClassMissing { file: String, split: Split, class: String, rows: usize, groups: usize, alike: bool },
    /// A limit below what the strata need.
    #[error("`dataset.limit` is {limit}: at least {needed} rows are needed for every class to reach every split")]
    LimitTooSmall { limit: usize, needed: usize },
}
