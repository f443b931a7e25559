//! What one unit takes of whoever computes it: seconds of a GPU or a processor, requests and bytes of the store.
//!
//! Requests are counted as the worker makes them: see `worker/src/session/attempt.rs`, `worker/src/inputs` and
//! `proto/store/src/store.rs`.

use std::collections::BTreeSet;

use limbic_core::plan::{ModelFacts, Place, Plan, PlannedUnit};
use limbic_proto::axis::Context;
use limbic_proto::key::Digest;
use limbic_proto::spec::{Dtype, ProbeSpec};
use limbic_proto::unit::{Asking, Features, UnitKind, UnitSpec};

use super::rates::Rates;

/// Bytes of a part of an upload; smaller objects are written at once, and smaller states are read whole.
const PART: f64 = (16 << 20) as f64;
/// Parts of an upload that are on their way at once.
const IN_FLIGHT: f64 = 4.0;
/// Reads of several shards that are under way at once, and the bytes that they may have together.
const AT_ONCE: f64 = 16.0;
const WINDOW: f64 = (64 << 20) as f64;
/// Requests of a judge beyond its replies: looking for verdicts and leaving them (docs/architecture.md).
const VERDICTS: f64 = 2.2;
/// Bytes of states that are fitted on side by side.
const SIDE_BY_SIDE: f64 = (512 << 20) as f64;
/// Bytes of states for each second of computing up to which finished blocks are kept.
const WORTH: f64 = 20e6;
/// Seconds of computing that are worth keeping.
const BLOCK: f64 = 5.0;

/// What a unit takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Its kind.
    pub kind: UnitKind,
    /// The model that must be in memory, and the bytes of its weights.
    pub model: Option<(Digest, f64)>,
    /// Seconds of computing.
    pub seconds: f64,
    /// Whether it is a GPU that computes.
    pub gpu: bool,
    /// Reads of the store (objects, ranges, lengths) before and while it computes.
    pub gets: f64,
    /// Answers that are waited for one after the other: fewer than there are reads, where shards are read several at once.
    turns: f64,
    /// Folders listed.
    pub lists: f64,
    /// Bytes read.
    pub read: f64,
    /// Writes when it has computed.
    pub puts: f64,
    /// Reads when it has computed.
    pub closing_gets: f64,
    /// Bytes written.
    pub written: f64,
    /// Those of them that are hidden states, which may be released.
    pub states: f64,
    /// Bytes of states of all rows at one read-out, which a fit has in memory at once.
    pub held: f64,
    /// How many times a fit goes on to the next read-outs that fit into memory together.
    batches: f64,
}

