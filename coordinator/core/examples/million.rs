//! A million units through planning, replay and the machine: `cargo run --release -p limbic-core --example million`.
//!
//! Prints the seconds that planning and taking up took, grants a second, and the memory that it all needed. The workers are
//! no-ops: each commits what it is granted at once, and sends a heartbeat now and then. An argument says how many units.

use std::path::Path;
use std::time::{Duration, Instant};

use limbic_core::history::History;
use limbic_core::machine::{Action, Event, Held, Machine, Opening, Progress, Settings, SweepId, WorkerId};
use limbic_core::plan::{ModelFacts, plan};
use limbic_proto::architecture::{Architecture, Family};
use limbic_proto::commit;
use limbic_proto::journal::Record;
use limbic_proto::key::Digest;
use limbic_proto::rows::{Row, Rows, Split};
use limbic_proto::spec::{Dtype, Spec};

const MODELS: usize = 20;
const CONDITIONS: usize = 25;
const WORKERS: usize = 64;

fn main() {
    let units: usize = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a number of units"));
    let rows = rows(units / (MODELS * CONDITIONS));
    let (spec, models) = (spec(), (0..MODELS).map(facts).collect::<Vec<_>>());

    let started = Instant::now();
    let plan = plan(&spec, &rows, &models).expect("the spec can be planned");
    let (plan_seconds, computing) = (started.elapsed().as_secs_f64(), computing());
    println!("plan     {plan_seconds:.1} s ({computing:.1} s of computing) for {} units, {} cells", plan.units.len(), plan.cells.len());

    // A tenth is done already, and a hundredth had trouble.
    let started = Instant::now();
    let committed = plan.order.iter().step_by(10).map(|key| (*key, commit::result(0))).collect();
    let lost = |(n, unit): (usize, &Digest)| Record::Lost { unit: *unit, attempt: format!("s-e1-{n}"), worker: "w".into() };
    let epoch = |epoch| Record::Epoch { epoch, holder: "h".into(), software: "0".into() };
    let mut records = vec![epoch(1)];
    records.extend(plan.order.iter().skip(1).step_by(100).enumerate().map(lost));
    records.push(epoch(2));
    let mut machine = Machine::new(Settings { adoption_window: Duration::ZERO, ..Settings::default() });
    let (id, history) = (SweepId::from("s"), History::replay(&records));
    machine.open_sweep(Duration::ZERO, Opening { id: id.clone(), name: "million".into(), plan, epoch: 2, committed, history });
    let recover_seconds = started.elapsed().as_secs_f64();
    println!("recover  {recover_seconds:.1} s for {} journal records; memory {} so far", records.len(), peak());

    for workers in [8, WORKERS] {
        let granted = grants(&mut machine, workers, units / 5);
        println!("grants   {granted:.0} a second with {workers} workers");
    }
    let started = Instant::now();
    let status = machine.status(Duration::from_secs(3600), &id).expect("it is open");
    println!("status   {:.2} ms: {} of {} committed", started.elapsed().as_secs_f64() * 1e3, status.units.committed, status.units.total);
    println!("memory   {} at most", peak());
}

/// Grants a second, for workers that commit at once and ask again.
fn grants(machine: &mut Machine, workers: usize, wanted: usize) -> f64 {
    let names: Vec<WorkerId> = (0..workers).map(|n| WorkerId(format!("worker-{workers}-{n}"))).collect();
    let started = Instant::now();
    let now = |granted: usize| Duration::from_millis(granted as u64 / 2);
    for worker in &names {
        machine.handle(now(0), Event::Register { worker: worker.clone(), device: "cpu".into(), memory: 0, held: Vec::new() });
        machine.handle(now(0), Event::Ready { worker: worker.clone(), loaded: Vec::new() });
    }
    let (mut granted, mut held) = (0, Vec::new());
    while granted < wanted {
        while let Some(action) = machine.poll_action() {
            if let Action::Grant { worker, sweep, unit, attempt, token, generation, .. } = action {
                held.push((worker, Held { sweep, unit, attempt, token, generation }));
                granted += 1;
            }
        }
        assert!(!held.is_empty(), "all is granted");
        if granted % 1000 < workers {
            for (worker, held) in &held {
                let held = vec![Progress { held: held.clone(), share: 0.5, tokens: 1 }];
                machine.handle(now(granted), Event::Heartbeat { worker: worker.clone(), held, draining: false });
            }
        }
        for (worker, held) in std::mem::take(&mut held) {
            let loaded = machine.unit(&held.sweep, &held.unit).and_then(|unit| unit.spec.model()).map(|model| model.digest);
            let Held { sweep, unit, attempt, generation, .. } = held;
            let committed =
                Event::Committed { worker: worker.clone(), sweep, unit, attempt, generation, mine: true, tokens: 1, seconds: 0.1 };
            machine.handle(now(granted), committed);
            machine.handle(now(granted), Event::Ready { worker, loaded: loaded.into_iter().collect() });
        }
    }
    // What is still held is given back.
    for worker in &names {
        machine.handle(now(granted), Event::Unready { worker: worker.clone() });
    }
    while let Some(action) = machine.poll_action() {
        if let Action::Grant { worker, sweep, unit, attempt, .. } = action {
            machine.handle(now(granted), Event::Released { worker, sweep, unit, attempt });
        }
    }
    granted as f64 / started.elapsed().as_secs_f64()
}

fn spec() -> Spec {
    let models: Vec<String> = (0..MODELS).map(|n| format!("{{source: /models/m{n}}}")).collect();
    let conditions: Vec<String> = (0..CONDITIONS).map(|n| format!("{{name: c{n}, template: 'condition {n}: {{text}}'}}")).collect();
    let text = format!(
        "dataset: {{source: rows.jsonl}}\nmodels: [{}]\nconditions: [{}]\nlayers: {{depth: [0.5, 1]}}\noffsets: [0, 1, 4]\n\
         continuation: {{}}\nbaselines: []\nexecution: {{rows_per_unit: 1}}\n",
        models.join(", "),
        conditions.join(", ")
    );
    Spec::from_yaml(&text, Path::new("/specs/million.yaml")).expect("a spec")
}

fn facts(n: usize) -> ModelFacts {
    let architecture = Architecture {
        family: Family::Llama,
        layers: 16,
        hidden: 64,
        intermediate: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        vocab: 256,
        context: 512,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        sliding_window: None,
        sliding_layers: Vec::new(),
        tie_embeddings: true,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        eos: vec![0],
    };
    let (name, source) = (format!("m{n}"), format!("/models/m{n}"));
    ModelFacts { digest: Digest::of(name.as_bytes()), name, source, dtype: Dtype::F32, architecture, chat_template: false }
}

fn rows(count: usize) -> Rows {
    let row = |i: usize| Row {
        id: format!("r{i}"),
        text: format!("utterance number {i}"),
        class: ((i / 5) % 2) as u32,
        group: format!("g{i}"),
        split: [Split::Train, Split::Train, Split::Train, Split::Validation, Split::Test][i % 5],
        weight: 1,
    };
    Rows { classes: vec!["joy".into(), "anger".into()], rows: (0..count).map(row).collect() }
}

/// Seconds of computing that this process has used, which other processes don't lengthen.
fn computing() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// The most memory this process has had, as Linux says.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
