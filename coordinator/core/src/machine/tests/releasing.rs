//! Activations that are released once everything that reads them is committed, and computed again for what comes later.

use limbic_proto::status::SweepState;

use super::super::release::RELEASED;
use super::*;

const RELEASE: &str = "execution: {rows_per_unit: 10, activations: release}\nbaselines: []";

/// Two extracts and four fits.
fn releasing() -> Plan {
    small_plan(&["a"], RELEASE)
}

/// The same two extracts, and four fits of another probe.
fn other_probe(policy: &str) -> Plan {
    small_plan(&["a"], &format!("execution: {{rows_per_unit: 10, activations: {policy}}}\nbaselines: []\nprobes: [{{kind: mlp}}]"))
}

fn extracts(bench: &Bench) -> Vec<UnitKey> {
    let plan = bench.machine.plan(&one()).unwrap();
    plan.order.iter().filter(|key| plan.units[*key].unit.spec.kind() == UnitKind::Extract).copied().collect()
}

/// Commits everything that is granted; how many units that was.
fn work(bench: &mut Bench) -> usize {
    let mut committed = 0;
    while let Some(granted) = bench.grant("w") {
        bench.commit(&granted);
        committed += 1;
    }
    committed
}

fn at(generation: u32, units: &[UnitKey]) -> Vec<(UnitKey, u32)> {
    let mut all: Vec<_> = units.iter().map(|unit| (*unit, generation)).collect();
    all.sort();
    all
}

/// The same in the order in which a fit reads them.
fn read(generation: u32, units: &[UnitKey]) -> Vec<(UnitKey, u32)> {
    units.iter().map(|unit| (*unit, generation)).collect()
}

/// All is committed, and released.
fn released() -> (Bench, Vec<UnitKey>) {
    let mut bench = Bench::new(releasing());
    assert_eq!(work(&mut bench), 6);
    let extracts = extracts(&bench);
    assert_eq!(bench.shed(), at(0, &extracts));
    (bench, extracts)
}

#[test]
fn activations_are_released_once_when_all_that_reads_them_is_committed() {
    let mut bench = Bench::new(releasing());
    for _ in 0..5 {
        let granted = bench.grant("w").unwrap();
        bench.commit(&granted);
        assert!(bench.releases.is_empty());
    }
    let last = bench.grant("w").unwrap();
    bench.commit(&last);
    let extracts = extracts(&bench);
    assert_eq!(bench.shed(), at(0, &extracts));
    let status = bench.status();
    assert_eq!((status.state, status.units.committed, status.cells.done), (SweepState::Complete, 6, status.cells.total));
    assert!((status.work.done_flops / status.work.total_flops - 1.0).abs() < 1e-9);
    let shown = bench.machine.show(bench.now, &one(), &extracts[0]).unwrap();
    assert_eq!((shown.phase.as_str(), shown.dependants.committed), ("committed", 4));
    bench.commit(&last);
    bench.pass(secs(20), &[("w", &[])]);
    assert!(bench.releases.is_empty(), "once");
    bench.restart(releasing());
    assert_eq!((bench.releases.len(), bench.voids.len(), bench.units().committed), (0, 0, 6), "the marker says that it was done");
    bench.markers.clear();
    bench.restart(releasing());
    assert_eq!(bench.releases, at(0, &extracts), "the coordinator died before there was a marker");
}

#[test]
fn what_is_to_be_kept_or_was_never_read_stays() {
    let mut bench = Bench::new(six_units());
    assert_eq!((work(&mut bench), bench.releases.len()), (6, 0));
    let mut bench = Bench::new(small_plan(&["a"], &format!("{RELEASE}\nprobes: []")));
    assert_eq!((work(&mut bench), bench.releases.len(), bench.status().state), (2, 0, SweepState::Complete));
}

#[test]
fn what_failed_for_good_keeps_what_it_reads_until_it_is_tried_again() {
    let mut bench = Bench::new(releasing());
    for _ in 0..2 {
        let extract = bench.grant("w").unwrap();
        bench.commit(&extract);
    }
    let fit = bench.grant("w").unwrap();
    bench.fail(&fit, true);
    assert_eq!(work(&mut bench), 3);
    assert_eq!((bench.status().state, bench.releases.len()), (SweepState::Complete, 0));
    bench.send(Event::Retry { sweep: one(), units: vec![fit.held.unit] });
    assert_eq!((work(&mut bench), bench.releases.len()), (1, 2));
}

#[test]
fn every_sweep_that_has_the_unit_must_let_go() {
    let mut bench = Bench::new(releasing());
    bench.open("t", other_probe("release"));
    assert_eq!(work(&mut bench), 10);
    assert_eq!(bench.releases.len(), 2, "of all ten at once");
    let mut bench = Bench::new(releasing());
    bench.open("t", other_probe("keep"));
    assert_eq!((work(&mut bench), bench.releases.len()), (10, 0));
    let (plan, committed) = (other_probe("release"), bench.store.clone());
    bench.machine.extend_sweep(bench.now, &"t".into(), plan, committed);
    bench.carry_out();
    assert_eq!(bench.releases.len(), 2, "a later revision has another policy");
}

