//! The plan in the making: cells and units, revision by revision.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::Layer;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Rows;
use limbic_proto::spec::{Activations, Baseline, Condition};
use limbic_proto::unit::{Hints, RowsIdentity, Unit, UnitSpec};

use super::axes::{Axes, Reading, rows_per_unit, shards};
use super::estimate::{Cost, Costs, Estimate};
use super::{Cell, ModelFacts, Place, Plan, PlanError, PlannedUnit, Revision, zero_shot};

/// A range of rows, and what the model sees of them.
type Shard = ((usize, usize), RowsIdentity);

/// A plan in the making.
pub(super) struct Planner<'a> {
    rows: &'a Rows,
    /// The rows cut into shards, by size.
    shards: BTreeMap<usize, Vec<Shard>>,
    /// The rows artifact's name.
    dataset: Digest,
    costs: Costs,
    models: Vec<ModelFacts>,
    conditions: Vec<Condition>,
    layers: Vec<BTreeSet<Layer>>,
    /// The units that each (model, condition, layer, offset) needs.
    cells: BTreeMap<(usize, usize, Layer, u32), Vec<UnitKey>>,
    units: BTreeMap<UnitKey, PlannedUnit>,
    order: Vec<UnitKey>,
    priority: i32,
    weight: f64,
    activations: Activations,
}

/// What is being planned: a model and a condition by their places in the plan, and the cells that are missing.
struct Part<'a> {
    revision: &'a Revision<'a>,
    axes: &'a Axes,
    model: usize,
    condition: usize,
    layers: Vec<Layer>,
    offsets: Vec<u32>,
}

