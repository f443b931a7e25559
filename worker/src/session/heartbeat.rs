//! Heartbeats: renew leases, carry progress, bring cancels, and find out that the coordinator was restarted.

use std::sync::Arc;
use std::time::Duration;

use limbic_store::pauses::jittered;
use tokio::sync::oneshot;

use super::Shared;

/// The interval while no coordinator has named one.
const UNTOLD: Duration = Duration::from_secs(15);

/// Beats until the worker leaves, and then says so: else `status` would list it until its silence tells. Failures are told once, not at
/// every beat.
pub(super) async fn beat(shared: Arc<Shared>, mut leaves: oneshot::Receiver<()>) {
    let mut away = false;
    let mut told_drain = false;
    loop {
        let registered = shared.link.registered();
        let interval = registered.as_ref().map_or(UNTOLD, |r| r.heartbeat);
        tokio::select! {
            biased;
            _ = &mut leaves => break,
            () = tokio::time::sleep(jittered(interval)) => {}
            () = shared.drain.begun(), if !told_drain => told_drain = true,
        }
        let answer = shared.link.heartbeat(shared.drain.has_begun()).await;
        match answer {
            Ok(answer) => {
                if std::mem::take(&mut away) {
                    tracing::info!("the coordinator is back");
                }
                shared.holding.cancel(&answer.cancel);
                if answer.unknown {
                    tracing::info!("the coordinator doesn't know this worker (it was restarted); registering again");
                    if let Err(error) = shared.link.register(registered.map(|r| r.turn)).await {
                        tracing::warn!(%error, "registering again failed");
                    }
                }
            }
            Err(status) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(error = %status.message(), "the coordinator doesn't answer heartbeats; going on without it");
                }
            }
        }
    }
    let _ = shared.link.heartbeat(true).await;
}
