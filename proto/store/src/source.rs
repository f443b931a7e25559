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

/// The files that a source means: where the last part of its path has a `*`, which stands for any number of characters, all whose
/// names fit, in the order of their names; else the source itself, whether it is there or not. Those of a hub repository are of one
/// commit.
///
/// # Errors
/// The place can't be read, or no file there fits.
pub async fn files(source: &str) -> Result<Vec<String>, SourceError> {
    let (folder, pattern) = match source.rsplit_once('/') {
        Some(("", pattern)) => ("/", pattern),
        Some(parts) => parts,
        None => (".", source),
    };
    if !pattern.contains('*') || local(source).is_some_and(|path| path.exists()) {
        return Ok(vec![source.to_owned()]);
    }
    let bad = |message: String| SourceError::Address { source_name: source.to_owned(), message };
    if folder.contains('*') {
        return Err(bad("`*` stands for a part of a file's name, not of a folder's: list the folders".to_owned()));
    }
    // A name in a URL may hold what means something else there.
    let url = || Url::parse(folder).map_err(|e| bad(format!("is not a URL: {e}")));
    let inside = |folder: &Url, name: &str| {
        let mut url = folder.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push(name);
        }
        url.to_string()
    };
    let mut found: Vec<String> = if source.starts_with("hf://") {
        let id: HubId = source.parse()?;
        let (pinned, names) = tokio::task::spawn_blocking(move || id.pin()).await.expect("asking doesn't panic")?;
        let asked = pinned.file.clone().unwrap_or_default();
        let before = asked.strip_suffix(pattern).unwrap_or_default();
        let fits_here = |name: &String| name.strip_prefix(before).is_some_and(|rest| !rest.contains('/') && fits(pattern, rest));
        names.into_iter().filter(fits_here).map(|file| HubId { file: Some(file), ..pinned.clone() }.to_string()).collect()
    } else if let Some(path) = local(folder) {
        let listed = path.clone();
        let names = tokio::task::spawn_blocking(move || names_in(&listed)).await.expect("listing doesn't panic");
        let names = names.map_err(|source| SourceError::File { path, source })?.into_iter().filter(|name| fits(pattern, name));
        match folder {
            "." => names.collect(),
            "/" => names.map(|name| format!("/{name}")).collect(),
            _ if folder.contains("://") => {
                let folder = url()?;
                names.map(|name| inside(&folder, &name)).collect()
            }
            _ => names.map(|name| format!("{folder}/{name}")).collect(),
        }
    } else {
        let folder = url()?;
        let (store, path) = service(&folder, WRITE).map_err(bad)?;
        let listed = in_time(source, store.list_with_delimiter(Some(&path))).await?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        names.filter(|name| fits(pattern, name)).map(|name| inside(&folder, name)).collect()
    };
    if found.is_empty() {
        return Err(bad(format!("no file's name fits `{pattern}` there")));
    }
    found.sort_unstable();
    Ok(found)
}

/// The names of a folder's files.
fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        names.extend(entry.path().is_file().then(|| entry.file_name().to_string_lossy().into_owned()));
    }
    Ok(names)
}

/// Whether a name fits a pattern, in which `*` stands for any number of characters: it begins as that does, ends as that does, and has
/// what stands between stars in between, each as early as it can be.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let between = name.strip_prefix(first).and_then(|name| name.strip_suffix(last));
    between.is_some_and(|name| middle.split('*').try_fold(name, |name, part| Some(&name[name.find(part)? + part.len()..])).is_some())
}

/// What a source can be.
const WRITE: &str = "write a path, s3://…, gs://…, az://… or hf://datasets/OWNER/NAME/FILE";

/// What can't be reached is said soon.
async fn in_time<T>(source: &str, answer: impl Future<Output = object_store::Result<T>>) -> Result<T, SourceError> {
    let named = || source.to_owned();
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error| SourceError::Object { source_name: named(), error }),
        Err(_) => {
            let message = format!("gave no answer for {} s: check the address, the network and the credentials", ANSWER.as_secs());
            Err(SourceError::Address { source_name: named(), message })
        }
    }
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
    let (store, path) = service(&url, WRITE).map_err(bad)?;
    // How long the bytes take is not limited.
    let answer = in_time(source, store.get(&path)).await?;
    answer.bytes().await.map_err(|error| SourceError::Object { source_name: source.to_owned(), error })
}

