//! `limbic status` and `limbic list`: what a store (or a coordinator) says about its sweeps.

use std::time::Duration;

use limbic_core::history::History;
use limbic_core::machine::{Machine, Opening, Settings, SweepId};
use limbic_proto::answer;
use limbic_proto::logs::tell;
use limbic_proto::status::{Status, SweepState};
use limbic_store::Store;

use super::place::Where;
use crate::catalogue::Entry;
use crate::chains::{Chains, Listing};
use crate::failure::Failure;
use crate::progress::{date, seconds};
use crate::sweep::Sweep;
use crate::{catalogue, journal, sweep};
use serde_json::Value;
use tracing::Level;

/// Arguments of `limbic status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    of: Where,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    of: Where,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Where a sweep stands, from the store alone: commits and journal.
pub async fn stored_status(store: &Store, sweep: &Sweep) -> Result<Status, Failure> {
    Ok(status_in(&stored_machine(store, sweep).await?, sweep))
}

fn status_in(machine: &Machine, sweep: &Sweep) -> Status {
    machine.status(Duration::ZERO, &SweepId(sweep.id.clone())).expect("the sweep was just opened")
}

/// The machine as a coordinator would take the sweep up, from the store alone.
pub(super) async fn stored_machine(store: &Store, sweep: &Sweep) -> Result<Machine, Failure> {
    let history = journal::read(store, &sweep.id).await?.history;
    let chains = Chains::read(store, sweep).await?;
    Ok(machine_of(sweep, history, chains))
}

fn machine_of(sweep: &Sweep, history: History, chains: Chains) -> Machine {
    let mut machine = Machine::new(Settings::default());
    chains.events().for_each(|event| machine.handle(Duration::ZERO, event));
    let (id, name, plan) = (SweepId(sweep.id.clone()), sweep.name().to_owned(), sweep.plan.clone());
    machine.open_sweep(Duration::ZERO, Opening { id, name, plan, epoch: 0, committed: chains.links, history });
    machine
}

async fn all(of: &Where) -> Result<Vec<Status>, Failure> {
    let store = match of {
        Where::Coordinator(remote) => return remote.list().await,
        Where::Store(store) => store.look().await?,
    };
    // The journals first, as a coordinator reads them; the store is listed once for all.
    let mut read = Vec::new();
    for sweep in catalogue::open_all(&store).await? {
        match journal::read(&store, &sweep.id).await.map_err(Failure::from) {
            Err(failure @ Failure::User(_)) => passed_over(&sweep, &failure),
            journal => read.push((sweep, journal?.history)),
        }
    }
    let (listing, mut statuses) = (Listing::read(&store).await?, Vec::new());
    for (sweep, history) in read {
        match Chains::among(&listing, &store, &sweep).await {
            Err(failure @ Failure::User(_)) => passed_over(&sweep, &failure),
            chains => statuses.push(status_in(&machine_of(&sweep, history, chains?), &sweep)),
        }
    }
    Ok(statuses)
}

fn passed_over(sweep: &Sweep, failure: &Failure) {
    tell(Level::WARN, &format_args!("sweep {} is passed over: {failure}", sweep.id));
}

/// Where the one sweep stands that is meant; only that one is read.
async fn one(of: &Where, wanted: &str) -> Result<Status, Failure> {
    let store = match of {
        Where::Store(store) => store.look().await?,
        Where::Coordinator(remote) => {
            let mut statuses = remote.list().await?;
            let id = catalogue::find(&statuses.iter().map(Entry::of).collect::<Vec<_>>(), wanted)?;
            let at = statuses.iter().position(|s| s.sweep == id).expect("found among these");
            return Ok(statuses.swap_remove(at));
        }
    };
    let sweep = catalogue::open(&store, wanted).await?;
    stored_status(&store, &sweep).await
}

/// Says where a sweep stands.
pub async fn status(args: StatusArgs) -> Result<(), Failure> {
    // Every id starts with the empty prefix, so leaving the name out works where there is one sweep.
    let status = one(&args.of, args.sweep.as_deref().unwrap_or("")).await?;
    if args.json {
        answer!("{}", json(&status));
    } else {
        answer!("{}", in_words(&status).trim_end());
    }
    Ok(())
}

/// How a command ends that has seen a sweep through: units that failed for good are the user's to mend, and what was cancelled isn't
/// complete.
///
/// # Errors
/// A unit was quarantined, and `then` says how to go on once its cause is mended; or the sweep was cancelled.
pub fn verdict(status: &Status, then: &str) -> Result<(), Failure> {
    if status.state == SweepState::Cancelled {
        return Err(sweep::cancelled(&status.sweep, &status.name));
    }
    let Some(first) = status.quarantined.first() else { return Ok(()) };
    let others = match status.quarantined.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more unit)".to_owned(),
        n => format!(" (and {n} more units)"),
    };
    Err(Failure::user(format_args!("{}: {}{others}\n{then}", first.title, first.error)))
}

/// Where a sweep stands, in a word. Only a coordinator knows that a sweep runs. One with units that failed for good has ended, but is
/// not complete.
pub(super) fn state(status: &Status) -> &'static str {
    match status.state {
        SweepState::Running if !status.led => "unfinished",
        SweepState::Complete if status.units.quarantined > 0 => "incomplete",
        state => state.word(),
    }
}

/// A status for programs, with the state in the word that people are shown.
pub(super) fn json(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).expect("a status serializes");
    value["state"] = state(status).into();
    value
}

