//! What runs on the simulated hosts: the coordinator and the worker as they are in production, on a simulated network.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream;
use hyper_util::rt::TokioIo;
use limbic::coordinator::{Handle, Options, start};
use limbic::failure::Failure;
use limbic::patience::Patience;
use limbic::{catalogue, server};
use limbic_core::machine::Settings as MachineSettings;
use limbic_proto::unit::Unit;
use limbic_store::{Store, chance};
use limbic_worker::fake::FakeExecutor;
use limbic_worker::{Advice, Components, ExecuteError, ExitKind, Settings, Simulated};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Uri;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

use super::store::SimStore;
use super::world::World;

/// Two places where a coordinator may run; one at a time is where workers go.
pub(super) const COORDINATORS: [&str; 2] = ["coordinator-a", "coordinator-b"];

const PORT: u16 = 7447;
/// How often an attempt fails for no reason of the unit's.
const FAILS: f64 = 0.03;
/// A unit takes between these many seconds.
const UNIT: (f64, f64) = (2.0, 15.0);

type Program = Result<(), Box<dyn std::error::Error>>;

pub(super) fn worker_name(number: usize) -> String {
    format!("worker-{number}")
}

/// Leads the sweep while workers are sent here, and ends where it is superseded, as the process would.
pub(super) async fn coordinator(world: Arc<World>, name: &'static str) -> Program {
    let start = world.start(name);
    while world.leader() != name {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.note(name, "leads", &start.to_string(), "");
    lead(&world, name).await;
    Ok(())
}

/// Leads to the end of the process.
async fn lead(world: &Arc<World>, name: &str) {
    let store = Store::over("sim://store", Arc::new(SimStore::new(world.clone(), name)));
    let (handle, superseded) = start(store.clone(), Options { machine: MachineSettings::default(), dismiss_workers: false });
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.expect("the port is free on a host that was just started");
    let wires = Arc::new(Wires { world: world.clone(), host: name.to_owned(), taken: Mutex::default() });
    let incoming = stream::unfold(listener, |listener| {
        let wires = wires.clone();
        async move {
            let accepted = listener.accept().await.map(|(stream, _)| Wire::new(stream, &wires));
            Some((accepted, listener))
        }
    });
    let serving = async {
        handle.open_all(catalogue::open_all(&store).await?, Patience::of(Duration::ZERO)).await?;
        tokio::select! {
            biased;
            served = server::serve_on(Box::pin(incoming), handle.clone(), std::future::pending()) => served,
            () = tell(world, &handle) => Ok(()),
        }
    };
    tokio::pin!(serving);
    let ended = tokio::select! {
        biased;
        failure = superseded => failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended")),
        served = &mut serving => served.err().unwrap_or_else(|| Failure::again("the server stopped")),
    };
    if ended.to_string().contains("another coordinator leads") {
        world.count("coordinators superseded");
    }
    world.end(name, "");
    // The server is not dropped here: it would take leave of its connections, in an order that doesn't follow from the seed.
    std::future::pending().await
}

/// Tells the world where the sweeps stand.
async fn tell(world: &World, handle: &Handle) {
    while let Ok(sweeps) = handle.list().await {
        sweeps.into_iter().for_each(|status| world.told(status));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// A worker that computes nothing, until it is drained or gives up.
pub(super) async fn worker(world: Arc<World>, number: usize) -> Program {
    let name = worker_name(number);
    let start = world.start(&name);
    let settings = Settings { id: format!("{name}-{start}"), ..Settings::new(&format!("http://coordinator:{PORT}")) };
    let store = Store::over("sim://store", Arc::new(SimStore::new(world.clone(), &name)));
    let executor = FakeExecutor::default().with_fault(|unit, _| (chance::draw::<f64>() < FAILS).then(|| fault(unit)));
    let time = {
        let (world, name) = (world.clone(), name.clone());
        move |unit: &Unit| {
            world.begun(&name, &unit.spec.key(), 0);
            Duration::from_secs_f64(UNIT.0 + chance::draw::<f64>() * (UNIT.1 - UNIT.0))
        }
    };
    let dialled = world.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let leader = dialled.leader();
        async move { Ok::<_, std::io::Error>(TokioIo::new(TcpStream::connect((leader, PORT)).await?)) }
    });
    let channel = limbic_worker::endpoint(&settings)?.connect_with_connector_lazy(connector);
    let drained = world.drained(&name);
    let components = Components {
        executor: Box::new(executor),
        fits: None,
        store: Some(store),
        simulated: Some(Simulated { channel, time: Box::new(time) }),
    };
    let ended = limbic_worker::run(settings, components, Box::pin(async move { drained.notified().await })).await;
    world.end(
        &name,
        &match &ended {
            Ok(ExitKind::Drained) => "drained".to_owned(),
            Ok(ExitKind::Finished) => "finished".to_owned(),
            Err(error) => error.to_string(),
        },
    );
    Ok(())
}

fn fault(unit: &Unit) -> ExecuteError {
    ExecuteError::Engine { what: unit.hints.title.clone(), message: "drawn to fail".into(), advice: Advice::Retry }
}

/// The connections that a coordinator has taken, in that order.
///
/// A host that crashes drops its tasks in an order that depends on all tasks of the process, and each connection takes its
/// leave when it is dropped. So the first one that a crash drops takes all others with it.
#[derive(Debug)]
struct Wires {
    world: Arc<World>,
    host: String,
    taken: Mutex<Vec<Weak<Mutex<Option<TcpStream>>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection of the simulated network, as the server wants it.
#[derive(Debug)]
struct Wire {
    stream: Arc<Mutex<Option<TcpStream>>>,
    all: Arc<Wires>,
}

impl Wire {
    fn new(stream: TcpStream, all: &Arc<Wires>) -> Wire {
        let stream = Arc::new(Mutex::new(Some(stream)));
        lock(&all.taken).push(Arc::downgrade(&stream));
        Wire { stream, all: all.clone() }
    }

    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        match &mut *lock(&self.stream) {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.all.world.is_crashing(&self.all.host) {
            let taken = std::mem::take(&mut *lock(&self.all.taken));
            taken.iter().filter_map(Weak::upgrade).for_each(|stream| drop(lock(&stream).take()));
        }
    }
}

impl Connected for Wire {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.poll(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.poll(|stream| stream.poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(cx))
    }
}
