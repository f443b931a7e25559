//! Chaos among real processes: a sweep of a few thousand units goes on while workers and coordinators are killed, stopped,
//! drained and cut off, and the store goes away; then everything that must hold is counted.
//!
//! What is done, to whom and when follows from the seed. What becomes of it doesn't: processes race. So a seed replays the
//! deeds of a run, not each of its moments.

mod audit;
mod fleet;
mod forward;
mod lead;
mod logs;
mod place;
mod schedule;
mod table;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use fleet::{Crew, Fleet};
pub use forward::Forward;
use lead::{Lead, Office};
pub use place::Place;
use schedule::{Deed, Lane, Planned, schedule};
pub use table::{Deeds, Found};
use watch::Watch;

/// What a run of chaos is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `limbic`.
    pub limbic: PathBuf,
    /// The program `limbic-worker`, which must know `LIMBIC_FAKE_ENGINE`.
    pub worker: PathBuf,
    /// How long deeds are done.
    pub length: Duration,
    /// What is done when follows from it, as `schedule.rs` says.
    pub seed: u64,
    /// At least so many units.
    pub units: usize,
    /// So many workers at a time.
    pub workers: usize,
    /// How long a unit takes; by default so long that the work lasts as long as the deeds.
    pub unit: Option<Duration>,
    /// Where the store lies.
    pub place: Place,
    /// Where specs, logs and reports go; kept.
    pub folder: PathBuf,
}

/// Seconds between heartbeats.
const HEARTBEAT: f64 = 1.0;
/// Seconds of a lease.
const LEASE_TTL: f64 = 4.0;
/// How much longer than the deeds the sweep may take to end.
const GRACE: Duration = Duration::from_secs(300);
/// Rows of the dataset, and of an extract unit.
const ROWS: (usize, usize) = (210, 5);
/// Fit units of a condition: the model has four blocks, its embeddings and its final norm.
const FITS: usize = 6;

fn spec(units: usize) -> String {
    let shipped = crate::Sandbox::repository().join("configs/quickstart");
    let each = ROWS.0 / ROWS.1 + FITS;
    let conditions: Vec<String> = (0..units.div_ceil(each)).map(|i| format!("{{name: c{i}, template: 'Case {i}. {{text}}'}}")).collect();
    format!(
        "name: chaos\ndataset: {{group: group, limit: {}, source: {}}}\nmodels: [{{source: {}}}]\nconditions: [{}]\noffsets: [0]\n\
         probes: [{{kind: logistic, c: [0.01]}}]\nexecution: {{rows_per_unit: {}}}\nreport: {{resamples: 100}}\n",
        ROWS.0,
        shipped.join("corpus.jsonl").display(),
        shipped.join("models/tiny-0.3m").display(),
        conditions.join(", "),
        ROWS.1
    )
}

/// The processes of one run over one store.
struct Stage {
    options: Options,
    store: String,
    folder: PathBuf,
    url: String,
    fleet: Arc<Fleet>,
    lead: Mutex<Lead>,
    /// The sweep is complete, or all hope is lost.
    over: AtomicBool,
    done: Mutex<Deeds>,
}

