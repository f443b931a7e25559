//! Units that are split when their budgets are spent.

use limbic_proto::status::SweepState;

use super::*;

/// Fails a worker's next grants until one spends its unit's budget; the grant that did.
fn spend(bench: &mut Bench) -> Granted {
    loop {
        let granted = bench.grant("w").unwrap();
        let before = bench.splits.len() + bench.units().quarantined as usize;
        bench.fail(&granted, false);
        if bench.splits.len() + bench.units().quarantined as usize > before {
            return granted;
        }
        bench.pass(secs(20), &[("w", &[])]);
    }
}

fn title(bench: &Bench, g: &Granted) -> String {
    bench.machine.unit(&g.held.sweep, &g.held.unit).unwrap().hints.title.clone()
}

fn all(bench: &mut Bench) -> Vec<String> {
    let mut titles = Vec::new();
    while let Some(granted) = bench.grant("v") {
        titles.push(title(bench, &granted));
        bench.commit(&granted);
    }
    titles
}

/// One extract of twenty rows, nothing else.
fn one_unit() -> Plan {
    small_plan(&["a"], "probes: []\nbaselines: []")
}

#[test]
fn a_unit_whose_budget_is_spent_is_done_when_its_halves_are() {
    let mut bench = Bench::new(one_unit());
    let whole = spend(&mut bench);
    assert_eq!(bench.journal.last(), Some(&Record::Split { unit: whole.held.unit, generation: 0 }));
    assert_eq!(bench.grant("v"), None, "the store hasn't said yet that it is split");
    assert_eq!(bench.status().waiting[0].reason, "the store: that their old result is void, or that they are split, is being written");
    bench.divide();
    let status = bench.status();
    assert_eq!((status.state, status.units.total, status.units.pending), (SweepState::Running, 3, 3));
    assert!(status.waiting.iter().any(|w| w.count == 1 && w.reason == "the halves that they were split into"), "{:?}", status.waiting);
    let show = |bench: &Bench| bench.machine.show(bench.now, &one(), &whole.held.unit).unwrap().phase;
    assert_eq!(show(&bench), "was split; waits for 2 of its halves");
    assert_eq!(all(&mut bench), ["extract a raw rows 0..10", "extract a raw rows 10..20"]);
    let status = bench.status();
    assert_eq!((status.state, status.units.committed, status.cells.done), (SweepState::Complete, 3, status.cells.total));
    assert_eq!(show(&bench), "was split, and its halves are committed");
    assert!((status.work.done_flops / status.work.total_flops - 1.0).abs() < 1e-9);
    assert_eq!(status.attempts.failed, 3);
}

#[test]
fn one_bad_row_is_found_and_the_others_are_kept() {
    let mut bench = Bench::new(one_unit());
    spend(&mut bench);
    bench.divide();
    let mut committed = 0;
    for _ in 0..200 {
        let Some(granted) = bench.grant("w").or_else(|| bench.grant("v")) else {
            match bench.machine.poll_deadline() {
                Some(due) if !bench.machine.finished() => bench.pass(due.saturating_sub(bench.now), &[("w", &[]), ("v", &[])]),
                _ => break,
            }
            continue;
        };
        let (from, to) = bench.machine.unit(&one(), &granted.held.unit).unwrap().hints.rows;
        if (from..to).contains(&7) {
            bench.fail(&granted, false);
            bench.divide();
        } else {
            committed += to - from;
            bench.commit(&granted);
        }
    }
    let status = bench.status();
    assert_eq!((status.state, committed), (SweepState::Complete, 19));
    assert_eq!(status.quarantined.iter().map(|q| q.title.as_str()).collect::<Vec<_>>(), ["extract a raw rows 7..8"]);
    assert_eq!(bench.records(is_quarantine), 1);
}

/// Workers take units until none is left, of which those with a certain row end their worker; how many that cost.
fn deaths(bench: &mut Bench, row: usize) -> usize {
    let mut deaths = 0;
    while !bench.machine.finished() {
        let Some(granted) = bench.grant("w") else { panic!("{:?}", bench.status().waiting) };
        let (from, to) = bench.machine.unit(&one(), &granted.held.unit).unwrap().hints.rows;
        if (from..to).contains(&row) {
            deaths += 1;
            bench.pass(secs(61), &[]);
            bench.divide();
        } else {
            bench.commit(&granted);
        }
    }
    deaths
}

