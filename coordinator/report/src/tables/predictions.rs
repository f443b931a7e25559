//! `predictions.parquet`: one row per prediction and test row it has, so that any statistic can be computed later.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, StringArray, UInt32Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};

use super::{Identity, Table, constant, field};
use crate::study::{ReportError, Study};

/// The file's bytes. Test rows without a state at a read-out are left out.
pub fn predictions(study: &Study) -> Result<Vec<u8>, ReportError> {
    let text = DataType::Utf8;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let mut table = Table::new(
        "predictions.parquet",
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
            field("seed", DataType::UInt64, false),
            field("row_id", text.clone(), false),
            field("group", text.clone(), false),
            field("truth", text.clone(), false),
            field("predicted", text, false),
            field("p_true", DataType::Float32, false),
            field("probabilities", DataType::List(item.clone()), false),
        ],
    )?;
    let classes = study.classes.len();
    for p in &study.predictions {
        let predicted = crate::evaluate::predicted(p, study.test.len(), classes);
        let rows: Vec<(usize, usize)> =
            predicted.iter().enumerate().filter_map(|(r, c)| Some((r, c.as_ref().copied()? as usize))).collect();
        let n = rows.len();
        let id = Identity::new(study, p);
        let texts = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let row = |r: usize| &p.probabilities[r * classes..][..classes];
        let probabilities: Float32Array = rows.iter().flat_map(|(r, _)| row(*r)).copied().collect::<Vec<f32>>().into();
        let lengths = OffsetBuffer::from_lengths(std::iter::repeat_n(classes, n));
        let list = ListArray::try_new(item.clone(), lengths, Arc::new(probabilities), None)
            .map_err(|e| ReportError::Table { path: "predictions.parquet", message: e.to_string() })?;
        table.append(vec![
            constant(Some(&study.sweep), n),
            constant(id.model, n),
            constant(id.layer.as_deref(), n),
            constant(id.condition, n),
            Arc::new(UInt32Array::from_iter(std::iter::repeat_n(id.offset, n))),
            constant(id.pooling, n),
            constant(id.context, n),
            constant(Some(&p.probe), n),
            Arc::new(UInt64Array::from_iter_values(std::iter::repeat_n(p.seed, n))),
            texts(rows.iter().map(|(r, _)| study.test[*r].id.as_str()).collect()),
            texts(rows.iter().map(|(r, _)| study.test[*r].group.as_str()).collect()),
            texts(rows.iter().map(|(r, _)| study.classes[study.test[*r].class as usize].as_str()).collect()),
            texts(rows.iter().map(|(_, c)| study.classes[*c].as_str()).collect()),
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|(r, _)| row(*r)[study.test[*r].class as usize]))),
            Arc::new(list),
        ])?;
    }
    table.finish()
}
