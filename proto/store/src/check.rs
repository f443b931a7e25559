//! Whether a store keeps the promises that commits rest on: exactly one of many creates wins, what was written is seen
//! at once by readers and listings, byte ranges are what they say.
//!
//! Everything is tried under `check/{random}/`, which is removed again. What a process that died in the middle leaves
//! there is in nobody's way.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use futures::stream::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore};

use crate::create::{Created, create, nonce};
use crate::error::StoreError;
use crate::store::{PART, Store};

/// A promise that Limbic needs a store to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Of several creates of one object exactly one wins, and it stays.
    Create,
    /// What was written is read at once; what was not written is "not found".
    Read,
    /// What was written is listed at once.
    List,
    /// A range of bytes is those bytes.
    Range,
    /// An object written in several parts is their sequence.
    Multipart,
}

impl Property {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Property::Create => "conditional create",
            Property::Read => "read after write",
            Property::List => "list after write",
            Property::Range => "range reads",
            Property::Multipart => "multipart upload",
        }
    }

    /// What goes wrong without it, and what to do.
    pub fn meaning(self) -> &'static str {
        match self {
            Property::Create => {
                "two workers could both commit a unit, and two coordinators both lead: use a store that honours `If-None-Match: *` \
                 (AWS S3, MinIO, Cloudflare R2, Google Cloud Storage, Azure), or a local folder with hard links"
            }
            Property::Read => "a unit could count as not committed and be computed again: use a store with read-after-write consistency",
            Property::List => "committed units could be overlooked and computed again: use a store with list-after-write consistency",
            Property::Range => "probes would be fitted to the wrong numbers: is there a proxy or cache between here and the store?",
            Property::Multipart => "large artifacts would be damaged: is there a proxy between here and the store?",
        }
    }
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Some 70 small requests: at every start.
    Short,
    /// More writers and keys, and an upload of 16 MiB.
    Full,
}

/// What was found of one promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The promise.
    pub property: Property,
    /// What was tried: how many of what.
    pub tried: String,
    /// What was seen instead; none if the promise was kept.
    pub failed: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failed {
            None => write!(f, "{}: kept ({})", self.property.name(), self.tried),
            Some(seen) => write!(f, "{} is not honoured ({seen}): {}", self.property.name(), self.property.meaning()),
        }
    }
}

impl Store {
    /// Tries the store's promises; the findings say which are kept.
    ///
    /// # Errors
    /// The store can't be reached, read or written, so that nothing was found out.
    pub async fn check(&self, depth: Depth) -> Result<Vec<Finding>, StoreError> {
        let folder = format!("check/{}", nonce());
        let trial = Trial { store: self, folder: folder.clone(), depth };
        let findings = trial.findings().await;
        self.sweep_out(&folder).await;
        findings
    }

    /// The short check, failing with every promise that is not kept.
    ///
    /// # Errors
    /// As [`Store::check`]; or [`StoreError::Unfit`].
    pub async fn demand(&self) -> Result<(), StoreError> {
        let findings = self.check(Depth::Short).await?;
        let failed: Vec<String> = findings.iter().filter(|f| f.failed.is_some()).map(ToString::to_string).collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Unfit { url: self.url().to_owned(), failed: failed.join("; ") }),
        }
    }

    /// Removes what the check has written; what can't be removed stays without harm.
    async fn sweep_out(&self, folder: &str) {
        let listed = self.inner.list(Some(&Path::from(folder))).map_ok(|o| o.location).boxed();
        if let Err(error) = self.inner.delete_stream(listed).try_collect::<Vec<_>>().await {
            tracing::debug!(store = self.url(), folder, %error, "the check's objects can't be removed");
        }
    }
}

/// One check under way.
struct Trial<'a> {
    store: &'a Store,
    folder: String,
    depth: Depth,
}

/// The body of the object that stands for one key, if exactly one create won.
type Standing = (String, Option<Bytes>);