#[test]
fn a_row_that_ends_its_workers_is_found_at_the_cost_of_few() {
    let mut bench = Bench::new(one_unit());
    assert_eq!(deaths(&mut bench, 7), 8 + 2 * 4, "of 20, 10, 5, 3 or 2, and 1 rows");
    let status = bench.status();
    assert_eq!((status.state, status.attempts.lost), (SweepState::Complete, 16));
    assert_eq!(status.quarantined.iter().map(|q| q.title.as_str()).collect::<Vec<_>>(), ["extract a raw rows 7..8"]);
    assert!(status.quarantined[0].error.contains("lost 2 times"), "{}", status.quarantined[0].error);
    let (whole, bad) = (bench.machine.plan(&one()).unwrap().order[0], bench.machine.quarantined(&one())[0]);
    let budgets = |bench: &Bench, unit| {
        let view = bench.machine.show(bench.now, &one(), &unit).unwrap();
        (view.losses, view.lost_budget)
    };
    assert_eq!((budgets(&bench, whole), budgets(&bench, bad)), ((8, 8), (2, 2)));
    let before = bench.status();
    bench.restart(one_unit());
    assert_eq!((bench.status().units, bench.status().quarantined), (before.units, before.quarantined), "the journal knows");
    assert_eq!(budgets(&bench, bad), (2, 2));
    // Asked again, it has as small a budget anew.
    bench.send(Event::Retry { sweep: one(), units: vec![bad] });
    assert_eq!(budgets(&bench, bad), (0, 2));
}

#[test]
fn halves_of_a_unit_that_failed_may_lose_as_many_workers_as_any() {
    let mut bench = Bench::new(one_unit());
    spend(&mut bench);
    bench.divide();
    let half = bench.grant("v").unwrap();
    assert_eq!(bench.machine.show(bench.now, &one(), &half.held.unit).unwrap().lost_budget, 8);
    for _ in 0..3 {
        bench.pass(secs(61), &[]);
        assert_eq!(bench.grant("v").unwrap().held.unit, half.held.unit);
    }
    assert!(bench.splits.is_empty());
}

#[test]
fn a_half_with_more_losses_than_it_may_have_now_is_given_up_before_and_after_a_restart() {
    let mut bench = Bench::new(one_unit());
    let whole = spend(&mut bench);
    bench.divide();
    let (half, other) = (bench.grant("v").unwrap(), bench.grant("u").unwrap());
    bench.commit(&other);
    for _ in 0..3 {
        bench.pass(secs(61), &[]);
        assert_eq!(bench.grant("v").unwrap().held.unit, half.held.unit);
    }
    // The commit that splits the whole is voided, and so it is tried as a whole again, this time by workers that end.
    bench.stand(whole.held.unit, commit::void(0));
    bench.divided.clear();
    bench.send(Event::Voided { unit: whole.held.unit, generation: 0 });
    bench.send(Event::Retry { sweep: one(), units: vec![whole.held.unit] });
    for _ in 0..8 {
        bench.pass(secs(61), &[]);
        assert_eq!(bench.grant("v").unwrap().held.unit, whole.held.unit);
    }
    bench.pass(secs(61), &[]);
    bench.divide();
    let show = |bench: &Bench| bench.machine.show(bench.now, &one(), &half.held.unit).unwrap();
    assert_eq!((show(&bench).losses, show(&bench).lost_budget), (4, 2));
    assert!(bench.divided.contains_key(&half.held.unit), "{:?}", show(&bench));
    let before = bench.units();
    bench.restart(one_unit());
    assert_eq!((show(&bench).losses, show(&bench).lost_budget, bench.units()), (4, 2, before));
}

