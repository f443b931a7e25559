//! A limit for what models take in the hub's cache: those used longest ago go.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use hf_hub::{Cache, Repo, RepoType};

use super::HubId;

/// One model in the cache: when it was used, its bytes and its folder.
type Kept = (SystemTime, u64, PathBuf);

/// Marks a model of the hub's cache as used now and removes others, used longest ago first, until all take at most `limit`
/// bytes together; that model itself stays. What another process has open stays readable for it. Datasets and what else lies in
/// the cache neither count nor go. The folders that went.
///
/// # Errors
/// The cache's folder can't be read or written.
pub fn make_room(id: &HubId, limit: u64) -> io::Result<Vec<PathBuf>> {
    let folder = Repo::new(id.repository.clone(), RepoType::Model).folder_name();
    within(Cache::from_env().path(), OsStr::new(&folder), limit)
}

fn within(cache: &Path, used: &OsStr, limit: u64) -> io::Result<Vec<PathBuf>> {
    // When a model was used is its folder's time of modification.
    fs::File::open(cache.join(used))?.set_modified(SystemTime::now())?;
    let mut kept: Vec<Kept> = Vec::new();
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("models--") {
            continue;
        }
        // What another worker removes in the meantime is not there, and that is all.
        if let (Ok(metadata), Ok(bytes)) = (entry.metadata(), bytes(&entry.path())) {
            kept.push((metadata.modified()?, bytes, entry.path()));
        }
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
    let mut gone = Vec::new();
    for (_, bytes, folder) in kept {
        if total <= limit {
            break;
        }
        if folder.file_name() == Some(used) {
            continue;
        }
        match fs::remove_dir_all(&folder) {
            Ok(()) => gone.push(folder),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        total -= bytes;
    }
    Ok(gone)
}

/// The bytes of a repository in the hub's cache, those of a file under way among them.
pub(super) fn bytes_of(repository: &str, kind: RepoType) -> u64 {
    let folder = Repo::new(repository.to_owned(), kind).folder_name();
    bytes(&Cache::from_env().path().join(folder)).unwrap_or(0)
}

/// The bytes of a folder's files. The names under `snapshots/` are links to them.
fn bytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A model as the hub's cache keeps it, used so many seconds ago.
    fn model(cache: &Path, name: &str, bytes: usize, seconds_ago: u64) {
        let folder = cache.join(name);
        fs::create_dir_all(folder.join("blobs")).unwrap();
        fs::create_dir_all(folder.join("snapshots/abc")).unwrap();
        fs::write(folder.join("blobs/123"), vec![0; bytes]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(seconds_ago);
        fs::File::open(&folder).unwrap().set_modified(used).unwrap();
    }

    fn there(cache: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(cache).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn models_used_longest_ago_go_and_nothing_else_does() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        model(cache, "models--a--old", 1000, 300);
        model(cache, "models--a--new", 1000, 100);
        model(cache, "models--a--used", 1000, 900);
        model(cache, "datasets--a--rows", 9000, 1000);
        assert_eq!(within(cache, OsStr::new("models--a--used"), 2500).unwrap(), [cache.join("models--a--old")]);
        assert_eq!(there(cache), ["datasets--a--rows", "models--a--new", "models--a--used"]);
        assert!(within(cache, OsStr::new("models--a--used"), 2500).unwrap().is_empty());
        within(cache, OsStr::new("models--a--new"), 10).unwrap();
        assert_eq!(there(cache), ["datasets--a--rows", "models--a--new"], "the one that is used stays, whatever it takes");
    }
}
