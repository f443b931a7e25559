//! A unit's inputs: rows, model files and dependencies' tensors, fetched when the device thread asks for them.

mod cache;
mod header;
mod parts;
mod probes;
mod shard;
mod shards;
mod shelf;
mod tokens;
mod verdicts;
#[cfg(test)]
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use limbic_engine::{SharedFile, WEIGHTS_VERSION};
use limbic_proto::commit::{Commit, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::rows::{Rows, RowsError};
use limbic_proto::unit::ModelIdentity;
use limbic_store::hub::HubError;
use limbic_store::model::{ModelError, Need};
use limbic_store::{ModelFiles, Store, StoreError};

pub use header::{Entry, Header};
pub(crate) use parts::Parts;
pub use probes::KeptProbe;
pub use shard::Matrix;
pub(crate) use shard::Shard;
pub use shards::{Lengths, Shards};
pub use shelf::Shelf;
pub(crate) use verdicts::KeptVerdicts;

use crate::execute::Advice;
use crate::pause::{Proven, patiently};
use crate::progress::Progress;
use crate::settings::Timing;

/// Why a unit's inputs can't be had.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The attempt was asked to stop while it waited.
    #[error("stopped on request")]
    Cancelled,
    /// The store can't be read, or an object in it is corrupt.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The dataset's rows are not rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The dataset's bytes are not those of its name.
    #[error("rows {expected:?} in the store are corrupt: their bytes have the digest {found:?}")]
    RowsDigest {
        /// The dataset's name.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The model's files can't be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A dependency's commit or an artifact of it is missing, or not what was written: it must be computed again.
    #[error("the result of unit {unit:?}, which this one needs, is corrupt: {message}")]
    Corrupt {
        /// The dependency.
        unit: UnitKey,
        /// The generation that was read.
        generation: u32,
        /// What was found.
        message: String,
    },
    /// A dependency's artifact is not what such a unit writes.
    #[error("an artifact of unit {unit:?}: {message}")]
    Artifact {
        /// The dependency.
        unit: UnitKey,
        /// What was expected and found.
        message: String,
    },
}

impl InputError {
    /// What the error means for the unit that needs the input.
    pub fn advice(&self) -> Advice {
        match self {
            // What is missing or rotten is the object's matter. That the store is out of reach or refuses, for longer than the
            // patience, is not the unit's fault.
            InputError::Store(error) if !error.not_found() && !matches!(error, StoreError::Corrupt { .. }) => Advice::Leave,
            InputError::Cancelled | InputError::Store(_) | InputError::RowsDigest { .. } | InputError::Corrupt { .. } => Advice::Retry,
            InputError::Rows(_) | InputError::Artifact { .. } => Advice::Reject,
            // Whoever waits for the hub can't be called back: only a new process can ask again.
            InputError::Model(ModelError::Hub(HubError::Silent { .. })) => Advice::Leave,
            // Another worker may have the folder, or the hub may be back.
            InputError::Model(ModelError::File { .. } | ModelError::Hub(_)) => Advice::Retry,
            InputError::Model(_) => Advice::Reject,
        }
    }
}

/// How many reads are under way at once. A request to a store behind a network takes 50 to 100 ms, whatever is read, and a
/// fit of a large model makes some for each of hundreds of shards.
const AT_ONCE: usize = 16;

/// Bytes of what is under way or not taken yet, unless a single thing has more.
const WINDOW: u64 = 64 << 20;

/// No commit has more bytes; what is assumed of one that is not read yet.
const COMMIT: u64 = 64 << 10;

/// Which result is read.
#[derive(Debug, Clone, Copy)]
struct Source {
    unit: UnitKey,
    generation: u32,
}

impl Source {
    fn corrupt(self, message: String) -> InputError {
        InputError::Corrupt { unit: self.unit, generation: self.generation, message }
    }

    /// What is missing or not what was written is the result's fault, anything else the store's.
    fn judge(self, error: InputError) -> InputError {
        match error {
            InputError::Store(e) if e.not_found() || matches!(e, StoreError::Corrupt { .. }) => self.corrupt(e.to_string()),
            other => other,
        }
    }
}

/// The inputs of one attempt. Every method blocks the calling thread, which must not be one of tokio's.
#[derive(Debug)]
pub struct Inputs {
    store: Store,
    shelf: Arc<Shelf>,
    runtime: tokio::runtime::Handle,
    timing: Timing,
    proven: Arc<Proven>,
    progress: Arc<Progress>,
    /// The generation that is computed.
    generation: u32,
    /// The generation of each dependency that is not in generation 0.
    generations: BTreeMap<UnitKey, u32>,
    waited: AtomicU64,
}

impl Inputs {
    /// Inputs out of a store; what was verified once stays on the shelf. A store that is out of reach, or refuses what it did
    /// before, is waited for, until the patience is over or the attempt should stop.
    pub fn new(store: Store, shelf: Arc<Shelf>, runtime: tokio::runtime::Handle, timing: Timing, progress: Arc<Progress>) -> Inputs {
        let (proven, generations) = (Arc::default(), BTreeMap::new());
        Inputs { store, shelf, runtime, timing, proven, progress, generation: 0, generations, waited: AtomicU64::new(0) }
    }

    /// The same inputs out of a store that has done so much for this process.
    #[must_use]
    pub(crate) fn out_of(self, proven: Arc<Proven>) -> Inputs {
        Inputs { proven, ..self }
    }

    /// The same inputs for a generation of the unit, with dependencies read in these generations instead of 0.
    #[must_use]
    pub fn in_generations(self, generation: u32, generations: BTreeMap<UnitKey, u32>) -> Inputs {
        Inputs { generation, generations, ..self }
    }

    /// The generation of each dependency that is not in generation 0.
    pub(crate) fn generations(&self) -> &BTreeMap<UnitKey, u32> {
        &self.generations
    }

    /// How long the device thread has waited for inputs.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let value = self.runtime.block_on(future);
        self.waited.fetch_add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        value
    }

    /// Waits for one thing, or until the attempt should stop.
    fn now<T>(&self, future: impl Future<Output = Result<T, InputError>>) -> Result<T, InputError> {
        self.wait(async {
            tokio::select! {
                biased;
                () = self.progress.cancellation() => Err(InputError::Cancelled),
                result = future => result,
            }
        })
    }

    /// Waits for several things, which come in their order. While one is awaited the next are under way, as many as fit into
    /// the window where none takes more than `largest` bytes; none is begun before the first is asked for.
    fn in_order<T, F: Future<Output = Result<T, InputError>>>(
        &self,
        things: impl Iterator<Item = F>,
        largest: u64,
    ) -> impl Iterator<Item = Result<T, InputError>> {
        let at_once = usize::try_from(WINDOW / largest.max(1)).map_or(AT_ONCE, |n| n.clamp(1, AT_ONCE));
        let mut things = Box::pin(stream::iter(things).buffered(at_once));
        std::iter::from_fn(move || self.now(async { things.next().await.transpose() }).transpose())
    }

    /// Reads from the store.
    async fn fetch<T, F: Future<Output = Result<T, StoreError>>>(&self, operation: impl Fn(Store) -> F) -> Result<T, InputError> {
        Ok(self.proven.reading(&self.timing, || operation(self.store.clone())).await?)
    }

    /// Reads from the store and waits for it.
    fn read<T, F: Future<Output = Result<T, StoreError>>>(&self, operation: impl Fn(Store) -> F) -> Result<T, InputError> {
        self.now(self.fetch(operation))
    }

    /// Asks the store for what can be done without, and waits for it while the store is out of reach, but not where it refuses.
    fn try_to<T, F: Future<Output = Result<T, StoreError>>>(&self, operation: impl Fn(Store) -> F) -> Result<T, InputError> {
        self.now(async { Ok(patiently(&self.timing, || operation(self.store.clone())).await?) })
    }

    /// A dataset's rows, verified against their name.
    ///
    /// # Errors
    /// They can't be read or are corrupt.
    pub fn rows(&self, dataset: &Digest) -> Result<Arc<Rows>, InputError> {
        if let Some(rows) = self.shelf.rows(dataset) {
            return Ok(rows);
        }
        let bytes = self.read(|store| async move { store.get(&layout::rows(dataset)).await })?;
        let found = Digest::of(&bytes);
        if found != *dataset {
            return Err(InputError::RowsDigest { expected: *dataset, found });
        }
        let rows = Arc::new(Rows::from_bytes(&bytes)?);
        self.shelf.keep_rows(*dataset, rows.clone());
        Ok(rows)
    }

    /// A model's files, downloaded if they are not here.
    ///
    /// # Errors
    /// They can't be had, or are no model that the engine can compute.
    pub fn model(&self, source: &str, need: Need) -> Result<ModelFiles, InputError> {
        let files = self.now(async { Ok(ModelFiles::resolve(source, need).await?) })?;
        if need == Need::Weights {
            self.shelf.make_room(source);
        }
        Ok(files)
    }

    /// The file in which all workers that share a cache folder share a model's weights, about so many bytes; none where there is no
    /// such folder, or it is too small.
    pub fn shared_weights(&self, model: &ModelIdentity, bytes: u64) -> Option<SharedFile> {
        let identity = Digest::of_json(&("prepared weights", WEIGHTS_VERSION, model));
        Some(SharedFile { path: self.shelf.place_of_weights(&identity, bytes)?, identity })
    }

    /// Says that a model in memory is used, which keeps its file in the cache folder.
    pub fn use_weights(&self, shared: &SharedFile) {
        self.shelf.uses_weights(&shared.path);
    }

    fn source(&self, unit: UnitKey) -> Source {
        Source { unit, generation: self.generations.get(&unit).copied().unwrap_or(0) }
    }

    /// The results of these units, in order; a unit that was split stands for its children.
    fn results(&self, units: &[UnitKey]) -> Result<Vec<(Source, Done)>, InputError> {
        // Those that are not read yet have none; the children of all that were split are read together.
        let mut results: Vec<(Source, Option<Done>)> = units.iter().map(|unit| (self.source(*unit), None)).collect();
        while results.iter().any(|(_, done)| done.is_none()) {
            let reads = results.into_iter().map(|(of, done)| async move {
                match done {
                    Some(_) => Ok(vec![(of, done)]),
                    None => self.result(of).await.map_err(|e| of.judge(e)),
                }
            });
            results = self.in_order(reads, COMMIT).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        }
        Ok(results.into_iter().filter_map(|(of, done)| Some((of, done?))).collect())
    }

    /// The result of a unit, or its children in its place.
    async fn result(&self, of: Source) -> Result<Vec<(Source, Option<Done>)>, InputError> {
        match self.fetch(|store| async move { store.commit(&of.unit, of.generation).await }).await? {
            Some(Commit::Done(done)) => Ok(vec![(of, Some(done))]),
            Some(Commit::Split { children, .. }) => Ok(children.into_iter().map(|child| (self.source(child), None)).collect()),
            Some(Commit::Void { .. }) => Err(of.corrupt("its commit is a void where a result should be".to_owned())),
            None => Err(of.corrupt("its commit is missing".to_owned())),
        }
    }

    /// A whole artifact of a result, verified.
    async fn artifact(&self, of: Source, done: &Done, name: &'static str) -> Result<Bytes, InputError> {
        if done.artifact(name).is_none() {
            return Err(of.corrupt(format!("its commit names no {name}")));
        }
        self.fetch(|store| async move { store.artifact(&of.unit, done, name).await }).await.map_err(|e| of.judge(e))
    }
}
