//! What a sweep computed, for other programs: its rows, the tokens of prompts and replies, written answers, and hidden states as
//! NumPy arrays.
//!
//! All arrays have the rows of `rows.parquet`, in their order; `export.json` says what lies where. Files appear whole or not at all, and
//! arrays of earlier exports of the same sweep stay.

mod index;
mod npy;
mod states;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use limbic_core::plan::Place;
use limbic_core::selector::Selector;
use limbic_proto::commit;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::{ExtractUnit, UnitSpec};
use limbic_store::Store;
use limbic_worker::inputs::{InputError, Shelf};
use limbic_worker::{Advice, Inputs, Progress, Timing};

use crate::chains::Chains;
use crate::collect::{self, CollectError, Corrupt};
use crate::failure::Failure;
use crate::sweep::Sweep;
use index::Index;

/// Which hidden states are wanted.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Those of every cell.
    All,
    /// Those that a selector means.
    Meant(Selector),
}

/// What was written.
#[derive(Debug, Default)]
pub struct Exported {
    /// The files, relative to the folder.
    pub files: Vec<String>,
    /// What is missing, and why.
    pub notes: Vec<String>,
}

/// Bytes of small artifacts that are kept for what is read next of them.
const SHELF: usize = 256 << 20;

/// Writes what is committed of a sweep into a folder. Blocks the thread, which must not be one of tokio's but may use its runtime.
///
/// # Errors
/// The store can't be read, results are not what was committed, no state is meant, or the folder can't be written or has another sweep's
/// export.
pub fn export(store: Store, sweep: &Sweep, chains: &Chains, wanted: &Wanted, out: &Path) -> Result<Exported, Failure> {
    let index = Index::open(out, sweep)?;
    let of_plan = Readings::of(sweep, chains);
    let tensors = states::tensors(sweep, &of_plan.whole, wanted)?;
    let standing = chains.links.iter().filter(|(_, link)| commit::stands(**link));
    let generations: BTreeMap<UnitKey, u32> = standing.map(|(unit, link)| (*unit, commit::generation(*link))).collect();
    // Every request is tried again by the store itself; nobody waits here for one that stays away.
    let timing = Timing { patience: Duration::ZERO, ..Timing::default() };
    let inputs = Inputs::new(store, Arc::new(Shelf::new(SHELF)), tokio::runtime::Handle::current(), timing, Arc::new(Progress::new()));
    let export = Export { sweep, chains, inputs: inputs.in_generations(0, generations), out };

    let mut done = Exported { files: Vec::new(), notes: of_plan.notes };
    export.rows(&mut done)?;
    export.tokens(&of_plan.whole, &mut done)?;
    export.answers(&mut done)?;
    let arrays = export.states(&of_plan.whole, &tensors, &mut done)?;
    index.with(arrays).write(out, &mut done)?;
    Ok(done)
}

/// What is exported, and from where.
struct Export<'a> {
    sweep: &'a Sweep,
    chains: &'a Chains,
    inputs: Inputs,
    out: &'a Path,
}

impl Export<'_> {
    /// Why a result can't be had, for people.
    fn unread(&self, error: InputError) -> Failure {
        match error {
            InputError::Corrupt { unit, generation, message } => {
                CollectError::Corrupt(vec![Corrupt { unit, generation, reason: message }]).explain(self.sweep)
            }
            error if error.advice() == Advice::Leave => Failure::again(error),
            error => Failure::user(error),
        }
    }

    /// Why a file can't be written, for people.
    fn unwritten(&self, file: &str, error: &std::io::Error) -> Failure {
        collect::unwritten(self.out, file, error)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.out.join(file)
    }
}

/// What one pass over all rows reads: a model under a condition, its layers and read-outs.
struct Reading<'a> {
    model: usize,
    condition: usize,
    sampling_seed: Option<u64>,
    /// The unit of the first rows; those of the others differ in their rows alone.
    unit: &'a ExtractUnit,
    /// In the order of the rows.
    extracts: Vec<UnitKey>,
}

/// The readings of a plan.
struct Readings<'a> {
    /// Those all of whose units are done, in the plan's order.
    whole: Vec<Reading<'a>>,
    /// What is said of the others.
    notes: Vec<String>,
}

impl<'a> Readings<'a> {
    fn of(sweep: &'a Sweep, chains: &Chains) -> Readings<'a> {
        let mut all: Vec<(Reading<'a>, Vec<(usize, UnitKey)>)> = Vec::new();
        for key in &sweep.plan.order {
            let planned = &sweep.plan.units[key];
            let (UnitSpec::Extract(unit), Place::Extract { model, condition, sampling_seed, rows }) = (&planned.unit.spec, &planned.place)
            else {
                continue;
            };
            let (model, condition, sampling_seed) = (*model, *condition, *sampling_seed);
            let same = |(of, _): &&mut (Reading<'_>, _)| {
                (of.model, of.condition, of.sampling_seed) == (model, condition, sampling_seed)
                    && (&of.unit.layers, &of.unit.read_outs, &of.unit.continuation) == (&unit.layers, &unit.read_outs, &unit.continuation)
            };
            match all.iter_mut().find(same) {
                Some((_, parts)) => parts.push((rows.0, *key)),
                None => {
                    let reading = Reading { model, condition, sampling_seed, unit, extracts: Vec::new() };
                    all.push((reading, vec![(rows.0, *key)]));
                }
            }
        }
        let (mut whole, mut notes) = (Vec::new(), Vec::new());
        for (reading, mut parts) in all {
            parts.sort_unstable();
            let missing = parts.iter().filter(|(_, unit)| !chains.done(unit)).count();
            if missing == 0 {
                whole.push(Reading { extracts: parts.into_iter().map(|(_, unit)| unit).collect(), ..reading });
                continue;
            }
            let (model, condition) = (&sweep.plan.models[reading.model].name, &sweep.plan.conditions[reading.condition].name);
            notes
                .push(format!("{model} under {condition}: {missing} of {} extract units are not done yet, so it is left out", parts.len()));
        }
        Readings { whole, notes }
    }
}
