//! Artifacts that no commit names: what attempts that lost, failed or died left under `data/`.
//!
//! An attempt is garbage when it is old and no link of its unit's chain of commits names it, the voided ones included:
//! old results stay addressable. Nothing but objects of such attempts is ever removed; what isn't understood stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt, TryStreamExt};
use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use object_store::path::Path;

use crate::error::StoreError;
use crate::store::Store;

/// How many chains of commits are read at once.
const READERS: usize = 16;

/// One attempt's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The unit.
    pub unit: UnitKey,
    /// The attempt.
    pub attempt: String,
    /// Its objects' paths.
    pub objects: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// When the last of them was written.
    pub newest: SystemTime,
}

/// The attempts in one part of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The garbage.
    pub garbage: Vec<Leftover>,
    /// Attempts that a commit names.
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

    /// What of a part nobody names, written before a time.
    ///
    /// # Errors
    /// The store can't be listed or read.
    pub async fn leftovers(&self, part: &str, before: SystemTime) -> Result<Leftovers, StoreError> {
        let mut found = Leftovers::default();
        let mut old = Vec::new();
        // Attempts first, commits second: whatever is committed in between is seen as committed.
        for attempt in self.attempts(part, &mut found.unclear).await? {
            if attempt.newest < before { old.push(attempt) } else { found.young += 1 }
        }
        let listed = self.links(part).await?;
        let units: BTreeSet<UnitKey> = old.iter().map(|a| a.unit).collect();
        let named = stream::iter(units).map(|unit| {
            let listed = listed.get(&unit).cloned().unwrap_or_default();
            async move { Ok::<_, StoreError>((unit, self.named(&unit, listed).await?)) }
        });
        let named: BTreeMap<UnitKey, Option<BTreeSet<String>>> = named.buffer_unordered(READERS).try_collect().await?;
        for attempt in old {
            match &named[&attempt.unit] {
                None => found.unclear += attempt.objects.len() as u64,
                Some(names) if names.contains(&attempt.attempt) => found.referenced += 1,
                Some(_) => found.garbage.push(attempt),
            }
        }
        Ok(found)
    }

    /// Removes an attempt's objects, unless its unit's commits name it by now; whether they were removed.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn discard(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        match self.named(&leftover.unit, BTreeSet::new()).await? {
            Some(names) if !names.contains(&leftover.attempt) => {}
            _ => return Ok(false),
        }
        let paths: Vec<_> = leftover.objects.iter().map(|path| Ok(Path::from(path.as_str()))).collect();
        let mut removed = self.inner.delete_stream(stream::iter(paths).boxed());
        while let Some(one) = removed.next().await {
            match one {
                // Somebody else removed it.
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(self.io(format!("removing an object of attempt {}", leftover.attempt))(e)),
            }
        }
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
                bytes: 0,
                newest: written,
            });
            entry.objects.push(path.to_owned());
            entry.bytes += object.size;
            entry.newest = entry.newest.max(written);
        }
        Ok(attempts.into_values().collect())
    }

    /// The links of the chains in a part, by listing.
    async fn links(&self, part: &str) -> Result<BTreeMap<UnitKey, BTreeSet<u32>>, StoreError> {
        let mut links: BTreeMap<UnitKey, BTreeSet<u32>> = BTreeMap::new();
        for name in self.list(&format!("{}/{part}", layout::commits())).await? {
            if let Some((unit, link)) = layout::link(&name) {
                links.entry(unit).or_default().insert(link);
            }
        }
        Ok(links)
    }

    /// The attempts that a unit's chain names: the links that were listed, and every one from 0 on until two in a row are
    /// missing (results come at even links without a gap; a void between them may be missing). None if a link can't be
    /// understood.
    async fn named(&self, unit: &UnitKey, listed: BTreeSet<u32>) -> Result<Option<BTreeSet<String>>, StoreError> {
        let mut names = BTreeSet::new();
        let (mut link, mut missing) = (0, 0);
        while missing < 2 || listed.last().is_some_and(|last| link <= *last) {
            match self.get(&layout::commit(unit, link)).await {
                Ok(bytes) => match serde_json::from_slice::<Commit>(&bytes) {
                    Ok(Commit::Done(done)) => {
                        missing = 0;
                        names.insert(done.attempt);
                    }
                    Ok(Commit::Split { .. } | Commit::Void { .. }) => missing = 0,
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
        Ok(Some(names))
    }
}
