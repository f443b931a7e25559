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
    let started = |id: &str| bench.machine.status(bench.now, &id.into()).unwrap().attempts.started;
    assert_eq!(started("s") + started("t"), 12, "attempts belong to one sweep");
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

/// Opens a sweep of ten equal extracts of a model of its own.
fn ten(bench: &mut Bench, id: &str, model: &str, execution: &str) {
    let plan = small_plan(&[model], &format!("execution: {{rows_per_unit: 2, {execution}}}\nprobes: []\nbaselines: []"));
    bench.open(id, plan);
}

/// Which sweeps a worker serves, unit by unit, with whatever model it has in memory.
fn served(bench: &mut Bench, units: usize) -> String {
    let (mut served, mut loaded) = (String::new(), Vec::new());
    for _ in 0..units {
        if !bench.machine.known(&"w".into()) {
            bench.register("w");
        }
        bench.send(Event::Ready { worker: "w".into(), loaded: loaded.clone() });
        let Some(granted) = bench.grants.pop_front() else { break };
        loaded = bench.machine.unit(&granted.held.sweep, &granted.held.unit).unwrap().spec.model().map(|m| m.digest).into_iter().collect();
        served.push_str(&granted.held.sweep.0);
        bench.commit(&granted);
    }
    served
}

fn nothing() -> Bench {
    let mut bench = Bench::new(small_plan(&["z"], "probes: []\nbaselines: []"));
    bench.send(Event::Cancel { sweep: one() });
    bench
}

#[test]
fn higher_priority_goes_first_although_a_model_must_be_loaded() {
    let mut bench = nothing();
    ten(&mut bench, "a", "a", "priority: -1");
    assert_eq!(served(&mut bench, 2), "aa");
    ten(&mut bench, "b", "b", "priority: 1");
    assert_eq!(served(&mut bench, 20), "bbbbbbbbbbaaaaaaaa");
}

#[test]
fn equal_sweeps_of_one_model_take_turns_by_weight() {
    let mut bench = nothing();
    for (id, weight, template) in [("a", 1, "x"), ("b", 3, "y")] {
        let condition = format!("conditions: [{{name: c, template: '{template} {{text}}'}}]");
        let execution = format!("execution: {{rows_per_unit: 2, weight: {weight}}}");
        bench.open(id, small_plan(&["m"], &format!("{execution}\nprobes: []\nbaselines: []\n{condition}")));
    }
    let served = served(&mut bench, 12);
    assert_eq!((served.matches('a').count(), served.matches('b').count()), (3, 9), "{served}");
}

#[test]
fn a_worker_stays_with_its_model_until_the_other_sweep_is_far_behind() {
    let mut bench = nothing();
    ten(&mut bench, "a", "a", "weight: 1");
    ten(&mut bench, "b", "b", "weight: 1");
    let served = served(&mut bench, 20);
    assert!(served.starts_with("aaaa") && served[..8].contains('b'), "{served}");
    let changes = served.as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((2..=5).contains(&changes), "models are not loaded back and forth: {served}");
}

#[test]
fn a_newcomer_has_no_claim_on_what_was_granted_before() {
    let mut bench = nothing();
    let condition = |template: &str| {
        let fields = "execution: {rows_per_unit: 2}\nprobes: []\nbaselines: []";
        small_plan(&["m"], &format!("{fields}\nconditions: [{{name: c, template: '{template} {{text}}'}}]"))
    };
    bench.open("a", condition("x"));
    assert_eq!(served(&mut bench, 6), "aaaaaa");
    bench.open("b", condition("y"));
    let served = served(&mut bench, 8);
    assert_eq!((served.matches('a').count(), served.matches('b').count()), (4, 4), "{served}");
}
