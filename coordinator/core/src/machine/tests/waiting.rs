//! What units wait for, in words, and what is known of one.

use limbic_proto::status::{AttemptState, Done};

use super::*;

/// `count what: reason` for each group that waits.
fn waiting(bench: &Bench) -> Vec<String> {
    bench.status().waiting.iter().map(|w| format!("{} {}: {}", w.count, w.what, w.reason)).collect()
}

fn register(bench: &mut Bench, worker: &str, memory: u64) {
    bench.send(Event::Register { worker: worker.into(), device: "cpu".into(), takes: Takes::All, memory, held: Vec::new() });
}

#[test]
fn every_pending_unit_waits_for_something_that_is_said() {
    let mut bench = Bench::new(six_units());
    let fits = "4 fit a: their dependencies: 0 of 2 units of `extract a` are committed";
    assert_eq!(waiting(&bench), ["2 extract a: a worker: none is connected", fits]);
    let one_runs = bench.grant("w").unwrap();
    assert_eq!(waiting(&bench), ["1 extract a: a worker: the one that takes units is busy", fits]);
    bench.fail(&one_runs, false);
    let resting = waiting(&bench);
    assert!(resting[0].starts_with("1 extract a: a pause after a failure, the first for "), "{resting:?}");
    assert!(resting[0].ends_with(" s more"), "{resting:?}");
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    assert!(waiting(&bench)[1].contains("1 extract a: the sweep is paused by ana@login1: "), "{:?}", waiting(&bench));
    let status = bench.status();
    assert_eq!(status.waiting.iter().map(|w| w.count).sum::<u64>(), status.units.pending);
}

#[test]
fn a_worker_is_late_after_two_heartbeats() {
    let mut bench = Bench::new(six_units());
    register(&mut bench, "w", 1000);
    let (since, heartbeat) = (bench.now, Settings::default().heartbeat);
    let mut late = |after: Duration| {
        bench.now = since + after;
        bench.status().workers[0].late
    };
    assert!(!late(Duration::ZERO) && !late(2 * heartbeat) && late(2 * heartbeat + secs(1)));
}

#[test]
fn who_only_looks_at_a_sweep_knows_nothing_of_workers() {
    let mut machine = Machine::new(Settings::default());
    let (id, plan) = (one(), six_units());
    let first = plan.order[0];
    let (committed, history) = (BTreeMap::new(), History::default());
    machine.open_sweep(Duration::ZERO, Opening { id, name: "name".into(), plan, epoch: 0, committed, history });
    let status = machine.status(Duration::ZERO, &one()).unwrap();
    assert_eq!((status.led, status.units.pending, status.waiting), (false, 6, Vec::new()));
    let phase = machine.show(Duration::ZERO, &one(), &first).unwrap().phase;
    assert_eq!(phase, "could run, or runs: only the coordinator that leads the sweep knows");
    assert!(Bench::new(six_units()).status().led);
}

#[test]
fn after_a_restart_it_is_the_adoption_window() {
    let mut bench = Bench::new(six_units());
    bench.restart(six_units());
    assert!(waiting(&bench)[0].contains("30 s more, in which workers may name"), "{:?}", waiting(&bench));
    bench.now = secs(31);
    bench.send(Event::Tick);
    assert!(waiting(&bench)[0].contains("none is connected"));
}

#[test]
fn a_large_model_waits_for_a_large_worker() {
    let mut bench = Bench::new(six_units());
    register(&mut bench, "small", 1000);
    register(&mut bench, "large", 1 << 30);
    bench.ready("large", &[]);
    bench.ready("small", &[]);
    assert_eq!(bench.grants.len(), 1, "the small one gets nothing");
    let said = &waiting(&bench)[0];
    assert!(said.contains("a worker with 0.0 GiB for model `a`: 1 of 2 have as much, and all those are busy"), "{said}");
}

#[test]
fn units_that_no_worker_takes_say_so() {
    let mut bench = Bench::new(six_units());
    bench.register_taking("fits", Takes::Fits);
    let said = &waiting(&bench)[0];
    let passes = "a worker that takes passes: none of the 1 connected does; start one with `--takes passes`, or without";
    assert!(said.contains(passes), "{said}");
    assert_eq!(bench.status().waiting.iter().map(|waiting| waiting.unserved).collect::<Vec<_>>(), [true, false]);
    for _ in 0..2 {
        let extract = bench.grant("w").unwrap();
        bench.commit(&extract);
    }
    register(&mut bench, "small", 1000);
    let said = waiting(&bench);
    assert_eq!(said, ["4 fit a: a worker: all 3 are busy"], "fits need no model, so its size is no matter");
    assert!(!bench.status().waiting[0].unserved);
}

