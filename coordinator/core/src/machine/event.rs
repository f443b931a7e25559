//! What the machine is told and what it asks for.

use std::fmt;

use limbic_proto::journal::Record;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::takes::Takes;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> $name {
                $name(id.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> $name {
                $name(id)
            }
        }
    };
}

id!(
    /// A sweep's id: [`limbic_proto::spec::sweep_id`].
    SweepId
);
id!(
    /// A worker's id, chosen by the worker once per process.
    WorkerId
);

/// A lease's fencing token: the coordinator's epoch and a counter.
pub type Token = (u64, u64);

/// An attempt that a worker says it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The sweep it was granted for.
    pub sweep: SweepId,
    /// The unit.
    pub unit: UnitKey,
    /// The attempt.
    pub attempt: String,
    /// Its token.
    pub token: Token,
    /// Which generation of the unit it computes.
    pub generation: u32,
}

/// An attempt that a worker says it runs, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The attempt.
    pub held: Held,
    /// Share done, 0..1.
    pub share: f64,
    /// Tokens through the model so far.
    pub tokens: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A worker introduces itself and names what it still runs (from this coordinator or the one before).
    Register {
        /// The worker.
        worker: WorkerId,
        /// `cpu`, `cuda:0`, …
        device: String,
        /// Which units it takes.
        takes: Takes,
        /// Bytes of memory models can use; 0 = not told.
        memory: u64,
        /// What it runs.
        held: Vec<Held>,
    },
    /// A worker waits for a unit; at most one is granted for it.
    Ready {
        /// The worker.
        worker: WorkerId,
        /// The models it has in memory.
        loaded: Vec<Digest>,
    },
    /// A worker no longer waits.
    Unready {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker lives.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
        /// What it runs.
        held: Vec<Progress>,
        /// Whether it finishes what it holds and wants nothing more.
        draining: bool,
    },
    /// A unit's commit stands in the store.
    Committed {
        /// The worker.
        worker: WorkerId,
        /// The sweep its attempt was granted for.
        sweep: SweepId,
        /// The unit.
        unit: UnitKey,
        /// The attempt that says so.
        attempt: String,
        /// Which generation of the unit stands.
        generation: u32,
        /// Whether the commit names this attempt; else another's was found.
        mine: bool,
        /// Tokens that went through the model.
        tokens: u64,
    },
    /// An attempt failed.
    Failed {
        /// The worker.
        worker: WorkerId,
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
        /// What went wrong.
        error: String,
        /// Whether trying again can't help.
        permanent: bool,
    },
    /// An attempt could not read a dependency: its commit or an artifact of it is missing, or not what was written.
    Corrupt {
        /// The worker.
        worker: WorkerId,
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
        /// The dependency.
        bad: UnitKey,
        /// The generation of it that was read.
        generation: u32,
        /// What was found.
        error: String,
    },
    /// The link that voids a unit's result stands in the store, as [`Action::Void`] asked.
    Voided {
        /// The unit.
        unit: UnitKey,
        /// The generation of the result.
        generation: u32,
    },
    /// What [`Action::Split`] came to, or what was found in the store before a sweep was opened.
    Divided {
        /// The unit.
        unit: UnitKey,
        /// The generation.
        generation: u32,
        /// Whether the commit that splits it stands; else a result stood first.
        stands: bool,
    },
    /// A marker in the store says that the activations of a unit's result were released: found before a sweep is opened, or
    /// because somebody could not read them.
    ActivationsReleased {
        /// The unit.
        unit: UnitKey,
        /// The generation of the result.
        generation: u32,
    },
    /// Every sweep that the coordinator takes up at its start is open. Nothing is released before: one that is not open yet
    /// may want it kept.
    AllOpen,
    /// A grant never reached its worker: it is as if it had not been made.
    Withdrawn {
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
    },
    /// A worker's process has ended, as whoever started it saw: what it holds is lost.
    Gone {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker gives an attempt back.
    Released {
        /// The worker.
        worker: WorkerId,
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
    },
    /// No new leases until resumed.
    Pause {
        /// The sweep.
        sweep: SweepId,
        /// Who wants it, in their own words; may be empty.
        by: String,
    },
    /// Leases again, of a sweep that was paused or cancelled.
    Resume {
        /// The sweep.
        sweep: SweepId,
    },
    /// No new leases until resumed; running attempts are told to stop.
    Cancel {
        /// The sweep.
        sweep: SweepId,
    },
    /// Try units again that had trouble: they are no longer quarantined, and their budgets are fresh. Where one only waits
    /// for others that are quarantined, those are meant.
    Retry {
        /// The sweep.
        sweep: SweepId,
        /// The units.
        units: Vec<UnitKey>,
    },
    /// Compute units again that are committed, in a new generation, and after them everything of the sweep that was
    /// computed from them. Old results stay in the store.
    Again {
        /// The sweep.
        sweep: SweepId,
        /// The units.
        units: Vec<UnitKey>,
    },
    /// Time has passed.
    Tick,
}

