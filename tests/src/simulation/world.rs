//! What a simulation knows of everything: the store itself, what was written and begun, who is cut off from what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use limbic::sweep::Sweep;
use limbic_proto::commit::{self, Commit};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::status::Status;
use limbic_proto::unit::STATES;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use turmoil::Sim;

use super::{Outcome, hosts};

/// How long a commit may stand before somebody who asks the store can't say that it was not there yet: the longest that
/// an answer travels, and a step of the clocks.
const SEEN: Duration = Duration::from_millis(500);

/// What a simulation knows.
#[derive(Debug)]
pub(super) struct World {
    pub(super) inner: Arc<InMemory>,
    units: BTreeSet<UnitKey>,
    /// What reads each unit that is read.
    readers: BTreeMap<UnitKey, Vec<UnitKey>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The simulated time as the schedule last saw it; hosts know it themselves.
    now: Duration,
    draws: ChaCha8Rng,
    trace: blake3::Hasher,
    log: Option<Vec<String>>,
    /// Where workers find the coordinator.
    leader: &'static str,
    /// Until when hosts don't reach the store.
    away: BTreeMap<String, Duration>,
    /// Programs that ended by themselves, and since when.
    ended: BTreeMap<String, Duration>,
    /// Asks a host's program to leave.
    drains: BTreeMap<String, Arc<Notify>>,
    /// The host that is being crashed.
    crashing: Option<String>,
    /// How often each host's program was started.
    starts: BTreeMap<String, u64>,
    /// Control objects, with the digest of what was first written, and when.
    control: BTreeMap<String, (Digest, Duration)>,
    counts: BTreeMap<String, u64>,
    violations: Vec<String>,
    status: Option<Status>,
}

/// Whether an object decides over something: it is created once and never changes.
fn decides(path: &str) -> bool {
    [layout::commits(), layout::releases(), layout::sweeps()].iter().any(|folder| path.starts_with(folder))
}

impl World {
    pub(super) fn new(seed: u64, sweep: &Sweep, log: bool) -> World {
        let state = State {
            now: Duration::ZERO,
            // Another stream than that of the network and of the schedule.
            draws: ChaCha8Rng::seed_from_u64(seed ^ 0x5708_e5ee_d000_0000),
            trace: blake3::Hasher::new(),
            log: log.then(Vec::new),
            leader: hosts::COORDINATORS[0],
            away: BTreeMap::new(),
            ended: BTreeMap::new(),
            drains: BTreeMap::new(),
            crashing: None,
            starts: BTreeMap::new(),
            control: BTreeMap::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            status: None,
        };
        let mut readers: BTreeMap<UnitKey, Vec<UnitKey>> = BTreeMap::new();
        for (reader, planned) in &sweep.plan.units {
            planned.unit.spec.dependencies().iter().for_each(|read| readers.entry(*read).or_default().push(*reader));
        }
        World { inner: Arc::default(), units: sweep.plan.units.keys().copied().collect(), readers, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulated time.
    pub(super) fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_else(|| self.state().now)
    }

    /// The simulated time moves on, outside all hosts.
    pub(super) fn tick(&self, now: Duration) {
        super::system::set(Some(now));
        self.state().now = now;
    }

    /// A number in 0..1.
    pub(super) fn draw(&self) -> f64 {
        self.state().draws.random()
    }

    /// Writes a line into the trace.
    pub(super) fn note(&self, who: &str, what: &str, of: &str, answer: &str) {
        let at = self.now();
        let line = format!("{:9.3} {who} {what} {of} {answer}", at.as_secs_f64());
        let mut state = self.state();
        state.trace.update(line.as_bytes());
        if let Some(log) = &mut state.log {
            log.push(line);
        }
    }

    /// Counts something that was done to the machine or by it.
    pub(super) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn violate(&self, what: String) {
        self.state().violations.push(what);
    }

    pub(super) fn leader(&self) -> &'static str {
        self.state().leader
    }

    pub(super) fn set_leader(&self, leader: &'static str) {
        self.state().leader = leader;
    }

