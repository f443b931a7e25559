//! The axes of a spec resolved against rows and models, in the one spelling that unit keys hold.

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::{Rows, Scheme};
use limbic_proto::spec::{Activations, Continuation, Control, LogisticSpec, ProbeSpec, Prompt, RidgeSpec, Spec, Transfer};
use limbic_proto::unit::{ExtractUnit, Features, FitUnit, RowsIdentity, TransferUnit, Versions, bag_of_words_probe};

use super::{ModelFacts, PlanError};

/// Everything that units are put together from.
pub(super) struct Axes {
    /// Each model's layers, ascending.
    pub layers: Vec<Vec<Layer>>,
    /// Rows per `prompt` unit.
    pub rows_per_prompt_unit: usize,
    /// The seeds of sampling, in the spec's order; one of none where nothing is drawn.
    pub sampling_seeds: Vec<Option<u64>>,
    probes: Vec<ProbeSpec>,
    seeds: Vec<u64>,
    /// Those controls that need the same states as their probe.
    controls: Vec<Control>,
    transfer: bool,
    geometry: bool,
    scheme: Scheme,
    targets: Digest,
    repeated: bool,
    /// Those of the units.
    pub versions: Versions,
}

/// Whose replies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw {
    /// The seed of sampling.
    pub seed: u64,
    /// Whether what doesn't depend on it is read beside the replies of another seed.
    pub further: bool,
}

/// What is read in the same passes: some layers at some offsets.
pub(super) struct Reading {
    layers: Vec<Layer>,
    read_outs: Vec<ReadOut>,
    continuation: Option<Continuation>,
    /// Whether offset 0 is read for what is carried on from it alone.
    pub carried: bool,
    /// Read-outs by which shards are sized: those of the first seed, whose shards they are.
    sized_by: usize,
}

impl Axes {
    pub fn new(spec: &Spec, rows: &Rows, models: &[ModelFacts], versions: Versions) -> Result<Axes, PlanError> {
        let layers = models.iter().map(|model| layers(spec, model)).collect::<Result<_, _>>()?;
        let mut probes = spec.probes.clone();
        probes.sort_by_key(ProbeSpec::name);
        let mut controls: Vec<Control> = spec.controls.iter().copied().filter(|c| *c != Control::RandomWeights).collect();
        controls.sort_unstable();
        Ok(Axes {
            layers,
            rows_per_prompt_unit: spec.execution.rows_per_unit.unwrap_or(ROWS).max(1),
            sampling_seeds: match spec.continuation.as_ref().filter(|c| c.sampled()) {
                Some(drawn) => drawn.sampling_seeds().into_iter().map(Some).collect(),
                None => vec![None],
            },
            seeds: seeds(spec, &probes, &controls),
            probes,
            controls,
            transfer: spec.transfer.contains(&Transfer::Offsets),
            geometry: spec.geometry,
            scheme: rows.scheme,
            targets: rows.targets_digest(),
            repeated: rows.repeat(),
            versions,
        })
    }

    /// Those layers at those of the spec's offsets, with the continuation that they need; a whole one where it is judged.
    pub fn reading(&self, spec: &Spec, layers: &[Layer], offsets: &[u32], judged: bool, draw: Option<Draw>) -> Reading {
        let at = |offsets: &[u32]| Spec { offsets: offsets.to_vec(), ..spec.clone() }.read_outs().into_iter().collect::<BTreeSet<_>>();
        let mut read_outs = at(offsets);
        let mut sized_by = read_outs.len();
        let further = draw.is_some_and(|draw| draw.further);
        let carried = further && self.carries(spec, offsets);
        if further {
            if every_reply(spec, offsets) {
                sized_by = at(&spec.offsets).len();
            }
            read_outs.retain(|read_out| read_out.context != Context::Filler);
            read_outs.extend(carried.then_some(ReadOut::LAST));
        }
        let largest = if judged { &spec.offsets } else { offsets }.iter().copied().max().unwrap_or(0);
        let needed = spec.continuation.as_ref().filter(|_| judged || largest > 0);
        let continuation = needed.map(|c| continuation(c, largest, draw.map(|draw| draw.seed)));
        Reading { layers: layers.to_vec(), read_outs: read_outs.into_iter().collect(), continuation, carried, sized_by }
    }

    /// Whether the replies of a further seed need offset 0 beside them: for probes that are fitted there and carried on, and
    /// for networks that are fitted to all offsets.
    fn carries(&self, spec: &Spec, offsets: &[u32]) -> bool {
        let wanted = self.transfer || self.probes.iter().any(|probe| matches!(probe, ProbeSpec::OffsetMlp(_)));
        wanted && !offsets.contains(&0) && every_reply(spec, offsets) && spec.read_outs().contains(&ReadOut::LAST)
    }

