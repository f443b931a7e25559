//! What users ask to be tried or computed again.

use limbic_proto::status::SweepState;

use super::*;

/// Asks for units to be tried again; how many are, says the machine before and the journal after.
fn retry(bench: &mut Bench, units: &[UnitKey]) {
    let wish = Event::Retry { sweep: one(), units: units.to_vec() };
    let (reach, before) = (bench.machine.reach(&wish), retries(bench).len());
    bench.send(wish);
    assert_eq!(retries(bench).len() - before, reach);
}

fn retries(bench: &Bench) -> Vec<UnitKey> {
    bench.journal.iter().filter_map(|record| if let Record::Retry { unit } = record { Some(*unit) } else { None }).collect()
}

#[test]
fn a_quarantined_unit_gets_fresh_budgets_and_frees_what_depends_on_it() {
    let mut bench = Bench::new(six_units());
    let (bad, good) = (bench.grant("w").unwrap(), bench.grant("w").unwrap());
    bench.fail(&bad, true);
    bench.commit(&good);
    assert_eq!((bench.status().state, bench.units().quarantined), (SweepState::Complete, 5));
    let quarantined = bench.machine.quarantined(&one());
    assert_eq!(quarantined, [bad.held.unit]);
    retry(&mut bench, &quarantined);
    assert_eq!((bench.status().state, bench.units().quarantined, bench.units().pending), (SweepState::Running, 0, 5));
    for _ in 0..2 {
        let again = bench.grant("w").unwrap();
        assert_eq!(again.held.unit, bad.held.unit);
        bench.fail(&again, false);
        assert_eq!(bench.units().quarantined, 0, "the budget is fresh");
        bench.pass(secs(10), &[("w", &[])]);
    }
    let last = bench.grant("w").unwrap();
    bench.commit(&last);
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    assert_eq!(bench.status().cells.done, 4);
    assert_eq!(retries(&bench), [bad.held.unit]);
}

#[test]
fn a_unit_that_waits_for_a_quarantined_one_means_that_one() {
    let mut bench = Bench::new(six_units());
    let bad = bench.grant("w").unwrap();
    bench.fail(&bad, true);
    let fits = bench.machine.plan(&one()).unwrap().order[2..].to_vec();
    retry(&mut bench, &fits);
    assert_eq!((retries(&bench), bench.units().quarantined), (vec![bad.held.unit], 0));
}

#[test]
fn what_had_no_trouble_or_is_unknown_or_is_done_stays() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, false);
    bench.pass(secs(10), &[("w", &[])]);
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    let all = bench.machine.plan(&one()).unwrap().order.clone();
    retry(&mut bench, &all);
    retry(&mut bench, &[Digest::of(b"unknown")]);
    assert!(retries(&bench).is_empty());
}

#[test]
fn a_retry_ends_the_pause_after_a_failure_and_survives_a_restart() {
    let mut bench = Bench::new(small_plan(&["a"], "probes: []\nbaselines: []"));
    for _ in 0..2 {
        let granted = bench.grant("w").unwrap();
        bench.fail(&granted, false);
        let unit = granted.held.unit;
        retry(&mut bench, &[unit]);
    }
    bench.restart(small_plan(&["a"], "probes: []\nbaselines: []"));
    bench.now += secs(100);
    for _ in 0..2 {
        let granted = bench.grant("w").expect("it doesn't rest");
        bench.fail(&granted, false);
        assert_eq!(bench.units().quarantined, 0);
        bench.pass(secs(10), &[("w", &[])]);
    }
}

#[test]
fn a_cancelled_sweep_stays_cancelled() {
    let mut bench = Bench::new(six_units());
    let (bad, _running) = (bench.grant("w").unwrap(), bench.grant("w").unwrap());
    bench.fail(&bad, true);
    bench.send(Event::Cancel { sweep: one() });
    retry(&mut bench, &[bad.held.unit]);
    assert_eq!((bench.status().state, retries(&bench).len()), (SweepState::Cancelled, 0));
}

/// Asks for units to be computed again, the same way.
fn again(bench: &mut Bench, units: &[UnitKey]) {
    let wish = Event::Again { sweep: one(), units: units.to_vec() };
    let voids = |bench: &Bench| bench.records(|record| matches!(record, Record::Void { asked: true, .. }));
    let (reach, before) = (bench.machine.reach(&wish), voids(bench));
    bench.send(wish);
    assert_eq!(voids(bench) - before, reach);
}

