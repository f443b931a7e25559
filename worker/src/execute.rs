//! Executing a unit: the seam between the session and the engine, and the errors that cross it.

mod blocks;
mod engine;
mod extract;
mod fit;
mod judge;
mod models;
mod moments;
mod passes;
mod prompt;

use std::collections::BTreeMap;
use std::sync::Arc;

use limbic_proto::key::Digest;
use limbic_proto::rows::{Row, Rows};
use limbic_proto::spec::Dtype;
use limbic_proto::unit::{RowsIdentity, RowsPart, Unit};
use limbic_store::Content;

pub use engine::EngineExecutor;
pub(crate) use engine::placements;

use crate::inputs::{InputError, Inputs};
use crate::progress::Progress;
use crate::tensors::TensorFileError;

/// What computes units. It lives on one thread of its own and may block.
pub trait Executor: Send {
    /// Computes a unit's artifacts. Looks at `progress` often enough to stop within a second or two.
    ///
    /// # Errors
    /// See [`ExecuteError::advice`] for what each one means for the unit and for the worker.
    fn execute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError>;

    /// Digests of the models in memory, most recently used first.
    fn loaded(&self) -> Vec<Digest> {
        Vec::new()
    }
}

/// What an attempt computed.
#[derive(Clone, Default, PartialEq)]
pub struct Output {
    /// The artifacts, by name.
    pub artifacts: Vec<(&'static str, Content)>,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Further counts for the provenance: `skipped_rows`, …
    pub counts: BTreeMap<String, u64>,
    /// Whether finished blocks of the unit are kept in the store, which nobody needs once it is committed.
    pub blocks: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths: Vec<_> = self.artifacts.iter().map(|(name, bytes)| (*name, bytes.len())).collect();
        f.debug_struct("Output").field("artifacts", &lengths).field("tokens", &self.tokens).field("counts", &self.counts).finish()
    }
}

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Another try, here or elsewhere, may succeed.
    Retry,
    /// The unit can't be computed; trying again gives the same.
    Reject,
    /// This worker can't go on, and the unit may be why.
    Abort,
    /// This worker can't go on, and the unit has nothing to do with it.
    Leave,
}

/// Why a unit was not computed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It was asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// Its inputs can't be had.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The model's files are not those that the sweep was planned with.
    #[error(
        "model `{source_name}` changed since the sweep was planned: it was {expected:?}, now it is {found:?}; restore the files, or plan the sweep again"
    )]
    ModelChanged {
        /// Where the files are.
        source_name: String,
        /// The digest in the unit.
        expected: Digest,
        /// The digest of the files.
        found: Digest,
    },
    /// The unit and its inputs contradict one another.
    #[error("{what} of unit {unit:?} doesn't match: {message}")]
    Mismatch {
        /// The unit.
        unit: Digest,
        /// Which part.
        what: &'static str,
        /// What was expected and found.
        message: String,
    },
    /// This worker doesn't know the version of the computation that the unit asks for.
    #[error(
        "unit {unit:?} asks for version {asked} of {what}, this worker computes version {known}: run workers and coordinator of one release"
    )]
    Version {
        /// The unit.
        unit: Digest,
        /// `the engine` or `the probes`.
        what: &'static str,
        /// The version in the unit.
        asked: u32,
        /// The version here.
        known: u32,
    },
    /// A hidden state or a likelihood is NaN or infinite.
    #[error("{what} of row `{row}` is not finite: {hint}")]
    NotFinite {
        /// The tensor, such as `L12.k0`.
        what: String,
        /// The row's id.
        row: String,
        /// What may help.
        hint: &'static str,
    },
    /// The model can't be loaded, or a pass through it failed.
    #[error("{what}: {message}")]
    Engine {
        /// What was tried.
        what: String,
        /// What the engine said.
        message: String,
        /// What that means.
        advice: Advice,
    },
    /// The results can't be put into an artifact.
    #[error(transparent)]
    Artifact(#[from] TensorFileError),
    /// This worker's device doesn't compute in the unit's number format; another's may.
    #[error("model `{model}` is asked for in {}, which this worker's device doesn't compute in; run a worker with --device cuda:N", dtype.as_str())]
    Format {
        /// The model's name.
        model: String,
        /// The number format.
        dtype: Dtype,
    },
    /// The device failed, for instance for lack of memory.
    #[error("{what}: {message}")]
    Device {
        /// What was tried.
        what: String,
        /// What the device said.
        message: String,
        /// Whether it has failed so often that it won't recover.
        lost: bool,
    },
    /// The executor panicked.
    #[error("the executor panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The device thread is gone.
    #[error("the device thread has ended")]
    Gone,
}

impl ExecuteError {
    /// What the error means for the unit and for the worker.
    pub fn advice(&self) -> Advice {
        match self {
            ExecuteError::Cancelled | ExecuteError::Input(InputError::Cancelled) | ExecuteError::Panicked { .. } => Advice::Retry,
            ExecuteError::Input(error) => error.advice(),
            ExecuteError::ModelChanged { .. }
            | ExecuteError::Mismatch { .. }
            | ExecuteError::NotFinite { .. }
            | ExecuteError::Artifact(_) => Advice::Reject,
            // A worker of the right release may exist.
            ExecuteError::Version { .. } => Advice::Retry,
            ExecuteError::Format { .. } | ExecuteError::Device { lost: false, .. } => Advice::Retry,
            ExecuteError::Engine { advice, .. } => *advice,
            ExecuteError::Device { lost: true, .. } => Advice::Abort,
            ExecuteError::Gone => Advice::Leave,
        }
    }
}

/// Some consecutive rows of a dataset.
struct UnitRows {
    all: Arc<Rows>,
    /// Those that the rows are a part of, or they themselves.
    whole: std::ops::Range<usize>,
    range: std::ops::Range<usize>,
}

impl UnitRows {
    fn slice(&self) -> &[Row] {
        &self.all.rows[self.range.clone()]
    }
}

/// The rows of a unit, checked against its identity.
fn rows(unit: &Unit, identity: &RowsIdentity, inputs: &Inputs) -> Result<UnitRows, ExecuteError> {
    let all = inputs.rows(&unit.hints.dataset)?;
    let (from, to) = unit.hints.rows;
    // The rows of a half are known by the whole that they are a part of.
    let part = identity.part.unwrap_or(RowsPart { first: 0, of: identity.count });
    let start = from.saturating_sub(part.first);
    let whole = start..start + part.of;
    let mismatch = |message: String| ExecuteError::Mismatch { unit: unit.spec.key(), what: "the rows", message };
    let rows = all.rows.get(whole.clone()).ok_or_else(|| mismatch(format!("rows {whole:?} of a dataset of {}", all.rows.len())))?;
    let within = from == start + part.first && to == from + identity.count && to <= whole.end;
    if !within || Rows::texts_digest(rows) != identity.texts {
        return Err(mismatch(format!("rows {from}..{to} are other texts than the unit's {}", identity.count)));
    }
    Ok(UnitRows { all, whole, range: from..to })
}

/// Refuses moments of rows whose labels, weights or splits are others than the unit's.
fn check_moments(unit: &Unit, expected: Option<Digest>, rows: &UnitRows) -> Result<(), ExecuteError> {
    let found = rows.all.moments_digest(rows.whole.clone());
    match expected.filter(|expected| *expected != found) {
        None => Ok(()),
        Some(expected) => {
            let message = format!("what their moments depend on has the digest {found:?}, the unit asks for {expected:?}");
            Err(ExecuteError::Mismatch { unit: unit.spec.key(), what: "the rows", message })
        }
    }
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count as u64)).collect()
}