impl<'a> Planner<'a> {
    pub fn new(rows: &'a Rows) -> Planner<'a> {
        Planner {
            rows,
            shards: BTreeMap::new(),
            dataset: rows.digest(),
            costs: Costs::new(rows),
            models: Vec::new(),
            conditions: Vec::new(),
            layers: Vec::new(),
            cells: BTreeMap::new(),
            units: BTreeMap::new(),
            order: Vec::new(),
            priority: 0,
            weight: 1.0,
            activations: Activations::default(),
        }
    }

    /// Adds what a revision asks beyond the earlier ones.
    pub fn revision(&mut self, revision: &Revision<'_>, number: usize) -> Result<(), PlanError> {
        let axes = Axes::new(revision.spec, self.rows, revision.models)?;
        let models = revision.models.iter().map(|facts| self.model(facts, number)).collect::<Result<Vec<_>, _>>()?;
        let conditions = revision.spec.conditions.iter().map(|c| self.condition(c, number)).collect::<Result<Vec<_>, _>>()?;
        let execution = &revision.spec.execution;
        (self.priority, self.weight, self.activations) = (execution.priority, execution.weight, execution.activations);
        self.baselines(revision, &axes);
        for (index, &model) in models.iter().enumerate() {
            self.layers[model].extend(&axes.layers[index]);
            for &condition in &conditions {
                for (offsets, layers) in self.missing(revision, &axes.layers[index], model, condition) {
                    let part = Part { revision, axes: &axes, model, condition, layers, offsets };
                    let reading = axes.reading(revision.spec, &part.layers, &part.offsets);
                    let extracts = self.extracts(&part, &reading);
                    self.fits(&part, &reading, &extracts);
                }
            }
            if revision.spec.baselines.contains(&Baseline::ZeroShot) {
                self.zero_shot(revision, &axes, model)?;
            }
        }
        Ok(())
    }

    pub fn finish(mut self) -> Plan {
        // Bytes are sought where the last revision says.
        for planned in self.units.values_mut() {
            if let Place::Extract { model, .. } | Place::Prompt { model, .. } = planned.place {
                planned.unit.hints.model = Some(self.models[model].hint());
            }
        }
        let cells = self.cells.into_iter();
        let cells: Vec<Cell> =
            cells.map(|((model, condition, layer, offset), units)| Cell { model, layer, condition, offset, units }).collect();
        Plan {
            estimate: Estimate::of(cells.len(), self.rows.rows.len(), self.units.values()),
            models: self.models,
            layers: self.layers.into_iter().map(|layers| layers.into_iter().collect()).collect(),
            conditions: self.conditions,
            cells,
            units: self.units,
            order: self.order,
            priority: self.priority,
            weight: self.weight,
            activations: self.activations,
        }
    }

    /// A model's place in the plan: the same weights keep their place and name.
    fn model(&mut self, facts: &ModelFacts, revision: usize) -> Result<usize, PlanError> {
        if let Some(at) = self.models.iter().position(|known| known.identity() == facts.identity()) {
            self.models[at].source.clone_from(&facts.source);
            return Ok(at);
        }
        if self.models.iter().any(|known| known.name == facts.name) {
            return Err(PlanError::OtherModel { revision, model: facts.name.clone() });
        }
        self.models.push(facts.clone());
        self.layers.push(BTreeSet::new());
        Ok(self.models.len() - 1)
    }

    /// A condition's place in the plan: the same prompt keeps its place and name.
    fn condition(&mut self, condition: &Condition, revision: usize) -> Result<usize, PlanError> {
        if let Some(at) = self.conditions.iter().position(|known| known.prompt() == condition.prompt()) {
            return Ok(at);
        }
        if self.conditions.iter().any(|known| known.name == condition.name) {
            return Err(PlanError::OtherCondition { revision, condition: condition.name.clone() });
        }
        self.conditions.push(condition.clone());
        Ok(self.conditions.len() - 1)
    }

    /// The cells that no earlier revision has: layers that lack the same offsets together, for one pass yields them all.
    fn missing(&self, revision: &Revision<'_>, layers: &[Layer], model: usize, condition: usize) -> BTreeMap<Vec<u32>, Vec<Layer>> {
        let mut missing: BTreeMap<Vec<u32>, Vec<Layer>> = BTreeMap::new();
        for &layer in layers {
            let lacks = |offset: &u32| !self.cells.contains_key(&(model, condition, layer, *offset));
            let offsets: Vec<u32> = revision.spec.offsets.iter().copied().filter(lacks).collect();
            if !offsets.is_empty() {
                missing.entry(offsets).or_default().push(layer);
            }
        }
        missing
    }

    /// Adds a unit, unless an earlier revision has it.
    fn add(&mut self, planned: (UnitSpec, Place), revision: &Revision<'_>, rows: (usize, usize), cost: Cost, title: String) -> UnitKey {
        let (spec, place) = planned;
        let key = spec.key();
        if self.units.contains_key(&key) {
            return key;
        }
        let token_budget = revision.spec.execution.token_budget;
        let hints = Hints { model: None, dataset: self.dataset, rows, token_budget, flops: cost.flops, title };
        self.units.insert(key, PlannedUnit { unit: Unit { spec, hints }, place, tokens: cost.tokens, bytes: cost.bytes });
        self.order.push(key);
        key
    }

    fn baselines(&mut self, revision: &Revision<'_>, axes: &Axes) {
        for baseline in [Baseline::Majority, Baseline::BagOfWords] {
            if revision.spec.baselines.contains(&baseline) {
                let unit = UnitSpec::Fit(axes.baseline(baseline, self.rows));
                let cost = self.costs.baseline(baseline);
                let title = format!("fit {}", baseline.name());
                self.add((unit, Place::Baseline(baseline)), revision, (0, self.rows.rows.len()), cost, title);
            }
        }
    }

    fn extracts(&mut self, part: &Part<'_>, reading: &Reading) -> Vec<UnitKey> {
        let facts = self.models[part.model].clone();
        let condition = self.conditions[part.condition].clone();
        let (rows, size) = (self.rows, rows_per_unit(part.revision.spec, reading, &facts));
        let shards = self.shards.entry(size).or_insert_with(|| shards(rows, size)).clone();
        let add = |(range, identity)| {
            let unit = part.axes.extract(part.revision.spec, reading, &facts, condition.prompt(), identity);
            let cost = self.costs.extract(&facts, &unit, range);
            let title = format!("extract {} {} rows {}..{}", facts.name, condition.name, range.0, range.1);
            let place = Place::Extract { model: part.model, condition: part.condition, rows: range };
            self.add((UnitSpec::Extract(unit), place), part.revision, range, cost, title)
        };
        shards.into_iter().map(add).collect()
    }

    fn fits(&mut self, part: &Part<'_>, reading: &Reading, extracts: &[UnitKey]) {
        for &layer in &part.layers {
            let units =
                if part.revision.spec.probes.is_empty() { extracts.to_vec() } else { vec![self.fit(part, reading, extracts, layer)] };
            for &offset in &part.offsets {
                self.cells.insert((part.model, part.condition, layer, offset), units.clone());
            }
        }
    }

    fn fit(&mut self, part: &Part<'_>, reading: &Reading, extracts: &[UnitKey], layer: Layer) -> UnitKey {
        let unit = part.axes.fit(reading, extracts, layer);
        let facts = &self.models[part.model];
        let cost = self.costs.fit(&unit, facts.architecture.hidden);
        let title = format!("fit {} {} layer {layer}", facts.name, self.conditions[part.condition].name);
        let place = Place::Fit { model: part.model, condition: part.condition, layer };
        self.add((UnitSpec::Fit(unit), place), part.revision, (0, self.rows.rows.len()), cost, title)
    }

    fn zero_shot(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for range in zero_shot::shards(self.rows, axes.rows_per_prompt_unit) {
            let texts = Rows::texts_digest(&self.rows.rows[range.0..range.1]);
            let unit = zero_shot::unit(revision.spec, &self.rows.classes, &facts, texts, range)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let title = format!("prompt {} rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Prompt { model, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }
}
