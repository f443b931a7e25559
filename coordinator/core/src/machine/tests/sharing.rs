//! Two sweeps with units in common.

use limbic_proto::status::SweepState;

use super::*;

const ONE: &str = "execution: {rows_per_unit: 10}\nbaselines: []";
const MORE: &str = "execution: {rows_per_unit: 10}\nbaselines: []\nconditions: [{name: raw}, {name: x, template: 'x {text}'}]";

fn two_sweeps() -> Bench {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    bench.open("t", small_plan(&["a"], MORE));
    bench
}

fn counts(bench: &Bench, id: &str) -> UnitCounts {
    bench.machine.status(bench.now, &id.into()).unwrap().units
}

#[test]
fn a_commit_counts_in_both_and_nothing_is_granted_twice() {
    let mut bench = two_sweeps();
    let mut grants = 0;
    while let Some(granted) = bench.grant("w") {
        let running = counts(&bench, "t").running;
        assert_eq!(running, 1, "a unit that runs for one runs for both");
        bench.commit(&granted);
        grants += 1;
    }
    assert_eq!(grants, 12);
    assert_eq!((counts(&bench, "s").committed, counts(&bench, "t").committed), (6, 12));
    assert_eq!(bench.status().attempts.started, 6, "attempts belong to one sweep");
    assert!(bench.machine.finished());
}

#[test]
fn a_sweep_opened_later_finds_what_is_done_and_what_runs() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    let (one, _two) = (bench.grant("w").unwrap(), bench.grant("w").unwrap());
    bench.commit(&one);
    bench.store.clear();
    bench.open("t", small_plan(&["a"], MORE));
    assert_eq!((counts(&bench, "t").committed, counts(&bench, "t").running), (1, 1));
    let status = bench.machine.status(bench.now, &"t".into()).unwrap();
    assert!(status.work.inherited_flops > 0.0);
    assert_eq!(status.work.inherited_flops, status.work.done_flops);
}

#[test]
fn what_the_store_says_when_one_is_opened_counts_in_the_other() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    let granted = bench.grant("w").unwrap();
    bench.stand(granted.held.unit, 0);
    bench.open("t", small_plan(&["a"], MORE));
    assert_eq!((counts(&bench, "s").committed, counts(&bench, "s").running), (1, 0));
    assert_eq!(bench.cancelled, [granted.held.attempt], "another has committed it");
}

#[test]
fn quarantine_in_one_is_not_quarantine_in_the_other() {
    let mut bench = two_sweeps();
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, true);
    assert_eq!((counts(&bench, "s").quarantined, counts(&bench, "t").quarantined), (5, 0));
    let mut second = None;
    while let Some(next) = bench.grant("w") {
        if next.held.unit == granted.held.unit {
            second = Some(next.held.sweep.clone());
        }
        bench.commit(&next);
    }
    assert_eq!(second, Some("t".into()), "the other sweep tries on its own budget");
    assert_eq!(counts(&bench, "s").committed, 6, "and its commit serves both");
}

#[test]
fn cancelling_one_leaves_shared_attempts_to_the_other() {
    let mut bench = two_sweeps();
    let granted = bench.grant("w").unwrap();
    bench.send(Event::Cancel { sweep: one() });
    assert!(bench.cancelled.is_empty());
    assert_eq!(bench.status().state, SweepState::Cancelled);
    let status = bench.machine.status(bench.now, &"t".into()).unwrap();
    assert_eq!((status.units.running, status.attempts.started), (1, 1));
    bench.fail(&granted, true);
    assert_eq!(counts(&bench, "t").quarantined, 5, "on the heir's budget");
    let alone = bench.grant("w").unwrap();
    bench.send(Event::Cancel { sweep: "t".into() });
    assert_eq!(bench.cancelled, [alone.held.attempt]);
    assert!(bench.machine.finished());
}

#[test]
fn older_sweeps_come_first_at_equal_match() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    bench.open("r", small_plan(&["a"], "baselines: []\nconditions: [{name: y, template: 'y {text}'}]"));
    let granted = bench.grant("w").unwrap();
    assert_eq!(granted.held.sweep, one(), "opened first, although `r` sorts before");
}

#[test]
fn opening_an_open_sweep_changes_nothing() {
    let mut bench = two_sweeps();
    let granted = bench.grant("w").unwrap();
    bench.open("s", small_plan(&["a"], MORE));
    assert_eq!((bench.units().total, bench.units().running), (6, 1));
    bench.commit(&granted);
    assert_eq!(bench.units().committed, 1);
}
