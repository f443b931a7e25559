//! The plan in the making: cells and units, revision by revision.

mod asked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limbic_proto::axis::Layer;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Rows;
use limbic_proto::spec::{Activations, Baseline, Condition, Execution, Prompt, Spec, TEXT, Transfer};
use limbic_proto::unit::{Hints, Unit, UnitSpec, Versions};

use super::axes::{Axes, Cut, Draw, Reading, Shard};
use super::estimate::{Cost, Costs, Estimate};
use super::{Cell, ModelFacts, Place, Plan, PlanError, PlannedUnit, Revision};

/// A cell's model, condition, layer, offset, and the seed of its replies.
type CellPlace = (usize, usize, Layer, u32, Option<u64>);

/// A plan in the making.
pub(super) struct Planner<'a> {
    rows: &'a Rows,
    versions: Versions,
    /// The rows cut into shards, by how they are cut.
    shards: BTreeMap<Cut, Vec<Shard>>,
    /// The rows artifact's name.
    dataset: Digest,
    costs: Costs,
    models: Vec<ModelFacts>,
    conditions: Vec<Condition>,
    layers: Vec<BTreeSet<Layer>>,
    /// The units that each (model, condition, layer, offset) needs; beyond the prompt by the seed of the replies.
    cells: BTreeMap<CellPlace, Vec<UnitKey>>,
    /// The seed of the first replies that each (model, condition) draws.
    drawn: BTreeMap<(usize, usize), u64>,
    /// Where each (model, layer, condition) is fitted at offset 0, for others to use.
    fitted: BTreeMap<(usize, Layer, usize), Fitted>,
    /// The (model, layer, from, to) that probes are transferred between.
    transferred: BTreeSet<(usize, Layer, usize, usize)>,
    /// The (judge, model, condition) whose replies are judged, by the seed of the replies.
    judged: BTreeSet<(usize, usize, usize, Option<u64>)>,
    /// The extract units whose replies the first judge of a (model, condition, seed) was given, for further judges.
    replies: BTreeMap<(usize, usize, Option<u64>), Vec<UnitKey>>,
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

/// What is being planned: a model and a condition by their places in the plan, whose replies, and the cells that are missing.
struct Part<'a> {
    revision: &'a Revision<'a>,
    axes: &'a Axes,
    model: usize,
    condition: usize,
    draw: Option<Draw>,
    layers: Vec<Layer>,
    offsets: Vec<u32>,
}

impl Part<'_> {
    /// Whose replies they are, in titles: said where there are several seeds.
    fn drawn(&self) -> String {
        let several = |draw: &Draw| draw.further || self.axes.sampling_seeds.len() > 1;
        self.draw.filter(several).map_or_else(String::new, |draw| format!(" sampling seed {}", draw.seed))
    }

    fn sampling_seed(&self) -> Option<u64> {
        self.draw.map(|draw| draw.seed)
    }
}

/// The most cells of a sweep: planning them takes a minute and some gigabytes of memory.
const MOST_CELLS: usize = 10_000_000;

