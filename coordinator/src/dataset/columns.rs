//! Which column means what, and how a row's cells become an utterance; shared by all readers.

use limbic_proto::rows::Scheme;
use limbic_proto::spec::{DatasetSpec, EmptyTexts, MultipleLabels};

use super::error::{DatasetError, Known, Place};

/// The highest level of an intensity: what is finer than this is a scale.
const MOST_LEVELS: f64 = 100.0;

/// One value of a row, whatever the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// No such key, or null.
    Missing,
    Text(String),
    /// A whole number, as its digits.
    Whole(String),
    /// Any other number, as it is written.
    Real(String),
    Bool(bool),
    List(Vec<Cell>),
    Map(Vec<(String, Cell)>),
    /// Anything else, named for messages.
    Other(String),
}

impl Cell {
    fn found(&self) -> String {
        match self {
            Cell::Missing => "nothing".to_owned(),
            Cell::Text(text) if text.trim().is_empty() => "an empty string".to_owned(),
            Cell::Text(_) => "a string".to_owned(),
            Cell::Whole(digits) | Cell::Real(digits) => format!("the number {digits}"),
            Cell::Bool(value) => format!("`{value}`"),
            Cell::List(_) => "a list".to_owned(),
            Cell::Map(_) => "an object".to_owned(),
            Cell::Other(what) => what.clone(),
        }
    }

    /// The same where a number is expected, which text formats write as a string.
    fn found_for_number(&self) -> String {
        match self {
            Cell::Text(text) if text.contains(',') && text.trim().replacen(',', ".", 1).parse::<f64>().is_ok() => {
                format!("`{text}`: decimals are written with a point")
            }
            Cell::Text(text) if !text.trim().is_empty() => format!("`{}`", text.chars().take(40).collect::<String>()),
            other => other.found(),
        }
    }

    /// A string or a whole number with something in it, without the spaces around it.
    fn word(self) -> Result<String, Cell> {
        match self {
            // As pandas writes whole numbers of a column in which some are missing.
            Cell::Real(number) if number.ends_with(".0") => Ok(number.strip_suffix(".0").unwrap_or(&number).to_owned()),
            Cell::Text(word) | Cell::Whole(word) if !word.trim().is_empty() => Ok(word.trim().to_owned()),
            other => Err(other),
        }
    }

    /// A finite number.
    fn number(&self) -> Option<f64> {
        match self {
            Cell::Text(text) | Cell::Whole(text) | Cell::Real(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }
}

/// A row as it was read, its labels not yet mapped.
#[derive(Debug)]
pub(super) struct Utterance {
    /// Its number, counted over all files from 1.
    pub(super) number: usize,
    /// Which of the files it is from.
    pub(super) file: usize,
    pub(super) place: Place,
    pub(super) text: String,
    /// What the row is labelled with, and how much: 1 for a label without more, a level, or a place on a scale. Labels of
    /// level 0 are left out; scales are all there, in the spec's order.
    pub(super) labels: Vec<(String, f32)>,
    pub(super) id: Option<String>,
    pub(super) group: Option<String>,
    pub(super) split: Option<String>,
}

/// Where a row's labels stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Labels {
    /// In one column: a label, or a list of them, be it in a text with separators. A row may have none under [`Scheme::Multi`], and where
    /// such are skipped.
    Words { column: String, may_lack: bool, separator: Option<String> },
    /// In one column: a map from label to level.
    Map { column: String },
    /// Nowhere: they are still to be found.
    None,
    /// In a column for each.
    Numbers { columns: Vec<String>, kind: Kind },
}

/// What the numbers in columns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Level,
    Place,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Kind::Flag => "0 or 1",
            Kind::Level => "a whole number in 0..100",
            Kind::Place => "a number",
        }
    }

    fn read(self, cell: &Cell) -> Option<f32> {
        let fits = |n: &f64| match self {
            Kind::Flag => *n == 0.0 || *n == 1.0,
            Kind::Level => n.fract() == 0.0 && (0.0..=MOST_LEVELS).contains(n),
            Kind::Place => n.abs() <= f64::from(f32::MAX),
        };
        match (self, cell) {
            (Kind::Flag, Cell::Bool(flag)) => Some(f32::from(u8::from(*flag))),
            _ => cell.number().filter(fits).map(|n| n as f32),
        }
    }
}

