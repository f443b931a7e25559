//! A unit's inputs: rows, model files and dependencies' tensors, fetched when the device thread asks for them.

mod cache;
mod header;
mod parts;
mod probes;
mod shard;
mod shelf;
mod tokens;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use limbic_proto::commit::{Commit, Done};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::rows::{Rows, RowsError};
use limbic_proto::unit::STATES;
use limbic_store::model::{ModelError, Need};
use limbic_store::{ModelFiles, Store, StoreError};

pub use header::{Entry, Header};
pub(crate) use parts::Parts;
pub use probes::KeptProbe;
pub use shard::{Matrix, Shard};
pub use shelf::Shelf;
pub(crate) use verdicts::KeptVerdicts;

use crate::execute::Advice;
use crate::pause::patiently;
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
            // Out of reach for longer than the patience: that is not the unit's fault.
            InputError::Store(error) if error.out_of_reach() => Advice::Leave,
            InputError::Cancelled | InputError::Store(_) | InputError::RowsDigest { .. } | InputError::Corrupt { .. } => Advice::Retry,
            InputError::Rows(_) | InputError::Artifact { .. } => Advice::Reject,
            // Another worker may have the folder, or the hub may be back.
            InputError::Model(ModelError::File { .. } | ModelError::Hub(_)) => Advice::Retry,
            InputError::Model(_) => Advice::Reject,
        }
    }
}

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
    progress: Arc<Progress>,
    /// The generation that is computed.
    generation: u32,
    /// The generation of each dependency that is not in generation 0.
    generations: BTreeMap<UnitKey, u32>,
    waited: AtomicU64,
}

impl Inputs {
    /// Inputs out of a store; what was verified once stays on the shelf. A store that is out of reach is waited for, until
    /// the patience is over or the attempt should stop.
    pub fn new(store: Store, shelf: Arc<Shelf>, runtime: tokio::runtime::Handle, timing: Timing, progress: Arc<Progress>) -> Inputs {
        Inputs { store, shelf, runtime, timing, progress, generation: 0, generations: BTreeMap::new(), waited: AtomicU64::new(0) }
    }

    /// The same inputs for a generation of the unit, with dependencies read in these generations instead of 0.
    #[must_use]
    pub fn in_generations(self, generation: u32, generations: BTreeMap<UnitKey, u32>) -> Inputs {
        Inputs { generation, generations, ..self }
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

    /// Reads from the store.
    fn read<T, F: Future<Output = Result<T, StoreError>>>(&self, operation: impl Fn(Store) -> F) -> Result<T, InputError> {
        self.wait(async {
            tokio::select! {
                result = patiently(&self.timing, || operation(self.store.clone())) => Ok(result?),
                () = self.progress.cancellation() => Err(InputError::Cancelled),
            }
        })
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
        let files = self.wait(async {
            tokio::select! {
                files = ModelFiles::resolve(source, need) => Ok(files?),
                () = self.progress.cancellation() => Err(InputError::Cancelled),
            }
        })?;
        if need == Need::Weights {
            self.shelf.make_room(source);
        }
        Ok(files)
    }

    /// The results of these units, in order; a unit that was split stands for its children.
    fn results(&self, units: &[UnitKey]) -> Result<Vec<(Source, Done)>, InputError> {
        let mut results = Vec::with_capacity(units.len());
        let mut pending: Vec<UnitKey> = units.iter().rev().copied().collect();
        while let Some(unit) = pending.pop() {
            let of = Source { unit, generation: self.generations.get(&unit).copied().unwrap_or(0) };
            match self.read(|store| async move { store.commit(&unit, of.generation).await }).map_err(|e| of.judge(e))? {
                Some(Commit::Done(done)) => results.push((of, done)),
                Some(Commit::Split { children, .. }) => pending.extend(children.iter().rev()),
                Some(Commit::Void { .. }) => return Err(of.corrupt("its commit is a void where a result should be".to_owned())),
                None => return Err(of.corrupt("its commit is missing".to_owned())),
            }
        }
        Ok(results)
    }

    /// The committed states of these units, in order; a unit that was split stands for its children.
    ///
    /// # Errors
    /// One of them has no result, or its artifact can't be read.
    pub fn shards(&self, extracts: &[UnitKey]) -> Result<Vec<Shard<'_>>, InputError> {
        self.results(extracts)?.into_iter().map(|(of, done)| Shard::open(self, of, done, STATES)).collect()
    }

    /// A whole artifact of a result, verified.
    fn artifact(&self, of: Source, done: &Done, name: &'static str) -> Result<Bytes, InputError> {
        if done.artifact(name).is_none() {
            return Err(of.corrupt(format!("its commit names no {name}")));
        }
        let unit = of.unit;
        self.read(|store| async move { store.artifact(&unit, done, name).await }).map_err(|e| of.judge(e))
    }
}
