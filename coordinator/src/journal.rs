//! The journal on the object store: lead a sweep by creating the next entry, then append to it.
//!
//! Nothing is ever overwritten. Whoever creates entry `n` with a higher epoch leads; whoever finds its own next place
//! taken has been superseded and must stop. Snapshots, folds of all entries before one, only make reading short: where
//! none can be read, the entries are.

mod snapshot;

use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use limbic_core::history::History;
use limbic_proto::journal::{Entry, Record};
use limbic_proto::layout;
use limbic_store::create::nonce;
use limbic_store::{Created, Store, StoreError};

use snapshot::Snapshot;

/// Entries that are read at the same time.
const READS: usize = 32;

/// Entries after which the next snapshot is written: reading this many takes about a second on a distant store.
const SNAPSHOT_EVERY: u64 = 512;

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
    /// An entry is not one, or is not there although later ones are.
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
    /// What stands, folded.
    history: History,
    next: u64,
    /// The place of the latest snapshot.
    snapshot: u64,
}

/// What stands in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The fold of all entries.
    pub history: History,
    /// The place behind the last entry.
    pub next: u64,
    /// The place of the snapshot that it was read from; 0 without one.
    pub snapshot: u64,
}

/// Reads a sweep's journal: the latest snapshot, and the entries behind it.
///
/// # Errors
/// The store can't be read, or an entry is not one.
pub async fn read(store: &Store, sweep: &str) -> Result<Replayed, JournalError> {
    let Snapshot { mut history, next: snapshot, .. } = snapshot::latest(store, sweep).await?;
    let folder = layout::log_folder(sweep);
    let names = match snapshot.checked_sub(1) {
        Some(last) => store.list_after(&folder, &format!("{last:020}")).await?,
        None => store.list(&folder).await?,
    };
    let places: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let mut entries = stream::iter(places).map(|seq| entry(store.clone(), layout::log(sweep, seq), seq)).buffered(READS);
    let mut next = snapshot;
    while let Some((seq, entry)) = entries.try_next().await? {
        if seq != next {
            let message = format!("it is missing, although entry {seq} is there: was it deleted?");
            return Err(JournalError::Entry { path: layout::log(sweep, next), message });
        }
        entry.records.iter().for_each(|record| history.apply(record));
        next += 1;
    }
    Ok(Replayed { history, next, snapshot })
}

async fn entry(store: Store, path: String, seq: u64) -> Result<(u64, Entry), JournalError> {
    let bytes = store.get(&path).await?;
    let entry = serde_json::from_slice(&bytes).map_err(|e| JournalError::Entry { path, message: e.to_string() })?;
    Ok((seq, entry))
}

impl Journal {
    /// Takes the lead of a sweep: reads its journal and creates the next entry with an epoch above all others.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn lead(store: &Store, sweep: &str, holder: &str) -> Result<Journal, JournalError> {
        loop {
            let Replayed { history, next, snapshot } = read(store, sweep).await?;
            let epoch = 1 + history.max_epoch();
            let mut journal = Journal { store: store.clone(), sweep: sweep.to_owned(), epoch, history, next, snapshot };
            // A clock before 1970 says nothing of use.
            let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let record = Record::Epoch { epoch, holder: holder.to_owned(), software: crate::SOFTWARE.to_owned(), at };
            match journal.append(&journal.entry(vec![record])).await {
                Ok(()) => return Ok(journal),
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

    /// What stands, folded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// An entry for the next place. It carries its nonce, so that appending the very same one again is harmless.
    pub fn entry(&self, records: Vec<Record>) -> Entry {
        Entry { epoch: self.epoch, nonce: nonce(), records }
    }

    /// Appends an entry. After an error of unknown outcome the same entry must be appended again, not another one.
    ///
    /// # Errors
    /// [`JournalError::Superseded`] if the place is taken; or the store can't be written.
    pub async fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let body = serde_json::to_vec(entry).expect("an entry serializes").into();
        match self.store.create(&layout::log(&self.sweep, self.next), &entry.nonce, body).await? {
            Created::Won => {
                entry.records.iter().for_each(|record| self.history.apply(record));
                self.next += 1;
                self.keep_short().await;
                Ok(())
            }
            Created::Lost { .. } => Err(self.superseded()),
        }
    }

    /// Writes a snapshot where the latest one is far behind. One that fails is tried again with a later entry.
    async fn keep_short(&mut self) {
        if self.next - self.snapshot < SNAPSHOT_EVERY {
            return;
        }
        match snapshot::write(&self.store, &self.sweep, &self.history, self.next).await {
            Ok(()) => self.snapshot = self.next,
            Err(error) => tracing::warn!(sweep = %self.sweep, %error, "no snapshot can be written now"),
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
mod tests;
