//! What `limbic status --json` says.

use serde::{Deserialize, Serialize};

/// Where a sweep stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The sweep's id.
    pub sweep: String,
    /// Its label.
    pub name: String,
    /// Where it stands.
    pub state: SweepState,
    /// Cells: (model, layer, condition, offset).
    pub cells: CellCounts,
    /// Units.
    pub units: UnitCounts,
    /// Attempts over the sweep's whole life.
    pub attempts: AttemptCounts,
    /// Work done and to do, for rates and time left.
    pub work: Work,
    /// The workers that are connected now.
    pub workers: Vec<WorkerStatus>,
    /// Units that failed for good, with their errors.
    pub quarantined: Vec<Quarantined>,
}

/// Where a sweep stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepState {
    /// Units are pending or running.
    Running,
    /// No new leases for now.
    Paused,
    /// Stopped for good by a user.
    Cancelled,
    /// Every unit is committed or quarantined.
    Complete,
}

impl SweepState {
    /// Whether nothing more will happen.
    pub fn terminal(self) -> bool {
        matches!(self, SweepState::Cancelled | SweepState::Complete)
    }
}

/// How many cells are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCounts {
    /// All.
    pub total: u64,
    /// With every probe's result committed.
    pub done: u64,
    /// That will have none.
    pub quarantined: u64,
}

/// How many units are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCounts {
    /// All.
    pub total: u64,
    /// Done.
    pub committed: u64,
    /// Leased.
    pub running: u64,
    /// Waiting for a dependency, a worker or a backoff.
    pub pending: u64,
    /// Failed for good, or waiting for one that did.
    pub quarantined: u64,
}

/// How many attempts ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptCounts {
    /// Leased.
    pub started: u64,
    /// Ended in a commit.
    pub committed: u64,
    /// Ended in an error.
    pub failed: u64,
    /// Ended with their worker.
    pub lost: u64,
    /// Given back or stopped before they ended.
    #[serde(default)]
    pub released: u64,
}

/// Estimated work, in floating-point operations, and what was observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Of all units.
    pub total_flops: f64,
    /// Of committed units.
    pub done_flops: f64,
    /// Of units committed before this coordinator started.
    pub inherited_flops: f64,
    /// Tokens that went through models in this coordinator's time.
    pub tokens: u64,
    /// Seconds since this coordinator took the sweep up.
    pub seconds: f64,
}

/// One connected worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its id.
    pub id: String,
    /// `cpu`, `cuda:0`, …
    pub device: String,
    /// What it runs, in words.
    pub running: Vec<String>,
    /// Units it committed.
    pub committed: u64,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: u64,
}

/// A unit that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The unit's key.
    pub unit: String,
    /// What it is, in words.
    pub title: String,
    /// The last error.
    pub error: String,
}
