//! One sweep: the phase of each of its units, kept consistent with the facts, and the counts that follow from it.

mod durations;
mod group;
mod open;
mod reading;
mod slot;
mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptCounts, CellCounts, SweepState, UnitCounts};
use limbic_proto::unit::{ModelIdentity, Versions};

use super::event::SweepId;
use crate::history::History;
use crate::plan::{Plan, PlannedUnit};

pub(super) use durations::Durations;
pub(super) use group::{Group, Groups};
pub(super) use open::lost_error;
use slot::CellState;
pub(super) use slot::{Phase, Queue, Slot};

/// One open sweep.
#[derive(Debug)]
pub(super) struct Sweep {
    pub id: SweepId,
    pub name: String,
    pub plan: Plan,
    pub epoch: u64,
    /// How many sweeps were opened before it.
    pub seniority: usize,
    pub opened: Duration,
    /// Nothing is granted before.
    pub held_until: Duration,
    pub paused: bool,
    pub cancelled: bool,
    pub attempts: AttemptCounts,
    pub units: UnitCounts,
    pub cells: CellCounts,
    pub done_flops: f64,
    pub inherited_flops: f64,
    pub tokens: u64,
    pub slots: Vec<Slot>,
    /// Units that are not in the plan, but parts of such.
    halves: BTreeMap<UnitKey, PlannedUnit>,
    /// Units that were split, by rank.
    pub splits: BTreeSet<usize>,
    /// Units that wait for activations that were released, by rank.
    pub starved: BTreeSet<usize>,
    /// Units whose activations may have become superfluous since somebody looked, by rank.
    read: BTreeSet<usize>,
    pub queues: BTreeMap<Option<ModelIdentity>, Queue>,
    /// Units that failed for good themselves, by rank.
    pub given_up: BTreeSet<usize>,
    /// FLOPs granted, as far as they count for its share.
    pub granted: f64,
    /// How long its units took.
    pub durations: Durations,
    pub groups: Groups,
    /// The journal, folded.
    pub history: History,
    /// Something that [`super::Machine::status`] shows has changed.
    pub dirty: bool,
    ranks: BTreeMap<UnitKey, usize>,
    timers: BTreeSet<(Duration, usize)>,
    cell_states: Vec<CellState>,
}

impl Sweep {
    pub fn slot(&self, key: &UnitKey) -> Option<&Slot> {
        self.ranks.get(key).map(|rank| &self.slots[*rank])
    }

    pub fn slot_mut(&mut self, key: &UnitKey) -> Option<&mut Slot> {
        self.ranks.get(key).map(|rank| &mut self.slots[*rank])
    }

    /// Whether it wants this unit's result and has not given up on it.
    pub fn wants(&self, key: &UnitKey) -> bool {
        !self.cancelled && self.slot(key).is_some_and(|slot| !slot.committed && !slot.phase.hopeless())
    }

    /// Whether nothing but a lease is missing for the unit to run.
    pub fn startable(&self, key: &UnitKey) -> bool {
        self.slot(key).is_some_and(|slot| matches!(slot.phase, Phase::Ready | Phase::Resting(_)))
    }

    /// Whether units of it may be granted.
    pub fn grants(&self, now: Duration) -> bool {
        !self.paused && !self.cancelled && !self.foreign() && now >= self.held_until
    }

    /// Whether its units are of versions that this release doesn't compute. It is led for its results' sake: to be shown, and so that
    /// nothing is released that it needs.
    pub fn foreign(&self) -> bool {
        self.plan.versions != Versions::CURRENT
    }

    /// Whether there is nothing to compute for it, be it done or not.
    pub fn over(&self) -> bool {
        self.foreign() || self.state().terminal()
    }

    /// What it was granted, measured by its weight.
    pub fn share(&self) -> f64 {
        self.granted / self.plan.weight
    }

    /// Whether so many percent of its units are done, or never will be.
    pub fn nearly_done(&self, percent: u32) -> bool {
        (self.units.committed + self.units.quarantined) * 100 >= self.units.total * u64::from(percent)
    }

    pub fn state(&self) -> SweepState {
        if self.cancelled {
            SweepState::Cancelled
        } else if self.units.pending + self.units.running == 0 {
            SweepState::Complete
        } else if self.paused {
            SweepState::Paused
        } else {
            SweepState::Running
        }
    }

