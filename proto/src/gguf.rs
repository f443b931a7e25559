//! Reading the header of a GGUF file: its metadata and tensor directory, without the tensors.
//!
//! The coordinator plans from these facts (architecture, sizes, chat template) without linking a tensor library. Long
//! arrays such as the vocabulary are counted and skipped. Layout:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod vocabulary;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

pub use vocabulary::{Splitting, Unsupported};

/// Arrays longer than this are counted, not kept.
const KEPT_ITEMS: u64 = 64;
/// No metadata string (chat templates included) is longer than this.
const LONGEST_STRING: u64 = 1 << 26;
/// Where the data section is aligned to when `general.alignment` is absent.
const ALIGNMENT: u64 = 32;

/// Why a GGUF header can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// Reading failed.
    #[error("reading a GGUF header: {0}")]
    Io(#[source] std::io::Error),
    /// The bytes end inside the header; more of the file may help.
    #[error("the GGUF header is cut off at byte {at}")]
    Truncated {
        /// How many bytes were there.
        at: u64,
    },
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {found:02x?} instead of `GGUF`")]
    Magic {
        /// The bytes found.
        found: [u8; 4],
    },
    /// A version this reader does not know.
    #[error("GGUF version {found} is not supported (2 and 3 are)")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A value that contradicts the format.
    #[error("damaged GGUF header at byte {at}: {what}")]
    Damaged {
        /// Byte position.
        at: u64,
        /// What is wrong there.
        what: String,
    },
}

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A UTF-8 string.
    Text(String),
    /// An array; `items` is empty when it is long.
    Array {
        /// How many items the file holds.
        len: u64,
        /// The items of a short array.
        items: Vec<Value>,
    },
}

impl Value {
    /// The value as a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Unsigned(v) => Some(*v),
            Value::Signed(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The value as a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Unsigned(v) => Some(*v as f64),
            Value::Signed(v) => Some(*v as f64),
            Value::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(v) => Some(v),
            _ => None,
        }
    }
}

/// One entry of the tensor directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions, fastest-varying first (a matrix `[out, in]` of PyTorch reads `[in, out]` here).
    pub dims: Vec<u64>,
    /// The ggml type number.
    pub kind: u32,
    /// Byte offset inside the data section.
    pub offset: u64,
}

impl TensorInfo {
    /// How many elements the tensor has.
    pub fn elements(&self) -> u64 {
        self.dims.iter().fold(1, |n, d| n.saturating_mul(*d))
    }

    /// How many bytes the tensor takes, where the type is known; as many as there can be of one that has more.
    pub fn bytes(&self) -> Option<u64> {
        let (block, size) = block_size(self.kind)?;
        Some((self.elements() / block).saturating_mul(size))
    }
}

/// Elements per block and bytes per block of a ggml type.
fn block_size(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),
        1 | 30 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        24 => (1, 1),
        25 => (1, 2),
        26 => (1, 4),
        27 | 28 => (1, 8),
        _ => return None,
    })
}

/// The header of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensor directory by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Where the data section starts.
    pub data_offset: u64,
}

impl Header {
    /// Reads a header that starts at the reader's beginning.
    pub fn read<R: Read + Seek>(reader: R) -> Result<Header, GgufError> {
        let mut source = Source { reader, at: 0 };
        let magic: [u8; 4] = source.bytes()?;
        if &magic != b"GGUF" {
            return Err(GgufError::Magic { found: magic });
        }
        let version = source.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { found: version });
        }
        let (tensors, entries) = (source.u64()?, source.u64()?);
        let mut header = Header::default();
        for _ in 0..entries {
            let key = source.text()?;
            let kind = source.u32()?;
            let value = source.value(kind, 0)?;
            header.metadata.insert(key, value);
        }
        for _ in 0..tensors {
            let name = source.text()?;
            let rank = source.u32()?;
            if rank > 4 {
                return Err(source.damaged(format!("tensor `{name}` has {rank} dimensions")));
            }
            let dims = (0..rank).map(|_| source.u64()).collect::<Result<_, _>>()?;
            let info = TensorInfo { dims, kind: source.u32()?, offset: source.u64()? };
            header.tensors.insert(name, info);
        }
        let alignment = header.number("general.alignment").unwrap_or(ALIGNMENT);
        if !alignment.is_power_of_two() {
            return Err(source.damaged(format!("general.alignment is {alignment}, and must be a power of two")));
        }
        header.data_offset = source.at.div_ceil(alignment) * alignment;
        Ok(header)
    }

    /// Reads a header from the first bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Header, GgufError> {
        Header::read(std::io::Cursor::new(bytes))
    }

    /// A non-negative integer of the metadata.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.metadata.get(key).and_then(Value::as_u64)
    }

    /// A text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).and_then(Value::as_str)
    }

    /// How long the whole file must at least be, where all tensor types are known.
    pub fn file_bytes(&self) -> Option<u64> {
        let ends = self.tensors.values().map(|t| Some(t.offset.saturating_add(t.bytes()?)));
        Some(ends.collect::<Option<Vec<_>>>()?.into_iter().max().unwrap_or(0).saturating_add(self.data_offset))
    }
}