async fn read(path: &Path) -> Result<Bytes, SourceError> {
    if path.is_dir() {
        let message = format!("is a folder: name a file in it, or all of a kind, as `{}/*.parquet` does", path.display());
        return Err(SourceError::Address { source_name: path.display().to_string(), message });
    }
    // What has no end, or none that comes by itself, is never read whole.
    if path.exists() && !path.is_file() {
        let message = "is a device, a pipe or a socket: name a file".to_owned();
        return Err(SourceError::Address { source_name: path.display().to_string(), message });
    }
    tokio::fs::read(path).await.map(Bytes::from).map_err(|source| SourceError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_star_stands_for_the_files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| format!("{}/{name}", folder.path().display());
        for name in ["train-2.parquet", "train-10.parquet", "train-1.parquet", "test-1.parquet", "a*b"] {
            std::fs::write(path(name), "").unwrap();
        }
        std::fs::create_dir(path("train-3.parquet")).unwrap();
        let expected = ["train-1.parquet", "train-10.parquet", "train-2.parquet"].map(path);
        assert_eq!(files(&path("train-*.parquet")).await.unwrap(), expected);
        assert_eq!(files(&format!("file://{}", path("train-*.parquet"))).await.unwrap(), expected.map(|path| format!("file://{path}")));
        // What means something in a URL is taken for itself.
        std::fs::write(path("one #1 50%.csv"), "").unwrap();
        let odd = files(&format!("file://{}", path("one*.csv"))).await.unwrap();
        assert_eq!(odd, [format!("file://{}", path("one%20%231%2050%25.csv"))]);
        assert!(fetch(&odd[0]).await.unwrap().is_empty());
        // What has no star, or is there, is meant as it is.
        assert_eq!(files(&path("nothing")).await.unwrap(), [path("nothing")]);
        assert_eq!(files(&path("a*b")).await.unwrap(), [path("a*b")]);
        let said = async |name: &str| files(&path(name)).await.unwrap_err().to_string();
        assert!(said("dev-*.parquet").await.ends_with("no file's name fits `dev-*.parquet` there"));
        assert!(said("none/*.csv").await.contains("/none` can't be read"));
        assert!(said("x*/train-*").await.contains("not of a folder's"));
        assert!(files("/no-such-*.csv").await.unwrap_err().to_string().contains("no file's name fits"));
        assert!(!fits(&"a*".repeat(30), &"a".repeat(29)) && fits(&"a*".repeat(30), &"a".repeat(40)), "at once");
        if cfg!(unix) {
            let endless = fetch("/dev/zero").await.unwrap_err().to_string();
            assert!(endless.contains("is a device, a pipe or a socket"), "{endless}");
        }
        let folder = fetch(&folder.path().to_string_lossy()).await.unwrap_err().to_string();
        assert!(folder.contains("is a folder: name a file in it, or all of a kind, as `"), "{folder}");
    }

    proptest! {
        #[test]
        fn names_fit_what_they_are_made_of(parts in prop::collection::vec("[a-c*é]{0,3}", 1..5), between in prop::collection::vec("[a-cé]{0,4}", 4)) {
            let bare: Vec<String> = parts.iter().map(|part| part.replace('*', "")).collect();
            let name: String = bare.iter().zip(&between).enumerate().map(|(i, (part, more))| if i == 0 { part.clone() } else { format!("{more}{part}") }).collect();
            let pattern = bare.join("*");
            prop_assert!(fits(&pattern, &name));
            // No part has a `d`: one is in the way where no star stands.
            prop_assert_eq!(fits(&pattern, &format!("{name}d")), bare.len() > 1 && bare.last().is_some_and(String::is_empty));
            prop_assert_eq!(fits(&pattern, &format!("d{name}")), bare.len() > 1 && bare[0].is_empty());
            let missing = format!("{}d{}", &pattern, if bare.len() > 1 { "*" } else { "" });
            prop_assert!(!fits(&missing, &name), "no name has a d");
        }
    }
}
