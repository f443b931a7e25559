//! Something goes wrong before or after each single create of a sweep: whoever sent it dies, or is told an error, or waits.
//! Whichever it is, the sweep ends, its results are those of an undisturbed run, and its activations are released.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use limbic::coordinator::{Options, start};
use limbic::{server, sweep};
use limbic_core::machine::Settings as Machine;
use limbic_proto::commit::{Artifact, Commit};
use limbic_proto::key::Digest;
use limbic_proto::layout;
use limbic_proto::spec::Spec;
use limbic_proto::unit::STATES;
use limbic_store::Store;
use limbic_tests::{Fault, FaultyStore, Sandbox, Script, StandIn};
use limbic_worker::{Components, Settings, Timing};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

/// A process is a runtime: shut down in the background, everything in it ends between two steps.
struct Process(Option<Runtime>);

impl Process {
    fn new() -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Process(Some(runtime))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// A coordinator, two workers and a store that they share.
struct World {
    store: Arc<InMemory>,
    script: Arc<Script>,
    spec: Spec,
    address: SocketAddr,
    processes: BTreeMap<String, Process>,
    deaths: usize,
}

fn spec() -> Spec {
    let shipped = Sandbox::repository().join("configs/quickstart");
    let text = format!(
        "name: points\ndataset: {{group: group, limit: 210, source: {}}}\nmodels: [{{source: {}}}]\nconditions: [{{name: raw}}]\noffsets: [0]\n\
         probes: [{{kind: logistic, c: [0.01]}}]\nlayers: {{depth: [0.5]}}\nbaselines: [majority]\nexecution: {{rows_per_unit: 105, activations: release}}\n",
        shipped.join("corpus.jsonl").display(),
        shipped.join("models/tiny-0.3m").display()
    );
    Spec::from_yaml(&text, FsPath::new("points.yaml")).unwrap()
}

const WORKERS: [&str; 2] = ["one", "two"];
/// The units that have states.
const EXTRACTS: usize = 2;

impl World {
    fn new(script: Arc<Script>) -> World {
        let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut world = World { store: Arc::new(InMemory::new()), script, spec: spec(), address, processes: BTreeMap::new(), deaths: 0 };
        world.begin("coordinator");
        WORKERS.iter().for_each(|name| world.begin(name));
        world
    }

    fn view(&self, process: &str) -> Store {
        Store::over("memory://", Arc::new(FaultyStore::new(self.store.clone(), self.script.clone(), process)))
    }

    fn begin(&mut self, name: &str) {
        let process = Process::new();
        let store = self.view(name);
        if name == "coordinator" {
            process.runtime().spawn(lead(store, self.spec.clone(), self.address));
        } else {
            let timing = Timing {
                first_pause: Duration::from_millis(5),
                longest_pause: Duration::from_millis(40),
                answer: Duration::from_secs(2),
                poll: Duration::from_millis(300),
                ..Timing::default()
            };
            let id = format!("{name}-{}", self.deaths);
            let settings = Settings { id, timing, ..Settings::new(&format!("http://{}", self.address)) };
            let components =
                Components { executor: Box::new(StandIn::new(Duration::from_millis(1))), fits: None, store: Some(store), simulated: None };
            process.runtime().spawn(async move { limbic_worker::run(settings, components, Box::pin(std::future::pending())).await });
        }
        self.processes.insert(name.to_owned(), process);
    }

    /// Every control object.
    fn control(&self) -> BTreeMap<String, Vec<u8>> {
        let read = async {
            let mut objects = BTreeMap::new();
            let mut list = self.store.list(None);
            while let Some(meta) = list.try_next().await.unwrap() {
                if !meta.location.as_ref().starts_with("data/") {
                    let bytes = self.store.get(&meta.location).await.unwrap().bytes().await.unwrap();
                    objects.insert(meta.location.to_string(), bytes.to_vec());
                }
            }
            objects
        };
        futures::executor::block_on(read)
    }

