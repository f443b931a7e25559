//! A store that takes its time, counts what is under way, and fails where it is told to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use limbic_store::Store;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

use crate::progress::Progress;

/// What goes wrong.
#[derive(Debug)]
pub(super) enum Fault {
    None,
    /// Every read of a number below this fails.
    Away(usize),
    /// Reads of these numbers are refused.
    Refused(Range<usize>),
    /// The read of that number asks the attempt to stop, and it and all later ones are never answered.
    Cancels(usize, Arc<Progress>),
    /// A write is done when it is let through, one for each permit.
    Held(Semaphore),
    /// Every write fails.
    Full,
}

/// Objects in memory, the reads of which are counted, or the writes where these are held.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) inner: InMemory,
    pub(super) fault: Fault,
    /// How many there were.
    pub(super) begun: AtomicUsize,
    under_way: AtomicUsize,
    /// The most at once.
    pub(super) most: AtomicUsize,
}

impl Watched {
    pub(super) fn new(fault: Fault) -> Arc<Watched> {
        let [begun, under_way, most] = [0; 3].map(AtomicUsize::new);
        Arc::new(Watched { inner: InMemory::new(), fault, begun, under_way, most })
    }

    pub(super) fn store(self: &Arc<Watched>) -> Store {
        Store::over("memory://watched", self.clone())
    }

    fn begin(&self) {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "watched {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match &self.fault {
            Fault::Full => return Err(Error::NotSupported { source: "asked to fail".into() }),
            Fault::Held(let_through) => {
                self.begin();
                let_through.acquire().await.expect("it is never closed").forget();
            }
            _ => return self.inner.put_opts(location, payload, options).await,
        }
        let put = self.inner.put_opts(location, payload, options).await;
        self.end();
        put
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        match &self.fault {
            Fault::Away(until) if number < *until => return Err(Error::Generic { store: "watched", source: "asked to fail".into() }),
            Fault::Refused(numbers) if numbers.contains(&number) => {
                return Err(Error::PermissionDenied { path: location.to_string(), source: "403 ExpiredToken".into() });
            }
            Fault::Cancels(at, progress) if number >= *at => {
                progress.cancel();
                return std::future::pending().await;
            }
            _ => {}
        }
        self.begin();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let found = self.inner.get_opts(location, options).await;
        self.end();
        found
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
