//! From an address to a store: a folder, S3 and compatibles, Google Cloud Storage, Azure.

use std::fs::File;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use limbic_proto::layout;
use limbic_proto::spec::{CREDENTIALS, secret};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::error::{StoreError, innermost, passing};
use crate::store::Store;

/// How long the first answer of a store or a source may take before it counts as out of reach.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Limits on a request, unless the environment sets its own (`AWS_READ_TIMEOUT=60s`): how long a connection may take to
/// come about, a transfer to move, and the whole to last. Large objects may take long as long as bytes flow.
const LIMITS: [(ClientConfigKey, &str, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "CONNECT_TIMEOUT", "5s"),
    (ClientConfigKey::ReadTimeout, "READ_TIMEOUT", "20s"),
    (ClientConfigKey::Timeout, "TIMEOUT", "1h"),
];

/// Failed requests are sent again for a few seconds; whoever asked decides whether to wait longer.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(15) }
}

/// A builder from the variables of one provider, with our limits and retries.
macro_rules! from_env {
    ($builder:ident, $key:ident, $prefix:literal, $url:expr) => {{
        let builder = $builder::from_env().with_url($url.as_str()).with_retry(retries());
        LIMITS
            .into_iter()
            .filter(|(_, name, _)| std::env::var_os(format!(concat!($prefix, "_{}"), name)).is_none())
            .fold(builder, |builder, (key, _, value)| builder.with_config($key::Client(key), value))
    }};
}

/// The service behind a URL, and the path in it; fails with what is wrong and, where the URL is, `what` to write instead.
pub(crate) fn service(url: &Url, what: &str) -> Result<(Arc<dyn ObjectStore>, Path), String> {
    crate::source::use_ring();
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|e| format!("{}: {what}", object_store::Error::from(e)))?;
    let service: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Memory => Arc::new(object_store::memory::InMemory::new()),
        ObjectStoreScheme::AmazonS3 => {
            let builder = from_env!(AmazonS3Builder, AmazonS3ConfigKey, "AWS", url);
            plain_http_is_meant(&builder)?;
            Arc::new(builder.build().map_err(|e| e.to_string())?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            Arc::new(from_env!(GoogleCloudStorageBuilder, GoogleConfigKey, "GOOGLE", url).build().map_err(|e| e.to_string())?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            Arc::new(from_env!(MicrosoftAzureBuilder, AzureConfigKey, "AZURE", url).build().map_err(|e| e.to_string())?)
        }
        _ => return Err(format!("`{}` is no kind of store: {what}", url.scheme())),
    };
    Ok((service, path))
}

/// An endpoint without encryption is used only where that is said to be meant.
fn plain_http_is_meant(builder: &AmazonS3Builder) -> Result<(), String> {
    let said = |key| builder.get_config_value(&key);
    let endpoint = said(AmazonS3ConfigKey::S3Endpoint).or_else(|| said(AmazonS3ConfigKey::Endpoint)).unwrap_or_default();
    let allowed = said(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)).is_some_and(|v| v == "true");
    if endpoint.starts_with("http://") && !allowed {
        let endpoint = endpoint.rsplit('@').next().unwrap_or_default();
        return Err(format!(
            "the endpoint {} is not encrypted: if that is meant, set AWS_ALLOW_HTTP=true",
            endpoint.trim_start_matches("http://")
        ));
    }
    Ok(())
}

fn bad(url: &str, message: impl Into<String>) -> StoreError {
    StoreError::Address { url: url.to_owned(), message: message.into() }
}

impl Store {
    /// Opens a folder (made if missing) or an object-store URL: `s3://`, `gs://`, `az://`, `file://`, `memory://`.
    ///
    /// Credentials, region, endpoint and path style come from the usual environment variables (`AWS_*`, `GOOGLE_*`,
    /// `AZURE_*`) or from the identity of the machine.
    ///
    /// # Errors
    /// An address that means nothing, or a folder that can't be made.
    pub fn open(address: &str) -> Result<Store, StoreError> {
        match folder_of(address)? {
            Some(folder) => {
                make(FsPath::new(&folder)).map_err(|e| {
                    bad(address, format!("this folder can't be used: {e}; choose a folder that you can write with --store"))
                })?;
                on_folder(address, &folder)
            }
            None => on_service(address),
        }
    }