impl Work {
    /// What a unit of a plan over so many rows takes.
    pub fn of(planned: &PlannedUnit, plan: &Plan, rates: &Rates) -> Work {
        let spec = &planned.unit.spec;
        let runs = match &planned.place {
            Place::Judge { judge, .. } => Some(*judge),
            Place::Fit { .. } | Place::Transfer { .. } | Place::Baseline { .. } => None,
            place => place.model(),
        };
        let model = runs.map(|model| &plan.models[model]);
        let gpu = model.is_some_and(|model| model.dtype == Dtype::Bf16);
        let bytes = planned.bytes as f64;
        let mut work = Work {
            kind: spec.kind(),
            model: model.map(|model| (model.digest, weights(model))),
            seconds: if gpu { passes(planned, rates) } else { planned.unit.hints.flops / (rates.gflops * 1e9) },
            gpu,
            // Whether its commit stands: the coordinator asks before it grants, the worker before it begins.
            gets: 2.0,
            turns: 2.0,
            lists: 0.0,
            read: 0.0,
            // Commit and log.
            puts: 2.0,
            // Whether its commit stands meanwhile.
            closing_gets: 1.0,
            written: bytes,
            states: 0.0,
            held: 0.0,
            batches: 1.0,
        };
        match spec {
            UnitSpec::Extract(unit) => {
                let width = model.map_or(0, |model| model.architecture.bytes_per_state());
                work.states = (unit.rows.count * unit.layers.len() * unit.read_outs.len()) as f64 * width as f64;
                work.lists = 1.0;
                work.artifacts(&[work.states, bytes - work.states]);
            }
            UnitSpec::Fit(unit) => {
                if let Features::States { extracts, .. } = &unit.features {
                    let twice = unit.probes.iter().any(|probe| matches!(probe, ProbeSpec::OffsetMlp(_)));
                    work.reads_states(planned, plan, extracts, unit.read_outs.len(), if twice { 2.0 } else { 1.0 });
                    // What earlier attempts have kept.
                    work.lists = 1.0;
                }
                let parts = if unit.geometry { 4 } else { 3 };
                work.artifacts(&vec![bytes / f64::from(parts); parts as usize]);
            }
            UnitSpec::Transfer(unit) => {
                work.reads_states(planned, plan, &unit.extracts, unit.read_outs.len(), 1.0);
                // Commit, records and weights of each fit.
                work.gets += 3.0 * unit.fits.len() as f64;
                work.turns += 3.0 * unit.fits.len() as f64;
                work.artifacts(&[bytes, 0.0]);
            }
            UnitSpec::Judge(unit) => {
                work.gets += 1.0 + VERDICTS;
                work.turns += 1.0 + VERDICTS;
                work.read = plan.units.get(&unit.replies).map_or(0.0, |replies| tokens_bytes(replies, plan));
                work.artifacts(&[bytes]);
            }
            UnitSpec::Prompt(_) => work.artifacts(&[bytes]),
        }
        work
    }

    /// Uploads of artifacts of these sizes, and whether each is there then.
    fn artifacts(&mut self, sizes: &[f64]) {
        for size in sizes {
            // A large one is begun, written in parts and completed.
            self.puts += if *size > PART { (size / PART).ceil() + 2.0 } else { 1.0 };
            self.closing_gets += 1.0;
        }
    }

    /// Reads of one layer's states of all shards, so many times.
    fn reads_states(&mut self, planned: &PlannedUnit, plan: &Plan, extracts: &[Digest], read_outs: usize, times: f64) {
        let shards = extracts.len() as f64;
        let Some(model) = planned.place.model() else { return };
        self.held = (plan.estimate.rows * plan.models[model].architecture.bytes_per_state()) as f64;
        self.read += times * self.held * read_outs as f64;
        self.batches = (read_outs as f64 / self.side_by_side()).ceil();
        let first = extracts.first().and_then(|shard| plan.units.get(shard));
        let Some(UnitSpec::Extract(shard)) = first.map(|planned| &planned.unit.spec) else { return };
        if let Some(first) = first.filter(|first| first.bytes as f64 <= PART) {
            // Commit and states, whole.
            self.gets += 2.0 * shards;
            self.turns += shards / AT_ONCE + shards / at_once(first.bytes as f64);
            return;
        }
        let contexts: BTreeSet<Context> = shard.read_outs.iter().filter(|r| r.offset > 0).map(|r| r.context).collect();
        // As many read-outs as go side by side are neighbours in the file: one range.
        let side_by_side = self.side_by_side();
        let ranges = (read_outs as f64 / side_by_side).ceil() + (times - 1.0) * read_outs as f64;
        // Commit, header, the lengths of prompts and of what follows them, and the ranges.
        let (small, large) = (3.0 + contexts.len() as f64, self.held / shards.max(1.0) * side_by_side.min(read_outs as f64));
        self.gets += shards * (small + ranges);
        self.turns += shards * (small / AT_ONCE + ranges / at_once(large));
    }

    /// Read-outs that are fitted on side by side.
    fn side_by_side(&self) -> f64 {
        (SIDE_BY_SIDE / self.held.max(1.0)).floor().max(1.0)
    }

