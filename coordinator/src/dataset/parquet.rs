//! Parquet: strings of any encoding, numbers, truth values, and lists of them; only the columns in use are decoded.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;
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
    let fail = |e: &dyn std::fmt::Display| {
        let message = e.to_string();
        let codec = message.rsplit_once("Disabled feature at compile time: ").map(|(_, codec)| codec.to_owned());
        let codec = codec.map(|codec| format!("it is compressed with {codec}; write it anew with snappy, zstd or gzip"));
        DatasetError::Parquet { file: file.to_owned(), message: codec.unwrap_or(message) }
    };
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
        let decoded: HashMap<&str, &ArrayRef> = schema.fields().iter().map(|f| f.name().as_str()).zip(batch.columns()).collect();
        for i in 0..batch.num_rows() {
            let place = Place::Row(utterances.len() + 1);
            let cell = |column: &str| {
                let cell = cell(decoded[column], i);
                if Some(column) == label.as_deref() { named(cell, &names) } else { cell }
            };
            utterances.push(columns.utterance(file, place, cell)?);
        }
    }
    Ok(Read { columns, utterances })
}

/// Whether values of a type can be anything here; a type that can't is named even where all of its values are null.
fn readable(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_nested() && readable(item.data_type())
        }
        DataType::Dictionary(_, value) => !value.is_nested() && readable(value),
        DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        number => number.is_integer() || number.is_floating() || number.is_decimal(),
    }
}

/// What a row has in a column.
fn cell(array: &dyn Array, i: usize) -> Cell {
    /// A number of a primitive column, as text.
    macro_rules! number {
        ($kind:ident, $type:ident) => {
            Cell::$kind(format!("{:?}", array.as_primitive::<$type>().value(i)))
        };
    }
    let list = |items: ArrayRef| Cell::List((0..items.len()).map(|j| cell(&items, j)).collect());
    match array.data_type() {
        other if !readable(other) => Cell::Other(format!("a value of type {other}")),
        DataType::Null => Cell::Missing,
        _ if array.is_null(i) => Cell::Missing,
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(i).to_owned()),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(i).to_owned()),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(i).to_owned()),
        DataType::Boolean => Cell::Bool(array.as_boolean().value(i)),
        DataType::Int8 => number!(Whole, Int8Type),
        DataType::Int16 => number!(Whole, Int16Type),
        DataType::Int32 => number!(Whole, Int32Type),
        DataType::Int64 => number!(Whole, Int64Type),
        DataType::UInt8 => number!(Whole, UInt8Type),
        DataType::UInt16 => number!(Whole, UInt16Type),
        DataType::UInt32 => number!(Whole, UInt32Type),
        DataType::UInt64 => number!(Whole, UInt64Type),
        DataType::Float16 => number!(Real, Float16Type),
        DataType::Float32 => number!(Real, Float32Type),
        DataType::Float64 => number!(Real, Float64Type),
        DataType::Decimal32(..) => Cell::Real(array.as_primitive::<Decimal32Type>().value_as_string(i)),
        DataType::Decimal64(..) => Cell::Real(array.as_primitive::<Decimal64Type>().value_as_string(i)),
        DataType::Decimal128(..) => Cell::Real(array.as_primitive::<Decimal128Type>().value_as_string(i)),
        DataType::Decimal256(..) => Cell::Real(array.as_primitive::<Decimal256Type>().value_as_string(i)),
        DataType::List(_) => list(array.as_list::<i32>().value(i)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(i)),
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(i)),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            cell(dictionary.values(), place(dictionary.keys(), i))
        }
        other => unreachable!("{other} is not readable"),
    }
}

