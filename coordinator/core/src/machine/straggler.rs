//! Stragglers: near the end of a sweep, an attempt that takes much longer than its like gets company on another worker.
//! Whichever commits first ends the other.

use std::time::Duration;

use limbic_proto::key::UnitKey;

use super::Machine;
use super::event::{SweepId, WorkerId};
use super::lease::Lease;
use super::sweep::{Phase, Sweep};
use super::worker::Worker;

impl Machine {
    /// An attempt has committed its unit: how long it took says what is usual.
    pub(super) fn took(&mut self, lease: &Lease) {
        if let Some(sweep) = self.sweeps.get_mut(&lease.sweep) {
            sweep.durations.add(lease.kind, self.now.saturating_sub(lease.since));
        }
    }

    /// When an attempt counts as a straggler, as things stand. Many are looked at whenever a worker waits, so that nothing is
    /// looked up for it that can be left for later.
    fn straggles_at(&self, lease: &Lease) -> Option<Duration> {
        let settings = &self.settings;
        let sweep = self.sweeps.get(&lease.sweep).filter(|sweep| self.ends(sweep))?;
        let usual = sweep.durations.median(lease.kind)?;
        Some(lease.since + (usual * settings.straggler_factor).max(settings.straggler_least))
    }

    /// Whether second attempts are made at a sweep's units: it has little else to do.
    fn ends(&self, sweep: &Sweep) -> bool {
        sweep.grants(self.now) && sweep.nearly_done(self.settings.stragglers_from)
    }

    /// Whether a straggler may get company: it has none yet, and what it reads wasn't voided since it began.
    fn may_have_company(&self, lease: &Lease) -> bool {
        let slot = self.sweeps.get(&lease.sweep).and_then(|sweep| sweep.slot(&lease.unit));
        let grantable = slot.is_some_and(|slot| slot.phase == Phase::Running && slot.waiting == 0);
        grantable && self.leases.of_unit(&lease.unit).count() == 1
    }

    /// Whether a worker may help out with an attempt.
    fn helps(&self, id: &WorkerId, worker: &Worker, lease: &Lease) -> bool {
        let needs = self.sweeps.get(&lease.sweep).and_then(|sweep| {
            let model = &sweep.slot(&lease.unit)?.model;
            Some((model.is_some(), sweep.queues.get(model)?.bytes))
        });
        let able = *id != lease.worker && !worker.failed.contains(&lease.unit);
        worker.ready && able && needs.is_some_and(|(runs_model, bytes)| self.suits(worker, runs_model, bytes))
    }

    /// Whether there can be second attempts now: not while every sweep has enough else to do.
    fn helped(&self) -> bool {
        self.sweeps.values().any(|sweep| self.ends(sweep)) && self.workers.values().any(|worker| worker.ready)
    }

    /// A second attempt that is due, and a worker for it: the attempt first that has been due the longest.
    pub(super) fn second_attempt(&self) -> Option<(WorkerId, SweepId, UnitKey)> {
        if !self.helped() {
            return None;
        }
        let due = self.leases.iter().filter_map(|lease| Some((self.straggles_at(lease).filter(|due| *due <= self.now)?, lease)));
        let mut due: Vec<(Duration, &Lease)> = due.filter(|(_, lease)| self.may_have_company(lease)).collect();
        due.sort_by_key(|(due, _)| *due);
        due.into_iter().find_map(|(_, lease)| {
            let (id, _) = self.workers.iter().find(|(id, worker)| self.helps(id, worker, lease))?;
            Some((id.clone(), lease.sweep.clone(), lease.unit))
        })
    }

    /// When a second attempt will be due that a waiting worker could make; some of these come to nothing.
    pub(super) fn next_straggler(&self) -> Option<Duration> {
        if !self.helped() {
            return None;
        }
        let due = self.leases.iter().filter_map(|lease| self.straggles_at(lease));
        due.filter(|due| *due > self.now).min()
    }
}
