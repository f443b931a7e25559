//! Tidy Parquet: `results`, `predictions`, `verdicts`, `geometry`, `runs`. Plain columns (strings, numbers, one list), zstd, so that pandas,
//! polars and DuckDB read them without options.

mod geometry;
mod predictions;
mod results;
mod runs;
mod verdicts;

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

pub use geometry::geometry;
pub use predictions::{predictions, too_many};
pub use results::results;
pub use runs::runs;
pub use verdicts::verdicts;

use crate::study::{Prediction, ReportError, Study};

/// A Parquet file that grows by record batches.
pub struct Table<W: Write + Send> {
    path: &'static str,
    schema: SchemaRef,
    writer: ArrowWriter<W>,
}

/// Bytes of a row group, roughly: what is in memory of a file that is written elsewhere.
const ROW_GROUP: usize = 64 << 20;

impl<W: Write + Send> Table<W> {
    /// Begins a file of that name.
    ///
    /// # Errors
    /// Its first bytes can't be written.
    pub fn new(path: &'static str, software: &str, fields: Vec<Field>, into: W) -> Result<Table<W>, ReportError> {
        let schema = Arc::new(Schema::new(fields));
        let fail = |e: parquet::errors::ParquetError| ReportError::Table { path, message: e.to_string() };
        let level = ZstdLevel::try_new(3).map_err(fail)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).set_created_by(software.to_owned()).build();
        let writer = ArrowWriter::try_new(into, schema.clone(), Some(properties)).map_err(fail)?;
        Ok(Table { path, schema, writer })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The columns are not those of the table, or can't be written.
    pub fn append(&mut self, columns: Vec<ArrayRef>) -> Result<(), ReportError> {
        let fail = |message: String| ReportError::Table { path: self.path, message };
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| fail(e.to_string()))?;
        self.writer.write(&batch).map_err(|e| fail(e.to_string()))?;
        if self.writer.in_progress_size() >= ROW_GROUP {
            self.writer.flush().map_err(|e| fail(e.to_string()))?;
        }
        Ok(())
    }

    /// Ends the file, and gives back what it was written into.
    ///
    /// # Errors
    /// Its last bytes can't be written.
    pub fn finish(self) -> Result<W, ReportError> {
        self.writer.into_inner().map_err(|e| ReportError::Table { path: self.path, message: e.to_string() })
    }
}

/// A column of a [`Table`].
pub fn field(name: &str, kind: DataType, nullable: bool) -> Field {
    Field::new(name, kind, nullable)
}

/// A column that says the same in every row.
pub fn constant(value: Option<&str>, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter(std::iter::repeat_n(value, rows)))
}

/// A column of lists of numbers, all of one length; nulls where there is none.
fn lists(item: &Arc<Field>, length: usize, rows: usize, values: Option<Vec<f32>>) -> Result<ArrayRef, String> {
    let Some(values) = values else { return Ok(arrow_array::new_null_array(&DataType::List(item.clone()), rows)) };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(length, rows));
    let list = ListArray::try_new(item.clone(), offsets, Arc::new(Float32Array::from(values)), None).map_err(|e| e.to_string())?;
    Ok(Arc::new(list))
}

/// What identifies a prediction, as words: the columns that `results` and `predictions` share.
struct Identity<'a> {
    model: Option<&'a str>,
    layer: Option<String>,
    condition: Option<&'a str>,
    offset: Option<u32>,
    pooling: Option<&'static str>,
    context: Option<&'static str>,
    control: Option<&'static str>,
    fitted_condition: Option<&'a str>,
    fitted_offset: Option<u32>,
    sampling_seed: Option<u64>,
}

impl<'a> Identity<'a> {
    fn new(study: &'a Study, p: &Prediction) -> Identity<'a> {
        Identity {
            model: p.model.map(|_| study.model_name(p.model)),
            layer: p.layer.map(|l| l.to_string()),
            condition: p.condition.map(|_| study.condition_name(p.condition)),
            offset: p.read_out.map(|r| r.offset),
            pooling: p.read_out.map(|r| r.pooling.as_str()),
            context: p.read_out.map(|r| r.context.as_str()),
            control: p.control.map(limbic_proto::spec::Control::name),
            fitted_condition: p.fitted_condition.map(|_| study.condition_name(p.fitted_condition)),
            fitted_offset: p.fitted_at.map(|r| r.offset),
            sampling_seed: p.sampling_seed,
        }
    }
}
