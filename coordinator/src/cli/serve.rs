//! `limbic coordinator`: leads the sweeps of a store.

use std::net::SocketAddr;
use std::time::Duration;

use limbic_proto::logs::tell;
use limbic_proto::status::SweepState;
use tokio::sync::oneshot;
use tracing::Level;

use super::StoreArgs;
use super::status::verdict;
use crate::coordinator::{Handle, Options, start};
use crate::failure::Failure;
use crate::patience::Patience;
use crate::progress::counted;
use crate::{catalogue, server, sweep};

/// How long a coordinator that is done goes on answering who asked before.
const FAREWELL: Duration = Duration::from_secs(3);

/// Arguments of `limbic coordinator`.
#[derive(Debug, clap::Args)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7447", env = "LIMBIC_LISTEN")]
    listen: SocketAddr,
    /// Allows an address beyond this computer, though nothing is authenticated or encrypted yet.
    #[arg(long)]
    insecure: bool,
    /// Seconds between a worker's heartbeats.
    #[arg(long, value_name = "S", default_value_t = 15.0)]
    heartbeat: f64,
    /// Seconds that a lease lasts without a heartbeat.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    lease_ttl: f64,
    /// Seconds that the store may be out of reach at the start before the coordinator gives up. (Later, one that fails for ten minutes without a break ends it with exit code 75, so that it is started again.)
    #[arg(long, value_name = "S", default_value_t = 600, env = "LIMBIC_PATIENCE")]
    patience: u64,
    /// Ends once every sweep is complete and every worker was told so; workers started with --exit-when-finished leave, too.
    #[arg(long)]
    exit_when_complete: bool,
}

/// Leads the sweeps of a store until it is stopped or superseded.
pub async fn coordinator(args: CoordinatorArgs) -> Result<(), Failure> {
    let positive = |flag: &str, s: f64| {
        Duration::try_from_secs_f64(s)
            .ok()
            .filter(|d| !d.is_zero())
            .ok_or_else(|| Failure::user(format_args!("--{flag} {s}: must be a number of seconds above 0")))
    };
    let (heartbeat, lease_ttl) = (positive("heartbeat", args.heartbeat)?, positive("lease-ttl", args.lease_ttl)?);
    if lease_ttl < 2 * heartbeat {
        return Err(Failure::user(format_args!(
            "--lease-ttl {}: must be at least twice --heartbeat {}, or living workers lose their leases",
            args.lease_ttl, args.heartbeat
        )));
    }
    let patience = Patience::of(Duration::from_secs(args.patience));
    let store = tokio::select! {
        opened = patience.wait_for(async || args.store.open_to_lead(None).await) => opened?,
        () = stop_signal() => return Ok(()),
    };
    let listener = server::bind(args.listen, args.insecure).await?;
    let address = listener.local_addr().map_err(Failure::again)?;
    let machine = limbic_core::machine::Settings { heartbeat, lease_ttl, adoption_window: 2 * heartbeat, ..Default::default() };
    let (handle, superseded) = start(store.clone(), Options { machine, dismiss_workers: args.exit_when_complete });
    let lead = async {
        let sweeps = patience.wait_for(async || catalogue::open_all(&store).await).await?;
        let mut damaged = handle.open_all(sweeps, patience).await?;
        foreign(&handle).await?.iter().for_each(|failure| tell(Level::WARN, failure));
        let sweeps = handle.list().await.map_err(Failure::again)?.len();
        // Where none can be led there is nothing to do.
        if let Some(failure) = damaged.take_if(|_| sweeps == 0) {
            return Err(failure);
        }
        tell(Level::INFO, &format_args!("limbic coordinator on http://{address}, store {}, {}", store.url(), counted(sweeps, "sweep")));
        let (stop, stopped) = oneshot::channel::<()>();
        let mut serving = server::serve(listener, handle.clone(), Box::pin(async { drop(stopped.await) }));
        tokio::select! {
            served = &mut serving => return served,
            () = complete(&handle), if args.exit_when_complete => {}
        }
        handle.released().await.map_err(Failure::again)?;
        drop(stop);
        // Whoever watches is told how it ended; who doesn't listen is not waited for.
        if tokio::time::timeout(FAREWELL, serving).await.is_err() {
            tracing::debug!("a connection stayed open");
        }
        damaged.or(foreign(&handle).await?.pop()).map_or(Ok(()), Err)?;
        let statuses = handle.list().await.map_err(Failure::again)?;
        statuses.iter().filter(|status| status.state != SweepState::Cancelled).try_for_each(|status| {
            verdict(
                status,
                &format!("everything else of sweep {} is computed; mend the cause, then `limbic retry {}`", status.sweep, status.sweep),
            )
        })
    };
    // Signals are heard from the start: taking up many sweeps takes its time.
    tokio::select! {
        failure = superseded => Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
        () = stop_signal() => Ok(()),
        outcome = lead => outcome,
    }
}

/// Why sweeps that aren't done stay so: they are of other versions.
async fn foreign(handle: &Handle) -> Result<Vec<Failure>, Failure> {
    let mut found = Vec::new();
    for status in handle.list().await.map_err(Failure::again)?.into_iter().filter(|status| !status.state.terminal()) {
        let versions = handle.versions(&status.sweep).await.map_err(Failure::again)?;
        found.extend(versions.and_then(|versions| sweep::foreign(&status.sweep, &status.name, &versions)));
    }
    Ok(found)
}

/// Resolves at ctrl-c or SIGTERM.
pub async fn stop_signal() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Resolves once every sweep is terminal and every worker was told so (one that died is waited for until its lease would
/// have run out).
async fn complete(handle: &Handle) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match handle.dismissed().await {
            Ok(true) => return,
            Ok(_) => {}
            // The task ended: it has been superseded, and that is not an end of the sweeps.
            Err(_) => return std::future::pending().await,
        }
    }
}
