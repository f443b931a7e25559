//! Reading: the format is chosen, and its reader makes utterances of the bytes.

use std::path::Path;

use bytes::Bytes;
use limbic_proto::spec::{DatasetSpec, Format};

use super::columns::{Columns, Utterance};
use super::{DatasetError, delimited, jsonl, parquet};

/// What a reader makes of a file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) columns: Columns,
    pub(super) utterances: Vec<Utterance>,
}

/// Reads the file in the spec's format.
pub(super) fn read(spec: &DatasetSpec, file: &str, bytes: Bytes, notes: &mut Vec<String>) -> Result<Source, DatasetError> {
    let source = match format(spec.format, file)? {
        Format::Parquet => parquet::read(spec, file, bytes, notes)?,
        Format::Csv => delimited::csv(spec, file, text(file, &bytes)?)?,
        Format::Tsv => delimited::tsv(spec, file, text(file, &bytes)?)?,
        Format::Jsonl | Format::Auto => jsonl::read(spec, file, text(file, &bytes)?)?,
    };
    if source.utterances.is_empty() {
        return Err(DatasetError::Empty { file: file.to_owned() });
    }
    Ok(source)
}

/// `auto` resolved by the ending; a URL's query is no part of it.
fn format(format: Format, file: &str) -> Result<Format, DatasetError> {
    if format != Format::Auto {
        return Ok(format);
    }
    let path = if file.contains("://") { file.split(['?', '#']).next().unwrap_or(file) } else { file };
    let ending = Path::new(path).extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Csv),
        Some("tsv" | "tab") => Ok(Format::Tsv),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(DatasetError::UnknownFormat { file: file.to_owned() }),
    }
}

/// The bytes as text, without a byte order mark.
fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, DatasetError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let position = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        DatasetError::NotUtf8 { file: file.to_owned(), line, position, byte: bytes[e.valid_up_to()] }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() { Err(DatasetError::Empty { file: file.to_owned() }) } else { Ok(text) }
}