#[test]
fn draining_workers_are_no_hope() {
    let mut bench = Bench::new(six_units());
    let last = bench.grant("w").unwrap();
    let drain = |bench: &mut Bench, held| bench.send(Event::Heartbeat { worker: "w".into(), held, draining: true });
    drain(&mut bench, vec![Progress { held: last.held.clone(), share: 0.5, tokens: 0 }]);
    assert!(waiting(&bench)[0].ends_with("a worker: all 1 are draining"));
    assert_eq!(bench.status().workers.len(), 1);
    bench.commit(&last);
    drain(&mut bench, Vec::new());
    assert!(waiting(&bench)[0].ends_with("a worker: none is connected"), "it has left");
    assert!(bench.status().workers.is_empty());
    bench.pass(secs(61), &[]);
    assert!(!bench.machine.known(&"w".into()) && bench.silent.is_empty(), "who has said that it leaves is missed by nobody");
}

#[test]
fn a_result_that_is_being_voided_says_so_and_a_finished_sweep_says_nothing() {
    let mut bench = Bench::new(six_units());
    let mut extract = None;
    while let Some(granted) = bench.grant("w") {
        extract.get_or_insert(granted.held.unit);
        bench.commit(&granted);
    }
    assert!(waiting(&bench).is_empty());
    bench.send(Event::Again { sweep: one(), units: vec![extract.unwrap()] });
    let said = waiting(&bench);
    assert_eq!(said[0], "1 extract a: the store: that their old result is void, or that they are split, is being written");
    assert_eq!(said[1], "4 fit a: their dependencies: 1 of 2 units of `extract a` are committed");
}

#[test]
fn a_unit_is_shown_with_its_attempts_and_neighbours() {
    let mut bench = Bench::new(six_units());
    let first = bench.grant("w").unwrap();
    let unit = first.held.unit;
    let show = |bench: &Bench| bench.machine.show(bench.now, &one(), &unit).unwrap();
    assert_eq!(show(&bench).phase, "runs");
    bench.pass(secs(61), &[]);
    let second = bench.grant("w").unwrap();
    assert_eq!(second.held.unit, unit);
    bench.fail(&second, false);
    let view = show(&bench);
    assert!(view.phase.starts_with("rests after a failure"), "{view:?}");
    bench.pass(secs(10), &[("w", &[])]);
    let other = bench.grant("w").unwrap();
    bench.commit(&other);
    let third = bench.grant("v").unwrap();
    bench.send(Event::Heartbeat {
        worker: "v".into(),
        held: vec![Progress { held: third.held.clone(), share: 0.25, tokens: 9 }],
        draining: false,
    });
    assert_eq!(bench.status().work.tokens, 7 + 9, "of the committed attempt and of the running one");
    let view = show(&bench);
    let states: Vec<_> = view.attempts.iter().map(|a| (a.worker.as_str(), a.state, a.error.as_deref(), a.share)).collect();
    let expected = [
        ("w", AttemptState::Lost, None, None),
        ("w", AttemptState::Failed, Some("boom"), None),
        ("v", AttemptState::Running, None, Some(0.25)),
    ];
    assert_eq!(states, expected);
    assert_eq!((view.fails, view.losses, view.generation), (1, 1, 0));
    assert_eq!((view.dependencies, view.dependants), (Done::default(), Done { total: 4, committed: 0 }));
    let fit = bench.machine.plan(&one()).unwrap().order[5];
    let view = bench.machine.show(bench.now, &one(), &fit).unwrap();
    assert_eq!((view.phase.as_str(), view.dependencies), ("waits for 1 dependencies", Done { total: 2, committed: 1 }));
    bench.fail(&third, true);
    bench.restart(six_units());
    let view = show(&bench);
    assert_eq!((view.phase.as_str(), view.error.as_deref(), view.attempts.len()), ("quarantined", Some("boom"), 3), "the journal knows");
    assert_eq!(bench.machine.show(bench.now, &one(), &Digest::of(b"unknown")), None);
}
