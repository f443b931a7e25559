//! Activations that nobody needs any more: released as soon as everything that reads them is committed, computed again if
//! something else will read them after all.
//!
//! The store's marker says what was released, so nothing of it is in the journal. From the moment on at which it is asked for,
//! a release counts as done: whether some of it took effect can't be told, and what is asked for again later is voided first.

use std::collections::BTreeSet;

use limbic_proto::commit;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::UnitKind;

use super::Machine;
use super::event::{Action, SweepId};

/// The reason of voids of results whose activations were released.
pub const RELEASED: &str = "its activations were released, and are needed again";

impl Machine {
    /// Whether the activations of the result that stands were released.
    pub(super) fn is_released(&self, unit: &UnitKey) -> bool {
        self.released.get(unit).is_some_and(|generation| self.links.get(unit) == Some(&commit::result(*generation)))
    }

    /// Takes note that the activations of a generation were released, or are about to be. Those of another are not meant.
    pub(super) fn mark_released(&mut self, unit: UnitKey, generation: u32) {
        let last = self.released.entry(unit).or_insert(generation);
        *last = generation.max(*last);
        if self.is_released(&unit) {
            self.sweeps.values_mut().for_each(|sweep| sweep.set_committed(&unit, true, true, self.now));
        }
    }

    /// Releases the activations that everything that reads them has read.
    pub(super) fn release(&mut self) {
        if !self.all_open {
            return;
        }
        let read: BTreeSet<UnitKey> = self.sweeps.values_mut().flat_map(|sweep| sweep.take_read()).collect();
        for unit in read {
            if self.superfluous(&unit) {
                let generation = self.generation(&unit);
                self.mark_released(unit, generation);
                self.actions.push_back(Action::Release { unit, generation });
            }
        }
    }

    /// Whether a result has activations that were not released yet, and every sweep that has the unit lets them go.
    fn superfluous(&self, unit: &UnitKey) -> bool {
        if !self.committed(unit) || self.is_split(unit) || self.is_released(unit) {
            return false;
        }
        let mut having = self.sweeps.values().filter_map(|sweep| Some((sweep, sweep.planned(unit)?)));
        having.all(|(sweep, planned)| planned.unit.spec.kind() == UnitKind::Extract && sweep.lets_go(unit))
    }

    /// Voids results whose activations were released where something waits for them that may be granted, so that they are
    /// computed again. That is nobody's failure, so no budget is spent.
    pub(super) fn recall(&mut self) {
        let granting = self.sweeps.values().filter(|sweep| !sweep.starved.is_empty() && sweep.grants(self.now));
        let wanted = granting.flat_map(|sweep| sweep.wanted_again().into_iter().map(|unit| (sweep.id.clone(), unit)));
        for (id, unit) in wanted.collect::<Vec<(SweepId, UnitKey)>>() {
            // Two sweeps may want the same.
            if self.is_released(&unit) {
                self.void_asked(&id, unit, RELEASED);
            }
        }
    }
}