impl Trial<'_> {
    async fn findings(&self) -> Result<Vec<Finding>, StoreError> {
        let began = Instant::now();
        let (keys, writers) = match self.depth {
            Depth::Short => (6, 4),
            Depth::Full => (16, 16),
        };
        // In two rounds: while the first one still opens connections, a store that looks and then writes may come through.
        let mut raced = Vec::with_capacity(keys);
        for round in [0..keys / 2, keys / 2..keys] {
            let round = join_all(round.map(|key| self.race(key, writers))).await;
            raced.extend(round.into_iter().collect::<Result<Vec<_>, _>>()?);
        }
        let failed = raced.iter().find_map(|(_, failed)| failed.clone());
        let mut standing: Vec<Standing> = raced.into_iter().map(|(standing, _)| standing).collect();
        let tried = format!("{writers} racing writers on each of {keys} keys");
        let mut findings = vec![Finding { property: Property::Create, tried, failed, took: began.elapsed() }];

        let mut add = |property, tried: String, began: Instant, failed| {
            findings.push(Finding { property, tried, failed, took: began.elapsed() });
        };
        let began = Instant::now();
        add(Property::Read, format!("{} objects and one that is not there", keys + 1), began, self.read(&mut standing).await?);
        let began = Instant::now();
        add(Property::List, format!("{} objects", keys + 1), began, self.list(&standing).await?);
        let began = Instant::now();
        let path = format!("{}/numbers", self.folder);
        let small = numbers(4096);
        self.store.upload(&path, small.clone()).await?;
        add(Property::Range, "3 ranges".to_owned(), began, self.ranges(&path, &small, 1000).await?);
        if self.depth == Depth::Full {
            let began = Instant::now();
            let path = format!("{}/parts", self.folder);
            let large = numbers(PART + 4096);
            self.store.upload(&path, large.clone()).await?;
            let tried = format!("{} bytes in two parts", large.len());
            add(Property::Multipart, tried, began, self.ranges(&path, &large, PART as u64).await?);
        }
        Ok(findings)
    }

    /// Several writers create one object, and one more comes late: the body that stands, and what went wrong.
    async fn race(&self, key: usize, writers: usize) -> Result<(Standing, Option<String>), StoreError> {
        let path = format!("{}/key{key}", self.folder);
        let location = Path::from(path.as_str());
        let body = |writer: usize| Bytes::from(format!(r#"{{"nonce":"{writer}","key":{key}}}"#));
        let tasks = (0..writers).map(|writer| {
            let (inner, location, body): (Arc<dyn ObjectStore>, _, _) = (self.store.inner.clone(), location.clone(), body(writer));
            tokio::spawn(async move { create(&*inner, &location, &writer.to_string(), body).await })
        });
        let mut won = Vec::new();
        let mut told = Vec::new();
        for (writer, ended) in join_all(tasks).await.into_iter().enumerate() {
            match ended.expect("creating doesn't panic") {
                Ok(Created::Won) => won.push(body(writer)),
                Ok(Created::Lost { winner }) => told.push(winner),
                Err(error) if unsupported(&error) => {
                    // The other promises are tried all the same.
                    self.store.upload(&path, body(0)).await?;
                    return Ok(((path, Some(body(0))), Some(format!("the store doesn't offer it: {error}"))));
                }
                Err(error) => return Err(StoreError::of(self.store.url(), format!("creating {path}"), error)),
            }
        }
        let [winner] = won.as_slice() else {
            let failed = format!("{} of {writers} racing writers were told that they won, not exactly one", won.len());
            return Ok(((path, None), Some(failed)));
        };
        if told.iter().any(|body| body != winner) {
            return Ok(((path, None), Some("a loser found another body than the winner's".to_owned())));
        }
        let late = self.store.create(&path, "late", Bytes::from_static(br#"{"nonce":"late"}"#)).await?;
        let failed = (late != Created::Lost { winner: winner.clone() })
            .then(|| "an object that had stood for a while was replaced by a later create".to_owned());
        Ok(((path, Some(winner.clone())), failed))
    }

    /// Reads what was raced for, an object at once after it is written, and one that was never written.
    async fn read(&self, standing: &mut Vec<Standing>) -> Result<Option<String>, StoreError> {
        let fresh = (format!("{}/fresh", self.folder), Some(numbers(64)));
        self.store.upload(&fresh.0, numbers(64)).await?;
        standing.insert(0, fresh);
        for (path, body) in &*standing {
            match (self.store.get(path).await, body) {
                (Ok(found), Some(body)) if found != *body => return Ok(Some("an object has other bytes than were written".to_owned())),
                (Err(error), _) if error.not_found() => return Ok(Some("an object that was just written is not found".to_owned())),
                (Err(error), _) => return Err(error),
                (Ok(_), _) => {}
            }
        }
        match self.store.get(&format!("{}/never", self.folder)).await {
            Err(error) if error.not_found() => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Ok(Some("an object that was never written is found".to_owned())),
        }
    }

    async fn list(&self, standing: &[Standing]) -> Result<Option<String>, StoreError> {
        let mut expected: Vec<&str> = standing.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
        expected.sort_unstable();
        let direct = self.store.list(&self.folder).await?;
        let prefix = Path::from(self.folder.as_str());
        let all = self.store.inner.list(Some(&prefix)).map_ok(|o| o.location.filename().unwrap_or_default().to_owned());
        let mut all: Vec<String> = all.try_collect().await.map_err(self.store.io(format!("listing {}", self.folder)))?;
        all.sort_unstable();
        Ok([direct, all]
            .into_iter()
            .find(|names| *names != expected)
            .map(|names| format!("{} of {} objects that were just written are listed", names.len(), expected.len())))
    }

    /// Reads the beginning, a piece around `middle` and the end.
    async fn ranges(&self, path: &str, bytes: &Bytes, middle: u64) -> Result<Option<String>, StoreError> {
        let len = bytes.len() as u64;
        let wanted = [0..16, middle - 100..middle + 100, len - 16..len];
        for range in wanted {
            match self.store.get_range(path, range.clone()).await {
                Ok(found) if found[..] == bytes[range.start as usize..range.end as usize] => {}
                Ok(_) | Err(StoreError::Corrupt { .. }) => {
                    return Ok(Some(format!("bytes {}..{} of {len} are others than were written", range.start, range.end)));
                }
                Err(error) if error.not_found() => return Ok(Some("an object that was just written is not found".to_owned())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Whether the store says that it knows no conditional create.
fn unsupported(error: &Error) -> bool {
    matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. })
        || crate::error::innermost(error).contains("status code: 501")
}

/// Bytes of which no two stretches are alike.
fn numbers(len: usize) -> Bytes {
    (0..len.div_ceil(4)).flat_map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}
