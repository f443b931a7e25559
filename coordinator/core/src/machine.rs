//! The machine that runs sweeps: leases, placement, retry, outcomes.
//!
//! It does no input or output. Whoever owns it feeds events with [`Machine::handle`], carries out what
//! [`Machine::poll_action`] hands back, in order, and calls `handle(now, Event::Tick)` no later than at
//! [`Machine::poll_deadline`]. The transition function is total: any event is legal in any state, and what is stale is
//! ignored or refused.
//!
//! What is true here in every state:
//! - A unit is done when its commit stands in the store, whoever wrote it: a `Committed` of any attempt, stale or
//!   unknown, marks it done, in every sweep that has it.
//! - A unit is granted only while it is neither leased nor done nor quarantined, and its dependencies are done.
//! - Budgets, backoff and quarantine belong to a sweep and are in its journal; leases and commits are shared.
//! - A unit that depends on a quarantined one counts as quarantined too. Should the commit turn up after all (a worker
//!   that was thought lost), both are taken up again.

mod event;
mod lease;
mod outcome;
mod placement;
mod settings;
mod status;
mod sweep;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::Unit;

use crate::history::History;
use crate::plan::Plan;

pub use event::{Action, Event, Held, Progress, SweepId, Token, WorkerId};
pub use settings::Settings;

use lease::{Ending, Leases};
use sweep::Sweep;
use worker::Worker;

/// All sweeps, workers and leases of one coordinator.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    now: Duration,
    sweeps: BTreeMap<SweepId, Sweep>,
    workers: BTreeMap<WorkerId, Worker>,
    leases: Leases,
    committed: BTreeSet<UnitKey>,
    /// How attempts ended that are over for good.
    ended: BTreeMap<String, Ending>,
    counter: u64,
    actions: VecDeque<Action>,
}

impl Machine {
    /// A machine without sweeps and workers.
    pub fn new(settings: Settings) -> Machine {
        Machine {
            settings,
            now: Duration::ZERO,
            sweeps: BTreeMap::new(),
            workers: BTreeMap::new(),
            leases: Leases::default(),
            committed: BTreeSet::new(),
            ended: BTreeMap::new(),
            counter: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes a sweep up: a new one, or one whose journal an earlier coordinator wrote. `epoch` is this coordinator's, its
    /// [`Record::Epoch`] stands in the journal already; `committed` are the units whose commit stands in the store.
    ///
    /// Where an earlier epoch led, nothing of this sweep is granted for [`Settings::adoption_window`], so that workers can
    /// name what they still run. Opening an open sweep changes nothing.
    #[allow(clippy::too_many_arguments)]
    pub fn open_sweep(
        &mut self,
        now: Duration,
        id: SweepId,
        name: &str,
        plan: Plan,
        epoch: u64,
        committed: &BTreeSet<UnitKey>,
        history: History,
    ) {
        self.advance(now);
        if self.sweeps.contains_key(&id) {
            return;
        }
        let held_until = if history.led_before(epoch) { self.now + self.settings.adoption_window } else { self.now };
        let known: Vec<UnitKey> =
            plan.units.keys().filter(|key| committed.contains(key) || self.committed.contains(key)).copied().collect();
        for unit in &known {
            self.commit(*unit);
        }
        let mut sweep = Sweep::new(id.clone(), name, plan, epoch, self.sweeps.len(), self.now, held_until, &history, &known);
        for unit in self.leases.units() {
            sweep.set_leased(&unit, true, self.now);
        }
        for (unit, error) in sweep.exhausted(&self.settings, &history) {
            self.actions.push_back(Action::Append { sweep: id.clone(), record: Record::Quarantine { unit, error: error.clone() } });
            sweep.quarantine(&unit, error, self.now);
        }
        sweep.dirty = true;
        self.sweeps.insert(id, sweep);
        self.settle();
    }

    /// Takes note of an event. Times must not run backwards; one that does counts as the latest seen.
    pub fn handle(&mut self, now: Duration, event: Event) {
        self.advance(now);
        if let Some(worker) = event.worker()
            && let Some(worker) = self.workers.get_mut(worker)
        {
            worker.seen = self.now;
        }
        match event {
            Event::Register { worker, device, memory, held } => self.register(worker, device, memory, &held),
            Event::Ready { worker, loaded } => self.with_worker(&worker, |w| {
                w.ready = true;
                w.loaded = loaded;
            }),
            Event::Unready { worker } => self.with_worker(&worker, |w| w.ready = false),
            Event::Heartbeat { worker, held, draining } => self.heartbeat(&worker, &held, draining),
            Event::Committed { worker, sweep, unit, attempt, mine, tokens, seconds: _ } => {
                self.on_committed(&worker, &sweep, unit, &attempt, mine, tokens);
            }
            Event::Failed { worker, sweep: _, unit, attempt, error, permanent } => {
                self.on_failed(&worker, unit, &attempt, error, permanent)
            }
            Event::Released { worker, sweep: _, unit, attempt } => self.on_released(&worker, unit, &attempt),
            Event::Pause { sweep } => self.on_pause(&sweep, true),
            Event::Resume { sweep } => self.on_pause(&sweep, false),
            Event::Cancel { sweep } => self.on_cancel(&sweep),
            Event::Tick => {}
        }
        self.settle();
    }

    /// What to do next. Actions must be carried out in this order: an append stands in the journal before what follows it.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When something will be due without any event: a lease's end, a backoff's, an adoption window's, a silent worker's.
    pub fn poll_deadline(&self) -> Option<Duration> {
        let leases = self.leases.next_expiry();
        let sweeps = self.sweeps.values().filter_map(|sweep| sweep.next_timer(self.now)).min();
        let workers = self.workers.values().map(|worker| worker.seen + self.settings.lease_ttl).min();
        [leases, sweeps, workers].into_iter().flatten().min()
    }

    /// The open sweeps' ids.
    pub fn sweeps(&self) -> impl Iterator<Item = &SweepId> {
        self.sweeps.keys()
    }

    /// A sweep's plan.
    pub fn plan(&self, sweep: &SweepId) -> Option<&Plan> {
        self.sweeps.get(sweep).map(|sweep| &sweep.plan)
    }

    /// A unit as it is leased.
    pub fn unit(&self, sweep: &SweepId, key: &UnitKey) -> Option<&Unit> {
        self.sweeps.get(sweep)?.plan.units.get(key).map(|planned| &planned.unit)
    }

    /// Whether that unit's commit is known to stand.
    pub fn committed(&self, key: &UnitKey) -> bool {
        self.committed.contains(key)
    }

    /// Whether every open sweep is terminal (also when none is open).
    pub fn finished(&self) -> bool {
        self.sweeps.values().all(|sweep| sweep.state().terminal())
    }

    /// Whether the worker has registered and has not been silent for too long.
    pub fn known(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    fn with_worker(&mut self, id: &WorkerId, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.get_mut(id) {
            change(worker);
        }
    }

    /// Everything that is due by `now`: expired leases, silent workers, ended backoffs.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some(lease) = self.leases.pop_expired(self.now) {
            self.lose(lease);
        }
        let (now, ttl) = (self.now, self.settings.lease_ttl);
        self.workers.retain(|_, worker| worker.seen + ttl > now);
        for sweep in self.sweeps.values_mut() {
            sweep.advance(now);
        }
    }

    /// Grants what can be granted, then says which sweeps changed.
    fn settle(&mut self) {
        self.place();
        for (id, sweep) in &mut self.sweeps {
            if std::mem::take(&mut sweep.dirty) {
                self.actions.push_back(Action::Changed { sweep: id.clone() });
            }
        }
    }
}
