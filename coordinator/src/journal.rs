//! The journal on the object store: lead a sweep by creating the next entry, then append to it.
//!
//! Nothing is ever overwritten. Whoever creates entry `n` with a higher epoch leads; whoever finds its own next place
//! taken has been superseded and must stop.

use limbic_proto::journal::{Entry, Record};
use limbic_proto::layout;
use limbic_store::create::nonce;
use limbic_store::{Created, Store, StoreError};

/// Why a journal can't be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another coordinator leads the sweep now.
    #[error("another coordinator leads sweep {sweep} now (it holds an epoch above {epoch}); this one stops")]
    Superseded {
        /// The sweep.
        sweep: String,
        /// Our epoch.
        epoch: u64,
    },
    /// The store can't be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is not one.
    #[error("journal entry {path} can't be read: {message}")]
    Entry {
        /// The object.
        path: String,
        /// What was found.
        message: String,
    },
}

/// A journal that this coordinator leads.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    sweep: String,
    epoch: u64,
    next: u64,
}

/// Reads a sweep's records, in order, and the place after them.
///
/// # Errors
/// The store can't be read, or an entry is not one.
pub async fn read(store: &Store, sweep: &str) -> Result<(Vec<Record>, u64), JournalError> {
    let mut records = Vec::new();
    let mut next = 0;
    for name in store.list(&layout::log_folder(sweep)).await? {
        let Ok(seq) = name.parse::<u64>() else { continue };
        let path = layout::log(sweep, seq);
        let bytes = store.get(&path).await?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| JournalError::Entry { path, message: e.to_string() })?;
        records.extend(entry.records);
        next = seq + 1;
    }
    Ok((records, next))
}

impl Journal {
    /// Takes the lead of a sweep: reads its journal and creates the next entry with an epoch above all others.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn lead(store: &Store, sweep: &str, holder: &str) -> Result<(Journal, Vec<Record>), JournalError> {
        loop {
            let (mut records, next) = read(store, sweep).await?;
            let epoch = 1 + records.iter().map(|r| if let Record::Epoch { epoch, .. } = r { *epoch } else { 0 }).max().unwrap_or(0);
            let mut journal = Journal { store: store.clone(), sweep: sweep.to_owned(), epoch, next };
            let record = Record::Epoch { epoch, holder: holder.to_owned(), software: crate::SOFTWARE.to_owned() };
            match journal.append(vec![record.clone()]).await {
                Ok(()) => {
                    records.push(record);
                    return Ok((journal, records));
                }
                // Somebody appended between our reading and our writing: read again.
                Err(JournalError::Superseded { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The epoch we lead in.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Appends records as one entry.
    ///
    /// # Errors
    /// [`JournalError::Superseded`] if the place is taken; or the store can't be written.
    pub async fn append(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        let entry = Entry { epoch: self.epoch, nonce: nonce(), records };
        let body = serde_json::to_vec(&entry).expect("an entry serializes").into();
        match self.store.create(&layout::log(&self.sweep, self.next), &entry.nonce, body).await? {
            Created::Won => {
                self.next += 1;
                Ok(())
            }
            Created::Lost { .. } => Err(self.superseded()),
        }
    }

    /// Whether our next place is still free.
    ///
    /// # Errors
    /// [`JournalError::Superseded`] if it is taken; or the store can't be read.
    pub async fn check(&self) -> Result<(), JournalError> {
        match self.store.get(&layout::log(&self.sweep, self.next)).await {
            Err(e) if e.not_found() => Ok(()),
            Ok(_) => Err(self.superseded()),
            Err(e) => Err(e.into()),
        }
    }

    fn superseded(&self) -> JournalError {
        JournalError::Superseded { sweep: self.sweep.clone(), epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_leader_supersedes_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let (mut first, _) = Journal::lead(&store, "s", "a").await.unwrap();
        first.append(vec![Record::Pause]).await.unwrap();
        first.check().await.unwrap();
        let (second, records) = Journal::lead(&store, "s", "b").await.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (1, 2));
        assert_eq!(records.len(), 3, "epoch 1, pause, epoch 2");
        assert!(matches!(first.check().await, Err(JournalError::Superseded { .. })));
        assert!(matches!(first.append(vec![Record::Resume]).await, Err(JournalError::Superseded { .. })));
        let (records, next) = read(&store, "s").await.unwrap();
        assert_eq!((records.len(), next), (3, 3), "the superseded append left nothing");
    }
}
