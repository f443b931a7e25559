//! Fit units: probes on the states of one layer, or a baseline on the words or on nothing.

mod baseline;
mod cell;
mod geometry;
mod kept;
mod offsets;
mod parts;
mod probe;
mod results;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::ProbeSpec;
use limbic_proto::unit::{Features, FitUnit, Unit};
use rayon::prelude::*;

use super::{ExecuteError, Output};
use crate::inputs::{Inputs, Parts as KeptParts};
use crate::log::seconds;
use crate::progress::Progress;
use cell::{Carried, Cell};
use kept::Kept;
use parts::States;
use results::{Fit, Results};

pub(super) use parts::Answers;
pub(super) use transfer::transfer;

/// Bytes of states that are fitted on side by side.
const SIDE_BY_SIDE: usize = 512 << 20;

/// The rows that a unit is about.
struct Study {
    unit: UnitKey,
    rows: Arc<Rows>,
}

impl Study {
    /// The dataset of a unit, whose targets must be those that the unit was planned with.
    fn open(unit: &Unit, targets: &Digest, inputs: &Inputs) -> Result<Study, ExecuteError> {
        let study = Study { unit: unit.spec.key(), rows: inputs.rows(&unit.hints.dataset)? };
        let found = study.rows.targets_digest();
        match found == *targets {
            true => Ok(study),
            false => Err(study.mismatch("the dataset", format!("its targets have the digest {found:?}, the unit asks for {targets:?}"))),
        }
    }

    fn rows(&self) -> &[Row] {
        &self.rows.rows
    }

    fn classes(&self) -> &[String] {
        &self.rows.classes
    }

    fn scheme(&self) -> Scheme {
        self.rows.scheme
    }

    /// How many rows are not in train.
    fn held(&self) -> usize {
        self.rows().iter().filter(|row| row.split != Split::Train).count()
    }

    fn mismatch(&self, what: &'static str, message: String) -> ExecuteError {
        ExecuteError::Mismatch { unit: self.unit, what, message }
    }
}

/// Fits everything that the unit asks for.
pub(super) fn fit(
    spec: &FitUnit,
    unit: &Unit,
    inputs: &Inputs,
    parts: &KeptParts<'_>,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    let study = Study::open(unit, &spec.targets, inputs)?;
    let results = match &spec.features {
        Features::States { extracts, layer } => {
            let kept = Kept::open(&study, inputs, parts);
            on_states(spec, &study, extracts, *layer, inputs, &kept, progress)?.resuming(kept.resumed())
        }
        Features::BagOfWords { texts } => baseline::bag_of_words(spec, &study, texts)?,
        Features::Majority => baseline::majority(spec, &study)?,
    };
    results.output()
}

/// Counts what is done of a unit.
struct Tally<'a> {
    progress: &'a Progress,
    done: AtomicUsize,
    total: usize,
}

impl Tally<'_> {
    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.progress.set(done as f64 / self.total.max(1) as f64, 0);
    }

    fn check(&self) -> Result<(), ExecuteError> {
        if self.progress.cancelled() { Err(ExecuteError::Cancelled) } else { Ok(()) }
    }
}

/// Reads as many read-outs as fit into memory together, fits them side by side, goes on with the next ones; then what is
/// fitted on all of them.
fn on_states(
    spec: &FitUnit,
    study: &Study,
    extracts: &[UnitKey],
    layer: Layer,
    inputs: &Inputs,
    kept: &Kept<'_>,
    progress: &Progress,
) -> Result<Results, ExecuteError> {
    let states = States::open(study, extracts, layer, &spec.read_outs, inputs)?;
    if states.of_moments() && (spec.geometry || !spec.controls.is_empty() || !spec.probes.iter().all(ProbeSpec::of_moments)) {
        let message = "it asks for more than the moments of train, and the states of train rows are not stored".to_owned();
        return Err(study.mismatch("the fits", message));
    }
    let (over_all, here): (Vec<&ProbeSpec>, Vec<&ProbeSpec>) = spec.probes.iter().partition(|p| matches!(p, ProbeSpec::OffsetMlp(_)));
    let total = spec.read_outs.len() * spec.probes.len();
    let tally = Tally { progress, done: AtomicUsize::new(0), total };
    let mut results = Results::new(study);
    let mut carried = Vec::new();
    // Fits run in other threads, and what they say is the attempt's all the same.
    let span = tracing::Span::current();
    for read_outs in batches(spec, &states) {
        let began = Instant::now();
        let parts = states.parts(&read_outs)?;
        let moments =
            if states.of_moments() { states.moments(&read_outs)?.into_iter().map(Some).collect() } else { vec![None; read_outs.len()] };
        tracing::info!(%layer, read_outs = read_outs.len(), seconds = seconds(began.elapsed()), "states read");
        let cells = parts.into_par_iter().zip(moments).zip(&read_outs);
        let cells = cells.map(|(parts, read_out)| Cell::new(study, spec, *read_out, parts, &carried));
        let cells: Vec<(Cell, Vec<Fit>)> = cells.collect::<Result<_, _>>()?;
        let jobs: Vec<(&Cell, &ProbeSpec)> = cells.iter().flat_map(|(cell, _)| here.iter().map(move |probe| (cell, *probe))).collect();
        let fits = jobs.into_par_iter().map(|(cell, probe)| {
            tally.check()?;
            let fits = span.in_scope(|| kept.or((cell.read_out, probe.name()), || probe::fits(study, spec, cell, probe, &tally)))?;
            tally.step();
            Ok(fits)
        });
        let fits: Vec<Vec<Fit>> = fits.collect::<Result<_, ExecuteError>>()?;
        if spec.geometry {
            let described = cells.par_iter().filter(|(cell, _)| cell.read_out.offset == 0).map(|(cell, _)| geometry::of(study, cell));
            described.collect::<Result<Vec<_>, _>>()?.into_iter().for_each(|tensors| results.describe(tensors));
        }
        for fit in fits.into_iter().flatten() {
            carried.extend(Carried::of(spec, &fit));
            results.add(fit);
        }
        cells.into_iter().flat_map(|(_, fits)| fits).for_each(|fit| results.add(fit));
    }
    for probe in over_all {
        let ProbeSpec::OffsetMlp(of) = probe else { unreachable!("these are the offset-aware ones") };
        offsets::fits(study, spec, of, &states, kept, &tally)?.into_iter().for_each(|fit| results.add(fit));
    }
    Ok(results)
}

/// The read-outs that are fitted side by side. Where probes are carried on from the last prompt token, that comes first.
fn batches(spec: &FitUnit, states: &States<'_>) -> Vec<Vec<ReadOut>> {
    let first = |read_out: &ReadOut| spec.transfer && *read_out == ReadOut::LAST;
    let (mut batches, rest): (Vec<Vec<ReadOut>>, Vec<ReadOut>) = (
        spec.read_outs.iter().filter(|r| first(r)).map(|r| vec![*r]).collect(),
        spec.read_outs.iter().copied().filter(|r| !first(r)).collect(),
    );
    let bytes = spec.read_outs.first().map_or(1, |read_out| states.bytes_per_read_out(*read_out)).max(1);
    batches.extend(rest.chunks((SIDE_BY_SIDE / bytes).max(1)).map(<[ReadOut]>::to_vec));
    batches
}
