//! Writes the links that the machine asks for, until the outcome is definite.

use std::time::Duration;

use limbic_core::machine::Event;
use limbic_proto::key::UnitKey;
use limbic_store::Store;
use tokio::sync::mpsc;

/// The pause after the store failed; the unit waits meanwhile, the sweep goes on.
const PAUSE: Duration = Duration::from_secs(2);

/// Voids a generation's result, and says so once the link stands.
pub(super) async fn void(store: Store, unit: UnitKey, generation: u32, reason: String, stands: mpsc::UnboundedSender<Event>) {
    tracing::warn!(unit = %unit.short(), generation, %reason, "its result is voided; it is computed again");
    while let Err(error) = store.void(&unit, generation, &reason).await {
        tracing::warn!(unit = %unit.short(), %error, "a result can't be voided now; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    // If nobody listens the coordinator has ended; the next one finds the link.
    let _ = stands.send(Event::Voided { unit, generation });
}
