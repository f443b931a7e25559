//! Writes one sweep's journal: records that come together become one entry; losing the lead ends the coordinator, and so
//! does a store that fails for long.

use std::time::Duration;

use limbic_proto::journal::Record;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::journal::{Journal, JournalError};

/// How often the lead is checked when there is nothing to write.
const CHECK: Duration = Duration::from_secs(15);
/// The pause after the store failed; nothing is lost meanwhile, for commits don't need the journal.
const PAUSE: Duration = Duration::from_secs(2);
/// How long the store may fail without a break before the coordinator ends, so that whoever watches over it starts it again:
/// credentials that were renewed are read then, and a start waits for a store that is away (`--patience`).
const UNBROKEN: Duration = Duration::from_secs(600);

/// What a ledger is given to do.
#[derive(Debug)]
pub(super) enum Note {
    /// Records to write, all in one entry: what was decided at once stands or falls together.
    Records(Vec<Record>),
    /// Says when everything before it stands in the journal, and that we still lead.
    Written(oneshot::Sender<()>),
}

/// Since when the store has failed.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
}

impl Outage {
    /// Takes note of how a request ended.
    fn note(&mut self, outcome: &Result<(), JournalError>) {
        match outcome {
            Err(JournalError::Store(_)) => self.since = self.since.or_else(|| Some(Instant::now())),
            _ => self.since = None,
        }
    }

    /// Whether it has failed for so long, without a break, that waiting is no use.
    fn too_long(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= UNBROKEN)
    }

    /// Why the coordinator ends.
    fn failure(&self, error: JournalError) -> Failure {
        match error {
            JournalError::Store(e) => Failure::again(format_args!(
                "the store has failed the journal for {} minutes without a break, last: {e}; this coordinator ends, for one that is \
                 started again reads its credentials anew; what is committed is kept",
                self.since.map_or(0, |since| since.elapsed().as_secs() / 60)
            )),
            error => Failure::again(error),
        }
    }
}

/// Writes records until the channel closes; reports to `fatal` when another coordinator leads, or the store fails for long.
pub(super) async fn write(mut journal: Journal, mut notes: mpsc::UnboundedReceiver<Note>, fatal: mpsc::UnboundedSender<Failure>) {
    let mut outage = Outage::default();
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
                    true => still_leads(&journal, &mut outage).await,
                    false => append(&mut journal, records, &mut outage).await,
                };
                if written.is_ok() {
                    // Whoever asked may have gone meanwhile.
                    for done in told {
                        let _ = done.send(());
                    }
                }
                written
            }
            Err(_) => {
                let outcome = journal.check().await;
                outage.note(&outcome);
                outcome
            }
        };
        match outcome {
            Ok(()) => {}
            Err(JournalError::Store(e)) if !outage.too_long() => tracing::warn!(error = %e, "the journal can't be checked now"),
            Err(e) => {
                // If nobody listens the coordinator has ended already.
                let _ = fatal.send(outage.failure(e));
                return;
            }
        }
    }
}

/// Whether nobody else leads, waiting out a store that fails for a while.
async fn still_leads(journal: &Journal, outage: &mut Outage) -> Result<(), JournalError> {
    loop {
        let outcome = journal.check().await;
        outage.note(&outcome);
        match outcome {
            Err(JournalError::Store(e)) if !outage.too_long() => {
                tracing::warn!(error = %e, "the journal can't be read now; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Appends records, waiting out a store that fails for a while.
async fn append(journal: &mut Journal, records: Vec<Record>, outage: &mut Outage) -> Result<(), JournalError> {
    // The same entry each time: a try whose answer was lost may have taken effect.
    let entry = journal.entry(records);
    loop {
        let outcome = journal.append(&entry).await;
        outage.note(&outcome);
        match outcome {
            Err(JournalError::Store(e)) if !outage.too_long() => {
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

    /// How long a ledger goes on whose store is gone, for what it has to do; first one is gone for a while only.
    async fn goes_on(records: Vec<Record>) -> (Duration, Failure) {
        let folder = tempfile::tempdir().unwrap();
        let (there, away) = (folder.path().join("store"), folder.path().join("away"));
        let take_away = || {
            std::fs::rename(&there, &away).unwrap();
            // Else it would be made anew.
            std::fs::write(&there, "").unwrap();
        };
        let store = Store::open(there.to_str().unwrap()).unwrap();
        let journal = Journal::lead(&store, "s", "a").await.unwrap();
        let ((notes, inbox), (fatal, mut ended)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        tokio::spawn(write(journal, inbox, fatal));
        for _ in 0..2 {
            take_away();
            let _ = notes.send(Note::Records(records.clone()));
            tokio::time::sleep(UNBROKEN - 2 * CHECK).await;
            assert!(ended.try_recv().is_err(), "it may come back");
            std::fs::remove_file(&there).unwrap();
            std::fs::rename(&away, &there).unwrap();
            let (done, written) = oneshot::channel();
            notes.send(Note::Written(done)).unwrap();
            written.await.expect("it has come back");
        }
        take_away();
        let began = Instant::now();
        let _ = notes.send(Note::Records(records));
        let failure = ended.recv().await.unwrap();
        (began.elapsed(), failure)
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_for_long_ends_the_coordinator() {
        for records in [vec![Record::Resume], Vec::new()] {
            let (after, failure) = goes_on(records).await;
            assert!(after >= UNBROKEN && after <= UNBROKEN + 2 * CHECK, "{after:?}");
            assert_eq!(failure.code(), crate::failure::exit::AGAIN);
            let said = failure.to_string();
            assert!(said.contains("for 10 minutes") && said.contains("its folder is gone"), "{said}");
        }
    }
}
