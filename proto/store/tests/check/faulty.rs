//! Stores that break one promise each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None.
    None,
    /// A create overwrites what stands.
    CreateOverwrites,
    /// A create looks first and writes later: fine one by one, wrong in a race.
    CreateLooksThenWrites,
    /// There is no conditional create.
    NoCreate,
    /// An object is not found for a while after it is written.
    NotFoundAtFirst,
    /// What was never written is found, empty.
    FindsEverything,
    /// The newest object is not listed yet.
    ListsLate,
    /// A range of bytes is the object's beginning.
    IgnoresRanges,
    /// The parts of an upload come in the wrong order.
    SwapsParts,
}

/// A store with a fault.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<dyn ObjectStore>,
    pub fault: Fault,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.fault)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if options.mode == PutMode::Create {
            match self.fault {
                Fault::CreateOverwrites => options.mode = PutMode::Overwrite,
                Fault::CreateLooksThenWrites => {
                    if self.inner.head(location).await.is_ok() {
                        return Err(Error::AlreadyExists { path: location.to_string(), source: "it stands".into() });
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    options.mode = PutMode::Overwrite;
                }
                Fault::NoCreate => return Err(Error::NotImplemented { operation: "create".into(), implementer: self.to_string() }),
                _ => {}
            }
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.fault == Fault::SwapsParts {
            return Ok(Box::new(Swapping { store: self.inner.clone(), location: location.clone(), parts: Vec::new() }));
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.fault == Fault::NotFoundAtFirst {
            let found = self.inner.get_opts(location, options).await?;
            let age = std::time::SystemTime::now().duration_since(found.meta.last_modified.into()).unwrap_or_default();
            return match age < Duration::from_millis(40) {
                true => Err(Error::NotFound { path: location.to_string(), source: "not yet".into() }),
                false => Ok(found),
            };
        }
        if self.fault == Fault::FindsEverything && self.inner.head(location).await.is_err() {
            self.inner.put(location, PutPayload::default()).await?;
        }
        if self.fault == Fault::IgnoresRanges && options.range.take().is_some() {
            options.range = Some(object_store::GetRange::Bounded(0..16));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let skipped = usize::from(self.fault == Fault::ListsLate);
        self.inner.list(prefix).skip(skipped).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload whose parts are put together back to front.
#[derive(Debug)]
struct Swapping {
    store: Arc<dyn ObjectStore>,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Swapping {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let backwards: PutPayload = self.parts.iter().rev().flat_map(|part| part.iter().cloned()).collect();
        self.store.put(&self.location, backwards).await
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
