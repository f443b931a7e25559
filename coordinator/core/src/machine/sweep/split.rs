//! Units that were split: their halves join the sweep, and the whole is done when they are.

use std::time::Duration;

use limbic_proto::key::UnitKey;

use super::slot::Halves;
use super::{Phase, Slot, Sweep};
use crate::plan::PlannedUnit;

impl Sweep {
    /// A unit of the plan, or a half of one.
    pub fn planned(&self, key: &UnitKey) -> Option<&PlannedUnit> {
        self.plan.units.get(key).or_else(|| self.halves.get(key))
    }

    /// The halves of a unit; none of one that was not split.
    pub fn halves_of(&self, key: &UnitKey) -> Vec<UnitKey> {
        let ranks = self.slot(key).and_then(|slot| slot.split.as_ref()).map(|halves| halves.ranks.as_slice()).unwrap_or_default();
        ranks.iter().map(|rank| self.slots[*rank].key).collect()
    }

    /// Whether a unit reads another's result: as its dependency, or as a half of one.
    pub fn reads(&self, key: &UnitKey, read: &UnitKey) -> bool {
        let Some(planned) = self.planned(key) else { return false };
        let dependencies = planned.unit.spec.dependencies();
        let mut open = vec![*read];
        while let Some(read) = open.pop() {
            if dependencies.contains(&read) {
                return true;
            }
            open.extend(self.slot(&read).into_iter().flat_map(|slot| &slot.parents).map(|rank| self.slots[*rank].key));
        }
        false
    }

    /// Whether no other unit of the slot's group is in trouble; those that were split don't count.
    pub fn only_trouble(&self, of: &Slot) -> bool {
        let other = |slot: &&Slot| slot.group == of.group && slot.key != of.key && slot.split.is_none();
        !self.slots.iter().filter(other).any(Slot::troubled)
    }

    /// What a unit can be split into; nothing of one that can't be.
    pub fn halves(&self, key: &UnitKey) -> Vec<PlannedUnit> {
        self.planned(key).map(|planned| planned.split(&self.plan.versions)).unwrap_or_default()
    }

    /// Puts a unit's halves in its place, and says which they are; what is known of them is for the caller to add.
    pub fn split(&mut self, key: &UnitKey, now: Duration) -> Vec<UnitKey> {
        let Some(&rank) = self.ranks.get(key) else { return Vec::new() };
        let halves = self.halves(key);
        if halves.is_empty() || self.slots[rank].split.is_some() {
            return Vec::new();
        }
        let ranks: Vec<usize> = halves.into_iter().map(|half| self.take_in(half, now)).collect();
        let count = |of: &dyn Fn(Phase) -> bool| ranks.iter().filter(|rank| of(self.slots[**rank].phase)).count();
        let (open, released) = (count(&|phase| !phase.done()), count(&|phase| phase == Phase::Released));
        let hopeless = count(&Phase::hopeless);
        ranks.iter().for_each(|half| self.slots[*half].parents.push(rank));
        let slot = &mut self.slots[rank];
        let flops = std::mem::take(&mut slot.flops);
        if slot.phase.done() {
            self.done_flops -= flops;
        }
        let keys = ranks.clone();
        slot.split = Some(Box::new(Halves { ranks, open, released, hopeless, flops }));
        self.splits.insert(rank);
        self.dirty = true;
        self.settle(rank, now);
        keys.into_iter().map(|rank| self.slots[rank].key).collect()
    }

    /// Makes a unit whole again, because the commit that split it is not to be used any more.
    pub fn unsplit(&mut self, key: &UnitKey, now: Duration) {
        let Some(&rank) = self.ranks.get(key) else { return };
        let Some(halves) = self.slots[rank].split.take() else { return };
        for half in halves.ranks {
            self.slots[half].parents.retain(|parent| *parent != rank);
        }
        let slot = &mut self.slots[rank];
        slot.flops = halves.flops;
        if slot.phase.done() {
            self.done_flops += halves.flops;
        }
        self.splits.remove(&rank);
        self.settle(rank, now);
    }

    /// The rank of a half; one that is new joins the sweep behind all others.
    fn take_in(&mut self, half: PlannedUnit, now: Duration) -> usize {
        let key = half.unit.spec.key();
        if let Some(&rank) = self.ranks.get(&key) {
            return rank;
        }
        let (rank, group) = (self.slots.len(), self.groups.of(&half));
        self.groups.add(group);
        let mut slot = Slot::new(key, &half, group, &self.history);
        slot.quarantined = self.history.quarantined.get(&key).cloned();
        for dependency in half.unit.spec.dependencies() {
            if let Some(&on) = self.ranks.get(&dependency) {
                let read = &mut self.slots[on];
                read.dependants.push(rank);
                read.unread += 1;
                slot.waiting += usize::from(read.phase != Phase::Committed);
                slot.recalls += usize::from(read.phase == Phase::Released);
                slot.blocked += usize::from(read.phase.hopeless());
            }
        }
        self.slots.push(slot);
        self.ranks.insert(key, rank);
        self.halves.insert(key, half);
        self.units.total += 1;
        self.units.pending += 1;
        self.settle(rank, now);
        rank
    }
}