impl<'a> Planner<'a> {
    pub fn new(rows: &'a Rows, versions: Versions) -> Planner<'a> {
        Planner {
            rows,
            versions,
            shards: BTreeMap::new(),
            dataset: rows.digest(),
            costs: Costs::new(rows),
            models: Vec::new(),
            conditions: Vec::new(),
            layers: Vec::new(),
            cells: BTreeMap::new(),
            drawn: BTreeMap::new(),
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
    pub fn revision(&mut self, revision: &Revision<'_>) -> Result<(), PlanError> {
        let axes = Axes::new(revision.spec, self.rows, revision.models, self.versions)?;
        let layers: usize = axes.layers.iter().map(Vec::len).sum();
        let cells = [revision.spec.conditions.len(), revision.spec.offsets.len(), axes.sampling_seeds.len()];
        let cells = cells.iter().fold(layers, |all, more| all.saturating_mul(*more));
        if cells > MOST_CELLS {
            return Err(PlanError::TooManyCells { cells });
        }
        let models = revision.models.iter().map(|facts| self.model(facts)).collect::<Result<Vec<_>, _>>()?;
        let conditions = revision.spec.conditions.iter().map(|c| self.condition(c)).collect::<Result<Vec<_>, _>>()?;
        let execution = &revision.spec.execution;
        (self.priority, self.weight, self.activations) = (execution.priority, execution.weight, execution.activations);
        self.baselines(revision, &axes);
        let judges = revision.spec.judge.as_ref().map_or_else(Vec::new, |asked| self.judges(asked, revision, &models));
        let several = revision.spec.judge.as_ref().is_some_and(|asked| asked.models.is_some());
        for (index, &model) in models.iter().enumerate() {
            self.layers[model].extend(&axes.layers[index]);
            let trained = self.models[model].random_weights.is_none();
            let judges = if trained { &judges[..] } else { &[] };
            for (&condition, &seed) in conditions.iter().flat_map(|condition| axes.sampling_seeds.iter().map(move |seed| (condition, seed)))
            {
                let part = |draw, (offsets, layers)| Part { revision, axes: &axes, model, condition, draw, layers, offsets };
                // Judges that `judge.models` names judge the same replies: those that an earlier revision had judged.
                if let Some(replies) = self.replies.get(&(model, condition, seed)).filter(|_| several).cloned() {
                    let part = part(self.draw(model, condition, seed), Default::default());
                    let judges = self.unjudged(&part, judges);
                    self.judgements(&part, &judges, &replies)?;
                }
                let mut missing: Vec<_> = self.missing(revision, &axes.layers[index], model, condition, seed).into_iter().collect();
                // Replies of a further seed may be judged and not read.
                if missing.is_empty() && self.draw(model, condition, seed).is_some_and(|draw| draw.further) {
                    missing.push(Default::default());
                }
                for cells in missing {
                    let part = part(self.draw(model, condition, seed), cells);
                    self.part(&part, judges)?;
                }
            }
            if trained {
                self.of_model(revision, &axes, model)?;
            }
        }
        Ok(())
    }

    /// Whose replies a part of the plan reads, where any are drawn.
    fn draw(&self, model: usize, condition: usize, seed: Option<u64>) -> Option<Draw> {
        let first = self.drawn.get(&(model, condition)).copied();
        seed.map(|seed| Draw { seed, further: first.is_some_and(|first| first != seed) })
    }

    /// One part's units.
    fn part(&mut self, part: &Part<'_>, judges: &[usize]) -> Result<(), PlanError> {
        let judges = self.unjudged(part, judges);
        if part.offsets.is_empty() && judges.is_empty() {
            return Ok(());
        }
        let reading = part.axes.reading(part.revision.spec, &part.layers, &part.offsets, !judges.is_empty(), part.draw);
        if let Some(seed) = reading.sampling_seed() {
            self.drawn.entry((part.model, part.condition)).or_insert(seed);
        }
        let extracts = self.extracts(part, &reading);
        self.judgements(part, &judges, &extracts)?;
        self.fits(part, &reading, extracts);
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
        let cells: Vec<Cell> = cells
            .map(|((model, condition, layer, offset, sampling_seed), units)| Cell { model, layer, condition, offset, sampling_seed, units })
            .collect();
        Plan {
            estimate: Estimate::of(cells.len() as u64, self.costs.rows(), self.models.len(), self.units.values()),
            models: self.models,
            layers: self.layers.into_iter().map(|layers| layers.into_iter().collect()).collect(),
            conditions: self.conditions,
            cells,
            units: self.units,
            order: self.order,
            priority: self.priority,
            weight: self.weight,
            activations: self.activations,
            versions: self.versions,
        }
    }

    /// A model's place in the plan: the same weights keep their place and name.
    fn model(&mut self, facts: &ModelFacts) -> Result<usize, PlanError> {
        if let Some(at) = self.models.iter().position(|known| known.identity() == facts.identity()) {
            self.models[at].source.clone_from(&facts.source);
            return Ok(at);
        }
        if self.models.iter().any(|known| known.name == facts.name) {
            return Err(PlanError::OtherModel { model: facts.name.clone() });
        }
        self.models.push(facts.clone());
        self.layers.push(BTreeSet::new());
        Ok(self.models.len() - 1)
    }

    /// A condition's place in the plan: the same prompt keeps its place and name.
    fn condition(&mut self, condition: &Condition) -> Result<usize, PlanError> {
        if let Some(at) = self.conditions.iter().position(|known| known.prompt() == condition.prompt()) {
            return Ok(at);
        }
        if self.conditions.iter().any(|known| known.name == condition.name) {
            return Err(PlanError::OtherCondition { condition: condition.name.clone() });
        }
        self.conditions.push(condition.clone());
        Ok(self.conditions.len() - 1)
    }

    /// The cells that no earlier revision has: layers that lack the same offsets together, for one pass yields them all.
    fn missing(
        &self,
        revision: &Revision<'_>,
        layers: &[Layer],
        model: usize,
        condition: usize,
        seed: Option<u64>,
    ) -> BTreeMap<Vec<u32>, Vec<Layer>> {
        let mut missing: BTreeMap<Vec<u32>, Vec<Layer>> = BTreeMap::new();
        for &layer in layers {
            let lacks = |offset: &u32| !self.cells.contains_key(&(model, condition, layer, *offset, seed.filter(|_| *offset > 0)));
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
        let unit = Unit { spec, hints };
        self.units.insert(key, PlannedUnit { unit, place, tokens: cost.tokens, bytes: cost.bytes, state_bytes: cost.state_bytes });
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

    /// The rows cut into shards.
    fn shards(&mut self, cut: Cut) -> Vec<Shard> {
        let rows = self.rows;
        self.shards.entry(cut).or_insert_with(|| cut.shards(rows)).clone()
    }

    fn extracts(&mut self, part: &Part<'_>, reading: &Reading) -> Vec<UnitKey> {
        let facts = self.models[part.model].clone();
        let condition = self.conditions[part.condition].clone();
        let shards = self.shards(Cut::of(part.revision.spec, reading, &facts));
        let add = |shard: Shard| {
            let range = shard.range;
            let unit = part.axes.extract(part.revision.spec, reading, &facts, condition.prompt(), &shard);
            let cost = self.costs.extract(&facts, &unit, range);
            let title = format!("extract {} {}{} rows {}..{}", facts.name, condition.name, part.drawn(), range.0, range.1);
            let place =
                Place::Extract { model: part.model, condition: part.condition, sampling_seed: reading.sampling_seed(), rows: range };
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
                let seed = part.draw.filter(|_| offset > 0).map(|draw| draw.seed);
                self.cells.insert((part.model, part.condition, layer, offset, seed), units.clone());
            }
        }
    }

    fn fit(&mut self, part: &Part<'_>, reading: &Reading, extracts: &[UnitKey], layer: Layer) -> UnitKey {
        let unit = part.axes.fit(reading, extracts, layer);
        let facts = &self.models[part.model];
        let cost = self.costs.fit(&unit, facts.architecture.hidden);
        let title = format!("fit {} {}{} layer {layer}", facts.name, self.conditions[part.condition].name, part.drawn());
        let sampling_seed = reading.sampling_seed().filter(|_| part.offsets.iter().any(|offset| *offset > 0));
        let carried = reading.carried;
        let place = Place::Fit { model: part.model, condition: part.condition, layer, sampling_seed, carried };
        self.add((UnitSpec::Fit(unit), place), part.revision, (0, self.rows.rows.len()), cost, title)
    }

    /// Probes of every condition on the states of every other, where they are not transferred yet.
    fn transfers(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize) {
        let here = self.fitted.range((model, Layer::Block(0), 0)..=(model, Layer::Final, usize::MAX));
        let mut by_layer: BTreeMap<Layer, Vec<(usize, &Fitted)>> = BTreeMap::new();
        let mut units = Vec::new();
        here.for_each(|((_, layer, condition), fitted)| by_layer.entry(*layer).or_default().push((*condition, fitted)));
        let reading = axes.reading(revision.spec, &[], &[0], false, None);
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
        // Its probe may be one that needs all states: of one vector a row they are few.
        let stored = Execution { activations: Activations::Keep, ..revision.spec.execution.clone() };
        let spec = Spec { execution: stored, ..revision.spec.clone() };
        let mut extracts = Vec::new();
        for shard in self.shards(Cut::of(&spec, &reading, &facts)) {
            let range = shard.range;
            let unit = axes.extract(revision.spec, &reading, &facts, Prompt::Template(TEXT.to_owned()), &shard);
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
}
