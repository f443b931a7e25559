//! What is logged of the machine's decisions, which itself logs nothing: attempts that ended badly, units that failed for
//! good, workers that fell silent, and where sweeps stand. Whoever computes alone (`limbic run`) says it at the end instead.

use std::time::Duration;

use limbic_core::machine::{Machine, SweepId, WorkerId};
use limbic_proto::journal::Record;
use limbic_proto::status::{Status, SweepState, UnitView};

use crate::show::of_budget;

/// Logs a record that is about to be written, if it is one of a unit's trouble.
pub(super) fn record(machine: &Machine, sweep: &SweepId, record: &Record) {
    let (Record::Fail { unit, .. } | Record::Lost { unit, .. } | Record::Quarantine { unit, .. }) = record else { return };
    // Time only says how long it rests, which isn't told here.
    let Some(view) = machine.show(Duration::ZERO, sweep, unit) else { return };
    let (unit, UnitView { title, fails, fail_budget, losses, lost_budget, .. }) = (unit.short(), view);
    match record {
        Record::Fail { attempt, worker, error, .. } => {
            let spent = of_budget(fails, fail_budget);
            tracing::warn!(%sweep, %unit, title, worker, attempt, failed = spent, error, "attempt failed");
        }
        Record::Lost { attempt, worker, .. } => {
            let spent = of_budget(losses, lost_budget);
            tracing::warn!(%sweep, %unit, title, worker, attempt, lost = spent, "attempt lost: its worker has ended, or says nothing of it any more");
        }
        Record::Quarantine { error, .. } => {
            let (failed, lost) = (of_budget(fails, fail_budget), of_budget(losses, lost_budget));
            tracing::warn!(%sweep, %unit, title, failed, lost, error, "quarantined: `limbic show` says more, `limbic retry` tries it again");
        }
        _ => {}
    }
}

/// Logs that a worker fell silent. It is not missed if there is nothing to do for it.
pub(super) fn silent(worker: &WorkerId, missed: bool) {
    if missed {
        tracing::warn!(%worker, "nothing was heard of the worker for as long as a lease lasts: it counts as gone until it registers again");
    } else {
        tracing::info!(%worker, "the worker has gone, and there is nothing to do for it");
    }
}

/// Logs where a sweep stands.
pub(super) fn standing(status: &Status) {
    let Status { sweep, name, .. } = status;
    if incomplete(status) {
        tracing::warn!(sweep, name, "{}", standing_in_words(status));
    } else {
        tracing::info!(sweep, name, "{}", standing_in_words(status));
    }
}

/// Whether nothing more will happen although not all is done.
fn incomplete(status: &Status) -> bool {
    status.state == SweepState::Complete && status.units.quarantined > 0
}

fn standing_in_words(status: &Status) -> String {
    if !incomplete(status) {
        return status.state.word().to_owned();
    }
    let (all, failed) = (status.units.quarantined, status.quarantined.len());
    format!(
        "complete with {all} quarantined, {failed} of which failed themselves: `limbic status` names them, `limbic retry` tries them again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_ended_without_some_units_says_so() {
        let mut status: Status = serde_json::from_value(serde_json::json!({
            "sweep": "aa", "name": "n", "state": "complete", "cells": {"total": 1, "done": 0, "quarantined": 1},
            "units": {"total": 6, "committed": 1, "running": 0, "pending": 0, "quarantined": 5},
            "attempts": {"started": 4, "committed": 1, "failed": 3, "lost": 0},
            "work": {"total_flops": 1.0, "done_flops": 0.5, "inherited_flops": 0.0, "tokens": 7, "seconds": 1.0},
            "workers": [], "quarantined": [{"unit": "ff", "title": "extract a", "error": "boom"}],
        }))
        .unwrap();
        assert!(incomplete(&status));
        let said = standing_in_words(&status);
        assert!(said.starts_with("complete with 5 quarantined, 1 of which failed themselves: "), "{said}");
        // While others run nothing has ended yet.
        status.state = SweepState::Running;
        assert_eq!((incomplete(&status), standing_in_words(&status).as_str()), (false, "running"));
        (status.state, status.units.quarantined) = (SweepState::Complete, 0);
        assert_eq!((incomplete(&status), standing_in_words(&status).as_str()), (false, "complete"));
    }
}