    /// A host's program starts: how often it did before.
    pub(super) fn start(&self, host: &str) -> u64 {
        let mut state = self.state();
        state.ended.remove(host);
        state.drains.insert(host.to_owned(), Arc::default());
        let starts = state.starts.entry(host.to_owned()).or_default();
        *starts += 1;
        *starts - 1
    }

    /// What asks the host's program, as it runs now, to leave.
    pub(super) fn drained(&self, host: &str) -> Arc<Notify> {
        self.state().drains.entry(host.to_owned()).or_default().clone()
    }

    /// A host's program ended by itself.
    pub(super) fn end(&self, host: &str, why: &str) {
        self.note(host, "ends", "", why);
        let now = self.now();
        self.state().ended.insert(host.to_owned(), now);
    }

    /// The hosts whose program ended at least that long ago, to be started again.
    pub(super) fn ended(&self, at: Duration, since: Duration) -> Vec<String> {
        let ended = |(host, when): (&String, &Duration)| (*when + since <= at).then(|| host.clone());
        self.state().ended.iter().filter_map(ended).collect()
    }

    /// Crashes a host's program, if one runs there.
    pub(super) fn crash(&self, host: &str, sim: &mut Sim<'_>) {
        self.state().crashing = Some(host.to_owned());
        sim.crash(host);
        self.state().crashing = None;
    }

    pub(super) fn is_crashing(&self, host: &str) -> bool {
        self.state().crashing.as_deref() == Some(host)
    }

    pub(super) fn forget_ended(&self, host: &str) {
        self.state().ended.remove(host);
    }

    pub(super) fn keep_store_away(&self, host: &str, until: Duration) {
        let mut state = self.state();
        let away = state.away.entry(host.to_owned()).or_default();
        *away = until.max(*away);
    }

    pub(super) fn store_away(&self, host: &str) -> bool {
        let now = self.now();
        self.state().away.get(host).is_some_and(|until| now < *until)
    }

    /// The leader's word on where the sweep stands.
    pub(super) fn told(&self, status: Status) {
        self.state().status = Some(status);
    }

    pub(super) fn complete(&self) -> bool {
        self.state().status.as_ref().is_some_and(|status| status.state.terminal())
    }

    /// What is left to do, in words.
    pub(super) fn left(&self) -> String {
        format!("{:?}", self.state().status.as_ref().map(|status| (status.units, &status.waiting)))
    }

    /// A unit is begun: its commit must not have stood long enough for its worker to know.
    pub(super) fn begun(&self, host: &str, unit: &UnitKey, generation: u32) {
        let path = layout::commit(unit, commit::result(generation));
        self.note(host, "begins", &unit.short(), "");
        self.count("attempts begun");
        let stood = self.state().control.get(&path).map(|(_, since)| *since);
        let now = self.now();
        if let Some(since) = stood.filter(|since| *since + SEEN < now) {
            self.violate(format!("{host} begins unit {} at {now:?}, committed since {since:?}", unit.short()));
        }
    }

    /// An object was written.
    pub(super) fn written(&self, path: &str, body: &Bytes, create: bool) {
        if !decides(path) {
            return;
        }
        let (digest, now) = (Digest::of(body), self.now());
        let mut state = self.state();
        if !create {
            state.violations.push(format!("{path} is not created but put"));
        }
        if state.control.insert(path.to_owned(), (digest, now)).is_some() {
            state.violations.push(format!("{path} is written twice"));
        }
        drop(state);
        if path.starts_with(layout::releases()) {
            self.marked(path);
        }
        if let Ok(Commit::Done(done)) = serde_json::from_slice::<Commit>(body) {
            let Some((unit, _)) = path.rsplit('/').next().and_then(layout::link) else {
                return self.violate(format!("{path} is no place for a commit"));
            };
            for artifact in &done.artifacts {
                match self.object(&layout::artifact(&unit, &done.attempt, &artifact.name)) {
                    Some(bytes) if Digest::of(&bytes) == artifact.blake3 && bytes.len() as u64 == artifact.len => {}
                    found => self.violate(format!("{path} names {}, and there are {:?} bytes", artifact.name, found.map(|b| b.len()))),
                }
            }
        }
    }

