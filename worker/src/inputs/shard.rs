//! One extract unit's states, read tensor by tensor.

use std::ops::Range;

use bytes::Bytes;
use limbic_proto::commit::Done;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use limbic_store::{Store, StoreError};

use super::header::{Header, PREFIX};
use super::{InputError, Inputs, Source};

/// The committed states of some consecutive rows. Nothing of them is used that was not verified.
///
/// A small artifact is fetched whole and kept for the next layer. Of a large one the header is fetched, whose digest is in
/// the commit, and then the byte ranges that are asked for, whose digests are in the header.
#[derive(Debug)]
pub struct Shard<'a> {
    inputs: &'a Inputs,
    of: Source,
    path: String,
    header: Header,
    whole: Option<Bytes>,
}

/// How much is read at first, in the hope that it holds the whole header.
const FIRST: u64 = 128 << 10;

/// Tensors up to this many bytes are kept, for the next layer asks for the lengths of the same rows again.
const KEPT: u64 = 64 << 10;

impl<'a> Shard<'a> {
    pub(super) fn open(inputs: &'a Inputs, of: Source, done: Done) -> Result<Shard<'a>, InputError> {
        let artifact = done.artifact(STATES).ok_or_else(|| of.corrupt(format!("its commit names no {STATES}")))?;
        let (total, path) = (artifact.len, layout::artifact(&of.unit, &done.attempt, STATES));
        if total < PREFIX {
            return Err(of.corrupt(format!("the file has {total} bytes: too few for a header")));
        }
        // Without a digest of the header (commits were once written without) a part can't be verified.
        let (first, whole) = match artifact.header.filter(|_| !inputs.shelf.holds(total)) {
            Some(digest) => (header(inputs, &path, total, &digest).map_err(|e| of.judge(e))?, None),
            None => {
                let bytes = whole(inputs, &of.unit, &done).map_err(|e| of.judge(e))?;
                (bytes.clone(), Some(bytes))
            }
        };
        let length = Header::length(first.get(..PREFIX as usize).unwrap_or_default(), total).map_err(|e| malformed(of, e))?;
        let json = first.get(PREFIX as usize..(PREFIX + length) as usize).unwrap_or_default();
        let header = Header::parse(json, total).map_err(|e| malformed(of, e))?;
        Ok(Shard { inputs, of, path, header, whole })
    }

    /// The second axis of a tensor, if there is such a tensor with two axes.
    pub fn width(&self, name: &str) -> Option<usize> {
        self.header.width(name)
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> Result<Bytes, InputError> {
        if let Some(whole) = &self.whole {
            return Ok(whole.slice(range.start as usize..range.end as usize));
        }
        let digest = self.header.digest(name).map_err(|message| malformed(self.of, message))?;
        let small = range.end - range.start <= KEPT;
        if let Some(bytes) = small.then(|| self.inputs.shelf.artifact(&digest)).flatten() {
            return Ok(bytes);
        }
        let read = self.inputs.read(|store| get_range(store, self.path.clone(), range.clone()));
        let bytes = read.map_err(|e| self.of.judge(e))?;
        let verified = verify(self.inputs, &self.path, &format!("tensor `{name}`"), &bytes, &digest);
        verified.map_err(|e| self.of.judge(e))?;
        if small {
            self.inputs.shelf.keep_artifact(digest, bytes.clone());
        }
        Ok(bytes)
    }

    /// Appends an F32 tensor's numbers to `out` and gives its shape, which has two axes.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_f32(&self, name: &str, out: &mut Vec<f32>) -> Result<(usize, usize), InputError> {
        let bad = |message: String| malformed(self.of, message);
        let (entry, range) = self.header.find(name, "F32", 4).map_err(bad)?;
        let &[rows, width] = entry.shape.as_slice() else {
            return Err(bad(format!("tensor `{name}` has the shape {:?}, expected [rows, d]", entry.shape)));
        };
        let bytes = self.bytes(name, range)?;
        out.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))));
        Ok((rows, width))
    }

    /// Appends an I64 tensor's numbers to `out`.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_i64(&self, name: &str, out: &mut Vec<i64>) -> Result<(), InputError> {
        let (_, range) = self.header.find(name, "I64", 8).map_err(|message| malformed(self.of, message))?;
        let bytes = self.bytes(name, range)?;
        out.extend(bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes"))));
        Ok(())
    }
}

/// A file that is not what such a unit writes, although its bytes are those that were committed: computing it again gives
/// the same.
fn malformed(of: Source, message: String) -> InputError {
    InputError::Artifact { unit: of.unit, message }
}

async fn get_range(store: Store, path: String, range: Range<u64>) -> Result<Bytes, StoreError> {
    store.get_range(&path, range).await
}

fn verify(inputs: &Inputs, path: &str, what: &str, bytes: &[u8], expected: &Digest) -> Result<(), InputError> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    let message = format!("{what} should have the BLAKE3 {expected:?}, found {} bytes with {found:?}", bytes.len());
    Err(StoreError::Corrupt { url: inputs.store.url().to_owned(), path: path.to_owned(), message }.into())
}

/// The header with the length before it, verified, from the shelf or the store.
fn header(inputs: &Inputs, path: &str, total: u64, digest: &Digest) -> Result<Bytes, InputError> {
    if let Some(bytes) = inputs.shelf.artifact(digest) {
        return Ok(bytes);
    }
    let first = inputs.read(|store| get_range(store, path.to_owned(), 0..FIRST.min(total)))?;
    // A length that makes no sense is no header of ours, and its digest is wrong.
    let end = Header::length(first.get(..PREFIX as usize).unwrap_or_default(), total).map_or(first.len() as u64, |n| PREFIX + n);
    let bytes = match first.get(..end as usize) {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => inputs.read(|store| get_range(store, path.to_owned(), 0..end))?,
    };
    verify(inputs, path, "the header", &bytes, digest)?;
    inputs.shelf.keep_artifact(*digest, bytes.clone());
    Ok(bytes)
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
