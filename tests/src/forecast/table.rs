//! Forecasts as tables in Markdown and as JSON.

use std::fmt::Write;

use limbic::progress::{bytes, count, seconds};
use limbic::sweep::Sweep;
use limbic_proto::unit::UnitKind;
use serde_json::{Value, json as value};

use super::limits::{GIB, Limit, Room, limits};
use super::minutes::Counted;
use super::outcome::Outcome;
use super::rates::Rates;
use super::{Fleet, Total};

/// What was asked, and what came of it.
#[derive(Debug)]
pub struct Forecast<'a> {
    /// The plan.
    pub sweep: &'a Sweep,
    /// How fast workers are taken to be.
    pub rates: &'a Rates,
    /// What it takes altogether.
    pub total: Total,
    /// So many times the rows were planned.
    pub planned: usize,
    /// So many times the rows were asked for.
    pub times: usize,
    /// Bytes of memory that rows and plan took.
    pub memory: f64,
    /// What memory there is.
    pub room: Room,
    /// Dollars for an hour of a worker.
    pub price: f64,
    /// Dollars for an hour of a worker that takes fits alone.
    pub fit_price: f64,
    /// Runs, from few workers to many.
    pub runs: Vec<(Fleet, Outcome)>,
}

impl Forecast<'_> {
    fn limits(&self) -> Vec<Limit> {
        self.runs.last().map_or_else(Vec::new, |run| limits(&self.total, run, self.memory, self.room))
    }

    /// Dollars for a run.
    fn cost(&self, run: &Outcome) -> f64 {
        (run.alive_seconds * self.price + run.fit_alive_seconds * self.fit_price) / 3600.0
    }

    /// What the plan's numbers are multiplied by to get at what was asked.
    fn factor(&self) -> f64 {
        self.times as f64 / self.planned as f64
    }
}

