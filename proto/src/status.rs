//! What `limbic status --json` and `limbic show --json` say.

use serde::{Deserialize, Serialize};

use crate::commit::Commit;
use crate::takes::Takes;
use crate::unit::UnitKind;

/// Where a sweep stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The sweep's id.
    pub sweep: String,
    /// Its label.
    pub name: String,
    /// Where it stands.
    pub state: SweepState,
    /// Whether its coordinator says so. Else it was read from the store, where nobody sees what runs: running units are among
    /// the pending ones then, and workers and what units wait for are not known.
    #[serde(default)]
    pub led: bool,
    /// When a coordinator took it up, the first time that one said so, as those of earlier versions didn't: seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
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
    /// What pending units wait for.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
}

impl Status {
    /// The same without the clocks that go on while nothing happens, to see whether anything did.
    #[must_use]
    pub fn timeless(&self) -> Status {
        let mut status = self.clone();
        status.work.seconds = 0.0;
        status.workers.iter_mut().for_each(|worker| worker.silent_ms = 0);
        // They say how many seconds are left.
        status.waiting.iter_mut().for_each(|waiting| waiting.reason.retain(|c| !c.is_ascii_digit()));
        status
    }
}

/// Pending units of one kind and model that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// What they are, in words: `fit tiny-1m`.
    pub what: String,
    /// What they wait for, in words.
    pub reason: String,
    /// Whether no connected worker takes them, so that they wait until another comes.
    #[serde(default)]
    pub unserved: bool,
}

/// What is known of one unit in a sweep: `limbic show UNIT`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitView {
    /// The sweep.
    pub sweep: String,
    /// The unit's key.
    pub unit: String,
    /// What it is, in words.
    pub title: String,
    /// Its kind.
    pub kind: UnitKind,
    /// Where it stands, in words.
    pub phase: String,
    /// The generation of the result that stands, or of the next attempt.
    pub generation: u32,
    /// Failed attempts that count towards its budget.
    pub fails: u32,
    /// Lost attempts that count towards its budget.
    pub losses: u32,
    /// How often its result was found corrupt.
    pub voids: u32,
    /// So many failed attempts, or results found corrupt, spend its budget; 0 where an older release didn't say.
    #[serde(default)]
    pub fail_budget: u32,
    /// So many lost attempts do; 0 where an older release didn't say.
    #[serde(default)]
    pub lost_budget: u32,
    /// Why it is quarantined.
    pub error: Option<String>,
    /// Attempts that ended badly, oldest first, then those that run. (What was committed is in its commit.)
    pub attempts: Vec<AttemptView>,
    /// The units it reads.
    pub dependencies: Done,
    /// The units of the sweep that read it.
    pub dependants: Done,
}

/// A unit and its result: what `limbic show --json` prints one a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownUnit {
    /// Where it stands.
    #[serde(flatten)]
    pub view: UnitView,
    /// Its commit, if one stands.
    pub commit: Option<Commit>,
    /// Results of earlier generations, the oldest first.
    #[serde(default)]
    pub voided: Vec<Voided>,
    /// Whether the activations that the commit names were released, so that they are not there any more.
    #[serde(default)]
    pub released: bool,
    /// What its attempts said, oldest first.
    #[serde(default)]
    pub logs: Vec<AttemptLog>,
}

/// A result that doesn't stand any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// Its generation.
    pub generation: u32,
    /// The attempt that it was; none of a unit that was split.
    pub attempt: Option<String>,
    /// Why it was voided.
    pub reason: String,
}

/// What an attempt said, one that was killed with its worker excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLog {
    /// The attempt.
    pub attempt: String,
    /// How many earlier lines its log has.
    pub left_out: u64,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

impl AttemptLog {
    /// The last lines of a log, at most so many.
    pub fn tail(attempt: String, text: &str, most: u32) -> AttemptLog {
        let all = text.lines().count();
        let left_out = all.saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        AttemptLog { attempt, left_out: left_out as u64, lines: text.lines().skip(left_out).map(str::to_owned).collect() }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its id.
    pub attempt: String,
    /// The worker.
    pub worker: String,
    /// Where it stands.
    pub state: AttemptState,
    /// What it said when it failed.
    pub error: Option<String>,
    /// Share done, 0..1, of one that runs.
    pub share: Option<f64>,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    /// It holds a lease.
    Running,
    /// It ended in an error.
    Failed,
    /// Its worker was lost.
    Lost,
}

/// How many of some units are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// All.
    pub total: u64,
    /// Those that are committed.
    pub committed: u64,
}

/// Where a sweep stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepState {
    /// Units are pending or running.
    Running,
    /// No new leases for now.
    Paused,
    /// Stopped by a user, until one resumes it.
    Cancelled,
    /// Every unit is committed or quarantined.
    Complete,
}

impl SweepState {
    /// It in a word.
    pub fn word(self) -> &'static str {
        match self {
            SweepState::Running => "running",
            SweepState::Paused => "paused",
            SweepState::Cancelled => "cancelled",
            SweepState::Complete => "complete",
        }
    }

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
    /// Tokens that went through models in this coordinator's time, those of running attempts with them.
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
    /// Which units it takes.
    #[serde(default, skip_serializing_if = "Takes::everything")]
    pub takes: Takes,
    /// What it runs, in words.
    pub running: Vec<String>,
    /// Units it committed.
    pub committed: u64,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: u64,
    /// Whether that is more than two heartbeats ago.
    #[serde(default)]
    pub late: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_no_change_and_everything_else_is() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "sweep": "aa", "name": "n", "state": "running", "cells": {"total": 1, "done": 0, "quarantined": 0},
            "units": {"total": 2, "committed": 1, "running": 1, "pending": 0, "quarantined": 0},
            "attempts": {"started": 2, "committed": 1, "failed": 0, "lost": 0},
            "work": {"total_flops": 1.0, "done_flops": 0.5, "inherited_flops": 0.0, "tokens": 7, "seconds": 1.0},
            "workers": [{"id": "w", "device": "cpu", "running": [], "committed": 1, "silent_ms": 12}], "quarantined": [],
            "waiting": [{"count": 1, "what": "fit a", "reason": "a pause after a failure, the first for 12 s more"}],
        }))
        .unwrap();
        let changed = |change: fn(&mut Status)| {
            let mut later = status.clone();
            change(&mut later);
            later.timeless() != status.timeless()
        };
        assert!(!changed(|s| (s.work.seconds, s.workers[0].silent_ms) = (2.0, 512)));
        assert!(!changed(|s| s.waiting[0].reason = s.waiting[0].reason.replace("12", "9")));
        assert!(changed(|s| s.work.tokens = 8) && changed(|s| s.workers[0].late = true) && changed(|s| s.state = SweepState::Paused));
        assert!(changed(|s| s.waiting[0].reason = "a worker".into()) && changed(|s| s.waiting[0].count = 2));
    }
}
