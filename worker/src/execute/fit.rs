//! Fit units: probes on the states of one layer, or a baseline on the words or on nothing.

mod baseline;
mod parts;
mod probe;
mod results;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::{Row, Rows};
use limbic_proto::spec::ProbeSpec;
use limbic_proto::unit::{Features, FitName, FitUnit, Unit};
use rayon::prelude::*;

use super::{ExecuteError, Output};
use crate::inputs::Inputs;
use crate::log::seconds;
use crate::progress::Progress;
use parts::{Parts, States};
use results::Results;

/// Bytes of states that are fitted on side by side.
const SIDE_BY_SIDE: usize = 512 << 20;

/// What every fit of a unit needs to know.
pub(super) struct Study<'a> {
    unit: UnitKey,
    spec: &'a FitUnit,
    rows: Arc<Rows>,
}

impl Study<'_> {
    fn rows(&self) -> &[Row] {
        &self.rows.rows
    }

    fn classes(&self) -> &[String] {
        &self.rows.classes
    }

    fn mismatch(&self, what: &'static str, message: String) -> ExecuteError {
        ExecuteError::Mismatch { unit: self.unit, what, message }
    }
}

/// Fits everything that the unit asks for.
pub(super) fn fit(spec: &FitUnit, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
    let study = Study { unit: unit.spec.key(), spec, rows: inputs.rows(&unit.hints.dataset)? };
    let found = study.rows.targets_digest();
    if found != spec.targets {
        return Err(study.mismatch("the dataset", format!("its targets have the digest {found:?}, the unit asks for {:?}", spec.targets)));
    }
    let results = match &spec.features {
        Features::States { extracts, layer } => on_states(&study, extracts, *layer, inputs, progress)?,
        Features::BagOfWords { texts } => baseline::bag_of_words(&study, texts)?,
        Features::Majority => baseline::majority(&study)?,
    };
    results.output()
}

/// One fit of a unit on states.
struct Wish<'a> {
    probe: &'a ProbeSpec,
    name: FitName,
}

/// Every probe with every seed it draws from. One that draws nothing is fitted once and has the seed 0, whatever the
/// seeds of the others are.
fn wishes(spec: &FitUnit, read_out: ReadOut) -> impl Iterator<Item = Wish<'_>> {
    spec.probes.iter().flat_map(move |probe| {
        let seeds = if probe.seeded() { spec.seeds.clone() } else { vec![0] };
        let name = move |seed| FitName::new(probe.name(), Some(read_out), seed);
        seeds.into_iter().map(move |seed| Wish { probe, name: name(seed) })
    })
}

/// Reads as many read-outs as fit into memory together, fits them side by side, goes on with the next ones.
fn on_states(study: &Study<'_>, extracts: &[UnitKey], layer: Layer, inputs: &Inputs, progress: &Progress) -> Result<Results, ExecuteError> {
    let states = States::open(study, extracts, layer, inputs)?;
    let bytes = states.bytes_per_read_out().max(1);
    let together = (SIDE_BY_SIDE / bytes).max(1);
    let total = study.spec.read_outs.len().max(1) * wishes(study.spec, ReadOut::LAST).count().max(1);
    let done = AtomicUsize::new(0);
    let mut results = Results::new(study);
    // Fits run in other threads, and what they say is the attempt's all the same.
    let span = tracing::Span::current();
    for read_outs in study.spec.read_outs.chunks(together) {
        let began = Instant::now();
        let parts = states.parts(read_outs)?;
        let (count, seconds) = (read_outs.len(), seconds(began.elapsed()));
        tracing::info!(%layer, read_outs = count, bytes = bytes * count, seconds, "states read");
        let jobs: Vec<(&Parts, Wish<'_>)> = read_outs
            .iter()
            .zip(&parts)
            .flat_map(|(read_out, parts)| wishes(study.spec, *read_out).map(move |wish| (parts, wish)))
            .collect();
        let fits = jobs.into_par_iter().map(|(parts, wish)| {
            if progress.cancelled() {
                return Err(ExecuteError::Cancelled);
            }
            let fit = span.in_scope(|| probe::fit(study, parts, wish.probe, wish.name));
            progress.set((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / total as f64, 0);
            fit
        });
        for fit in fits.collect::<Result<Vec<_>, _>>()? {
            results.add(fit);
        }
    }
    Ok(results)
}