/// The columns in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) text: String,
    /// Whether rows without a text are left out.
    pub(super) may_lack_text: bool,
    pub(super) labels: Labels,
    pub(super) id: Option<String>,
    /// Whether the spec names the column of ids: then every row must have one, and one of its own.
    pub(super) id_named: bool,
    pub(super) group: Option<String>,
    pub(super) split: Option<String>,
    /// Whether the spec names the split column: then every row must have a known word there.
    pub(super) split_named: bool,
}

impl Columns {
    /// Finds the spec's columns among those of the file. The defaults: `text`; `label`, else `labels`; `id` where there
    /// is one; no group; `split` where there is one, however it is written.
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
        let optional = |role, named: &Option<String>, default: Option<&str>| match (named.as_deref(), default) {
            // Said to be none.
            (Some(""), _) => Ok(None),
            (Some(column), _) => find(role, column).map(Some),
            (None, Some(default)) => find(role, default).map(Some),
            (None, None) => Ok(None),
        };
        let split = has("split").then_some("split");
        let split = split.or_else(|| existing.iter().map(String::as_str).find(|column| column.eq_ignore_ascii_case("split")));
        let text = find("text", &spec.text)?;
        let label = || {
            let label = if spec.label == "label" && !has("label") && has("labels") { "labels" } else { &spec.label };
            find("label", label)
        };
        let numbers = |kind| {
            let columns = spec.values.iter().map(|column| find("values", column)).collect::<Result<_, _>>()?;
            Ok(Labels::Numbers { columns, kind })
        };
        let labels = match (spec.scheme, spec.values.is_empty()) {
            (Scheme::Continuous, _) => numbers(Kind::Place)?,
            (Scheme::Intensity, false) => numbers(Kind::Level)?,
            (Scheme::Multi, false) => numbers(Kind::Flag)?,
            (Scheme::Intensity, true) => Labels::Map { column: label()? },
            _ if spec.label.is_empty() => Labels::None,
            (scheme, _) => {
                let may_lack = scheme == Scheme::Multi || spec.multiple_labels == MultipleLabels::Skip;
                Labels::Words { column: label()?, may_lack, separator: spec.label_separator.clone() }
            }
        };
        Ok(Columns {
            text,
            may_lack_text: spec.empty_texts == EmptyTexts::Skip,
            labels,
            id: optional("id", &spec.id, has("id").then_some("id"))?,
            id_named: spec.id.is_some(),
            group: spec.group.as_deref().map(|column| find("group", column)).transpose()?,
            split: optional("split", &spec.split, split)?,
            split_named: spec.split.is_some(),
        })
    }

    /// The column of labels in words; where there are several of numbers, none.
    pub(super) fn label(&self) -> Option<&str> {
        match &self.labels {
            Labels::Words { column, .. } | Labels::Map { column } => Some(column),
            Labels::Numbers { .. } | Labels::None => None,
        }
    }

    /// The names, each once, for readers that can leave other columns unread.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![self.text.as_str()];
        match &self.labels {
            Labels::Words { column, .. } | Labels::Map { column } => names.push(column),
            Labels::Numbers { columns, .. } => names.extend(columns.iter().map(String::as_str)),
            Labels::None => {}
        }
        names.extend([&self.id, &self.group, &self.split].into_iter().flatten().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Makes an utterance of one row, whose cells `cell` hands out by column; none if it is left out for lack of a text.
    pub(super) fn utterance(
        &self,
        file: &str,
        place: Place,
        mut cell: impl FnMut(&str) -> Cell,
    ) -> Result<Option<Utterance>, DatasetError> {
        let wrong = |column: &str, expected: &'static str, found: String| DatasetError::Value {
            file: file.to_owned(),
            place,
            column: column.to_owned(),
            expected,
            found,
        };
        let text = match cell(&self.text) {
            Cell::Text(text) if !text.trim().is_empty() => text,
            Cell::Text(_) | Cell::Missing if self.may_lack_text => return Ok(None),
            Cell::Text(_) | Cell::Missing => {
                return Err(DatasetError::EmptyText { file: file.to_owned(), place, column: self.text.clone() });
            }
            other => return Err(wrong(&self.text, "a string", other.found())),
        };
        let labels = match &self.labels {
            Labels::None => Vec::new(),
            Labels::Words { column, may_lack, separator } => match words(cell(column), separator.as_deref()) {
                Ok(words) if words.is_none() && !may_lack => {
                    return Err(DatasetError::NoLabel { file: file.to_owned(), place, column: column.clone() });
                }
                Ok(words) => words.unwrap_or_default().into_iter().map(|word| (word, 1.0)).collect(),
                Err(found) => return Err(wrong(column, "a string, a whole number or a list of them", found.found())),
            },
            Labels::Map { column } => match cell(column) {
                // Sources write no map where nothing is felt.
                Cell::Missing => Vec::new(),
                Cell::Map(levels) => {
                    let level = |(label, cell): (String, Cell)| match Kind::Level.read(&cell) {
                        Some(level) => Ok((label, level)),
                        None => Err(wrong(column, Kind::Level.expected(), format!("{} for `{label}`", cell.found_for_number()))),
                    };
                    let levels: Vec<(String, f32)> = levels.into_iter().map(level).collect::<Result<_, _>>()?;
                    levels.into_iter().filter(|(_, level)| *level > 0.0).collect()
                }
                other => return Err(wrong(column, "a map from class to level (columns of numbers are named in `values`)", other.found())),
            },
            Labels::Numbers { columns, kind } => {
                let mut labels = Vec::with_capacity(columns.len());
                for column in columns {
                    let cell = cell(column);
                    let number = kind.read(&cell).ok_or_else(|| wrong(column, kind.expected(), cell.found_for_number()))?;
                    labels.push((column.clone(), number));
                }
                labels.retain(|(_, number)| *kind == Kind::Place || *number > 0.0);
                labels
            }
        };
        let mut word = |column: &Option<String>| match column {
            Some(column) => cell(column).word().map(Some).map_err(|found| wrong(column, "a string or a whole number", found.found())),
            None => Ok(None),
        };
        let id = word(&self.id).or_else(|e| if self.id_named { Err(e) } else { Ok(None) })?;
        let group = word(&self.group)?;
        let split = word(&self.split).or_else(|e| if self.split_named { Err(e) } else { Ok(None) })?;
        Ok(Some(Utterance { number: 0, file: 0, place, text, labels, id, group, split }))
    }
}

