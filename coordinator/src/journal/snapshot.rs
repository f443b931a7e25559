//! Snapshots of a journal: an accelerator, never the truth.
//!
//! A snapshot before entry `n` is written by whoever has appended or read all entries before `n`. Those never change, so
//! it is true for ever, also if its writer has been superseded meanwhile.

use limbic_core::history::History;
use limbic_proto::layout;
use limbic_store::create::nonce;
use limbic_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// Goes up whenever an older snapshot would be read wrongly; snapshots of another version are passed over.
const VERSION: u32 = 1;

/// The body of `sweeps/{sweep}/snap/{seq}`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    version: u32,
    nonce: String,
    /// The place behind the last entry that is folded in.
    pub next: u64,
    /// The fold.
    pub history: History,
}

/// The latest snapshot that can be read; an empty one where there is none.
///
/// # Errors
/// The store can't be reached.
pub(super) async fn latest(store: &Store, sweep: &str) -> Result<Snapshot, StoreError> {
    let names = store.list(&layout::snap_folder(sweep)).await?;
    for seq in names.iter().rev().filter_map(|name| name.parse::<u64>().ok()) {
        let path = layout::snap(sweep, seq);
        match serde_json::from_slice::<Snapshot>(&store.get(&path).await?) {
            Ok(snapshot) if snapshot.version == VERSION && snapshot.next == seq => return Ok(snapshot),
            Ok(_) => tracing::debug!(path, "a snapshot of another version is passed over"),
            Err(error) => tracing::warn!(path, %error, "a snapshot can't be read; going back to an earlier one"),
        }
    }
    Ok(Snapshot::default())
}

/// Writes a snapshot; one that stands there already says the same.
///
/// # Errors
/// The store can't be written.
pub(super) async fn write(store: &Store, sweep: &str, history: &History, next: u64) -> Result<(), StoreError> {
    let snapshot = Snapshot { version: VERSION, nonce: nonce(), next, history: history.clone() };
    let body = serde_json::to_vec(&snapshot).expect("a snapshot serializes").into();
    store.create(&layout::snap(sweep, next), &snapshot.nonce, body).await.map(drop)
}
