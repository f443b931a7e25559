//! `predictions.parquet`: one row per prediction and test row.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field};
use limbic_proto::axis::Context;
use limbic_proto::rows::Scheme;

use super::{Identity, Table, constant, field, lists};
use crate::evaluate::target::Target;
use crate::study::{Prediction, ReportError, Study};

/// Rows that the table holds at most; a larger study's has baselines and probes at offset 0 alone.
const ROWS: usize = 60_000_000;

/// Whether the table leaves out predictions beyond offset 0, controls and transfers, because there would be too many rows.
pub fn too_many(study: &Study) -> bool {
    study.predictions.len().saturating_mul(study.test.len()) > ROWS
}

/// The file's bytes. Rows without a state are left out.
pub fn predictions(study: &Study) -> Result<Vec<u8>, ReportError> {
    const PATH: &str = "predictions.parquet";
    let text = DataType::Utf8;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = DataType::List(item.clone());
    let mut table = Table::new(
        PATH,
        &study.software,
        vec![
            field("sweep", text.clone(), false),
            field("model", text.clone(), true),
            field("layer", text.clone(), true),
            field("condition", text.clone(), true),
            field("offset", DataType::UInt32, true),
            field("pooling", text.clone(), true),
            field("context", text.clone(), true),
            field("probe", text.clone(), false),
            field("control", text.clone(), true),
            field("fitted_condition", text.clone(), true),
            field("fitted_offset", DataType::UInt32, true),
            field("seed", DataType::UInt64, false),
            field("sampling_seed", DataType::UInt64, true),
            field("row_id", text.clone(), false),
            field("group", text.clone(), false),
            field("truth", text.clone(), true),
            field("predicted", text, true),
            field("p_true", DataType::Float32, true),
            field("values", list.clone(), false),
            field("true_values", list, true),
        ],
        Vec::new(),
    )?;
    let (classes, target, single) = (study.classes.len(), Target::new(study), study.scheme == Scheme::Single);
    let few = too_many(study);
    let kept = |p: &&Prediction| !few || (p.at_home() && p.read_out.is_none_or(|r| r.offset == 0 && r.context == Context::Full));
    for p in study.predictions.iter().filter(kept).filter(|p| p.exists()) {
        let fail = |message: String| ReportError::Table { path: PATH, message };
        let values = p.values.read().map_err(|message| ReportError::Read { what: format!("a prediction of {}", p.probe), message })?;
        let predicted = target.predicted(&values);
        let rows: Vec<usize> = (0..predicted.len()).filter(|r| predicted[*r].is_some()).collect();
        let n = rows.len();
        let id = Identity::new(study, p);
        let texts =
            |value: &dyn Fn(usize) -> Option<String>| -> ArrayRef { Arc::new(StringArray::from_iter(rows.iter().map(|r| value(*r)))) };
        let slice = |of: &[f32]| -> Vec<f32> { rows.iter().flat_map(|r| of[r * classes..][..classes].iter().copied()).collect() };
        let class = |c: u32| study.classes[c as usize].clone();
        table.append(vec![
            constant(Some(&study.sweep), n),
            constant(id.model, n),
            constant(id.layer.as_deref(), n),
            constant(id.condition, n),
            Arc::new(UInt32Array::from_iter(std::iter::repeat_n(id.offset, n))),
            constant(id.pooling, n),
            constant(id.context, n),
            constant(Some(&p.probe), n),
            constant(id.control, n),
            constant(id.fitted_condition, n),
            Arc::new(UInt32Array::from_iter(std::iter::repeat_n(id.fitted_offset, n))),
            Arc::new(UInt64Array::from_iter_values(std::iter::repeat_n(p.seed, n))),
            Arc::new(UInt64Array::from_iter(std::iter::repeat_n(id.sampling_seed, n))),
            texts(&|r| Some(study.test[r].id.clone())),
            texts(&|r| Some(study.test[r].group.clone())),
            texts(&|r| single.then(|| class(study.test[r].class))),
            texts(&|r| predicted[r].filter(|_| single).map(class)),
            Arc::new(Float32Array::from_iter(rows.iter().map(|r| single.then(|| values[r * classes + study.test[*r].class as usize])))),
            lists(&item, classes, n, Some(slice(&values))).map_err(fail)?,
            lists(&item, classes, n, (!single).then(|| slice(&target.values))).map_err(fail)?,
        ])?;
    }
    table.finish()
}