/// Where among a dictionary's values that of a row is.
fn place(keys: &dyn Array, i: usize) -> usize {
    macro_rules! place {
        ($type:ident) => {
            keys.as_primitive::<$type>().value(i).as_usize()
        };
    }
    match keys.data_type() {
        DataType::Int8 => place!(Int8Type),
        DataType::Int16 => place!(Int16Type),
        DataType::Int32 => place!(Int32Type),
        DataType::Int64 => place!(Int64Type),
        DataType::UInt8 => place!(UInt8Type),
        DataType::UInt16 => place!(UInt16Type),
        DataType::UInt32 => place!(UInt32Type),
        DataType::UInt64 => place!(UInt64Type),
        other => unreachable!("a dictionary's keys are whole numbers, not {other}"),
    }
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

/// A numbered label by its name. Hugging Face writes -1 where there is none.
fn named(cell: Cell, names: &[String]) -> Cell {
    match cell {
        Cell::Whole(digits) if names.is_empty() => Cell::Whole(digits),
        Cell::Whole(digits) if digits == "-1" => Cell::Missing,
        Cell::Whole(digits) => match digits.parse::<usize>().ok().and_then(|i| names.get(i)) {
            Some(name) => Cell::Text(name.clone()),
            None => Cell::Other(format!("the number {digits}, which is none of the {} labels that the file has names for", names.len())),
        },
        Cell::List(cells) => Cell::List(cells.into_iter().map(|c| named(c, names)).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{FixedSizeListBuilder, Int8Builder, LargeListBuilder, ListBuilder, StringBuilder, TimestampSecondBuilder};
    use arrow_array::{
        BooleanArray, Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray, Float32Array, Float64Array,
        LargeStringArray, NullArray, StringArray, StringViewArray, TimestampSecondArray, UInt64Array,
    };

    use super::*;

    fn said(array: impl Array) -> Vec<String> {
        (0..array.len()).map(|i| format!("{:?}", cell(&array, i))).collect()
    }

    #[test]
    fn values_of_every_type_are_what_the_same_file_would_say_in_json() {
        assert_eq!(said(StringViewArray::from(vec![Some("a"), None])), [r#"Text("a")"#, "Missing"]);
        assert_eq!(said(UInt64Array::from(vec![Some(u64::MAX), None])), [r#"Whole("18446744073709551615")"#, "Missing"]);
        assert_eq!(said(Float64Array::from(vec![1.0, 0.1, -2.5e-9])), [r#"Real("1.0")"#, r#"Real("0.1")"#, r#"Real("-2.5e-9")"#]);
        assert_eq!(said(Float32Array::from(vec![0.1])), [r#"Real("0.1")"#]);
        let decimals = Decimal128Array::from(vec![-1205, 7]).with_precision_and_scale(6, 2).unwrap();
        assert_eq!(said(decimals), [r#"Real("-12.05")"#, r#"Real("0.07")"#]);
        assert_eq!(said(Decimal32Array::from(vec![15]).with_precision_and_scale(3, 1).unwrap()), [r#"Real("1.5")"#]);
        assert_eq!(said(Decimal64Array::from(vec![15]).with_precision_and_scale(3, 1).unwrap()), [r#"Real("1.5")"#]);
        let wide = Decimal256Array::from(vec![arrow_buffer::i256::from_i128(15)]).with_precision_and_scale(3, 1).unwrap();
        assert_eq!(said(wide), [r#"Real("1.5")"#]);
        assert_eq!(said(LargeStringArray::from(vec![Some("a"), None])), [r#"Text("a")"#, "Missing"]);
        assert_eq!(said(BooleanArray::from(vec![Some(true), None])), ["Bool(true)", "Missing"]);
        assert_eq!(said(NullArray::new(1)), ["Missing"]);
        assert_eq!(
            said(vec![Some("b"), None, Some("b")].into_iter().collect::<DictionaryArray<Int8Type>>()),
            [r#"Text("b")"#, "Missing", r#"Text("b")"#]
        );
        let values: ArrayRef = Arc::new(StringArray::from(vec![None, Some("c")]));
        let dictionary = DictionaryArray::<UInt16Type>::new(vec![1, 0].into(), values);
        assert_eq!(said(dictionary), [r#"Text("c")"#, "Missing"], "a value of a dictionary that is null");
        let mut large = LargeListBuilder::new(StringBuilder::new());
        large.append_value([Some("x"), None]);
        large.append_null();
        assert_eq!(said(large.finish()), [r#"List([Text("x"), Missing])"#, "Missing"]);
        let mut fixed = FixedSizeListBuilder::new(Int8Builder::new(), 2);
        fixed.values().append_slice(&[3, 4]);
        fixed.append(true);
        assert_eq!(said(fixed.finish()), [r#"List([Whole("3"), Whole("4")])"#]);
        let other = r#"Other("a value of type Timestamp(s)")"#;
        assert_eq!(said(TimestampSecondArray::from(vec![Some(5), None])), [other, other]);
        let mut times = ListBuilder::new(TimestampSecondBuilder::new());
        times.append(true);
        assert!(said(times.finish())[0].starts_with(r#"Other("a value of type List("#), "an empty list of what can't be read");
    }
}
