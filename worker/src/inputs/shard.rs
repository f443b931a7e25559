//! One extract unit's states, read tensor by tensor.

use std::ops::Range;

use bytes::Bytes;
use limbic_engine::probe::NamedTensor;
use limbic_proto::commit::{Artifact, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_store::{Store, StoreError};

use super::header::{Header, PREFIX};
use super::{InputError, Inputs, Source};
use crate::tensors::numbers;

/// The committed states of some consecutive rows (or the weights of probes). Nothing of them is used that was not verified.
///
/// A small artifact is fetched whole and kept for the next layer. Of a large one the header is fetched, whose digest is in
/// the commit, and then the byte ranges that are asked for, whose digests are in the header.
#[derive(Debug)]
pub(crate) struct Shard<'a> {
    inputs: &'a Inputs,
    of: Source,
    path: String,
    header: Header,
    whole: Option<Bytes>,
}

/// A tensor of two axes.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The first axis.
    pub rows: usize,
    /// The second axis.
    pub width: usize,
    bytes: Bytes,
}

impl Matrix {
    /// Appends one row's numbers to `out`.
    pub fn row(&self, row: usize, out: &mut Vec<f32>) {
        let bytes = &self.bytes[4 * self.width * row..][..4 * self.width];
        out.extend(numbers(bytes, f32::from_le_bytes));
    }
}

/// How much is read at first, in the hope that it holds the whole header.
const FIRST: u64 = 128 << 10;

