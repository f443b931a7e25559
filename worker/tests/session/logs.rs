//! The logs that attempts leave: whose they are, when they are there, and what they must not delay.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use limbic_store::logs::AttemptLog;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::*;

async fn logs(world: &World, seed: u64) -> Vec<AttemptLog> {
    world.store.logs(&unit(seed).spec.key()).await.unwrap()
}

/// An executor that says what it does: the unit of seed 1 fails in another thread's words, 2 panics, others are computed.
fn talkative() -> FakeExecutor {
    FakeExecutor::default().with_fault(|unit, before| {
        tracing::info!(target: "limbic_worker::execute", title = %unit.hints.title, "thinking");
        let span = tracing::Span::current();
        std::thread::scope(|scope| drop(scope.spawn(|| span.in_scope(|| tracing::warn!("helped from aside")))));
        match before {
            0 => Some(ExecuteError::NotFinite { what: "L3.k0".into(), row: "r17".into(), hint: "try f32" }),
            1 => panic!("index out of bounds"),
            _ => None,
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_that_was_begun_leaves_its_own_log() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1, 2, 3]));
    let (worker, _stop) = start(settings(&coordinator), talkative());
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    let ended = ["r17` is not finite", "panicked: index out of bounds", "committed"];
    for (seed, how) in [1, 2, 3].into_iter().zip(ended) {
        let logs = logs(&world, seed).await;
        let [AttemptLog { attempt, text }] = logs.as_slice() else { panic!("{logs:?}") };
        assert_eq!(*attempt, format!("a{seed}"));
        let first = text.lines().next().unwrap();
        assert!(first.contains(" INFO begun ") && first.contains(&format!("title=fit {seed}")), "{text}");
        assert!(text.contains(&format!("thinking title=fit {seed}")) && text.contains(" WARN helped from aside"), "{text}");
        assert!(text.contains(how) && text.lines().last().unwrap().contains("attempt ended outcome="), "{text}");
        assert_eq!(text.matches("thinking").count(), 1, "it is nobody else's: {text}");
    }
    let log = &logs(&world, 3).await[0].text;
    assert!(log.contains("computed seconds=") && log.contains("uploaded artifacts=3 bytes="), "{log}");
    let done = world.done(&unit(3)).await.unwrap();
    assert!(done.artifacts.iter().all(|artifact| artifact.name != layout::ATTEMPT_LOG), "no commit names a log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_reported_has_its_log_already() {
    let world = World::new();
    let coordinator = FakeCoordinator::start(world.state([1]));
    let (worker, stop) = start(Settings { exit_when_finished: false, ..settings(&coordinator) }, talkative());
    coordinator.until("the report", |s| !s.reports.is_empty()).await;
    assert_eq!(logs(&world, 1).await.len(), 1);
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_begun_leaves_no_log_and_what_was_stopped_does() {
    let world = World::new();
    let first = FakeCoordinator::start(world.state([1]));
    let (worker, _stop) = start(settings(&first), FakeExecutor::default());
    worker.await.unwrap().unwrap();
    // Another attempt at the committed unit, and one at a unit that is stopped in the middle.
    let queue = VecDeque::from([(unit(1), "late".to_owned()), (unit(2), "stopped".to_owned())]);
    let coordinator = FakeCoordinator::start(State { queue, finished_after: 2, ..world.state([]) });
    let (worker, _stop) = start(settings(&coordinator), FakeExecutor::new(Duration::from_secs(60)));
    coordinator.until("progress", progress).await;
    coordinator.state().cancel = vec!["stopped".to_owned()];
    worker.await.unwrap().unwrap();
    assert_eq!(logs(&world, 1).await.iter().map(|log| log.attempt.as_str()).collect::<Vec<_>>(), ["a1"]);
    let stopped = logs(&world, 2).await;
    assert!(stopped.len() == 1 && stopped[0].text.contains("the coordinator asks to stop"), "{stopped:?}");
}

/// A store that never finishes to write a log.
#[derive(Debug)]
struct Mute {
    inner: LocalFileSystem,
    /// When each write of a log was given up.
    given_up: Arc<Mutex<Vec<Instant>>>,
}

/// Takes note of the moment when it is dropped.
struct Given<'a>(&'a Mutex<Vec<Instant>>);

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(Instant::now());
    }
}

impl std::fmt::Display for Mute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mute {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Mute {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if location.filename() == Some(layout::ATTEMPT_LOG) {
            let _given = Given(&self.given_up);
            std::future::pending::<()>().await;
        }
        self.inner.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_never_written_delays_neither_commits_nor_their_reports_nor_a_drain() {
    let world = World::new();
    let given_up = Arc::<Mutex<Vec<Instant>>>::default();
    let inner = LocalFileSystem::new_with_prefix(world.store.url()).unwrap();
    let store = Store::over(world.store.url(), Arc::new(Mute { inner, given_up: given_up.clone() }));

    let coordinator = FakeCoordinator::start(world.state([1]));
    let (worker, _stop) = start_on(Some(store.clone()), settings(&coordinator), FakeExecutor::default());
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert!(world.done(&unit(1)).await.is_some());
    let reported = coordinator.state().reported[0];
    let given = given_up.lock().unwrap()[0];
    assert!(reported < given, "the report waits for the log");

    // A failure waits for its log, but not for ever.
    let coordinator = FakeCoordinator::start(world.state([1, 2]));
    let (worker, _stop) = start_on(Some(store.clone()), settings(&coordinator), talkative());
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Finished);
    assert!(matches!(coordinator.outcomes()[1].1, Outcome::Failed(_)), "{:?}", coordinator.outcomes());
    assert!(given_up.lock().unwrap()[1] < coordinator.state().reported[1]);

    // A drain is over while the log hangs.
    let coordinator = FakeCoordinator::start(world.state([3]));
    let mut settings = settings(&coordinator);
    settings.timing.drain = Duration::ZERO;
    let (worker, stop) = start_on(Some(store), settings, stubborn());
    coordinator.until("the unit is held", |s| s.heartbeats.iter().any(|h| !h.held.is_empty())).await;
    stop.send(()).unwrap();
    assert_eq!(worker.await.unwrap().unwrap(), ExitKind::Drained);
    assert!(matches!(coordinator.outcomes()[0].1, Outcome::Released(_)));
}
