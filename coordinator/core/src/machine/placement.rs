//! Placement: which waiting worker gets which unit.

use std::cmp::Reverse;
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
    /// Sweeps of higher priority first.
    priority: Reverse<i32>,
    /// The sweep was granted so much more than another that waits, measured by their weights, that it is the other's turn
    /// even if a model must be loaded for it.
    ahead: bool,
    /// A model must be loaded first: minutes, against seconds of work.
    reload: bool,
    /// The worker has failed this very unit: rather another one's turn.
    repeat: bool,
    /// If a model must be loaded: how many other workers have it or are about to. The fewest first, so that workers
    /// spread over models instead of all loading the same.
    crowd: usize,
    /// Sweeps first that were granted least, measured by their weights: the bits of a number that is not negative, which
    /// are ordered as the numbers are.
    share: u64,
    /// Older sweeps first.
    seniority: usize,
    /// Plan order.
    rank: usize,
}

/// Units that a sweep may always be ahead of another.
const SLACK: f64 = 4.0;

/// Workers by the model they have in memory or are about to.
type Crowds<'a> = BTreeMap<Digest, BTreeSet<&'a WorkerId>>;

impl Machine {
    /// Grants units to waiting workers, the best match first, until nothing matches.
    pub(super) fn place(&mut self) {
        while let Some((worker, sweep, unit)) = self.best_match().or_else(|| self.second_attempt()) {
            self.grant(worker, sweep, unit);
        }
    }

    fn grant(&mut self, worker: WorkerId, id: SweepId, unit: UnitKey) {
        let (generation, mut inputs) = (self.generation(&unit), self.inputs(&id, &unit));
        inputs.retain(|(_, generation)| *generation > 0);
        let Some(sweep) = self.sweeps.get_mut(&id) else { return };
        let Some(kind) = sweep.planned(&unit).map(|planned| planned.unit.spec.kind()) else { return };
        sweep.granted += sweep.slot(&unit).map_or(0.0, |slot| slot.flops);
        self.counter += 1;
        let (epoch, counter) = (sweep.epoch, self.counter);
        // Epochs are unique to a sweep, counters to this machine, and units are shared: only all three together
        // name an attempt that no one else can have named.
        let attempt = format!("{id}-e{epoch}-{counter}");
        self.with_worker(&worker, |w| w.ready = false);
        let (since, expires, token) = (self.now, self.now + self.settings.lease_ttl, (epoch, counter));
        let lease =
            Lease { sweep: id, unit, kind, attempt, token, worker, generation, since, adopted: false, expires, share: 0.0, tokens: 0 };
        self.start(lease.clone());
        let Lease { sweep, attempt, worker, .. } = lease;
        self.actions.push_back(Action::Grant { worker, sweep, unit, attempt, token, generation, inputs });
    }

