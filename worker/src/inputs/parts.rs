//! Finished blocks of a unit that earlier attempts have kept. They are an accelerator: whatever goes wrong with them, the
//! block is computed.

use std::time::Duration;

use bytes::Bytes;
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_store::{Content, Store, StoreError};

use super::Inputs;

/// The kept blocks of one unit.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    inputs: &'a Inputs,
    unit: UnitKey,
    after: Duration,
}

impl Inputs {
    /// The kept blocks of a unit; new ones are to be written each time that `after` was spent on them.
    pub(crate) fn parts(&self, unit: UnitKey, after: Duration) -> Parts<'_> {
        Parts { inputs: self, unit, after }
    }
}

impl Parts<'_> {
    /// How much computing a write should save.
    pub(crate) fn after(&self) -> Duration {
        self.after
    }

    /// The names of the blocks there are.
    pub(crate) fn list(&self) -> Vec<String> {
        let folder = layout::parts(&self.unit);
        self.inputs.read(|store| list(store, folder.clone())).unwrap_or_default()
    }

    /// A block's bytes, as they were found.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let path = layout::part(&self.unit, name);
        self.inputs.read(|store| get(store, path.clone())).ok()
    }

    /// Keeps a block.
    pub(crate) fn put(&self, name: &str, content: &Content) {
        let (path, bytes) = (layout::part(&self.unit, name), content.to_bytes());
        let written = self.inputs.read(|store| put(store, path.clone(), bytes.clone()));
        if let Err(error) = written {
            tracing::warn!(%error, "a finished block can't be kept; going on without");
        }
    }
}

async fn list(store: Store, folder: String) -> Result<Vec<String>, StoreError> {
    store.list(&folder).await
}

async fn get(store: Store, path: String) -> Result<Bytes, StoreError> {
    store.get(&path).await
}

async fn put(store: Store, path: String, bytes: Bytes) -> Result<(), StoreError> {
    store.put_content(&path, bytes).await
}
