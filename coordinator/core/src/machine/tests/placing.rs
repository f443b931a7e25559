//! Who gets what.

use super::*;

#[test]
fn fits_wait_for_all_their_extracts() {
    let mut bench = Bench::new(six_units());
    let (one, two) = (bench.grant("w").unwrap(), bench.grant("w").unwrap());
    assert_eq!((bench.kind(&one), bench.kind(&two)), (UnitKind::Extract, UnitKind::Extract));
    bench.commit(&one);
    assert_eq!(bench.grant("w"), None);
    bench.commit(&two);
    for _ in 0..4 {
        let fit = bench.grant("w").unwrap();
        assert_eq!(bench.kind(&fit), UnitKind::Fit);
    }
}

#[test]
fn a_worker_stays_with_the_model_it_has() {
    let mut bench = Bench::new(small_plan(&["a", "b"], "execution: {rows_per_unit: 10}\nbaselines: []"));
    bench.register("w");
    bench.ready("w", &["b"]);
    let granted = bench.grants.pop_front().unwrap();
    let unit = bench.machine.unit(&one(), &granted.held.unit).unwrap();
    assert_eq!(unit.hints.model.as_ref().unwrap().name, "b", "although `a` comes first");
}

#[test]
fn workers_spread_over_models() {
    let mut bench = Bench::new(small_plan(&["a", "b", "c"], "execution: {rows_per_unit: 10}\nbaselines: []"));
    let mut models = BTreeSet::new();
    for worker in ["u", "v", "w"] {
        bench.register(worker);
        bench.ready(worker, &[]);
        let granted = bench.grants.pop_front().unwrap();
        models.insert(bench.machine.unit(&one(), &granted.held.unit).unwrap().hints.model.clone().unwrap().name.clone());
    }
    assert_eq!(models.len(), 3);
}

#[test]
fn the_better_match_is_served_first_whoever_asked_first() {
    let mut bench = Bench::new(small_plan(&["a"], "probes: []\nbaselines: []"));
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    for (worker, loaded) in [("u", vec![]), ("v", vec!["a"])] {
        bench.register(worker);
        bench.ready(worker, &loaded);
    }
    bench.send(Event::Resume { sweep: one() });
    assert_eq!(bench.grants.len(), 1);
    assert_eq!(bench.grants[0].worker, "v".into());
}

#[test]
fn a_model_too_large_for_a_worker_is_left_to_those_it_fits() {
    let mut bench = Bench::new(six_units());
    bench.send(Event::Register { worker: "small".into(), device: "cpu".into(), takes: Takes::All, memory: 1000, held: Vec::new() });
    bench.send(Event::Register { worker: "large".into(), device: "cpu".into(), takes: Takes::All, memory: 1 << 30, held: Vec::new() });
    assert_eq!(bench.grant("small"), None);
    let extracts: Vec<Granted> = (0..2).map(|_| bench.grant("large").unwrap()).collect();
    extracts.iter().for_each(|granted| bench.commit(granted));
    assert!(bench.grant("small").is_some(), "fits need no model");
}

#[test]
fn a_model_too_large_for_all_is_tried_nonetheless() {
    let mut bench = Bench::new(six_units());
    bench.send(Event::Register { worker: "small".into(), device: "cpu".into(), takes: Takes::All, memory: 1000, held: Vec::new() });
    assert!(bench.grant("small").is_some());
}

#[test]
fn a_draining_worker_gets_nothing() {
    let mut bench = Bench::new(six_units());
    bench.register("w");
    bench.send(Event::Heartbeat { worker: "w".into(), held: Vec::new(), draining: true });
    assert_eq!(bench.grant("w"), None);
    bench.send(Event::Heartbeat { worker: "w".into(), held: Vec::new(), draining: false });
    assert!(bench.grant("w").is_some());
}

#[test]
fn one_ready_gets_one_unit_and_unready_none() {
    let mut bench = Bench::new(six_units());
    bench.register("w");
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    bench.ready("w", &[]);
    bench.send(Event::Unready { worker: "w".into() });
    bench.send(Event::Resume { sweep: one() });
    assert!(bench.grants.is_empty());
    bench.ready("w", &[]);
    bench.send(Event::Tick);
    assert_eq!(bench.grants.len(), 1);
    bench.ready("nobody", &[]);
    assert_eq!(bench.grants.len(), 1, "it has not registered");
}

