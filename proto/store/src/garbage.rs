//! Artifacts that nobody needs: what attempts that lost, failed or died left under `data/`, and activations whose marker says
//! that they were released.
//!
//! An attempt is garbage when it is old and no link of its unit's chain of commits names it, the voided ones included:
//! old results stay addressable. Released activations are garbage however young they are: whoever released them died before
//! they were deleted. Verdicts that units left for others lie where an attempt's artifacts would: under a question instead of a
//! unit, which has no commits, so that they are garbage once the last of them is old. Nothing else is ever removed; what isn't
//! understood stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt, TryStreamExt};
use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use object_store::path::Path;
use tokio::task::spawn_blocking;

use crate::error::StoreError;
use crate::store::Store;

/// How many chains of commits are read at once.
const READERS: usize = 16;

/// Objects of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The unit; of verdicts the digest of what was asked.
    pub unit: UnitKey,
    /// The attempt; or `parts`, for the finished blocks of one that was interrupted, or `verdicts`.
    pub attempt: String,
    /// The objects' paths, and their bytes.
    pub objects: Vec<(String, u64)>,
    /// When the last of them was written.
    pub newest: SystemTime,
    /// Whether they are activations that were released; else no commit names the attempt.
    pub released: bool,
}

impl Leftover {
    /// The bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The attempts in one part of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The garbage.
    pub garbage: Vec<Leftover>,
    /// Old attempts that a commit names.
    pub referenced: u64,
    /// Attempts that no commit names, too young to be garbage.
    pub young: u64,
    /// Objects that are not an attempt's, or whose unit's commits can't be read; they stay.
    pub unclear: u64,
}

impl Store {
    /// The parts that artifacts are spread over: the first two digits of the units' keys.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn data_parts(&self) -> Result<Vec<String>, StoreError> {
        self.list("data").await
    }

    /// What of a part nobody needs: what nobody names, written before a time, and what was released.
    ///
    /// # Errors
    /// The store can't be listed or read.
    pub async fn leftovers(&self, part: &str, before: SystemTime) -> Result<Leftovers, StoreError> {
        let mut found = Leftovers::default();
        // Attempts first, commits second: whatever is committed in between is seen as committed.
        let attempts = self.attempts(part, &mut found.unclear).await?;
        let (commits, markers) = (self.links(layout::commits(), part).await?, self.links(layout::releases(), part).await?);
        let asked = |attempt: &&Leftover| attempt.newest < before || markers.contains_key(&attempt.unit);
        let units: BTreeSet<UnitKey> = attempts.iter().filter(asked).map(|attempt| attempt.unit).collect();
        let chains = stream::iter(units).map(|unit| {
            let listed = commits.get(&unit).cloned().unwrap_or_default();
            async move { Ok::<_, StoreError>((unit, self.chain(&unit, listed).await?)) }
        });
        let chains: BTreeMap<UnitKey, Option<Chain>> = chains.buffer_unordered(READERS).try_collect().await?;
        for attempt in attempts {
            let chain = chains.get(&attempt.unit).and_then(Option::as_ref);
            let markers = markers.get(&attempt.unit);
            if let Some(released) = chain.zip(markers).and_then(|(chain, markers)| chain.released(&attempt, markers)) {
                let whole = released.objects.len() == attempt.objects.len();
                found.garbage.push(released);
                if whole {
                    continue;
                }
            }
            match chain {
                _ if attempt.newest >= before => found.young += 1,
                None => found.unclear += attempt.objects.len() as u64,
                Some(chain) if chain.attempts.contains_key(&attempt.attempt) => found.referenced += 1,
                Some(_) => found.garbage.push(attempt),
            }
        }
        Ok(found)
    }

    /// Of a store that is a folder, the files of writes under `data/` that never ended, last written before a time, and their bytes:
    /// whoever wrote them was killed. Elsewhere the store removes such itself, or is told to.
    ///
    /// # Errors
    /// The folder can't be read.
    pub async fn unfinished(&self, before: SystemTime) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let folder = PathBuf::from(self.url()).join("data");
        if !folder.is_absolute() {
            return Ok(Vec::new());
        }
        let found = spawn_blocking(move || staged(&folder, before)).await.expect("looking at files doesn't panic");
        found.map_err(|e| self.io("looking for unfinished writes under data".to_owned())(local(e)))
    }

    /// Removes such files.
    ///
    /// # Errors
    /// One can't be removed.
    pub async fn discard_unfinished(&self, file: PathBuf) -> Result<(), StoreError> {
        let what = format!("removing {}", file.display());
        match spawn_blocking(move || std::fs::remove_file(file)).await.expect("removing a file doesn't panic") {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.io(what)(local(e))),
            _ => Ok(()),
        }
    }

    /// Removes a leftover's objects, unless its unit's commits name its attempt by now; whether they were removed.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn discard(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        if !leftover.released {
            match self.chain(&leftover.unit, BTreeSet::new()).await? {
                Some(chain) if !chain.attempts.contains_key(&leftover.attempt) => {}
                _ => return Ok(false),
            }
        }
        self.remove(leftover.objects.iter().map(|(path, _)| path.clone()).collect()).await?;
        Ok(true)
    }

    /// The attempts under `data/{part}/{unit}/{attempt}/`.
    async fn attempts(&self, part: &str, unclear: &mut u64) -> Result<Vec<Leftover>, StoreError> {
        let what = format!("listing data/{part}");
        let mut listing = self.inner.list(Some(&Path::from(format!("data/{part}"))));
        let mut attempts: BTreeMap<(UnitKey, String), Leftover> = BTreeMap::new();
        while let Some(object) = listing.try_next().await.map_err(self.io(what.clone()))? {
            let path = object.location.as_ref();
            let names: Vec<&str> = path.split('/').collect();
            let unit = match names.as_slice() {
                ["data", _, unit, _, _] => unit.parse::<UnitKey>().ok().filter(|key| key.to_string() == *unit && key.fan_out() == part),
                _ => None,
            };
            let Some(unit) = unit else {
                *unclear += 1;
                continue;
            };
            let attempt = names[3].to_owned();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(object.last_modified.timestamp()).unwrap_or(0));
            let entry = attempts.entry((unit, attempt.clone())).or_insert_with(|| Leftover {
                unit,
                attempt,
                objects: Vec::new(),
                newest: written,
                released: false,
            });
            entry.objects.push((path.to_owned(), object.size));
            entry.newest = entry.newest.max(written);
        }
        Ok(attempts.into_values().collect())
    }

    /// The links that a folder's names in a part stand for, by listing.
    async fn links(&self, folder: &str, part: &str) -> Result<BTreeMap<UnitKey, BTreeSet<u32>>, StoreError> {
        let mut links: BTreeMap<UnitKey, BTreeSet<u32>> = BTreeMap::new();
        for name in self.list(&format!("{folder}/{part}")).await? {
            if let Some((unit, link)) = layout::link(&name) {
                links.entry(unit).or_default().insert(link);
            }
        }
        Ok(links)
    }

    /// A unit's chain: the links that were listed, and every one from 0 on until two in a row are missing (results come at
    /// even links without a gap; a void between them may be missing). None if a link can't be understood.
    async fn chain(&self, unit: &UnitKey, listed: BTreeSet<u32>) -> Result<Option<Chain>, StoreError> {
        let mut chain = Chain::default();
        let (mut link, mut missing) = (0, 0);
        while missing < 2 || listed.last().is_some_and(|last| link <= *last) {
            match self.get(&layout::commit(unit, link)).await {
                Ok(bytes) => match serde_json::from_slice::<Commit>(&bytes) {
                    Ok(found) => {
                        (missing, chain.highest) = (0, Some(link));
                        if let Commit::Done(done) = found {
                            chain.attempts.insert(done.attempt, link);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%unit, link, %error, "a commit can't be understood; the unit's artifacts stay");
                        return Ok(None);
                    }
                },
                Err(error) if error.not_found() => missing += 1,
                Err(error) => return Err(error),
            }
            link += 1;
        }
        Ok(Some(chain))
    }
}