impl Event {
    /// Who is alive, as this event shows.
    pub(super) fn worker(&self) -> Option<&WorkerId> {
        match self {
            Event::Register { worker, .. }
            | Event::Ready { worker, .. }
            | Event::Heartbeat { worker, .. }
            | Event::Committed { worker, .. }
            | Event::Failed { worker, .. }
            | Event::Corrupt { worker, .. }
            | Event::Released { worker, .. } => Some(worker),
            Event::Unready { .. }
            | Event::Voided { .. }
            | Event::Divided { .. }
            | Event::ActivationsReleased { .. }
            | Event::AllOpen
            | Event::Pause { .. }
            | Event::Resume { .. }
            | Event::Cancel { .. }
            | Event::Retry { .. }
            | Event::Again { .. }
            | Event::Withdrawn { .. }
            | Event::Gone { .. }
            | Event::Tick => None,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Hand the unit to the worker, which is waiting for one.
    Grant {
        /// The worker.
        worker: WorkerId,
        /// The sweep.
        sweep: SweepId,
        /// The unit.
        unit: UnitKey,
        /// The attempt's id, never used before in the whole store.
        attempt: String,
        /// Its token.
        token: Token,
        /// Which generation of the unit to compute.
        generation: u32,
        /// The dependencies whose result is not that of generation 0, with the generation that stands.
        inputs: Vec<(UnitKey, u32)>,
    },
    /// Void the result of a unit's generation in the store, trying until the outcome is definite, then say
    /// [`Event::Voided`]. Until then the unit is granted to nobody.
    Void {
        /// The unit.
        unit: UnitKey,
        /// The generation of the result.
        generation: u32,
        /// Why.
        reason: String,
    },
    /// Commit a unit's generation in the store as split into halves, once the journal says so, trying until the outcome is
    /// definite, then say [`Event::Divided`]. Until then neither the unit nor a half is granted to anybody.
    Split {
        /// The unit.
        unit: UnitKey,
        /// The generation.
        generation: u32,
        /// The halves.
        children: Vec<UnitKey>,
    },
    /// Release the activations of a unit's result in the store: a marker that says so, then delete them. Everything that
    /// reads them is committed. Whether it comes to that is of no consequence for what is computed.
    Release {
        /// The unit.
        unit: UnitKey,
        /// The generation of the result.
        generation: u32,
    },
    /// Append to the sweep's journal. If another coordinator has, this one must stop.
    Append {
        /// The sweep.
        sweep: SweepId,
        /// What to append.
        record: Record,
    },
    /// Tell the worker (with the next heartbeat's answer) to stop the attempt. It may not run it any more.
    CancelAttempt {
        /// The worker.
        worker: WorkerId,
        /// The attempt.
        attempt: String,
    },
    /// A worker that had not said that it leaves was silent for as long as a lease lasts, and is counted on no longer: tell
    /// whoever watches. One that lives after all registers again.
    Silent {
        /// The worker.
        worker: WorkerId,
    },
    /// The sweep's counts or state changed: tell whoever watches.
    Changed {
        /// The sweep.
        sweep: SweepId,
    },
}
