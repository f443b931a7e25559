//! Tables: what stands in them, and that it agrees.

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};

use super::{batches, evaluated, made, small};

#[test]
fn the_same_study_gives_the_same_bytes() {
    let (study, results) = small();
    assert_eq!(evaluated(&study), results);
    assert_eq!(made(&study, &results), made(&study, &results));
}

#[test]
fn tables_are_tidy_and_complete() {
    let (study, results) = small();
    let files = made(&study, &results);
    let rows: usize = batches(&files["results.parquet"]).iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, results.scores.iter().map(|s| s.len()).sum::<usize>());
    let first = &batches(&files["results.parquet"])[0];
    for (name, kind) in [("value", "Float64"), ("layer", "Utf8"), ("normed", "Boolean"), ("offset", "UInt32"), ("n", "UInt64")] {
        assert_eq!(first.schema().field_with_name(name).expect("a column").data_type().to_string(), kind);
    }
    // Accuracy computed again from predictions.parquet is the accuracy of results.parquet.
    let mut right: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let text = |batch: &arrow_array::RecordBatch, column: &str, row: usize| {
        let column = batch.column_by_name(column).expect("a column").as_string::<i32>();
        if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
    };
    let key = |batch: &arrow_array::RecordBatch, row: usize| {
        let offset = batch.column_by_name("offset").expect("a column").as_primitive::<arrow_array::types::UInt32Type>();
        let seed = batch.column_by_name("seed").expect("a column").as_primitive::<arrow_array::types::UInt64Type>().value(row);
        let words = ["model", "layer", "condition", "context", "probe"].map(|c| text(batch, c, row)).join("/");
        format!("{words}/{:?}/{seed}", offset.is_valid(row).then(|| offset.value(row)))
    };
    for batch in batches(&files["predictions.parquet"]) {
        let lists = batch.column_by_name("values").expect("a column").as_list::<i32>().clone();
        for row in 0..batch.num_rows() {
            let entry = right.entry(key(&batch, row)).or_default();
            entry.0 += f64::from(u8::from(text(&batch, "truth", row) == text(&batch, "predicted", row)));
            entry.1 += 1.0;
            let list = lists.value(row);
            assert!((list.as_primitive::<Float32Type>().values().iter().sum::<f32>() - 1.0).abs() < 1e-3);
        }
    }
    let mut seen = 0;
    for batch in batches(&files["results.parquet"]) {
        let values = batch.column_by_name("value").expect("a column").as_primitive::<Float64Type>().clone();
        for row in (0..batch.num_rows()).filter(|r| text(&batch, "metric", *r) == "accuracy") {
            let (hits, n) = right[&key(&batch, row)];
            assert!((values.value(row) - hits / n).abs() < 1e-12);
            seen += 1;
        }
    }
    assert_eq!(seen, right.len());
    assert_eq!(batches(&files["runs.parquet"]).iter().map(|b| b.num_rows()).sum::<usize>(), study.runs.len());
}
