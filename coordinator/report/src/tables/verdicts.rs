//! `verdicts.parquet`: one row per judged reply and source.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, StringArray, UInt64Array};
use arrow_schema::DataType;

use super::{Table, constant, field};
use crate::results::{Results, Source};
use crate::study::{ReportError, Study};

/// The file's bytes; none where nobody judged.
pub fn verdicts(study: &Study, results: &Results) -> Result<Option<Vec<u8>>, ReportError> {
    if results.calls.is_empty() {
        return Ok(None);
    }
    let text = DataType::Utf8;
    let mut table = Table::new(
        "verdicts.parquet",
        &study.software,
        vec![
            field("sweep", text.clone(), false),
            field("model", text.clone(), false),
            field("condition", text.clone(), false),
            field("sampling_seed", DataType::UInt64, true),
            field("source", text.clone(), false),
            field("judge", text.clone(), true),
            field("row_id", text.clone(), false),
            field("group", text.clone(), false),
            field("truth", text.clone(), false),
            field("verdict", text, false),
            field("p_verdict", DataType::Float32, true),
        ],
        Vec::new(),
    )?;
    for calls in &results.calls {
        let rows: Vec<(usize, u32)> = calls.calls.iter().enumerate().filter_map(|(r, c)| Some((r, (*c)?))).collect();
        let texts = |value: &dyn Fn(usize, u32) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, c)| value(*r, *c))))
        };
        let (source, judge) = match calls.source {
            Source::Judge { model } => ("judge", Some(model)),
            Source::Probe => ("probe", None),
        };
        let of_judge = judge.and_then(|judge| {
            let (place, seed) = (calls.place, calls.sampling_seed);
            let ours = (judge, place.model, place.condition, seed);
            study.verdicts.iter().find(|v| (v.judge, v.model, v.condition, v.sampling_seed) == ours)
        });
        let probability = |(row, call): &(usize, u32)| Some(of_judge?.values[row * study.classes.len() + *call as usize]);
        table.append(vec![
            constant(Some(&study.sweep), rows.len()),
            constant(Some(&study.models[calls.place.model].name), rows.len()),
            constant(Some(&study.conditions[calls.place.condition].name), rows.len()),
            Arc::new(UInt64Array::from_iter(std::iter::repeat_n(calls.sampling_seed, rows.len()))),
            constant(Some(source), rows.len()),
            constant(judge.map(|m| study.models[m].name.as_str()), rows.len()),
            texts(&|r, _| study.test[r].id.clone()),
            texts(&|r, _| study.test[r].group.clone()),
            texts(&|r, _| study.classes[study.test[r].class as usize].clone()),
            texts(&|_, c| study.classes[c as usize].clone()),
            Arc::new(Float32Array::from_iter(rows.iter().map(probability))),
        ])?;
    }
    table.finish().map(Some)
}
