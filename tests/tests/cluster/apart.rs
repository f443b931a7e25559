//! Fits computed beside passes: two workers of one process.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use limbic::coordinator::{Handle, Options, start};
use limbic::{server, sweep};
use limbic_core::machine::Settings as Machine;
use limbic_proto::key::Digest;
use limbic_proto::status::SweepState;
use limbic_proto::takes::Takes;
use limbic_proto::unit::{Unit, UnitKind};
use limbic_store::Store;
use limbic_tests::{Sandbox, StandIn};
use limbic_worker::{Components, ExecuteError, Executor, ExitKind, Inputs, Output, Progress, Settings, WorkerError};
use object_store::memory::InMemory;
use tokio::task::JoinHandle;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Computes nothing; its first unit goes on until the other executor has one, too.
struct Meeting {
    stand_in: StandIn,
    own: Arc<AtomicBool>,
    other: Arc<AtomicBool>,
    kinds: Arc<Mutex<BTreeSet<UnitKind>>>,
    /// Breaks down at its first unit.
    broken: bool,
}

impl Executor for Meeting {
    fn execute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
        self.kinds.lock().unwrap().insert(unit.spec.kind());
        self.own.store(true, Ordering::SeqCst);
        let began = Instant::now();
        while !self.other.load(Ordering::SeqCst) {
            assert!(began.elapsed() < LIMIT, "the other one has no unit meanwhile");
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.broken {
            return Err(ExecuteError::Device { what: "running the model".into(), message: "fell off the bus".into(), lost: true });
        }
        self.stand_in.execute(unit, inputs, progress)
    }

    fn loaded(&self) -> Vec<Digest> {
        self.stand_in.loaded()
    }
}

/// A coordinator with the small sweep, and one process of two workers.
struct World {
    coordinator: Handle,
    sweep: String,
    kinds: [Arc<Mutex<BTreeSet<UnitKind>>>; 2],
    worker: JoinHandle<Result<ExitKind, WorkerError>>,
}

impl World {
    async fn new(broken: bool) -> World {
        let (sandbox, store) = (Sandbox::new("", ""), Store::over("memory://", Arc::new(InMemory::new())));
        let spec = sweep::read_spec(&sandbox.small(&[])).unwrap();
        let accepted = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
        let sweep = accepted.id.clone();
        let (coordinator, _) = start(store.clone(), Options { machine: Machine::default(), dismiss_workers: true });
        coordinator.open(accepted).await.unwrap();
        coordinator.all_open().await.unwrap();
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into(), false).await.unwrap();
        let settings = Settings {
            id: "w".into(),
            device: "cuda:0".into(),
            exit_when_finished: true,
            ..Settings::new(&format!("http://{}", listener.local_addr().unwrap()))
        };
        let handle = coordinator.clone();
        tokio::spawn(async move { server::serve(listener, handle, Box::pin(std::future::pending())).await });
        let (passes, fits) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let kinds: [Arc<Mutex<BTreeSet<UnitKind>>>; 2] = Default::default();
        let meeting = |own: &Arc<AtomicBool>, other: &Arc<AtomicBool>, kinds: &Arc<Mutex<BTreeSet<UnitKind>>>, broken| {
            let stand_in = StandIn::new(Duration::from_millis(5));
            Box::new(Meeting { stand_in, own: own.clone(), other: other.clone(), kinds: kinds.clone(), broken })
        };
        let executor = meeting(&passes, &fits, &kinds[0], broken);
        let components =
            Components { executor, fits: Some(meeting(&fits, &passes, &kinds[1], false)), store: Some(store), simulated: None };
        let worker = tokio::spawn(limbic_worker::run(settings, components, Box::pin(std::future::pending())));
        World { coordinator, sweep, kinds, worker }
    }

    async fn ended(self) -> (Result<ExitKind, WorkerError>, [BTreeSet<UnitKind>; 2]) {
        let ended = tokio::time::timeout(LIMIT, self.worker).await.expect("the process ends").unwrap();
        (ended, self.kinds.map(|kinds| kinds.lock().unwrap().clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_device_computes_a_pass_and_a_fit_at_a_time() {
    let world = World::new(false).await;
    let (coordinator, sweep) = (world.coordinator.clone(), world.sweep.clone());
    let listed = async || {
        let workers = coordinator.status(&sweep).await.unwrap().unwrap().workers;
        workers.into_iter().map(|w| (w.id, w.device, w.takes)).collect::<Vec<_>>()
    };
    let pair = [("w".to_owned(), "cuda:0".to_owned(), Takes::Passes), ("w-fits".to_owned(), "cpu".to_owned(), Takes::Fits)];
    tokio::time::timeout(LIMIT, async {
        while listed().await != pair {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    })
    .await
    .expect("both are listed");
    let (ended, [passes, fits]) = world.ended().await;
    assert_eq!(ended.unwrap(), ExitKind::Finished);
    assert!(listed().await.is_empty(), "they have left");
    assert!(passes.iter().all(|kind| kind.runs_model()) && passes.contains(&UnitKind::Extract), "{passes:?}");
    assert_eq!(fits, BTreeSet::from([UnitKind::Fit]));
    let status = coordinator.status(&sweep).await.unwrap().unwrap();
    assert_eq!(status.state, SweepState::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_of_no_more_use_ends_the_process() {
    let (ended, _) = World::new(true).await.ended().await;
    let error = ended.unwrap_err();
    assert_eq!(error.exit_code(), 75);
    assert!(error.to_string().contains("fell off the bus"), "{error}");
}
