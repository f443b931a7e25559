//! Sweeps that are extended while they are open.

use limbic_proto::status::SweepState;

use super::*;

const ONE: &str = "execution: {rows_per_unit: 10}\nbaselines: []";
const MORE: &str = "execution: {rows_per_unit: 10}\nbaselines: []\nconditions: [{name: raw}, {name: x, template: 'x {text}'}]";

fn extend(bench: &mut Bench) {
    let committed = bench.store.clone();
    bench.machine.extend_sweep(bench.now, &one(), small_plan(&["a"], MORE), committed);
    bench.carry_out();
}

#[test]
fn a_finished_sweep_runs_what_is_new_and_nothing_else() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    let done = bench.status();
    assert_eq!((done.state, done.units.committed), (SweepState::Complete, 6));
    extend(&mut bench);
    let extended = bench.status();
    assert_eq!((extended.state, extended.units.total, extended.units.pending), (SweepState::Running, 12, 6));
    assert_eq!((extended.attempts, extended.work.done_flops), (done.attempts, done.work.done_flops));
    let mut grants = 0;
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
        grants += 1;
    }
    let status = bench.status();
    assert_eq!((grants, status.units.committed, status.attempts.started, status.attempts.committed), (6, 12, 12, 12));
    assert_eq!(status.work.inherited_flops, 0.0, "all of it was done in this coordinator's time");
}

#[test]
fn what_runs_goes_on_and_trouble_is_not_forgotten() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    let (bad, runs) = (bench.grant("v").unwrap(), bench.grant("w").unwrap());
    bench.fail(&bad, true);
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    let before = bench.status();
    assert_eq!(before.quarantined.len(), 1);
    extend(&mut bench);
    let status = bench.status();
    assert_eq!((status.state, &status.quarantined, status.units.running), (SweepState::Paused, &before.quarantined, 1));
    assert_eq!(status.attempts, before.attempts);
    bench.commit(&runs);
    assert_eq!((bench.units().running, bench.units().committed), (0, 1));
    assert!(bench.cancelled.is_empty());
}

#[test]
fn what_another_sweep_has_done_is_found() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    bench.open("t", small_plan(&["a"], MORE));
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    extend(&mut bench);
    let status = bench.status();
    assert_eq!((status.state, status.units.committed), (SweepState::Complete, 12));
    assert!(bench.grant("w").is_none());
}

#[test]
fn what_rests_after_a_failure_goes_on_resting() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, false);
    let rests = |bench: &Bench| bench.machine.show(bench.now, &one(), &granted.held.unit).unwrap().phase;
    let before = rests(&bench);
    assert!(before.starts_with("rests"), "{before}");
    extend(&mut bench);
    assert_eq!(rests(&bench), before);
}

#[test]
fn an_attempt_that_the_listing_shows_to_be_superfluous_is_counted() {
    let mut bench = Bench::new(small_plan(&["a"], ONE));
    let granted = bench.grant("w").unwrap();
    bench.stand(granted.held.unit, 0);
    extend(&mut bench);
    assert_eq!(bench.cancelled, [granted.held.attempt]);
    let attempts = bench.status().attempts;
    assert_eq!((attempts.started, attempts.committed, attempts.released), (2, 1, 1));
}
