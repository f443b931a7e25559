//! Reading the Parquet files of a report.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};

/// What stands in a row of a column of single values, in words; none where nothing does.
pub fn words(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let found = batch.column_by_name(column).unwrap_or_else(|| panic!("there is no column `{column}`"));
    let text = || found.as_string_opt::<i32>().map(|a| a.value(row).to_owned());
    let number = || {
        let small = found.as_primitive_opt::<UInt32Type>().map(|a| a.value(row).to_string());
        let large = || found.as_primitive_opt::<UInt64Type>().map(|a| a.value(row).to_string());
        let real = || found.as_primitive_opt::<Float64Type>().map(|a| a.value(row).to_string());
        small.or_else(large).or_else(real)
    };
    let truth = || found.as_boolean_opt().map(|a| a.value(row).to_string());
    let unknown = || panic!("column `{column}` is of type {}", found.data_type());
    found.is_valid(row).then(|| text().or_else(number).or_else(truth).unwrap_or_else(unknown))
}
