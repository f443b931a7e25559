//! How planning, granting and replaying grow with the number of units: `cargo bench -p limbic-core`.
//!
//! A million units, with journal and store, are measured by `cargo run --release -p limbic-tests --bin scale`.

use std::collections::BTreeMap;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use limbic_core::history::History;
use limbic_core::machine::{Action, Event, Machine, Opening, Settings, SweepId, WorkerId};
use limbic_core::plan::{self, Plan};
use limbic_proto::journal::Record;
use limbic_proto::takes::Takes;

#[expect(dead_code, reason = "the crate's own tests use all of it")]
#[path = "../src/testkit.rs"]
mod testkit;

fn main() {
    divan::main();
}

const SWEEP: &str = "bench";
/// Rows of the dataset; every unit has one.
const ROWS: usize = 500;
const WORKERS: usize = 64;

fn spec(units: usize) -> limbic_proto::spec::Spec {
    let condition = |i: usize| format!("{{name: c{i}, template: 'Case {i}. {{text}}'}}");
    let conditions: Vec<String> = (0..units.div_ceil(ROWS)).map(condition).collect();
    let fields = format!("conditions: [{}]\nprobes: []\nbaselines: []\nexecution: {{rows_per_unit: 1}}", conditions.join(", "));
    testkit::spec(&["a"], &fields)
}

/// As many units as are asked for, of which none waits for another.
fn planned(units: usize) -> Plan {
    plan::plan(&spec(units), &testkit::rows(ROWS, &["joy", "anger"]), &[testkit::facts("a", 2)]).expect("the spec is sound")
}

#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 3)]
fn planning(bencher: Bencher<'_, '_>, units: usize) {
    let (spec, rows, models) = (spec(units), testkit::rows(ROWS, &["joy", "anger"]), [testkit::facts("a", 2)]);
    bencher.counter(ItemsCount::new(units)).bench_local(|| plan::plan(black_box(&spec), &rows, &models).expect("the spec is sound"));
}

/// A layer's fits wait for all its states, and its transfers for all its fits.
#[divan::bench(args = [8, 16, 32], sample_count = 5)]
fn planning_with_fits(bencher: Bencher<'_, '_>, layers: usize) {
    let spec = testkit::spec(
        &["a", "b"],
        "conditions: [{name: raw}, {name: said, template: 'She said: {text}'}]\noffsets: [0, 1, 2]\ncontinuation: {tokens: 2}\nexecution: {rows_per_unit: 4}",
    );
    let (rows, models) = (testkit::rows(ROWS, &["joy", "anger"]), ["a", "b"].map(|name| testkit::facts(name, layers)));
    bencher.bench_local(|| plan::plan(black_box(&spec), &rows, &models).expect("the spec is sound"));
}

fn opened(plan: Plan) -> Machine {
    let mut machine = Machine::new(Settings { adoption_window: Duration::ZERO, ..Settings::default() });
    let (committed, history) = (BTreeMap::new(), History::default());
    machine.open_sweep(Duration::ZERO, Opening { id: SWEEP.into(), name: SWEEP.into(), plan, epoch: 1, committed, history });
    machine
}

/// Everything is granted and committed, by workers that take no time.
fn carried_out(mut machine: Machine) -> usize {
    let now = Duration::ZERO;
    for worker in (0..WORKERS).map(|i| WorkerId(format!("w{i}"))) {
        machine
            .handle(now, Event::Register { worker: worker.clone(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() });
        machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
    }
    let mut grants = 0;
    while let Some(action) = machine.poll_action() {
        let Action::Grant { worker, unit, attempt, .. } = action else { continue };
        grants += 1;
        let (sweep, generation, mine, tokens) = (SweepId::from(SWEEP), 0, true, 0);
        machine.handle(now, Event::Committed { worker: worker.clone(), sweep, unit, attempt, generation, mine, tokens });
        machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
    }
    assert!(machine.finished(), "every unit was granted");
    grants
}

#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 3)]
fn granting(bencher: Bencher<'_, '_>, units: usize) {
    bencher.counter(ItemsCount::new(units)).with_inputs(|| opened(planned(units))).bench_local_values(carried_out);
}

/// One record in three is a failure, one a loss, one a quarantine.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 5)]
fn replaying(bencher: Bencher<'_, '_>, records: usize) {
    let units: Vec<_> = planned(records.min(10_000)).units.into_keys().collect();
    let record = |i: usize| {
        let (unit, attempt, worker) = (units[i % units.len()], format!("a{i}"), format!("w{}", i % WORKERS));
        match i % 3 {
            0 => Record::Fail { unit, attempt, worker, error: "asked to fail".into() },
            1 => Record::Lost { unit, attempt, worker },
            _ => Record::Quarantine { unit, error: "failed for good".into() },
        }
    };
    let journal: Vec<Record> = (0..records).map(record).collect();
    bencher.counter(ItemsCount::new(records)).bench_local(|| History::replay(black_box(&journal)));
}