impl<'a> Shard<'a> {
    pub(super) async fn open(inputs: &'a Inputs, of: Source, done: Done, name: &'static str) -> Result<Shard<'a>, InputError> {
        let artifact = done.artifact(name).ok_or_else(|| of.corrupt(format!("its commit names no {name}")))?;
        let (total, path) = (artifact.len, layout::artifact(&of.unit, &done.attempt, name));
        if total < PREFIX {
            return Err(of.corrupt(format!("the file has {total} bytes: too few for a header")));
        }
        let (first, whole) = match header_alone(inputs, artifact) {
            Some(digest) => (header(inputs, &path, total, &digest).await.map_err(|e| of.judge(e))?, None),
            None => {
                let bytes = whole(inputs, &of.unit, &done, name).await.map_err(|e| of.judge(e))?;
                (bytes.clone(), Some(bytes))
            }
        };
        let length = Header::length(first.get(..PREFIX as usize).unwrap_or_default(), total).map_err(|e| malformed(of, e))?;
        let json = first.get(PREFIX as usize..(PREFIX + length) as usize).unwrap_or_default();
        let header = Header::parse(json, total).map_err(|e| malformed(of, e))?;
        Ok(Shard { inputs, of, path, header, whole })
    }

    /// Bytes that opening an artifact reads, or some more.
    pub(super) fn bytes_to_open(inputs: &Inputs, artifact: &Artifact) -> u64 {
        header_alone(inputs, artifact).map_or(artifact.len, |_| FIRST)
    }

    /// Bytes that reading these tensors takes beside what is in memory.
    pub(super) fn bytes_to_read(&self, names: &[String]) -> u64 {
        if self.whole.is_some() { 0 } else { names.iter().map(|name| self.header.bytes(name)).sum() }
    }

    /// The second axis of a tensor, if there is such a tensor with two axes.
    pub fn width(&self, name: &str) -> Option<usize> {
        self.header.width(name)
    }

    /// What is wrong with a shard that is what its commit names.
    pub(super) fn malformed(&self, message: String) -> InputError {
        malformed(self.of, message)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.header.names(name).next() == Some(name)
    }

    /// Bytes that are not verified yet, unless the whole artifact is.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, InputError> {
        if let Some(whole) = &self.whole {
            return Ok(whole.slice(range.start as usize..range.end as usize));
        }
        // Stores refuse a range of no bytes, and a tensor without rows has none: that of a shard of train rows and their moments.
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.inputs.fetch(|store| get_range(store, self.path.clone(), range.clone())).await.map_err(|e| self.of.judge(e))
    }

    /// Verifies a tensor's bytes.
    fn check(&self, name: &str, bytes: &[u8]) -> Result<(), InputError> {
        if self.whole.is_some() {
            return Ok(());
        }
        let digest = self.header.digest(name).map_err(|message| malformed(self.of, message))?;
        verify(self.inputs, &self.path, &format!("tensor `{name}`"), bytes, &digest).map_err(|e| self.of.judge(e))
    }

    /// A tensor of a large artifact in the cache folder. Many fits read a cell's states (other probes, transfers, geometry),
    /// but one at a time, so they are kept on disk and not in memory.
    fn cached(&self, name: &str) -> Option<Bytes> {
        if self.whole.is_some() { None } else { self.inputs.shelf.filed(&self.header.digest(name).ok()?) }
    }

    /// Keeps a verified tensor of a large artifact in the cache folder.
    fn cache(&self, name: &str, bytes: &Bytes) {
        if self.whole.is_none()
            && let Ok(digest) = self.header.digest(name)
        {
            self.inputs.shelf.file(&digest, bytes);
        }
    }

    /// Reads F32 tensors with two axes, in the order of their names. Neighbours in the file are read at once: in a store
    /// behind a network a request costs more than a megabyte.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub(super) async fn read_f32(&self, names: &[String]) -> Result<Vec<Matrix>, InputError> {
        let matrix = |(name, (shape, bytes)): (&String, (Vec<usize>, Bytes))| match *shape.as_slice() {
            [rows, width] => Ok(Matrix { rows, width, bytes }),
            _ => Err(malformed(self.of, format!("tensor `{name}` has the shape {shape:?}, expected [rows, d]"))),
        };
        names.iter().zip(self.read(names, "F32", 4).await?).map(matrix).collect()
    }

    /// Reads F64 tensors, in the order of their names; as [`Shard::read_f32`].
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub(super) async fn read_f64(&self, names: &[String]) -> Result<Vec<Vec<f64>>, InputError> {
        let tensors = self.read(names, "F64", 8).await?.into_iter();
        Ok(tensors.map(|(_, bytes)| numbers(&bytes, f64::from_le_bytes).collect()).collect())
    }

    /// The shapes and bytes of tensors of a number format of `width` bytes, in the order of their names.
    async fn read(&self, names: &[String], dtype: &str, width: usize) -> Result<Vec<(Vec<usize>, Bytes)>, InputError> {
        let mut wanted = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let (entry, range) = self.header.find(name, dtype, width).map_err(|message| malformed(self.of, message))?;
            wanted.push((range, at, entry.shape.clone()));
        }
        let mut found: Vec<Option<(Vec<usize>, Bytes)>> = vec![None; names.len()];
        wanted.retain(|(_, at, shape)| {
            found[*at] = self.cached(&names[*at]).map(|bytes| (shape.clone(), bytes));
            found[*at].is_none()
        });
        wanted.sort_by_key(|(range, ..)| range.start);
        for neighbours in wanted.chunk_by(|(before, ..), (after, ..)| before.end == after.start) {
            let whole = neighbours[0].0.start..neighbours[neighbours.len() - 1].0.end;
            let bytes = self.fetch(whole.clone()).await?;
            for (range, at, shape) in neighbours {
                let bytes = bytes.slice((range.start - whole.start) as usize..(range.end - whole.start) as usize);
                self.check(&names[*at], &bytes)?;
                self.cache(&names[*at], &bytes);
                found[*at] = Some((shape.clone(), bytes));
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads the F32 tensors whose names begin with a prefix, and names them by what follows it.
    ///
    /// # Errors
    /// One of them can't be read.
    pub(super) fn read_named(&self, prefix: &str) -> Result<Vec<NamedTensor>, InputError> {
        let largest = self.header.names(prefix).map(|name| self.header.bytes(name)).max().unwrap_or(0);
        self.inputs.in_order(self.header.names(prefix).map(|name| self.named(name, prefix)), largest).collect()
    }

    async fn named(&self, name: &str, prefix: &str) -> Result<NamedTensor, InputError> {
        let (entry, range) = self.header.find(name, "F32", 4).map_err(|message| malformed(self.of, message))?;
        let bytes = self.fetch(range).await?;
        self.check(name, &bytes)?;
        let data = numbers(&bytes, f32::from_le_bytes).collect();
        Ok(NamedTensor { name: name[prefix.len()..].to_owned(), shape: entry.shape.clone(), data })
    }

    /// Reads I64 tensors, in the order of their names. They are kept in memory: the next layer asks for the lengths of the
    /// same rows again.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub(super) async fn read_i64(&self, names: &[String]) -> Result<Vec<Vec<i64>>, InputError> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let (_, range) = self.header.find(name, "I64", 8).map_err(|message| malformed(self.of, message))?;
            let kept = if self.whole.is_some() { None } else { self.header.digest(name).ok() };
            let bytes = match kept.and_then(|digest| self.inputs.shelf.artifact(&digest)) {
                Some(bytes) => bytes,
                None => {
                    let bytes = self.fetch(range).await?;
                    self.check(name, &bytes)?;
                    kept.into_iter().for_each(|digest| self.inputs.shelf.keep_artifact(digest, bytes.clone()));
                    bytes
                }
            };
            all.push(numbers(&bytes, i64::from_le_bytes).collect());
        }
        Ok(all)
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

/// The digest of an artifact's header, if that is read without the rest. Without a digest (commits were once written without)
/// a part can't be verified.
fn header_alone(inputs: &Inputs, artifact: &Artifact) -> Option<Digest> {
    artifact.header.filter(|_| !inputs.shelf.holds(artifact.len))
}

/// The header with the length before it, verified, from the shelf or the store.
async fn header(inputs: &Inputs, path: &str, total: u64, digest: &Digest) -> Result<Bytes, InputError> {
    if let Some(bytes) = inputs.shelf.artifact(digest) {
        return Ok(bytes);
    }
    let first = inputs.fetch(|store| get_range(store, path.to_owned(), 0..FIRST.min(total))).await?;
    // A length that makes no sense is no header of ours, and its digest is wrong.
    let end = Header::length(first.get(..PREFIX as usize).unwrap_or_default(), total).map_or(first.len() as u64, |n| PREFIX + n);
    let bytes = match first.get(..end as usize) {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => inputs.fetch(|store| get_range(store, path.to_owned(), 0..end)).await?,
    };
    verify(inputs, path, "the header", &bytes, digest)?;
    inputs.shelf.keep_artifact(*digest, bytes.clone());
    Ok(bytes)
}

/// The whole artifact, verified, from the shelf or the store.
async fn whole(inputs: &Inputs, unit: &UnitKey, done: &Done, name: &'static str) -> Result<Bytes, InputError> {
    let digest = done.artifact(name).map(|a| a.blake3);
    if let Some(bytes) = digest.and_then(|d| inputs.shelf.artifact(&d)) {
        return Ok(bytes);
    }
    let bytes = inputs.fetch(|store| async move { store.artifact(unit, done, name).await }).await?;
    if let Some(digest) = digest {
        inputs.shelf.keep_artifact(digest, bytes.clone());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use limbic_proto::commit::Provenance;
    use limbic_proto::unit::STATES;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use super::*;
    use crate::inputs::Shelf;
    use crate::progress::Progress;
    use crate::settings::Timing;
    use crate::tensors::TensorFile;

    const LAYERS: usize = 12;
    const READ_OUTS: usize = 11;

    fn names(layer: usize) -> Vec<String> {
        (0..READ_OUTS).map(|k| format!("L{layer}.k{k}")).collect()
    }

    /// A committed shard of that width in a store.
    async fn committed(store: &Store, unit: UnitKey, rows: usize, width: usize) -> Done {
        let mut file = TensorFile::default();
        for (at, name) in (0..LAYERS).flat_map(names).enumerate() {
            file.f32(name, vec![rows, width], (0..rows * width).map(|i| (i * 7 + at) as f32).collect());
        }
        file.i64("prompt_tokens", vec![rows], vec![3; rows]);
        let artifact = store.put_artifact(&unit, "a", STATES, file.content().unwrap()).await.unwrap();
        let counts = std::collections::BTreeMap::new();
        let provenance = Provenance { worker: "w".into(), software: "s".into(), device: "cpu".into(), seconds: 1.0, tokens: 1, counts };
        Done { nonce: "n".into(), attempt: "a".into(), artifacts: vec![artifact], provenance }
    }

    fn inputs(store: &Store, runtime: &tokio::runtime::Runtime, whole_up_to: u64) -> Inputs {
        with(Shelf::new(512 << 20).ranges_above(whole_up_to), store, runtime)
    }

    fn with(shelf: Shelf, store: &Store, runtime: &tokio::runtime::Runtime) -> Inputs {
        let shelf = Arc::new(shelf);
        Inputs::new(store.clone(), shelf, runtime.handle().clone(), Timing::default(), Arc::new(Progress::new()))
    }

    #[test]
    fn neighbours_are_read_at_once_and_come_in_the_order_of_the_names() {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let store = Store::open(&folder.path().to_string_lossy()).unwrap();
        let unit = Digest::of(b"unit");
        let done = runtime.block_on(committed(&store, unit, 5, 3));
        for whole_up_to in [0, u64::MAX] {
            let inputs = inputs(&store, &runtime, whole_up_to);
            let shard = inputs.now(Shard::open(&inputs, Source { unit, generation: 0 }, done.clone(), STATES)).unwrap();
            let asked = ["L3.k10", "L11.k0", "L3.k2", "L3.k1"].map(str::to_owned);
            let found = inputs.now(shard.read_f32(&asked)).unwrap();
            for (name, matrix) in asked.iter().zip(&found) {
                let (layer, k) = name[1..].split_once(".k").unwrap();
                let at = layer.parse::<usize>().unwrap() * READ_OUTS + k.parse::<usize>().unwrap();
                let mut row = Vec::new();
                matrix.row(4, &mut row);
                assert_eq!((matrix.rows, matrix.width, row), (5, 3, (12..15).map(|i| (i * 7 + at) as f32).collect()), "{name}");
            }
            assert!(inputs.now(shard.read_f32(&["L3.k99".to_owned()])).unwrap_err().to_string().contains("no tensor"));
        }
    }

    #[test]
    fn the_states_of_large_artifacts_are_kept_in_the_cache_folder_and_verified_again() {
        let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Store::open(&folder.path().to_string_lossy()).unwrap();
        let unit = Digest::of(b"unit");
        let done = runtime.block_on(committed(&store, unit, 5, 3));
        let shelf = || Shelf::new(0).ranges_above(0).cached_in(kept.path().to_path_buf(), 1 << 20);
        let read = |names: &[String]| {
            let inputs = with(shelf(), &store, &runtime);
            let shard = inputs.now(Shard::open(&inputs, Source { unit, generation: 0 }, done.clone(), STATES))?;
            let matrices = inputs.now(shard.read_f32(names))?;
            Ok::<_, InputError>(matrices.iter().map(|m| m.bytes.clone()).collect::<Vec<_>>())
        };
        let (asked, more) = (&names(3)[2..4], &names(3)[1..5]);
        let first = read(asked).unwrap();
        std::fs::remove_file(folder.path().join(layout::artifact(&unit, "a", STATES))).unwrap();
        assert_eq!(read(asked).unwrap(), first, "the store isn't asked again");
        assert!(read(more).is_err(), "what was never read is not there");
        let damaged = std::fs::read_dir(kept.path()).unwrap().flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap());
        damaged.for_each(|file| std::fs::write(file.unwrap().path(), b"rot").unwrap());
        assert!(read(asked).is_err(), "a damaged copy is none");
    }

    /// What is faster, the whole artifact once or a part for each layer: on a folder, and on a store that takes 20 ms for
    /// each request and passes 100 MB/s. `cargo test --release -p limbic-worker --lib -- --ignored --nocapture whole_or`
    #[test]
    #[ignore = "a measurement"]
    fn whole_or_parts() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!("{:>8} {:>8} {:>7} {:>10} {:>10}", "MiB", "store", "layers", "whole ms", "parts ms");
        for width in [8, 32, 128, 512] {
            let folder = tempfile::tempdir().unwrap();
            let local = Store::open(&folder.path().to_string_lossy()).unwrap();
            let unit = Digest::of(b"unit");
            let done = runtime.block_on(committed(&local, unit, 512, width));
            let throttle = ThrottleConfig {
                wait_get_per_call: Duration::from_millis(20),
                wait_get_per_byte: Duration::from_nanos(10),
                ..ThrottleConfig::default()
            };
            let remote = Store::over("remote", Arc::new(ThrottledStore::new(object_store::memory::InMemory::new(), throttle)));
            runtime.block_on(committed(&remote, unit, 512, width));
            for (name, store) in [("folder", &local), ("remote", &remote)] {
                for layers in [1, 4, LAYERS] {
                    let time = |whole_up_to: u64| {
                        let inputs = inputs(store, &runtime, whole_up_to);
                        let began = Instant::now();
                        for layer in 0..layers {
                            let shard = inputs.now(Shard::open(&inputs, Source { unit, generation: 0 }, done.clone(), STATES)).unwrap();
                            inputs.now(shard.read_i64(&["prompt_tokens".to_owned()])).unwrap();
                            inputs.now(shard.read_f32(&names(layer))).unwrap();
                        }
                        began.elapsed().as_secs_f64() * 1e3
                    };
                    let mib = done.artifacts[0].len as f64 / f64::from(1 << 20);
                    println!("{mib:>8.1} {name:>8} {layers:>7} {:>10.1} {:>10.1}", time(u64::MAX), time(0));
                }
            }
        }
    }
}
