//! `geometry.parquet`: test rows along the first principal components of every cell whose geometry was described.

use std::sync::Arc;

use arrow_array::{Float32Array, StringArray};
use arrow_schema::DataType;

use super::{Table, constant, field};
use crate::study::{ReportError, Study};

/// Rows that the table holds at most; a larger study's has every so many layers.
const ROWS: usize = 20_000_000;

/// The file's bytes; none where no geometry was described.
pub fn geometry(study: &Study) -> Result<Option<Vec<u8>>, ReportError> {
    if study.geometry.is_empty() {
        return Ok(None);
    }
    let text = DataType::Utf8;
    let mut table = Table::new(
        "geometry.parquet",
        &study.software,
        vec![
            field("sweep", text.clone(), false),
            field("model", text.clone(), false),
            field("condition", text.clone(), false),
            field("layer", text.clone(), false),
            field("pooling", text.clone(), false),
            field("row_id", text.clone(), false),
            field("class", text, false),
            field("pc1", DataType::Float32, false),
            field("pc2", DataType::Float32, false),
            field("pc3", DataType::Float32, false),
        ],
        Vec::new(),
    )?;
    let step = (study.geometry.len() * study.test.len()).div_ceil(ROWS).max(1);
    for entry in study.geometry.iter().step_by(step) {
        let tensors = entry.tensors.read().map_err(|message| ReportError::Read { what: "geometry".to_owned(), message })?;
        let rows: Vec<(usize, &[f32])> =
            tensors.coordinates.chunks_exact(3).enumerate().filter(|(_, c)| c.iter().all(|v| v.is_finite())).collect();
        let n = rows.len();
        let component = |c: usize| Arc::new(Float32Array::from_iter_values(rows.iter().map(|(_, at)| at[c])));
        table.append(vec![
            constant(Some(&study.sweep), n),
            constant(Some(&study.models[entry.model].name), n),
            constant(Some(&study.conditions[entry.condition].name), n),
            constant(Some(&entry.layer.to_string()), n),
            constant(Some(entry.read_out.pooling.as_str()), n),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, _)| &study.test[*r].id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, _)| &study.classes[study.test[*r].class as usize]))),
            component(0),
            component(1),
            component(2),
        ])?;
    }
    table.finish().map(Some)
}