#[test]
fn nothing_is_released_before_every_sweep_is_open() {
    let mut bench = Bench::new(releasing());
    work(&mut bench);
    let (committed, history) = (bench.store.clone(), History::default());
    bench.machine = Machine::new(Settings::default());
    bench.releases.clear();
    bench.open("s", releasing());
    bench.open("t", other_probe("release"));
    assert!(bench.releases.is_empty(), "the second sweep still reads them");
    bench.send(Event::AllOpen);
    assert!(bench.releases.is_empty());
    assert_eq!((work(&mut bench), bench.releases.len()), (4, 2));
    let opening = Opening { id: one(), name: "name".into(), plan: releasing(), epoch: 1, committed, history };
    let mut machine = Machine::new(Settings::default());
    machine.open_sweep(bench.now, opening);
    assert!(!std::iter::from_fn(|| machine.poll_action()).any(|action| matches!(action, Action::Release { .. })));
    machine.handle(bench.now, Event::AllOpen);
    assert_eq!(std::iter::from_fn(|| machine.poll_action()).filter(|action| matches!(action, Action::Release { .. })).count(), 2);
}

#[test]
fn a_later_reader_has_them_computed_again_in_a_new_generation() {
    let (mut bench, extracts) = released();
    bench.open("t", other_probe("release"));
    let void = |unit: &UnitKey| Record::Void { unit: *unit, generation: 0, reason: RELEASED.to_owned(), asked: true };
    assert_eq!(bench.journal, extracts.iter().map(void).collect::<Vec<_>>(), "nobody's failure");
    assert_eq!((bench.units().committed, bench.units().pending, bench.grant("w")), (4, 2, None));
    bench.void();
    let second = || SweepId::from("t");
    let waiting = bench.machine.status(bench.now, &second()).unwrap().waiting;
    let said = "their dependencies: 0 of 2 units of `extract a` are committed (2 are computed again, for their activations were released)";
    assert!(waiting.iter().any(|waiting| waiting.count == 4 && waiting.what == "fit a" && waiting.reason == said), "{waiting:?}");
    for _ in 0..2 {
        let again = bench.grant("w").unwrap();
        assert_eq!((bench.kind(&again), again.held.generation), (UnitKind::Extract, 1));
        bench.commit(&again);
    }
    let fit = bench.grant("w").unwrap();
    assert_eq!((&fit.held.sweep, bench.inputs.clone()), (&second(), read(1, &extracts)));
    bench.commit(&fit);
    assert_eq!((work(&mut bench), bench.shed()), (3, at(1, &extracts)), "and released again");
    assert!(bench.machine.finished());
    assert_eq!(bench.machine.show(bench.now, &one(), &extracts[0]).unwrap().voids, 0);
    let attempts = bench.status().attempts;
    assert_eq!((attempts.failed, attempts.lost), (0, 0));
}

#[test]
fn what_is_computed_again_from_them_has_them_computed_again_first() {
    let (mut bench, extracts) = released();
    let fit = *bench.store.keys().find(|unit| !extracts.contains(unit)).unwrap();
    bench.send(Event::Again { sweep: one(), units: vec![fit] });
    assert_eq!((bench.voids.len(), bench.units().committed), (3, 3));
    bench.restart(releasing());
    assert_eq!(bench.voids.len(), 3, "it stands in the journal");
    bench.void();
    bench.now += secs(100);
    assert_eq!((work(&mut bench), bench.shed(), bench.store[&fit]), (3, at(1, &extracts), 2));
}

#[test]
fn a_paused_sweep_voids_nothing_and_says_what_it_waits_for() {
    let (mut bench, extracts) = released();
    bench.store.retain(|unit, _| extracts.contains(unit));
    bench.journal.push(Record::Pause { by: String::new() });
    bench.restart(releasing());
    let status = bench.status();
    assert_eq!((status.units.committed, status.units.pending, bench.voids.len()), (2, 4, 0));
    let said = "activations that were released and will be computed again, but first the sweep is paused: `limbic resume` goes on";
    assert_eq!(status.waiting.iter().map(|waiting| (waiting.count, waiting.reason.as_str())).collect::<Vec<_>>(), [(4, said)]);
    bench.send(Event::Resume { sweep: one() });
    assert_eq!(bench.voids.len(), 0, "workers may name what they run first");
    bench.now += secs(100);
    bench.send(Event::Tick);
    bench.void();
    assert_eq!((work(&mut bench), bench.releases.len()), (6, 2));
}

#[test]
fn a_marker_of_an_old_generation_hides_nothing() {
    let (mut bench, extracts) = released();
    bench.store = extracts.iter().map(|unit| (*unit, commit::result(1))).collect();
    bench.restart(releasing());
    bench.now += secs(100);
    let fit = bench.grant("w").unwrap();
    assert_eq!((bench.kind(&fit), bench.voids.len(), bench.inputs.clone()), (UnitKind::Fit, 0, read(1, &extracts)));
    // A marker that is heard of before its commit counts once that stands.
    bench.send(Event::ActivationsReleased { unit: extracts[0], generation: 2 });
    assert_eq!(bench.units().committed, 2);
}