    /// Opens a store that somebody else has made: a folder must be there already.
    ///
    /// # Errors
    /// As [`Store::open`]; or the folder is not on this computer.
    pub fn open_existing(address: &str) -> Result<Store, StoreError> {
        match folder_of(address)? {
            Some(folder) => match std::fs::metadata(&folder) {
                Ok(there) if there.is_dir() => on_folder(address, &folder),
                // A network's file system that gives no answer for a moment: the folder may well be there.
                Err(error) if passing(&error) => Err(StoreError::Away { url: address.to_owned(), message: error.to_string() }),
                _ => Err(bad(
                    address,
                    "there is no such folder on this computer: a store that several computers share must be a folder that all of \
                     them see at this path, or an object store such as s3://bucket/prefix",
                )),
            },
            None => on_service(address),
        }
    }

    /// Sees whether an address means something, without a look at what is there.
    ///
    /// # Errors
    /// It means nothing.
    pub fn check_address(address: &str) -> Result<(), StoreError> {
        match folder_of(address)? {
            Some(_) => Ok(()),
            None => on_service(address).map(drop),
        }
    }

    /// Sees whether the store answers, within [`ANSWER`]; a folder always does.
    ///
    /// # Errors
    /// It doesn't, or refuses.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let url = self.url().to_owned();
        match tokio::time::timeout(ANSWER, self.list(layout::sweeps())).await {
            Ok(Err(error)) if error.out_of_reach() => {
                tracing::debug!(%error, "the store is out of reach");
                Err(StoreError::Away { url, message: innermost(&error) })
            }
            Ok(Err(error @ StoreError::Io { .. })) if url.contains("://") => {
                tracing::debug!(%error, "the store refuses");
                Err(StoreError::Refused { url, message: innermost(&error) })
            }
            Ok(answer) => answer.map(drop),
            Err(_) => Err(StoreError::Silent { url, seconds: ANSWER.as_secs() }),
        }
    }
}

/// The folder that an address means, if it means one.
fn folder_of(address: &str) -> Result<Option<String>, StoreError> {
    if address.is_empty() {
        return Err(bad(address, "is empty: write a folder or a URL such as s3://bucket/prefix"));
    }
    if !address.contains("://") {
        return Ok(Some(address.to_owned()));
    }
    match Url::parse(address) {
        Ok(url) if url.scheme() == "file" => match url.to_file_path() {
            Ok(folder) => Ok(Some(folder.to_string_lossy().into_owned())),
            Err(()) => Err(bad(address, "is not a local file URL")),
        },
        Ok(_) => match secret(address) {
            None => Ok(None),
            // The address itself would show it.
            Some(what) => {
                let scheme = address.split_once("://").map_or(address, |(scheme, _)| scheme);
                Err(bad(
                    &format!("{scheme}://…"),
                    format!("{what}, and addresses are shown and handed to workers: leave it out; {CREDENTIALS}"),
                ))
            }
        },
        Err(e) => Err(bad(address, format!("is not a URL ({e}): write a folder or a URL such as s3://bucket/prefix"))),
    }
}

/// Every write is on the disk before it counts as done, and so are the folders that lead to it.
fn on_folder(address: &str, folder: &str) -> Result<Store, StoreError> {
    let folder = FsPath::new(folder).canonicalize().map_err(|e| bad(address, format!("this folder can't be used: {e}")))?;
    let local = LocalFileSystem::new_with_prefix(&folder).map_err(|e| bad(address, e.to_string()))?;
    Ok(Store::over(&folder.to_string_lossy(), Arc::new(local.with_fsync(true).with_automatic_cleanup(true))))
}

fn on_service(address: &str) -> Result<Store, StoreError> {
    let url = Url::parse(address).map_err(|e| bad(address, e.to_string()))?;
    let (service, prefix) = service(&url, "write a folder, s3://BUCKET/PREFIX, gs://… or az://…").map_err(|e| bad(address, e))?;
    Ok(Store::over(address.trim_end_matches('/'), Arc::new(PrefixStore::new(service, prefix))))
}

/// Makes a folder and those above it, durably.
fn make(folder: &FsPath) -> std::io::Result<()> {
    let missing: Vec<&FsPath> = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    std::fs::create_dir_all(folder)?;
    for made in missing {
        let parent = made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(FsPath::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_existing_store_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("a/b");
        let address = there.to_string_lossy();
        let error = Store::open_existing(&address).unwrap_err();
        assert!(error.to_string().contains("no such folder on this computer"), "{error}");
        assert!(!folder.path().join("a").exists());
        Store::open(&address).unwrap();
        Store::open_existing(&address).unwrap().probe().await.unwrap();
    }

    #[test]
    fn addresses_that_mean_nothing_say_what_to_write() {
        for (address, words) in [("", "is empty"), ("ftp://host/store", "write a folder, s3://"), ("a b://c", "is not a URL")] {
            let error = Store::open(address).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!(Store::check_address(address).unwrap_err().to_string(), error, "nothing need be made to see it");
        }
        Store::check_address("/nowhere/at/all").unwrap();
    }
}