/// The labels of a cell, of a text those between separators; none where it is an empty string or there is none.
fn words(cell: Cell, separator: Option<&str>) -> Result<Option<Vec<String>>, Cell> {
    match (cell, separator) {
        (Cell::Text(text), Some(separator)) => {
            let all = separated(&text, separator);
            Ok((!all.is_empty()).then_some(all))
        }
        (cell, _) => unseparated(cell),
    }
}

/// The labels of a text, without the brackets and quotes of a list that was written as one.
pub(super) fn separated(text: &str, separator: &str) -> Vec<String> {
    let text = text.trim();
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let bare = |label: &str| {
        let label = label.trim();
        let quoted = |quote: char| label.strip_prefix(quote).and_then(|label| label.strip_suffix(quote)).filter(|_| inside.is_some());
        quoted('"').or_else(|| quoted('\'')).unwrap_or(label).to_owned()
    };
    inside.unwrap_or(text).split(separator).map(bare).filter(|label| !label.is_empty()).collect()
}

fn unseparated(cell: Cell) -> Result<Option<Vec<String>>, Cell> {
    match cell {
        Cell::List(cells) => cells.into_iter().map(Cell::word).collect::<Result<_, _>>().map(Some),
        Cell::Missing => Ok(None),
        Cell::Text(label) if label.trim().is_empty() => Ok(None),
        one => one.word().map(|label| Some(vec![label])),
    }
}