#[test]
fn the_halves_of_a_unit_are_released_like_wholes() {
    let plan = || small_plan(&["a"], "baselines: []\nexecution: {activations: release}");
    let mut bench = Bench::new(plan());
    let whole = bench.grant("w").unwrap();
    bench.fail(&whole, false);
    for _ in 0..2 {
        bench.pass(secs(20), &[("w", &[])]);
        let whole = bench.grant("w").unwrap();
        bench.fail(&whole, false);
    }
    bench.divide();
    assert_eq!(work(&mut bench), 6);
    let halves: Vec<UnitKey> =
        bench.machine.unit(&one(), &whole.held.unit).unwrap().split(&Versions::CURRENT).iter().map(|half| half.spec.key()).collect();
    assert_eq!(bench.shed(), at(0, &halves));
    assert_eq!(bench.status().state, SweepState::Complete);
    bench.restart(plan());
    assert_eq!((bench.releases.len(), bench.status().state), (0, SweepState::Complete));
    let fit = *bench.store.keys().find(|unit| !halves.contains(unit) && **unit != whole.held.unit).unwrap();
    bench.now += secs(100);
    bench.send(Event::Again { sweep: one(), units: vec![fit] });
    bench.void();
    assert_eq!((work(&mut bench), bench.shed()), (3, at(1, &halves)), "both halves and the fit");
}

#[test]
fn what_another_coordinator_released_is_not_held_against_the_unit() {
    let mut bench = Bench::new(releasing());
    let extract = bench.grant("w").unwrap();
    let other = bench.grant("w").unwrap();
    [&extract, &other].iter().for_each(|granted| bench.commit(granted));
    let (fit, second) = (bench.grant("w").unwrap(), bench.grant("v").unwrap());
    bench.send(Event::ActivationsReleased { unit: extract.held.unit, generation: 0 });
    assert_eq!(bench.units().running, 2, "who has read it goes on");
    bench.commit(&second);
    bench.corrupt(&fit, extract.held.unit, 0);
    bench.void();
    let shown = bench.machine.show(bench.now, &one(), &extract.held.unit).unwrap();
    assert_eq!((shown.voids, shown.generation, shown.phase.as_str()), (0, 1, "could run; waits for a worker"));
    // Without a marker it is as good as rotten.
    let again = bench.grant("w").unwrap();
    bench.commit(&again);
    let fit = bench.grant("w").unwrap();
    bench.corrupt(&fit, extract.held.unit, 1);
    bench.void();
    assert_eq!(bench.machine.show(bench.now, &one(), &extract.held.unit).unwrap().voids, 1);
    assert_eq!((work(&mut bench), bench.units().quarantined), (4, 0));
}

#[test]
fn no_second_attempt_is_made_at_what_could_not_be_read() {
    let mut bench = Bench::with(releasing(), Settings { stragglers_from: 0, straggler_least: secs(1), ..Settings::default() });
    for _ in 0..5 {
        bench.now += secs(1);
        let granted = bench.grant("w").unwrap();
        bench.commit(&granted);
    }
    let slow = bench.grant("w").unwrap();
    let read = extracts(&bench);
    bench.send(Event::ActivationsReleased { unit: read[0], generation: 0 });
    bench.register("v");
    bench.ready("v", &[]);
    bench.pass(secs(50), &[("w", &[&slow]), ("v", &[])]);
    assert_eq!(bench.grants.len(), 0);
    bench.commit(&slow);
    assert_eq!(bench.releases, [(read[1], 0)], "the other is released by this one");
}

#[test]
fn a_further_judge_reads_tokens_which_are_never_released() {
    let plan =
        |judges: &str| small_plan(&["a", "b"], &format!("{RELEASE}\noffsets: [0, 2]\ncontinuation: {{}}\njudge: {{models: {judges}}}"));
    let mut bench = Bench::new(plan("[a]"));
    let units = work(&mut bench);
    let mut shed = bench.shed();
    shed.sort_unstable();
    assert_eq!(shed, at(0, &extracts(&bench)), "of both models");
    let committed = bench.store.clone();
    bench.machine.extend_sweep(bench.now, &one(), plan("[a, b]"), committed);
    bench.carry_out();
    let mut further = 0;
    while let Some(granted) = bench.grant("w") {
        assert_eq!(bench.kind(&granted), UnitKind::Judge);
        bench.commit(&granted);
        further += 1;
    }
    // Two shards of each model.
    assert_eq!((further, bench.voids.len(), bench.units().committed), (4, 0, (units + 4) as u64));
    assert!(bench.status().state == SweepState::Complete && bench.releases.is_empty());
    bench.restart(plan("[a, b]"));
    assert_eq!((bench.voids.len(), bench.releases.len(), bench.status().state), (0, 0, SweepState::Complete));
}
