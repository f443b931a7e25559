//! Leases, budgets and timers, one by one.

use limbic_proto::status::{AttemptCounts, SweepState};

use super::*;

#[test]
fn a_lease_ends_at_its_ttl_to_the_millisecond() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    assert_eq!(granted.held.attempt, "s-e1-1");
    assert_eq!(bench.machine.poll_deadline(), Some(secs(60)));
    bench.now = secs(60) - Duration::from_millis(1);
    bench.send(Event::Tick);
    assert_eq!((bench.units().running, bench.journal.len()), (1, 0));
    bench.now = secs(60);
    bench.send(Event::Tick);
    assert_eq!(bench.units().running, 0);
    let lost = Record::Lost { unit: granted.held.unit, attempt: "s-e1-1".into(), worker: "w".into() };
    assert_eq!(bench.journal, [lost]);
    assert!(!bench.machine.known(&"w".into()), "it was silent for as long");
    assert_eq!(bench.silent, [WorkerId::from("w")], "and that is said");
    let again = bench.grant("w").unwrap();
    assert_eq!(again.held.unit, granted.held.unit, "plan order");
    assert_ne!(again.held.attempt, granted.held.attempt);
}

#[test]
fn heartbeats_renew_what_they_name_and_nothing_else() {
    let mut bench = Bench::new(six_units());
    let (one, two) = (bench.grant("w").unwrap(), bench.grant("v").unwrap());
    bench.pass(secs(300), &[("w", &[&one]), ("v", &[])]);
    assert_eq!(bench.units().running, 1);
    assert_eq!(bench.journal, [Record::Lost { unit: two.held.unit, attempt: two.held.attempt, worker: "v".into() }]);
    assert!(bench.machine.known(&"v".into()), "it lives, although it forgot its attempt");
}

#[test]
fn eight_losses_quarantine_a_unit_and_what_depends_on_it() {
    let mut bench = Bench::new(single_rows());
    for lost in 0..8 {
        assert_eq!(bench.units().quarantined, 0, "after {lost}");
        bench.grant("w").unwrap();
        bench.pass(secs(61), &[]);
    }
    assert_eq!((bench.records(is_lost), bench.records(is_quarantine)), (8, 1));
    assert_eq!(bench.units().quarantined, 5, "an extract and all fits");
    while let Some(other) = bench.grant("w") {
        bench.commit(&other);
    }
    let status = bench.status();
    assert_eq!(status.state, SweepState::Complete);
    assert_eq!((status.cells.total, status.cells.done, status.cells.quarantined), (4, 0, 4));
    assert_eq!(status.quarantined.len(), 1);
    assert!(status.quarantined[0].error.contains("lost 8 times, last `w`"), "{}", status.quarantined[0].error);
    assert!(bench.machine.finished());
}

#[test]
fn three_failures_spend_the_budget_with_growing_pauses_between() {
    let plan = small_plan(&["a"], "probes: []\nbaselines: []");
    let mut bench = Bench::new(plan);
    let mut pauses = Vec::new();
    for _ in 0..2 {
        let granted = bench.grant("w").unwrap();
        bench.fail(&granted, false);
        assert!(bench.grant("w").is_none(), "it rests");
        let due = bench.machine.poll_deadline().unwrap();
        pauses.push(due - bench.now);
        bench.now = due - Duration::from_nanos(1);
        assert!(bench.grant("w").is_none(), "it still rests");
        bench.now = due;
    }
    assert!(pauses[0] >= secs(1) && pauses[0] <= secs(2), "{pauses:?}");
    assert!(pauses[1] >= secs(2) && pauses[1] <= secs(4), "{pauses:?}");
    let third = bench.grant("w").unwrap();
    bench.fail(&third, false);
    assert_eq!((bench.journal.len(), bench.splits.len()), (4, 1), "a unit of twenty rows is split");
    assert_eq!(bench.status().attempts, AttemptCounts { started: 3, committed: 0, failed: 3, lost: 0, released: 0 });
}

#[test]
fn a_permanent_failure_quarantines_at_once() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, true);
    assert_eq!((bench.units().quarantined, bench.records(is_quarantine)), (5, 1));
    bench.restart(six_units());
    let view = bench.machine.show(bench.now, &one(), &granted.held.unit).unwrap();
    assert_eq!((view.phase.as_str(), view.error.as_deref(), view.attempts.len()), ("quarantined", Some("boom"), 1), "the journal knows");
}

#[test]
fn pauses_double_up_to_their_limit_and_differ_between_units() {
    let settings = Settings::default();
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    for fails in 1..100 {
        let full = secs(2).saturating_mul(1 << (fails - 1).min(20)).min(secs(300));
        let pause = settings.backoff(&one, fails);
        assert!(pause >= full / 2 && pause <= full, "{fails}: {pause:?} of {full:?}");
    }
    assert_ne!(settings.backoff(&one, 1), settings.backoff(&two, 1));
    assert_eq!(settings.backoff(&one, 1), settings.backoff(&one, 1));
    assert_ne!(settings.backoff(&one, 1), Settings { seed: 1, ..Settings::default() }.backoff(&one, 1));
}

#[test]
fn what_is_given_back_costs_no_budget_and_comes_at_once() {
    let mut bench = Bench::new(six_units());
    for _ in 0..20 {
        let granted = bench.grant("w").unwrap();
        bench.release(&granted);
    }
    assert!(bench.journal.is_empty());
    assert_eq!(bench.units().pending, 6);
    assert_eq!(bench.status().attempts.started, 20);
}

#[test]
fn outcomes_of_what_is_no_longer_leased_are_ignored() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    let mut other = granted.clone();
    other.worker = "v".into();
    bench.register("v");
    bench.fail(&other, true);
    bench.release(&other);
    assert_eq!(bench.units().running, 1, "another worker's word");
    bench.release(&granted);
    bench.fail(&granted, true);
    bench.release(&granted);
    assert_eq!((bench.units().pending, bench.journal.len()), (6, 0));
}

#[test]
fn a_whole_sweep_runs_to_its_end() {
    let mut bench = Bench::new(small_plan(&["a", "b"], "execution: {rows_per_unit: 10}"));
    let total = bench.units().total;
    let mut kinds = Vec::new();
    while let Some(granted) = bench.grant("w") {
        kinds.push(bench.kind(&granted));
        bench.commit(&granted);
        bench.commit(&granted);
    }
    let status = bench.status();
    assert_eq!((kinds.len() as u64, status.units.committed, status.state), (total, total, SweepState::Complete));
    assert_eq!((status.cells.done, status.cells.total), (8, 8));
    assert_eq!(status.attempts, AttemptCounts { started: total, committed: total, failed: 0, lost: 0, released: 0 });
    assert_eq!((status.work.tokens, status.workers[0].committed), (7 * total, total), "each report counts once");
    assert!((status.work.done_flops / status.work.total_flops - 1.0).abs() < 1e-9);
    assert!(bench.journal.is_empty(), "commits are not in the journal");
}