    pub fn extract(&self, spec: &Spec, reading: &Reading, model: &ModelFacts, prompt: Prompt, rows: &Shard) -> ExtractUnit {
        ExtractUnit {
            version: self.versions.engine,
            model: model.identity(),
            prompt,
            rows: rows.identity.clone(),
            layers: reading.layers.clone(),
            read_outs: reading.read_outs.clone(),
            continuation: reading.continuation.clone(),
            too_long: spec.too_long,
            bad_rows: spec.bad_rows,
            moments: rows.moments,
        }
    }

    pub fn fit(&self, reading: &Reading, extracts: &[UnitKey], layer: Layer) -> FitUnit {
        FitUnit {
            version: self.versions.fit(&self.probes, self.repeated),
            features: Features::States { extracts: extracts.to_vec(), layer },
            targets: self.targets,
            read_outs: reading.read_outs.clone(),
            probes: self.probes.clone(),
            seeds: self.seeds.clone(),
            controls: self.controls.clone(),
            transfer: self.transfer && reading.read_outs.contains(&ReadOut::LAST) && reading.read_outs.len() > 1,
            geometry: self.geometry && !reading.carried && reading.read_outs.iter().any(|read_out| read_out.offset == 0),
        }
    }

    /// The probes of these fit units on the states of these extract units, where they were fitted at offset 0.
    pub fn transfer(&self, fits: Vec<UnitKey>, extracts: &[UnitKey], layer: Layer, reading: &Reading) -> TransferUnit {
        TransferUnit {
            version: self.versions.probe,
            fits,
            extracts: extracts.to_vec(),
            layer,
            targets: self.targets,
            read_outs: reading.at_zero(),
        }
    }

    /// How many probes there are at one read-out, each seed's by itself.
    pub fn fits_per_read_out(&self) -> usize {
        self.probes.iter().map(|probe| if probe.seeded() { self.seeds.len() } else { 1 }).sum()
    }

    fn plain(&self, features: Features, read_outs: Vec<ReadOut>, probes: Vec<ProbeSpec>) -> FitUnit {
        FitUnit {
            version: self.versions.fit(&probes, self.repeated),
            features,
            targets: self.targets,
            read_outs,
            probes,
            seeds: vec![0],
            controls: Vec::new(),
            transfer: false,
            geometry: false,
        }
    }

    /// The bag-of-words baseline.
    pub fn bag_of_words(&self, rows: &Rows) -> FitUnit {
        let features = Features::BagOfWords { texts: Rows::texts_digest(&rows.rows) };
        self.plain(features, Vec::new(), vec![bag_of_words_probe(self.scheme)])
    }

    /// The baseline that knows nothing.
    pub fn majority(&self) -> FitUnit {
        self.plain(Features::Majority, Vec::new(), Vec::new())
    }

    /// What the baseline on mean embeddings reads.
    pub fn embeddings() -> Reading {
        let read_out = ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST };
        Reading { layers: vec![Layer::Block(0)], read_outs: vec![read_out], continuation: None, carried: false, sized_by: 1 }
    }

    /// The baseline on mean embeddings: the spec's own logistic (or ridge) probe where it has one.
    pub fn mean_embedding(&self, extracts: &[UnitKey]) -> FitUnit {
        let Reading { layers, read_outs, .. } = Axes::embeddings();
        let linear = |probe: &&ProbeSpec| match probe {
            ProbeSpec::Logistic(_) => true,
            ProbeSpec::Ridge(_) => matches!(self.scheme, Scheme::Intensity | Scheme::Continuous),
            _ => false,
        };
        let probe = self.probes.iter().find(linear).cloned().unwrap_or_else(|| match self.scheme {
            Scheme::Single | Scheme::Multi => ProbeSpec::Logistic(LogisticSpec::default()),
            Scheme::Intensity | Scheme::Continuous => ProbeSpec::Ridge(RidgeSpec::default()),
        });
        self.plain(Features::States { extracts: extracts.to_vec(), layer: layers[0] }, read_outs, vec![probe])
    }
}

impl Reading {
    /// The read-outs at offset 0.
    pub fn at_zero(&self) -> Vec<ReadOut> {
        self.read_outs.iter().copied().filter(|read_out| read_out.offset == 0).collect()
    }

    /// Whether moments take the place of the states of train rows.
    pub fn of_moments(&self, spec: &Spec) -> bool {
        spec.execution.activations == Activations::None && !self.layers.is_empty() && !self.read_outs.is_empty()
    }

    /// The seed of the replies, where any are drawn.
    pub fn sampling_seed(&self) -> Option<u64> {
        self.continuation.as_ref().filter(|c| c.sampled())?.seed
    }
}

/// Most rows of a unit where the spec doesn't say how many: what a dying worker loses stays small.
const ROWS: usize = 512;