fn hours(seconds: f64) -> String {
    match seconds / 3600.0 {
        few if few < 10.0 => format!("{few:.1}"),
        many => count(many),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn rate(n: f64) -> String {
    match n {
        n if n >= 100.0 => count(n),
        n if n >= 1.0 => format!("{n:.1}"),
        n => format!("{n:.3}"),
    }
}

fn row(out: &mut String, cells: &[String]) {
    writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

fn head(out: &mut String, cells: &[&str]) {
    row(out, &cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    writeln!(out, "|---{}|", "|--:".repeat(cells.len() - 1)).expect("a string takes everything");
}

/// The tables.
pub fn markdown(of: &Forecast<'_>) -> String {
    let mut out = String::new();
    work(&mut out, of);
    runs(&mut out, of);
    scarce(&mut out, of);
    if of.times > of.planned {
        beyond(&mut out, of);
    }
    out
}

/// What there is to do.
fn work(out: &mut String, of: &Forecast<'_>) {
    let (plan, total) = (&of.sweep.plan, &of.total);
    let estimate = &plan.estimate;
    let name = of.sweep.name();
    let times = if of.planned == 1 { String::new() } else { format!(", {} times its rows", of.planned) };
    writeln!(out, "`{name}`{times}: {} rows, {} cells, {} units\n", estimate.rows, estimate.cells, plan.units.len()).expect("fits");
    head(out, &["units", "number", "tokens", "FLOPs", "stored"]);
    for (kind, of) in &estimate.units {
        let (tokens, flops) = (count(of.tokens as f64), count(of.flops));
        row(out, &[kind.as_str().to_owned(), of.units.to_string(), tokens, flops, bytes(of.bytes_stored)]);
    }
    writeln!(
        out,
        "\n{} hours of units, {} of them fits, {} of a GPU that computes; the longest unit {}, the longest chain of units {}\n\
         {} reads ({}) and {} writes ({}, {} of it hidden states) of the store; {} of memory for rows and plan\n",
        hours(total.seconds),
        hours(total.fit_seconds),
        hours(total.gpu_seconds),
        seconds(total.unit_seconds),
        seconds(total.chain_seconds),
        count(total.gets),
        bytes(total.read as u64),
        count(total.puts),
        bytes(total.written as u64),
        bytes(total.states as u64),
        bytes(of.memory as u64),
    )
    .expect("fits");
}

/// What it takes, by workers.
fn runs(out: &mut String, of: &Forecast<'_>) {
    let mut names = vec!["workers"];
    let columns: Vec<String> = of.runs.iter().map(|(fleet, _)| fleet.workers.to_string()).collect();
    names.extend(columns.iter().map(String::as_str));
    head(out, &names);
    let mut line = |name: &str, cell: &dyn Fn(&Fleet, &Outcome) -> String| {
        let cells: Vec<String> = of.runs.iter().map(|(fleet, run)| cell(fleet, run)).collect();
        row(out, &[vec![name.to_owned()], cells].concat());
    };
    let busy = |run: &Outcome| run.busy_seconds.values().sum::<f64>().max(f64::MIN_POSITIVE);
    line("wall time", &|_, run| seconds(run.wall_seconds));
    line("ideal (work over workers) of it", &|fleet, run| percent(of.total.ideal(fleet) / run.wall_seconds));
    line("preempted per worker and hour", &|fleet, _| fleet.preempted_per_hour.to_string());
    line("preemptions, attempts lost", &|_, run| format!("{}, {}", run.preemptions, run.lost_attempts));
    line("lost with them, of all work", &|_, run| percent(run.lost_seconds / busy(run)));
    line("second attempts that came too late", &|_, run| percent(run.overtaken_seconds / busy(run)));
    line("units given up (and those that need them)", &|_, run| run.units.quarantined.to_string());
    line("models loaded", &|_, run| run.loads.to_string());
    for kind in [UnitKind::Fit, UnitKind::Transfer] {
        line(&format!("time in {} units, of all work", kind.as_str()), &|_, run| {
            percent(run.busy_seconds.get(&kind).copied().unwrap_or(0.0) / busy(run))
        });
    }
    line("leases at a time, at most", &|_, run| run.in_flight.to_string());
    for (name, what) in [
        ("grants/s: mean, peak minute", Counted::Grants),
        ("heartbeats/s", Counted::Heartbeats),
        ("all calls/s of the coordinator", Counted::Calls),
        ("store: reads/s", Counted::Gets),
        ("store: writes/s", Counted::Puts),
        ("store: lists/s", Counted::Lists),
    ] {
        line(name, &|_, run| format!("{}, {}", rate(run.mean(what)), rate(run.minutes.peak(what))));
    }
    for (name, what) in [("store: GB/s read", Counted::BytesRead), ("store: GB/s written", Counted::BytesWritten)] {
        line(name, &|_, run| format!("{}, {}", rate(run.mean(what) / 1e9), rate(run.minutes.peak(what) / 1e9)));
    }
    line("journal", &|_, run| bytes(run.minutes.total(Counted::JournalBytes) as u64));
    line("hidden states at a time, at most", &|_, run| bytes(run.standing as u64));
    line("worker hours", &|_, run| hours(run.alive_seconds));
    if of.runs.iter().any(|(fleet, _)| fleet.fit_workers > 0) {
        line("workers that take fits alone, and their hours", &|fleet, run| {
            format!("{}, {}", fleet.fit_workers, hours(run.fit_alive_seconds))
        });
        line(&format!("cost at ${} and ${} an hour", of.price, of.fit_price), &|_, run| format!("${}", count(of.cost(run))));
    } else {
        line(&format!("cost at ${} an hour", of.price), &|_, run| format!("${}", count(of.cost(run))));
    }
    out.push('\n');
}

/// What becomes scarce.
fn scarce(out: &mut String, of: &Forecast<'_>) {
    let Some((fleet, _)) = of.runs.last() else { return };
    head(out, &[&format!("scarce with {} workers", fleet.workers), "used", "there is", "enough for"]);
    for limit in of.limits() {
        let more = if limit.with_workers { "the workers" } else { "the rows" };
        let cell = |n: f64| format!("{} {}", rate(n), limit.unit).trim_end().to_owned();
        row(out, &[limit.what.to_owned(), cell(limit.used), cell(limit.room), format!("{} × {more}", rate(limit.reach()))]);
    }
}

/// What was asked, where that is more than could be planned.
fn beyond(out: &mut String, of: &Forecast<'_>) {
    let (f, total) = (of.factor(), &of.total);
    let most = (of.room.coordinator / (of.memory / of.planned as f64)).floor();
    writeln!(
        out,
        "\n{} times the rows need {} of the coordinator's memory, which grows with them; {} has room for {most} times. What follows was \
         not simulated: it is the plan's numbers times {f}, which is right of what is linear in the rows and of nothing else\n",
        of.times,
        bytes((of.memory * f) as u64),
        bytes(of.room.coordinator as u64),
    )
    .expect("fits");
    let estimate = &of.sweep.plan.estimate;
    let sharded: u64 = estimate.units.iter().filter(|(kind, _)| kind.runs_model()).map(|(_, of)| of.units).sum();
    let fits: u64 = estimate.units.iter().filter(|(kind, _)| !kind.runs_model()).map(|(_, of)| of.units).sum();
    head(out, &["extrapolated", &format!("× {f}")]);
    row(out, &["rows".to_owned(), count(estimate.rows as f64 * f)]);
    row(out, &["units of some rows".to_owned(), count(sharded as f64 * f)]);
    row(out, &["units of all rows (as many as before)".to_owned(), fits.to_string()]);
    row(out, &["hours of units".to_owned(), hours(total.seconds * f)]);
    if let Some((fleet, _)) = of.runs.first() {
        let alone = f * total.ideal(&Fleet { workers: 1, fit_workers: 0, ..*fleet });
        row(out, &["worker hours, nothing lost".to_owned(), hours(alone)]);
        row(out, &[format!("cost at ${} an hour, nothing lost", of.price), format!("${}", count(alone / 3600.0 * of.price))]);
    }
    row(out, &["store: reads".to_owned(), format!("{}, {}", count(total.gets * f), bytes((total.read * f) as u64))]);
    row(out, &["store: writes".to_owned(), format!("{}, {}", count(total.puts * f), bytes((total.written * f) as u64))]);
    row(out, &["longest unit".to_owned(), seconds(total.unit_seconds * f)]);
    row(out, &["longest chain of units".to_owned(), seconds(total.chain_seconds * f)]);
    row(out, &["one read-out of the widest fit".to_owned(), bytes((total.held * f) as u64)]);
    for (fleet, _) in &of.runs {
        let least = total.ideal(fleet).max(total.chain_seconds) * f;
        row(out, &[format!("wall time of {} workers, at least", fleet.workers), seconds(least)]);
    }
}

/// The same for programs.
pub fn json(of: &Forecast<'_>) -> Value {
    let run = |(fleet, run): &(Fleet, Outcome)| {
        let rates = |what: Counted| value!({"mean": run.mean(what), "peak": run.minutes.peak(what), "total": run.minutes.total(what)});
        let busy = run.busy_seconds.iter().map(|(kind, seconds)| (kind.as_str().to_owned(), value!(seconds)));
        value!({
            "workers": fleet.workers, "apart": fleet.apart, "fit_workers": fleet.fit_workers, "preempted_per_hour": fleet.preempted_per_hour, "seed": fleet.seed,
            "wall_seconds": run.wall_seconds, "ideal_seconds": of.total.ideal(fleet),
            "alive_seconds": run.alive_seconds, "fit_alive_seconds": run.fit_alive_seconds, "lost_seconds": run.lost_seconds, "overtaken_seconds": run.overtaken_seconds,
            "busy_seconds": busy.collect::<serde_json::Map<_, _>>(), "preemptions": run.preemptions, "lost_attempts": run.lost_attempts,
            "units": run.units, "attempts": run.attempts, "loads": run.loads, "leases": run.in_flight, "standing_bytes": run.standing,
            "cost": of.cost(run),
            "per_second": Counted::ALL.map(|what| (what, rates(what))).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        })
    };
    let estimate = &of.sweep.plan.estimate;
    value!({
        "name": of.sweep.name(), "times": of.times, "planned_times": of.planned, "rows": estimate.rows,
        "units": of.sweep.plan.units.len(), "cells": estimate.cells, "rates": of.rates, "total": of.total,
        "memory_gib": of.memory / GIB, "limits": of.limits(), "runs": of.runs.iter().map(run).collect::<Vec<_>>(),
    })
}
