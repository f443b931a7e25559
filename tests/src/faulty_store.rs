//! A store that fails when it is told to: before or after it did what was asked, late, or so that whoever asked never
//! hears of it and dies.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What goes wrong with one create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    ErrorBefore,
    /// It takes effect, and its answer is an error.
    ErrorAfter,
    /// It takes effect late.
    Delay(Duration),
    /// Whoever sent it dies before it takes effect.
    DeathBefore,
    /// Whoever sent it dies when it has taken effect.
    DeathAfter,
}

/// Which creates go wrong, over all processes that share it.
#[derive(Debug)]
pub struct Script {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    creates: usize,
    /// Listings, by the folder.
    listings: BTreeMap<String, usize>,
    faults: Faults,
    /// Processes that must be ended, for they wait for an answer that never comes.
    doomed: Vec<String>,
}

#[derive(Debug)]
enum Faults {
    At(usize, Fault),
    Drawn { draws: Box<ChaCha8Rng>, share: f64 },
}

impl Script {
    fn new(faults: Faults) -> Arc<Script> {
        Arc::new(Script { state: Mutex::new(State { creates: 0, listings: BTreeMap::new(), faults, doomed: Vec::new() }) })
    }

    /// One fault, at the create of that number.
    pub fn at(create: usize, fault: Fault) -> Arc<Script> {
        Script::new(Faults::At(create, fault))
    }

    /// No fault at all.
    pub fn none() -> Arc<Script> {
        Script::new(Faults::At(usize::MAX, Fault::ErrorBefore))
    }

    /// Errors before and after, each with that probability, drawn from a seed.
    pub fn drawn(seed: u64, share: f64) -> Arc<Script> {
        Script::new(Faults::Drawn { draws: Box::new(ChaCha8Rng::seed_from_u64(seed)), share })
    }

    /// How many creates there were.
    pub fn creates(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).creates
    }

    /// How often a folder was listed with all that lies in it.
    pub fn listings(&self, folder: &str) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).listings.get(folder).copied().unwrap_or(0)
    }

    /// The processes that must be ended now.
    pub fn doomed(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).doomed)
    }

    fn next(&self, process: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.creates;
        state.creates += 1;
        let fault = match &mut state.faults {
            Faults::At(at, fault) => (*at == number).then_some(*fault),
            Faults::Drawn { draws, share } => match draws.random::<f64>() {
                x if x < *share => Some(Fault::ErrorBefore),
                x if x < 2.0 * *share => Some(Fault::ErrorAfter),
                _ => None,
            },
        };
        if matches!(fault, Some(Fault::DeathBefore)) {
            state.doomed.push(process.to_owned());
        }
        fault
    }

    fn doom(&self, process: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).doomed.push(process.to_owned());
    }
}

/// One process's view of a store.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Script>,
    process: String,
}

impl FaultyStore {
    /// A view of `inner` for a process of that name.
    pub fn new(inner: Arc<dyn ObjectStore>, script: Arc<Script>, process: &str) -> FaultyStore {
        FaultyStore { inner, script, process: process.to_owned() }
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

fn failed(when: &str) -> Error {
    Error::Generic { store: "faulty", source: format!("asked to fail {when}").into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = if matches!(opts.mode, PutMode::Create) { self.script.next(&self.process) } else { None };
        match fault {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::ErrorBefore) => Err(failed("before it took effect")),
            Some(Fault::ErrorAfter) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(failed("after it took effect"))
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.inner.put_opts(location, payload, opts).await
            }
            Some(Fault::DeathBefore) => std::future::pending().await,
            Some(Fault::DeathAfter) => {
                // Whatever the answer is, nobody hears it.
                let _ = self.inner.put_opts(location, payload, opts).await;
                self.script.doom(&self.process);
                std::future::pending().await
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.map(Path::to_string).unwrap_or_default();
        *self.script.state.lock().unwrap_or_else(PoisonError::into_inner).listings.entry(folder).or_default() += 1;
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
