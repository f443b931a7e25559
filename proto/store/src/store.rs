//! A store root: read objects, write artifacts and commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use limbic_proto::commit::{self, Artifact, Commit, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::content::Content;
use crate::create::{Created, create};
use crate::error::StoreError;

/// A store root.
#[derive(Clone, Debug)]
pub struct Store {
    url: String,
    pub(crate) inner: Arc<dyn ObjectStore>,
}

impl Store {
    /// A store over any implementation.
    pub fn over(url: &str, inner: Arc<dyn ObjectStore>) -> Store {
        Store { url: url.to_owned(), inner }
    }

    /// The address, as other processes can open it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn io(&self, what: impl Into<String>) -> impl FnOnce(object_store::Error) -> StoreError {
        let (url, what) = (self.url.clone(), what.into());
        move |source| StoreError::of(&url, what, source)
    }

    /// Creates an object whose body carries `nonce`; see [`Created`].
    ///
    /// # Errors
    /// The store can't be reached or written.
    pub async fn create(&self, path: &str, nonce: &str, body: Bytes) -> Result<Created, StoreError> {
        create(&*self.inner, &Path::from(path), nonce, body).await.map_err(self.io(format!("creating {path}")))
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// It doesn't exist ([`StoreError::not_found`]) or can't be read.
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let result = self.inner.get(&Path::from(path)).await.map_err(self.io(format!("reading {path}")))?;
        result.bytes().await.map_err(self.io(format!("reading {path}")))
    }

    /// Reads a byte range of an object.
    ///
    /// # Errors
    /// It doesn't exist, other than all of the range comes ([`StoreError::Corrupt`]), or it can't be read.
    pub async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        let (location, start, end) = (Path::from(path), range.start, range.end);
        // Each store has its own way with a range that isn't there, or not all of it.
        let message = match self.inner.get_range(&location, range).await.map_err(self.io(format!("reading a part of {path}"))) {
            Ok(bytes) if bytes.len() as u64 == end - start => return Ok(bytes),
            Ok(bytes) => format!("{} bytes came where {} from byte {start} on were to be read", bytes.len(), end - start),
            Err(error) if error.may_pass() && !error.out_of_reach() => match self.inner.head(&location).await {
                Ok(found) if found.size < end => format!("it has {} bytes, and some up to {end} were to be read", found.size),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        };
        Err(StoreError::Corrupt { url: self.url.clone(), path: path.to_owned(), message })
    }

    /// The names directly under a folder, sorted: objects and folders alike.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = Path::from(folder);
        let listing = self.inner.list_with_delimiter(Some(&prefix)).await.map_err(self.io(format!("listing {folder}")))?;
        let mut names: Vec<String> = listing
            .common_prefixes
            .iter()
            .chain(listing.objects.iter().map(|o| &o.location))
            .filter_map(|p| p.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The names of the objects directly in a folder that sort behind `last`, sorted.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn list_after(&self, folder: &str, last: &str) -> Result<Vec<String>, StoreError> {
        let (prefix, offset) = (Path::from(folder), Path::from(format!("{folder}/{last}")));
        let listed = self.inner.list_with_offset(Some(&prefix), &offset).map_ok(|o| o.location).try_collect::<Vec<_>>();
        let mut names: Vec<String> =
            listed.await.map_err(self.io(format!("listing {folder}")))?.iter().filter_map(|p| p.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The highest link of every unit's chain of commits, by one listing: even = the unit is committed (see
    /// [`limbic_proto::commit`]). Units without any link are not in it.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn committed(&self) -> Result<BTreeMap<UnitKey, u32>, StoreError> {
        self.highest(layout::commits()).await
    }

    /// The highest link of every unit that has an object in a folder whose names say unit and link.
    pub(crate) async fn highest(&self, folder: &str) -> Result<BTreeMap<UnitKey, u32>, StoreError> {
        let mut listing = self.inner.list(Some(&Path::from(folder)));
        let mut highest = BTreeMap::new();
        while let Some(object) = listing.try_next().await.map_err(self.io(format!("listing {folder}")))? {
            if let Some((unit, link)) = object.location.filename().and_then(layout::link) {
                let known = highest.entry(unit).or_insert(link);
                *known = link.max(*known);
            }
        }
        Ok(highest)
    }

    /// The result of a unit's generation, if there is one. That it is not voided is for the caller to know: see
    /// [`Store::committed`].
    ///
    /// # Errors
    /// The store can't be reached, or the object is not a commit.
    pub async fn commit(&self, unit: &UnitKey, generation: u32) -> Result<Option<Commit>, StoreError> {
        self.link(unit, commit::result(generation)).await
    }

    /// Why the result of a unit's generation was voided, if it was.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn voided(&self, unit: &UnitKey, generation: u32) -> Result<Option<String>, StoreError> {
        let void = self.link(unit, commit::void(generation)).await?;
        Ok(void.and_then(|commit| if let Commit::Void { reason, .. } = commit { Some(reason) } else { None }))
    }

    /// One link of a unit's chain.
    async fn link(&self, unit: &UnitKey, link: u32) -> Result<Option<Commit>, StoreError> {
        let path = layout::commit(unit, link);
        match self.get(&path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| StoreError::Corrupt {
                url: self.url.clone(),
                path,
                message: e.to_string(),
            }),
            Err(e) if e.not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Voids the result of a unit's generation; one that is void already stays so, whoever voided it.
    ///
    /// # Errors
    /// The store can't be reached or written.
    pub async fn void(&self, unit: &UnitKey, generation: u32, reason: &str) -> Result<(), StoreError> {
        let nonce = crate::create::nonce();
        let void = Commit::Void { nonce: nonce.clone(), reason: reason.to_owned() };
        let body = Bytes::from(serde_json::to_vec(&void).expect("a commit serializes"));
        self.create(&layout::commit(unit, commit::void(generation)), &nonce, body).await.map(drop)
    }

    /// Commits a unit's generation as split into these halves; false where a result stood first.
    ///
    /// # Errors
    /// The store can't be reached or written, or what stands is no commit.
    pub async fn split(&self, unit: &UnitKey, generation: u32, children: &[UnitKey]) -> Result<bool, StoreError> {
        self.put_content(&layout::split(unit), Bytes::from_static(b"{}")).await?;
        let split = Commit::Split { nonce: crate::create::nonce(), children: children.to_vec() };
        let (path, body) =
            (layout::commit(unit, commit::result(generation)), Bytes::from(serde_json::to_vec(&split).expect("a commit serializes")));
        match self.create(&path, split.nonce(), body).await? {
            Created::Won => Ok(true),
            Created::Lost { winner } => match serde_json::from_slice(&winner) {
                Ok(Commit::Split { .. }) => Ok(true),
                Ok(_) => Ok(false),
                Err(e) => Err(StoreError::Corrupt { url: self.url.clone(), path, message: e.to_string() }),
            },
        }
    }

    /// The units that may have been split: of all others it is certain that they were not.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn marked_split(&self) -> Result<BTreeSet<UnitKey>, StoreError> {
        let prefix = Path::from(layout::splits());
        let mut listing = self.inner.list(Some(&prefix));
        let mut marked = BTreeSet::new();
        while let Some(object) = listing.try_next().await.map_err(self.io("listing split"))? {
            marked.extend(object.location.filename().and_then(|name| name.parse::<UnitKey>().ok()));
        }
        Ok(marked)
    }

    /// Writes one artifact of an attempt. Names are unique to the attempt, so writing it again is harmless. A large one is
    /// sent in parts, a few at a time, without being copied.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn put_artifact(
        &self,
        unit: &UnitKey,
        attempt: &str,
        name: &str,
        content: impl Into<Content>,
    ) -> Result<Artifact, StoreError> {
        let content = content.into();
        let artifact = Artifact { name: name.to_owned(), len: content.len() as u64, blake3: content.digest(), header: content.header() };
        self.upload(&layout::artifact(unit, attempt, name), content).await?;
        Ok(artifact)
    }

    /// Writes an object that nobody else writes, a large one in parts, of which a few are on their way at once.
    pub(crate) async fn upload(&self, path: &str, content: impl Into<Content>) -> Result<(), StoreError> {
        let (content, what, path) = (content.into(), format!("writing {path}"), Path::from(path));
        if content.len() <= PART {
            return self.inner.put(&path, content.payload()).await.map(drop).map_err(self.io(what));
        }
        let mut upload = self.inner.put_multipart(&path).await.map_err(self.io(what.clone()))?;
        let parts = futures::stream::iter(content.parts(PART).map(|part| upload.put_part(part)));
        let mut sent = parts.buffer_unordered(IN_FLIGHT).try_collect::<()>().await;
        match sent {
            Ok(()) => sent = upload.complete().await.map(drop),
            Err(_) => {
                // Parts that nobody will complete cost money; whether they can be taken back changes nothing here.
                if let Err(error) = upload.abort().await {
                    tracing::debug!(%path, %error, "an upload that failed can't be taken back");
                }
            }
        }
        sent.map_err(self.io(what))
    }

    /// Those of an attempt's artifacts that are not there as they were written, as far as lengths tell.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn lacking(&self, unit: &UnitKey, attempt: &str, artifacts: &[Artifact]) -> Result<Vec<String>, StoreError> {
        let heads = artifacts.iter().map(|artifact| async move {
            let path = layout::artifact(unit, attempt, &artifact.name);
            match self.inner.head(&Path::from(path.as_str())).await {
                Ok(found) => Ok((found.size != artifact.len).then(|| artifact.name.clone())),
                Err(Error::NotFound { .. }) => Ok(Some(artifact.name.clone())),
                Err(error) => Err(self.io(format!("reading {path}"))(error)),
            }
        });
        Ok(futures::future::try_join_all(heads).await?.into_iter().flatten().collect())
    }

    /// Reads an artifact and verifies its length and digest.
    ///
    /// # Errors
    /// The store can't be reached, or the bytes are not what was committed.
    pub async fn artifact(&self, unit: &UnitKey, done: &Done, name: &str) -> Result<Bytes, StoreError> {
        let path = layout::artifact(unit, &done.attempt, name);
        let corrupt = |message: String| StoreError::Corrupt { url: self.url.clone(), path: path.clone(), message };
        let expected = done.artifact(name).ok_or_else(|| corrupt("the commit names no such artifact".to_owned()))?;
        let bytes = self.get(&path).await?;
        let found = Digest::of(&bytes);
        if bytes.len() as u64 != expected.len || found != expected.blake3 {
            return Err(corrupt(format!(
                "expected {} bytes with BLAKE3 {:?}, found {} with {found:?}",
                expected.len,
                expected.blake3,
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// Writes content-addressed bytes once; a second writer of the same content finds them there. Whether this one wrote them.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn put_content(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let location = Path::from(path);
        let mut tries = 0;
        loop {
            tries += 1;
            let put = self.inner.put_opts(&location, PutPayload::from_bytes(bytes.clone()), PutMode::Create.into()).await;
            match put {
                Ok(_) => return Ok(true),
                // It stands, unless the other writer was still at it and gave up.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match self.inner.head(&location).await {
                    Ok(_) => return Ok(false),
                    Err(Error::NotFound { .. }) if tries < 5 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                    Err(e) => return Err(self.io(format!("writing {path}"))(e)),
                },
                // Whether it took effect or not, the same bytes again do no harm.
                Err(Error::Generic { .. }) if tries < 5 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                Err(e) => return Err(self.io(format!("writing {path}"))(e)),
            }
        }
    }
}

impl Store {
    /// [`Store::put_content`], and if what stands there is not these bytes, for it was damaged, they take its place.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn mend_content(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.put_content(path, bytes.clone()).await? || self.get(path).await? == bytes {
            return Ok(());
        }
        tracing::info!(path, "what stands there is damaged, and is written anew");
        self.inner.put(&Path::from(path), PutPayload::from_bytes(bytes)).await.map(|_| ()).map_err(self.io(format!("writing {path}")))
    }
}

