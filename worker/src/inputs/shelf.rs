//! What was fetched and verified once, kept for the next unit: rows, and small artifacts by digest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use limbic_proto::key::Digest;
use limbic_proto::rows::Rows;
use limbic_store::hub::{self, HubId};

use super::cache::Cache;

/// Datasets kept at once.
const DATASETS: usize = 2;

/// A bounded memory of verified bytes, least recently used first out, with an optional folder behind it.
#[derive(Debug)]
pub struct Shelf {
    capacity: usize,
    cache: Option<Cache>,
    hub_size: Option<u64>,
    small: u64,
    kept: Mutex<Kept>,
}

/// Both lists are ordered by use, the most recent last.
#[derive(Debug, Default)]
struct Kept {
    rows: Vec<(Digest, Arc<Rows>)>,
    artifacts: Vec<(Digest, Bytes)>,
    bytes: usize,
}

impl Shelf {
    /// Artifacts up to this many bytes are fetched whole, verified and kept; longer ones are read by byte range.
    const SMALL: u64 = 16 << 20;

    /// A shelf that keeps up to `capacity` bytes of artifacts in memory.
    pub fn new(capacity: usize) -> Shelf {
        Shelf { capacity, cache: None, hub_size: None, small: Shelf::SMALL, kept: Mutex::default() }
    }

    /// The same shelf, which also keeps artifacts as files in a folder, up to `limit` bytes of them.
    #[must_use]
    pub fn cached_in(self, folder: PathBuf, limit: u64) -> Shelf {
        Shelf { cache: Some(Cache::new(folder, limit)), ..self }
    }

    /// The same shelf, which lets models take up to `limit` bytes of the hub's cache.
    #[must_use]
    pub fn hub_within(self, limit: Option<u64>) -> Shelf {
        Shelf { hub_size: limit, ..self }
    }

    /// Makes room in the hub's cache after a model was fetched into it.
    pub(super) fn make_room(&self, source: &str) {
        let (Some(limit), Ok(id)) = (self.hub_size, source.parse::<HubId>()) else { return };
        match hub::make_room(&id, limit) {
            Ok(gone) => gone.iter().for_each(|folder| tracing::info!(folder = %folder.display(), "removed from the hub's cache")),
            // The model is there, which is what was asked for.
            Err(error) => tracing::warn!(%error, "the hub's cache can't be kept within its limit"),
        }
    }

    /// The same shelf, but artifacts longer than `small` bytes are read by byte range.
    #[must_use]
    pub fn ranges_above(self, small: u64) -> Shelf {
        Shelf { small, ..self }
    }

    /// Whether an artifact of that length is fetched whole.
    pub(super) fn holds(&self, bytes: u64) -> bool {
        bytes <= self.small
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A dataset that was kept.
    pub(super) fn rows(&self, digest: &Digest) -> Option<Arc<Rows>> {
        self.kept().rows.iter().find(|(d, _)| d == digest).map(|(_, rows)| rows.clone())
    }

    /// Keeps a dataset.
    pub(super) fn keep_rows(&self, digest: Digest, rows: Arc<Rows>) {
        let mut kept = self.kept();
        kept.rows.retain(|(d, _)| *d != digest);
        kept.rows.push((digest, rows));
        if kept.rows.len() > DATASETS {
            kept.rows.remove(0);
        }
    }

    /// An artifact that was kept. One from the folder is verified again: files may have been touched.
    pub(super) fn artifact(&self, digest: &Digest) -> Option<Bytes> {
        let mut kept = self.kept();
        if let Some(found) = kept.artifacts.iter().position(|(d, _)| d == digest) {
            let entry = kept.artifacts.remove(found);
            let bytes = entry.1.clone();
            kept.artifacts.push(entry);
            return Some(bytes);
        }
        drop(kept);
        let bytes = self.cache.as_ref()?.get(digest)?;
        self.remember(*digest, bytes.clone());
        Some(bytes)
    }

    /// Keeps a verified artifact.
    pub(super) fn keep_artifact(&self, digest: Digest, bytes: Bytes) {
        if let Some(cache) = &self.cache {
            cache.put(&digest, &bytes);
        }
        self.remember(digest, bytes);
    }

    /// A verified piece of an artifact from the folder, past the memory.
    pub(super) fn filed(&self, digest: &Digest) -> Option<Bytes> {
        self.cache.as_ref()?.get(digest)
    }

    /// Keeps a verified piece of an artifact in the folder, past the memory.
    pub(super) fn file(&self, digest: &Digest, bytes: &Bytes) {
        if let Some(cache) = &self.cache {
            cache.put(digest, bytes);
        }
    }

    /// Where about so many bytes of prepared weights may lie: in the folder, if there is one and it is large enough.
    pub(super) fn place_of_weights(&self, name: &Digest, bytes: u64) -> Option<PathBuf> {
        self.cache.as_ref()?.place(name, "weights", bytes)
    }

    /// Says that such a file is in use, and may be new.
    pub(super) fn uses_weights(&self, file: &Path) {
        if let Some(cache) = &self.cache {
            cache.used(file);
        }
    }

    fn remember(&self, digest: Digest, bytes: Bytes) {
        let mut kept = self.kept();
        if bytes.len() > self.capacity || kept.artifacts.iter().any(|(d, _)| *d == digest) {
            return;
        }
        kept.bytes += bytes.len();
        kept.artifacts.push((digest, bytes));
        while kept.bytes > self.capacity {
            let (_, oldest) = kept.artifacts.remove(0);
            kept.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_artifact_goes_first() {
        let shelf = Shelf::new(10);
        let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|x| (Digest::of(x), Bytes::from_static(x)));
        shelf.keep_artifact(a.0, a.1.clone());
        shelf.keep_artifact(b.0, b.1);
        assert_eq!(shelf.artifact(&a.0), Some(a.1));
        shelf.keep_artifact(c.0, c.1);
        assert!(shelf.artifact(&b.0).is_none() && shelf.artifact(&a.0).is_some() && shelf.artifact(&c.0).is_some());
        shelf.keep_artifact(Digest::of(b"long"), Bytes::from_static(b"more than ten bytes"));
        assert!(shelf.artifact(&Digest::of(b"long")).is_none() && shelf.artifact(&c.0).is_some());
    }

    #[test]
    fn a_damaged_file_in_the_folder_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = Bytes::from_static(b"states");
        let digest = Digest::of(&bytes);
        let shelf = || Shelf::new(0).cached_in(folder.path().to_path_buf(), 1000);
        shelf().keep_artifact(digest, bytes.clone());
        assert_eq!(shelf().artifact(&digest), Some(bytes));
        std::fs::write(Cache::new(folder.path().to_path_buf(), 0).file(&digest), b"statez").unwrap();
        let shelf = shelf();
        assert!(shelf.artifact(&digest).is_none());
    }
}
