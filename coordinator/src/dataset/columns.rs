//! Which column means what, and how a row's cells become an utterance; shared by all readers.

use limbic_proto::spec::DatasetSpec;

use super::error::{DatasetError, Known, Place};

/// One value of a row, whatever the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// No such key, or null.
    Missing,
    Text(String),
    /// A whole number, as its digits.
    Number(String),
    List(Vec<Cell>),
    /// Anything else, named for messages.
    Other(String),
}

impl Cell {
    fn found(&self) -> String {
        match self {
            Cell::Missing => "nothing".to_owned(),
            Cell::Text(text) if text.trim().is_empty() => "an empty string".to_owned(),
            Cell::Text(_) => "a string".to_owned(),
            Cell::Number(digits) => format!("the number {digits}"),
            Cell::List(_) => "a list".to_owned(),
            Cell::Other(what) => what.clone(),
        }
    }

    /// A string or a whole number with something in it.
    fn word(self) -> Result<String, Cell> {
        match self {
            Cell::Text(word) | Cell::Number(word) if !word.trim().is_empty() => Ok(word),
            other => Err(other),
        }
    }
}

/// A row as it was read, its labels not yet mapped.
#[derive(Debug)]
pub(super) struct Utterance {
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) labels: Vec<String>,
    pub(super) id: Option<String>,
    pub(super) group: Option<String>,
    pub(super) split: Option<String>,
}

/// The columns in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) text: String,
    pub(super) label: String,
    pub(super) id: Option<String>,
    pub(super) group: Option<String>,
    pub(super) split: Option<String>,
    /// Whether the spec names the split column: then every row must have a known word there.
    pub(super) split_named: bool,
}

impl Columns {
    /// Finds the spec's columns among those of the file. The defaults: `text`; `label`, else `labels`; `id` where there
    /// is one; no group; `split` where there is one.
    pub(super) fn resolve(spec: &DatasetSpec, file: &str, existing: &[String]) -> Result<Columns, DatasetError> {
        let has = |column: &str| existing.iter().any(|e| e == column);
        let find = |role: &'static str, column: &str| match existing.iter().filter(|e| *e == column).count() {
            1 => Ok(column.to_owned()),
            0 => {
                let known = Known::new(column, existing);
                Err(DatasetError::MissingColumn { file: file.to_owned(), role, column: column.to_owned(), known })
            }
            _ => Err(DatasetError::AmbiguousColumn { file: file.to_owned(), role, column: column.to_owned() }),
        };
        let optional = |role, named: &Option<String>, default: &str| match named {
            Some(column) => find(role, column).map(Some),
            None if has(default) => find(role, default).map(Some),
            None => Ok(None),
        };
        let label = if spec.label == "label" && !has("label") && has("labels") { "labels" } else { &spec.label };
        Ok(Columns {
            text: find("text", &spec.text)?,
            label: find("label", label)?,
            id: optional("id", &spec.id, "id")?,
            group: spec.group.as_deref().map(|column| find("group", column)).transpose()?,
            split: optional("split", &spec.split, "split")?,
            split_named: spec.split.is_some(),
        })
    }

    /// The names, each once, for readers that can leave other columns unread.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![self.text.as_str(), &self.label];
        names.extend([&self.id, &self.group, &self.split].into_iter().flatten().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Makes an utterance of one row, whose cells `cell` hands out by column.
    pub(super) fn utterance(&self, file: &str, place: Place, mut cell: impl FnMut(&str) -> Cell) -> Result<Utterance, DatasetError> {
        let wrong = |column: &str, expected: &'static str, found: &Cell| DatasetError::Value {
            file: file.to_owned(),
            place,
            column: column.to_owned(),
            expected,
            found: found.found(),
        };
        let text = match cell(&self.text) {
            Cell::Text(text) if text.trim().is_empty() => {
                return Err(DatasetError::EmptyText { file: file.to_owned(), place, column: self.text.clone() });
            }
            Cell::Text(text) => text,
            other => return Err(wrong(&self.text, "a string", &other)),
        };
        let labels = match cell(&self.label) {
            Cell::List(cells) => cells.into_iter().map(Cell::word).collect::<Result<Vec<_>, _>>(),
            Cell::Text(label) if label.trim().is_empty() => {
                return Err(DatasetError::NoLabel { file: file.to_owned(), place, column: self.label.clone() });
            }
            one => one.word().map(|label| vec![label]),
        };
        let labels = labels.map_err(|found| wrong(&self.label, "a string, a whole number or a list of them", &found))?;
        let mut word = |column: &Option<String>| match column {
            Some(column) => cell(column).word().map(Some).map_err(|found| wrong(column, "a string or a whole number", &found)),
            None => Ok(None),
        };
        let (id, group) = (word(&self.id)?, word(&self.group)?);
        let split = word(&self.split).or_else(|e| if self.split_named { Err(e) } else { Ok(None) })?;
        Ok(Utterance { place, text, labels, id, group, split })
    }
}
