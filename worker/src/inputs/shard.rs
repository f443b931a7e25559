//! One extract unit's states, read tensor by tensor.

use std::ops::Range;

use bytes::Bytes;
use limbic_proto::commit::Done;
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use limbic_store::{Store, StoreError};

use super::header::{Header, PREFIX};
use super::{InputError, Inputs, Source};

/// The committed states of some consecutive rows.
///
/// A small artifact is fetched whole, verified against its digest and kept for the next layer; of a large one only the
/// byte ranges that are asked for are fetched, and their length is all that is checked.
#[derive(Debug)]
pub struct Shard<'a> {
    inputs: &'a Inputs,
    of: Source,
    path: String,
    header: Header,
    whole: Option<Bytes>,
}

/// How much is read at first, in the hope that it holds the whole header.
const FIRST: u64 = 64 << 10;

impl<'a> Shard<'a> {
    pub(super) fn open(inputs: &'a Inputs, of: Source, done: Done) -> Result<Shard<'a>, InputError> {
        let unit = of.unit;
        let artifact = done.artifact(STATES).ok_or_else(|| of.corrupt(format!("its commit names no {STATES}")))?;
        let (total, path) = (artifact.len, layout::artifact(&unit, &done.attempt, STATES));
        if total < PREFIX {
            return Err(of.corrupt(format!("the file has {total} bytes: too few for a header")));
        }
        let whole = if inputs.shelf.holds(total) { Some(whole(inputs, &unit, &done).map_err(|e| of.judge(e))?) } else { None };
        let bad = |message: String| malformed(of, whole.is_some(), message);
        let first = match &whole {
            Some(bytes) => bytes.clone(),
            None => inputs.read(|store| get_range(store, path.clone(), 0..FIRST.min(total))).map_err(|e| of.judge(e))?,
        };
        let length = Header::length(first.get(..PREFIX as usize).unwrap_or_default(), total).map_err(bad)?;
        let json = match first.get(PREFIX as usize..(PREFIX + length) as usize) {
            Some(json) => Bytes::copy_from_slice(json),
            None => inputs.read(|store| get_range(store, path.clone(), PREFIX..PREFIX + length)).map_err(|e| of.judge(e))?,
        };
        let header = Header::parse(&json, total).map_err(bad)?;
        Ok(Shard { inputs, of, path, header, whole })
    }

    /// The second axis of a tensor, if there is such a tensor with two axes.
    pub fn width(&self, name: &str) -> Option<usize> {
        self.header.width(name)
    }

    fn bytes(&self, range: Range<u64>) -> Result<Bytes, InputError> {
        if let Some(whole) = &self.whole {
            return Ok(whole.slice(range.start as usize..range.end as usize));
        }
        let expected = range.end - range.start;
        let read = self.inputs.read(|store| get_range(store, self.path.clone(), range.clone()));
        let bytes = read.map_err(|e| self.of.judge(e))?;
        if bytes.len() as u64 != expected {
            return Err(self.of.corrupt(format!("asked for {expected} bytes, got {}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Appends an F32 tensor's numbers to `out` and gives its shape, which has two axes.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_f32(&self, name: &str, out: &mut Vec<f32>) -> Result<(usize, usize), InputError> {
        let bad = |message: String| malformed(self.of, self.whole.is_some(), message);
        let (entry, range) = self.header.find(name, "F32", 4).map_err(bad)?;
        let &[rows, width] = entry.shape.as_slice() else {
            return Err(bad(format!("tensor `{name}` has the shape {:?}, expected [rows, d]", entry.shape)));
        };
        let bytes = self.bytes(range)?;
        out.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))));
        Ok((rows, width))
    }

    /// Appends an I64 tensor's numbers to `out`.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_i64(&self, name: &str, out: &mut Vec<i64>) -> Result<(), InputError> {
        let (_, range) = self.header.find(name, "I64", 8).map_err(|message| malformed(self.of, self.whole.is_some(), message))?;
        let bytes = self.bytes(range)?;
        out.extend(bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes"))));
        Ok(())
    }
}

/// A file that is not what such a unit writes: if its bytes are verified to be those that were committed, computing it
/// again gives the same.
fn malformed(of: Source, verified: bool, message: String) -> InputError {
    if verified { InputError::Artifact { unit: of.unit, message } } else { of.corrupt(message) }
}

async fn get_range(store: Store, path: String, range: Range<u64>) -> Result<Bytes, StoreError> {
    store.get_range(&path, range).await
}

/// The whole artifact, verified, from the shelf or the store.
fn whole(inputs: &Inputs, unit: &UnitKey, done: &Done) -> Result<Bytes, InputError> {
    let digest = done.artifact(STATES).map(|a| a.blake3);
    if let Some(bytes) = digest.and_then(|d| inputs.shelf.artifact(&d)) {
        return Ok(bytes);
    }
    let bytes = inputs.read(|store| async move { store.artifact(unit, done, STATES).await })?;
    if let Some(digest) = digest {
        inputs.shelf.keep_artifact(digest, bytes.clone());
    }
    Ok(bytes)
}
