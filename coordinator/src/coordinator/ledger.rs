//! Writes one sweep's journal: records that come together become one entry; losing the lead ends the coordinator.

use std::time::Duration;

use limbic_proto::journal::Record;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::journal::{Journal, JournalError};

/// How often the lead is checked when there is nothing to write.
const CHECK: Duration = Duration::from_secs(15);
/// The pause after the store failed; nothing is lost meanwhile, for commits don't need the journal.
const PAUSE: Duration = Duration::from_secs(2);

/// Writes records until the channel closes; reports to `fatal` when another coordinator leads.
pub(super) async fn write(mut journal: Journal, mut records: mpsc::UnboundedReceiver<Record>, fatal: mpsc::UnboundedSender<Failure>) {
    loop {
        let outcome = match tokio::time::timeout(CHECK, records.recv()).await {
            Ok(None) => return,
            Ok(Some(first)) => {
                let mut batch = vec![first];
                while let Ok(next) = records.try_recv() {
                    batch.push(next);
                }
                append(&mut journal, batch).await
            }
            Err(_) => journal.check().await,
        };
        match outcome {
            Ok(()) => {}
            Err(JournalError::Store(e)) => tracing::warn!(error = %e, "the journal can't be checked now"),
            Err(e) => {
                // If nobody listens the coordinator has ended already.
                let _ = fatal.send(Failure::again(e));
                return;
            }
        }
    }
}

/// Appends, waiting out a store that can't be reached.
async fn append(journal: &mut Journal, batch: Vec<Record>) -> Result<(), JournalError> {
    // The same entry each time: a try whose answer was lost may have taken effect.
    let entry = journal.entry(batch);
    loop {
        match journal.append(&entry).await {
            Err(JournalError::Store(e)) => {
                tracing::warn!(error = %e, "the journal can't be written now; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
