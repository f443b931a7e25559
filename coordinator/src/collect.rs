//! Committed artifacts become a study, and the study a folder of tables, figures and pages.

pub mod asked;
mod likelihoods;
mod predictions;
mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use limbic_core::plan::{Cell, ModelFacts, Place, PlannedUnit};
use limbic_proto::commit::{self, Commit, Done};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::spec::{Condition, Spec};
use limbic_proto::status::Quarantined;
use limbic_report::{ConditionEntry, DatasetEntry, ModelEntry, Progress, Run, Study, TestRow};
use limbic_store::whole::write_whole;
use limbic_store::{Store, StoreError};
use predictions::Collector;

use crate::chains::Chains;
use crate::failure::Failure;
use crate::progress::Phase;
use crate::sweep::Sweep;

/// How many artifacts are read at the same time.
const PARALLEL: usize = 16;

/// Bytes of results that are in memory at a time before predictions are made of them, as far as single units are no larger.
const TOGETHER: u64 = 256 << 20;

/// Why results can't be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Results are missing from the store, or are not what was committed.
    #[error("{} units' results are corrupt, first: {}", .0.len(), .0[0].reason)]
    Corrupt(Vec<Corrupt>),
    /// An artifact doesn't hold what its unit promises.
    #[error("unit {unit}: {artifact}: {message}")]
    Artifact {
        /// The unit.
        unit: String,
        /// The artifact.
        artifact: &'static str,
        /// What was found.
        message: String,
    },
    /// Predictions don't fit into memory, and the file that they go into can't be written.
    #[error("{}: predictions beyond {} GiB can't be put into a temporary file here ({source}): free some space, or set TMPDIR to a folder that has it", folder.display(), spool::HELD >> 30)]
    Spool {
        /// The folder of temporary files.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl CollectError {
    fn spool(source: std::io::Error) -> CollectError {
        CollectError::Spool { folder: std::env::temp_dir(), source }
    }
}

/// A committed result that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    /// The unit.
    pub unit: UnitKey,
    /// The generation of the result.
    pub generation: u32,
    /// What was found.
    pub reason: String,
}

impl CollectError {
    /// What a user is told who asked for a report.
    pub fn explain(&self, sweep: &Sweep) -> Failure {
        let CollectError::Corrupt(all) = self else { return Failure::user(self) };
        let title = |c: &Corrupt| sweep.plan.units.get(&c.unit).map_or_else(|| c.unit.short(), |planned| planned.unit.hints.title.clone());
        let each = all.iter().take(5).map(|c| format!("{}: {}", title(c), c.reason)).collect::<Vec<_>>().join("\n");
        let others = if all.len() > 5 { format!("\n(and {} more units)", all.len() - 5) } else { String::new() };
        let again = all.iter().take(5).map(|c| format!("    limbic again {} --select {}", sweep.id, c.unit.hex()));
        let again = again.collect::<Vec<_>>().join("\n");
        Failure::user(format_args!(
            "{each}{others}\nwhat was computed from it is still good; `limbic run SPEC` with the same store computes it again, and so \
             does a coordinator that leads the sweep, told\n{again}"
        ))
    }
}

/// What was asked: the spec, or of a sweep that was extended all of them, oldest first.
fn asked(sweep: &Sweep) -> serde_json::Value {
    let json = |spec: &Spec| serde_json::to_value(spec).expect("a spec serializes");
    match sweep.earlier.as_slice() {
        [] => json(&sweep.accepted.spec),
        earlier => earlier.iter().chain([&sweep.accepted]).map(|accepted| json(&accepted.spec)).collect(),
    }
}

/// A committed unit's commit and those of its artifacts that reports need.
struct Fetched {
    done: Done,
    artifacts: Vec<Bytes>,
}

/// A committed unit, and what a report reads of it.
struct Standing<'a> {
    key: UnitKey,
    planned: &'a PlannedUnit,
    generation: u32,
    artifacts: Vec<&'static str>,
}

