//! Restarts, late commits and attempts that come back.

use limbic_proto::status::SweepState;

use super::*;

fn register_with(bench: &mut Bench, granted: &[&Granted]) {
    let held = granted.iter().map(|g| g.held.clone()).collect();
    bench.send(Event::Register { worker: granted[0].worker.clone(), device: "cpu".into(), takes: Takes::All, memory: 0, held });
}

#[test]
fn after_a_restart_running_attempts_are_adopted_before_anything_is_granted() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.now = secs(5);
    bench.restart(six_units());
    assert!(!bench.machine.known(&"w".into()));
    assert_eq!(bench.grant("v"), None, "held back");
    register_with(&mut bench, &[&granted]);
    assert_eq!(bench.units().running, 1);
    assert_eq!(bench.machine.poll_deadline(), Some(secs(35)));
    bench.now = secs(35);
    let other = bench.grant("v").unwrap();
    assert_ne!(other.held.unit, granted.held.unit);
    assert_eq!(other.held.attempt, "s-e2-1");
    bench.commit(&granted);
    assert_eq!(bench.units().committed, 1);
    assert_eq!(bench.status().attempts.committed, 1);
    assert!(bench.cancelled.is_empty());
}

#[test]
fn a_waiting_worker_is_served_when_the_adoption_window_ends() {
    let mut bench = Bench::new(six_units());
    bench.restart(six_units());
    bench.register("w");
    bench.ready("w", &[]);
    assert!(bench.grants.is_empty());
    bench.now = bench.machine.poll_deadline().unwrap();
    bench.send(Event::Tick);
    assert_eq!(bench.grants.len(), 1);
}

#[test]
fn the_adoption_window_begins_when_all_sweeps_are_open() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.reopen(six_units());
    // Others were being opened, and nobody could say what it runs.
    bench.now += secs(29);
    bench.send(Event::AllOpen);
    bench.now += secs(29);
    assert_eq!(bench.grant("v"), None, "held back");
    register_with(&mut bench, &[&granted]);
    assert_eq!(bench.units().running, 1);
    bench.now += secs(1);
    let other = bench.grant("v").unwrap();
    assert_ne!(other.held.unit, granted.held.unit);
    [granted, other].iter().for_each(|granted| bench.commit(granted));
    // Said again, it changes nothing.
    bench.send(Event::AllOpen);
    assert!(bench.grant("v").is_some());
}

#[test]
fn a_first_epoch_holds_nothing_back() {
    let mut machine = Machine::new(Settings::default());
    let own = [Record::Epoch { epoch: 1, holder: "h".into(), software: "0".into(), at: 0 }];
    let (plan, committed, history) = (six_units(), BTreeMap::new(), History::replay(&own));
    machine.open_sweep(secs(0), Opening { id: one(), name: "n".into(), plan, epoch: 1, committed, history });
    assert_eq!(machine.poll_deadline(), None);
}

#[test]
fn an_attempt_that_comes_back_too_late_is_told_to_stop() {
    let mut bench = Bench::new(six_units());
    let old = bench.grant("w").unwrap();
    bench.pass(secs(61), &[]);
    let new = bench.grant("v").unwrap();
    assert_eq!(new.held.unit, old.held.unit);
    register_with(&mut bench, &[&old]);
    assert_eq!(bench.cancelled, std::slice::from_ref(&old.held.attempt));
    // It has committed in the meantime: that is the truth, and the other attempt may stop.
    bench.commit(&old);
    assert_eq!(bench.cancelled, [old.held.attempt, new.held.attempt]);
    assert_eq!((bench.units().committed, bench.units().running), (1, 0));
}

#[test]
fn an_attempt_that_comes_back_in_time_goes_on() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.pass(secs(61), &[]);
    assert_eq!(bench.records(is_lost), 1);
    register_with(&mut bench, &[&granted]);
    assert_eq!((bench.units().running, bench.cancelled.len()), (1, 0));
    bench.commit(&granted);
    let attempts = bench.status().attempts;
    assert_eq!((attempts.started, attempts.committed, attempts.lost), (2, 1, 1));
}

#[test]
fn a_heartbeat_that_crossed_an_ending_revives_nothing() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, false);
    let held = vec![Progress { held: granted.held.clone(), share: 0.9, tokens: 0 }];
    bench.send(Event::Heartbeat { worker: "w".into(), held, draining: false });
    assert_eq!(bench.units().running, 0);
    assert_eq!(bench.cancelled, [granted.held.attempt]);
}

#[test]
fn attempts_of_sweeps_that_are_not_open_are_left_alone() {
    let mut bench = Bench::new(six_units());
    let elsewhere = Held { sweep: "other".into(), unit: Digest::of(b"x"), attempt: "other-e1-1".into(), token: (1, 1), generation: 0 };
    bench.send(Event::Register { worker: "w".into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: vec![elsewhere] });
    assert!(bench.cancelled.is_empty());
}

