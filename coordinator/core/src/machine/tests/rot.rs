//! Results that are found corrupt.

use limbic_proto::status::SweepState;

use super::*;

/// Both extracts committed, and the grant of a fit.
fn fitting() -> (Bench, [Granted; 2], Granted) {
    let mut bench = Bench::new(six_units());
    let extracts = [bench.grant("w").unwrap(), bench.grant("w").unwrap()];
    extracts.iter().for_each(|granted| bench.commit(granted));
    let fit = bench.grant("w").unwrap();
    (bench, extracts, fit)
}

#[test]
fn a_corrupt_result_is_voided_and_computed_again_once_the_void_stands() {
    let (mut bench, [one, _], fit) = fitting();
    bench.corrupt(&fit, one.held.unit, 0);
    let void = Record::Void { unit: one.held.unit, generation: 0, reason: "a byte flipped".into(), asked: false };
    assert_eq!((bench.journal.as_slice(), bench.voids.len()), ([void].as_slice(), 1));
    assert_eq!((bench.units().committed, bench.units().running), (1, 0));
    assert_eq!(bench.grant("w"), None, "the void doesn't stand yet, and everything else needs the unit");
    bench.void();
    let again = bench.grant("w").unwrap();
    assert_eq!((again.held.unit, again.held.generation), (one.held.unit, 1));
    bench.commit(&again);
    assert_eq!(bench.store[&one.held.unit], 2);
    let fit = bench.grant("w").unwrap();
    assert_eq!((fit.held.generation, bench.inputs.as_slice()), (0, [(one.held.unit, 1)].as_slice()));
    let attempts = bench.status().attempts;
    assert_eq!((attempts.started, attempts.committed, attempts.failed, attempts.released), (5, 3, 0, 1));
}

#[test]
fn what_was_committed_from_a_result_stays_when_it_rots() {
    let (mut bench, [one, _], fit) = fitting();
    bench.commit(&fit);
    let second = bench.grant("w").unwrap();
    bench.corrupt(&second, one.held.unit, 0);
    assert_eq!((bench.units().committed, bench.status().cells.done), (2, 1));
}

#[test]
fn an_old_generation_is_not_voided_again_and_its_commit_changes_nothing() {
    let (mut bench, [one, _], fit) = fitting();
    let other = bench.grant("v").unwrap();
    bench.corrupt(&fit, one.held.unit, 0);
    bench.corrupt(&other, one.held.unit, 0);
    bench.commit(&one);
    assert_eq!((bench.voids.len(), bench.units().committed), (1, 1));
    bench.void();
    bench.commit(&one);
    let again = bench.grant("w").unwrap();
    assert_eq!(again.held.generation, 1);
    bench.send(Event::Voided { unit: one.held.unit, generation: 0 });
    assert_eq!(bench.units().running, 1);
}

#[test]
fn a_result_that_keeps_rotting_is_quarantined() {
    let (mut bench, [one, _], mut fit) = fitting();
    for generation in 0..3 {
        assert_eq!(bench.units().quarantined, 0);
        bench.corrupt(&fit, one.held.unit, generation);
        bench.void();
        if generation < 2 {
            let again = bench.grant("w").unwrap();
            bench.commit(&again);
            fit = bench.grant("w").unwrap();
        }
    }
    let status = bench.status();
    assert_eq!((status.state, status.units.quarantined), (SweepState::Complete, 5));
    assert!(status.quarantined[0].error.contains("corrupt 3 times, last: a byte flipped"), "{:?}", status.quarantined);
    bench.journal.retain(|record| !is_quarantine(record));
    bench.restart(six_units());
    assert_eq!((bench.status().quarantined, bench.records(is_quarantine)), (status.quarantined, 1), "noticed after a crash");
}

#[test]
fn a_void_that_was_written_down_is_carried_out_by_the_next_coordinator() {
    let (mut bench, [one, _], fit) = fitting();
    bench.corrupt(&fit, one.held.unit, 0);
    bench.restart(six_units());
    assert_eq!((bench.units().committed, bench.voids.len()), (1, 1), "the store doesn't have it yet");
    bench.void();
    bench.now += secs(100);
    assert_eq!(bench.grant("w").unwrap().held.generation, 1);
    bench.restart(six_units());
    assert!(bench.voids.is_empty(), "now it does");
}

#[test]
fn an_attempt_at_a_voided_generation_is_not_adopted() {
    let (mut bench, [one, _], fit) = fitting();
    bench.corrupt(&fit, one.held.unit, 0);
    bench.void();
    bench.restart(six_units());
    let again = Held { attempt: "s-e1-9".into(), ..one.held.clone() };
    bench.send(Event::Register { worker: "v".into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: vec![again] });
    assert_eq!((bench.units().running, bench.cancelled.len()), (0, 1));
}

#[test]
fn corruption_of_what_a_unit_does_not_read_is_its_own_failure() {
    let (mut bench, [one, _], fit) = fitting();
    bench.corrupt(&fit, fit.held.unit, 0);
    assert_eq!(bench.status().attempts.failed, 1);
    bench.corrupt(&fit, one.held.unit, 0);
    assert!(bench.voids.is_empty(), "its attempt is over");
}

#[test]
fn the_result_is_void_in_every_sweep_and_the_budget_is_the_finders() {
    let (mut bench, [one, _], fit) = fitting();
    let plan = small_plan(&["a"], "execution: {rows_per_unit: 10}\nbaselines: []\nprobes: [{kind: mlp}]");
    bench.open("t", plan);
    let committed = |bench: &Bench| bench.machine.status(bench.now, &"t".into()).unwrap().units.committed;
    assert_eq!(committed(&bench), 2);
    for _ in 0..2 {
        bench.send(Event::Cancel { sweep: one.held.sweep.clone() });
    }
    assert_eq!(bench.cancelled.len(), 1, "only the first sweep wanted the fit");
    let fit = Granted { held: Held { sweep: "t".into(), ..fit.held }, ..fit };
    bench.corrupt(&fit, one.held.unit, 0);
    let next = bench.grant("w").unwrap();
    assert_eq!(next.held.sweep, "t".into());
    bench.corrupt(&next, one.held.unit, 0);
    assert_eq!((committed(&bench), bench.units().committed), (1, 1));
}