/// A reader that knows where it is.
struct Source<R> {
    reader: R,
    at: u64,
}

impl<R: Read + Seek> Source<R> {
    fn failed(&self, error: std::io::Error) -> GgufError {
        match error.kind() {
            ErrorKind::UnexpectedEof => GgufError::Truncated { at: self.at },
            _ => GgufError::Io(error),
        }
    }

    fn damaged(&self, what: String) -> GgufError {
        GgufError::Damaged { at: self.at, what }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut buffer = [0; N];
        self.reader.read_exact(&mut buffer).map_err(|e| self.failed(e))?;
        self.at += N as u64;
        Ok(buffer)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let len = self.u64()?;
        if len > LONGEST_STRING {
            return Err(self.damaged(format!("a string of {len} bytes")));
        }
        let mut buffer = Vec::new();
        let read = self.reader.by_ref().take(len).read_to_end(&mut buffer).map_err(|e| self.failed(e))?;
        self.at += read as u64;
        if (read as u64) < len {
            return Err(GgufError::Truncated { at: self.at });
        }
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    fn skip(&mut self, len: u64) -> Result<(), GgufError> {
        let step = i64::try_from(len).map_err(|_| self.damaged(format!("a value of {len} bytes")))?;
        self.reader.seek(SeekFrom::Current(step)).map_err(|e| self.failed(e))?;
        self.at += len;
        Ok(())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.bytes::<1>()?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.bytes()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.bytes()?))),
            7 => Value::Bool(self.bytes::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 if depth < 4 => self.array(depth)?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.bytes()?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(self.damaged(format!("value type {kind} at depth {depth}"))),
        })
    }

    fn array(&mut self, depth: u32) -> Result<Value, GgufError> {
        let (kind, len) = (self.u32()?, self.u64()?);
        let mut items = Vec::new();
        if len <= KEPT_ITEMS {
            for _ in 0..len {
                items.push(self.value(kind, depth + 1)?);
            }
            return Ok(Value::Array { len, items });
        }
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                for _ in 0..len {
                    let bytes = self.u64()?;
                    self.skip(bytes)?;
                }
                return Ok(Value::Array { len, items });
            }
            _ => return Err(self.damaged(format!("an array of type {kind}"))),
        };
        let bytes = len.checked_mul(width).ok_or_else(|| self.damaged(format!("an array of {len} items")))?;
        self.skip(bytes)?;
        Ok(Value::Array { len, items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, s: &str) {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.as_bytes());
    }

    fn sample() -> Vec<u8> {
        let mut b = b"GGUF".to_vec();
        b.extend(3u32.to_le_bytes());
        b.extend(1u64.to_le_bytes());
        b.extend(2u64.to_le_bytes());
        text(&mut b, "general.architecture");
        b.extend(8u32.to_le_bytes());
        text(&mut b, "llama");
        text(&mut b, "tokenizer.ggml.tokens");
        b.extend(9u32.to_le_bytes());
        b.extend(8u32.to_le_bytes());
        b.extend(100u64.to_le_bytes());
        (0..100).for_each(|i| text(&mut b, &format!("token {i}")));
        text(&mut b, "output_norm.weight");
        b.extend(1u32.to_le_bytes());
        b.extend(8u64.to_le_bytes());
        b.extend(0u32.to_le_bytes());
        b.extend(0u64.to_le_bytes());
        b
    }

    #[test]
    fn facts_are_read_and_long_arrays_counted() {
        let bytes = sample();
        let header = Header::from_bytes(&bytes).unwrap();
        assert_eq!(header.text("general.architecture"), Some("llama"));
        assert_eq!(header.metadata["tokenizer.ggml.tokens"], Value::Array { len: 100, items: vec![] });
        assert_eq!(header.tensors["output_norm.weight"].bytes(), Some(32));
        assert_eq!(header.data_offset, (bytes.len() as u64).div_ceil(32) * 32);
        assert_eq!(header.file_bytes(), Some(header.data_offset + 32));
    }

    #[test]
    fn every_cut_is_an_error_and_none_panics() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert!(Header::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
