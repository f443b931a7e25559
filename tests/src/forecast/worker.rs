//! One simulated computer with a worker, or with two: one for passes, one for fits. What each computes, what it publishes meanwhile,
//! which models it has in memory.

use std::time::Duration;

use limbic_core::machine::{Held, WorkerId};
use limbic_proto::key::Digest;
use limbic_proto::takes::Takes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::unit::Work;

/// Models that a worker keeps.
const MODELS: usize = 2;

/// An attempt on its way.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) held: Held,
    pub(super) began: Duration,
    /// When it has what it needs.
    pub(super) computes_from: Duration,
    pub(super) computed_at: Duration,
    pub(super) published_at: Duration,
    pub(super) work: Work,
}

/// Who is in a slot of the fleet. All its workers come and go together.
#[derive(Debug)]
pub(super) struct Computer {
    slot: usize,
    /// Goes up whenever another one comes or this one goes.
    pub(super) life: u64,
    since: Option<Duration>,
    pub(super) workers: Vec<Worker>,
    /// Its own stream, so that a slot's lifetimes are the same whatever the others do.
    lifetimes: ChaCha8Rng,
}

impl Computer {
    pub(super) fn new(slot: usize, takes: &[Takes], seed: u64) -> Computer {
        let mut lifetimes = ChaCha8Rng::seed_from_u64(seed);
        lifetimes.set_stream(slot as u64 + 1);
        Computer { slot, life: 0, since: None, workers: takes.iter().map(|takes| Worker::new(*takes)).collect(), lifetimes }
    }

    /// A new one comes.
    pub(super) fn arrive(&mut self, now: Duration) {
        self.life += 1;
        self.since = Some(now);
        for worker in &mut self.workers {
            worker.id = WorkerId(format!("w{}-{}-{}", self.slot, self.life, worker.takes));
        }
    }

    /// Seconds until it is preempted: exponential, so preemptions are a Poisson process. None where nobody is.
    pub(super) fn lifetime(&mut self, per_hour: f64) -> Option<f64> {
        let draw: f64 = self.lifetimes.random();
        (per_hour > 0.0).then(|| -(1.0 - draw).ln() * 3600.0 / per_hour)
    }

    /// It goes, with all that it had; says how many seconds it was there.
    pub(super) fn vanish(&mut self, now: Duration) -> f64 {
        self.life += 1;
        self.workers.iter_mut().for_each(|worker| *worker = Worker::new(worker.takes));
        self.since.take().map_or(0.0, |since| (now - since).as_secs_f64())
    }
}

/// One worker of a computer.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) takes: Takes,
    /// The most recently used first.
    loaded: Vec<Digest>,
    pub(super) running: Option<Attempt>,
    pub(super) publishing: Option<Attempt>,
    /// Attempts that the next heartbeat's answer stops.
    pub(super) cancels: Vec<String>,
    waits_since: Duration,
}

impl Worker {
    fn new(takes: Takes) -> Worker {
        let (id, loaded, cancels) = (WorkerId(String::new()), Vec::new(), Vec::new());
        Worker { id, takes, loaded, running: None, publishing: None, cancels, waits_since: Duration::ZERO }
    }

    /// It waits for a unit.
    pub(super) fn wait(&mut self, now: Duration) -> (WorkerId, Vec<Digest>) {
        self.waits_since = now;
        (self.id.clone(), self.loaded.clone())
    }

    /// It waits no longer; says how long it did.
    pub(super) fn begin(&self, now: Duration) -> Duration {
        now - self.waits_since
    }

    /// Puts a unit's model into memory; false where it is there already, or none is needed.
    pub(super) fn load(&mut self, work: &Work) -> bool {
        let Some((model, _)) = work.model else { return false };
        let known = self.loaded.iter().position(|loaded| *loaded == model);
        known.map(|at| self.loaded.remove(at));
        self.loaded.insert(0, model);
        self.loaded.truncate(MODELS);
        known.is_none()
    }

    pub(super) fn publishes_until(&self) -> Duration {
        self.publishing.as_ref().map_or(Duration::ZERO, |publishing| publishing.published_at)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.running.iter().chain(&self.publishing).map(|attempt| &attempt.held)
    }

    pub(super) fn leases(&self) -> usize {
        usize::from(self.running.is_some()) + usize::from(self.publishing.is_some())
    }

    /// What it has under way.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.running.iter().chain(&self.publishing).cloned().collect()
    }

    /// Ends what it was told to stop, and says whether it was being computed.
    pub(super) fn stop(&mut self) -> Vec<(Attempt, bool)> {
        let mut stopped = Vec::new();
        for name in std::mem::take(&mut self.cancels) {
            let is = |attempt: &mut Attempt| attempt.held.attempt == name;
            stopped.extend(self.running.take_if(is).map(|attempt| (attempt, true)));
            stopped.extend(self.publishing.take_if(is).map(|attempt| (attempt, false)));
        }
        stopped
    }
}
