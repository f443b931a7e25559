//! A store that refuses what it is told to refuse, as one does whose credentials have run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use limbic_store::Store;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

/// How many of the next reads and writes are refused, and how many were.
#[derive(Debug, Default)]
pub struct Refusals {
    pub reads: AtomicUsize,
    pub writes: AtomicUsize,
    pub refused: AtomicUsize,
}

impl Refusals {
    fn next(&self, left: &AtomicUsize, path: &Path) -> Result<()> {
        // The logs of attempts and finished blocks are nothing that anybody waits for.
        let counts = !path.as_ref().contains("parts") && !path.as_ref().ends_with("log.txt");
        let one_less = |left: usize| left.checked_sub(1).filter(|_| counts);
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(Error::PermissionDenied { path: path.to_string(), source: "403 ExpiredToken".into() })
    }
}

/// A store whose reads and writes are refused as often as that says.
pub fn refusing(inner: &Store, refusals: &Arc<Refusals>) -> Store {
    let local = object_store::local::LocalFileSystem::new_with_prefix(inner.url()).unwrap();
    Store::over("s3://refusing", Arc::new(Refusing { inner: Arc::new(local), refusals: refusals.clone() }))
}

#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn ObjectStore>,
    refusals: Arc<Refusals>,
}

impl std::fmt::Display for Refusing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refusing {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Refusing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.refusals.next(&self.refusals.writes, location)?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.refusals.next(&self.refusals.reads, location)?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
