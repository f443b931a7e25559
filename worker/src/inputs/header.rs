//! A safetensors header, read from the first bytes of an object so that tensors can be fetched by byte range.

use std::collections::BTreeMap;
use std::ops::Range;

use limbic_proto::key::Digest;
use serde::Deserialize;

use crate::tensors::DIGEST;

/// Where one tensor lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The number format: `F32`, `I64`, …
    pub dtype: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// First byte and one past the last, after the header.
    data_offsets: (u64, u64),
}

/// All tensors of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    tensors: BTreeMap<String, Entry>,
    /// The digests of their bytes, of those that have one.
    digests: BTreeMap<String, Digest>,
    /// The first byte of data.
    start: u64,
}

/// Bytes of the length that precedes the header.
pub(super) const PREFIX: u64 = 8;

/// No header of ours is near this long; a longer one is a damaged file.
const LONGEST: u64 = 100 << 20;

impl Header {
    /// The header's length from the first eight bytes of a file of `total` bytes.
    pub(super) fn length(prefix: &[u8], total: u64) -> Result<u64, String> {
        let prefix: [u8; 8] = prefix.try_into().map_err(|_| format!("the file has {total} bytes: too few for a header"))?;
        let length = u64::from_le_bytes(prefix);
        if length > LONGEST || length + PREFIX > total {
            return Err(format!("its header claims {length} bytes, the file has {total}"));
        }
        Ok(length)
    }

    /// Reads the header's JSON; `total` is the length of the whole file.
    pub(super) fn parse(json: &[u8], total: u64) -> Result<Header, String> {
        let mut values: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(json).map_err(|e| format!("its header is not JSON: {e}"))?;
        let notes = values.remove("__metadata__").and_then(|notes| serde_json::from_value::<BTreeMap<String, String>>(notes).ok());
        let digest = |(key, text): (String, String)| Some((key.strip_prefix(DIGEST)?.to_owned(), text.parse().ok()?));
        let digests = notes.unwrap_or_default().into_iter().filter_map(digest).collect();
        let start = PREFIX + json.len() as u64;
        let mut tensors = BTreeMap::new();
        for (name, value) in values {
            let entry: Entry = serde_json::from_value(value).map_err(|e| format!("header of tensor `{name}`: {e}"))?;
            let (from, to) = entry.data_offsets;
            if from > to || start.checked_add(to).is_none_or(|end| end > total) {
                return Err(format!("tensor `{name}` lies at {from}..{to}, beyond the file's {total} bytes"));
            }
            tensors.insert(name, entry);
        }
        Ok(Header { tensors, digests, start })
    }

    /// The digest of a tensor's bytes.
    pub(super) fn digest(&self, name: &str) -> Result<Digest, String> {
        self.digests.get(name).copied().ok_or_else(|| format!("its header has no digest of tensor `{name}`"))
    }

    /// The second axis of a tensor with two.
    pub(super) fn width(&self, name: &str) -> Option<usize> {
        self.tensors.get(name)?.shape.get(1).copied()
    }

    /// Bytes of a tensor; none of one that is not there.
    pub(super) fn bytes(&self, name: &str) -> u64 {
        self.tensors.get(name).map_or(0, |entry| entry.data_offsets.1 - entry.data_offsets.0)
    }

    /// The names that begin with a prefix, in order.
    pub(super) fn names<'h>(&'h self, prefix: &'h str) -> impl Iterator<Item = &'h str> {
        self.tensors.range(prefix.to_owned()..).map(|(name, _)| name.as_str()).take_while(move |name| name.starts_with(prefix))
    }

    /// A tensor's entry and its bytes' place in the file, if it has that number format and `width` bytes per number.
    pub(super) fn find(&self, name: &str, dtype: &str, width: usize) -> Result<(&Entry, Range<u64>), String> {
        let entry = self.tensors.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))?;
        let (from, to) = entry.data_offsets;
        let bytes = entry.shape.iter().try_fold(width, |bytes, length| bytes.checked_mul(*length));
        if entry.dtype != dtype || bytes.is_none_or(|bytes| to - from != bytes as u64) {
            let expected = bytes.map_or_else(|| "more than there can be".to_owned(), |bytes| bytes.to_string());
            let (found, shape) = (&entry.dtype, &entry.shape);
            return Err(format!("tensor `{name}` is {found} {shape:?} of {} bytes, expected {dtype} of {expected}", to - from));
        }
        Ok((entry, self.start + from..self.start + to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_where_tensors_lie_and_refuses_what_lies_beyond_the_file() {
        let json = br#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}"#;
        let total = PREFIX + json.len() as u64 + 32;
        let header = Header::parse(json, total).unwrap();
        let start = PREFIX + json.len() as u64;
        assert_eq!(header.find("x", "F32", 4).unwrap().1, start + 8..start + 32);
        assert!(header.find("x", "I64", 8).unwrap_err().contains("F32"));
        assert!(header.find("y", "F32", 4).unwrap_err().contains("no tensor"));
        let endless = br#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
        let endless = Header::parse(endless, PREFIX + endless.len() as u64).unwrap();
        assert!(endless.find("x", "F32", 4).unwrap_err().contains("more than there can be"));
        assert!(Header::parse(json, total - 1).unwrap_err().contains("beyond"));
        assert!(Header::length(&u64::MAX.to_le_bytes(), 100).is_err());
        assert!(Header::length(&[1, 2], 2).is_err());
    }
}
