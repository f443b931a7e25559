//! Writes the links that the machine asks for, until the outcome is definite.

use std::time::Duration;

use limbic_core::machine::Event;
use limbic_proto::key::UnitKey;
use limbic_store::Store;
use tokio::sync::{mpsc, oneshot};

/// The pause after the store failed; the unit waits meanwhile, the sweep goes on.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// Voids a generation's result once the journal says that it will be (`written`), and says so once the link stands.
///
/// Not before: a coordinator that takes the lead meanwhile has listed the links already, and would take the unit for
/// committed for ever. It finishes what the journal says; what the journal doesn't say must not happen.
pub(super) async fn void(
    store: Store,
    unit: UnitKey,
    generation: u32,
    reason: String,
    written: Vec<oneshot::Receiver<()>>,
    stands: mpsc::UnboundedSender<Event>,
) {
    if !journalled(written).await {
        return tracing::warn!(unit = %unit.short(), "not voided: another coordinator leads");
    }
    tracing::info!(unit = %unit.short(), generation, %reason, "its result is voided; it is computed again");
    while let Err(error) = store.void(&unit, generation, &reason).await {
        tracing::warn!(unit = %unit.short(), %error, "a result can't be voided now; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    // If nobody listens the coordinator has ended; the next one finds the link.
    let _ = stands.send(Event::Voided { unit, generation });
}

/// Splits a unit once the journal says that it will be, and says what came of it.
pub(super) async fn split(
    store: Store,
    unit: UnitKey,
    generation: u32,
    children: Vec<UnitKey>,
    written: Vec<oneshot::Receiver<()>>,
    outcome: mpsc::UnboundedSender<Event>,
) {
    if !journalled(written).await {
        return tracing::warn!(unit = %unit.short(), "not split: another coordinator leads");
    }
    let stands = loop {
        match store.split(&unit, generation, &children).await {
            Ok(stands) => break stands,
            Err(error) => tracing::warn!(unit = %unit.short(), %error, "a unit can't be split now; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    tracing::warn!(unit = %unit.short(), generation, stands, "its attempts kept failing; it is split into halves");
    // If nobody listens the coordinator has ended; the next one finds the commit.
    let _ = outcome.send(Event::Divided { unit, generation, stands });
}

/// Whether all journals say what was decided; false where another coordinator leads.
pub(super) async fn journalled(written: Vec<oneshot::Receiver<()>>) -> bool {
    for written in written {
        if written.await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use limbic_proto::key::Digest;

    use super::*;

    #[tokio::test]
    async fn nothing_is_voided_that_the_journal_does_not_say() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let (stands, mut events) = mpsc::unbounded_channel();
        let ((yes, written), (no, refused)) = (oneshot::channel(), oneshot::channel());
        let [one, other] = [b"one", b"two"].map(|text| Digest::of(text));
        drop(no);
        void(store.clone(), one, 0, "rot".into(), vec![refused], stands.clone()).await;
        assert!(store.committed().await.unwrap().is_empty(), "a superseded coordinator voids nothing");
        let voiding = tokio::spawn(void(store.clone(), other, 0, "rot".into(), vec![written], stands));
        tokio::task::yield_now().await;
        assert!(store.committed().await.unwrap().is_empty(), "the journal comes first");
        yes.send(()).unwrap();
        voiding.await.unwrap();
        assert_eq!(store.committed().await.unwrap().get(&other), Some(&1));
        assert!(matches!(events.recv().await, Some(Event::Voided { unit, generation: 0 }) if unit == other));
    }
}
