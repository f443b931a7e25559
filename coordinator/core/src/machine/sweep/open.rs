//! Taking a sweep up: slots and the links between them, then what the store and the journal say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptCounts, CellCounts, UnitCounts};

use super::durations::Durations;
use super::group::Groups;
use super::slot::CellState;
use super::{Slot, Sweep};
use crate::history::History;
use crate::machine::event::SweepId;
use crate::machine::settings::Settings;
use crate::machine::void::corrupt_error;
use crate::plan::Plan;

impl Sweep {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        id: SweepId,
        name: &str,
        plan: Plan,
        epoch: u64,
        seniority: usize,
        now: Duration,
        held_until: Duration,
        history: History,
        committed: &[(UnitKey, bool)],
    ) -> Sweep {
        let ended = history.attempts();
        let inherited = committed.len() as u64;
        let mut sweep = Sweep {
            id,
            name: name.to_owned(),
            epoch,
            seniority,
            opened: now,
            held_until,
            paused: history.paused,
            cancelled: history.cancelled,
            attempts: AttemptCounts { started: ended.started + inherited, committed: inherited, ..ended },
            units: UnitCounts { total: plan.units.len() as u64, pending: plan.units.len() as u64, ..UnitCounts::default() },
            cells: CellCounts { total: plan.cells.len() as u64, ..CellCounts::default() },
            done_flops: 0.0,
            inherited_flops: 0.0,
            tokens: 0,
            slots: Vec::with_capacity(plan.units.len()),
            queues: BTreeMap::new(),
            given_up: BTreeSet::new(),
            halves: BTreeMap::new(),
            splits: BTreeSet::new(),
            starved: BTreeSet::new(),
            read: BTreeSet::new(),
            granted: 0.0,
            durations: Durations::default(),
            dirty: true,
            ranks: plan.order.iter().enumerate().map(|(rank, key)| (*key, rank)).collect(),
            timers: BTreeSet::new(),
            cell_states: Vec::with_capacity(plan.cells.len()),
            groups: Groups::default(),
            history: History::default(),
            plan,
        };
        sweep.fill(&history);
        for (key, released) in committed {
            sweep.set_committed(key, true, *released, now);
        }
        for (key, error) in &history.quarantined {
            sweep.quarantine(key, error.clone(), now);
        }
        sweep.history = history;
        for rank in 0..sweep.slots.len() {
            sweep.settle(rank, now);
        }
        sweep
    }

    /// Makes a slot of every unit and the links between them; all wait.
    fn fill(&mut self, history: &History) {
        for key in &self.plan.order {
            let planned = &self.plan.units[key];
            if let (Some(model), Some(hint)) = (planned.unit.spec.model(), &planned.unit.hints.model) {
                self.queues.entry(Some(model.clone())).or_default().bytes = hint.architecture.parameters() * model.dtype.bytes();
            }
            let group = self.groups.of(planned);
            self.groups.add(group);
            self.slots.push(Slot::new(*key, planned, group, history));
        }
        for rank in 0..self.slots.len() {
            let planned = &self.plan.units[&self.slots[rank].key];
            for dependency in planned.unit.spec.dependencies() {
                // One that is not in the plan can only be there already; the worker will say if it is not.
                if let Some(&on) = self.ranks.get(&dependency) {
                    self.slots[on].dependants.push(rank);
                    self.slots[on].unread += 1;
                    let (reader, read) = (self.slots[rank].group, self.slots[on].group);
                    self.groups.reads(reader, read);
                    self.slots[rank].waiting += 1;
                }
            }
        }
        for (index, cell) in self.plan.cells.iter().enumerate() {
            let ranks: Vec<usize> = cell.units.iter().filter_map(|key| self.ranks.get(key).copied()).collect();
            self.cell_states.push(CellState { missing: ranks.len(), hopeless: 0 });
            for rank in ranks {
                self.slots[rank].cells.push(index);
            }
        }
    }

    /// Units whose budgets are spent although nobody wrote that down (the coordinator died in between).
    pub fn exhausted(&self, settings: &Settings) -> Vec<(UnitKey, String)> {
        self.slots.iter().filter_map(|slot| Some((slot.key, self.exhausted_by(slot, settings)?))).collect()
    }

    /// Why nothing more may be tried of a unit that is not done, if so: its budgets are spent.
    pub fn exhausted_by(&self, slot: &Slot, settings: &Settings) -> Option<String> {
        let over = self.cancelled || slot.committed || slot.split.is_some() || slot.quarantined.is_some();
        let failed = slot.fails >= settings.fail_budget || slot.voids >= settings.fail_budget;
        let spent = failed || slot.losses >= self.lost_budget(slot, settings);
        (spent && !over).then(|| exhausted_by(slot, settings, &self.history))
    }

    /// How many lost attempts a unit may have: few, where it is a half of one that spent that budget. It follows from what the
    /// journal says and the store holds.
    pub fn lost_budget(&self, slot: &Slot, settings: &Settings) -> u32 {
        let mut parents = slot.parents.iter().map(|rank| &self.slots[*rank]);
        let killers = parents.any(|parent| parent.losses >= self.lost_budget(parent, settings));
        if killers { settings.half_lost_budget.min(settings.lost_budget) } else { settings.lost_budget }
    }
}

/// Why a unit's budgets are spent.
fn exhausted_by(slot: &Slot, settings: &Settings, history: &History) -> String {
    if slot.voids >= settings.fail_budget
        && let Some((_, void)) = history.voids().find(|(unit, _)| **unit == slot.key)
    {
        return corrupt_error(slot.voids, &void.reason);
    }
    history.last_error(&slot.key).map_or_else(|| lost_error(slot.losses, None), str::to_owned)
}

/// What is said of a unit whose workers keep getting lost.
pub(in crate::machine) fn lost_error(losses: u32, last: Option<&str>) -> String {
    match last {
        Some(worker) => format!("its worker was lost {losses} times, last `{worker}`"),
        None => format!("its worker was lost {losses} times"),
    }
}
