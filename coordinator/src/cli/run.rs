//! `limbic run`: the whole of a sweep on this computer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use limbic_core::machine::{Action, Event, Settings};
use limbic_proto::journal::Record;
use limbic_proto::logs::LogFormat;
use limbic_proto::spec::Dtype;
use limbic_proto::status::{AttemptCounts, Status, SweepState};
use limbic_report::Study;
use limbic_store::model::Need;
use limbic_store::{ModelFiles, Store};

use super::StoreArgs;
use super::inspect::{stored_machine, stored_status, verdict};
use super::serve::stop_signal;
use crate::chains::Chains;
use crate::collect::{CollectError, Corrupt};
use crate::coordinator::{Handle, Options, start};
use crate::failure::Failure;
use crate::journal::Journal;
use crate::local::{Crew, default_workers};
use crate::progress::{Phase, SweepBar, bytes, count, seconds};
use crate::sweep::{Sweep, accept, extend, prepare, read_spec};
use crate::{catalogue, collect, server};

/// How often results that are found corrupt are computed again; a store that corrupts them each time is no store.
const ROUNDS: u32 = 3;

/// Arguments of `limbic run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The spec file.
    spec: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// The report's folder; default: limbic-out/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Worker processes; default: one per core, at most four, as memory allows; on a GPU one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// `cpu` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Adds what the spec asks beyond this sweep to it, instead of making a sweep of its own: an id, a unique prefix of one,
    /// or a name.
    #[arg(long, value_name = "SWEEP")]
    extend: Option<String>,
    /// Prints a JSON summary instead of words.
    #[arg(long)]
    json: bool,
}

/// Runs a sweep on this computer and writes its report.
pub async fn run(args: RunArgs, log_format: LogFormat) -> Result<(), Failure> {
    let started = Instant::now();
    let spec = read_spec(&args.spec)?;
    if args.device != "cpu" && args.device.strip_prefix("cuda:").and_then(|n| n.parse::<u32>().ok()).is_none() {
        return Err(Failure::user(format_args!("--device {}: write cpu, or cuda:N such as cuda:0", args.device)));
    }
    if let Some(at) = spec.models.iter().position(|m| m.dtype == Dtype::Bf16).filter(|_| args.device == "cpu") {
        let file = args.spec.display();
        return Err(Failure::user(format_args!(
            "{file}: models[{at}].dtype: bf16 is computed on GPUs only: write f32, or run with --device cuda:0"
        )));
    }
    let store = args.store.open_to_lead(spec.store.as_deref()).await?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("limbic-out").join(&spec.name));
    std::fs::create_dir_all(&out)
        .map_err(|e| Failure::user(format_args!("--out {}: can't be made ({e}): choose a writable folder", out.display())))?;
    let prepared = prepare(spec.clone()).await?;
    let mut sweep = match &args.extend {
        None => accept(&store, prepared).await?,
        Some(wanted) => extend(&store, &catalogue::id(&store, wanted).await?, prepared).await?,
    };
    // The report is asked for anew each time; the work is not.
    (sweep.accepted.spec.name, sweep.accepted.spec.report) = (spec.name, spec.report);
    let done = Chains::read(&store, &sweep).await?.committed(&sweep);
    announce(&args, &sweep, done);
    let Computed { status, study, now } = sound(&args, log_format, &store, &sweep).await?;
    let folder = out.clone();
    tokio::task::spawn_blocking(move || collect::write_report(&study, &folder)).await.expect("writing a report doesn't panic")?;
    summary(&args, &status, (done, now), &out, started.elapsed());
    verdict(&status, "the report holds everything else; mend the cause and run again")
}

fn announce(args: &RunArgs, sweep: &Sweep, done: usize) {
    if args.json {
        return;
    }
    let e = &sweep.plan.estimate;
    eprintln!(
        "sweep {} ({}): {} models, {} cells in {} units, {} of them done already; about {} tokens, {} FLOPs, {} to store",
        sweep.id,
        sweep.name(),
        sweep.plan.models.len(),
        count(e.cells as f64),
        sweep.plan.units.len(),
        done,
        count(e.tokens as f64),
        count(e.flops),
        bytes(e.bytes_stored),
    );
    for note in &sweep.accepted.notes {
        eprintln!("note: {note}");
    }
}

/// What a run came to.
struct Computed {
    status: Status,
    study: Study,
    now: Now,
}

/// What this very run did, by the attempts that its machine granted.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    /// Attempts that a worker was given.
    granted: u64,
    /// Attempts that became a unit's result.
    committed: u64,
}

/// Computes what is missing and reads the results. Results that are found corrupt are voided and computed again.
async fn sound(args: &RunArgs, log_format: LogFormat, store: &Store, sweep: &Sweep) -> Result<Computed, Failure> {
    let (mut now, mut round) = (Now::default(), 0);
    loop {
        let whole = Chains::read(store, sweep).await?.committed(sweep) == sweep.plan.units.len();
        let status = if whole {
            // No worker is started, so nothing can be granted.
            release(store, sweep).await?
        } else {
            let (status, before) = compute(args, log_format, store, sweep, round == 0).await?;
            now.granted += status.attempts.started - before.started;
            now.committed += status.attempts.committed - before.committed;
            status
        };
        let chains = Chains::read(store, sweep).await?;
        match collect::study(store, sweep, &chains, status.quarantined.clone()).await {
            Ok(study) => return Ok(Computed { status, study, now }),
            Err(CollectError::Corrupt(all)) if round < ROUNDS && status.state == SweepState::Complete => {
                void(store, sweep, &all).await?;
                round += 1;
            }
            Err(e) => return Err(e.explain(sweep)),
        }
    }
}