/// Bytes per part of a multipart upload.
pub(crate) const PART: usize = 16 << 20;

/// Parts of an upload that are on their way at once.
const IN_FLIGHT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_highest_link_of_each_chain_is_listed_and_a_generations_result_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let [done, void, again] = [b"1", b"2", b"3"].map(|text| Digest::of(text));
        let put = async |unit: &UnitKey, generation: u32| {
            let children = vec![*unit];
            let commit = Commit::Split { nonce: crate::create::nonce(), children };
            let body = Bytes::from(serde_json::to_vec(&commit).unwrap());
            store.create(&layout::commit(unit, commit::result(generation)), commit.nonce(), body).await.unwrap();
        };
        for unit in [&done, &void, &again] {
            put(unit, 0).await;
        }
        for unit in [&void, &again] {
            store.void(unit, 0, "its bytes rotted").await.unwrap();
            store.void(unit, 0, "said twice").await.unwrap();
        }
        put(&again, 1).await;
        assert_eq!(store.committed().await.unwrap(), BTreeMap::from([(done, 0), (void, 1), (again, 2)]));
        assert!(store.commit(&again, 0).await.unwrap().is_some(), "old results stay addressable");
        assert!(store.commit(&again, 1).await.unwrap().is_some());
        assert!(store.commit(&void, 1).await.unwrap().is_none());
        let voided = store.get(&layout::commit(&void, 1)).await.unwrap();
        assert!(String::from_utf8_lossy(&voided).contains("its bytes rotted"), "the first word stands");
    }

    #[tokio::test]
    async fn a_large_artifact_in_pieces_arrives_whole_through_parts() {
        let folder = tempfile::tempdir().unwrap();
        let local = Store::open(folder.path().to_str().unwrap()).unwrap();
        let memory = Store::over("memory", Arc::new(object_store::memory::InMemory::new()));
        let piece = |n: usize, len: usize| Bytes::from((0..len).map(|i| (i * 31 + n * 7) as u8).collect::<Vec<u8>>());
        let content = Content::of_pieces(vec![piece(0, 100), piece(1, PART + 17), piece(2, 3 * PART), piece(3, 1), piece(4, 5 * PART / 2)]);
        for store in [local, memory] {
            let unit = Digest::of(b"unit");
            let artifact = store.put_artifact(&unit, "a1", "states", content.clone()).await.unwrap();
            assert_eq!((artifact.len, artifact.blake3), (content.len() as u64, Digest::of(&content.to_bytes())));
            let read = store.get(&layout::artifact(&unit, "a1", "states")).await.unwrap();
            assert!(read == content.to_bytes());
        }
    }

    #[tokio::test]
    async fn an_object_that_ends_too_soon_is_corrupt_and_not_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.upload("data/states", Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(store.get_range("data/states", 2..10).await.unwrap(), "23456789");
        let straddling = store.get_range("data/states", 8..20).await.unwrap_err();
        assert!(matches!(straddling, StoreError::Corrupt { .. }), "{straddling}");
        let error = store.get_range("data/states", 20..30).await.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { message, .. } if message.contains("it has 10 bytes")), "{error}");
        assert!(store.get_range("data/others", 0..1).await.unwrap_err().not_found());
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_out_of_reach_and_none_of_its_objects_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let (folder, aside) = (place.path().join("store"), place.path().join("aside"));
        let store = Store::open(folder.to_str().unwrap()).unwrap();
        let body = Bytes::from_static(b"{\"nonce\":\"n\"}");
        store.create("log/1", "n", body.clone()).await.unwrap();
        assert!(store.get("log/2").await.unwrap_err().not_found());
        std::fs::rename(&folder, &aside).unwrap();
        let error = store.get("log/1").await.unwrap_err();
        assert!(error.out_of_reach() && !error.not_found(), "{error}");
        // A file in its place, so that nobody makes the folder anew.
        std::fs::write(&folder, b"").unwrap();
        assert!(store.create("log/2", "n", body.clone()).await.unwrap_err().out_of_reach());
        assert!(store.get("log/1").await.unwrap_err().out_of_reach());
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
        assert_eq!(store.get("log/1").await.unwrap(), body);
    }
}