/// A status for people.
pub fn in_words(status: &Status) -> String {
    let (c, u, a) = (&status.cells, &status.units, &status.attempts);
    let mut text = format!("sweep     {} ({}): {}\n", status.sweep, status.name, state(status));
    text += &status.since.map(|since| format!("since     {}\n", date(since))).unwrap_or_default();
    text += &format!("cells     {} of {} done, {} quarantined\n", c.done, c.total, c.quarantined);
    let open = if status.led { format!("{} running, {} pending", u.running, u.pending) } else { format!("{} open", u.pending) };
    text += &format!("units     {} of {} committed, {open}, {} quarantined\n", u.committed, u.total, u.quarantined);
    text += &format!("attempts  {} started, {} committed, {} failed, {} lost", a.started, a.committed, a.failed, a.lost);
    // Such a count isn't written: a coordinator knows its own.
    text += &if a.released > 0 { format!(", {} given back\n", a.released) } else { "\n".to_owned() };
    if !status.led && !status.state.terminal() {
        text += "note      read from the store: which units run and what the others wait for, `--coordinator URL` asks its coordinator\n";
    }
    for waiting in &status.waiting {
        text += &format!("waiting   {} x {}: {}\n", waiting.count, waiting.what, waiting.reason);
    }
    for worker in &status.workers {
        let running = if worker.running.is_empty() { "waiting".to_owned() } else { worker.running.join(", ") };
        let silence = || format!(" (not heard from for {})", seconds(worker.silent_ms as f64 / 1000.0));
        let silent = if worker.late { silence() } else { String::new() };
        let takes = if worker.takes.everything() { String::new() } else { format!(" (takes {})", worker.takes) };
        text += &format!("worker    {} on {}{takes}: {running}{silent}\n", worker.id, worker.device);
    }
    for unit in &status.quarantined {
        text += &format!("failed    {}: {}\n", unit.title, unit.error);
    }
    text
}

/// Lists sweeps.
pub async fn list(args: ListArgs) -> Result<(), Failure> {
    let statuses = all(&args.of).await?;
    if args.json {
        answer!("{}", statuses.iter().map(json).collect::<Value>());
        return Ok(());
    }
    if statuses.is_empty() {
        tell(Level::INFO, &"no sweeps yet: `limbic run SPEC` or `limbic submit SPEC` makes one");
    }
    for s in &statuses {
        let (cells, units) = (&s.cells, &s.units);
        answer!(
            "{}  {:<24} {:<10} {}/{} cells  {}/{} units{}",
            s.sweep,
            s.name,
            state(s),
            cells.done,
            cells.total,
            units.committed,
            units.total,
            s.since.map(|since| format!("  since {}", date(since))).unwrap_or_default()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use limbic_proto::status::{Quarantined, Status, SweepState, WorkerStatus};
    use limbic_proto::takes::Takes;

    use super::{in_words, state, verdict};

    fn status() -> Status {
        serde_json::from_value(serde_json::json!({
            "sweep": "aa", "name": "n", "state": "complete", "cells": {"total": 1, "done": 0, "quarantined": 1},
            "units": {"total": 2, "committed": 1, "running": 0, "pending": 0, "quarantined": 1},
            "attempts": {"started": 4, "committed": 1, "failed": 3, "lost": 0},
            "work": {"total_flops": 1.0, "done_flops": 1.0, "inherited_flops": 0.0, "tokens": 0, "seconds": 1.0},
            "workers": [], "quarantined": [],
        }))
        .unwrap()
    }

    #[test]
    fn where_a_sweep_stands_is_said_as_far_as_it_is_known() {
        let said = |sweep, led, quarantined| {
            let mut status = Status { state: sweep, led, ..status() };
            status.units.quarantined = quarantined;
            state(&status)
        };
        assert_eq!([said(SweepState::Running, true, 0), said(SweepState::Running, false, 0)], ["running", "unfinished"]);
        assert_eq!([said(SweepState::Complete, false, 0), said(SweepState::Complete, true, 1)], ["complete", "incomplete"]);
    }

    #[test]
    fn a_worker_that_is_silent_is_said_to_be() {
        let worker = |id: &str, silent_ms, late| WorkerStatus {
            id: id.into(),
            device: "cpu".into(),
            takes: Takes::All,
            running: vec!["extract a".into()],
            committed: 3,
            silent_ms,
            late,
        };
        let fits = WorkerStatus { takes: Takes::Fits, ..worker("c", 0, false) };
        let status = Status { workers: vec![worker("a", 14_900, false), worker("b", 75_000, true), fits], ..status() };
        let text = in_words(&status);
        assert!(text.contains("worker    c on cpu (takes fits): extract a\n"), "{text}");
        assert!(text.contains("worker    a on cpu: extract a\n"), "{text}");
        assert!(text.contains("worker    b on cpu: extract a (not heard from for 1 min 15 s)\n"), "{text}");
    }

    #[test]
    fn quarantined_units_are_the_users_to_mend() {
        let mut status = status();
        assert!(verdict(&status, "mend it").is_ok());
        let unit = |title: &str| Quarantined { unit: "u".into(), title: title.into(), error: "no such file".into() };
        status.quarantined = vec![unit("extract a"), unit("extract b")];
        let failure = verdict(&status, "mend it").unwrap_err();
        assert_eq!((failure.code(), failure.to_string().as_str()), (2, "extract a: no such file (and 1 more unit)\nmend it"));
    }
}
