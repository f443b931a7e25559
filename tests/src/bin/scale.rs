//! A million units that compute nothing, through the machine, the journal and a local folder:
//! `cargo run --release -p limbic-tests --bin scale`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use limbic::journal::{Journal, read};
use limbic::sweep;
use limbic_core::machine::{Action, Event, Machine, Opening, Settings, SweepId, WorkerId};
use limbic_core::plan::{ModelFacts, Plan, plan};
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::Spec;
use limbic_proto::takes::Takes;
use limbic_store::Store;
use limbic_tests::Sandbox;
use limbic_tests::forecast::peak_memory;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans, runs and recovers a sweep of very many units, and measures it.
#[derive(Debug, Parser)]
struct Args {
    /// So many units.
    #[arg(long, default_value_t = 1_000_000)]
    units: usize,
    /// So many workers.
    #[arg(long, default_value_t = 256)]
    workers: usize,
    /// The store's folder; by default a new one, removed at the end.
    #[arg(long)]
    store: Option<PathBuf>,
}

/// Bytes in a GiB.
const GIB: f64 = (1 << 30) as f64;
const SWEEP: &str = "scale";
/// Rows of the dataset: one extract unit each under every condition.
const ROWS: usize = 1000;
/// One attempt in so many fails, so that the journal has something to say.
const FAILS: u64 = 100;

fn spec(conditions: usize, shipped: &Path) -> anyhow::Result<Spec> {
    let conditions: Vec<String> = (0..conditions).map(|i| format!("{{name: c{i}, template: 'Case {i}. {{text}}'}}")).collect();
    let text = format!(
        "name: scale\ndataset: {{source: {}}}\nmodels: [{{source: {}}}]\nconditions: [{}]\noffsets: [0]\nprobes: []\nbaselines: []\n\
         execution: {{rows_per_unit: 1}}\n",
        shipped.join("corpus.jsonl").display(),
        shipped.join("models/tiny-0.3m").display(),
        conditions.join(", ")
    );
    Ok(Spec::from_yaml(&text, Path::new("scale.yaml"))?)
}

fn rows() -> Rows {
    let row = |i: usize| Row {
        id: format!("r{i}"),
        text: format!("utterance number {i}"),
        class: (i % 2) as u32,
        group: format!("g{i}"),
        split: Split::ALL[i % 3],
        weight: 1,
        values: Vec::new(),
    };
    Rows { scheme: Scheme::Single, classes: vec!["joy".into(), "anger".into()], rows: (0..ROWS).map(row).collect() }
}

/// Uploads an artifact and commits, as a worker does.
async fn publish(store: Store, unit: UnitKey, attempt: String) -> anyhow::Result<()> {
    let artifact = store.put_artifact(&unit, &attempt, "nothing", Bytes::from_static(b"nothing")).await?;
    let provenance = Provenance {
        worker: "w".into(),
        software: "limbic".into(),
        device: "cpu".into(),
        seconds: 0.0,
        tokens: 0,
        counts: BTreeMap::new(),
    };
    let nonce = limbic_store::create::nonce();
    let commit = Commit::Done(Done { nonce: nonce.clone(), attempt, artifacts: vec![artifact], provenance });
    store.create(&layout::commit(&unit, 0), &nonce, serde_json::to_vec(&commit)?.into()).await?;
    Ok(())
}

async fn open(store: &Store, plan: Plan) -> anyhow::Result<(Machine, Journal)> {
    let journal = Journal::lead(store, SWEEP, "scale").await?;
    let mut machine = Machine::new(Settings { adoption_window: Duration::ZERO, ..Settings::default() });
    let (epoch, history) = (journal.epoch(), journal.history().clone());
    let committed = store.committed().await?;
    machine.open_sweep(Duration::ZERO, Opening { id: SWEEP.into(), name: SWEEP.into(), plan, epoch, committed, history });
    Ok((machine, journal))
}

/// What a run took.
#[derive(Default)]
struct Run {
    grants: u64,
    /// Seconds in the machine.
    machine: f64,
}

