//! Planning: the axes of a spec become cells (what the user counts) and units (what workers lease).
//!
//! - One `extract` unit per (model, condition, shard of `execution.rows_per_unit` consecutive rows). It holds all layers
//!   and all read-outs, because one forward pass yields them all. So a further model or condition leaves all other
//!   extract keys as they are, while a further layer or offset makes other extract units (what was stored before has no
//!   such tensor), and a further row changes only the shard it lies in.
//! - One `fit` unit per (model, condition, layer) over all its shards, with every read-out, probe and seed.
//! - The majority and bag-of-words baselines: one `fit` unit each per sweep, for they need no model.
//! - The zero-shot baseline: one `prompt` unit per (model, shard of the rows between the first and the last test row).
//!   Shards without a test row are left out: every reported number is measured on test.
//!
//! A spec without probes plans extraction alone: a cell is then done when its states are.
//!
//! Keys hold what determines a result in one spelling: layers, read-outs, probes and seeds are sorted, a seed that
//! nothing draws from is 0. Names, the store and the token budget are not in them.

mod axes;
mod check;
mod estimate;
mod zero_shot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use limbic_proto::architecture::Architecture;
use limbic_proto::axis::Layer;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Rows;
use limbic_proto::spec::{Baseline, Dtype, Spec};
use limbic_proto::unit::{FitUnit, Hints, ModelHint, ModelIdentity, Unit, UnitSpec};
use serde::{Deserialize, Serialize};

pub use check::PlanError;
pub use estimate::{Estimate, KindEstimate};

use axes::Axes;
use estimate::{Cost, Costs};

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
}

impl ModelFacts {
    /// The model as a unit's key holds it.
    pub fn identity(&self) -> ModelIdentity {
        ModelIdentity { digest: self.digest, dtype: self.dtype }
    }

    fn hint(&self) -> ModelHint {
        ModelHint { name: self.name.clone(), source: self.source.clone(), architecture: self.architecture.clone() }
    }
}

/// One (model, layer, condition, offset): what the user counts as a job.
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
    },
    /// A baseline on the words or on nothing.
    Baseline(Baseline),
    /// Zero-shot likelihoods of rows `rows.0..rows.1`.
    Prompt {
        /// Index into [`Plan::models`].
        model: usize,
        /// First row, and one past the last.
        rows: (usize, usize),
    },
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
}

/// What a sweep consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The models, in the spec's order.
    pub models: Vec<ModelFacts>,
    /// Each model's layers, ascending.
    pub layers: Vec<Vec<Layer>>,
    /// The conditions' names, in the spec's order.
    pub conditions: Vec<String>,
    /// All cells: model by model, condition by condition, layer by layer, offset by offset.
    pub cells: Vec<Cell>,
    /// All units.
    pub units: BTreeMap<UnitKey, PlannedUnit>,
    /// The units in the order in which they had best be done; every unit comes after those it depends on.
    pub order: Vec<UnitKey>,
    /// What it all costs.
    pub estimate: Estimate,
}

/// Plans a sweep. `models` are the facts of `spec.models`, in the same order.
///
/// # Errors
/// What the spec asks of the models or the rows that they don't have; see [`PlanError`].
pub fn plan(spec: &Spec, rows: &Rows, models: &[ModelFacts]) -> Result<Plan, PlanError> {
    plan_counted(spec, rows, models, None)
}

/// [`plan`] with estimates from exact token counts, `counts[model][row]` of the bare texts, instead of from their
/// bytes. Keys are the same.
///
/// # Errors
/// As [`plan`].
pub fn plan_counted(spec: &Spec, rows: &Rows, models: &[ModelFacts], counts: Option<&[Vec<u32>]>) -> Result<Plan, PlanError> {
    check::rows(spec, rows)?;
    check::models(spec, models)?;
    let axes = Axes::new(spec, rows, models)?;
    let costs = Costs::new(rows, counts);
    let mut planner = Planner { spec, rows, axes, costs, cells: Vec::new(), units: BTreeMap::new(), order: Vec::new() };
    planner.baselines();
    for (index, model) in models.iter().enumerate() {
        for condition in 0..spec.conditions.len() {
            let extracts = planner.extracts(index, model, condition);
            planner.fits(index, model, condition, &extracts);
        }
        if spec.baselines.contains(&Baseline::ZeroShot) {
            planner.zero_shot(index, model)?;
        }
    }
    let estimate = Estimate::of(planner.cells.len(), rows.rows.len(), planner.units.values());
    Ok(Plan {
        models: models.to_vec(),
        layers: planner.axes.layers,
        conditions: spec.conditions.iter().map(|c| c.name.clone()).collect(),
        cells: planner.cells,
        units: planner.units,
        order: planner.order,
        estimate,
    })
}

