//! One unit in a sweep: the facts known of it and the phase that follows from them.

use std::collections::BTreeSet;
use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::unit::{ModelIdentity, UnitKind};

use crate::history::History;
use crate::plan::PlannedUnit;

/// Where a unit stands. It follows from the facts in its [`Slot`]; see [`Slot::due_phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::machine) enum Phase {
    /// A dependency is not done, or a link of its own chain is being written; or it was split and its halves are not done.
    Waiting,
    /// It failed and rests until then.
    Resting(Duration),
    /// It can be granted.
    Ready,
    /// It is leased.
    Running,
    /// Its commit stands.
    Committed,
    /// Its commit stands, but its activations (or those of a half) were released: whatever reads them waits until they are
    /// computed again.
    Released,
    /// It failed for good.
    Quarantined,
    /// A dependency failed for good.
    Blocked,
}

impl Phase {
    /// Its result stands.
    pub fn done(self) -> bool {
        matches!(self, Phase::Committed | Phase::Released)
    }

    /// Nothing will come of it as things stand.
    pub fn hopeless(self) -> bool {
        matches!(self, Phase::Quarantined | Phase::Blocked)
    }
}

/// The facts of one unit.
#[derive(Debug, Clone)]
pub(in crate::machine) struct Slot {
    pub key: UnitKey,
    /// Which of [`super::Groups`] it belongs to.
    pub group: usize,
    pub phase: Phase,
    pub committed: bool,
    /// The activations of the result that stands were released.
    pub released: bool,
    /// A link of its chain is being written (its result is voided, or it is split): it must not run before that stands.
    pub unsettled: bool,
    pub leased: bool,
    /// The last error, once it failed for good.
    pub quarantined: Option<String>,
    /// Dependencies that can't be read: those that are not committed, or whose activations are needed and were released.
    pub waiting: usize,
    /// Dependencies whose activations are needed and were released.
    pub recalls: usize,
    /// Dependencies that are hopeless.
    pub blocked: usize,
    /// It rests until then.
    pub rests: Duration,
    pub fails: u32,
    pub losses: u32,
    /// How often its result was found corrupt.
    pub voids: u32,
    pub flops: f64,
    pub model: Option<ModelIdentity>,
    /// Whether it reads activations of its dependencies; a judge reads tokens alone.
    pub reads_states: bool,
    pub dependants: Vec<usize>,
    /// Dependants that are not done.
    pub unread: usize,
    /// The units that it is a half of.
    pub parents: Vec<usize>,
    /// Its halves, once it was split: it is done when they are.
    pub split: Option<Box<Halves>>,
    pub cells: Vec<usize>,
}

/// What a unit was split into.
#[derive(Debug, Clone)]
pub(in crate::machine) struct Halves {
    /// Their ranks.
    pub ranks: Vec<usize>,
    /// Those that are not done.
    pub open: usize,
    /// Those that were released.
    pub released: usize,
    /// Those that are hopeless.
    pub hopeless: usize,
    /// The whole unit's cost, which is theirs now.
    pub flops: f64,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::machine) struct CellState {
    pub missing: usize,
    pub hopeless: usize,
}

/// Units that can be granted and need the same model.
#[derive(Debug, Default)]
pub(in crate::machine) struct Queue {
    /// Bytes of the model's weights; 0 for none.
    pub bytes: u64,
    /// Ranks in plan order.
    pub ready: BTreeSet<usize>,
}

impl Slot {
    /// A unit that waits for nothing that is known yet, with the trouble that it had.
    pub fn new(key: UnitKey, planned: &PlannedUnit, group: usize, history: &History) -> Slot {
        Slot {
            key,
            group,
            phase: Phase::Waiting,
            committed: false,
            released: false,
            unsettled: false,
            leased: false,
            quarantined: None,
            waiting: 0,
            recalls: 0,
            blocked: 0,
            rests: Duration::ZERO,
            fails: history.fails(&key),
            losses: history.losses(&key),
            voids: history.void_count(&key),
            flops: planned.unit.hints.flops,
            model: planned.unit.spec.model().cloned(),
            reads_states: planned.unit.spec.kind() != UnitKind::Judge,
            dependants: Vec::new(),
            unread: 0,
            parents: Vec::new(),
            split: None,
            cells: Vec::new(),
        }
    }

    /// Whether anything was written against it.
    pub fn troubled(&self) -> bool {
        self.quarantined.is_some() || self.fails + self.losses + self.voids > 0
    }

    /// What a unit's facts amount to; the first that holds counts.
    pub fn due_phase(&self, now: Duration) -> Phase {
        if let Some(halves) = &self.split {
            match (halves.open, halves.hopeless, halves.released) {
                (0, _, 0) => Phase::Committed,
                (0, ..) => Phase::Released,
                (_, 0, _) => Phase::Waiting,
                _ => Phase::Blocked,
            }
        } else if self.committed && self.released {
            Phase::Released
        } else if self.committed {
            Phase::Committed
        } else if self.quarantined.is_some() {
            Phase::Quarantined
        } else if self.blocked > 0 {
            Phase::Blocked
        } else if self.leased {
            Phase::Running
        } else if self.unsettled || self.waiting > 0 {
            Phase::Waiting
        } else if self.rests > now {
            Phase::Resting(self.rests)
        } else {
            Phase::Ready
        }
    }
}
