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
        let kind = self.unit(&lease.sweep, &lease.unit).map(|unit| unit.spec.kind());
        if let (Some(kind), Some(sweep)) = (kind, self.sweeps.get_mut(&lease.sweep)) {
            sweep.durations.add(kind, self.now.saturating_sub(lease.since));
        }
    }

    /// When an attempt counts as a straggler, as things stand.
    fn straggles_at(&self, lease: &Lease) -> Option<Duration> {
        let settings = &self.settings;
        let sweep = self.sweeps.get(&lease.sweep)?;
        if !sweep.grants(self.now) || !sweep.nearly_done(settings.stragglers_from) {
            return None;
        }
        let kind = sweep.planned(&lease.unit)?.unit.spec.kind();
        let usual = sweep.durations.median(kind)?;
        let slot = sweep.slot(&lease.unit)?;
        // What it reads may have been voided since it began.
        let grantable = slot.phase == Phase::Running && slot.waiting == 0;
        let alone = self.leases.of_unit(&lease.unit).count() == 1;
        (grantable && alone).then(|| lease.since + (usual * settings.straggler_factor).max(settings.straggler_least))
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
        let ends = |sweep: &Sweep| sweep.grants(self.now) && sweep.nearly_done(self.settings.stragglers_from);
        self.sweeps.values().any(ends) && self.workers.values().any(|worker| worker.ready)
    }

    /// A second attempt that is due, and a worker for it: the attempt first that has been due the longest.
    pub(super) fn second_attempt(&self) -> Option<(WorkerId, SweepId, UnitKey)> {
        if !self.helped() {
            return None;
        }
        let due = self.leases.iter().filter_map(|lease| Some((self.straggles_at(lease).filter(|due| *due <= self.now)?, lease)));
        let mut due: Vec<(Duration, &Lease)> = due.collect();
        due.sort_by_key(|(due, _)| *due);
        due.into_iter().find_map(|(_, lease)| {
            let (id, _) = self.workers.iter().find(|(id, worker)| self.helps(id, worker, lease))?;
            Some((id.clone(), lease.sweep.clone(), lease.unit))
        })
    }

    /// When a second attempt will be due that a waiting worker could make.
    pub(super) fn next_straggler(&self) -> Option<Duration> {
        if !self.helped() {
            return None;
        }
        let due = self.leases.iter().filter_map(|lease| self.straggles_at(lease));
        due.filter(|due| *due > self.now).min()
    }
}
