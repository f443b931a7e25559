//! The machine that runs sweeps: leases, placement, retry, outcomes.
//!
//! It does no input or output. Whoever owns it feeds events with [`Machine::handle`], carries out what
//! [`Machine::poll_action`] hands back, in order, and calls `handle(now, Event::Tick)` no later than at
//! [`Machine::poll_deadline`]. The transition function is total: any event is legal in any state, and what is stale is
//! ignored or refused.
//!
//! What is true here in every state:
//! - A unit is done when the highest link of its chain of commits is a result, whoever wrote it: a `Committed` of any
//!   attempt, stale or unknown, marks it done, in every sweep that has it. A result that is found corrupt is voided, and
//!   the unit comes again in its next generation once the void stands; what was committed from it stays.
//! - A unit is granted only while it is neither leased nor done nor quarantined, and its dependencies are done. Only a
//!   straggler near the end of a sweep gets a second attempt, on another worker; the first commit ends the other.
//! - Activations that everything that reads them has read are released where every sweep that has the unit wants that. A unit
//!   that reads them later is not granted before they are computed again, in the next generation.
//! - What failed for good is tried again only if somebody asks for it: [`Event::Retry`].
//! - Budgets, backoff and quarantine belong to a sweep and are in its journal; leases and commits are shared. How many
//!   workers a unit may lose follows from that and from what it is a half of.
//! - A unit that depends on a quarantined one counts as quarantined too. Should the commit turn up after all (a worker
//!   that was thought lost), both are taken up again.

mod event;
mod lease;
mod outcome;
mod placement;
mod release;
mod retry;
mod settings;
mod show;
mod split;
mod status;
mod straggler;
mod sweep;
mod void;
mod waiting;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use limbic_proto::commit;
use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptCounts, SweepState};
use limbic_proto::unit::Unit;

use crate::history::History;
use crate::plan::Plan;

pub use event::{Action, Event, Held, Progress, SweepId, Token, WorkerId};
pub use release::RELEASED;
pub use retry::AGAIN;
pub use settings::Settings;

use lease::{Ending, Leases};
use sweep::Sweep;
use worker::Worker;

/// What is known of a sweep that is taken up.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id.
    pub id: SweepId,
    /// Its label.
    pub name: String,
    /// Its work.
    pub plan: Plan,
    /// This coordinator's epoch; its [`Record::Epoch`](limbic_proto::journal::Record::Epoch) stands in the journal already.
    /// 0 where the sweep is only looked at, not led.
    pub epoch: u64,
    /// The highest link of the chains of commits that stand in the store: of the plan's units and of the halves of
    /// those that were split; other units may be among them. Which were split and which were released is said before, by [`Event::Divided`] and
    /// [`Event::ActivationsReleased`].
    pub committed: BTreeMap<UnitKey, u32>,
    /// What its journal says.
    pub history: History,
}

