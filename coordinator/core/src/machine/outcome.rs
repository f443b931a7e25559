//! What workers and users say, and what becomes of attempts and units.

use limbic_proto::commit;
use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;
use limbic_proto::status::SweepState;
use limbic_proto::takes::Takes;

use super::Machine;
use super::event::{Action, Held, Progress, SweepId, WorkerId};
use super::lease::{Ending, Lease};
use super::sweep::lost_error;
use super::worker::Worker;

impl Machine {
    pub(super) fn register(&mut self, id: WorkerId, device: String, takes: Takes, memory: u64, held: &[Held]) {
        let now = self.now;
        let worker = self.workers.entry(id.clone()).or_insert_with(|| Worker::new(now));
        (worker.device, worker.takes, worker.memory) = (device, takes, memory);
        for held in held {
            self.renew(&id, held, (0.0, 0));
        }
    }

    pub(super) fn heartbeat(&mut self, id: &WorkerId, held: &[Progress], draining: bool) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.draining = draining;
        for progress in held {
            self.renew(id, &progress.held, (progress.share, progress.tokens));
        }
    }

    /// Renews a lease, or adopts an attempt that this machine doesn't hold a lease of: one of an earlier epoch, or one
    /// whose lease ran out while nobody else was given the unit. What can't be adopted is told to stop, unless it is
    /// of a sweep that is not open (yet).
    fn renew(&mut self, worker: &WorkerId, held: &Held, (share, tokens): (f64, u64)) {
        let expires = self.now + self.settings.lease_ttl;
        if let Some(lease) = self.leases.get_mut(&held.unit, &held.attempt)
            && lease.worker == *worker
            && lease.token == held.token
        {
            lease.expires = expires;
            (lease.share, lease.tokens) = (share, tokens);
            return;
        }
        let over = self.ended.get(&held.attempt).is_some_and(|ending| *ending != Ending::Lost);
        if !over && !self.committed(&held.unit) && !self.sweeps.values().any(|sweep| sweep.slot(&held.unit).is_some()) {
            return;
        }
        let adopter = if over || self.leases.runs(&held.unit) { None } else { self.adopter(held) };
        let adopter = adopter.and_then(|sweep| Some((self.unit(&sweep, &held.unit)?.spec.kind(), sweep)));
        let Some((kind, sweep)) = adopter else {
            self.actions.push_back(Action::CancelAttempt { worker: worker.clone(), attempt: held.attempt.clone() });
            return;
        };
        self.start(Lease {
            sweep,
            unit: held.unit,
            kind,
            attempt: held.attempt.clone(),
            token: held.token,
            worker: worker.clone(),
            generation: held.generation,
            since: self.now,
            adopted: true,
            expires,
            share,
            tokens,
        });
    }

    /// The sweep on whose budgets a returning attempt goes on: its own, else any other that wants the unit.
    fn adopter(&self, held: &Held) -> Option<SweepId> {
        if held.generation != self.generation(&held.unit) {
            return None;
        }
        let adopts = |id: &&SweepId| {
            let sweep = &self.sweeps[*id];
            let own = **id == held.sweep;
            sweep.wants(&held.unit) && sweep.startable(&held.unit) && (!own || held.token.0 <= sweep.epoch)
        };
        let own = self.sweeps.get_key_value(&held.sweep).map(|(id, _)| id).filter(adopts);
        own.or_else(|| self.sweeps.keys().find(adopts)).cloned()
    }

    /// A lease begins.
    pub(super) fn start(&mut self, lease: Lease) {
        if let Some(sweep) = self.sweeps.get_mut(&lease.sweep) {
            sweep.attempts.started += 1;
        }
        self.ended.remove(&lease.attempt);
        let unit = lease.unit;
        self.leases.insert(lease);
        for sweep in self.sweeps.values_mut() {
            sweep.set_leased(&unit, true, self.now);
        }
    }

    /// A lease that was taken out of the table has ended. The unit counts as free until the caller's next step says more;
    /// nothing is granted in between.
    pub(super) fn ended(&mut self, lease: &Lease, ending: Ending) {
        self.ended.insert(lease.attempt.clone(), ending);
        if let Some(sweep) = self.sweeps.get_mut(&lease.sweep) {
            let attempts = &mut sweep.attempts;
            *match ending {
                Ending::Committed => &mut attempts.committed,
                Ending::Failed => &mut attempts.failed,
                Ending::Lost => &mut attempts.lost,
                Ending::Released => &mut attempts.released,
            } += 1;
            sweep.dirty = true;
        }
        self.no_longer_leased(&lease.unit);
    }

    /// A link of a unit's chain stands. If none is higher, the unit is done in every sweep and whoever still runs it is
    /// told to stop; or its result is void, and it is done in none.
    pub(super) fn link(&mut self, unit: UnitKey, link: u32) {
        if self.links.get(&unit).is_some_and(|known| *known >= link) {
            return;
        }
        self.links.insert(unit, link);
        let unsettled = self.voiding.remove(&unit) | self.splitting.remove(&unit).is_some();
        let (split, stands, released) = (self.splits.remove(&unit).is_some(), commit::stands(link), self.is_released(&unit));
        for sweep in self.sweeps.values_mut() {
            if unsettled {
                sweep.set_unsettled(&unit, false, self.now);
            }
            if split {
                sweep.unsplit(&unit, self.now);
            }
            sweep.set_committed(&unit, stands, released, self.now);
        }
        let generation = commit::generation(link);
        let over = |lease: &&Lease| stands || lease.generation < generation;
        let others: Vec<Lease> = self.leases.of_unit(&unit).filter(over).cloned().collect();
        for lease in others {
            self.stop(&lease);
        }
    }

    /// Tells a worker to stop an attempt, which is over from now on.
    pub(super) fn stop(&mut self, lease: &Lease) {
        self.leases.remove(&lease.unit, &lease.attempt);
        self.actions.push_back(Action::CancelAttempt { worker: lease.worker.clone(), attempt: lease.attempt.clone() });
        self.ended(lease, Ending::Released);
    }

    /// `mine` are the attempt's tokens, where the commit names this attempt.
    pub(super) fn on_committed(
        &mut self,
        worker: &WorkerId,
        sweep: &SweepId,
        unit: UnitKey,
        attempt: &str,
        generation: u32,
        mine: Option<u64>,
    ) {
        let lease = self.leases.remove(&unit, attempt);
        if let Some(lease) = &lease {
            self.ended(lease, if mine.is_some() { Ending::Committed } else { Ending::Released });
            if mine.is_some() && !lease.adopted {
                self.took(lease);
            }
        }
        let link = commit::result(generation);
        let news = lease.is_some() || self.links.get(&unit).is_none_or(|known| *known < link);
        self.link(unit, link);
        let Some(tokens) = mine.filter(|_| news) else { return };
        self.with_worker(worker, Worker::committed);
        let unheard = lease.is_none() && !self.ended.contains_key(attempt);
        let on = lease.as_ref().map_or(sweep, |lease| &lease.sweep);
        if let Some(sweep) = self.sweeps.get_mut(on).filter(|sweep| sweep.slot(&unit).is_some()) {
            sweep.tokens += tokens;
            if unheard {
                // An attempt of an earlier epoch that nobody had named.
                sweep.attempts.started += 1;
                sweep.attempts.committed += 1;
                self.ended.insert(attempt.to_owned(), Ending::Committed);
            }
        }
    }

    pub(super) fn on_failed(&mut self, worker: &WorkerId, unit: UnitKey, attempt: &str, error: String, permanent: bool) {
        let Some(lease) = self.take(worker, &unit, attempt) else { return };
        let failed = Record::Fail { unit, attempt: attempt.to_owned(), worker: worker.0.clone(), error: error.clone() };
        self.append(&lease.sweep, failed);
        self.with_worker(worker, |w| w.failed(unit));
        self.ended(&lease, Ending::Failed);
        let (settings, now) = (&self.settings, self.now);
        let Some(sweep) = self.sweeps.get_mut(&lease.sweep) else { return };
        let Some(slot) = sweep.slot_mut(&unit) else { return };
        slot.fails += 1;
        let fails = slot.fails;
        if permanent {
            self.quarantine(&lease.sweep, unit, error);
        } else if fails >= settings.fail_budget {
            self.give_up(&lease.sweep, unit, error);
        } else {
            sweep.rest(&unit, now + settings.backoff(&unit, fails), now);
        }
    }

    /// A worker has ended: its leases needn't run out first.
    pub(super) fn on_gone(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
        for lease in self.leases.take_of(worker) {
            let (id, unit) = (lease.sweep.clone(), lease.unit);
            self.lose(lease);
            // What used up the memory beside it may be done then. The first loss is anybody's.
            let (now, settings) = (self.now, &self.settings);
            if let Some(sweep) = self.sweeps.get_mut(&id)
                && let Some(losses) = sweep.slot(&unit).map(|slot| slot.losses).filter(|losses| *losses > 1)
            {
                sweep.rest(&unit, now + settings.backoff(&unit, losses), now);
            }
        }
    }

    /// A lease has run out.
    pub(super) fn lose(&mut self, lease: Lease) {
        self.ended(&lease, Ending::Lost);
        if !self.lost.insert(lease.attempt.clone()) {
            return;
        }
        let lost = Record::Lost { unit: lease.unit, attempt: lease.attempt.clone(), worker: lease.worker.0.clone() };
        self.append(&lease.sweep, lost);
        let Some(sweep) = self.sweeps.get_mut(&lease.sweep) else { return };
        let Some(slot) = sweep.slot_mut(&lease.unit) else { return };
        slot.losses += 1;
        let Some(slot) = sweep.slot(&lease.unit) else { return };
        if slot.losses >= sweep.lost_budget(slot, &self.settings) {
            let error = lost_error(slot.losses, Some(&lease.worker.0));
            self.give_up(&lease.sweep, lease.unit, error);
        }
    }

    pub(super) fn on_released(&mut self, worker: &WorkerId, unit: UnitKey, attempt: &str) {
        if let Some(lease) = self.take(worker, &unit, attempt) {
            self.ended(&lease, Ending::Released);
        }
    }

    /// A grant never reached its worker. Nobody will ever name the attempt, so nothing is kept of it: a store that is away for
    /// long has many such.
    pub(super) fn on_withdrawn(&mut self, unit: UnitKey, attempt: &str) {
        let Some(lease) = self.leases.remove(&unit, attempt) else { return };
        if let Some(sweep) = self.sweeps.get_mut(&lease.sweep) {
            sweep.attempts.started -= 1;
            // Who took it over when its sweep was cancelled was never charged for it.
            sweep.granted = (sweep.granted - sweep.slot(&unit).map_or(0.0, |slot| slot.flops)).max(0.0);
        }
        self.no_longer_leased(&unit);
    }

    /// A lease of a unit has gone.
    fn no_longer_leased(&mut self, unit: &UnitKey) {
        let leased = self.leases.runs(unit);
        for sweep in self.sweeps.values_mut() {
            sweep.set_leased(unit, leased, self.now);
        }
    }

    /// Takes a lease out of the table, if that worker has it.
    pub(super) fn take(&mut self, worker: &WorkerId, unit: &UnitKey, attempt: &str) -> Option<Lease> {
        self.leases.get_mut(unit, attempt).filter(|lease| lease.worker == *worker)?;
        self.leases.remove(unit, attempt)
    }

    pub(super) fn quarantine(&mut self, id: &SweepId, unit: UnitKey, error: String) {
        if let Some(sweep) = self.sweeps.get_mut(id) {
            sweep.quarantine(&unit, error.clone(), self.now);
            self.append(id, Record::Quarantine { unit, error });
        }
    }

    /// Writes a record into a sweep's journal.
    pub(super) fn append(&mut self, id: &SweepId, record: Record) {
        if let Some(sweep) = self.sweeps.get_mut(id) {
            sweep.history.apply(&record);
        }
        self.actions.push_back(Action::Append { sweep: id.clone(), record });
    }

    /// Pauses a sweep. One that is over can't be paused.
    pub(super) fn on_pause(&mut self, id: &SweepId, by: String) {
        let Some(sweep) = self.sweeps.get_mut(id).filter(|sweep| !sweep.state().terminal() && !sweep.paused) else { return };
        (sweep.paused, sweep.dirty) = (true, true);
        self.append(id, Record::Pause { by });
    }

    /// Resumes a sweep that is paused (also one that has become complete, for a late commit may take it up again) or cancelled.
    pub(super) fn on_resume(&mut self, id: &SweepId) {
        let Some(sweep) = self.sweeps.get_mut(id).filter(|sweep| sweep.paused || sweep.cancelled) else { return };
        (sweep.paused, sweep.cancelled, sweep.dirty) = (false, false, true);
        self.append(id, Record::Resume);
    }

    /// Cancels a sweep. Its attempts stop, but for those whose unit another sweep wants: they go on for that one.
    pub(super) fn on_cancel(&mut self, id: &SweepId) {
        let Some(sweep) = self.sweeps.get_mut(id).filter(|sweep| sweep.state() != SweepState::Cancelled) else { return };
        if sweep.state() == SweepState::Complete {
            return;
        }
        sweep.cancelled = true;
        sweep.dirty = true;
        self.append(id, Record::Cancel);
        let running: Vec<Lease> = self.leases.iter().filter(|lease| lease.sweep == *id).cloned().collect();
        for lease in running {
            match self.sweeps.values().find(|other| other.wants(&lease.unit)).map(|other| other.id.clone()) {
                Some(heir) => self.hand_over(&lease, heir),
                None => self.stop(&lease),
            }
        }
    }

    fn hand_over(&mut self, lease: &Lease, heir: SweepId) {
        if let Some(sweep) = self.sweeps.get_mut(&lease.sweep) {
            sweep.attempts.released += 1;
        }
        if let Some(sweep) = self.sweeps.get_mut(&heir) {
            sweep.attempts.started += 1;
            sweep.dirty = true;
        }
        if let Some(lease) = self.leases.get_mut(&lease.unit, &lease.attempt) {
            lease.sweep = heir;
        }
    }
}