/// A plan in the making.
struct Planner<'a> {
    spec: &'a Spec,
    rows: &'a Rows,
    axes: Axes,
    costs: Costs,
    cells: Vec<Cell>,
    units: BTreeMap<UnitKey, PlannedUnit>,
    order: Vec<UnitKey>,
}

impl Planner<'_> {
    fn add(&mut self, spec: UnitSpec, place: Place, model: Option<ModelHint>, rows: (usize, usize), cost: Cost, title: String) -> UnitKey {
        let key = spec.key();
        let hints =
            Hints { model, dataset: self.axes.dataset, rows, token_budget: self.spec.execution.token_budget, flops: cost.flops, title };
        let planned = PlannedUnit { unit: Unit { spec, hints }, place, tokens: cost.tokens, bytes: cost.bytes };
        let before = self.units.insert(key, planned);
        debug_assert!(before.is_none(), "checked models and conditions give each unit its own key");
        self.order.push(key);
        key
    }

    fn baselines(&mut self) {
        for baseline in [Baseline::Majority, Baseline::BagOfWords] {
            if self.spec.baselines.contains(&baseline) {
                let unit = self.axes.baseline(baseline, self.rows);
                let cost = self.costs.baseline(baseline);
                let all = (0, self.rows.rows.len());
                self.add(UnitSpec::Fit(unit), Place::Baseline(baseline), None, all, cost, format!("fit {}", baseline.name()));
            }
        }
    }

    fn extracts(&mut self, index: usize, model: &ModelFacts, condition: usize) -> Vec<UnitKey> {
        let name = &self.spec.conditions[condition].name;
        let shards = self.axes.shards.clone();
        let mut keys = Vec::with_capacity(shards.len());
        for (range, identity) in shards {
            let unit = self.axes.extract(self.spec, index, model, condition, identity);
            let cost = self.costs.extract(index, model, &unit, range);
            let title = format!("extract {} {name} rows {}..{}", model.name, range.0, range.1);
            let place = Place::Extract { model: index, condition, rows: range };
            keys.push(self.add(UnitSpec::Extract(unit), place, Some(model.hint()), range, cost, title));
        }
        keys
    }

    fn fits(&mut self, index: usize, model: &ModelFacts, condition: usize, extracts: &[UnitKey]) {
        for layer in self.axes.layers[index].clone() {
            let units =
                if self.spec.probes.is_empty() { extracts.to_vec() } else { vec![self.fit(index, model, condition, extracts, layer)] };
            for &offset in &self.spec.offsets {
                self.cells.push(Cell { model: index, layer, condition, offset, units: units.clone() });
            }
        }
    }

    fn fit(&mut self, index: usize, model: &ModelFacts, condition: usize, extracts: &[UnitKey], layer: Layer) -> UnitKey {
        let unit: FitUnit = self.axes.fit(extracts, layer);
        let cost = self.costs.fit(&unit, model.architecture.hidden);
        let title = format!("fit {} {} layer {layer}", model.name, self.spec.conditions[condition].name);
        let place = Place::Fit { model: index, condition, layer };
        self.add(UnitSpec::Fit(unit), place, None, (0, self.rows.rows.len()), cost, title)
    }

    fn zero_shot(&mut self, index: usize, model: &ModelFacts) -> Result<(), PlanError> {
        for range in zero_shot::shards(self.rows, self.axes.rows_per_unit) {
            let texts = Rows::texts_digest(&self.rows.rows[range.0..range.1]);
            let unit = zero_shot::unit(self.spec, &self.rows.classes, model, texts, range)?;
            let cost = self.costs.prompt(index, model, &unit, range);
            let title = format!("prompt {} rows {}..{}", model.name, range.0, range.1);
            self.add(UnitSpec::Prompt(unit), Place::Prompt { model: index, rows: range }, Some(model.hint()), range, cost, title);
        }
        Ok(())
    }
}
