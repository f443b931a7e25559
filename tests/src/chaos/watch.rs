//! Watches the store: what is under `commit/`, `sweeps/` and `rows/` may appear, and never change or go away.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use limbic_proto::commit::{Commit, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

/// The control objects.
const CONTROL: [&str; 3] = ["commit", "sweeps", "rows"];

/// An object, as it was when it was first seen.
#[derive(Debug, Clone)]
struct Seen {
    digest: Digest,
    size: u64,
    e_tag: Option<String>,
    /// Microseconds since 1970.
    written: i64,
}

/// A unit's standing result.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The unit.
    pub unit: UnitKey,
    /// The link of its chain of commits.
    pub link: u32,
    /// The result.
    pub done: Done,
    /// When it was written, in microseconds since 1970.
    pub written: i64,
}

/// What was seen, and what should not have been.
#[derive(Debug)]
pub struct Watch {
    store: Arc<dyn ObjectStore>,
    seen: BTreeMap<Path, Seen>,
    /// Objects that had other bytes later.
    pub overwritten: Vec<String>,
    /// Objects that were gone later.
    pub lost: Vec<String>,
}

/// Opens a store with nothing of ours in between.
///
/// # Errors
/// The address means nothing.
pub fn open(address: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    if address.contains("://") {
        // Installs the TLS library that every client needs, and judges the address.
        limbic_store::Store::open(address)?;
        let options = std::env::vars().map(|(k, v)| (k.to_lowercase(), v));
        let (store, prefix) = object_store::parse_url_opts(&url::Url::parse(address)?, options)?;
        return Ok(Arc::new(object_store::prefix::PrefixStore::new(store, prefix)));
    }
    std::fs::create_dir_all(address)?;
    Ok(Arc::new(object_store::local::LocalFileSystem::new_with_prefix(address)?))
}

/// How many of the latest commits a flip is chosen from: so few that what depends on them is still to come.
const LATEST: usize = 12;

/// Flips a bit of states that were committed lately; false where there are none.
///
/// # Errors
/// The store can't be read or written.
pub async fn flip(address: &str, draw: u64) -> anyhow::Result<bool> {
    let store = open(address)?;
    let mut commits: Vec<ObjectMeta> = store.list(Some(&Path::from("commit"))).try_collect().await?;
    commits.sort_by_key(|meta| std::cmp::Reverse(meta.last_modified));
    let mut states = Vec::new();
    for meta in commits.iter().take(LATEST) {
        let commit: Commit = serde_json::from_slice(&store.get(&meta.location).await?.bytes().await?)?;
        let name = meta.location.filename().unwrap_or_default();
        let unit: UnitKey = name.split('.').next().unwrap_or_default().parse().map_err(|e| anyhow::anyhow!("{name}: {e}"))?;
        if let Commit::Done(done) = commit
            && done.artifact(STATES).is_some()
        {
            states.push(Path::from(layout::artifact(&unit, &done.attempt, STATES)));
        }
    }
    let Some(path) = states.get(draw as usize % states.len().max(1)) else { return Ok(false) };
    let mut bytes = store.get(path).await?.bytes().await?.to_vec();
    let at = (draw >> 16) as usize % bytes.len();
    bytes[at] ^= 1 << (draw % 8);
    store.put(path, bytes.into()).await?;
    Ok(true)
}

impl Watch {
    /// Watches a store; nothing is seen yet.
    ///
    /// # Errors
    /// The address means nothing.
    pub fn new(address: &str) -> anyhow::Result<Watch> {
        Ok(Watch { store: open(address)?, seen: BTreeMap::new(), overwritten: Vec::new(), lost: Vec::new() })
    }