/// Reads everything committed of a sweep; `chains` say what is. Units that are not committed are left out, and the study's
/// progress says so. Of a unit that was split, its halves are read.
///
/// # Errors
/// The store can't be read, or results are not what was committed (all such units are named).
pub async fn study(store: &Store, sweep: &Sweep, chains: &Chains, quarantined: Vec<Quarantined>) -> Result<Study, CollectError> {
    // The plan's order, so that the same results give the same report whoever computed them when.
    let committed: Vec<Standing<'_>> = chains
        .parts(sweep)
        .into_iter()
        .filter_map(|(key, planned)| {
            Some(Standing { key, planned, generation: chains.standing(&key)?, artifacts: predictions::artifacts(planned) })
        })
        .collect();
    let phase = Phase::of(committed.len(), "reading results");
    let (mut collector, mut runs, mut corrupt) = (Collector::new(sweep), Vec::new(), Vec::new());
    for some in together(&committed) {
        let asked = some.iter().map(|unit| (unit.key, unit.generation, unit.artifacts.clone()));
        match all(store, asked.collect(), &phase).await {
            Ok(good) => {
                for Standing { key, planned, .. } in some {
                    collector.take(key, planned, &good[key].artifacts)?;
                    runs.push(run(key, planned, &good[key].done));
                }
            }
            Err(CollectError::Corrupt(more)) => corrupt.extend(more),
            Err(error) => return Err(error),
        }
    }
    drop(phase);
    if !corrupt.is_empty() {
        return Err(CollectError::Corrupt(corrupt));
    }
    let whole = |cell: &&Cell| cell.units.iter().all(|unit| chains.done(unit));
    let (units, units_done) = chains.counts(sweep);
    let progress = Progress { cells: sweep.plan.cells.len(), cells_done: sweep.plan.cells.iter().filter(whole).count(), units, units_done };
    let spec = &sweep.accepted.spec;
    let test = collector.test.iter().map(|&i| test_row(&sweep.rows.rows[i])).collect();
    let (predictions, verdicts, geometry) = collector.finish();
    Ok(Study {
        sweep: sweep.id.clone(),
        title: spec.report.title.clone().unwrap_or_else(|| spec.name.clone()),
        scheme: sweep.rows.scheme,
        classes: sweep.rows.classes.clone(),
        dataset: DatasetEntry::new(&sweep.accepted.rows, &sweep.rows),
        progress,
        test,
        models: sweep.plan.models.iter().map(|model| model_entry(model, &sweep.plan.models)).collect(),
        conditions: sweep.plan.conditions.iter().map(|c| ConditionEntry { name: c.name.clone(), description: describe(c) }).collect(),
        predictions,
        verdicts,
        geometry,
        runs,
        options: spec.report.clone(),
        notes: sweep.accepted.notes.clone(),
        quarantined,
        spec: asked(sweep),
        software: crate::SOFTWARE.to_owned(),
        seed: 0,
    })
}

