//! Placement: which waiting worker gets which unit.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::key::{Digest, UnitKey};

use super::Machine;
use super::event::{Action, SweepId, WorkerId};
use super::lease::Lease;
use super::sweep::Sweep;
use super::worker::Worker;

/// How well a unit suits a worker; the least is granted. The order of the fields is the policy.
///
/// Fits need no model, so they never cost a reload. They stand right behind their extracts in plan order and are done as
/// soon as they can be: results come early, and states may be released early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// A model must be loaded first: minutes, against seconds of work.
    reload: bool,
    /// The worker has failed this very unit: rather another one's turn.
    repeat: bool,
    /// If a model must be loaded: how many other workers have it or are about to. The fewest first, so that workers
    /// spread over models instead of all loading the same.
    crowd: usize,
    /// Older sweeps first.
    seniority: usize,
    /// Plan order.
    rank: usize,
}

/// Workers by the model they have in memory or are about to.
type Crowds<'a> = BTreeMap<Digest, BTreeSet<&'a WorkerId>>;

impl Machine {
    /// Grants units to waiting workers, the best match first, until nothing matches.
    pub(super) fn place(&mut self) {
        while let Some((worker, sweep, unit)) = self.best_match() {
            let Some(epoch) = self.sweeps.get(&sweep).map(|sweep| sweep.epoch) else { return };
            self.counter += 1;
            let token = (epoch, self.counter);
            // Epochs are unique to a sweep, counters to this machine, and units are shared: only all three together
            // name an attempt that no one else can have named.
            let attempt = format!("{sweep}-e{epoch}-{}", self.counter);
            self.with_worker(&worker, |w| w.ready = false);
            let (expires, generation) = (self.now + self.settings.lease_ttl, self.generation(&unit));
            let inputs = self.inputs(&sweep, &unit);
            let lease = Lease { sweep, unit, attempt, token, worker, generation, expires, share: 0.0 };
            self.start(lease.clone());
            let Lease { sweep, attempt, worker, .. } = lease;
            self.actions.push_back(Action::Grant { worker, sweep, unit, attempt, token, generation, inputs });
        }
    }

    /// The dependencies of a unit that are not in generation 0.
    fn inputs(&self, sweep: &SweepId, unit: &UnitKey) -> Vec<(UnitKey, u32)> {
        let dependencies = self.unit(sweep, unit).map(|unit| unit.spec.dependencies()).unwrap_or_default();
        let generations = dependencies.iter().map(|key| (*key, self.generation(key)));
        generations.filter(|(_, generation)| *generation > 0).collect()
    }

    fn best_match(&self) -> Option<(WorkerId, SweepId, UnitKey)> {
        let waiting: Vec<_> = self.workers.iter().filter(|(_, worker)| worker.ready && self.eligible(worker)).collect();
        let offers = |sweep: &&Sweep| sweep.grants(self.now) && sweep.queues.values().any(|queue| !queue.ready.is_empty());
        let sweeps: Vec<_> = self.sweeps.values().filter(offers).collect();
        if waiting.is_empty() || sweeps.is_empty() {
            return None;
        }
        let crowds = self.crowds();
        let mut best: Option<(Score, &WorkerId, &Sweep)> = None;
        for (id, worker) in waiting {
            for sweep in &sweeps {
                if let Some(score) = self.best_in(sweep, id, worker, &crowds)
                    && best.as_ref().is_none_or(|(least, ..)| score < *least)
                {
                    best = Some((score, id, *sweep));
                }
            }
        }
        best.map(|(score, worker, sweep)| (worker.clone(), sweep.id.clone(), sweep.slots[score.rank].key))
    }

    /// The best unit of a sweep for a worker.
    fn best_in(&self, sweep: &Sweep, id: &WorkerId, worker: &Worker, crowds: &Crowds<'_>) -> Option<Score> {
        let queues = sweep.queues.iter().filter(|(_, queue)| !queue.ready.is_empty() && !self.fits_elsewhere(worker, queue.bytes));
        let scores = queues.filter_map(|(model, queue)| {
            let reload = model.as_ref().is_some_and(|model| !worker.loaded.contains(&model.digest));
            let crowd = model.as_ref().filter(|_| reload).and_then(|model| crowds.get(&model.digest));
            let crowd = crowd.map_or(0, |all| all.len() - usize::from(all.contains(id)));
            let untried = queue.ready.iter().find(|rank| !worker.failed.contains(&sweep.slots[**rank].key));
            let rank = *untried.or_else(|| queue.ready.first())?;
            Some(Score { reload, repeat: untried.is_none(), crowd, seniority: sweep.seniority, rank })
        });
        scores.min()
    }

    /// Whether a worker may get units: not if it drains, and not if it is set aside while others are not. Where all are
    /// set aside the fault is likely not theirs, and units must come to their end.
    pub(super) fn eligible(&self, worker: &Worker) -> bool {
        let strikes = self.settings.strikes;
        !worker.draining && (!worker.set_aside(strikes) || !self.workers.values().any(|w| !w.draining && !w.set_aside(strikes)))
    }

    /// Whether a model of `bytes` doesn't fit this worker but does fit another. One that fits nowhere may be tried
    /// anywhere: what a worker says of its memory is a guess.
    fn fits_elsewhere(&self, worker: &Worker, bytes: u64) -> bool {
        !worker.fits(bytes) && self.workers.values().any(|other| self.eligible(other) && other.fits(bytes))
    }

    /// Which workers have which model in memory or run a unit of it.
    fn crowds(&self) -> Crowds<'_> {
        let mut crowds = Crowds::new();
        for (id, worker) in &self.workers {
            for model in &worker.loaded {
                crowds.entry(*model).or_default().insert(id);
            }
        }
        for lease in self.leases.iter() {
            let planned = self.sweeps.get(&lease.sweep).and_then(|sweep| sweep.plan.units.get(&lease.unit));
            if let Some(model) = planned.and_then(|planned| planned.unit.spec.model()) {
                crowds.entry(model.digest).or_default().insert(&lease.worker);
            }
        }
        crowds
    }
}
