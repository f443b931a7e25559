//! CSV and TSV with a header line.
//!
//! CSV is RFC 4180; where the header has semicolons and no comma, as spreadsheets of many countries write it, those separate. In TSV a
//! field never spans lines or tabs: quotes are taken as text, except that a field which is quoted as a whole (as spreadsheets and pandas
//! write them) loses its quotes. So a stray quote can't swallow lines.

use limbic_proto::spec::DatasetSpec;

use super::columns::{Cell, Columns};
use super::error::{DatasetError, Place};
use super::read::Read;

/// Comma-separated values.
pub(super) fn csv(spec: &DatasetSpec, file: &str, text: &str) -> Result<Read, DatasetError> {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // Every second part lies within quotes.
    let separates = |delimiter: char| header.split('"').step_by(2).any(|part| part.contains(delimiter));
    let delimiter = if separates(';') && !separates(',') { b';' } else { b',' };
    match astray(text, delimiter) {
        Some((line, message)) => Err(DatasetError::Syntax { file: file.to_owned(), place: Place::Line(line), message }),
        None => read(spec, file, text, csv::ReaderBuilder::new().delimiter(delimiter), str::to_owned),
    }
}

/// The line where a quoted field begins that ends in the middle of its text or never, and what is wrong with it: parsers let it
/// swallow the lines behind.
fn astray(text: &str, delimiter: u8) -> Option<(usize, String)> {
    let doubled = "quotes inside a quoted field are doubled";
    let (bytes, mut at, mut line, mut begins) = (text.as_bytes(), 0, 1, true);
    while let Some(byte) = bytes.get(at) {
        if *byte != b'"' || !begins {
            line += usize::from(*byte == b'\n');
            begins = *byte == delimiter || matches!(byte, b'\r' | b'\n');
            at += 1;
            continue;
        }
        let opened = line;
        at += 1;
        loop {
            let Some(length) = bytes[at..].iter().position(|byte| *byte == b'"') else {
                return Some((opened, format!("a quote is opened here and never closed; {doubled}")));
            };
            line += bytes[at..at + length].iter().filter(|byte| **byte == b'\n').count();
            at += length + 1;
            match bytes.get(at) {
                Some(b'"') => at += 1,
                Some(b'\r' | b'\n') | None => break,
                Some(byte) if *byte == delimiter => break,
                Some(_) => {
                    let rest = text[at..].lines().next().unwrap_or_default();
                    let shown: String = rest.chars().take(20).collect();
                    return Some((
                        opened,
                        format!("the field that is quoted from here on is closed before `{shown}`, on line {line}; {doubled}"),
                    ));
                }
            }
        }
        begins = false;
    }
    None
}

/// Tab-separated values.
pub(super) fn tsv(spec: &DatasetSpec, file: &str, text: &str) -> Result<Read, DatasetError> {
    read(spec, file, text, csv::ReaderBuilder::new().delimiter(b'\t').quoting(false), unquoted)
}

fn read(spec: &DatasetSpec, file: &str, text: &str, builder: &csv::ReaderBuilder, field: fn(&str) -> String) -> Result<Read, DatasetError> {
    let mut lines = Lines { text, byte: 0, line: 1 };
    let mut reader = builder.from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| syntax(file, &mut lines, &e))?;
    let existing: Vec<String> = headers.iter().map(|h| field(h).trim().to_owned()).collect();
    let columns = Columns::resolve(spec, file, &existing)?;
    let mut utterances = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| syntax(file, &mut lines, &e))? {
        let place = lines.at(record.position());
        let cell = |column: &str| {
            let index = existing.iter().position(|e| e == column).expect("a resolved column exists");
            Cell::Text(field(&record[index]))
        };
        utterances.push(columns.utterance(file, place, cell)?);
    }
    Ok(Read { columns, utterances })
}

/// Line numbers of ever later records. (The parser's own are off after `\r\n` and blank lines.)
struct Lines<'a> {
    text: &'a str,
    byte: usize,
    line: usize,
}

impl Lines<'_> {
    fn at(&mut self, position: Option<&csv::Position>) -> Place {
        let bytes = self.text.as_bytes();
        let mut start = position.map_or(self.byte, |p| p.byte() as usize);
        start += bytes[start..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.line += bytes[self.byte..start].iter().filter(|b| **b == b'\n').count();
        self.byte = start;
        Place::Line(self.line)
    }
}

fn syntax(file: &str, lines: &mut Lines<'_>, e: &csv::Error) -> DatasetError {
    let message = match e.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("has {len} fields where the header has {expected_len}"),
        _ => e.to_string(),
    };
    DatasetError::Syntax { file: file.to_owned(), place: lines.at(e.position()), message }
}

/// A field without the quotes around the whole of it.
fn unquoted(field: &str) -> String {
    let inner = field.strip_prefix('"').and_then(|f| f.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => inner.replace("\"\"", "\""),
        _ => field.to_owned(),
    }
}
