//! The whole machine under fifty seeds of crashes, partitions, takeovers and store faults; see `limbic_tests::simulation`.

use std::collections::BTreeSet;

use limbic_tests::simulation::{Study, table};

const SEEDS: u64 = 50;

#[test]
fn nothing_is_lost_whatever_the_seed_and_a_seed_gives_the_same_run_again() {
    let study = Study::new().unwrap();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcomes = study.many(0..SEEDS, threads);
    println!("{}", table(&outcomes));
    for (seed, outcome) in &outcomes {
        let again = format!("see what happened: cargo run --release -p limbic-tests --bin simulate -- --seed {seed} --log FILE");
        let outcome = outcome.as_ref().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{again}"));
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}\n{again}", outcome.violations);
    }
    let results: BTreeSet<_> = outcomes.values().filter_map(|outcome| outcome.as_ref().ok()?.results.as_ref()).collect();
    assert_eq!(results.len(), 1, "whatever happened, the artifacts are the same");
    for seed in (0..SEEDS).step_by(7) {
        let (again, _) = study.simulate(seed, false);
        assert_eq!(again.as_ref().unwrap(), outcomes[&seed].as_ref().unwrap(), "seed {seed} gives another run");
    }
}
