//! `results.parquet`: one row per prediction and metric.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use arrow_schema::DataType;

use super::{Identity, Table, field};
use crate::results::Results;
use crate::study::{ReportError, Study};

/// The file's bytes. Nulls stand where something doesn't apply (a baseline has no layer) or wasn't computed.
pub fn results(study: &Study, results: &Results) -> Result<Vec<u8>, ReportError> {
    let (text, real, int) = (DataType::Utf8, DataType::Float64, DataType::UInt64);
    let mut table = Table::new(
        "results.parquet",
        &study.software,
        vec![
            field("sweep", text.clone(), false),
            field("model", text.clone(), true),
            field("revision", text.clone(), true),
            field("params", int.clone(), true),
            field("layer", text.clone(), true),
            field("depth", real.clone(), true),
            field("site", text.clone(), true),
            field("normed", DataType::Boolean, true),
            field("condition", text.clone(), true),
            field("offset", DataType::UInt32, true),
            field("pooling", text.clone(), true),
            field("context", text.clone(), true),
            field("probe", text.clone(), false),
            field("control", text.clone(), true),
            field("fitted_condition", text.clone(), true),
            field("fitted_offset", DataType::UInt32, true),
            field("seed", int.clone(), false),
            field("sampling_seed", int.clone(), true),
            field("split", text.clone(), false),
            field("level", text.clone(), true),
            field("metric", text, false),
            field("value", real.clone(), false),
            field("lo", real.clone(), true),
            field("hi", real, true),
            field("n", int.clone(), false),
            field("train", int, true),
        ],
        Vec::new(),
    )?;
    // Some thousand rows a batch: a batch of a few dozen costs more in overhead than in data.
    for (predictions, scores) in study.predictions.chunks(256).zip(results.scores.chunks(256)) {
        let rows: Vec<_> = predictions.iter().zip(scores).flat_map(|(p, s)| s.iter().map(move |(id, e)| (p, id, e))).collect();
        let ids: Vec<Identity<'_>> = rows.iter().map(|(p, ..)| Identity::new(study, p)).collect();
        let model = |m: Option<usize>| m.and_then(|m| study.models.get(m));
        let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        table.append(vec![
            super::constant(Some(&study.sweep), rows.len()),
            texts(ids.iter().map(|i| i.model).collect()),
            texts(rows.iter().map(|(p, ..)| model(p.model).map(|m| m.digest.as_str())).collect()),
            Arc::new(UInt64Array::from_iter(rows.iter().map(|(p, ..)| model(p.model).map(|m| m.parameters)))),
            texts(ids.iter().map(|i| i.layer.as_deref()).collect()),
            Arc::new(Float64Array::from_iter(rows.iter().map(|(p, ..)| Some(p.layer?.depth(model(p.model)?.layers))))),
            texts(rows.iter().map(|(p, ..)| p.layer.map(|l| l.site())).collect()),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|(p, ..)| p.layer.map(|l| l.normed())))),
            texts(ids.iter().map(|i| i.condition).collect()),
            Arc::new(UInt32Array::from_iter(ids.iter().map(|i| i.offset))),
            texts(ids.iter().map(|i| i.pooling).collect()),
            texts(ids.iter().map(|i| i.context).collect()),
            texts(rows.iter().map(|(p, ..)| Some(&*p.probe)).collect()),
            texts(ids.iter().map(|i| i.control).collect()),
            texts(ids.iter().map(|i| i.fitted_condition).collect()),
            Arc::new(UInt32Array::from_iter(ids.iter().map(|i| i.fitted_offset))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(p, ..)| p.seed))),
            Arc::new(UInt64Array::from_iter(ids.iter().map(|i| i.sampling_seed))),
            super::constant(Some("test"), rows.len()),
            texts(rows.iter().map(|(_, id, _)| results.catalogue.name(*id).level.map(|l| study.options.levels[l].name.as_str())).collect()),
            texts(rows.iter().map(|(_, id, _)| Some(results.catalogue.name(*id).name.as_str())).collect()),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., e)| e.value))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|(.., e)| e.lo))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|(.., e)| e.hi))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(.., e)| e.n as u64))),
            Arc::new(UInt64Array::from_iter(rows.iter().map(|(p, ..)| p.fit.as_ref().map(|fit| fit.train as u64)))),
        ])?;
    }
    table.finish()
}
