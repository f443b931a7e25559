//! What is known of one unit: where it stands, its attempts, what it reads and what reads it.

use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptState, AttemptView, Done, UnitView};

use super::Machine;
use super::event::SweepId;
use super::sweep::{Phase, Slot, Sweep};

impl Machine {
    /// A unit of a sweep as `limbic show` tells of it; none if the sweep isn't open or has no such unit.
    pub fn show(&self, now: Duration, id: &SweepId, unit: &UnitKey) -> Option<UnitView> {
        let sweep = self.sweeps.get(id)?;
        let (slot, planned) = (sweep.slot(unit)?, sweep.planned(unit)?);
        let dependencies = planned.unit.spec.dependencies();
        Some(UnitView {
            sweep: id.0.clone(),
            unit: unit.hex(),
            title: planned.unit.hints.title.clone(),
            kind: planned.unit.spec.kind(),
            phase: phase(now.max(self.now), sweep, slot),
            generation: self.generation(unit),
            fails: slot.fails,
            losses: slot.losses,
            voids: slot.voids,
            fail_budget: self.settings.fail_budget,
            lost_budget: sweep.lost_budget(slot, &self.settings),
            error: slot.quarantined.clone().filter(|_| !slot.committed),
            attempts: self.attempts(sweep, unit),
            dependencies: done(dependencies.iter().map(|key| sweep.slot(key).is_some_and(|slot| slot.phase.done()))),
            dependants: done(slot.dependants.iter().map(|rank| sweep.slots[*rank].phase.done())),
        })
    }

    fn attempts(&self, sweep: &Sweep, unit: &UnitKey) -> Vec<AttemptView> {
        let ended = sweep.history.endings(unit).iter().map(|ended| AttemptView {
            attempt: ended.attempt.clone(),
            worker: ended.worker.clone(),
            state: if ended.error.is_some() { AttemptState::Failed } else { AttemptState::Lost },
            error: ended.error.clone(),
            share: None,
        });
        let running = self.leases.of_unit(unit).map(|lease| AttemptView {
            attempt: lease.attempt.clone(),
            worker: lease.worker.0.clone(),
            state: AttemptState::Running,
            error: None,
            share: Some(lease.share.clamp(0.0, 1.0)),
        });
        ended.chain(running).collect()
    }
}

fn done(committed: impl Iterator<Item = bool>) -> Done {
    committed.fold(Done::default(), |sum, committed| Done { total: sum.total + 1, committed: sum.committed + u64::from(committed) })
}

fn phase(now: Duration, sweep: &Sweep, slot: &Slot) -> String {
    if let Some(halves) = &slot.split {
        return match slot.phase {
            Phase::Committed | Phase::Released => "was split, and its halves are committed".to_owned(),
            Phase::Blocked => "was split, and one of its halves is quarantined".to_owned(),
            _ => format!("was split; waits for {} of its halves", halves.open),
        };
    }
    match slot.phase {
        Phase::Waiting if slot.unsettled => "waits until its chain of commits is written".to_owned(),
        Phase::Waiting if slot.recalls > 0 => format!("waits for {} dependencies, {} of which were released", slot.waiting, slot.recalls),
        Phase::Waiting => format!("waits for {} dependencies", slot.waiting),
        Phase::Resting(until) => {
            format!("rests after a failure, for {} s more", until.saturating_sub(now).as_secs_f64().ceil())
        }
        Phase::Ready if sweep.cancelled => "not done; the sweep is cancelled".to_owned(),
        Phase::Ready if sweep.epoch == 0 => "could run, or runs: only the coordinator that leads the sweep knows".to_owned(),
        Phase::Ready if sweep.paused => "could run; the sweep is paused".to_owned(),
        Phase::Ready => "could run; waits for a worker".to_owned(),
        Phase::Running => "runs".to_owned(),
        // Whether its activations are there, the store says.
        Phase::Committed | Phase::Released => "committed".to_owned(),
        Phase::Quarantined => "quarantined".to_owned(),
        Phase::Blocked => "quarantined, for a unit that it reads is".to_owned(),
    }
}
