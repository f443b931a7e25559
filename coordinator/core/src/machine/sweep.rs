//! One sweep: the phase of each of its units, kept consistent with the facts, and the counts that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::spec::Dtype;
use limbic_proto::status::{CellCounts, SweepState, UnitCounts};
use limbic_proto::unit::ModelIdentity;

use super::event::SweepId;
use super::settings::Settings;
use crate::history::History;
use crate::plan::Plan;

/// Where a unit stands. It follows from the facts in its [`Slot`]; see [`Sweep::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A dependency is not done.
    Waiting,
    /// It failed and rests until then.
    Resting(Duration),
    /// It can be granted.
    Ready,
    /// It is leased.
    Running,
    /// Its commit stands.
    Committed,
    /// It failed for good.
    Quarantined,
    /// A dependency failed for good.
    Blocked,
}

impl Phase {
    /// Nothing will come of it as things stand.
    pub fn hopeless(self) -> bool {
        matches!(self, Phase::Quarantined | Phase::Blocked)
    }
}

/// The facts of one unit.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub key: UnitKey,
    pub phase: Phase,
    pub committed: bool,
    pub leased: bool,
    /// The last error, once it failed for good.
    pub quarantined: Option<String>,
    /// Dependencies that are not committed.
    waiting: usize,
    /// Dependencies that are hopeless.
    blocked: usize,
    /// It rests until then.
    rests: Duration,
    pub fails: u32,
    pub losses: u32,
    flops: f64,
    model: Option<ModelIdentity>,
    dependants: Vec<usize>,
    cells: Vec<usize>,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, Default)]
struct CellState {
    missing: usize,
    hopeless: usize,
}

/// Units that can be granted and need the same model.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Bytes of the model's weights; 0 for none.
    pub bytes: u64,
    /// Ranks in plan order.
    pub ready: BTreeSet<usize>,
}