/// All sweeps, workers and leases of one coordinator.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    now: Duration,
    sweeps: BTreeMap<SweepId, Sweep>,
    workers: BTreeMap<WorkerId, Worker>,
    leases: Leases,
    /// The highest link of each unit's chain of commits, as far as it is known (or was asked for).
    links: BTreeMap<UnitKey, u32>,
    /// Units whose result is being voided in the store.
    voiding: BTreeSet<UnitKey>,
    /// Units that are being split in the store, with the generation.
    splitting: BTreeMap<UnitKey, u32>,
    /// Units that were split, with the generation.
    splits: BTreeMap<UnitKey, u32>,
    /// Units whose activations were released, or are about to be, with the last such generation.
    released: BTreeMap<UnitKey, u32>,
    /// Whether every sweep of the start is open.
    all_open: bool,
    /// How attempts ended.
    ended: BTreeMap<String, Ending>,
    /// Attempts that were ever lost: one that comes back and is lost again counts once.
    lost: BTreeSet<String>,
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
            links: BTreeMap::new(),
            voiding: BTreeSet::new(),
            splitting: BTreeMap::new(),
            splits: BTreeMap::new(),
            released: BTreeMap::new(),
            all_open: false,
            ended: BTreeMap::new(),
            lost: BTreeSet::new(),
            counter: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes a sweep up: a new one, or one whose journal an earlier coordinator wrote.
    ///
    /// Where an earlier epoch led, nothing of this sweep is granted for [`Settings::adoption_window`], so that workers can
    /// name what they still run. Opening an open sweep changes nothing.
    pub fn open_sweep(&mut self, now: Duration, opening: Opening) {
        self.advance(now);
        if self.sweeps.contains_key(&opening.id) {
            return;
        }
        let held_until = if opening.history.led_before(opening.epoch) { self.now + self.settings.adoption_window } else { self.now };
        self.take_up(opening, self.sweeps.len(), held_until);
        self.settle();
    }

    /// Replaces an open sweep's plan by that of a later revision, which holds all its units and more, or all of them in this
    /// release's versions. What runs goes on; budgets, pauses and decisions stay as they are. `committed` is as in [`Opening::committed`].
    pub fn extend_sweep(&mut self, now: Duration, id: &SweepId, plan: Plan, committed: BTreeMap<UnitKey, u32>) {
        self.advance(now);
        let Some((known, done_flops)) = self.sweeps.get(id).map(|sweep| (sweep.units.committed, sweep.done_flops)) else { return };
        // While the sweep is still there to count the attempts that this ends.
        committed.into_iter().for_each(|(unit, link)| self.link(unit, link));
        let Some(old) = self.sweeps.remove(id) else { return };
        let resting: Vec<(UnitKey, Duration)> = old.resting().map(|(slot, until)| (slot.key, until)).collect();
        let Sweep {
            id, name, epoch, seniority, held_until, opened, attempts, tokens, inherited_flops, history, granted, durations, ..
        } = old;
        let committed = BTreeMap::new();
        self.take_up(Opening { id: id.clone(), name, plan, epoch, committed, history }, seniority, held_until);
        let sweep = self.sweeps.get_mut(&id).expect("it was just taken up");
        for (unit, until) in resting {
            sweep.rest(&unit, until, self.now);
        }
        let found = sweep.units.committed.saturating_sub(known);
        sweep.attempts = AttemptCounts { started: attempts.started + found, committed: attempts.committed + found, ..attempts };
        (sweep.opened, sweep.tokens) = (opened, tokens);
        (sweep.granted, sweep.durations) = (granted, durations);
        sweep.inherited_flops = sweep.done_flops - (done_flops - inherited_flops);
        self.settle();
    }

    /// Makes a sweep of what the store and the journal say of it.
    fn take_up(&mut self, opening: Opening, seniority: usize, held_until: Duration) {
        let Opening { id, name, plan, epoch, committed, history } = opening;
        committed.into_iter().for_each(|(unit, link)| self.link(unit, link));
        self.void_as_written(&history);
        self.ended.extend(history.failed().map(|attempt| (attempt.clone(), Ending::Failed)));
        self.lost.extend(history.lost().cloned());
        let known = plan.units.keys().filter(|key| self.committed(key) && !self.is_split(key));
        let known: Vec<(UnitKey, bool)> = known.map(|key| (*key, self.is_released(key))).collect();
        let mut sweep = Sweep::new(id.clone(), &name, plan, epoch, seniority, self.now, held_until, history, &known);
        for unit in self.leases.units() {
            sweep.set_leased(&unit, true, self.now);
        }
        for unit in self.voiding.iter().chain(self.splitting.keys()) {
            sweep.set_unsettled(unit, true, self.now);
        }
        sweep.granted = self.least_share(sweep.plan.priority) * sweep.plan.weight;
        sweep.dirty = true;
        self.sweeps.insert(id.clone(), sweep);
        self.split_as_written(&id);
        if let Some(sweep) = self.sweeps.get_mut(&id) {
            sweep.inherited_flops = sweep.done_flops;
        }
        let exhausted = self.sweeps[&id].exhausted(&self.settings);
        for (unit, error) in exhausted {
            self.give_up(&id, unit, error);
        }
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
            Event::Register { worker, device, takes, memory, held } => self.register(worker, device, takes, memory, &held),
            Event::Ready { worker, loaded } => self.with_worker(&worker, |w| {
                w.ready = true;
                w.loaded = loaded;
            }),
            Event::Unready { worker } => self.with_worker(&worker, |w| w.ready = false),
            Event::Heartbeat { worker, held, draining } => self.heartbeat(&worker, &held, draining),
            Event::Committed { worker, sweep, unit, attempt, generation, mine, tokens } => {
                self.on_committed(&worker, &sweep, unit, &attempt, generation, mine.then_some(tokens));
            }
            Event::Corrupt { worker, unit, attempt, bad, generation, error } => {
                self.on_corrupt(&worker, unit, &attempt, bad, generation, error);
            }
            Event::Voided { unit, generation } => self.on_voided(unit, generation),
            Event::Divided { unit, generation, stands } => self.on_divided(unit, generation, stands),
            Event::ActivationsReleased { unit, generation } => self.mark_released(unit, generation),
            Event::AllOpen => self.on_all_open(),
            Event::Failed { worker, unit, attempt, error, permanent } => self.on_failed(&worker, unit, &attempt, error, permanent),
            Event::Withdrawn { unit, attempt } => self.on_withdrawn(unit, &attempt),
            Event::Gone { worker } => self.on_gone(&worker),
            Event::Released { worker, unit, attempt } => self.on_released(&worker, unit, &attempt),
            Event::Pause { sweep, by } => self.on_pause(&sweep, by),
            Event::Resume { sweep } => self.on_resume(&sweep),
            Event::Cancel { sweep } => self.on_cancel(&sweep),
            Event::Retry { sweep, units } => self.on_retry(&sweep, &units),
            Event::Again { sweep, units } => self.on_again(&sweep, &units),
            Event::Tick => {}
        }
        self.settle();
    }

    /// Adoption windows begin now: nobody could name what it runs while sweeps were still being opened.
    fn on_all_open(&mut self) {
        if !std::mem::replace(&mut self.all_open, true) {
            let until = self.now + self.settings.adoption_window;
            self.sweeps.values_mut().filter(|sweep| sweep.held_until > sweep.opened).for_each(|sweep| sweep.held_until = until);
        }
    }

    /// What to do next, in this order. Appends are written in their order, and grants need not wait for them: a record that
    /// is lost with its coordinator costs a budget one count, never a result.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When something will be due without any event: a lease's end, a backoff's, an adoption window's, a silent worker's.
    pub fn poll_deadline(&self) -> Option<Duration> {
        let leases = self.leases.next_expiry();
        let sweeps = self.sweeps.values().filter_map(|sweep| sweep.next_timer(self.now)).min();
        let workers = self.workers.values().map(|worker| worker.seen + self.settings.lease_ttl).min();
        [leases, sweeps, workers, self.next_straggler()].into_iter().flatten().min()
    }

    /// The open sweeps' ids.
    pub fn sweeps(&self) -> impl Iterator<Item = &SweepId> {
        self.sweeps.keys()
    }

    /// A sweep's plan.
    pub fn plan(&self, sweep: &SweepId) -> Option<&Plan> {
        self.sweeps.get(sweep).map(|sweep| &sweep.plan)
    }

    /// Where a sweep stands, in a word.
    pub fn state(&self, sweep: &SweepId) -> Option<SweepState> {
        self.sweeps.get(sweep).map(Sweep::state)
    }

    /// A sweep's units in plan order, and behind them the halves of those that were ever split.
    pub fn units(&self, sweep: &SweepId) -> impl Iterator<Item = UnitKey> {
        self.sweeps.get(sweep).into_iter().flat_map(|sweep| &sweep.slots).map(|slot| slot.key)
    }

    /// A unit as it is leased.
    pub fn unit(&self, sweep: &SweepId, key: &UnitKey) -> Option<&Unit> {
        self.sweeps.get(sweep)?.planned(key).map(|planned| &planned.unit)
    }

    /// Whether a result of that unit is known to stand.
    pub fn committed(&self, key: &UnitKey) -> bool {
        self.links.get(key).is_some_and(|link| commit::stands(*link))
    }

    /// The unit's generation: of the result that stands, or of its next attempt.
    pub fn generation(&self, key: &UnitKey) -> u32 {
        self.links.get(key).map_or(0, |link| commit::generation(*link))
    }

    /// The units of a sweep that failed for good themselves, in plan order.
    pub fn quarantined(&self, sweep: &SweepId) -> Vec<UnitKey> {
        let of = |sweep: &Sweep| sweep.given_up.iter().map(|rank| sweep.slots[*rank].key).collect();
        self.sweeps.get(sweep).map(of).unwrap_or_default()
    }

    /// Whether there is nothing to compute for any open sweep (also when none is open): each is terminal, or of other versions.
    pub fn finished(&self) -> bool {
        self.sweeps.values().all(Sweep::over)
    }

    /// The workers that want more to do.
    pub fn staying(&self) -> impl Iterator<Item = &WorkerId> {
        self.workers.iter().filter(|(_, worker)| !worker.draining).map(|(id, _)| id)
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
        let now = self.now;
        self.forget_silent();
        for sweep in self.sweeps.values_mut() {
            sweep.advance(now);
        }
    }

    /// Forgets workers that were silent for as long as a lease lasts. Of one that was draining that was expected, and nothing is said.
    fn forget_silent(&mut self) {
        let silent = |worker: &Worker| worker.seen + self.settings.lease_ttl <= self.now;
        let gone: Vec<WorkerId> = self.workers.iter().filter(|(_, worker)| silent(worker)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            if self.workers.remove(&id).is_some_and(|worker| !worker.draining) {
                self.actions.push_back(Action::Silent { worker: id });
            }
        }
    }

    /// Releases what nobody will read and has computed again what somebody will; grants what can be granted; says which sweeps
    /// changed.
    fn settle(&mut self) {
        self.release();
        self.recall();
        self.place();
        for (id, sweep) in &mut self.sweeps {
            if std::mem::take(&mut sweep.dirty) {
                self.actions.push_back(Action::Changed { sweep: id.clone() });
            }
        }
    }
}
