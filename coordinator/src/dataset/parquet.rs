//! Parquet: strings of any encoding, numbers, truth values, and lists of them; only the columns in use are decoded.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use limbic_proto::spec::DatasetSpec;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::columns::{Cell, Columns};
use super::error::{DatasetError, Place};
use super::read::Read;

/// Reads the columns in use, batch by batch.
pub(super) fn read(spec: &DatasetSpec, file: &str, bytes: Bytes, notes: &mut Vec<String>) -> Result<Read, DatasetError> {
    let fail = |e: &dyn std::fmt::Display| DatasetError::Parquet { file: file.to_owned(), message: e.to_string() };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| fail(&e))?;
    let existing: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let columns = Columns::resolve(spec, file, &existing)?;
    let label = columns.label().map(str::to_owned);
    let names = label.as_deref().map(|label| class_names(&builder, spec, label)).unwrap_or_default();
    if let Some(label) = label.as_deref().filter(|_| !names.is_empty()) {
        notes.push(format!("the numbers in column `{label}` were replaced by the {} label names the file carries", names.len()));
    }
    let used = columns.names();
    let roots = existing.iter().enumerate().filter(|(_, name)| used.contains(&name.as_str())).map(|(i, _)| i);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut utterances = Vec::new();
    for batch in builder.with_projection(mask).build().map_err(|e| fail(&e))? {
        let batch = batch.map_err(|e| fail(&e))?;
        let schema = batch.schema();
        let decoded: HashMap<&str, Column> =
            schema.fields().iter().zip(batch.columns()).map(|(f, a)| (f.name().as_str(), decode(a))).collect();
        for i in 0..batch.num_rows() {
            let place = Place::Row(utterances.len() + 1);
            let cell = |column: &str| {
                let cell = decoded[column].cell(i);
                if Some(column) == label.as_deref() { named(cell, &names) } else { cell }
            };
            utterances.push(columns.utterance(file, place, cell)?);
        }
    }
    Ok(Read { columns, utterances })
}

/// A column of one batch.
enum Column {
    Scalars(Scalars),
    Lists(ListArray, Scalars),
    Other(String),
}

/// Values as text, and what they are.
struct Scalars {
    array: StringArray,
    of: fn(String) -> Cell,
}

impl Scalars {
    fn cell(&self, i: usize) -> Cell {
        if self.array.is_null(i) { Cell::Missing } else { (self.of)(self.array.value(i).to_owned()) }
    }
}

impl Column {
    fn cell(&self, i: usize) -> Cell {
        match self {
            Column::Scalars(scalars) => scalars.cell(i),
            Column::Lists(lists, _) if lists.is_null(i) => Cell::Missing,
            Column::Lists(lists, items) => {
                let (start, end) = (lists.value_offsets()[i] as usize, lists.value_offsets()[i + 1] as usize);
                Cell::List((start..end).map(|j| items.cell(j)).collect())
            }
            Column::Other(kind) => Cell::Other(format!("a value of type {kind}")),
        }
    }
}

fn decode(array: &ArrayRef) -> Column {
    let other = || Column::Other(array.data_type().to_string());
    match array.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let narrow = DataType::List(Field::new("item", item.data_type().clone(), true).into());
            let Ok(lists) = cast(array, &narrow) else { return other() };
            let lists = lists.as_list::<i32>().clone();
            match scalars(lists.values()) {
                Some(items) => Column::Lists(lists, items),
                None => other(),
            }
        }
        _ => scalars(array).map_or_else(other, Column::Scalars),
    }
}

fn scalars(array: &ArrayRef) -> Option<Scalars> {
    let value = match array.data_type() {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    let of = match value {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Cell::Text,
        DataType::Boolean => |text: String| Cell::Bool(text == "true"),
        whole if whole.is_integer() => Cell::Whole,
        real if real.is_floating() || real.is_decimal() => Cell::Real,
        _ => return None,
    };
    let array = cast(array, &DataType::Utf8).ok()?;
    Some(Scalars { array: array.as_string::<i32>().clone(), of })
}

/// The label names that Hugging Face's `datasets` writes beside numbered labels (its `ClassLabel`). None where the spec
/// itself speaks of numbers.
fn class_names(builder: &ParquetRecordBatchReaderBuilder<Bytes>, spec: &DatasetSpec, label: &str) -> Vec<String> {
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let text = metadata.into_iter().flatten().find(|kv| kv.key == "huggingface").and_then(|kv| kv.value.as_deref());
    let Some(Ok(value)) = text.map(serde_json::from_str::<Value>) else { return Vec::new() };
    let feature = &value["info"]["features"][label];
    let names = [&feature["names"], &feature["feature"]["names"], &feature[0]["names"]].into_iter().find_map(Value::as_array);
    let names: Vec<String> = names.into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    let numbered = |i: usize| spec.label_map.contains_key(&i.to_string()) || spec.labels.contains(&i.to_string());
    if (0..names.len()).any(numbered) { Vec::new() } else { names }
}

fn named(cell: Cell, names: &[String]) -> Cell {
    match cell {
        Cell::Whole(digits) => match digits.parse::<usize>().ok().and_then(|i| names.get(i)) {
            Some(name) => Cell::Text(name.clone()),
            None => Cell::Whole(digits),
        },
        Cell::List(cells) => Cell::List(cells.into_iter().map(|c| named(c, names)).collect()),
        other => other,
    }
}
