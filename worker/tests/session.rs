//! The session against a fake coordinator over a real socket: what is committed, reported, given back, and when.

#[path = "session/coordinator.rs"]
mod coordinator;
#[path = "session/logs.rs"]
mod logs;
#[path = "session/refusing.rs"]
mod refusing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator::{FakeCoordinator, State};
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::Digest;
use limbic_proto::layout;
use limbic_proto::unit::{FITS, Features, FitUnit, Hints, Unit, UnitSpec};
use limbic_proto::wire::{PROTOCOL, report_request::Outcome};
use limbic_store::Store;
use limbic_worker::fake::FakeExecutor;
use limbic_worker::{Components, ExecuteError, ExitKind, Settings, Timing, WorkerError, run};
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use refusing::{Refusals, refusing};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn unit(seed: u64) -> Unit {
    let spec = UnitSpec::Fit(FitUnit {
        version: 1,
        features: Features::Majority,
        targets: Digest::of(b"targets"),
        read_outs: Vec::new(),
        probes: Vec::new(),
        seeds: vec![seed],
        controls: Vec::new(),
        transfer: false,
        geometry: false,
    });
    let hints =
        Hints { model: None, dataset: Digest::of(b"rows"), rows: (0, 1), token_budget: 1, flops: 1.0, title: format!("fit {seed}") };
    Unit { spec, hints }
}

fn queue(seeds: impl IntoIterator<Item = u64>) -> VecDeque<(Unit, String)> {
    seeds.into_iter().map(|seed| (unit(seed), format!("a{seed}"))).collect()
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_string_lossy()).unwrap();
        World { _folder: folder, store }
    }

    fn state(&self, seeds: impl IntoIterator<Item = u64>) -> State {
        let queue = queue(seeds);
        State { session: 1, store: self.store.url().to_owned(), finished_after: queue.len(), queue, ..State::default() }
    }

    async fn done(&self, unit: &Unit) -> Option<Done> {
        match self.store.commit(&unit.spec.key(), 0).await.unwrap()? {
            Commit::Done(done) => Some(done),
            other => panic!("{other:?}"),
        }
    }
}

fn settings(coordinator: &FakeCoordinator) -> Settings {
    let timing = Timing {
        patience: Duration::from_secs(20),
        poll: Duration::from_millis(100),
        answer: Duration::from_secs(2),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        drain: Duration::from_secs(5),
    };
    Settings { exit_when_finished: true, timing, ..Settings::new(&coordinator.url()) }
}

type Ended = Result<ExitKind, WorkerError>;

fn start(settings: Settings, executor: FakeExecutor) -> (JoinHandle<Ended>, oneshot::Sender<()>) {
    start_on(None, settings, executor)
}

fn start_on(store: Option<Store>, settings: Settings, executor: FakeExecutor) -> (JoinHandle<Ended>, oneshot::Sender<()>) {
    // Attempts leave logs, as they do in production; only the first test that comes here has to say so.
    let _ = tracing_subscriber::registry().with(limbic_worker::attempt_logs()).try_init();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let components = Components { executor: Box::new(executor), fits: None, store, simulated: None };
    (tokio::spawn(run(settings, components, Box::pin(shutdown))), stop)
}