impl Stage {
    fn set(options: &Options, store: &str, name: &str, unit: Duration) -> anyhow::Result<Stage> {
        let folder = options.folder.join(name);
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs)?;
        let forward = Forward::start()?;
        let url = forward.url();
        let office = Office {
            program: options.limbic.clone(),
            store: store.to_owned(),
            heartbeat: HEARTBEAT,
            lease_ttl: LEASE_TTL,
            logs: logs.clone(),
        };
        let lead = Mutex::new(Lead::new(office, forward));
        let fleet = Fleet::start(Crew { program: options.worker.clone(), coordinator: url.clone(), unit, logs }, options.workers);
        let (options, store) = (options.clone(), store.to_owned());
        Ok(Stage { options, store, folder, url, fleet, lead, over: AtomicBool::new(false), done: Mutex::default() })
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Runs `limbic` and gives what it printed.
    fn limbic(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = std::process::Command::new(&self.options.limbic)
            .args(args)
            .env("LIMBIC_LOG", "error")
            .current_dir(&self.folder)
            .output()
            .context("starting limbic")?;
        if !output.status.success() {
            bail!("limbic {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Submits the sweep and gives its id.
    fn submit(&self) -> anyhow::Result<String> {
        let path = self.folder.join("chaos.yaml");
        std::fs::write(&path, spec(self.options.units))?;
        let path = path.to_string_lossy();
        let answer = self.limbic(&["submit", &path, "--coordinator", &self.url, "--json"])?;
        let answer: serde_json::Value = serde_json::from_str(answer.trim())?;
        Ok(answer["sweep"].as_str().context("an accepted sweep has an id")?.to_owned())
    }

    fn status(&self, sweep: &str) -> Option<serde_json::Value> {
        let answer = self.limbic(&["status", sweep, "--coordinator", &self.url, "--json"]).ok()?;
        serde_json::from_str(answer.trim()).ok()
    }

    /// Waits until the sweep is complete; gives the last status, or none if it took too long.
    fn complete(&self, sweep: &str, deadline: Instant) -> Option<serde_json::Value> {
        let done = loop {
            match self.status(sweep) {
                Some(status) if status["state"] == "complete" => break Some(status),
                _ if Instant::now() > deadline => break None,
                _ => std::thread::sleep(Duration::from_millis(500)),
            }
        };
        self.over.store(true, Ordering::SeqCst);
        done
    }

    /// Does a lane's deeds, each when it is due, until the sweep is complete.
    fn play(&self, lane: Lane, began: Instant) {
        for planned in schedule(self.options.seed, lane, self.options.length) {
            while began.elapsed() < planned.at && !self.over() {
                std::thread::sleep(Duration::from_millis(20));
            }
            if self.over() {
                return;
            }
            self.perform(planned);
        }
    }

    fn perform(&self, planned: Planned) {
        let Planned { deed, draw, .. } = planned;
        let between = |from: u64, to: u64| Duration::from_millis(from + draw % (to - from));
        let ttl = (LEASE_TTL * 1000.0) as u64;
        let (fleet, mut count) = (&self.fleet, 1);
        let lead = || self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match deed {
            Deed::KillWorker => fleet.kill(draw),
            Deed::StopWorker => fleet.stop(draw, between(ttl + 1000, 3 * ttl)),
            Deed::DrainWorker => fleet.drain(draw),
            Deed::KillAllWorkers => {
                let killed = fleet.kill_all(draw);
                self.note(Deed::KillWorker, killed);
                killed > 0
            }
            Deed::KillCoordinator | Deed::Outage => {
                let mut lead = lead();
                lead.kill();
                if deed == Deed::Outage {
                    self.note(Deed::KillCoordinator, 1);
                    std::thread::sleep(between(3000, 15_000));
                }
                lead.restart();
                lead.recover(|| self.over());
                true
            }
            Deed::StopCoordinator => {
                lead().stop(between(ttl + 500, 2 * ttl));
                true
            }
            Deed::Duel | Deed::Zombie => {
                let mut lead = lead();
                lead.duel((deed == Deed::Zombie).then(|| between(ttl + 500, 2 * ttl)), between(200, 3000));
                lead.recover(|| self.over());
                true
            }
            Deed::Partition => {
                lead().partition(between(2000, 3 * ttl));
                true
            }
            Deed::StoreOutage => {
                fleet.excuse(true);
                count = usize::from(self.options.place.outage(&self.store, between(2000, 5000)));
                // Workers that found nothing to write to end a little later.
                std::thread::sleep(Duration::from_secs(4));
                fleet.excuse(false);
                count > 0
            }
            Deed::FlipBit => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.is_ok_and(|runtime| runtime.block_on(watch::flip(&self.store, draw)).unwrap_or(false))
            }
        };
        if done {
            self.note(deed, count);
        }
    }

    fn note(&self, deed: Deed, count: usize) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner).entry(deed).or_default() += count;
    }

    /// Writes the report of what is committed.
    fn report(&self, sweep: &str) -> anyhow::Result<PathBuf> {
        let out = self.folder.join("report");
        self.limbic(&["report", sweep, "--store", &self.store, "--out", &out.to_string_lossy()])?;
        Ok(out)
    }
}

/// Runs the sweep undisturbed, then with chaos, and compares.
///
/// # Errors
/// Something is not as this program needs it (not: something was lost; see [`Found::violations`]).
pub fn run(options: &Options) -> anyhow::Result<Found> {
    std::fs::create_dir_all(&options.folder)?;
    let calm_store = options.folder.join("calm/store").to_string_lossy().into_owned();
    let calm = Stage::set(options, &calm_store, "calm", Duration::ZERO)?;
    let sweep = calm.submit()?;
    if calm.complete(&sweep, Instant::now() + GRACE).is_none() {
        bail!("the undisturbed run is not complete after {} s", GRACE.as_secs());
    }
    calm.fleet.end();
    let expected = calm.report(&sweep)?;

    let store = options.place.open(&options.folder)?;
    let unit = options.unit.unwrap_or_else(|| options.length.mul_f64(0.65 * options.workers as f64 / options.units as f64));
    let stage = Stage::set(options, &store, "chaos", unit)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut watch = Watch::new(&store)?;
    if stage.submit()? != sweep {
        bail!("the same spec gave another sweep");
    }
    let began = Instant::now();
    let status = std::thread::scope(|scope| {
        for lane in [Lane::Workers, Lane::Lead, Lane::Store] {
            let stage = &stage;
            scope.spawn(move || stage.play(lane, began));
        }
        let (stage, watch, runtime) = (&stage, &mut watch, &runtime);
        scope.spawn(move || {
            while !stage.over() {
                // While the store is away nothing can be seen.
                let _ = runtime.block_on(watch.look(false));
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        stage.complete(&sweep, began + options.length + GRACE)
    });
    let seconds = began.elapsed().as_secs_f64();
    let (drains, mut surprises) = stage.fleet.end();
    let actual = stage.report(&sweep);
    let mut lead = stage.lead.lock().unwrap_or_else(PoisonError::into_inner);
    lead.kill();
    surprises.append(&mut lead.surprises);
    let done = stage.done.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut found = Found::new(options, done, seconds, drains, lead.recoveries.clone(), lead.superseded);
    found.violations.append(&mut surprises);
    match &status {
        None => found.violations.push("the sweep was not complete in time".to_owned()),
        Some(status) => found.status(status),
    }
    match actual {
        Ok(actual) => found.compare(&expected, &actual)?,
        Err(error) => found.violations.push(error.to_string()),
    }
    let (calm_logs, logs): (&Path, &Path) = (&calm.folder.join("logs"), &stage.folder.join("logs"));
    runtime.block_on(audit::audit(&mut found, &calm_store, watch, calm_logs, logs))?;
    Ok(found)
}
