//! The whole machine in one thread and on a simulated clock: coordinators and workers as they are, speaking gRPC over a
//! simulated network, on a store in memory whose answers are late, lost or errors. The same seed gives the same run, so a
//! failing seed can be run again: `cargo run --release -p limbic-tests --bin simulate -- --seed N --log FILE`.

mod hosts;
mod schedule;
mod store;
mod system;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use limbic::sweep::{self, Sweep};
use limbic_store::{Store, chance};
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Sandbox;
use schedule::Schedule;
use world::World;

/// How long disturbances go on, in simulated time.
const DISTURBED: Duration = Duration::from_secs(900);
/// How long the sweep may take altogether, in simulated time. Healed, it needs some minutes for what is left.
const LONGEST: Duration = Duration::from_secs(7200);
/// The simulated network and every clock move in steps of this length.
const TICK: Duration = Duration::from_millis(50);
/// Workers.
pub const WORKERS: usize = 8;

/// What simulations came to, by seed; an error where one did not come to its end.
pub type Outcomes = BTreeMap<u64, Result<Outcome, String>>;

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// BLAKE3 over every store request with its time, sender and answer, every unit begun, and every disturbance.
    pub trace: String,
    /// Simulated time until the sweep was complete.
    pub took: Duration,
    /// Units of the sweep.
    pub units: u64,
    /// Units that failed for good, as some do when every attempt may fail.
    pub quarantined: u64,
    /// BLAKE3 over the artifacts of all units, in order; none where one was given up or split.
    pub results: Option<String>,
    /// How often what was done.
    pub counts: BTreeMap<String, u64>,
    /// What must not happen.
    pub violations: Vec<String>,
}

/// A sweep of some three hundred units, prepared once and simulated under many seeds.
#[derive(Debug, Clone)]
pub struct Study {
    sweep: Sweep,
}

impl Study {
    /// Plans the sweep: each of 105 rows drawn from the shipped corpus is a unit under each of three conditions.
    ///
    /// # Errors
    /// The shipped corpus or model can't be read.
    pub fn new() -> anyhow::Result<Study> {
        let shipped = Sandbox::repository().join("configs/quickstart");
        let text = format!(
            "name: simulated\ndataset: {{source: {}, group: group, limit: 105}}\nmodels: [{{source: {}}}]\nconditions: \
             [{{name: raw}}, {{name: calm, template: 'Calmly. {{text}}'}}, {{name: tense, template: 'Tensely. {{text}}'}}]\n\
             offsets: [0]\nprobes: [{{kind: logistic, c: [1]}}]\nexecution: {{rows_per_unit: 1, activations: release}}\n",
            shipped.join("corpus.jsonl").display(),
            shipped.join("models/tiny-0.3m").display(),
        );
        let spec = limbic_proto::spec::Spec::from_yaml(&text, std::path::Path::new("simulated.yaml"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Study { sweep: runtime.block_on(sweep::prepare(spec))? })
    }

    /// Runs the sweep under what the seed draws, in this thread alone; in another process it is the same run. The second value is everything that happened, if it
    /// is to be kept.
    ///
    /// # Errors
    /// The simulation itself can't go on, or the sweep is not complete in time; what else goes wrong is among the outcome's
    /// violations.
    pub fn simulate(&self, seed: u64, log: bool) -> (anyhow::Result<Outcome>, Vec<String>) {
        chance::seed(seed);
        system::set(Some(Duration::ZERO));
        let world = Arc::new(World::new(seed, &self.sweep, log));
        // Attempts leave logs, as they do in production.
        let _collected = tracing_subscriber::registry().with(limbic_worker::attempt_logs()).set_default();
        let outcome = self.run(seed, &world).map(|took| world.judge(took));
        system::set(None);
        (outcome, world.log())
    }

    /// Runs it to its end, and says how long that took.
    fn run(&self, seed: u64, world: &Arc<World>) -> anyhow::Result<Duration> {
        let accepting = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        accepting.block_on(sweep::accept(&Store::over("sim://store", world.inner.clone()), self.sweep.clone()))?;
        let mut sim = turmoil::Builder::new()
            .simulation_duration(LONGEST)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(150))
            .tcp_capacity(1 << 14)
            .rng_seed(seed)
            .build();
        for name in hosts::COORDINATORS {
            let world = world.clone();
            sim.host(name, move || hosts::coordinator(world.clone(), name));
        }
        for number in 0..WORKERS {
            let world = world.clone();
            sim.host(hosts::worker_name(number), move || hosts::worker(world.clone(), number));
        }
        let mut schedule = Schedule::new(seed);
        while !world.complete() {
            anyhow::ensure!(sim.elapsed() + TICK < LONGEST, "the sweep is not complete after {LONGEST:?}: {}", world.left());
            schedule.step(&mut sim, world, DISTURBED);
            sim.step().map_err(|e| anyhow::anyhow!("{e}"))?;
        }
        // The hosts are dropped here, before their store is judged: nobody writes any more.
        Ok(sim.elapsed())
    }
}

/// Runs the sweep under each seed, so many at a time, each in a process of its own. `program` is this crate's `simulate`.
///
/// # Errors
/// The program can't be started; what goes wrong under a seed is among the outcomes.
pub fn many(program: &Path, seeds: Range<u64>, at_once: usize) -> anyhow::Result<Outcomes> {
    let (mut left, mut running, mut outcomes) = (seeds, VecDeque::new(), Outcomes::new());
    loop {
        while running.len() < at_once.max(1)
            && let Some(seed) = left.next()
        {
            let mut command = Command::new(program);
            let child = command.args(["--seed", &seed.to_string(), "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            running.push_back((seed, child));
        }
        let Some((seed, child)) = running.pop_front() else { return Ok(outcomes) };
        let ended = child.wait_with_output()?;
        let outcome = serde_json::from_slice(&ended.stdout).map_err(|_| String::from_utf8_lossy(&ended.stderr).into_owned());
        outcomes.insert(seed, outcome);
    }
}

/// What simulations came to, in words.
pub fn table(outcomes: &Outcomes) -> String {
    let good: Vec<&Outcome> = outcomes.values().filter_map(|outcome| outcome.as_ref().ok()).collect();
    let failed = |(seed, outcome): (&u64, &Result<Outcome, String>)| match outcome {
        Ok(outcome) if outcome.violations.is_empty() => None,
        Ok(outcome) => Some(format!("seed {seed} FAILED: {}", outcome.violations.join("; "))),
        Err(error) => Some(format!("seed {seed} FAILED: {error}")),
    };
    let mut lines: Vec<String> = outcomes.iter().filter_map(failed).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    good.iter().flat_map(|outcome| &outcome.counts).for_each(|(what, count)| *counts.entry(what).or_default() += count);
    lines.extend(counts.iter().map(|(what, count)| format!("{what:<28} {count:>7}")));
    let hours = good.iter().map(|outcome| outcome.took.as_secs_f64()).sum::<f64>() / 3600.0;
    let (units, quarantined) = good.iter().fold((0, 0), |(u, q), outcome| (u + outcome.units, q + outcome.quarantined));
    lines.push(format!(
        "{} seeds, {} failed; {units} units, {quarantined} of them given up; {hours:.1} simulated hours",
        outcomes.len(),
        lines.iter().filter(|line| line.contains("FAILED")).count()
    ));
    lines.join("\n")
}