fn committed(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Committed(c) => Some(c.mine),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_are_executed_committed_and_reported() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2, 3]));
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::new(Duration::from_millis(30)));
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    for seed in [1, 2, 3] {
        let done = world.done(&unit(seed)).await.unwrap();
        assert_eq!((done.attempt.as_str(), done.artifacts.len()), (format!("a{seed}").as_str(), 3));
        assert_eq!(world.store.artifact(&unit(seed).spec.key(), &done, FITS).await.unwrap(), FakeExecutor::artifact(&unit(seed), FITS));
        assert!(done.provenance.seconds > 0.0 && done.provenance.device == "cpu");
    }
    let outcomes = coordinator.outcomes();
    assert_eq!(
        outcomes.iter().map(|(a, o)| (a.as_str(), committed(o))).collect::<Vec<_>>(),
        [("a1", Some(true)), ("a2", Some(true)), ("a3", Some(true))]
    );
    let state = coordinator.state();
    assert_eq!((state.registered.len(), state.registered[0].protocol), (1, PROTOCOL));
    assert!(state.heartbeats.iter().any(|h| h.held.iter().any(|held| held.token.is_some())));
    assert!(state.heartbeats.last().is_some_and(|h| h.draining && h.held.is_empty()), "its last word is that it leaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_the_first_sweep_and_leaves_after_the_last() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(State { finished_after: 0, idle: true, ..world.state([]) });
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::default());
    coordinator.until("it has asked again and again", |state| state.leases.len() >= 3).await;
    assert!(!worker.is_finished(), "whoever started it is about to submit a sweep");
    coordinator.state().queue = queue([1]);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert!(world.done(&unit(1)).await.is_some());

    let coordinator = FakeCoordinator::start(State { finished_after: 0, idle: true, ..world.state([]) });
    let patient = settings(&coordinator);
    let timing = Timing { patience: Duration::from_millis(300), ..patient.timing };
    let (worker, _stop) = start(Settings { timing, ..patient }, FakeExecutor::default());
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished, "nothing came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_is_told_what_is_held() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let executor = FakeExecutor::new(Duration::from_millis(1500));
    let executed = executor.executed();
    let (worker, _stop) = start(settings(&coordinator), executor);
    coordinator.until("the lease", |s| s.queue.is_empty()).await;
    let coordinator = coordinator.restart(State { session: 2, finished_after: 1, ..world.state([]) });
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert_eq!(executed.load(Ordering::SeqCst), 1);
    assert_eq!(coordinator.state().registered[0].held[0].attempt, "a1");
    assert_eq!(coordinator.state().reports[0].session, 2);
    assert_eq!(committed(&coordinator.outcomes()[0].1), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_coordinator_the_unit_is_committed_and_only_then_given_up() {
    let world = World::new();
    let mut coordinator = FakeCoordinator::start(world.state([1]));
    let mut settings = settings(&coordinator);
    settings.timing.patience = Duration::from_millis(300);
    let (worker, _stop) = start(settings, FakeExecutor::new(Duration::from_millis(800)));
    coordinator.until("the lease", |s| s.queue.is_empty()).await;
    coordinator.kill();
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");
    assert!(error.to_string().contains("can't be reached"), "{error}");
    assert_eq!(world.done(&unit(1)).await.unwrap().attempt, "a1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_attempt_stops_and_is_not_committed() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::new(Duration::from_secs(60)));
    coordinator.until("progress", |s| s.heartbeats.iter().any(|h| h.held.iter().any(|held| held.progress > 0.0))).await;
    coordinator.state().cancel = vec!["a1".to_owned()];
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert!(matches!(coordinator.outcomes()[0].1, Outcome::Released(_)));
    assert!(world.done(&unit(1)).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_unit_is_not_executed_again() {
    let world = World::new();
    let provenance =
        Provenance { worker: "w".into(), software: "s".into(), device: "cpu".into(), seconds: 1.0, tokens: 0, counts: Default::default() };
    let body = Commit::Done(Done { nonce: "other".into(), attempt: "old".into(), artifacts: Vec::new(), provenance });
    let path = layout::commit(&unit(1).spec.key(), 0);
    world.store.create(&path, "other", Bytes::from(serde_json::to_vec(&body).unwrap())).await.unwrap();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let executor = FakeExecutor::default();
    let executed = executor.executed();
    let (worker, _stop) = start(settings(&coordinator), executor);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert_eq!((executed.load(Ordering::SeqCst), committed(&coordinator.outcomes()[0].1)), (0, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_unit_is_not_executed_again_because_the_store_was_away() {
    let world = World::new();
    let first = FakeCoordinator::start(world.state([1]));
    let (worker, _stop) = start(settings(&first), FakeExecutor::default());
    worker.await.unwrap().unwrap();
    let (folder, aside) = (world.store.url().to_owned(), format!("{}.aside", world.store.url()));
    let coordinator = FakeCoordinator::start(world.state([1]));
    let components = FakeExecutor::default();
    let executed = components.executed();
    let mut settings = settings(&coordinator);
    settings.timing.poll = Duration::from_secs(1);
    // The worker opens the store before it is away: it registers first.
    coordinator.state().queue.clear();
    let (worker, _stop) = start(settings, components);
    coordinator.until("a lease request", |s| !s.leases.is_empty()).await;
    std::fs::rename(&folder, &aside).unwrap();
    coordinator.state().queue.extend(queue([1]));
    coordinator.until("the grant", |s| s.queue.is_empty() && s.heartbeats.iter().any(|h| !h.held.is_empty())).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(executed.load(Ordering::SeqCst), 0, "nobody knows yet whether there is anything to compute");
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert_eq!((executed.load(Ordering::SeqCst), committed(&coordinator.outcomes()[0].1)), (0, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_commit_and_report_loses_nothing() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(State { swallow_reports: true, ..world.state([1]) });
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::default());
    while world.done(&unit(1)).await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.abort();
    let again = VecDeque::from([(unit(1), "second".to_owned())]);
    let coordinator = coordinator.restart(State { session: 2, queue: again, ..world.state([1]) });
    let executor = FakeExecutor::default();
    let executed = executor.executed();
    let (worker, _stop) = start(settings(&coordinator), executor);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert_eq!((executed.load(Ordering::SeqCst), committed(&coordinator.outcomes()[0].1)), (0, Some(false)));
    assert_eq!(world.done(&unit(1)).await.unwrap().attempt, "a1");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_with_one_unit_exactly_one_commits() {
    let world = World::new();
    let queue = VecDeque::from([(unit(1), "first".to_owned()), (unit(1), "second".to_owned())]);
    let coordinator = FakeCoordinator::start(State { queue, finished_after: 2, ..world.state([]) });
    let executor = || FakeExecutor::new(Duration::from_millis(300));
    let (one, _stop_one) = start(Settings { id: "one".into(), ..settings(&coordinator) }, executor());
    let (two, _stop_two) = start(Settings { id: "two".into(), ..settings(&coordinator) }, executor());
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
    let mine: Vec<bool> = coordinator.outcomes().iter().filter_map(|(_, o)| committed(o)).collect();
    assert_eq!((mine.len(), mine.iter().filter(|m| **m).count()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_release_is_refused_with_a_clear_message() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(State { refuse: Some("this coordinator speaks protocol 7".into()), ..world.state([]) });
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::default());
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("protocol 7") && error.to_string().contains(&format!("protocol {PROTOCOL}")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_finishes_what_it_can() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2]));
    let (worker, stop) = start(settings(&coordinator), FakeExecutor::new(Duration::from_millis(500)));
    coordinator.until("progress", |s| s.heartbeats.iter().any(|h| h.held.iter().any(|held| held.progress > 0.0))).await;
    stop.send(()).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
    assert_eq!(coordinator.outcomes().iter().map(|(a, o)| (a.as_str(), committed(o))).collect::<Vec<_>>(), [("a1", Some(true))]);
    assert!(coordinator.state().heartbeats.iter().any(|h| h.draining));
    assert_eq!(coordinator.state().queue.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_gives_back_what_takes_too_long() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let mut settings = settings(&coordinator);
    settings.timing.drain = Duration::from_millis(200);
    let (worker, stop) = start(settings, FakeExecutor::new(Duration::from_secs(60)));
    coordinator.until("progress", |s| s.heartbeats.iter().any(|h| h.held.iter().any(|held| held.progress > 0.0))).await;
    let began = Instant::now();
    stop.send(()).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(coordinator.outcomes()[0].1, Outcome::Released(_)));
}

/// Whether some unit has begun to run.
fn progress(state: &State) -> bool {
    state.heartbeats.iter().any(|h| h.held.iter().any(|held| held.progress > 0.0))
}

/// An executor that computes for a minute and doesn't look whether it should stop.
fn stubborn() -> FakeExecutor {
    FakeExecutor::default().with_fault(|_, _| {
        std::thread::sleep(Duration::from_secs(60));
        None
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_on_while_draining_and_the_worker_is_gone_within_fifteen_seconds() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let mut settings = settings(&coordinator);
    settings.timing = Timing { poll: settings.timing.poll, ..Timing::default() };
    let (worker, stop) = start(settings, stubborn());
    coordinator.until("the unit is held", |s| s.heartbeats.iter().any(|h| !h.held.is_empty())).await;
    let began = Instant::now();
    stop.send(()).unwrap();
    let mut renewed = Vec::new();
    while !worker.is_finished() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut state = coordinator.state();
        renewed.push(state.heartbeats.drain(..).filter(|h| h.draining && h.held.iter().any(|held| held.attempt == "a1")).count());
    }
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(renewed.len() > 20 && renewed[..renewed.len() - 3].iter().all(|beats| *beats > 0), "{renewed:?}");
    assert!(matches!(coordinator.outcomes().as_slice(), [(attempt, Outcome::Released(_))] if attempt == "a1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_waits_for_no_store_and_no_coordinator() {
    let world = World::new();
    let slow = |put| {
        let local = object_store::local::LocalFileSystem::new_with_prefix(world.store.url()).unwrap();
        let throttle = ThrottleConfig { wait_put_per_call: put, ..ThrottleConfig::default() };
        Store::over("slow", std::sync::Arc::new(ThrottledStore::new(local, throttle)))
    };
    for gone in [false, true] {
        let mut coordinator = FakeCoordinator::start(world.state([1]));
        let mut settings = settings(&coordinator);
        settings.timing.drain = Duration::from_millis(700);
        let (worker, stop) = start_on(Some(slow(Duration::from_secs(600))), settings, FakeExecutor::new(Duration::from_millis(100)));
        coordinator.until("progress", progress).await;
        if gone {
            coordinator.kill();
        }
        let began = Instant::now();
        stop.send(()).unwrap();
        assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
        assert!(began.elapsed() < Duration::from_millis(3500), "{:?}", began.elapsed());
        assert!(gone || matches!(coordinator.outcomes()[0].1, Outcome::Released(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stays_rests_where_every_sweep_is_finished() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let settings = Settings { exit_when_finished: false, ..settings(&coordinator) };
    let (worker, stop) = start(settings, FakeExecutor::default());
    coordinator.until("the report", |s| !s.reports.is_empty()).await;
    let before = coordinator.state().leases.len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = coordinator.state().leases.len() - before;
    assert!((2..=20).contains(&asked), "asked {asked} times in a second, with a pause of 100 ms");
    // A sweep that comes later is worked on, and a drain ends the rest.
    coordinator.state().queue = queue([2]);
    coordinator.until("the second report", |s| s.reports.len() == 2).await;
    stop.send(()).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_drains_at_once() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([]));
    let mut settings = settings(&coordinator);
    settings.timing.poll = Duration::from_secs(20);
    let (worker, stop) = start(settings, FakeExecutor::default());
    coordinator.until("a lease request", |s| !s.leases.is_empty()).await;
    let began = Instant::now();
    stop.send(()).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_are_reported_and_the_worker_goes_on() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2, 3]));
    let executor = FakeExecutor::default().with_fault(|_, before| match before {
        0 => Some(ExecuteError::NotFinite { what: "L3.k0".into(), row: "r17".into(), hint: "try f32" }),
        1 => panic!("index out of bounds"),
        _ => None,
    });
    let (worker, _stop) = start(settings(&coordinator), executor);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    let outcomes = coordinator.outcomes();
    let failed = |i: usize| match &outcomes[i].1 {
        Outcome::Failed(f) => (f.error.clone(), f.permanent),
        other => panic!("{other:?}"),
    };
    assert!(failed(0).0.contains("L3.k0") && failed(0).0.contains("r17") && failed(0).1);
    assert!(failed(1).0.contains("index out of bounds") && !failed(1).1);
    assert_eq!(committed(&outcomes[2].1), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_blocks_go_with_the_commit_and_stay_without_one() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2]));
    let not_finite = || ExecuteError::NotFinite { what: "L3.k0".into(), row: "r17".into(), hint: "try f32" };
    let executor = FakeExecutor::default().keeping_blocks().with_fault(move |_, before| (before == 0).then(not_finite));
    let (worker, _stop) = start(settings(&coordinator), executor);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    let (failed, done) = (unit(1).spec.key(), unit(2).spec.key());
    assert_eq!(world.store.list(&layout::parts(&failed)).await.unwrap(), ["0000"], "the next attempt goes on from it");
    assert!(world.done(&unit(2)).await.is_some());
    assert_eq!(world.store.list(&layout::parts(&done)).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_device_ends_the_worker_after_it_has_said_so() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2]));
    let broken = || ExecuteError::Device { what: "running the model".into(), message: "device lost".into(), lost: true };
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::default().with_fault(move |_, _| Some(broken())));
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");
    assert!(matches!(&coordinator.outcomes()[0].1, Outcome::Failed(f) if !f.permanent && f.error.contains("device lost")));
    assert_eq!(coordinator.state().queue.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_nothing_ends_the_worker_and_is_not_the_units_fault() {
    let world = World::new();
    // A file where the folder of artifacts should be: no write into it can succeed, and waiting doesn't help.
    std::fs::write(std::path::Path::new(world.store.url()).join("data"), "").unwrap();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let began = Instant::now();
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::new(Duration::ZERO));
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(error.to_string().contains("writing data/") && error.to_string().contains("everything committed is kept"), "{error}");
    assert!(matches!(coordinator.outcomes().as_slice(), [(attempt, Outcome::Released(_))] if attempt == "a1"));
    assert!(began.elapsed() < Duration::from_secs(15), "it was waited for, although waiting can't help");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_not_begun_where_the_store_does_not_say_whether_it_is_committed() {
    let world = World::new();
    let refusals = Arc::new(Refusals { reads: usize::MAX.into(), ..Refusals::default() });
    let coordinator = FakeCoordinator::start(world.state([1]));
    let executor = FakeExecutor::default();
    let executed = executor.executed();
    let (worker, _stop) = start_on(Some(refusing(&world.store, &refusals)), settings(&coordinator), executor);
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 2, "what is refused from the start is the user's matter: {error}");
    assert!(error.to_string().contains("reading commit/"), "{error}");
    assert_eq!((executed.load(Ordering::SeqCst), refusals.refused.load(Ordering::SeqCst)), (0, 1));
    assert!(matches!(coordinator.outcomes().as_slice(), [(attempt, Outcome::Released(_))] if attempt == "a1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_for_a_while_is_waited_for() {
    let world = World::new();
    let refusals = Arc::new(Refusals::default());
    let coordinator = FakeCoordinator::start(world.state([1, 2, 3]));
    let closing = refusals.clone();
    let first = std::path::Path::new(world.store.url()).join(layout::commit(&unit(1).spec.key(), 0));
    let executor = FakeExecutor::default().with_fault(move |_, before| {
        // Writing is refused only once something was written.
        while before == 1 && !first.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if before < 2 {
            closing.reads.store(4, Ordering::SeqCst);
            closing.writes.store(4 * before, Ordering::SeqCst);
        }
        None
    });
    let executed = executor.executed();
    let (worker, _stop) = start_on(Some(refusing(&world.store, &refusals)), settings(&coordinator), executor);
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert_eq!(executed.load(Ordering::SeqCst), 3);
    assert_eq!(refusals.refused.load(Ordering::SeqCst), 12, "{refusals:?}");
    let outcomes = coordinator.outcomes();
    assert!(outcomes.len() == 3 && outcomes.iter().all(|(_, outcome)| committed(outcome) == Some(true)), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_worked_and_refuses_for_good_ends_the_worker_for_a_later_try() {
    // Reads alone, or everything.
    for writes in [0, usize::MAX] {
        let world = World::new();
        let refusals = Arc::new(Refusals::default());
        let coordinator = FakeCoordinator::start(world.state([1, 2]));
        let closing = refusals.clone();
        let executor = FakeExecutor::default().with_fault(move |_, before| {
            if before == 1 {
                closing.reads.store(usize::MAX, Ordering::SeqCst);
                closing.writes.store(writes, Ordering::SeqCst);
            }
            None
        });
        let mut settings = settings(&coordinator);
        settings.timing.patience = Duration::from_millis(300);
        let (worker, _stop) = start_on(Some(refusing(&world.store, &refusals)), settings, executor);
        let error = worker.await.unwrap().unwrap_err();
        assert_eq!(error.exit_code(), 75, "{error}");
        assert!(error.to_string().contains("ExpiredToken"), "{error}");
        let outcomes = coordinator.outcomes();
        assert!(outcomes.iter().any(|(attempt, outcome)| attempt == "a2" && matches!(outcome, Outcome::Released(_))), "{outcomes:?}");
        assert!(outcomes.iter().all(|(_, outcome)| !matches!(outcome, Outcome::Failed(_))), "{outcomes:?}");
    }
}
