//! Second attempts near the end of a sweep.

use super::*;

/// Ten extracts, nine of which took ten seconds each; `slow` has the tenth, and `quick` waits.
fn nine_of_ten() -> (Bench, Granted) {
    let mut bench = Bench::new(small_plan(&["a"], "execution: {rows_per_unit: 2}\nprobes: []\nbaselines: []"));
    for _ in 0..9 {
        let granted = bench.grant("quick").unwrap();
        bench.pass(secs(10), &[("quick", &[&granted])]);
        bench.commit(&granted);
    }
    let last = bench.grant("slow").unwrap();
    bench.ready("quick", &[]);
    (bench, last)
}

fn beat(bench: &mut Bench, time: u64, last: &Granted) {
    bench.pass(secs(time), &[("slow", &[last]), ("quick", &[])]);
}

#[test]
fn at_three_times_the_median_another_worker_tries_too_and_the_first_commit_wins() {
    let (mut bench, last) = nine_of_ten();
    assert!(bench.grants.is_empty());
    beat(&mut bench, 29, &last);
    assert!(bench.grants.is_empty());
    assert_eq!(bench.machine.poll_deadline(), Some(bench.now + secs(1)));
    beat(&mut bench, 1, &last);
    let second = bench.grants.pop_front().unwrap();
    assert_eq!((second.worker.0.as_str(), second.held.unit), ("quick", last.held.unit));
    assert_ne!(second.held.attempt, last.held.attempt);
    assert_eq!((bench.units().running, bench.status().attempts.started), (1, 11));
    bench.register("third");
    bench.ready("third", &[]);
    beat(&mut bench, 40, &last);
    assert!(bench.grants.is_empty(), "two are enough");
    bench.commit(&second);
    assert_eq!(bench.cancelled, std::slice::from_ref(&last.held.attempt));
    assert_eq!((bench.units().committed, bench.units().running), (10, 0));
    let attempts = bench.status().attempts;
    assert_eq!((attempts.committed, attempts.released), (10, 1));
    bench.commit(&last);
    assert_eq!(bench.status().attempts, attempts, "it comes too late");
}

#[test]
fn the_first_attempt_may_win_and_either_may_fail() {
    let (mut bench, last) = nine_of_ten();
    beat(&mut bench, 30, &last);
    let second = bench.grants.pop_front().unwrap();
    bench.fail(&second, false);
    assert_eq!((bench.units().running, bench.status().attempts.failed), (1, 1), "the first goes on");
    bench.commit(&last);
    assert_eq!(bench.units().committed, 10);
    assert!(bench.machine.finished());
}

#[test]
fn only_who_takes_such_units_makes_second_attempts() {
    let (mut bench, last) = nine_of_ten();
    bench.register_taking("quick", Takes::Fits);
    beat(&mut bench, 60, &last);
    assert!(bench.grants.is_empty());
    bench.register_taking("quick", Takes::Passes);
    assert_eq!(bench.grants.pop_front().unwrap().held.unit, last.held.unit);
}

#[test]
fn the_worker_that_straggles_or_failed_the_unit_gets_no_second_attempt() {
    let (mut bench, last) = nine_of_ten();
    bench.send(Event::Unready { worker: "quick".into() });
    bench.ready("slow", &[]);
    beat(&mut bench, 60, &last);
    assert!(bench.grants.is_empty());
    bench.ready("quick", &[]);
    let second = bench.grants.pop_front().unwrap();
    bench.fail(&second, false);
    bench.ready("quick", &[]);
    beat(&mut bench, 20, &last);
    assert!(bench.grants.is_empty(), "it failed at it");
}

#[test]
fn in_the_middle_of_a_sweep_and_while_it_is_paused_nothing_is_tried_twice() {
    let mut bench = Bench::new(small_plan(&["a"], "execution: {rows_per_unit: 2}\nprobes: []\nbaselines: []"));
    for _ in 0..8 {
        let granted = bench.grant("quick").unwrap();
        bench.commit(&granted);
    }
    let slow = [bench.grant("slow").unwrap(), bench.grant("slow").unwrap()];
    bench.ready("quick", &[]);
    bench.pass(secs(100), &[("slow", &[&slow[0], &slow[1]]), ("quick", &[])]);
    assert!(bench.grants.is_empty(), "80 % are done");
    bench.send(Event::Pause { sweep: one(), by: "ana@login1".into() });
    bench.commit(&slow[0]);
    assert!(bench.grants.is_empty());
    bench.send(Event::Resume { sweep: one() });
    assert_eq!(bench.grants.len(), 1);
}
