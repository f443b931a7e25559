//! Who reads whose activations, and whether anybody still will.

use limbic_proto::key::UnitKey;

use super::{Phase, Sweep};

impl Sweep {
    /// Takes note of whether a unit, which goes into this phase, waits for activations that were released. One that was split
    /// waits for its halves alone.
    pub(super) fn note_starved(&mut self, rank: usize, phase: Phase) {
        let slot = &self.slots[rank];
        if phase == Phase::Waiting && slot.recalls > 0 && slot.split.is_none() {
            self.starved.insert(rank);
        } else {
            self.starved.remove(&rank);
        }
    }

    /// Takes note of a unit whose phase has changed: of what it has read, if it is done now, and of what it offers.
    pub(super) fn note_read(&mut self, rank: usize, done: isize) {
        let releases = self.plan.activations.releases();
        if releases && self.slots[rank].phase == Phase::Committed {
            self.read.insert(rank);
        }
        if done == 0 {
            return;
        }
        for read in self.dependencies(rank) {
            let slot = &mut self.slots[read];
            slot.unread = slot.unread.saturating_add_signed(-done);
            if releases && slot.unread == 0 {
                self.read.insert(read);
            }
        }
    }

    /// The ranks of the units that one reads. (One that is not in the plan has none.)
    fn dependencies(&self, rank: usize) -> Vec<usize> {
        let dependencies = self.planned(&self.slots[rank].key).map(|planned| planned.unit.spec.dependencies()).unwrap_or_default();
        dependencies.iter().filter_map(|key| self.ranks.get(key).copied()).collect()
    }

    /// Units whose activations may have become superfluous since this was last asked; those that were split stand for their
    /// halves.
    pub fn take_read(&mut self) -> Vec<UnitKey> {
        let read = std::mem::take(&mut self.read);
        self.parts(read.into_iter()).into_iter().map(|rank| self.slots[rank].key).collect()
    }

    /// Whether this sweep's policy lets a unit's activations go: something reads them (itself or what it is a half of), and
    /// all of that is done.
    pub fn lets_go(&self, key: &UnitKey) -> bool {
        let (mut open, mut readers): (Vec<usize>, usize) = (self.ranks.get(key).copied().into_iter().collect(), 0);
        while let Some(rank) = open.pop() {
            let slot = &self.slots[rank];
            if slot.unread > 0 {
                return false;
            }
            readers += slot.dependants.len();
            open.extend(&slot.parents);
        }
        self.plan.activations.releases() && readers > 0
    }

    /// The units whose released activations others wait for.
    pub fn wanted_again(&self) -> Vec<UnitKey> {
        let released = |rank: &usize| self.slots[*rank].phase == Phase::Released;
        let read = self.starved.iter().flat_map(|rank| self.dependencies(*rank)).filter(released);
        let mut parts = self.parts(read);
        parts.retain(released);
        parts.sort_unstable();
        parts.dedup();
        parts.into_iter().map(|rank| self.slots[rank].key).collect()
    }
}