/// Committed units in groups whose results are read together.
fn together<'c, 'p>(committed: &'c [Standing<'p>]) -> impl Iterator<Item = &'c [Standing<'p>]> {
    let mut rest = committed;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|unit| {
            // Of the others only the commit is read.
            bytes += if unit.artifacts.is_empty() { 0 } else { unit.planned.bytes };
            bytes <= TOGETHER
        });
        let (now, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

/// Some committed results: each by its unit, its generation and the names of the artifacts that are read of it.
async fn all(
    store: &Store,
    committed: Vec<(UnitKey, u32, Vec<&'static str>)>,
    phase: &Phase,
) -> Result<BTreeMap<UnitKey, Fetched>, CollectError> {
    let fetched: Vec<Result<(UnitKey, Fetched), Corrupt>> = stream::iter(committed)
        .map(|(key, generation, names)| fetch(store, key, generation, names))
        .buffered(PARALLEL)
        .inspect(|_| phase.step())
        .try_collect()
        .await?;
    let (mut good, mut corrupt) = (BTreeMap::new(), Vec::new());
    for unit in fetched {
        match unit {
            Ok((key, fetched)) => drop(good.insert(key, fetched)),
            Err(bad) => corrupt.push(bad),
        }
    }
    if corrupt.is_empty() { Ok(good) } else { Err(CollectError::Corrupt(corrupt)) }
}

/// One unit's result; a missing or corrupt one is no error of the whole.
async fn fetch(
    store: &Store,
    unit: UnitKey,
    generation: u32,
    names: Vec<&'static str>,
) -> Result<Result<(UnitKey, Fetched), Corrupt>, StoreError> {
    match read(store, unit, generation, &names).await {
        Ok(fetched) => Ok(Ok((unit, fetched))),
        Err(e) if e.not_found() || matches!(e, StoreError::Corrupt { .. }) => Ok(Err(Corrupt { unit, generation, reason: e.to_string() })),
        Err(e) => Err(e),
    }
}

async fn read(store: &Store, key: UnitKey, generation: u32, names: &[&str]) -> Result<Fetched, StoreError> {
    let done = match store.commit(&key, generation).await? {
        Some(Commit::Done(done)) => done,
        found => {
            let path = layout::commit(&key, commit::result(generation));
            let message = format!("expected a result, found {found:?}");
            return Err(StoreError::Corrupt { url: store.url().to_owned(), path, message });
        }
    };
    let mut artifacts = Vec::new();
    for name in names {
        artifacts.push(store.artifact(&key, &done, name).await?);
    }
    Ok(Fetched { done, artifacts })
}

fn test_row(row: &limbic_proto::rows::Row) -> TestRow {
    TestRow { id: row.id.clone(), text: row.text.clone(), class: row.class, group: row.group.clone(), values: row.values.clone() }
}

fn model_entry(model: &ModelFacts, all: &[ModelFacts]) -> ModelEntry {
    let trained = |other: &ModelFacts| other.random_weights.is_none() && other.source == model.source && other.dtype == model.dtype;
    ModelEntry {
        name: model.name.clone(),
        source: model.source.clone(),
        digest: model.digest.hex(),
        parameters: model.architecture.parameters(),
        family: model.architecture.family.as_str().to_owned(),
        layers: model.architecture.layers as u32,
        hidden: model.architecture.hidden as u32,
        dtype: model.dtype.as_str().to_owned(),
        random_weights: model.random_weights,
        twin_of: model.random_weights.and_then(|_| all.iter().position(trained)),
    }
}

fn run(key: &UnitKey, planned: &PlannedUnit, done: &Done) -> Run {
    Run {
        unit: key.hex(),
        kind: planned.unit.spec.kind(),
        model: planned.place.model(),
        condition: planned.place.condition(),
        judge: if let Place::Judge { judge, .. } = planned.place { Some(judge) } else { None },
        sampling_seed: planned.place.sampling_seed(),
        title: planned.unit.hints.title.clone(),
        attempt: done.attempt.clone(),
        worker: done.provenance.worker.clone(),
        software: done.provenance.software.clone(),
        device: done.provenance.device.clone(),
        seconds: done.provenance.seconds,
        tokens: done.provenance.tokens,
        bytes: done.artifacts.iter().map(|a| a.len).sum(),
        counts: done.provenance.counts.clone(),
    }
}

/// A condition in words: what stands before the utterance, and how it is put.
fn describe(condition: &Condition) -> String {
    let put = match (&condition.template, &condition.chat) {
        (Some(template), _) => format!("template: {template}"),
        (None, Some(chat)) => {
            let set: Vec<String> = chat.variables.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let with = if set.is_empty() { String::new() } else { format!(" with {}", set.join(" and ")) };
            match chat.system.as_deref() {
                None => format!("chat{with}, no system prompt, user: {}", chat.user),
                Some("") => format!("chat{with}, empty system prompt, user: {}", chat.user),
                Some(system) => format!("chat{with}, system: {system} User: {}", chat.user),
            }
        }
        (None, None) => "the bare text".to_owned(),
    };
    match condition.examples.len() {
        0 => put,
        1 => format!("after 1 solved example, {put}"),
        n => format!("after {n} solved examples, {put}"),
    }
}

/// Evaluates a study and writes its report; each file appears whole or not at all. Figures of an earlier report that this
/// one doesn't have are taken away.
///
/// # Errors
/// The folder can't be written (a full disk included), or the report can't be made.
pub fn write_report(study: &Study, out: &Path) -> Result<(), Failure> {
    let phase = Phase::new(format!("evaluating {} fits and baselines", study.predictions.len()));
    let results = limbic_report::evaluate(study).map_err(Failure::user)?;
    drop(phase);
    let _phase = Phase::new("writing tables, figures and pages");
    let files = limbic_report::files(study, &results).map_err(Failure::user)?;
    // In a folder without a report they are somebody else's.
    let again = out.join("report.md").exists();
    for stale in limbic_report::optional_files().iter().filter(|stale| again && !files.iter().any(|file| file.path == **stale)) {
        // Most often there is none; one that can't be removed is old, not wrong.
        let _ = std::fs::remove_file(out.join(stale));
    }
    write_files(&files, out)
}

/// Writes files into a folder, made if missing; each appears whole or not at all.
///
/// # Errors
/// The folder can't be written (a full disk included).
pub fn write_files(files: &[limbic_report::File], out: &Path) -> Result<(), Failure> {
    for file in files {
        let path = out.join(&file.path);
        write_whole(&path, &file.bytes).map_err(|e| unwritten(out, &file.path, &e))?;
    }
    Ok(())
}

/// Why a file of an output folder can't be written, and what to do.
pub fn unwritten(out: &Path, file: &str, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
            "the disk is full: free some space and run again; everything computed is kept in the store"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => "choose a writable folder with --out",
        _ => "choose another folder with --out",
    };
    Failure::user(format_args!("--out {}: {file} can't be written ({error}): {hint}", out.display()))
}
