//! JSON Lines: one object a line; blank lines are passed over.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::spec::DatasetSpec;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::columns::{Cell, Columns};
use super::error::{DatasetError, Place};
use super::read::Read;

/// Reads the text twice: once for the columns there are (lines may differ), once for the rows.
pub(super) fn read(spec: &DatasetSpec, file: &str, text: &str) -> Result<Read, DatasetError> {
    let mut existing = BTreeSet::new();
    for (place, line) in lines(text) {
        let object: BTreeMap<String, IgnoredAny> = parse(file, place, line)?;
        for key in object.into_keys() {
            existing.insert(key);
        }
    }
    let columns = Columns::resolve(spec, file, &existing.into_iter().collect::<Vec<_>>())?;
    let mut utterances = Vec::new();
    for (place, line) in lines(text) {
        let object: BTreeMap<String, Value> = parse(file, place, line)?;
        utterances.push(columns.utterance(file, place, |column| object.get(column).map_or(Cell::Missing, cell))?);
    }
    Ok(Read { columns, utterances })
}

fn lines(text: &str) -> impl Iterator<Item = (Place, &str)> {
    let numbered = text.split('\n').enumerate().map(|(i, line)| (Place::Line(i + 1), line));
    numbered.filter(|(_, line)| !line.trim().is_empty())
}

fn parse<'a, T: serde::Deserialize<'a>>(file: &str, place: Place, line: &'a str) -> Result<T, DatasetError> {
    serde_json::from_str(line).map_err(|e| {
        let what = if e.is_data() { "is not a JSON object" } else { "is not JSON" };
        DatasetError::Syntax { file: file.to_owned(), place, message: format!("{what} (column {}): {}", e.column(), reason(&e)) }
    })
}

/// The parser's message without its position: the line there is always 1.
fn reason(e: &serde_json::Error) -> String {
    let message = e.to_string();
    message.split(" at line ").next().unwrap_or(&message).to_owned()
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(n) if n.is_i64() || n.is_u64() => Cell::Whole(n.to_string()),
        Value::Number(n) => Cell::Real(n.to_string()),
        Value::Bool(b) => Cell::Bool(*b),
        Value::Array(items) => Cell::List(items.iter().map(cell).collect()),
        Value::Object(entries) => Cell::Map(entries.iter().map(|(key, value)| (key.clone(), cell(value))).collect()),
    }
}
