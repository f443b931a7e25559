//! Verified artifacts and prepared weights as files in a folder that several workers may share; the least recently used go first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use limbic_proto::key::Digest;
use limbic_store::whole::write_whole;

/// A folder of at most `limit` bytes. Workers that share it may go beyond by a sixteenth each for a moment, and by a model's
/// weights: so much is written before the folder is measured again.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    /// Bytes written since the folder was measured; at first unknown, so as much as could be.
    written: Mutex<u64>,
}

impl Cache {
    pub(super) fn new(folder: PathBuf, limit: u64) -> Cache {
        Cache { folder, limit, written: Mutex::new(u64::MAX) }
    }

    /// An artifact, verified again: files may have been touched.
    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.file(digest);
        let bytes = Bytes::from(fs::read(&path).ok()?);
        if Digest::of(&bytes) != *digest {
            // Another worker may have removed it already.
            let _ = fs::remove_file(&path);
            return None;
        }
        // When it was used is its time of modification; if that can't be set it only goes sooner.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Keeps a verified artifact, unless it alone is larger than the limit.
    pub(super) fn put(&self, digest: &Digest, bytes: &Bytes) {
        let (file, len) = (self.file(digest), bytes.len() as u64);
        if len > self.limit || file.exists() {
            return;
        }
        if let Err(error) = write_whole(&file, bytes).and_then(|()| self.trim(len)) {
            tracing::warn!(file = %file.display(), %error, "the cache folder can't be written; going on without it");
        }
    }

    /// Where somebody else may keep about so many bytes under a name of their own, unless they alone are more than the limit.
    pub(super) fn place(&self, name: &Digest, ending: &str, bytes: u64) -> Option<PathBuf> {
        (bytes <= self.limit).then(|| self.file(name).with_extension(ending))
    }

    /// Says that a file of [`Cache::place`] is in use, and may be new.
    pub(super) fn used(&self, file: &Path) {
        let Ok(opened) = File::open(file) else { return };
        let _ = opened.set_modified(SystemTime::now());
        let trimmed = opened.metadata().and_then(|there| self.trim(there.len()));
        if let Err(error) = trimmed {
            tracing::warn!(file = %file.display(), %error, "the cache folder can't be kept within its limit");
        }
    }

    /// Removes what was used longest ago until the folder is within its limit.
    fn trim(&self, added: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *written = written.saturating_add(added);
        if *written <= self.limit / 16 {
            return Ok(());
        }
        let mut files = Vec::new();
        walk(&self.folder, &mut files)?;
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if total <= self.limit {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => total -= len,
                // Another worker was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => total -= len,
                Err(e) => return Err(e),
            }
        }
        *written = 0;
        Ok(())
    }

    pub(super) fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.fan_out()).join(digest.hex())
    }
}

/// When each file under a folder was used, its bytes and its path.
fn walk(folder: &Path, into: &mut Vec<(SystemTime, u64, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What another worker removes in the meantime is not there, and that is all.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(&entry.path(), into)?;
        } else {
            into.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn artifact(i: u8) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![i; 100]);
        (Digest::of(&bytes), bytes)
    }

    fn size(folder: &Path) -> u64 {
        let mut files = Vec::new();
        walk(folder, &mut files).unwrap();
        files.iter().map(|(_, len, _)| len).sum()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_path_buf(), 350);
        for i in 0..3 {
            let (digest, bytes) = artifact(i);
            cache.put(&digest, &bytes);
            let long_ago = SystemTime::now() - Duration::from_secs(1000 - u64::from(i));
            File::open(cache.file(&digest)).unwrap().set_modified(long_ago).unwrap();
        }
        assert!(cache.get(&artifact(0).0).is_some(), "used just now");
        let (digest, bytes) = artifact(3);
        cache.put(&digest, &bytes);
        let there: Vec<u8> = (0..4).filter(|i| cache.file(&artifact(*i).0).exists()).collect();
        assert_eq!(there, [0, 2, 3]);
        let large = Bytes::from(vec![9; 351]);
        cache.put(&Digest::of(&large), &large);
        assert!(cache.get(&Digest::of(&large)).is_none() && size(folder.path()) == 300, "what is too large displaces nothing");
    }

    #[test]
    fn a_folder_from_an_earlier_run_is_brought_within_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let before = Cache::new(folder.path().to_path_buf(), 10_000);
        (0..50).map(artifact).for_each(|(digest, bytes)| before.put(&digest, &bytes));
        assert_eq!(size(folder.path()), 5000);
        let (digest, bytes) = artifact(99);
        Cache::new(folder.path().to_path_buf(), 1000).put(&digest, &bytes);
        assert_eq!(size(folder.path()), 1000);
    }

    #[test]
    fn what_somebody_else_writes_counts_and_goes_when_it_was_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_path_buf(), 350);
        let name = Digest::of(b"weights");
        assert_eq!(cache.place(&name, "weights", 351), None);
        let file = cache.place(&name, "weights", 350).unwrap();
        cache.used(&file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, [1; 250]).unwrap();
        cache.used(&file);
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        for i in 0..2 {
            let (digest, bytes) = artifact(i);
            File::open(&file).unwrap().set_modified(long_ago).unwrap();
            if i == 1 {
                cache.used(&file);
            }
            cache.put(&digest, &bytes);
            File::open(cache.file(&digest)).unwrap().set_modified(long_ago + Duration::from_secs(i.into())).unwrap();
        }
        assert!(file.exists() && !cache.file(&artifact(0).0).exists(), "it was used later than the first artifact");
        File::open(&file).unwrap().set_modified(long_ago).unwrap();
        let (digest, bytes) = artifact(2);
        cache.put(&digest, &bytes);
        assert!(!file.exists() && size(folder.path()) == 200);
    }

    #[test]
    fn several_workers_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4u8 {
                let path = folder.path().to_path_buf();
                scope.spawn(move || {
                    let cache = Cache::new(path, 1600);
                    for i in 0..200u8 {
                        let (digest, bytes) = artifact(i.wrapping_mul(worker + 1) % 40);
                        cache.put(&digest, &bytes);
                        // Gone or whole, never anything else.
                        assert!(cache.get(&digest).is_none_or(|found| found == bytes));
                    }
                });
            }
        });
        assert!(size(folder.path()) <= 1600 + 4 * 200, "{}", size(folder.path()));
    }
}