fn local(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "folder", source: Box::new(error) }
}

/// The files under a folder that `object_store` writes to before it gives them their names, which listings hide: `NAME#1`.
fn staged(folder: &FsPath, before: SystemTime) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = open.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
                continue;
            }
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
            let hidden = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
            if hidden && about.modified().is_ok_and(|written| written < before) {
                found.push((entry.path(), about.len()));
            }
        }
    }
    Ok(found)
}

/// What a unit's chain of commits says.
#[derive(Debug, Default)]
struct Chain {
    /// The highest link.
    highest: Option<u32>,
    /// The attempts that links name.
    attempts: BTreeMap<String, u32>,
}

impl Chain {
    /// Of an attempt's objects the activations that were released, if any; `markers` are the links of results that were.
    fn released(&self, attempt: &Leftover, markers: &BTreeSet<u32>) -> Option<Leftover> {
        let gone = |path: &str| match self.attempts.get(&attempt.attempt) {
            Some(link) => markers.contains(link) && path.rsplit('/').next() == Some(STATES),
            // Nobody goes on with finished blocks while the result stands.
            None => attempt.attempt == layout::PARTS && self.highest.is_some_and(|link| markers.contains(&link)),
        };
        let objects: Vec<_> = attempt.objects.iter().filter(|(path, _)| gone(path)).cloned().collect();
        (!objects.is_empty()).then(|| Leftover { objects, released: true, ..attempt.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_that_never_ended_are_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let place = folder.path().join("data/ab/unit/attempt");
        std::fs::create_dir_all(&place).unwrap();
        for name in ["states.safetensors", "states.safetensors#1", "fits.json#12", "fits.json#", "fits.json#a"] {
            std::fs::write(place.join(name), b"12345").unwrap();
        }
        std::fs::write(folder.path().join("elsewhere#1"), b"").unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let mut found = store.unfinished(later).await.unwrap();
        found.sort();
        assert_eq!(found, [(place.join("fits.json#12"), 5), (place.join("states.safetensors#1"), 5)]);
        assert_eq!(store.unfinished(SystemTime::UNIX_EPOCH).await.unwrap(), [], "they are too young");
        for (file, _) in found {
            store.discard_unfinished(file.clone()).await.unwrap();
            assert!(!file.exists());
            store.discard_unfinished(file).await.expect("somebody else was faster");
        }
        assert_eq!(store.unfinished(later).await.unwrap(), []);
    }

    /// What is found is what the library stages: a name of another kind would never be removed.
    #[tokio::test]
    async fn an_upload_that_is_not_completed_is_such_a_write() {
        use object_store::ObjectStoreExt;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let mut upload = store.inner.put_multipart(&Path::from("data/ab/unit/attempt/states.safetensors")).await.unwrap();
        upload.put_part(vec![7; 100].into()).await.unwrap();
        // As where the process is killed.
        std::mem::forget(upload);
        let found = store.unfinished(SystemTime::now() + Duration::from_secs(60)).await.unwrap();
        assert_eq!(found.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [100], "{found:?}");
    }
}