#[test]
fn where_nothing_works_halving_ends_at_once() {
    let mut bench = Bench::new(one_unit());
    spend(&mut bench);
    bench.divide();
    spend(&mut bench);
    spend(&mut bench);
    let status = bench.status();
    assert_eq!((status.state, status.units.quarantined, status.attempts.failed), (SweepState::Complete, 3, 9));
    let halves = bench.machine.quarantined(&one());
    assert_eq!(halves.len(), 2);
    let whole = bench.machine.plan(&one()).unwrap().order[0];
    bench.send(Event::Retry { sweep: one(), units: vec![whole] });
    assert_eq!((bench.units().quarantined, bench.units().pending), (0, 3), "the whole means its halves");
}

#[test]
fn a_permanent_failure_and_a_single_thing_are_not_split() {
    let mut bench = Bench::new(one_unit());
    let granted = bench.grant("w").unwrap();
    bench.fail(&granted, true);
    assert_eq!((bench.units().quarantined, bench.splits.len()), (1, 0));
    let mut bench = Bench::new(small_plan(&["a"], "execution: {rows_per_unit: 1}\nprobes: []\nbaselines: []"));
    spend(&mut bench);
    assert_eq!((bench.units().quarantined, bench.splits.len()), (1, 0));
}

#[test]
fn fits_read_the_halves_of_an_extract_and_are_halved_themselves() {
    let mut bench = Bench::new(small_plan(&["a"], "baselines: []\noffsets: [0, 1]\ncontinuation: {}\nlayers: [0]"));
    spend(&mut bench);
    bench.divide();
    let (first, second) = (bench.grant("v").unwrap(), bench.grant("v").unwrap());
    bench.commit(&first);
    assert_eq!(bench.grant("v"), None, "the fit needs both");
    bench.commit(&second);
    let fit = bench.grant("v").unwrap();
    assert_eq!(bench.kind(&fit), UnitKind::Fit);
    bench.corrupt(&fit, second.held.unit, 0);
    bench.void();
    let again = bench.grant("v").unwrap();
    assert_eq!((again.held.unit, again.held.generation), (second.held.unit, 1));
    bench.commit(&again);
    let fit = bench.grant("v").unwrap();
    assert_eq!(bench.inputs, [(second.held.unit, 1)]);
    bench.release(&fit);
    spend(&mut bench);
    bench.divide();
    assert_eq!(all(&mut bench), ["fit a raw layer 0 (k0)", "fit a raw layer 0 (k1)"]);
    assert_eq!((bench.status().state, bench.status().cells.done), (SweepState::Complete, 2));
}

#[test]
fn a_result_that_stands_first_is_the_units_result() {
    let mut bench = Bench::new(one_unit());
    let whole = spend(&mut bench);
    bench.stand(whole.held.unit, 0);
    bench.divide();
    assert_eq!((bench.units().committed, bench.units().total), (1, 1));
}

#[test]
fn a_split_survives_a_restart_before_and_after_it_stands() {
    let mut bench = Bench::new(one_unit());
    let whole = spend(&mut bench);
    bench.restart(one_unit());
    assert_eq!(bench.splits.iter().map(|(unit, ..)| *unit).collect::<Vec<_>>(), [whole.held.unit], "asked of the store again");
    bench.divide();
    bench.now += secs(100);
    let half = bench.grant("v").unwrap();
    bench.commit(&half);
    bench.restart(one_unit());
    assert!(bench.splits.is_empty());
    assert_eq!((bench.units().total, bench.units().committed, bench.units().pending), (3, 1, 2));
    bench.now += secs(100);
    assert_eq!(all(&mut bench), ["extract a raw rows 10..20"]);
}

#[test]
fn a_sweep_that_is_opened_later_finds_the_unit_split() {
    let mut bench = Bench::new(one_unit());
    spend(&mut bench);
    bench.divide();
    bench.open("t", one_unit());
    let units = bench.machine.status(bench.now, &"t".into()).unwrap().units;
    assert_eq!((units.total, units.committed, units.pending), (3, 0, 3));
    assert_eq!(all(&mut bench).len(), 2);
    assert!(bench.machine.finished());
    let half = *bench.divided.keys().next().unwrap();
    bench.send(Event::Again { sweep: "t".into(), units: vec![half] });
    assert_eq!((bench.voids.len(), bench.units().committed), (2, 0), "asked again, the whole means its halves");
}