    /// Activations are about to be released: everything that reads them must be committed. (Of a unit's halves it is not
    /// known here what that is.)
    fn marked(&self, path: &str) {
        self.count("activations released");
        let unit = path.rsplit('/').next().and_then(layout::link).map(|(unit, _)| unit);
        let readers = unit.and_then(|unit| self.readers.get(&unit)).map(Vec::as_slice).unwrap_or_default();
        let state = self.state();
        let open: Vec<String> =
            readers.iter().filter(|unit| !state.control.contains_key(&layout::commit(unit, 0))).map(Digest::short).collect();
        drop(state);
        if !open.is_empty() {
            self.violate(format!("{path} is released before {open:?} are committed"));
        }
    }

    /// An object is deleted: only activations ever are, and only where a marker says that they are released.
    pub(super) fn deleted(&self, path: &str) {
        let released = match path.split('/').collect::<Vec<_>>()[..] {
            ["data", _, unit, attempt, name] if name == STATES || attempt == layout::PARTS => {
                unit.parse().is_ok_and(|unit| self.state().control.contains_key(&layout::released(&unit, 0)))
            }
            _ => false,
        };
        if !released {
            self.violate(format!("{path} is deleted"));
        }
    }

    /// An object as it stands; the store in memory answers at once.
    fn object(&self, path: &str) -> Option<Bytes> {
        let path = Path::from(path);
        let got = self.inner.get(&path).now_or_never().expect("a store in memory doesn't wait").ok()?;
        got.bytes().now_or_never().expect("a store in memory doesn't wait").ok()
    }

    /// Everything that happened, if it was kept.
    pub(super) fn log(&self) -> Vec<String> {
        self.state().log.take().unwrap_or_default()
    }

    /// BLAKE3 over the artifacts of the sweep's units, as their commits name them; none where a unit has no such commit.
    fn results(&self, written: &[(String, Digest)]) -> Option<String> {
        let commit = |path: &String| serde_json::from_slice::<Commit>(&self.object(path)?).ok();
        let done = |path: &String| match commit(path) {
            Some(Commit::Done(done)) => Some((layout::link(path.rsplit('/').next()?)?.0, done)),
            _ => None,
        };
        let all: BTreeMap<UnitKey, _> = written.iter().filter_map(|(path, _)| done(path)).collect();
        let mut hasher = blake3::Hasher::new();
        for unit in &self.units {
            for artifact in &all.get(unit)?.artifacts {
                hasher.update(format!("{unit} {} {}", artifact.name, artifact.blake3).as_bytes());
            }
        }
        Some(hasher.finalize().to_hex().to_string())
    }

    /// What it all came to.
    pub(super) fn judge(&self, took: Duration) -> Outcome {
        let written: Vec<(String, Digest)> = self.state().control.iter().map(|(path, (digest, _))| (path.clone(), *digest)).collect();
        for (path, digest) in &written {
            if self.object(path).is_none_or(|bytes| Digest::of(&bytes) != *digest) {
                self.violate(format!("{path} is lost, or another than was written"));
            }
        }
        let results = self.results(&written);
        let committed: BTreeSet<UnitKey> = written.iter().filter_map(|(path, _)| Some(layout::link(path.rsplit('/').next()?)?.0)).collect();
        let mut state = self.state();
        let status = state.status.clone().expect("a complete sweep has told its status");
        let missing = self.units.difference(&committed).count() as u64;
        // What depends on a unit that failed for good is given up with it.
        if missing > 0 && status.units.quarantined == 0 {
            state.violations.push(format!("{missing} units are not committed, and none is quarantined"));
        }
        Outcome {
            trace: state.trace.finalize().to_hex().to_string(),
            took,
            units: self.units.len() as u64,
            quarantined: status.units.quarantined,
            results,
            counts: state.counts.clone(),
            violations: state.violations.clone(),
        }
    }
}
