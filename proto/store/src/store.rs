//! A store root: open it by path or URL, read objects, write artifacts and commits.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use limbic_proto::commit::{self, Artifact, Commit, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

use crate::create::{Created, create};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address means nothing.
    #[error("store `{url}`: {message}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it and what to write.
        message: String,
    },
    /// The store can't be reached or written.
    #[error("store `{url}`: {what}: {source}")]
    Io {
        /// The store.
        url: String,
        /// What was tried.
        what: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// There is no room left.
    #[error("store `{url}`: {what}: the disk is full: free some space, or choose another store; everything committed is kept")]
    Full {
        /// The store.
        url: String,
        /// What was tried.
        what: String,
    },
    /// The store can't be reached or fails.
    #[error(
        "store `{url}`: can't be reached ({message}): check the address, the network, the credentials and the endpoint (AWS_ENDPOINT and the like), and try again"
    )]
    Away {
        /// The store.
        url: String,
        /// What the system said.
        message: String,
    },
    /// The store gives no answer.
    #[error(
        "store `{url}`: gives no answer for {seconds} s: check the address, the network and the endpoint (AWS_ENDPOINT and the like), and try again"
    )]
    Silent {
        /// The store.
        url: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// An object's bytes are not what was written.
    #[error("store `{url}`: {path} is corrupt: {message}")]
    Corrupt {
        /// The store.
        url: String,
        /// The object.
        path: String,
        /// What was found.
        message: String,
    },
}

impl StoreError {
    /// Whether the object does not exist.
    pub fn not_found(&self) -> bool {
        matches!(self, StoreError::Io { source: object_store::Error::NotFound { .. }, .. })
    }

    /// Whether the store was out of reach, so that trying again can help; a folder is in reach as long as it is there.
    pub fn out_of_reach(&self) -> bool {
        match self {
            StoreError::Silent { .. } | StoreError::Away { .. } => true,
            StoreError::Io { url, source: object_store::Error::Generic { .. }, .. } => url.contains("://"),
            _ => false,
        }
    }
}

/// A store root.
#[derive(Clone, Debug)]
pub struct Store {
    url: String,
    inner: Arc<dyn ObjectStore>,
}

impl Store {
    /// Opens a folder (made if missing) or an object-store URL: `s3://`, `gs://`, `az://`, `file://`, `memory://`.
    ///
    /// Credentials, region, endpoint and path style come from the usual environment variables (`AWS_*`,
    /// `GOOGLE_*`, `AZURE_*`).
    ///
    /// # Errors
    /// An address that means nothing, or a folder that can't be made.
    pub fn open(address: &str) -> Result<Store, StoreError> {
        let bad = |message: String| StoreError::Address { url: address.to_owned(), message };
        if address.is_empty() {
            return Err(bad("is empty: write a folder or a URL such as s3://bucket/prefix".to_owned()));
        }
        if !address.contains("://") {
            let io = |source: std::io::Error| {
                bad(format!("this folder can't be used: {source}; choose a folder that you can write with --store"))
            };
            std::fs::create_dir_all(address).map_err(io)?;
            let folder = FsPath::new(address).canonicalize().map_err(io)?;
            let local = object_store::local::LocalFileSystem::new_with_prefix(&folder).map_err(|e| bad(e.to_string()))?;
            return Ok(Store { url: folder.to_string_lossy().into_owned(), inner: Arc::new(local) });
        }
        let url =
            Url::parse(address).map_err(|e| bad(format!("is not a URL ({e}): write a folder or a URL such as s3://bucket/prefix")))?;
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| bad("is not a local file URL".to_owned()))?;
            return Store::open(&folder.to_string_lossy());
        }
        crate::source::use_ring();
        let options = std::env::vars().map(|(k, v)| (k.to_lowercase(), v));
        let (inner, prefix) = object_store::parse_url_opts(&url, options)
            .map_err(|e| bad(format!("{e}: write a folder, s3://BUCKET/PREFIX, gs://… or az://…")))?;
        Ok(Store { url: address.trim_end_matches('/').to_owned(), inner: Arc::new(PrefixStore::new(inner, prefix)) })
    }

    /// Sees whether the store answers, within [`ANSWER`]; a folder always does.
    ///
    /// # Errors
    /// It doesn't, or refuses.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(ANSWER, self.list(layout::sweeps())).await {
            Ok(Err(error)) if error.out_of_reach() => {
                tracing::debug!(%error, "the store is out of reach");
                Err(StoreError::Away { url: self.url.clone(), message: innermost(&error) })
            }
            Ok(answer) => answer.map(drop),
            Err(_) => Err(StoreError::Silent { url: self.url.clone(), seconds: ANSWER.as_secs() }),
        }
    }

    /// A store over any implementation, for tests.
    pub fn over(url: &str, inner: Arc<dyn ObjectStore>) -> Store {
        Store { url: url.to_owned(), inner }
    }

    /// The address, as other processes can open it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn io(&self, what: impl Into<String>) -> impl FnOnce(object_store::Error) -> StoreError {
        let (url, what) = (self.url.clone(), what.into());
        move |source| {
            if full(&source) {
                StoreError::Full { url, what }
            } else if !url.contains("://") && !FsPath::new(&url).is_dir() {
                // What is said of a single object means nothing while its whole folder is gone (unmounted, say).
                StoreError::Away { url, message: format!("its folder is gone: {source}") }
            } else {
                StoreError::Io { url, what, source }
            }
        }
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
    /// It doesn't exist or can't be read.
    pub async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(&Path::from(path), range).await.map_err(self.io(format!("reading a part of {path}")))
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
        let prefix = Path::from(layout::commits());
        let mut listing = self.inner.list(Some(&prefix));
        let mut highest = BTreeMap::new();
        while let Some(object) = listing.try_next().await.map_err(self.io("listing commit"))? {
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
        let path = layout::commit(unit, commit::result(generation));
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

    /// Writes one artifact of an attempt. Names are unique to the attempt, so writing it again is harmless.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn put_artifact(&self, unit: &UnitKey, attempt: &str, name: &str, bytes: Bytes) -> Result<Artifact, StoreError> {
        let path = layout::artifact(unit, attempt, name);
        let artifact = Artifact { name: name.to_owned(), len: bytes.len() as u64, blake3: Digest::of(&bytes) };
        let what = format!("writing {path}");
        if bytes.len() <= PART {
            self.inner.put(&Path::from(path.as_str()), PutPayload::from_bytes(bytes)).await.map_err(self.io(what))?;
            return Ok(artifact);
        }
        let mut upload = self.inner.put_multipart(&Path::from(path.as_str())).await.map_err(self.io(what.clone()))?;
        for part in (0..bytes.len()).step_by(PART) {
            let end = (part + PART).min(bytes.len());
            upload.put_part(PutPayload::from_bytes(bytes.slice(part..end))).await.map_err(self.io(what.clone()))?;
        }
        upload.complete().await.map_err(self.io(what))?;
        Ok(artifact)
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

    /// Writes content-addressed bytes once; a second writer of the same content finds them there.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn put_content(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let options = object_store::PutMode::Create.into();
        match self.inner.put_opts(&Path::from(path), PutPayload::from_bytes(bytes), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(self.io(format!("writing {path}"))(e)),
        }
    }
}

/// Whether somewhere in the chain of causes the system says that there is no room.
fn full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge))
}

/// The message at the end of the chain of causes.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// How long the first answer of a store or a source may take before it counts as out of reach.
pub const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// Bytes per part of a multipart upload.
const PART: usize = 16 << 20;

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
