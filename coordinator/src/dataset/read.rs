//! Reading: each file's format is chosen, and its reader makes utterances of the bytes.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use limbic_proto::rows::Split;
use limbic_proto::spec::{DatasetSpec, Format};

use super::columns::{Columns, Utterance};
use super::{DatasetError, File, delimited, jsonl, parquet};
use crate::progress::counted;

/// What a reader makes of a file.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) columns: Columns,
    /// One for every row; none of a row that is left out.
    pub(super) utterances: Vec<Option<Utterance>>,
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
        self.names().collect::<Vec<_>>().join(", ")
    }

    /// Every file's name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Every file's columns.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Columns> {
        self.0.iter().map(|(_, columns)| columns)
    }
}

/// Reads the files, each in its format.
pub(super) fn read(spec: &DatasetSpec, files: Vec<File>, notes: &mut Vec<String>) -> Result<Source, DatasetError> {
    let mut source = Source { files: Files(Vec::new()), utterances: Vec::new() };
    let mut rows = 0;
    for (file, File { name, split, bytes }) in files.into_iter().enumerate() {
        let bytes = unpacked(&name, bytes)?;
        let Read { columns, utterances } = match format(spec.format, &name)? {
            Format::Parquet => parquet::read(spec, &name, bytes, notes)?,
            Format::Csv => delimited::csv(spec, &name, text(&name, &bytes)?)?,
            Format::Tsv => delimited::tsv(spec, &name, text(&name, &bytes)?)?,
            Format::Jsonl | Format::Auto => jsonl::read(spec, &name, text(&name, &bytes)?)?,
        };
        if utterances.is_empty() {
            return Err(DatasetError::Empty { file: name });
        }
        let said = split.map(Split::as_str);
        for utterance in utterances {
            rows += 1;
            source.utterances.extend(utterance.map(|u| Utterance { number: rows, file, split: said.map(str::to_owned).or(u.split), ..u }));
        }
        source.files.0.push((name, columns));
    }
    let without = rows - source.utterances.len();
    if source.utterances.is_empty() {
        return Err(DatasetError::AllTextsEmpty { file: source.files.all(), column: spec.text.clone(), rows });
    }
    if without > 0 {
        let were = if without == 1 { "was" } else { "were" };
        notes.push(format!("{} without a text {were} left out", counted(without, "row")));
    }
    Ok(source)
}

/// What is in a file that may be compressed, which its first bytes tell whatever it is called.
fn unpacked(file: &str, bytes: Bytes) -> Result<Bytes, DatasetError> {
    let mut plain = Vec::new();
    let (how, read) = match bytes.get(..4) {
        Some([0x1f, 0x8b, ..]) => ("gzip", MultiGzDecoder::new(&*bytes).read_to_end(&mut plain).map(drop)),
        Some([0x28, 0xb5, 0x2f, 0xfd]) => ("zstd", zstd::stream::copy_decode(&*bytes, &mut plain)),
        Some(b"PK\x03\x04") => {
            let what = "is a spreadsheet or a zip archive: export the sheet as CSV, or unpack the file";
            return Err(DatasetError::Foreign { file: file.to_owned(), what });
        }
        _ if [&b"ARROW1"[..], b"FEA1"].iter().any(|magic| bytes.starts_with(magic)) => {
            return Err(DatasetError::Foreign { file: file.to_owned(), what: "is an Arrow or Feather file: write it as Parquet" });
        }
        _ => return Ok(bytes),
    };
    match read {
        Ok(()) => Ok(Bytes::from(plain)),
        Err(error) => Err(DatasetError::Packed { file: file.to_owned(), how, message: error.to_string() }),
    }
}

/// `auto` resolved by the ending; a URL's query is no part of it, nor what it is compressed with.
fn format(format: Format, file: &str) -> Result<Format, DatasetError> {
    if format != Format::Auto {
        return Ok(format);
    }
    let path = if file.contains("://") { file.split(['?', '#']).next().unwrap_or(file) } else { file };
    let path = path.to_ascii_lowercase();
    let path = [".gz", ".zst"].iter().find_map(|packed| path.strip_suffix(packed)).unwrap_or(&path);
    match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
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
