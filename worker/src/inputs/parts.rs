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
    generation: u32,
    after: Duration,
}

impl Inputs {
    /// The kept blocks of a unit; new ones are to be written each time that `after` was spent on them.
    pub(crate) fn parts(&self, unit: UnitKey, after: Duration) -> Parts<'_> {
        Parts { inputs: self, unit, generation: self.generation, after }
    }
}

impl Parts<'_> {
    /// How much computing a write should save.
    pub(crate) fn after(&self) -> Duration {
        self.after
    }

    /// The names of the blocks there are of this generation.
    pub(crate) fn list(&self) -> Vec<String> {
        let folder = layout::parts(&self.unit);
        let all = self.inputs.read(|store| list(store, folder.clone())).unwrap_or_default();
        let name = |file: &String| file.split('.').next().unwrap_or_default().to_owned();
        all.iter().filter(|file| self.file(&name(file)) == **file).map(name).collect()
    }

    /// What a block is called in the store. Of a generation above 0 it says so: whoever asked for a unit again asked for new
    /// numbers.
    fn file(&self, name: &str) -> String {
        if self.generation == 0 { name.to_owned() } else { format!("{name}.{}", self.generation) }
    }

    /// A block's bytes, as they were found.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let path = layout::part(&self.unit, &self.file(name));
        self.inputs.read(|store| get(store, path.clone())).ok()
    }

    /// Keeps a block.
    pub(crate) fn put(&self, name: &str, content: &Content) {
        let (path, bytes) = (layout::part(&self.unit, &self.file(name)), content.to_bytes());
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