    /// Looks once. With `closely`, every object is read again, else only those that are new or look changed.
    ///
    /// # Errors
    /// The store can't be read (it may be away).
    pub async fn look(&mut self, closely: bool) -> anyhow::Result<()> {
        let mut there: BTreeMap<Path, ObjectMeta> = BTreeMap::new();
        for prefix in CONTROL {
            let listed: Vec<ObjectMeta> = self.store.list(Some(&Path::from(prefix))).try_collect().await?;
            there.extend(listed.into_iter().map(|meta| (meta.location.clone(), meta)));
        }
        let gone: Vec<Path> = self.seen.keys().filter(|path| !there.contains_key(path)).cloned().collect();
        for path in gone {
            // A listing may be older than what was seen; a read is not.
            if self.store.head(&path).await.is_err_and(|e| matches!(e, object_store::Error::NotFound { .. })) {
                self.lost.push(path.to_string());
                self.seen.remove(&path);
            }
        }
        for (path, meta) in there {
            let same = |seen: &Seen| (seen.size, &seen.e_tag) == (meta.size, &meta.e_tag);
            if !closely && self.seen.get(&path).is_some_and(same) {
                continue;
            }
            let bytes = self.store.get(&path).await?.bytes().await?;
            let now =
                Seen { digest: Digest::of(&bytes), size: meta.size, e_tag: meta.e_tag, written: meta.last_modified.timestamp_micros() };
            if self.seen.get(&path).is_some_and(|before| before.digest != now.digest) {
                self.overwritten.push(path.to_string());
            }
            self.seen.entry(path).or_insert(now);
        }
        Ok(())
    }

    /// How many commit objects were seen.
    pub fn commits(&self) -> usize {
        self.seen.keys().filter(|path| path.as_ref().starts_with("commit/")).count()
    }

    /// How many results were voided.
    pub fn voided(&self) -> usize {
        let odd = |path: &&Path| {
            let link = path.filename().and_then(|name| name.split_once('.')?.1.parse::<u32>().ok());
            path.as_ref().starts_with("commit/") && link.is_some_and(|link| link % 2 == 1)
        };
        self.seen.keys().filter(odd).count()
    }

    /// Every link of every chain of commits that holds a result.
    ///
    /// # Errors
    /// A commit can't be read or is none.
    pub async fn results(&self) -> anyhow::Result<Vec<Standing>> {
        let mut all = Vec::new();
        for (path, seen) in self.seen.iter().filter(|(path, _)| path.as_ref().starts_with("commit/")) {
            let name = path.filename().unwrap_or_default();
            let (unit, link) = name.split_once('.').unwrap_or((name, "0"));
            let unit: UnitKey = unit.parse().map_err(|e| anyhow::anyhow!("{path}: {e}"))?;
            let commit: Commit = serde_json::from_slice(&self.store.get(path).await?.bytes().await?)?;
            if let Commit::Done(done) = commit {
                all.push(Standing { unit, link: link.parse()?, done, written: seen.written });
            }
        }
        Ok(all)
    }

    /// What is wrong with the artifacts that a result names.
    pub async fn dangling(&self, standing: &Standing) -> Vec<String> {
        let mut wrong = Vec::new();
        for artifact in &standing.done.artifacts {
            let path = layout::artifact(&standing.unit, &standing.done.attempt, &artifact.name);
            let found = match self.store.get(&Path::from(path.as_str())).await {
                Ok(object) => object.bytes().await,
                Err(e) => Err(e),
            };
            match found {
                Ok(bytes) if bytes.len() as u64 == artifact.len && Digest::of(&bytes) == artifact.blake3 => {}
                Ok(bytes) => wrong.push(format!("{path}: {} bytes that are not what was committed", bytes.len())),
                Err(e) => wrong.push(format!("{path}: {e}")),
            }
        }
        wrong
    }

    /// How many attempts left artifacts.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn attempts(&self) -> anyhow::Result<usize> {
        let listed: Vec<ObjectMeta> = self.store.list(Some(&Path::from("data"))).try_collect().await?;
        let attempts: std::collections::BTreeSet<_> = listed
            .iter()
            .filter(|meta| meta.location.filename() != Some(layout::ATTEMPT_LOG))
            .map(|meta| meta.location.parts().take(4).map(|p| p.as_ref().to_owned()).collect::<Vec<_>>())
            .collect();
        Ok(attempts.len())
    }
}
