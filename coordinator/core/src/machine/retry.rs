//! What users ask to be tried or computed again.

use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;

use super::Machine;
use super::event::{Event, SweepId};
use super::lease::Lease;

/// The reason of voids that somebody asked for.
pub const AGAIN: &str = "asked again";

impl Machine {
    /// How many units a wish reaches: those that [`Event::Retry`] gives fresh budgets, or whose results [`Event::Again`] voids,
    /// what was computed from them included. No other event is about chosen units.
    pub fn reach(&self, wish: &Event) -> usize {
        let open = |id: &SweepId| self.sweeps.get(id).filter(|sweep| !sweep.cancelled);
        match wish {
            Event::Retry { sweep, units } => open(sweep).map_or(0, |sweep| sweep.troubled(units).len()),
            Event::Again { sweep, units } => open(sweep).map_or(0, |sweep| {
                let (asked, dependants) = sweep.derived(units);
                asked.iter().chain(&dependants).filter(|unit| self.committed(unit)).count()
            }),
            _ => 0,
        }
    }

    /// Gives units fresh budgets. Those that had no trouble stay as they are, and so does a cancelled sweep.
    pub(super) fn on_retry(&mut self, id: &SweepId, units: &[UnitKey]) {
        let Some(sweep) = self.sweeps.get(id).filter(|sweep| !sweep.cancelled) else { return };
        for unit in sweep.troubled(units) {
            self.retry(id, unit);
        }
    }

    fn retry(&mut self, id: &SweepId, unit: UnitKey) {
        self.append(id, Record::Retry { unit });
        let Some(sweep) = self.sweeps.get_mut(id) else { return };
        sweep.retry(&unit, self.now);
        sweep.dirty = true;
    }

    /// Voids results and all that was computed from them. What is being computed from them stops. A unit that is not
    /// committed itself is on its way anyway, and what was computed from an older result of it (a coordinator that died in
    /// the middle of this leaves such) is voided all the same.
    pub(super) fn on_again(&mut self, id: &SweepId, units: &[UnitKey]) {
        let Some(sweep) = self.sweeps.get(id).filter(|sweep| !sweep.cancelled) else { return };
        let (asked, dependants) = sweep.derived(units);
        for unit in &dependants {
            let running: Vec<Lease> = self.leases.of_unit(unit).cloned().collect();
            running.iter().for_each(|lease| self.stop(lease));
        }
        for unit in asked.into_iter().chain(dependants).filter(|unit| self.committed(unit)).collect::<Vec<_>>() {
            self.void_asked(id, unit, AGAIN);
        }
    }

    /// Voids a result that nothing is wrong with. What is computed anew has fresh budgets.
    pub(super) fn void_asked(&mut self, id: &SweepId, unit: UnitKey, reason: &str) {
        if self.sweeps[id].slot(&unit).is_some_and(|slot| slot.troubled()) {
            self.retry(id, unit);
        }
        self.void(id, unit, self.generation(&unit), reason.to_owned(), true);
    }
}