/// Bytes of states in a unit where the spec doesn't say how many rows: about what a shard had best have, and what fits
/// into a worker's memory.
const STATES: u64 = 1 << 30;

/// Widths of a state that a unit has rows, where it stores moments and the spec doesn't say how many. Moments take as many bytes
/// as the states of `hidden + 1` rows, so of four times as many (70 % of them train) they take a third of what they replace.
const WIDTHS: usize = 4;

/// How rows are cut into the shards of extract units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    /// Rows of a shard, at most.
    rows: usize,
    /// Whether all have as many rows as one another, give or take one: behind a short last one workers would wait for the others.
    even: bool,
    /// Whether the last one takes what is left over: moments of few rows are larger than their states.
    joined: bool,
    /// Whether moments take the place of the states of train rows.
    moments: bool,
}

/// A shard: a range of rows, what a model sees of them, and what their moments depend on where these are stored.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub range: (usize, usize),
    pub identity: RowsIdentity,
    pub moments: Option<Digest>,
}

impl Cut {
    /// How the rows that are read so are cut.
    pub fn of(spec: &Spec, reading: &Reading, model: &ModelFacts) -> Cut {
        let states = (reading.layers.len() * reading.sized_by).max(1) as u64;
        let fitting = STATES / (states * model.architecture.bytes_per_state()).max(1);
        let (moments, asked) = (reading.of_moments(spec), spec.execution.rows_per_unit);
        // Rows exchange replies within a unit: whom they exchange them with is no matter of what is stored.
        let exchanged = spec.continuation.as_ref().is_some_and(|c| c.controls.contains(&Context::ShuffledReply));
        let joined = moments && asked.is_none() && !exchanged;
        let rows = asked.unwrap_or(if joined { WIDTHS * model.architecture.hidden } else { (fitting as usize).min(ROWS) });
        Cut { rows: rows.max(1), even: asked.is_none() && !joined, joined, moments }
    }

    /// So many rows each, whose states are all stored or none are read.
    pub fn every(rows: usize) -> Cut {
        Cut { rows, even: false, joined: false, moments: false }
    }

    /// All rows, cut.
    pub fn shards(self, rows: &Rows) -> Vec<Shard> {
        let all = rows.rows.len();
        let mut ranges: Vec<(usize, usize)> = match (self.even, all.div_ceil(self.rows)) {
            (true, count) => (0..count).map(|at| (at * all / count, (at + 1) * all / count)).collect(),
            (false, _) => ranges((0, all), self.rows).collect(),
        };
        if self.joined && ranges.len() > 1 && !all.is_multiple_of(self.rows) {
            ranges.pop();
            ranges.last_mut().expect("there was more than one").1 = all;
        }
        let shard = |range: (usize, usize)| {
            let part = &rows.rows[range.0..range.1];
            let identity = RowsIdentity { texts: Rows::texts_digest(part), count: part.len(), part: None };
            Shard { range, identity, moments: self.moments.then(|| rows.moments_digest(range.0..range.1)) }
        };
        ranges.into_iter().map(shard).collect()
    }
}

/// A model's layers, ascending.
fn layers(spec: &Spec, model: &ModelFacts) -> Result<Vec<Layer>, PlanError> {
    let layers = model.architecture.layers as u32;
    spec.layers.resolve(layers).map_err(|layer| PlanError::Layer { model: model.name.clone(), layer, layers })
}

/// Whether those are all of the spec's offsets beyond the prompt, and there are any.
fn every_reply(spec: &Spec, offsets: &[u32]) -> bool {
    let mut beyond = spec.offsets.iter().filter(|offset| **offset > 0).peekable();
    beyond.peek().is_some() && beyond.all(|offset| offsets.contains(offset))
}

/// The continuation with its length filled in, and with one seed: 0 where nothing is drawn.
fn continuation(asked: &Continuation, largest: u32, seed: Option<u64>) -> Continuation {
    Continuation { tokens: Some(asked.tokens.unwrap_or(largest)), seed: Some(seed.unwrap_or(0)), seeds: Vec::new(), ..asked.clone() }
}

/// The seeds, ascending; the smallest alone where nothing but a description length draws from it, and `[0]` where nothing does.
fn seeds(spec: &Spec, probes: &[ProbeSpec], controls: &[Control]) -> Vec<u64> {
    let mut seeds = spec.seeds.clone();
    seeds.sort_unstable();
    seeds.dedup();
    if controls.is_empty() && !probes.iter().any(ProbeSpec::seeded) {
        return if probes.iter().any(ProbeSpec::coded) { vec![seeds[0]] } else { vec![0] };
    }
    seeds
}

/// `within` cut into ranges of `size`, the last one shorter.
pub(super) fn ranges(within: (usize, usize), size: usize) -> impl Iterator<Item = (usize, usize)> {
    (within.0..within.1).step_by(size).map(move |start| (start, (start + size).min(within.1)))
}