    /// The least that a sweep of that priority was granted which is not over; a new one begins with as much, for it has
    /// no claim on what was granted before it came.
    pub(super) fn least_share(&self, priority: i32) -> f64 {
        let rivals = self.sweeps.values().filter(|sweep| sweep.plan.priority == priority && !sweep.over());
        rivals.map(Sweep::share).min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// Whether a sweep was granted more than twice what another offering one of its priority was, and some units more.
    fn ahead(sweep: &Sweep, offering: &[&Sweep]) -> bool {
        let rivals = offering.iter().filter(|rival| rival.plan.priority == sweep.plan.priority);
        let least = rivals.map(|rival| rival.share()).fold(sweep.share(), f64::min);
        let unit = sweep.plan.estimate.flops / sweep.slots.len().max(1) as f64 / sweep.plan.weight;
        sweep.share() > 2.0 * least + SLACK * unit
    }

    /// What a unit reads: its dependencies, and where they were split, their halves, each with its generation.
    pub fn inputs(&self, id: &SweepId, unit: &UnitKey) -> Vec<(UnitKey, u32)> {
        let Some(sweep) = self.sweeps.get(id) else { return Vec::new() };
        let dependencies = sweep.planned(unit).map(|planned| planned.unit.spec.dependencies()).unwrap_or_default();
        let (mut open, mut inputs): (Vec<UnitKey>, _) = (dependencies.iter().rev().copied().collect(), Vec::new());
        while let Some(key) = open.pop() {
            inputs.push((key, self.generation(&key)));
            open.extend(sweep.halves_of(&key).into_iter().rev());
        }
        inputs
    }

    fn best_match(&self) -> Option<(WorkerId, SweepId, UnitKey)> {
        let offers = |sweep: &&Sweep| sweep.grants(self.now) && sweep.queues.values().any(|queue| !queue.ready.is_empty());
        let sweeps: Vec<_> = self.sweeps.values().filter(offers).collect();
        let queues = || sweeps.iter().flat_map(|sweep| &sweep.queues);
        let offered = |runs_model| queues().any(|(model, queue)| model.is_some() == runs_model && !queue.ready.is_empty());
        // Most of those that wait are often all of one kind, for which there is nothing: fits come when passes are done.
        let kinds: Vec<bool> = [true, false].into_iter().filter(|runs_model| offered(*runs_model)).collect();
        let suited = |worker: &Worker| worker.ready && kinds.iter().any(|runs_model| worker.takes.includes(*runs_model));
        let waiting: Vec<_> = self.workers.iter().filter(|(_, worker)| suited(worker)).collect();
        if waiting.is_empty() {
            return None;
        }
        let crowds = self.crowds();
        let ahead: BTreeSet<&SweepId> = sweeps.iter().filter(|sweep| Machine::ahead(sweep, &sweeps)).map(|sweep| &sweep.id).collect();
        let mut best: Option<(Score, &WorkerId, &Sweep)> = None;
        for (id, worker) in waiting {
            for sweep in &sweeps {
                if let Some(score) = self.best_in(sweep, ahead.contains(&sweep.id), id, worker, &crowds)
                    && best.as_ref().is_none_or(|(least, ..)| score < *least)
                {
                    best = Some((score, id, *sweep));
                }
            }
        }
        best.map(|(score, worker, sweep)| (worker.clone(), sweep.id.clone(), sweep.slots[score.rank].key))
    }

    /// The best unit of a sweep for a worker.
    fn best_in(&self, sweep: &Sweep, ahead: bool, id: &WorkerId, worker: &Worker, crowds: &Crowds<'_>) -> Option<Score> {
        let queues =
            sweep.queues.iter().filter(|(model, queue)| !queue.ready.is_empty() && self.suits(worker, model.is_some(), queue.bytes));
        let scores = queues.filter_map(|(model, queue)| {
            let reload = model.as_ref().is_some_and(|model| !worker.loaded.contains(&model.digest));
            let crowd = model.as_ref().filter(|_| reload).and_then(|model| crowds.get(&model.digest));
            let crowd = crowd.map_or(0, |all| all.len() - usize::from(all.contains(id)));
            let untried = queue.ready.iter().find(|rank| !worker.failed.contains(&sweep.slots[**rank].key));
            let rank = *untried.or_else(|| queue.ready.first())?;
            let (priority, share) = (Reverse(sweep.plan.priority), sweep.share().to_bits());
            Some(Score { priority, ahead, reload, repeat: untried.is_none(), crowd, share, seniority: sweep.seniority, rank })
        });
        scores.min()
    }

    /// Whether a worker may get units that run a model, or that don't: not if it doesn't take such, not if it drains, and not if
    /// it is set aside while another that takes them is not. Where all are set aside the fault is likely not theirs, and units
    /// must come to their end.
    pub(super) fn eligible(&self, worker: &Worker, runs_model: bool) -> bool {
        let (willing, strikes) = (|w: &Worker| w.takes.includes(runs_model) && !w.draining, self.settings.strikes);
        willing(worker) && (!worker.set_aside(strikes) || !self.workers.values().any(|w| willing(w) && !w.set_aside(strikes)))
    }

    /// Whether a worker may get units that run a model of `bytes` (or none), which doesn't fit only others. One that fits nowhere
    /// may be tried anywhere: what a worker says of its memory is a guess.
    pub(super) fn suits(&self, worker: &Worker, runs_model: bool, bytes: u64) -> bool {
        let elsewhere = || self.workers.values().any(|other| self.eligible(other, runs_model) && other.fits(bytes));
        self.eligible(worker, runs_model) && (worker.fits(bytes) || !elsewhere())
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
            let planned = self.sweeps.get(&lease.sweep).and_then(|sweep| sweep.planned(&lease.unit));
            if let Some(model) = planned.and_then(|planned| planned.unit.spec.model()) {
                crowds.entry(model.digest).or_default().insert(&lease.worker);
            }
        }
        crowds
    }
}
