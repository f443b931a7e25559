//! Writes one sweep's journal: records that come together become one entry; losing the lead ends the coordinator.

use std::time::Duration;

use limbic_proto::journal::Record;
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::journal::{Journal, JournalError};

/// How often the lead is checked when there is nothing to write.
const CHECK: Duration = Duration::from_secs(15);
/// The pause after the store failed; nothing is lost meanwhile, for commits don't need the journal.
const PAUSE: Duration = Duration::from_secs(2);

/// What a ledger is given to do.
#[derive(Debug)]
pub(super) enum Note {
    /// Records to write, all in one entry: what was decided at once stands or falls together.
    Records(Vec<Record>),
    /// Says when everything before it stands in the journal, and that we still lead.
    Written(oneshot::Sender<()>),
}

/// Writes records until the channel closes; reports to `fatal` when another coordinator leads.
pub(super) async fn write(mut journal: Journal, mut notes: mpsc::UnboundedReceiver<Note>, fatal: mpsc::UnboundedSender<Failure>) {
    loop {
        let outcome = match tokio::time::timeout(CHECK, notes.recv()).await {
            Ok(None) => return,
            Ok(Some(first)) => {
                let (mut records, mut told) = (Vec::new(), Vec::new());
                let mut next = Some(first);
                while let Some(note) = next {
                    match note {
                        Note::Records(more) => records.extend(more),
                        Note::Written(done) => told.push(done),
                    }
                    next = notes.try_recv().ok();
                }
                let written = match records.is_empty() {
                    true => still_leads(&journal).await,
                    false => append(&mut journal, records).await,
                };
                if written.is_ok() {
                    // Whoever asked may have gone meanwhile.
                    for done in told {
                        let _ = done.send(());
                    }
                }
                written
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

/// Whether nobody else leads, waiting out a store that can't be reached.
async fn still_leads(journal: &Journal) -> Result<(), JournalError> {
    loop {
        match journal.check().await {
            Err(JournalError::Store(e)) => {
                tracing::warn!(error = %e, "the journal can't be read now; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Appends records, waiting out a store that can't be reached.
async fn append(journal: &mut Journal, records: Vec<Record>) -> Result<(), JournalError> {
    // The same entry each time: a try whose answer was lost may have taken effect.
    let entry = journal.entry(records);
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

#[cfg(test)]
mod tests {
    use limbic_store::Store;

    use super::*;
    use crate::journal::read;

    #[tokio::test]
    async fn what_comes_together_is_one_entry_and_who_leads_no_more_is_told_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let first = Journal::lead(&store, "s", "a").await.unwrap();
        let ((notes, inbox), (fatal, mut ended)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let ledger = tokio::spawn(write(first, inbox, fatal));
        notes.send(Note::Records(vec![Record::Pause { by: "ana".into() }, Record::Resume, Record::Pause { by: "ben".into() }])).unwrap();
        let (done, written) = oneshot::channel();
        notes.send(Note::Written(done)).unwrap();
        written.await.unwrap();
        let journal = read(&store, "s").await.unwrap();
        assert!(journal.next == 2 && journal.history.paused && journal.history.paused_by == "ben", "the epoch and one entry");

        // With nothing to write, too, it must still lead to say so.
        let (done, written) = oneshot::channel();
        notes.send(Note::Written(done)).unwrap();
        written.await.unwrap();
        Journal::lead(&store, "s", "b").await.unwrap();
        let (done, written) = oneshot::channel();
        notes.send(Note::Written(done)).unwrap();
        assert!(written.await.is_err());
        assert!(ended.recv().await.unwrap().to_string().contains("another coordinator leads"));
        ledger.await.unwrap();
    }
}
