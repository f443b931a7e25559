//! Planning: the axes of a spec become cells (what the user counts) and units (what workers lease).
//!
//! - One `extract` unit per (model, condition, shard of `execution.rows_per_unit` consecutive rows; without that, as many
//!   as have 1 GiB of states, at most 512; with `activations: none`, which stores moments in place of the states of train rows, four
//!   for each number of a state). It holds all layers and all read-outs, because one forward pass yields them
//!   all. So a further model or condition leaves all other extract keys as they are, while a further layer or offset makes
//!   other extract units (what was stored before has no such tensor), and a further row changes only the shard it lies in.
//! - One `fit` unit per (model, condition, layer) over all its shards, with every read-out, probe, seed and control that
//!   needs the same states.
//! - With several seeds of sampling, the same for every seed's replies. The first seed's units have all read-outs; those of
//!   the others have what depends on the reply: neither offset 0 (but where a probe of it is carried on, or one network is
//!   fitted to all offsets) nor the context `filler`. Shards are the same, so that rows exchange replies with the same rows.
//! - With `transfer: [conditions]`, one `transfer` unit per (model, condition, layer): the probes of all other conditions at
//!   offset 0 on this one's states.
//! - The majority and bag-of-words baselines: one `fit` unit each per sweep, for they need no model. The mean-embedding
//!   baseline: per model, `extract` units of layer 0 and one `fit` unit.
//! - The zero-shot baselines: one `prompt` unit per (model, shard of the rows between the first and the last test row).
//!   Shards without a test row are left out: every reported number is measured on test.
//! - With `writing`, one `prompt` unit per (model, shard of all rows), whose answers are written.
//! - With judges, one `judge` unit per (judge, model, condition, shard with a test row) whose replies the model wrote itself.
//!
//! A model of random weights is there to be compared with its twin: it has cells, and no baselines, transfers or judge.
//!
//! A sweep may have several revisions, each of which adds models, layers, conditions, offsets, seeds of sampling or judges. Cells of
//! a later one are planned beside what is there: their extract units hold just the layers and offsets that were missing. Judges that
//! a later one names are given the replies that were judged before.
//!
//! A spec without probes plans extraction alone: a cell is then done when its states are.
//!
//! Keys hold what determines a result in one spelling: layers, read-outs, probes and seeds are sorted, a seed that
//! nothing draws from is 0. Names, the store and the token budget are not in them.

mod axes;
mod check;
mod estimate;
mod planner;
mod questions;
mod split;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::architecture::Architecture;
use limbic_proto::axis::Layer;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Rows;
use limbic_proto::spec::{Activations, Baseline, Condition, Dtype, Spec};
use limbic_proto::unit::{ModelHint, ModelIdentity, Unit, Versions};
use serde::{Deserialize, Serialize};

pub use check::{PlanError, room};
pub use estimate::{Estimate, ModelEstimate, UnitsEstimate};

use planner::Planner;

/// What planning must know about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// The name in tables and figures.
    pub name: String,
    /// A folder, a `.gguf` file or an `hf://` id with its revision pinned.
    pub source: String,
    /// Digest of weights, config, tokenizer and chat template.
    pub digest: Digest,
    /// The number format it is computed in.
    pub dtype: Dtype,
    /// Its shape.
    pub architecture: Architecture,
    /// Whether it brings a chat template.
    pub chat_template: bool,
    /// The seed of random weights that take the place of its own; the digest is then that of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<u64>,
}

impl ModelFacts {
    /// The model as a unit's key holds it.
    pub fn identity(&self) -> ModelIdentity {
        ModelIdentity { digest: self.digest, dtype: self.dtype }
    }

    fn hint(&self) -> ModelHint {
        ModelHint {
            name: self.name.clone(),
            source: self.source.clone(),
            architecture: self.architecture.clone(),
            random_weights: self.random_weights,
        }
    }
}

