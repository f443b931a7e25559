//! Results that are not to be used any more: found corrupt by whoever reads them, or asked for again by a user.
//!
//! What is decided stands in the journal first, then the link is created in the store; the unit comes again only once
//! that link stands, so nothing that the store calls committed is ever leased.

use limbic_proto::commit;
use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;

use super::Machine;
use super::event::{Action, SweepId, WorkerId};
use super::lease::Ending;
use crate::history::History;

impl Machine {
    /// An attempt could not read a dependency. That is not its own fault: it counts as given back.
    ///
    /// What it says is believed only of the generation that stands, and of a unit that it had to read; anything else
    /// would be tried for ever, so that it counts as a failure.
    pub(super) fn on_corrupt(&mut self, worker: &WorkerId, unit: UnitKey, attempt: &str, bad: UnitKey, generation: u32, error: String) {
        let lease = self.leases.of_unit(&unit).find(|lease| lease.attempt == attempt);
        let sweep = lease.and_then(|lease| self.sweeps.get(&lease.sweep));
        if !sweep.is_some_and(|sweep| sweep.reads(&unit, &bad)) {
            return self.on_failed(worker, unit, attempt, error, false);
        }
        let Some(lease) = self.take(worker, &unit, attempt) else { return };
        self.ended(&lease, Ending::Released);
        // It has read too late: another coordinator released it. It is voided once somebody can be granted what needs it.
        if self.is_released(&bad) {
            return;
        }
        // A worker that finds corruption everywhere is the likelier culprit.
        self.with_worker(worker, |w| {
            w.streak.insert(unit);
        });
        if self.links.get(&bad) == Some(&commit::result(generation)) {
            self.void(&lease.sweep, bad, generation, error, false);
        }
    }

    /// Decides that a result is not to be used any more. One that was found corrupt too often is quarantined besides: it
    /// would only rot again.
    pub(super) fn void(&mut self, id: &SweepId, unit: UnitKey, generation: u32, reason: String, asked: bool) {
        let record = Record::Void { unit, generation, reason: reason.clone(), asked };
        self.append(id, record);
        self.begin_void(unit, generation, &reason);
        let budget = self.settings.fail_budget;
        let Some(slot) = self.sweeps.get_mut(id).and_then(|sweep| sweep.slot_mut(&unit)) else { return };
        slot.voids += u32::from(!asked);
        if !asked && slot.voids >= budget {
            let error = corrupt_error(slot.voids, &reason);
            self.quarantine(id, unit, error);
        }
    }

    fn begin_void(&mut self, unit: UnitKey, generation: u32, reason: &str) {
        self.link(unit, commit::void(generation));
        self.voiding.insert(unit);
        for sweep in self.sweeps.values_mut() {
            sweep.set_unsettled(&unit, true, self.now);
        }
        self.actions.push_back(Action::Void { unit, generation, reason: reason.to_owned() });
    }

    /// Voids what an earlier coordinator decided to void and did not come to.
    pub(super) fn void_as_written(&mut self, history: &History) {
        for (unit, void) in history.voids() {
            if self.links.get(unit) == Some(&commit::result(void.generation)) {
                self.begin_void(*unit, void.generation, &void.reason);
            }
        }
    }

    pub(super) fn on_voided(&mut self, unit: UnitKey, generation: u32) {
        self.link(unit, commit::void(generation));
        if self.generation(&unit) == generation + 1 && self.voiding.remove(&unit) {
            for sweep in self.sweeps.values_mut() {
                sweep.set_unsettled(&unit, false, self.now);
            }
        }
    }
}

/// What is said of a unit whose result keeps rotting.
pub(super) fn corrupt_error(times: u32, reason: &str) -> String {
    format!("its result was found corrupt {times} times, last: {reason}")
}