    pub fn set_committed(&mut self, key: &UnitKey, committed: bool, released: bool, now: Duration) {
        self.change(key, now, |slot| (slot.committed, slot.released) = (committed, released));
    }

    pub fn set_unsettled(&mut self, key: &UnitKey, unsettled: bool, now: Duration) {
        self.change(key, now, |slot| slot.unsettled = unsettled);
    }

    pub fn quarantine(&mut self, key: &UnitKey, error: String, now: Duration) {
        self.change(key, now, |slot| slot.quarantined = Some(error));
    }

    pub fn rest(&mut self, key: &UnitKey, until: Duration, now: Duration) {
        self.change(key, now, |slot| slot.rests = until);
    }

    pub fn set_leased(&mut self, key: &UnitKey, leased: bool, now: Duration) {
        self.change(key, now, |slot| slot.leased = leased);
    }

    /// Fresh budgets.
    pub fn retry(&mut self, key: &UnitKey, now: Duration) {
        self.change(key, now, |slot| {
            slot.quarantined = None;
            (slot.fails, slot.losses, slot.voids) = (0, 0, 0);
            slot.rests = Duration::ZERO;
        });
    }

    /// The given units that had trouble and are not done; of a unit that waits for such ones, these. In plan order.
    pub fn troubled(&self, units: &[UnitKey]) -> Vec<UnitKey> {
        let mut open: Vec<usize> = units.iter().filter_map(|key| self.ranks.get(key).copied()).collect();
        let mut found = BTreeSet::new();
        while let Some(rank) = open.pop() {
            let slot = &self.slots[rank];
            if slot.phase == Phase::Blocked {
                let dependencies = self.planned(&slot.key).map(|planned| planned.unit.spec.dependencies()).unwrap_or_default();
                let halves = slot.split.iter().flat_map(|halves| halves.ranks.iter().copied());
                let on = dependencies.iter().filter_map(|key| self.ranks.get(key).copied()).chain(halves);
                open.extend(on.filter(|rank| self.slots[*rank].phase.hopeless()));
            }
            if !slot.committed && slot.troubled() {
                found.insert(rank);
            }
        }
        found.into_iter().map(|rank| self.slots[rank].key).collect()
    }

    /// The units, and everything that depends on them, each in plan order. A unit that was split stands for its halves.
    pub fn derived(&self, units: &[UnitKey]) -> (Vec<UnitKey>, Vec<UnitKey>) {
        let ranks = units.iter().filter_map(|key| self.ranks.get(key).copied());
        let asked: BTreeSet<usize> = self.parts(ranks).into_iter().collect();
        let mut open: Vec<usize> = asked.iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(rank) = open.pop() {
            let slot = &self.slots[rank];
            open.extend(&slot.parents);
            open.extend(self.parts(slot.dependants.iter().copied()).into_iter().filter(|dependant| found.insert(*dependant)));
        }
        let keys = |ranks: &mut dyn Iterator<Item = &usize>| ranks.map(|rank| self.slots[*rank].key).collect();
        (keys(&mut asked.difference(&found)), keys(&mut found.iter()))
    }

    /// The same units, with those that were split replaced by their halves.
    fn parts(&self, units: impl Iterator<Item = usize>) -> Vec<usize> {
        let (mut open, mut whole) = (units.collect::<Vec<_>>(), Vec::new());
        while let Some(rank) = open.pop() {
            match &self.slots[rank].split {
                Some(halves) => open.extend(&halves.ranks),
                None => whole.push(rank),
            }
        }
        whole
    }

    fn change(&mut self, key: &UnitKey, now: Duration, change: impl FnOnce(&mut Slot)) {
        if let Some(&rank) = self.ranks.get(key) {
            change(&mut self.slots[rank]);
            self.settle(rank, now);
        }
    }

    /// Units that rest after a failure, and until when.
    pub fn resting(&self) -> impl Iterator<Item = (&Slot, Duration)> {
        self.timers.iter().map(|(due, rank)| (&self.slots[*rank], *due))
    }

    /// Wakes units that have rested.
    pub fn advance(&mut self, now: Duration) {
        while let Some(&(due, rank)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            self.settle(rank, now);
        }
    }

    /// When something is due without an event.
    pub fn next_timer(&self, now: Duration) -> Option<Duration> {
        let hold = (self.held_until > now && !self.state().terminal()).then_some(self.held_until);
        self.timers.first().map(|(due, _)| *due).into_iter().chain(hold).min()
    }