    /// Seconds of reading what it needs, and waiting for answers.
    pub fn fetching(&self, rates: &Rates) -> f64 {
        (self.turns + self.lists) * rates.answer() + rates.passing(self.read)
    }

    /// Seconds of loading its model.
    pub fn loading(&self, rates: &Rates) -> f64 {
        self.model.map_or(0.0, |(_, bytes)| rates.passing(bytes))
    }

    /// Seconds of publishing it, while the worker computes something else.
    pub fn publishing(&self, rates: &Rates) -> f64 {
        (self.puts / IN_FLIGHT + self.closing_gets) * rates.answer() + rates.passing(self.written)
    }

    /// Seconds from grant to commit on a worker that must load the model.
    pub fn longest(&self, rates: &Rates) -> f64 {
        self.fetching(rates) + self.loading(rates) + self.seconds + self.publishing(rates)
    }

    /// Seconds of computing after each of which what a worker has finished outlives it, if anything does: blocks of passes, and what is
    /// fitted side by side.
    pub fn kept_each(&self) -> Option<f64> {
        match self.kind {
            UnitKind::Extract => (self.states <= WORTH * self.seconds).then_some(BLOCK),
            UnitKind::Fit => Some((self.seconds / self.batches).max(BLOCK)),
            _ => None,
        }
    }
}

/// Bytes of a model's weights.
fn weights(model: &ModelFacts) -> f64 {
    (model.architecture.parameters() * model.dtype.bytes()) as f64
}

/// How many reads of so many bytes are under way at once.
fn at_once(bytes: f64) -> f64 {
    (WINDOW / bytes.max(1.0)).floor().clamp(1.0, AT_ONCE)
}

/// Bytes of an extract unit beside its states.
fn tokens_bytes(planned: &PlannedUnit, plan: &Plan) -> f64 {
    match (&planned.unit.spec, planned.place.model()) {
        (UnitSpec::Extract(unit), Some(model)) => {
            let states = (unit.rows.count * unit.layers.len() * unit.read_outs.len()) as u64;
            planned.bytes.saturating_sub(states * plan.models[model].architecture.bytes_per_state()) as f64
        }
        _ => 0.0,
    }
}

/// Seconds that a GPU runs a model. Tokens that it writes come one after the other: for each, all weights are read once for
/// all rows that are run together, two operations for every two bytes of them and row.
fn passes(planned: &PlannedUnit, rates: &Rates) -> f64 {
    let (flops, budget) = (planned.unit.hints.flops, planned.unit.hints.token_budget as f64);
    let read = rates.gpu_tflops * 1e12;
    let (rows, written, beside) = match &planned.unit.spec {
        UnitSpec::Extract(unit) => {
            let asked = unit.continuation.as_ref();
            let reply = asked.and_then(|c| c.tokens).unwrap_or(0) as f64;
            let contexts: BTreeSet<Context> = unit.read_outs.iter().map(|r| r.context).filter(|c| *c != Context::Full).collect();
            let generated = asked.is_some_and(|c| c.instead().is_none());
            (unit.rows.count, if generated { reply } else { 0.0 }, contexts.len() as f64 * reply)
        }
        UnitSpec::Prompt(unit) => match unit.asking {
            Asking::Answer { tokens } => (unit.rows.count, f64::from(tokens), 0.0),
            Asking::Likelihood => (unit.rows.count, 0.0, 0.0),
        },
        UnitSpec::Judge(_) | UnitSpec::Fit(_) | UnitSpec::Transfer(_) => return flops / read,
    };
    let each = planned.tokens as f64 / rows.max(1) as f64;
    let share = (written / each.max(1.0)).clamp(0.0, 1.0);
    let together = (limbic_engine::DECODING as f64 * budget / (each - beside).max(1.0)).clamp(1.0, rows.max(1) as f64);
    flops * (1.0 - share) / read + flops * share / read.min(together * rates.gpu_memory * 1e12)
}
