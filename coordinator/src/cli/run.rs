//! `limbic run`: the whole of a sweep on this computer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use limbic_proto::answer;
use limbic_proto::logs::{LogFormat, tell};
use limbic_proto::status::Status;

use super::StoreArgs;
use super::computing::{Computed, Computing, DeviceArgs, Now};
use super::remote::RemoteArgs;
use super::status::{state, verdict};
use crate::chains::Chains;
use crate::failure::Failure;
use crate::progress::{count, counted, seconds, units_are};
use crate::sweep::{Sweep, keep_rows, prepare, read_spec};
use crate::{catalogue, collect};
use tracing::Level;

/// Arguments of `limbic run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The spec file.
    spec: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// The report's folder; default: limbic-out/NAME, or limbic-out/NAME-ID where that has another sweep's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Adds what the spec asks beyond this sweep to it, instead of making a sweep of its own: an id, a unique prefix of one,
    /// or a name.
    #[arg(long, value_name = "SWEEP", value_parser = NonEmptyStringValueParser::new())]
    extend: Option<String>,
    /// Prints a JSON summary instead of words.
    #[arg(long)]
    json: bool,
}

/// Runs a sweep on this computer and writes its report.
pub async fn run(args: RunArgs, log_format: LogFormat) -> Result<(), Failure> {
    let started = Instant::now();
    let spec = read_spec(&args.spec)?;
    args.device.check()?;
    let store = args.store.open_to_lead(spec.store.as_deref()).await?;
    let extended = match &args.extend {
        None => None,
        Some(wanted) => Some(catalogue::open(&store, wanted).await?),
    };
    let name = extended.as_ref().map_or(spec.name.as_str(), Sweep::name).to_owned();
    let made = |out: PathBuf| match std::fs::create_dir_all(&out) {
        Ok(()) => Ok(out),
        Err(e) => Err(Failure::user(format_args!("--out {}: can't be made ({e}): choose a writable folder", out.display()))),
    };
    let asked = args.out.clone().map(made).transpose()?;
    let prepared = prepare(spec).await?;
    if extended.is_none() {
        keep_rows(&store, &prepared).await?;
    }
    let id = extended.as_ref().map_or(&prepared.id, |sweep| &sweep.id);
    let out = asked.map_or_else(|| made(catalogue::report_folder(id, &name)), Ok)?;
    // A model that lies elsewhere by now is a revision, too.
    let known = if extended.is_none() { catalogue::known(&store, &prepared.id).await? } else { None };
    if let Some(standing) = extended.as_ref().or(known.as_ref()).filter(|standing| standing.extended_by(&prepared) == Ok(true)) {
        // Before the store says so, or its coordinator would be the last to hear of it.
        RemoteArgs::usual().spare(&store, standing).await?;
    }
    let beyond = extended.as_ref().map(|sweep| sweep.id.as_str());
    let (mut sweep, notes) = catalogue::take_in(&store, prepared, beyond).await?;
    sweep.accepted.spec.name = name;
    let chains = Chains::read(&store, &sweep).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (done, at_once) = (chains.committed(&sweep), chains.long_at_once(&sweep, cores));
    announce(&args, &sweep, done, &notes);
    let read = async |chains: &Chains, status: &Status| collect::study(&store, &sweep, chains, status.quarantined.clone()).await;
    let mut computing = Computing::new(&store, &args.device, log_format, &sweep.plan.models, at_once);
    let Computed { status, results: study, now } = computing.sound(&sweep, read).await?;
    drop(computing);
    let absent = study.predictions.iter().filter(|p| p.fit.as_ref().is_some_and(|fit| fit.absent.is_some())).count();
    let fits = study.predictions.iter().filter(|p| p.fit.is_some()).count();
    let folder = out.clone();
    tokio::task::spawn_blocking(move || collect::write_report(&study, &folder)).await.expect("writing a report doesn't panic")?;
    if absent > 0 {
        let (absent, fits) = (count(absent as f64), count(fits as f64));
        tell(
            Level::WARN,
            &format_args!("{absent} of {fits} fits can't be had (most often replies end before the offset); the report's notes say why"),
        );
    }
    let notes: Vec<String> = sweep.notes().iter().chain(&notes).cloned().collect();
    summary(&args, &status, &notes, (done, now), &out, started.elapsed());
    verdict(&status, "the report holds everything else; mend the cause and run again")
}

fn announce(args: &RunArgs, sweep: &Sweep, done: usize, notes: &[String]) {
    if args.json {
        return;
    }
    tell(
        Level::INFO,
        &format_args!("sweep {} ({}): {}; {} done already", sweep.id, sweep.name(), sweep.in_words(), units_are(done as u64)),
    );
    for note in sweep.notes().iter().chain(notes) {
        tell(Level::INFO, &format_args!("note: {note}"));
    }
}

fn summary(args: &RunArgs, status: &Status, notes: &[String], (done_before, now): (usize, Now), out: &std::path::Path, took: Duration) {
    let report = out.join("report.html");
    if args.json {
        answer!(
            "{}",
            serde_json::json!({
                "sweep": status.sweep, "state": state(status), "cells": status.cells, "units": status.units, "attempts": status.attempts,
                "computed_units": now.committed, "granted_attempts": now.granted, "seconds": took.as_secs_f64(),
                "out": out.to_string_lossy(), "report": report.to_string_lossy(),
                "quarantined": status.quarantined, "notes": notes,
            })
        );
        return;
    }
    answer!(
        "{}, {}: {} computed now, {} found done, {} quarantined",
        counted(status.cells.total as usize, "cell"),
        counted(status.units.total as usize, "unit"),
        now.committed,
        // What was found corrupt and computed again was not found done.
        done_before.min(status.units.committed.saturating_sub(now.committed) as usize),
        status.units.quarantined
    );
    answer!("took {}", seconds(took.as_secs_f64()));
    answer!("report: {}", report.display());
}