/// Voids corrupt results, in the journal first, as wherever something is voided: a coordinator that takes the lead in between
/// must hear of it.
async fn void(store: &Store, sweep: &Sweep, all: &[Corrupt]) -> Result<(), Failure> {
    let mut journal = Journal::lead(store, &sweep.id, &std::process::id().to_string()).await?;
    let record = |bad: &Corrupt| Record::Void { unit: bad.unit, generation: bad.generation, reason: bad.reason.clone(), asked: false };
    let entry = journal.entry(all.iter().map(record).collect());
    journal.append(&entry).await?;
    for bad in all {
        eprintln!("note: a result is computed again: {}", bad.reason);
        store.void(&bad.unit, bad.generation, &bad.reason).await?;
    }
    Ok(())
}

/// Where a sweep stands that is committed as a whole. Activations that are still to be released (the policy is new, or the
/// last run was killed before it came to that) are released first; only for that the sweep is led.
async fn release(store: &Store, sweep: &Sweep) -> Result<Status, Failure> {
    let mut machine = stored_machine(store, sweep).await?;
    machine.handle(Duration::ZERO, Event::AllOpen);
    let mut actions = std::iter::from_fn(|| machine.poll_action());
    if actions.any(|action| matches!(action, Action::Release { .. })) {
        let (handle, superseded) = start(store.clone(), Options { machine: Settings::default(), dismiss_workers: true });
        handle.open(sweep.clone()).await?;
        handle.all_open().await.map_err(Failure::again)?;
        tokio::select! {
            released = handle.released() => released.map_err(Failure::again)?,
            failure = superseded => return Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
            () = stop_signal() => return Err(Failure::again("stopped; everything computed is kept: run the same command to go on")),
        }
    }
    stored_status(store, sweep).await
}

/// Computes what is missing: coordinator in this process, workers as children. Where the sweep stands then, and which
/// attempts earlier runs had made.
///
/// With `retry`, what failed for good is tried again: whoever runs a sweep again has mended the cause, or hopes so.
async fn compute(
    args: &RunArgs,
    log_format: LogFormat,
    store: &Store,
    sweep: &Sweep,
    retry: bool,
) -> Result<(Status, AttemptCounts), Failure> {
    for model in sweep.plan.models.iter().filter(|model| model.source.starts_with("hf://")) {
        // Once, and seen: else every worker would fetch the same weights without a word.
        let _phase = Phase::new(format!("downloading {}", model.source));
        ModelFiles::resolve(&model.source, Need::Weights).await.map_err(Failure::user)?;
    }
    let listener = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).await?;
    let address = listener.local_addr().map_err(Failure::again)?;
    // Workers of an earlier run ended with it, so there is nobody to wait for.
    let machine = Settings { adoption_window: Duration::ZERO, ..Default::default() };
    let (handle, superseded) = start(store.clone(), Options { machine, dismiss_workers: true });
    handle.open(sweep.clone()).await?;
    handle.all_open().await.map_err(Failure::again)?;
    let before = handle.status(&sweep.id).await.map_err(Failure::again)?.expect("the sweep was just opened").attempts;
    if retry && let count @ 1.. = handle.retry_quarantined(&sweep.id).await.map_err(Failure::again)? {
        eprintln!("note: {count} units that had failed are tried again");
    }
    let served = tokio::spawn(server::serve(listener, handle.clone(), std::future::pending()));

    let largest = sweep.plan.models.iter().map(|m| m.architecture.parameters() * 4).max().unwrap_or(0);
    let workers = args.workers.map_or_else(|| default_workers(&args.device, largest), usize::from);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let crew = Crew {
        coordinator: format!("http://{address}"),
        workers,
        threads: (cores / workers).max(1),
        device: args.device.clone(),
        log_format,
    };
    let bar = SweepBar::new(sweep.name());
    let outcome = tokio::select! {
        status = until_terminal(&handle, &sweep.id, &bar) => status,
        // Workers leave by themselves only when the sweep is finished.
        left = crew.run() => match left {
            Ok(()) => until_terminal(&handle, &sweep.id, &bar).await,
            Err(failure) => Err(failure),
        },
        failure = superseded => Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
        () = stop_signal() => Err(Failure::again("stopped; everything computed is kept: run the same command to go on")),
    };
    bar.finish();
    served.abort();
    Ok((outcome?, before))
}

async fn until_terminal(handle: &Handle, sweep: &str, bar: &SweepBar) -> Result<Status, Failure> {
    loop {
        let status = handle.status(sweep).await.map_err(Failure::again)?.expect("the sweep is open");
        bar.show(&status);
        if status.state.terminal() {
            handle.released().await.map_err(Failure::again)?;
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn summary(args: &RunArgs, status: &Status, (done_before, now): (usize, Now), out: &std::path::Path, took: Duration) {
    let report = out.join("report.html");
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "sweep": status.sweep, "state": status.state, "cells": status.cells, "units": status.units, "attempts": status.attempts,
                "computed_units": now.committed, "granted_attempts": now.granted, "seconds": took.as_secs_f64(), "out": out, "report": report,
            })
        );
        return;
    }
    println!(
        "{} cells, {} units: {} computed now, {} found done, {} quarantined",
        status.cells.total, status.units.total, now.committed, done_before, status.units.quarantined
    );
    println!("took {}", seconds(took.as_secs_f64()));
    println!("report: {}", report.display());
}
