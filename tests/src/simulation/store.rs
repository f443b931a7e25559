//! One host's view of the store: late, failing before or after it did what was asked, away at times.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::world::World;

/// The share of requests that fail before they take effect, and again of those whose answer is lost.
const FAULTS: f64 = 0.1;
/// How often a read is sent before its error is told, as real clients do.
const READS: u32 = 4;
/// How long a client tries a store that is away before it says so.
const AWAY: Duration = Duration::from_secs(5);

/// A host's view of the store.
#[derive(Debug, Clone)]
pub(super) struct SimStore {
    world: Arc<World>,
    host: String,
}

/// What becomes of a request.
enum Fate {
    Before,
    After,
    Done,
}

impl SimStore {
    pub(super) fn new(world: Arc<World>, host: &str) -> SimStore {
        SimStore { world, host: host.to_owned() }
    }

    /// Lets the request travel, and says what becomes of it.
    async fn fate(&self) -> Fate {
        tokio::time::sleep(Duration::from_millis(5 + (self.world.draw() * 150.0) as u64)).await;
        if self.world.store_away(&self.host) {
            tokio::time::sleep(AWAY).await;
            return Fate::Before;
        }
        match self.world.draw() {
            x if x < FAULTS => Fate::Before,
            x if x < 2.0 * FAULTS => Fate::After,
            _ => Fate::Done,
        }
    }

    async fn write<T>(&self, what: &str, path: &Path, effect: impl Future<Output = Result<T>>) -> Result<T> {
        let fate = self.fate().await;
        let result = match fate {
            Fate::Before => Err(failed("before it took effect")),
            Fate::After | Fate::Done => effect.await,
        };
        self.world.note(&self.host, what, path.as_ref(), &answer(&result, &fate));
        if matches!(fate, Fate::After) { Err(failed("after it took effect")) } else { result }
    }

    async fn read<T, F: Future<Output = Result<T>>>(&self, what: &str, path: &str, look: impl Fn() -> F) -> Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            let fate = self.fate().await;
            let result = if matches!(fate, Fate::Done) { look().await } else { Err(failed("to answer")) };
            self.world.note(&self.host, what, path, &answer(&result, &fate));
            if matches!(fate, Fate::Done) || tries == READS {
                return result;
            }
        }
    }
}

fn failed(when: &str) -> Error {
    Error::Generic { store: "simulated", source: format!("drawn to fail {when}").into() }
}

fn answer<T>(result: &Result<T>, fate: &Fate) -> String {
    let outcome = match result {
        Ok(_) => "ok",
        Err(Error::AlreadyExists { .. }) => "stands",
        Err(Error::NotFound { .. }) => "missing",
        Err(_) => "error",
    };
    format!("{outcome}{}", if matches!(fate, Fate::After) { " unheard" } else { "" })
}

impl std::fmt::Display for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the store as {} sees it", self.host)
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = matches!(opts.mode, PutMode::Create);
        self.write(if create { "create" } else { "put" }, location, async {
            let body = Bytes::from(payload.clone());
            let put = self.world.inner.put_opts(location, payload, opts).await;
            if put.is_ok() {
                self.world.written(location.as_ref(), &body, create);
            }
            put
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("nothing in a simulation is that large: {location}")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read("get", location.as_ref(), || self.world.inner.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read("get", location.as_ref(), || self.world.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let view = self.clone();
        locations
            .and_then(move |location| {
                let view = view.clone();
                async move {
                    let deleted = async {
                        view.world.deleted(location.as_ref());
                        view.world.inner.delete(&location).await
                    };
                    view.write("delete", &location, deleted).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (view, prefix) = (self.clone(), prefix.cloned());
        let all = async move {
            let path = prefix.as_ref().map(Path::to_string).unwrap_or_default();
            view.read("list", &path, || view.world.inner.list(prefix.as_ref()).try_collect::<Vec<_>>()).await
        };
        futures::stream::once(all).map_ok(|all| futures::stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.map(Path::to_string).unwrap_or_default();
        self.read("list", &path, || self.world.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is ever copied: {from} to {to}")
    }
}
