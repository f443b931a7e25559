//! `runs.parquet`: one row per committed attempt.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use arrow_schema::DataType;

use super::{Table, constant, field};
use crate::study::{ReportError, Run, Study};

/// The file's bytes. Nulls stand where a kind of unit has no such count.
pub fn runs(study: &Study) -> Result<Vec<u8>, ReportError> {
    let (text, real, int) = (DataType::Utf8, DataType::Float64, DataType::UInt64);
    let mut table = Table::new(
        "runs.parquet",
        &study.software,
        vec![
            field("sweep", text.clone(), false),
            field("unit", text.clone(), false),
            field("kind", text.clone(), false),
            field("title", text.clone(), false),
            field("model", text.clone(), true),
            field("condition", text.clone(), true),
            field("sampling_seed", int.clone(), true),
            field("attempt", text.clone(), false),
            field("worker", text.clone(), false),
            field("software", text.clone(), false),
            field("device", text, false),
            field("seconds", real.clone(), false),
            field("tokens", int.clone(), false),
            field("tokens_per_second", real, true),
            field("bytes", int.clone(), false),
            field("rows", int.clone(), true),
            field("skipped_rows", int.clone(), true),
            field("truncated_rows", int.clone(), true),
            field("empty_replies", int.clone(), true),
            field("fits", int.clone(), true),
            field("absent_fits", int.clone(), true),
            field("unconverged_fits", int, true),
        ],
        Vec::new(),
    )?;
    let texts = |value: &dyn Fn(&Run) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(study.runs.iter().map(value))) };
    let name = |value: &dyn Fn(&Run) -> Option<String>| -> ArrayRef { Arc::new(StringArray::from_iter(study.runs.iter().map(value))) };
    let counted = |name: &str| -> ArrayRef { Arc::new(UInt64Array::from_iter(study.runs.iter().map(|r| r.counts.get(name).copied()))) };
    let rate = |r: &Run| (r.tokens > 0 && r.seconds > 0.0).then(|| r.tokens as f64 / r.seconds);
    table.append(vec![
        constant(Some(&study.sweep), study.runs.len()),
        texts(&|r| r.unit.clone()),
        texts(&|r| r.kind.as_str().to_owned()),
        texts(&|r| r.title.clone()),
        name(&|r| r.model.map(|_| study.model_name(r.model).to_owned())),
        name(&|r| r.condition.map(|_| study.condition_name(r.condition).to_owned())),
        Arc::new(UInt64Array::from_iter(study.runs.iter().map(|r| r.sampling_seed))),
        texts(&|r| r.attempt.clone()),
        texts(&|r| r.worker.clone()),
        texts(&|r| r.software.clone()),
        texts(&|r| r.device.clone()),
        Arc::new(Float64Array::from_iter_values(study.runs.iter().map(|r| r.seconds))),
        Arc::new(UInt64Array::from_iter_values(study.runs.iter().map(|r| r.tokens))),
        Arc::new(Float64Array::from_iter(study.runs.iter().map(rate))),
        Arc::new(UInt64Array::from_iter_values(study.runs.iter().map(|r| r.bytes))),
        counted("rows"),
        counted("skipped_rows"),
        counted("truncated_rows"),
        counted("empty_replies"),
        counted("fits"),
        counted("absent_fits"),
        counted("unconverged_fits"),
    ])?;
    table.finish()
}
