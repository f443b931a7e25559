//! Where input bytes come from: a local path, an object-store URL or `hf://`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::ObjectStoreExt;
use url::Url;

use crate::hub::{HubError, HubId};
use crate::open::{ANSWER, service};

/// Why a source can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such file or folder, or it can't be read.
    #[error("`{path}` can't be read: {source} (relative paths start at the spec's folder)", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address means nothing.
    #[error("source `{source_name}`: {message}")]
    Address {
        /// What was given.
        source_name: String,
        /// What is wrong with it and what to write.
        message: String,
    },
    /// The object can't be read.
    #[error("source `{source_name}`: {error}")]
    Object {
        /// What was given.
        source_name: String,
        /// What the store said.
        error: object_store::Error,
    },
    /// The hub can't be read.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Makes ring the process's TLS provider; calling it again changes nothing.
pub fn use_ring() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The path on this computer that a source means, as such or as a `file://` URL, if it means one.
pub(crate) fn local(source: &str) -> Option<PathBuf> {
    if !source.contains("://") {
        return Some(PathBuf::from(source));
    }
    Url::parse(source).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

/// Reads a whole file: a local path, an object-store URL or `hf://datasets/OWNER/NAME[@REVISION]/FILE`.
///
/// # Errors
/// The source doesn't exist, can't be reached or is no address we know.
pub async fn fetch(source: &str) -> Result<Bytes, SourceError> {
    if source.starts_with("hf://") {
        let id: HubId = source.parse()?;
        let path = tokio::task::spawn_blocking(move || id.file()).await.expect("downloading doesn't panic")?;
        return read(&path).await;
    }
    if let Some(path) = local(source) {
        return read(&path).await;
    }
    let bad = |message: String| SourceError::Address { source_name: source.to_owned(), message };
    let url = Url::parse(source).map_err(|e| bad(format!("is not a URL: {e}")))?;
    let (store, path) = service(&url, "write a path, s3://…, gs://…, az://… or hf://datasets/OWNER/NAME/FILE").map_err(bad)?;
    let object = |error| SourceError::Object { source_name: source.to_owned(), error };
    // What can't be reached is said soon; how long the bytes take is not limited.
    let answer = tokio::time::timeout(ANSWER, store.get(&path)).await;
    let answer = answer
        .map_err(|_| bad(format!("gave no answer for {} s: check the address, the network and the credentials", ANSWER.as_secs())))?;
    answer.map_err(object)?.bytes().await.map_err(object)
}

async fn read(path: &Path) -> Result<Bytes, SourceError> {
    tokio::fs::read(path).await.map(Bytes::from).map_err(|source| SourceError::File { path: path.to_path_buf(), source })
}