/// How many attempts of this sweep ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    pub started: u64,
    pub committed: u64,
    pub failed: u64,
    pub lost: u64,
    pub released: u64,
}

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
    pub attempts: Attempts,
    pub units: UnitCounts,
    pub cells: CellCounts,
    pub done_flops: f64,
    pub inherited_flops: f64,
    pub tokens: u64,
    pub slots: Vec<Slot>,
    pub queues: BTreeMap<Option<ModelIdentity>, Queue>,
    /// Something that [`super::Machine::status`] shows has changed.
    pub dirty: bool,
    ranks: BTreeMap<UnitKey, usize>,
    timers: BTreeSet<(Duration, usize)>,
    cell_states: Vec<CellState>,
}

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
        history: &History,
        committed: &[UnitKey],
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
            attempts: Attempts {
                started: ended.started + inherited,
                committed: inherited,
                failed: ended.failed,
                lost: ended.lost,
                released: 0,
            },
            units: UnitCounts { total: plan.units.len() as u64, pending: plan.units.len() as u64, ..UnitCounts::default() },
            cells: CellCounts { total: plan.cells.len() as u64, ..CellCounts::default() },
            done_flops: 0.0,
            inherited_flops: 0.0,
            tokens: 0,
            slots: Vec::with_capacity(plan.units.len()),
            queues: BTreeMap::new(),
            dirty: true,
            ranks: plan.order.iter().enumerate().map(|(rank, key)| (*key, rank)).collect(),
            timers: BTreeSet::new(),
            cell_states: Vec::with_capacity(plan.cells.len()),
            plan,
        };
        sweep.fill(history);
        for key in committed {
            sweep.commit(key, now);
        }
        sweep.inherited_flops = sweep.done_flops;
        for (key, error) in &history.quarantined {
            sweep.quarantine(key, error.clone(), now);
        }
        for rank in 0..sweep.slots.len() {
            sweep.settle(rank, now);
        }
        sweep
    }

    /// Makes a slot of every unit and the links between them; all wait.
    fn fill(&mut self, history: &History) {
        for key in &self.plan.order {
            let unit = &self.plan.units[key].unit;
            let model = unit.spec.model().cloned();
            let queue = self.queues.entry(model.clone()).or_default();
            if let (Some(model), Some(hint)) = (&model, &unit.hints.model) {
                let width = if model.dtype == Dtype::F32 { 4 } else { 2 };
                queue.bytes = hint.architecture.parameters() * width;
            }
            self.slots.push(Slot {
                key: *key,
                phase: Phase::Waiting,
                committed: false,
                leased: false,
                quarantined: None,
                waiting: 0,
                blocked: 0,
                rests: Duration::ZERO,
                fails: history.fails(key),
                losses: history.losses(key),
                flops: unit.hints.flops,
                model,
                dependants: Vec::new(),
                cells: Vec::new(),
            });
        }
        for rank in 0..self.slots.len() {
            let planned = &self.plan.units[&self.slots[rank].key];
            for dependency in planned.unit.spec.dependencies() {
                // One that is not in the plan can only be there already; the worker will say if it is not.
                if let Some(&on) = self.ranks.get(dependency) {
                    self.slots[on].dependants.push(rank);
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
        !self.paused && !self.cancelled && now >= self.held_until
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

    /// Units whose budgets are spent although nobody wrote that down (the coordinator died in between).
    pub fn exhausted(&self, settings: &Settings, history: &History) -> Vec<(UnitKey, String)> {
        let spent = |slot: &&Slot| slot.fails >= settings.fail_budget || slot.losses >= settings.lost_budget;
        let open = self.slots.iter().filter(|slot| !self.cancelled && !slot.committed && slot.quarantined.is_none());
        open.filter(spent)
            .map(|slot| (slot.key, history.last_error(&slot.key).map_or_else(|| lost_error(slot.losses, None), str::to_owned)))
            .collect()
    }

    pub fn commit(&mut self, key: &UnitKey, now: Duration) {
        self.change(key, now, |slot| slot.committed = true);
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

    fn change(&mut self, key: &UnitKey, now: Duration, change: impl FnOnce(&mut Slot)) {
        if let Some(&rank) = self.ranks.get(key) {
            change(&mut self.slots[rank]);
            self.settle(rank, now);
        }
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
            let (from, to) = (slot.phase, phase(slot, now));
            if from == to {
                continue;
            }
            self.count(rank, from, to);
            self.queue(rank, from, to);
            let slot = &mut self.slots[rank];
            slot.phase = to;
            let committed = i64::from(to == Phase::Committed) - i64::from(from == Phase::Committed);
            let hopeless = i64::from(to.hopeless()) - i64::from(from.hopeless());
            if committed == 0 && hopeless == 0 {
                continue;
            }
            for dependant in self.slots[rank].dependants.clone() {
                let slot = &mut self.slots[dependant];
                slot.waiting = slot.waiting.saturating_add_signed(-committed as isize);
                slot.blocked = slot.blocked.saturating_add_signed(hopeless as isize);
                open.push(dependant);
            }
            for index in 0..self.slots[rank].cells.len() {
                let cell = self.slots[rank].cells[index];
                self.count_cell(cell, committed as isize, hopeless as isize);
            }
        }
    }

    fn count(&mut self, rank: usize, from: Phase, to: Phase) {
        *self.counter(from) -= 1;
        *self.counter(to) += 1;
        if to == Phase::Committed {
            self.done_flops += self.slots[rank].flops;
        }
        self.dirty |=
            !matches!((from, to), (Phase::Waiting | Phase::Resting(_) | Phase::Ready, Phase::Waiting | Phase::Resting(_) | Phase::Ready));
    }

    fn counter(&mut self, phase: Phase) -> &mut u64 {
        match phase {
            Phase::Waiting | Phase::Resting(_) | Phase::Ready => &mut self.units.pending,
            Phase::Running => &mut self.units.running,
            Phase::Committed => &mut self.units.committed,
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
        if let Phase::Resting(until) = from {
            self.timers.remove(&(until, rank));
        }
        if let Phase::Resting(until) = to {
            self.timers.insert((until, rank));
        }
    }

    fn count_cell(&mut self, index: usize, committed: isize, hopeless: isize) {
        let cell = &mut self.cell_states[index];
        let before = *cell;
        cell.missing = cell.missing.saturating_add_signed(-committed);
        cell.hopeless = cell.hopeless.saturating_add_signed(hopeless);
        let (done, lost) = (|c: &CellState| u64::from(c.missing == 0), |c: &CellState| u64::from(c.hopeless > 0));
        self.cells.done = self.cells.done + done(cell) - done(&before);
        self.cells.quarantined = self.cells.quarantined + lost(cell) - lost(&before);
    }
}

/// What is said of a unit whose workers keep getting lost.
pub(super) fn lost_error(losses: u32, last: Option<&str>) -> String {
    match last {
        Some(worker) => format!("its worker was lost {losses} times, last `{worker}`"),
        None => format!("its worker was lost {losses} times"),
    }
}

/// What a unit's facts amount to; the first that holds counts.
fn phase(slot: &Slot, now: Duration) -> Phase {
    if slot.committed {
        Phase::Committed
    } else if slot.quarantined.is_some() {
        Phase::Quarantined
    } else if slot.blocked > 0 {
        Phase::Blocked
    } else if slot.leased {
        Phase::Running
    } else if slot.waiting > 0 {
        Phase::Waiting
    } else if slot.rests > now {
        Phase::Resting(slot.rests)
    } else {
        Phase::Ready
    }
}