    /// Goes on until so many units are committed, and the activations of those that have some released; control objects that stood once must stand unchanged.
    fn run(&mut self, units: usize) -> BTreeMap<String, Vec<Artifact>> {
        let began = Instant::now();
        let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        loop {
            for name in self.script.doomed() {
                self.deaths += 1;
                self.processes.remove(&name);
                self.begin(&name);
            }
            let now = self.control();
            for (name, body) in &seen {
                assert_eq!(now.get(name), Some(body), "{name} was overwritten or deleted");
            }
            let commits = now.keys().filter(|name| name.starts_with("commit/")).count();
            let released = now.keys().filter(|name| name.starts_with("released/")).count();
            seen = now;
            assert!(commits <= units && released <= EXTRACTS, "more commits or releases than units");
            if commits == units && released == EXTRACTS {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{commits} of {units} units are committed after a minute, {released} of {EXTRACTS} released"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        self.collect_garbage();
        self.results(&seen)
    }

    /// What a coordinator that died could not delete any more.
    fn collect_garbage(&self) {
        futures::executor::block_on(async {
            let store = Store::over("memory://", self.store.clone());
            for part in store.data_parts().await.unwrap() {
                for leftover in store.leftovers(&part, std::time::SystemTime::UNIX_EPOCH).await.unwrap().garbage {
                    assert!(leftover.released && store.discard(&leftover).await.unwrap());
                }
            }
        });
    }

    /// What is committed, once every artifact was found to be what its commit says; states are gone.
    fn results(&self, control: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<Artifact>> {
        let mut results = BTreeMap::new();
        for (name, body) in control.iter().filter(|(name, _)| name.starts_with("commit/")) {
            let (unit, _) = layout::link(name.rsplit('/').next().unwrap()).unwrap();
            let Commit::Done(done) = serde_json::from_slice(body).unwrap() else { panic!("{name} is no result") };
            for artifact in &done.artifacts {
                let path = Path::from(layout::artifact(&unit, &done.attempt, &artifact.name));
                if artifact.name == STATES {
                    let found = futures::executor::block_on(self.store.head(&path));
                    assert!(found.is_err_and(|e| matches!(e, object_store::Error::NotFound { .. })), "{path} is still there");
                    continue;
                }
                let bytes = futures::executor::block_on(async { self.store.get(&path).await.unwrap().bytes().await.unwrap() });
                assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (artifact.len, artifact.blake3), "{path}");
            }
            results.insert(unit.hex(), done.artifacts);
        }
        results
    }
}

/// A coordinator's whole life: it accepts the sweep (which may stand already), and leads it.
async fn lead(store: Store, spec: Spec, address: SocketAddr) {
    let machine = Machine {
        heartbeat: Duration::from_millis(100),
        lease_ttl: Duration::from_millis(600),
        adoption_window: Duration::from_millis(200),
        backoff_base: Duration::from_millis(10),
        ..Machine::default()
    };
    let (handle, superseded) = start(store.clone(), Options { machine, dismiss_workers: false });
    let opened = async {
        let sweep = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
        handle.open(sweep).await.unwrap();
        handle.all_open().await.unwrap();
    };
    opened.await;
    let listener = loop {
        // The one before may hold the port for a moment longer.
        match server::bind(address, false).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    tokio::select! {
        served = server::serve(listener, handle, Box::pin(std::future::pending())) => served.unwrap(),
        failure = superseded => panic!("nobody else leads: {failure:?}"),
    }
}

fn units() -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(sweep::prepare(spec())).unwrap().plan.units.len()
}

#[test]
fn no_create_is_a_bad_moment_to_fail_or_die() {
    let units = units();
    let script = Script::none();
    let expected = World::new(script.clone()).run(units);
    let creates = script.creates();
    assert!(creates > units + 2, "the sweep, its journal and its commits are created");
    let faults = [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Delay(Duration::from_millis(900)), Fault::DeathBefore, Fault::DeathAfter];
    let mut deaths = 0;
    for create in 0..creates {
        for fault in faults {
            let mut world = World::new(Script::at(create, fault));
            let results = world.run(units);
            assert!(results == expected, "{fault:?} at create {create} changed a result");
            deaths += world.deaths;
        }
    }
    println!("{creates} creates of {units} units, each with {} faults; {deaths} deaths", faults.len());
    assert!(deaths >= creates, "processes died");
}

#[test]
fn a_store_that_fails_a_fifth_of_all_creates_only_takes_longer() {
    let units = units();
    let expected = World::new(Script::none()).run(units);
    for seed in 0..5 {
        let script = Script::drawn(seed, 0.1);
        assert!(World::new(script).run(units) == expected, "seed {seed}");
    }
}
