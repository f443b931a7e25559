//! Reading: each file's format is chosen, and its reader makes utterances of the bytes.

use std::path::Path;

use limbic_proto::rows::Split;
use limbic_proto::spec::{DatasetSpec, Format};

use super::columns::{Columns, Utterance};
use super::{DatasetError, File, delimited, jsonl, parquet};

/// What a reader makes of a file.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) columns: Columns,
    pub(super) utterances: Vec<Utterance>,
}

/// What all the files hold, one after the other.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) files: Files,
    pub(super) utterances: Vec<Utterance>,
}

/// The files, for messages about their rows.
#[derive(Debug)]
pub(super) struct Files(Vec<(String, Columns)>);

impl Files {
    /// A file's name.
    pub(super) fn name(&self, file: usize) -> String {
        self.0[file].0.clone()
    }

    /// A file's columns.
    pub(super) fn columns(&self, file: usize) -> &Columns {
        &self.0[file].1
    }

    /// The name of them all.
    pub(super) fn all(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Every file's columns.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Columns> {
        self.0.iter().map(|(_, columns)| columns)
    }
}

/// Reads the files, each in its format.
pub(super) fn read(spec: &DatasetSpec, files: Vec<File>, notes: &mut Vec<String>) -> Result<Source, DatasetError> {
    let mut source = Source { files: Files(Vec::new()), utterances: Vec::new() };
    for (file, File { name, split, bytes }) in files.into_iter().enumerate() {
        let Read { columns, utterances } = match format(spec.format, &name)? {
            Format::Parquet => parquet::read(spec, &name, bytes, notes)?,
            Format::Csv => delimited::csv(spec, &name, text(&name, &bytes)?)?,
            Format::Tsv => delimited::tsv(spec, &name, text(&name, &bytes)?)?,
            Format::Jsonl | Format::Auto => jsonl::read(spec, &name, text(&name, &bytes)?)?,
        };
        if utterances.is_empty() {
            return Err(DatasetError::Empty { file: name });
        }
        let (said, before) = (split.map(Split::as_str), source.utterances.len());
        source.utterances.extend(utterances.into_iter().enumerate().map(|(at, u)| Utterance {
            number: before + at + 1,
            file,
            split: said.map(str::to_owned).or(u.split),
            ..u
        }));
        source.files.0.push((name, columns));
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
