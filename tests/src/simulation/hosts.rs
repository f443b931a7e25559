//! What runs on the simulated hosts: the coordinator and the worker as they are in production, on a simulated network.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream;
use hyper_util::rt::TokioIo;
use limbic::coordinator::{Handle, Options, start};
use limbic::failure::Failure;
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
    let ended = lead(&world, name).await.expect_err("nobody tells a coordinator to stop");
    if ended.to_string().contains("another coordinator leads") {
        world.count("coordinators superseded");
    }
    world.end(name, "");
    Ok(())
}

async fn lead(world: &Arc<World>, name: &str) -> Result<std::convert::Infallible, Failure> {
    let store = Store::over("sim://store", Arc::new(SimStore::new(world.clone(), name)));
    let (handle, superseded) = start(store.clone(), Options { machine: MachineSettings::default(), dismiss_workers: false });
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.map_err(Failure::again)?;
    let incoming = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Wire(stream));
        Some((accepted, listener))
    });
    let serving = async {
        for sweep in catalogue::open_all(&store).await? {
            handle.open(sweep).await?;
        }
        handle.all_open().await.map_err(Failure::again)?;
        tokio::select! {
            biased;
            served = server::serve_on(Box::pin(incoming), handle.clone(), std::future::pending()) => served,
            () = tell(world, &handle) => Ok(()),
        }
    };
    tokio::select! {
        biased;
        failure = superseded => Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
        served = serving => Err(served.err().unwrap_or_else(|| Failure::again("the server stopped"))),
    }
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
    let components =
        Components { executor: Box::new(executor), store: Some(store), simulated: Some(Simulated { channel, time: Box::new(time) }) };
    let ended = limbic_worker::run(settings, components, async move { drained.notified().await }).await;
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

/// A connection of the simulated network, as the server wants it.
struct Wire(TcpStream);

impl Connected for Wire {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
