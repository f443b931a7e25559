//! The plan in the making: cells and units, revision by revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limbic_proto::axis::Layer;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Activations, Baseline, Condition, Judge, Judges, Prompt, TEXT, Transfer, Writing};
use limbic_proto::unit::{Hints, RowsIdentity, Unit, UnitSpec};

use super::axes::{Axes, Reading, rows_per_unit, shards};
use super::estimate::{Cost, Costs, Estimate};
use super::{Cell, ModelFacts, Place, Plan, PlanError, PlannedUnit, Revision, questions};

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
    /// Where each (model, layer, condition) is fitted at offset 0, for others to use.
    fitted: BTreeMap<(usize, Layer, usize), Fitted>,
    /// The (model, layer, from, to) that probes are transferred between.
    transferred: BTreeSet<(usize, Layer, usize, usize)>,
    /// The (judge, model, condition) whose replies are judged.
    judged: BTreeSet<(usize, usize, usize)>,
    /// The extract units whose replies the first judge of a (model, condition) was given, for further judges.
    replies: BTreeMap<(usize, usize), Vec<UnitKey>>,
    units: BTreeMap<UnitKey, PlannedUnit>,
    order: Vec<UnitKey>,
    priority: i32,
    weight: f64,
    activations: Activations,
}

/// A fit unit, and the states that it reads.
struct Fitted {
    fit: UnitKey,
    extracts: Vec<UnitKey>,
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
            fitted: BTreeMap::new(),
            transferred: BTreeSet::new(),
            judged: BTreeSet::new(),
            replies: BTreeMap::new(),
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
        let judges = revision.spec.judge.as_ref().map_or_else(Vec::new, |asked| self.judges(asked, revision, &models));
        let several = revision.spec.judge.as_ref().is_some_and(|asked| asked.models.is_some());
        for (index, &model) in models.iter().enumerate() {
            self.layers[model].extend(&axes.layers[index]);
            let trained = self.models[model].random_weights.is_none();
            for &condition in &conditions {
                // Judges that `judge.models` names judge the same replies: those that an earlier revision had judged.
                if let Some(replies) = self.replies.get(&(model, condition)).filter(|_| several).cloned() {
                    let judges = self.unjudged(revision, model, condition, &judges);
                    self.judgements(revision, (model, condition), &judges, &replies)?;
                }
                for (offsets, layers) in self.missing(revision, &axes.layers[index], model, condition) {
                    let part = Part { revision, axes: &axes, model, condition, layers, offsets };
                    let judges = if trained { self.unjudged(revision, model, condition, &judges) } else { Vec::new() };
                    let reading = axes.reading(revision.spec, &part.layers, &part.offsets, !judges.is_empty());
                    let extracts = self.extracts(&part, &reading);
                    self.judgements(revision, (model, condition), &judges, &extracts)?;
                    self.fits(&part, &reading, extracts);
                }
            }
            if trained {
                self.of_model(revision, &axes, model)?;
            }
        }
        Ok(())
    }

    /// What a trained model has beside its cells.
    fn of_model(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize) -> Result<(), PlanError> {
        if revision.spec.transfer.contains(&Transfer::Conditions) {
            self.transfers(revision, axes, model);
        }
        if revision.spec.baselines.contains(&Baseline::MeanEmbedding) {
            self.mean_embedding(revision, axes, model);
        }
        for baseline in [Baseline::ZeroShot, Baseline::ZeroShotJson] {
            if revision.spec.baselines.contains(&baseline) {
                self.zero_shot(revision, axes, model, baseline)?;
            }
        }
        match &revision.spec.writing {
            Some(writing) => self.writing(revision, axes, model, writing),
            None => Ok(()),
        }
    }

    pub fn finish(mut self) -> Plan {
        // Bytes are sought where the last revision says.
        let hints: Vec<_> = self.models.iter().map(|model| Arc::new(model.hint())).collect();
        for planned in self.units.values_mut() {
            let needed = match planned.place {
                Place::Extract { model, .. }
                | Place::Embedding { model, .. }
                | Place::Prompt { model, .. }
                | Place::Writing { model, .. } => Some(model),
                Place::Judge { judge, .. } => Some(judge),
                Place::Fit { .. } | Place::Transfer { .. } | Place::Baseline { .. } => None,
            };
            planned.unit.hints.model = needed.map(|model| hints[model].clone());
        }
        let cells = self.cells.into_iter();
        let cells: Vec<Cell> =
            cells.map(|((model, condition, layer, offset), units)| Cell { model, layer, condition, offset, units }).collect();
        Plan {
            estimate: Estimate::of(cells.len(), self.rows.rows.len(), &self.models, self.units.values()),
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
                let unit = if baseline == Baseline::BagOfWords { axes.bag_of_words(self.rows) } else { axes.majority() };
                let cost = self.costs.baseline(baseline);
                let title = format!("fit {}", baseline.name());
                let place = Place::Baseline { baseline, model: None };
                self.add((UnitSpec::Fit(unit), place), revision, (0, self.rows.rows.len()), cost, title);
            }
        }
    }

    /// The models that judge: those that are named (as the revision names them), or all that are trained, or the largest of these.
    fn judges(&self, asked: &Judge, revision: &Revision<'_>, models: &[usize]) -> Vec<usize> {
        let named = |name: &String| revision.models.iter().position(|facts| facts.name == *name).map(|index| models[index]);
        let trained = models.iter().copied().filter(|model| self.models[*model].random_weights.is_none());
        let size = |model: &usize| (self.models[*model].architecture.parameters(), usize::MAX - *model);
        match (&asked.model, &asked.models) {
            (Some(name), _) => named(name).into_iter().collect(),
            (None, Some(Judges::Named(names))) => names.iter().filter_map(named).collect(),
            (None, Some(Judges::All)) => trained.collect(),
            (None, None) => trained.max_by_key(size).into_iter().collect(),
        }
    }

    /// The rows cut into shards of a size.
    fn shards(&mut self, size: usize) -> Vec<Shard> {
        let rows = self.rows;
        self.shards.entry(size).or_insert_with(|| shards(rows, size)).clone()
    }

    fn extracts(&mut self, part: &Part<'_>, reading: &Reading) -> Vec<UnitKey> {
        let facts = self.models[part.model].clone();
        let condition = self.conditions[part.condition].clone();
        let shards = self.shards(rows_per_unit(part.revision.spec, reading, &facts));
        let add = |(range, identity)| {
            let unit = part.axes.extract(part.revision.spec, reading, &facts, condition.prompt(), identity);
            let cost = self.costs.extract(&facts, &unit, range);
            let title = format!("extract {} {} rows {}..{}", facts.name, condition.name, range.0, range.1);
            let place = Place::Extract { model: part.model, condition: part.condition, rows: range };
            self.add((UnitSpec::Extract(unit), place), part.revision, range, cost, title)
        };
        shards.into_iter().map(add).collect()
    }

    fn fits(&mut self, part: &Part<'_>, reading: &Reading, extracts: Vec<UnitKey>) {
        for &layer in &part.layers {
            let probed = !part.revision.spec.probes.is_empty();
            let units = if probed { vec![self.fit(part, reading, &extracts, layer)] } else { extracts.clone() };
            if probed && part.offsets.contains(&0) {
                let fitted = Fitted { fit: units[0], extracts: extracts.clone() };
                self.fitted.entry((part.model, layer, part.condition)).or_insert(fitted);
            }
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

    /// Probes of every condition on the states of every other, where they are not transferred yet.
    fn transfers(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize) {
        let here = self.fitted.range((model, Layer::Block(0), 0)..=(model, Layer::Final, usize::MAX));
        let mut by_layer: BTreeMap<Layer, Vec<(usize, &Fitted)>> = BTreeMap::new();
        let mut units = Vec::new();
        here.for_each(|((_, layer, condition), fitted)| by_layer.entry(*layer).or_default().push((*condition, fitted)));
        let reading = axes.reading(revision.spec, &[], &[0], false);
        for (layer, fitted) in by_layer {
            for (to, target) in &fitted {
                let new = |(from, _): &&(usize, &Fitted)| from != to && !self.transferred.contains(&(model, layer, *from, *to));
                // In the order of the keys, so that the order of the conditions is in none.
                let fits: BTreeMap<UnitKey, usize> = fitted.iter().filter(new).map(|(from, f)| (f.fit, *from)).collect();
                let (fits, from): (Vec<UnitKey>, Vec<usize>) = fits.into_iter().unzip();
                if !from.is_empty() {
                    units.push((layer, *to, from, axes.transfer(fits, &target.extracts, layer, &reading)));
                }
            }
        }
        for (layer, condition, from, unit) in units {
            self.transferred.extend(from.iter().map(|from| (model, layer, *from, condition)));
            let cost = self.costs.transfer(&unit, axes.fits_per_read_out(), self.models[model].architecture.hidden);
            let title = format!("transfer {} to {} layer {layer}", self.models[model].name, self.conditions[condition].name);
            let place = Place::Transfer { model, condition, layer, from };
            self.add((UnitSpec::Transfer(unit), place), revision, (0, self.rows.rows.len()), cost, title);
        }
    }

    fn mean_embedding(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize) {
        let (facts, reading) = (self.models[model].clone(), Axes::embeddings());
        let mut extracts = Vec::new();
        for (range, identity) in self.shards(rows_per_unit(revision.spec, &reading, &facts)) {
            let unit = axes.extract(revision.spec, &reading, &facts, Prompt::Template(TEXT.to_owned()), identity);
            let cost = self.costs.extract(&facts, &unit, range);
            let title = format!("extract {} embeddings rows {}..{}", facts.name, range.0, range.1);
            let place = Place::Embedding { model, rows: range };
            extracts.push(self.add((UnitSpec::Extract(unit), place), revision, range, cost, title));
        }
        let unit = axes.mean_embedding(&extracts);
        let cost = self.costs.fit(&unit, facts.architecture.hidden);
        let title = format!("fit {} mean-embedding", facts.name);
        let place = Place::Baseline { baseline: Baseline::MeanEmbedding, model: Some(model) };
        self.add((UnitSpec::Fit(unit), place), revision, (0, self.rows.rows.len()), cost, title);
    }

    fn zero_shot(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, baseline: Baseline) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for range in questions::shards(self.rows, axes.rows_per_prompt_unit) {
            let texts = Rows::texts_digest(&self.rows.rows[range.0..range.1]);
            let unit = questions::zero_shot(revision.spec, &self.rows.classes, &facts, baseline, texts, range)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let asked = if baseline == Baseline::ZeroShot { "" } else { " json" };
            let title = format!("prompt {}{asked} rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Prompt { model, baseline, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    fn writing(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, writing: &Writing) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for (range, identity) in self.shards(axes.rows_per_prompt_unit) {
            let unit = questions::writing(revision.spec, writing, &facts, identity)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let title = format!("prompt {} writing rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Writing { model, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    /// Those judges who are to judge a model's replies under a condition, and have not yet.
    fn unjudged(&self, revision: &Revision<'_>, model: usize, condition: usize, judges: &[usize]) -> Vec<usize> {
        // A condition that an earlier revision has under another name is asked for by this revision's.
        let prompt = self.conditions[condition].prompt();
        let names: Vec<&str> = revision.spec.conditions.iter().filter(|c| c.prompt() == prompt).map(|c| c.name.as_str()).collect();
        let wanted = |asked: &Judge| asked.conditions.is_empty() || asked.conditions.iter().any(|name| names.contains(&name.as_str()));
        let wanted = revision.spec.judge.as_ref().is_some_and(wanted);
        judges.iter().copied().filter(|judge| wanted && !self.judged.contains(&(*judge, model, condition))).collect()
    }

    /// Each judge's verdicts on a model's replies under a condition, of shards that have test rows.
    fn judgements(
        &mut self,
        revision: &Revision<'_>,
        (model, condition): (usize, usize),
        judges: &[usize],
        extracts: &[UnitKey],
    ) -> Result<(), PlanError> {
        let Some(asked) = revision.spec.judge.as_ref().filter(|_| !judges.is_empty()) else { return Ok(()) };
        self.replies.entry((model, condition)).or_insert_with(|| extracts.to_vec());
        let name = self.conditions[condition].name.clone();
        for &judge in judges {
            self.judged.insert((judge, model, condition));
            let facts = self.models[judge].clone();
            for replies in extracts {
                let range = self.units[replies].unit.hints.rows;
                if !(range.0..range.1).any(|row| self.rows.rows[row].split == Split::Test) {
                    continue;
                }
                let unit = questions::judge(revision.spec, asked, &self.rows.classes, &facts, *replies)?;
                let tokens = self.units[replies].unit.spec.reply_tokens();
                let cost = self.costs.judge(&facts, &unit, tokens, range);
                let title = format!("judge {} {name} rows {}..{} by {}", self.models[model].name, range.0, range.1, facts.name);
                let place = Place::Judge { judge, model, condition, rows: range };
                self.add((UnitSpec::Judge(unit), place), revision, range, cost, title);
            }
        }
        Ok(())
    }
}