    /// Brings a unit's phase in line with its facts, and then those of the units that depend on it.
    fn settle(&mut self, rank: usize, now: Duration) {
        let mut open = vec![rank];
        while let Some(rank) = open.pop() {
            let slot = &self.slots[rank];
            let (from, to) = (slot.phase, slot.due_phase(now));
            self.note_starved(rank, to);
            if from == to {
                continue;
            }
            self.count(rank, from, to);
            self.queue(rank, from, to);
            self.slots[rank].phase = to;
            let change = |of: &dyn Fn(Phase) -> bool| isize::from(of(to)) - isize::from(of(from));
            let (readable, released) = (change(&|phase| phase == Phase::Committed), change(&|phase| phase == Phase::Released));
            let (done, hopeless) = (readable + released, change(&Phase::hopeless));
            self.note_read(rank, done);
            if readable == 0 && released == 0 && hopeless == 0 {
                continue;
            }
            for dependant in self.slots[rank].dependants.clone() {
                let slot = &mut self.slots[dependant];
                // Tokens are there as long as the result stands, whatever becomes of the activations.
                let (there, recalled) = if slot.reads_states { (readable, released) } else { (done, 0) };
                slot.waiting = slot.waiting.saturating_add_signed(-there);
                slot.recalls = slot.recalls.saturating_add_signed(recalled);
                slot.blocked = slot.blocked.saturating_add_signed(hopeless);
                open.push(dependant);
            }
            for parent in self.slots[rank].parents.clone() {
                if let Some(halves) = &mut self.slots[parent].split {
                    halves.open = halves.open.saturating_add_signed(-done);
                    halves.released = halves.released.saturating_add_signed(released);
                    halves.hopeless = halves.hopeless.saturating_add_signed(hopeless);
                }
                open.push(parent);
            }
            for index in 0..self.slots[rank].cells.len() {
                let cell = self.slots[rank].cells[index];
                self.count_cell(cell, done, hopeless);
            }
        }
    }

    fn count(&mut self, rank: usize, from: Phase, to: Phase) {
        *self.counter(from) -= 1;
        *self.counter(to) += 1;
        if to.done() {
            self.done_flops += self.slots[rank].flops;
        }
        if from.done() {
            self.done_flops -= self.slots[rank].flops;
        }
        self.groups.count(self.slots[rank].group, from, to);
        self.dirty |=
            !matches!((from, to), (Phase::Waiting | Phase::Resting(_) | Phase::Ready, Phase::Waiting | Phase::Resting(_) | Phase::Ready));
    }

    fn counter(&mut self, phase: Phase) -> &mut u64 {
        match phase {
            Phase::Waiting | Phase::Resting(_) | Phase::Ready => &mut self.units.pending,
            Phase::Running => &mut self.units.running,
            Phase::Committed | Phase::Released => &mut self.units.committed,
            Phase::Quarantined | Phase::Blocked => &mut self.units.quarantined,
        }
    }

    fn queue(&mut self, rank: usize, from: Phase, to: Phase) {
        let queue = self.queues.entry(self.slots[rank].model.clone()).or_default();
        if from == Phase::Ready {
            queue.ready.remove(&rank);
        }
        if to == Phase::Ready {
            queue.ready.insert(rank);
        }
        if from == Phase::Quarantined {
            self.given_up.remove(&rank);
        }
        if to == Phase::Quarantined {
            self.given_up.insert(rank);
        }
        if let Phase::Resting(until) = from {
            self.timers.remove(&(until, rank));
        }
        if let Phase::Resting(until) = to {
            self.timers.insert((until, rank));
        }
    }

    fn count_cell(&mut self, index: usize, done: isize, hopeless: isize) {
        let cell = &mut self.cell_states[index];
        let before = *cell;
        cell.missing = cell.missing.saturating_add_signed(-done);
        cell.hopeless = cell.hopeless.saturating_add_signed(hopeless);
        let (full, lost) = (|c: &CellState| u64::from(c.missing == 0), |c: &CellState| u64::from(c.hopeless > 0));
        self.cells.done = self.cells.done + full(cell) - full(&before);
        self.cells.quarantined = self.cells.quarantined + lost(cell) - lost(&before);
    }
}