/// One (model, layer, condition, offset), beyond the prompt of one seed's replies: what the user counts as a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Index into [`Plan::models`].
    pub model: usize,
    /// The layer.
    pub layer: Layer,
    /// Index into [`Plan::conditions`].
    pub condition: usize,
    /// The offset.
    pub offset: u32,
    /// The seed of the replies; none at offset 0, and where nothing is drawn.
    pub sampling_seed: Option<u64>,
    /// The units whose results it needs: its fit unit, or without probes its extract units.
    pub units: Vec<UnitKey>,
}

/// Where a unit's result belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// States of rows `rows.0..rows.1` of a model under a condition.
    Extract {
        /// Index into [`Plan::models`].
        model: usize,
        /// Index into [`Plan::conditions`].
        condition: usize,
        /// The seed of the replies; none where none are drawn.
        sampling_seed: Option<u64>,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
    /// Probes of one layer.
    Fit {
        /// Index into [`Plan::models`].
        model: usize,
        /// Index into [`Plan::conditions`].
        condition: usize,
        /// The layer.
        layer: Layer,
        /// The seed of the replies; none where none are drawn.
        sampling_seed: Option<u64>,
        /// Whether offset 0 is among the read-outs for what is carried on from it alone: what doesn't depend on the replies
        /// is another unit's result.
        carried: bool,
    },
    /// Probes of other conditions on the states of one layer.
    Transfer {
        /// Index into [`Plan::models`].
        model: usize,
        /// The condition whose states they are; index into [`Plan::conditions`].
        condition: usize,
        /// The layer.
        layer: Layer,
        /// The conditions whose probes they are, in the order of the unit's fits.
        from: Vec<usize>,
    },
    /// A baseline on the words, on nothing, or on a model's embeddings.
    Baseline {
        /// Which one.
        baseline: Baseline,
        /// The model, of mean embeddings; index into [`Plan::models`].
        model: Option<usize>,
    },
    /// The mean embeddings of rows `rows.0..rows.1`, for the baseline on them.
    Embedding {
        /// Index into [`Plan::models`].
        model: usize,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
    /// Zero-shot answers for rows `rows.0..rows.1`.
    Prompt {
        /// Index into [`Plan::models`].
        model: usize,
        /// How it is asked: [`Baseline::ZeroShot`] or [`Baseline::ZeroShotJson`].
        baseline: Baseline,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
    /// What a model writes about rows `rows.0..rows.1`.
    Writing {
        /// Index into [`Plan::models`].
        model: usize,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
    /// Verdicts on the replies to rows `rows.0..rows.1`.
    Judge {
        /// The judging model; index into [`Plan::models`].
        judge: usize,
        /// The model that replied; index into [`Plan::models`].
        model: usize,
        /// The condition under which it did; index into [`Plan::conditions`].
        condition: usize,
        /// The seed of the replies; none where none are drawn.
        sampling_seed: Option<u64>,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
}

impl Place {
    /// The model that the result is about, if it is about one; index into [`Plan::models`].
    pub fn model(&self) -> Option<usize> {
        match self {
            Place::Extract { model, .. }
            | Place::Fit { model, .. }
            | Place::Transfer { model, .. }
            | Place::Embedding { model, .. }
            | Place::Prompt { model, .. }
            | Place::Writing { model, .. }
            | Place::Judge { model, .. } => Some(*model),
            Place::Baseline { model, .. } => *model,
        }
    }

    /// The condition that the result is about, if it is about one; index into [`Plan::conditions`].
    pub fn condition(&self) -> Option<usize> {
        match self {
            Place::Extract { condition, .. }
            | Place::Fit { condition, .. }
            | Place::Transfer { condition, .. }
            | Place::Judge { condition, .. } => Some(*condition),
            Place::Baseline { .. } | Place::Embedding { .. } | Place::Prompt { .. } | Place::Writing { .. } => None,
        }
    }

    /// The seed of the replies that the result is about, if any are drawn for it.
    pub fn sampling_seed(&self) -> Option<u64> {
        match self {
            Place::Extract { sampling_seed, .. } | Place::Fit { sampling_seed, .. } | Place::Judge { sampling_seed, .. } => *sampling_seed,
            Place::Transfer { .. } | Place::Baseline { .. } | Place::Embedding { .. } | Place::Prompt { .. } | Place::Writing { .. } => {
                None
            }
        }
    }

    /// The same place for some of its rows.
    #[must_use]
    pub fn of_rows(&self, part: (usize, usize)) -> Place {
        let mut place = self.clone();
        match &mut place {
            Place::Extract { rows, .. }
            | Place::Embedding { rows, .. }
            | Place::Prompt { rows, .. }
            | Place::Writing { rows, .. }
            | Place::Judge { rows, .. } => *rows = part,
            Place::Fit { .. } | Place::Transfer { .. } | Place::Baseline { .. } => {}
        }
        place
    }
}

/// One unit of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedUnit {
    /// The unit as it is leased.
    pub unit: Unit,
    /// Where its result belongs.
    pub place: Place,
    /// Estimated tokens through the model.
    pub tokens: u64,
    /// Estimated bytes it stores.
    pub bytes: u64,
    /// Those of them that are hidden states, or the moments in their place.
    pub state_bytes: u64,
}

/// What a sweep consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The models, in the spec's order; those of later revisions behind.
    pub models: Vec<ModelFacts>,
    /// Each model's layers, ascending.
    pub layers: Vec<Vec<Layer>>,
    /// The conditions, in the spec's order.
    pub conditions: Vec<Condition>,
    /// All cells: model by model, condition by condition, layer by layer, offset by offset, seed by seed.
    pub cells: Vec<Cell>,
    /// All units.
    pub units: BTreeMap<UnitKey, PlannedUnit>,
    /// The units in the order in which they had best be done, revision by revision; every unit comes after those it depends on.
    pub order: Vec<UnitKey>,
    /// What it all costs.
    pub estimate: Estimate,
    /// Sweeps of higher priority are served first; the last revision's word counts.
    pub priority: i32,
    /// The share among sweeps of equal priority, above 0.
    pub weight: f64,
    /// What becomes of hidden states once every unit that reads them is committed; the last revision's word counts.
    pub activations: Activations,
    /// Those of all its units.
    pub versions: Versions,
}

impl Plan {
    /// What those of its units cost that aren't done, of a sweep with as many cells and rows.
    pub fn left(&self, done: impl Fn(&UnitKey) -> bool) -> Estimate {
        let open = self.units.iter().filter(|(key, _)| !done(key)).map(|(_, planned)| planned);
        Estimate::of(self.estimate.cells, self.estimate.rows, self.models.len(), open)
    }

    /// The seeds of all replies that are drawn, ascending.
    pub fn sampling_seeds(&self) -> BTreeSet<u64> {
        self.units.values().filter_map(|planned| planned.place.sampling_seed()).collect()
    }
}

/// One revision of a sweep: a spec, and the facts of its models in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// What was asked.
    pub spec: &'a Spec,
    /// The facts of `spec.models`.
    pub models: &'a [ModelFacts],
}

/// Plans a sweep of one revision. `models` are the facts of `spec.models`, in the same order.
///
/// # Errors
/// What the spec asks of the models or the rows that they don't have; see [`PlanError`].
pub fn plan(spec: &Spec, rows: &Rows, models: &[ModelFacts]) -> Result<Plan, PlanError> {
    plan_revisions(&[Revision { spec, models }], rows, Versions::CURRENT)
}

/// Plans a sweep of several revisions, the first one first. A revision plans the cells that no earlier one has, so what
/// is done stays done, and a model's bytes are sought where its last revision says. All units are of the versions that are given.
///
/// # Errors
/// As [`plan`], and what a later revision changes instead of adding to it.
pub fn plan_revisions(revisions: &[Revision<'_>], rows: &Rows, versions: Versions) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(rows, versions);
    for revision in revisions {
        check::rows(revision.spec, rows)?;
        check::models(revision.spec, revision.models)?;
        check::only_adds(revisions[0].spec, revision.spec)?;
        planner.revision(revision)?;
    }
    Ok(planner.finish())
}
