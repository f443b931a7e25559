//! What a sweep's status says.

use std::time::Duration;

use limbic_proto::status::{Quarantined, Status, Work, WorkerStatus};

use super::Machine;
use super::event::{SweepId, WorkerId};
use super::sweep::Sweep;
use super::worker::Worker;

impl Machine {
    /// Where a sweep stands.
    pub fn status(&self, now: Duration, id: &SweepId) -> Option<Status> {
        let sweep = self.sweeps.get(id)?;
        let now = now.max(self.now);
        Some(Status {
            sweep: id.0.clone(),
            name: sweep.name.clone(),
            state: sweep.state(),
            led: sweep.epoch > 0,
            since: sweep.history.since,
            cells: sweep.cells,
            units: sweep.units,
            attempts: sweep.attempts,
            work: Work {
                total_flops: sweep.plan.estimate.flops,
                done_flops: sweep.done_flops,
                inherited_flops: sweep.inherited_flops,
                tokens: sweep.tokens + self.leases.iter().filter(|lease| lease.sweep == *id).map(|lease| lease.tokens).sum::<u64>(),
                seconds: (now - sweep.opened).as_secs_f64(),
            },
            workers: self.here().map(|(id, worker)| self.worker_status(now, id, worker)).collect(),
            quarantined: quarantined(sweep),
            waiting: self.waiting(now, sweep),
        })
    }

    /// The workers but those that have left: they said that they want nothing more, and hold nothing.
    pub(super) fn here(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        let holds = |id: &WorkerId| self.leases.iter().any(|lease| lease.worker == *id);
        self.workers.iter().filter(move |(id, worker)| !worker.draining || holds(id))
    }

    fn worker_status(&self, now: Duration, id: &WorkerId, worker: &Worker) -> WorkerStatus {
        let running = self.leases.iter().filter(|lease| lease.worker == *id).filter_map(|lease| {
            let planned = self.sweeps.get(&lease.sweep)?.planned(&lease.unit)?;
            Some(format!("{} ({:.0} %)", planned.unit.hints.title, 100.0 * lease.share.clamp(0.0, 1.0)))
        });
        WorkerStatus {
            id: id.0.clone(),
            device: worker.device.clone(),
            takes: worker.takes,
            running: running.collect(),
            committed: worker.commits,
            silent_ms: u64::try_from((now - worker.seen).as_millis()).unwrap_or(u64::MAX),
            late: now - worker.seen > 2 * self.settings.heartbeat,
        }
    }
}

/// The units that failed for good themselves, in plan order. (Those that only wait for one of them are in the counts.)
fn quarantined(sweep: &Sweep) -> Vec<Quarantined> {
    let slots = sweep.given_up.iter().map(|rank| &sweep.slots[*rank]);
    slots
        .filter_map(|slot| {
            let title = sweep.planned(&slot.key)?.unit.hints.title.clone();
            Some(Quarantined { unit: slot.key.hex(), title, error: slot.quarantined.clone()? })
        })
        .collect()
}
