//! The journal: what a sweep's coordinators decided, one immutable object after another.

use serde::{Deserialize, Serialize};

use crate::key::UnitKey;

/// The body of `sweeps/{sweep}/log/{seq}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The epoch of the coordinator that wrote it.
    pub epoch: u64,
    /// Drawn at random: whose create won.
    pub nonce: String,
    /// What it decided or learnt, in order.
    pub records: Vec<Record>,
}

/// One thing decided or learnt. Commits are not here: they speak for themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record {
    /// A coordinator took the lead: all earlier epochs are over.
    Epoch {
        /// One more than the largest before it.
        epoch: u64,
        /// Who leads.
        holder: String,
        /// Version of the software.
        software: String,
        /// When, in seconds since 1970 by its own clock: for people, and to tell the same sweep in two stores apart. 0 in older journals.
        #[serde(default)]
        at: u64,
    },
    /// An attempt failed (our bug or bad input).
    Fail {
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
        /// The worker.
        worker: String,
        /// What it said.
        error: String,
    },
    /// An attempt was lost with its worker.
    Lost {
        /// The unit.
        unit: UnitKey,
        /// The attempt.
        attempt: String,
        /// The worker.
        worker: String,
    },
    /// No new leases until [`Record::Resume`].
    Pause {
        /// Who wanted it, in their own words: nobody is authenticated. Empty in older journals.
        #[serde(default)]
        by: String,
    },
    /// Leases again, of a sweep that was paused or cancelled.
    Resume,
    /// No new leases until [`Record::Resume`]; running attempts are told to stop.
    Cancel,
    /// A unit's result is to be voided: written before the link that voids it, so that it is done even if the
    /// coordinator dies in between.
    Void {
        /// The unit.
        unit: UnitKey,
        /// The generation of the result.
        generation: u32,
        /// Why.
        reason: String,
        /// Whether somebody asked for it; else the result was found corrupt, which counts towards the unit's budget.
        asked: bool,
    },
    /// A unit is to be split: written before the commit that says so, so that a coordinator that takes the lead in
    /// between finishes it. (Whether a result stood first, the commit says.)
    Split {
        /// The unit.
        unit: UnitKey,
        /// The generation.
        generation: u32,
    },
    /// Somebody asked for the unit to be tried again: it is no longer quarantined, and its budgets are fresh.
    Retry {
        /// The unit.
        unit: UnitKey,
    },
    /// The unit failed for good; its error is kept and the sweep goes on.
    Quarantine {
        /// The unit.
        unit: UnitKey,
        /// The last error.
        error: String,
    },
}