#[test]
fn a_token_of_a_later_epoch_is_not_adopted() {
    let mut bench = Bench::new(six_units());
    let unit = bench.machine.plan(&one()).unwrap().order[0];
    let held = Held { sweep: one(), unit, attempt: "s-e9-1".into(), token: (9, 1), generation: 0 };
    bench.send(Event::Register { worker: "w".into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: vec![held] });
    assert_eq!(bench.units().running, 0);
}

#[test]
fn a_commit_of_an_unknown_attempt_counts() {
    let mut bench = Bench::new(six_units());
    let unit = bench.machine.plan(&one()).unwrap().order[0];
    let stranger =
        Granted { worker: "x".into(), held: Held { sweep: one(), unit, attempt: "s-e0-9".into(), token: (0, 9), generation: 0 } };
    bench.commit(&stranger);
    assert_eq!(bench.units().committed, 1);
    assert_eq!((bench.status().attempts.started, bench.status().attempts.committed), (1, 1));
}

#[test]
fn anothers_commit_makes_the_attempt_superfluous_not_successful() {
    let mut bench = Bench::new(six_units());
    let g = bench.grant("w").unwrap();
    bench.send(Event::Committed {
        worker: g.worker.clone(),
        sweep: one(),
        unit: g.held.unit,
        attempt: g.held.attempt.clone(),
        generation: 0,
        mine: false,
        tokens: 7,
    });
    let status = bench.status();
    assert_eq!((status.units.committed, status.attempts.committed, status.work.tokens, status.workers[0].committed), (1, 0, 0, 0));
}

#[test]
fn a_late_commit_takes_up_what_was_given_up() {
    let mut bench = Bench::new(six_units());
    let (one, two) = (bench.grant("w").unwrap(), bench.grant("w").unwrap());
    bench.fail(&one, true);
    bench.commit(&two);
    assert_eq!(bench.status().state, SweepState::Complete);
    bench.commit(&one);
    let status = bench.status();
    assert_eq!((status.state, status.units.quarantined, status.cells.quarantined), (SweepState::Running, 0, 0));
    assert!(status.quarantined.is_empty());
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
    }
    assert_eq!(bench.status().cells.done, 4);
}

#[test]
fn budgets_survive_a_restart_and_a_spent_one_is_noticed() {
    let mut bench = Bench::new(single_rows());
    let bad = bench.grant("w").unwrap();
    while let Some(other) = bench.grant("v") {
        bench.commit(&other);
    }
    bench.fail(&bad, false);
    for _ in 0..2 {
        bench.pass(secs(5), &[("w", &[])]);
        let granted = bench.grant("w").unwrap();
        bench.fail(&granted, false);
    }
    bench.journal.retain(|record| !is_quarantine(record));
    bench.restart(single_rows());
    assert_eq!(bench.records(is_quarantine), 1, "written now");
    assert_eq!(bench.status().quarantined[0].error, "boom");
    assert_eq!(bench.status().attempts.failed, 3);
    assert!(bench.machine.finished());
}

#[test]
fn pause_cancel_and_resume_are_written_once_and_survive_a_restart() {
    let mut bench = Bench::new(six_units());
    let granted = bench.grant("w").unwrap();
    for _ in 0..2 {
        bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    }
    assert_eq!(bench.journal, [Record::Pause { by: "ana@login1".into() }]);
    assert_eq!((bench.status().state, bench.grant("w")), (SweepState::Paused, None));
    assert_eq!(bench.units().running, 1, "what runs goes on");
    bench.restart(six_units());
    assert_eq!(bench.status().state, SweepState::Paused);
    bench.send(Event::Resume { sweep: one() });
    bench.send(Event::Resume { sweep: one() });
    register_with(&mut bench, &[&granted]);
    bench.send(Event::Cancel { sweep: one() });
    bench.send(Event::Cancel { sweep: one() });
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    assert_eq!(bench.journal, [Record::Pause { by: "ana@login1".into() }, Record::Resume, Record::Cancel]);
    assert_eq!(bench.cancelled, std::slice::from_ref(&granted.held.attempt));
    assert_eq!(bench.status().state, SweepState::Cancelled);
    assert!(bench.machine.finished());
    bench.restart(six_units());
    bench.now += secs(100);
    assert_eq!(bench.grant("w"), None);
    register_with(&mut bench, &[&granted]);
    assert_eq!(bench.cancelled.len(), 2, "still told to stop");
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    bench.send(Event::Resume { sweep: one() });
    assert_eq!((bench.journal.last(), bench.journal.len()), (Some(&Record::Resume), 4));
    assert_eq!(bench.status().state, SweepState::Running);
    bench.restart(six_units());
    bench.now += secs(100);
    assert_eq!(bench.status().state, SweepState::Running);
    assert!(bench.grant("w").is_some());
}