/// All six units committed.
fn complete() -> (Bench, Vec<UnitKey>) {
    let mut bench = Bench::new(six_units());
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    let order = bench.machine.plan(&one()).unwrap().order.clone();
    (bench, order)
}

#[test]
fn what_is_asked_again_runs_anew_with_all_that_came_from_it_and_nothing_else() {
    let (mut bench, order) = complete();
    again(&mut bench, &order[..1]);
    assert_eq!((bench.status().state, bench.units().committed, bench.voids.len()), (SweepState::Running, 1, 5));
    assert!((bench.status().work.done_flops / bench.status().work.total_flops) < 1.0);
    bench.void();
    let mut ran = Vec::new();
    while let Some(granted) = bench.grant("w") {
        assert_eq!(granted.held.generation, 1);
        ran.push(granted.held.unit);
        bench.commit(&granted);
    }
    assert_eq!(ran, [&order[..1], &order[2..]].concat(), "the other extract stays");
    assert_eq!(bench.status().cells.done, 4);
    again(&mut bench, &order[5..]);
    assert_eq!(bench.units().committed, 5, "nothing depends on a fit");
    bench.void();
    assert_eq!(bench.grant("w").unwrap().held.generation, 2);
}

#[test]
fn asking_again_completes_what_a_coordinator_died_in_the_middle_of() {
    let (mut bench, order) = complete();
    // The extract's result is void, and those that came from it are not.
    bench.store.insert(order[0], 1);
    bench.restart(six_units());
    bench.now += secs(100);
    assert_eq!(bench.units().committed, 5);
    again(&mut bench, &order[..1]);
    assert_eq!((bench.units().committed, bench.voids.len()), (1, 4));
}

#[test]
fn what_runs_on_an_old_result_stops() {
    let mut bench = Bench::new(six_units());
    let extracts = [bench.grant("w").unwrap(), bench.grant("w").unwrap()];
    extracts.iter().for_each(|granted| bench.commit(granted));
    let fit = bench.grant("w").unwrap();
    again(&mut bench, &[extracts[0].held.unit, fit.held.unit]);
    assert_eq!(bench.cancelled, std::slice::from_ref(&fit.held.attempt));
    assert_eq!((bench.units().committed, bench.voids.len()), (1, 1), "the fit has no result to void");
    again(&mut bench, &[extracts[0].held.unit]);
    assert_eq!(bench.voids.len(), 1, "it is being voided already");
    bench.void();
    assert_eq!(bench.grant("w").unwrap().held.unit, extracts[0].held.unit);
}

#[test]
fn asking_again_costs_no_budget_and_is_carried_out_by_the_next_coordinator() {
    let (mut bench, order) = complete();
    for generation in 0..5 {
        again(&mut bench, &order[5..]);
        if generation == 4 {
            bench.restart(six_units());
            bench.now += secs(100);
        }
        assert_eq!(bench.voids.len(), 1);
        bench.void();
        let granted = bench.grant("w").unwrap();
        bench.commit(&granted);
    }
    assert_eq!((bench.store[&order[5]], bench.records(is_quarantine)), (10, 0));
}

#[test]
fn what_a_worker_held_that_has_ended_is_granted_again_at_once() {
    let mut bench = Bench::new(six_units());
    let first = bench.grant("w").unwrap();
    bench.send(Event::Gone { worker: "w".into() });
    assert!(bench.status().workers.is_empty());
    assert_eq!((bench.status().attempts.lost, bench.units().running), (1, 0));
    let second = bench.grant("v").unwrap();
    assert_eq!(second.held.unit, first.held.unit, "nothing has to run out");
    // A commit that it had made before counts all the same, and so does its end that is told twice.
    bench.send(Event::Gone { worker: "w".into() });
    bench.commit(&first);
    assert_eq!((bench.status().attempts.lost, bench.units().committed), (1, 1));
    bench.send(Event::Gone { worker: "nobody".into() });
    // What was lost before rests a while.
    let third = bench.grant("v").unwrap();
    bench.send(Event::Gone { worker: "v".into() });
    let fourth = bench.grant("u").unwrap();
    assert_eq!(fourth.held.unit, third.held.unit);
    bench.send(Event::Gone { worker: "u".into() });
    assert!(bench.grant("t").is_none_or(|granted| granted.held.unit != third.held.unit));
    assert!(bench.status().waiting.iter().any(|waiting| waiting.reason.starts_with("a pause after a failure")));
}