#[test]
fn a_worker_gets_only_what_it_takes() {
    let mut bench = Bench::new(six_units());
    bench.register_taking("fits", Takes::Fits);
    bench.register_taking("passes", Takes::Passes);
    assert_eq!(bench.grant("fits"), None);
    let extracts: Vec<Granted> = (0..2).map(|_| bench.grant("passes").unwrap()).collect();
    extracts.iter().for_each(|granted| bench.commit(granted));
    assert_eq!(bench.grant("passes"), None, "fits are all that is left");
    for _ in 0..4 {
        let fit = bench.grant("fits").unwrap();
        assert_eq!(bench.kind(&fit), UnitKind::Fit);
    }
}

#[test]
fn a_worker_set_aside_gets_what_no_other_takes() {
    let fields = "execution: {rows_per_unit: 2}\nbaselines: []";
    let mut bench = Bench::new(small_plan(&["a"], fields));
    bench.register_taking("bad", Takes::Passes);
    for _ in 0..5 {
        let granted = bench.grant("bad").unwrap();
        bench.fail(&granted, false);
    }
    bench.register_taking("fits", Takes::Fits);
    let again = bench.grant("bad").expect("the other one is no help");
    bench.release(&again);
    bench.register_taking("good", Takes::Passes);
    assert_eq!(bench.grant("bad"), None);
}

#[test]
fn a_grant_that_reached_nobody_leaves_no_trace() {
    let mut bench = Bench::new(six_units());
    let before = bench.status();
    for _ in 0..3 {
        let Granted { held, .. } = bench.grant("w").unwrap();
        assert_eq!(bench.status().attempts.started, 1);
        bench.send(Event::Withdrawn { unit: held.unit, attempt: held.attempt });
    }
    assert_eq!((bench.status().attempts, bench.units()), (before.attempts, before.units));
    assert!(bench.machine.ended.is_empty() && bench.machine.sweeps[&one()].granted == 0.0);
    let granted = bench.grant("w").unwrap();
    bench.commit(&granted);
    assert_eq!(bench.status().attempts.committed, 1);
}

#[test]
fn five_failures_in_a_row_set_a_worker_aside_while_there_are_others() {
    let fields = "execution: {rows_per_unit: 2}\nprobes: []\nbaselines: []";
    let mut bench = Bench::new(small_plan(&["a"], fields));
    for _ in 0..5 {
        let granted = bench.grant("bad").unwrap();
        bench.fail(&granted, false);
    }
    bench.register("good");
    assert_eq!(bench.grant("bad"), None);
    let said = bench.status().waiting.iter().map(|w| w.reason.clone()).collect::<String>();
    assert!(said.contains("(bad: set aside after 5 failures in a row on different units)"), "{said}");
    let granted = bench.grant("good").unwrap();
    bench.commit(&granted);
    assert_eq!(bench.grant("bad"), None);
    bench.pass(secs(50), &[("bad", &[])]);
    bench.pass(secs(20), &[("bad", &[])]);
    assert!(!bench.machine.known(&"good".into()));
    assert!(bench.grant("bad").is_some(), "nobody else is left");
}

#[test]
fn a_commit_ends_a_row_of_failures() {
    let fields = "execution: {rows_per_unit: 2}\nprobes: []\nbaselines: []";
    let mut bench = Bench::with(small_plan(&["a"], fields), Settings { fail_budget: 100, ..Settings::default() });
    bench.register("other");
    for round in 0..8 {
        let granted = bench.grant("w").unwrap_or_else(|| panic!("round {round}"));
        if round == 3 { bench.commit(&granted) } else { bench.fail(&granted, false) }
    }
}

#[test]
fn a_failed_unit_is_left_to_others_where_there_is_other_work() {
    let settings = Settings { backoff_base: Duration::ZERO, ..Settings::default() };
    let mut bench = Bench::with(six_units(), settings);
    let failed = bench.grant("w").unwrap();
    bench.fail(&failed, false);
    let next = bench.grant("w").unwrap();
    assert_ne!(next.held.unit, failed.held.unit);
    let again = bench.grant("w").unwrap();
    assert_eq!(again.held.unit, failed.held.unit, "nothing else is left");
}
