//! The whole worker as a future: components in, exit out.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use limbic_proto::takes::Takes;
use limbic_proto::unit::Unit;
use limbic_store::Store;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::device::Device;
use crate::execute::Executor;
use crate::inputs::Shelf;
use crate::session::{Session, SessionError, endpoint};
use crate::settings::{Settings, SettingsError};

/// Bytes of verified artifacts kept in memory.
const SHELF: usize = 512 << 20;

/// What is injected into a worker.
pub struct Components {
    /// What computes.
    pub executor: Box<dyn Executor>,
    /// What computes fits meanwhile on the processor, where the other has a device of its own.
    pub fits: Option<Box<dyn Executor>>,
    /// The store; without one, the worker opens the one that its coordinator names.
    pub store: Option<Store>,
    /// What stands for sockets and threads in a simulation; none in production.
    pub simulated: Option<Simulated>,
}

/// The worker's surroundings in a simulation of many in one thread.
pub struct Simulated {
    /// The wire to the coordinator.
    pub channel: Channel,
    /// How long a unit takes. The executor itself then takes no time.
    pub time: Box<dyn FnMut(&Unit) -> Duration + Send>,
}

/// How a worker ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// Every sweep is finished.
    Finished,
    /// It was asked to leave, and has finished or given back what it held.
    Drained,
}

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The session with the coordinator broke down.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The device thread can't be started.
    #[error("starting the device thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl WorkerError {
    /// The process's exit code: 2 where the user must change something, 75 where trying again later may help.
    pub fn exit_code(&self) -> u8 {
        match self {
            WorkerError::Settings(SettingsError::DeviceAway { .. }) => 75,
            WorkerError::Settings(_) => 2,
            WorkerError::Session(error) if error.is_users() => 2,
            WorkerError::Session(_) | WorkerError::Thread(_) => 75,
        }
    }
}

/// What a worker's name ends with that computes fits beside another one's passes.
pub const FITS: &str = "-fits";

/// Works for the coordinator until every sweep is finished (if so set), `shutdown` resolves, or neither coordinator nor
/// store has been reachable for longer than the patience.
///
/// After `shutdown` the worker leases nothing more, goes on with what it holds for `settings.timing.drain`, and gives
/// back what is not finished by then.
///
/// Where fits are computed apart, this is two workers for the coordinator: one that takes passes, and on the processor one
/// that takes fits, whose name has `-fits` behind it. When one of them ends, the other leaves, too.
///
/// It is boxed so that it is compiled here and not in every program that calls it.
///
/// # Errors
/// See [`WorkerError::exit_code`].
pub fn run(
    settings: Settings,
    components: Components,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<ExitKind, WorkerError>> {
    worked(settings, components, shutdown).boxed()
}

async fn worked(settings: Settings, components: Components, shutdown: BoxFuture<'static, ()>) -> Result<ExitKind, WorkerError> {
    let Components { executor, fits, store, simulated } = components;
    let (device, channel) = match simulated {
        Some(Simulated { channel, time }) => (Device::simulated(executor, time), channel),
        None => (Device::start(executor, None).map_err(WorkerError::Thread)?, endpoint(&settings)?.connect_lazy()),
    };
    let shelf = Shelf::new(SHELF).hub_within(settings.hub_size);
    let shelf = Arc::new(match settings.cache_dir.clone() {
        Some(folder) => shelf.cached_in(folder, settings.cache_size),
        None => shelf,
    });
    let Some(fits) = fits else {
        return Ok(Session::new(settings, device, shelf, store, channel).run(shutdown).await?);
    };
    let processor = Device::start(fits, Some(beside(settings.threads))).map_err(WorkerError::Thread)?;
    let of_fits = Settings { id: settings.id.clone() + FITS, device: "cpu".to_owned(), takes: Takes::Fits, ..settings.clone() };
    let of_passes = Settings { takes: Takes::Passes, ..settings };
    let passes = Session::new(of_passes, device, shelf.clone(), store.clone(), channel.clone());
    let fits = Session::new(of_fits, processor, shelf, store, channel).beside(&passes);
    Ok(both(passes, fits, shutdown).await?)
}

/// The threads of fits beside a device: one core is left to whoever keeps that busy.
fn beside(threads: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    threads.unwrap_or_else(cores).saturating_sub(1).max(1)
}

/// Two sessions until both have ended; whichever ends first has the other leave.
async fn both(passes: Session, fits: Session, shutdown: impl Future<Output = ()>) -> Result<ExitKind, SessionError> {
    let (leave, leaves) = watch::channel(false);
    let run = async |session: Session| {
        let mut leaves = leaves.clone();
        let ended = Box::pin(session.run(async move { drop(leaves.wait_for(|leave| *leave).await) })).await;
        leave.send_replace(true);
        ended
    };
    let ends = async { tokio::join!(run(passes), run(fits)) };
    tokio::pin!(ends);
    let (passes, fits) = tokio::select! {
        biased;
        ended = &mut ends => ended,
        () = shutdown => {
            leave.send_replace(true);
            ends.await
        }
    };
    // A device that is of no more use is what must be told, and after it whatever else went wrong.
    Ok(match (passes?, fits?) {
        (ExitKind::Drained, ExitKind::Drained) => ExitKind::Drained,
        // It left because there is no more to do.
        (ExitKind::Finished, _) | (_, ExitKind::Finished) => ExitKind::Finished,
    })
}