/// Leases and commits everything.
async fn work(store: &Store, machine: &mut Machine, journal: &mut Journal, workers: usize) -> anyhow::Result<Run> {
    let mut run = Run::default();
    let mut publishing: JoinSet<anyhow::Result<(WorkerId, UnitKey, String)>> = JoinSet::new();
    let mut now = Duration::ZERO;
    for worker in (0..workers).map(|i| WorkerId(format!("w{i}"))) {
        machine
            .handle(now, Event::Register { worker: worker.clone(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() });
        machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
    }
    loop {
        let began = Instant::now();
        let mut records = Vec::new();
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Append { record, .. } => records.push(record),
                Action::Grant { worker, unit, attempt, .. } => {
                    run.grants += 1;
                    if run.grants % FAILS == 0 {
                        let error = "asked to fail".to_owned();
                        machine.handle(now, Event::Failed { worker: worker.clone(), unit, attempt, error, permanent: false });
                        machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
                        continue;
                    }
                    let store = store.clone();
                    publishing.spawn(async move {
                        publish(store, unit, attempt.clone()).await?;
                        Ok((worker, unit, attempt))
                    });
                }
                Action::Void { .. }
                | Action::Split { .. }
                | Action::Release { .. }
                | Action::CancelAttempt { .. }
                | Action::Silent { .. }
                | Action::Changed { .. } => {}
            }
        }
        run.machine += began.elapsed().as_secs_f64();
        if !records.is_empty() {
            journal.append(&journal.entry(records)).await?;
        }
        let Some(done) = publishing.join_next().await else {
            if machine.finished() {
                return Ok(run);
            }
            // Only backoffs are left.
            now = machine.poll_deadline().unwrap_or(now) + Duration::from_millis(1);
            for worker in (0..workers).map(|i| WorkerId(format!("w{i}"))) {
                machine.handle(
                    now,
                    Event::Register { worker: worker.clone(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() },
                );
                machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
            }
            continue;
        };
        let mut all = vec![done];
        while let Some(done) = publishing.try_join_next() {
            all.push(done);
        }
        let began = Instant::now();
        for done in all {
            let (worker, unit, attempt) = done??;
            let (sweep, generation, mine, tokens) = (SweepId::from(SWEEP), 0, true, 0);
            machine.handle(now, Event::Committed { worker: worker.clone(), sweep, unit, attempt, generation, mine, tokens });
            machine.handle(now, Event::Ready { worker, loaded: Vec::new() });
        }
        run.machine += began.elapsed().as_secs_f64();
    }
}

/// Objects in a folder that is a store.
fn objects(folder: &Path) -> std::io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { objects(&entry.path())? } else { 1 };
    }
    Ok(count)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let own = tempfile::tempdir()?;
    let folder = args.store.clone().unwrap_or_else(|| own.path().join("store"));
    let store = Store::open(&folder.to_string_lossy())?;
    let shipped = Sandbox::repository().join("configs/quickstart");
    let models: Vec<ModelFacts> = sweep::prepare(spec(1, &shipped)?).await?.accepted.models;
    let (spec, rows) = (spec(args.units.div_ceil(ROWS), &shipped)?, rows());

    let began = Instant::now();
    let planned = plan(&spec, &rows, &models)?;
    let plan_seconds = began.elapsed().as_secs_f64();
    let units = planned.units.len();
    println!("{units} units planned in {plan_seconds:.1} s, peak memory {:.2} GiB", peak_memory() / GIB);

    let (mut machine, mut journal) = open(&store, planned).await?;
    let (before, began) = (objects(&folder)?, Instant::now());
    let run = work(&store, &mut machine, &mut journal, args.workers).await?;
    let seconds = began.elapsed().as_secs_f64();
    let entries = read(&store, SWEEP).await?.next;
    // Nothing is written twice, so every object stands for one PUT.
    let written = objects(&folder)? - before;
    println!(
        "{} grants in {seconds:.1} s: {:.0}/s with the store, {:.0}/s in the machine alone; {:.3} PUTs a unit ({entries} journal entries)",
        run.grants,
        run.grants as f64 / seconds,
        run.grants as f64 / run.machine,
        written as f64 / units as f64,
    );
    drop((machine, journal));

    let began = Instant::now();
    let (machine, _) = open(&store, plan(&spec, &rows, &models)?).await?;
    println!("recovered (plan, journal, commits) in {:.1} s, peak memory {:.2} GiB", began.elapsed().as_secs_f64(), peak_memory() / GIB);
    anyhow::ensure!(machine.finished(), "everything was committed");
    Ok(())
}
