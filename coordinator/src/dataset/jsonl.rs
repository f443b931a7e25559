//! JSON Lines: one object a line; blank lines are passed over. Or one array of such objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use limbic_proto::spec::DatasetSpec;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::columns::{Cell, Columns};
use super::error::{DatasetError, Place};
use super::read::Read;

/// Reads the text twice: once for the columns there are (lines may differ), once for the rows.
pub(super) fn read(spec: &DatasetSpec, file: &str, text: &str) -> Result<Read, DatasetError> {
    let all = rows(file, text)?;
    if all.is_empty() {
        return Err(DatasetError::Empty { file: file.to_owned() });
    }
    let mut existing = BTreeSet::new();
    for (place, line) in &all {
        let (place, Keys(keys)) = (*place, parse(file, *place, line)?);
        let mut own = BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !own.insert(*key)) {
            let message = format!("has the key `{twice}` twice; keep one");
            return Err(DatasetError::Syntax { file: file.to_owned(), place, message });
        }
        existing.extend(keys);
    }
    let columns = Columns::resolve(spec, file, &existing.into_iter().collect::<Vec<_>>())?;
    let mut utterances = Vec::new();
    for (place, line) in all {
        let object: BTreeMap<String, Value> = parse(file, place, line)?;
        utterances.push(columns.utterance(file, place, |column| object.get(column).map_or(Cell::Missing, cell))?);
    }
    Ok(Read { columns, utterances })
}

/// An object's keys as they are written, which may be twice.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Keys, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        from.deserialize_map(Object)
    }
}

/// The objects as they are written, each with its place: of an array its number, else its line.
fn rows<'a>(file: &str, text: &'a str) -> Result<Vec<(Place, &'a str)>, DatasetError> {
    if text.trim_start().starts_with('[') {
        let array: Vec<&'a RawValue> = serde_json::from_str(text).map_err(|e| {
            let message = format!("is not an array in JSON: {}", reason(&e));
            DatasetError::Syntax { file: file.to_owned(), place: Place::Line(e.line()), message }
        })?;
        return Ok(array.into_iter().enumerate().map(|(i, row)| (Place::Row(i + 1), row.get())).collect());
    }
    let numbered = text.split('\n').enumerate().map(|(i, line)| (Place::Line(i + 1), line));
    Ok(numbered.filter(|(_, line)| !line.trim().is_empty()).collect())
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
