//! The whole machine under fifty seeds of crashes, partitions, takeovers and store faults; see `limbic_tests::simulation`.

use std::collections::BTreeSet;
use std::path::Path;

use limbic_tests::simulation::{Outcome, many, table};

const SEEDS: u64 = 50;
/// So many of them are run once more.
const AGAIN: u64 = 5;

#[test]
fn nothing_is_lost_whatever_the_seed_and_a_seed_gives_the_same_run_again() {
    let program = Path::new(env!("CARGO_BIN_EXE_simulate"));
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcomes = many(program, 0..SEEDS, at_once).unwrap();
    println!("{}", table(&outcomes));
    for (seed, outcome) in &outcomes {
        let again = format!("see what happened: cargo run --release -p limbic-tests --bin simulate -- --seed {seed} --log FILE");
        let outcome = outcome.as_ref().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{again}"));
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}\n{again}", outcome.violations);
    }
    let released = |outcome: &Outcome| outcome.counts.get("activations released").is_some_and(|count| *count > 0);
    assert!(outcomes.values().flatten().any(released), "no seed comes to a release");
    let results: BTreeSet<_> = outcomes.values().filter_map(|outcome| outcome.as_ref().ok()?.results.as_ref()).collect();
    assert_eq!(results.len(), 1, "whatever happened, the artifacts are the same");
    let again = many(program, 0..AGAIN, at_once).unwrap();
    for (seed, outcome) in again {
        assert_eq!(outcome.as_ref().unwrap(), outcomes[&seed].as_ref().unwrap(), "seed {seed} gives another run");
    }
}
