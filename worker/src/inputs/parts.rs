//! Finished blocks of a unit that earlier attempts have kept. They are an accelerator: whatever goes wrong with them, the
//! block is computed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_store::{Content, Store, StoreError};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::{InputError, Inputs};
use crate::pause::patiently;

/// The kept blocks of one unit. While one is written the next is computed; when this is dropped, none is on its way any more,
/// so that none appears behind the unit's commit, with which blocks are removed.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    inputs: &'a Inputs,
    unit: UnitKey,
    generation: u32,
    after: Duration,
    /// Whether the store has any, or may have.
    any: AtomicBool,
    /// The write that is under way.
    writing: Mutex<Option<JoinHandle<()>>>,
}

impl Inputs {
    /// The kept blocks of a unit; new ones are to be written each time that `after` was spent on them.
    pub(crate) fn parts(&self, unit: UnitKey, after: Duration) -> Parts<'_> {
        Parts { inputs: self, unit, generation: self.generation, after, any: AtomicBool::default(), writing: Mutex::default() }
    }
}

/// Bytes that a second of computing must not exceed for what it made to be kept: then writing takes about a tenth of the time that
/// it saves.
const WORTH: f64 = 20e6;

impl Parts<'_> {
    /// Whether so many bytes are worth writing for the computing that they save.
    pub(crate) fn worth(bytes: usize, saved: Duration) -> bool {
        bytes as f64 <= WORTH * saved.as_secs_f64()
    }

    /// How much computing a write should save.
    pub(crate) fn after(&self) -> Duration {
        self.after
    }

    /// Whether blocks of the unit were found or kept, so that there is something to remove once it is committed.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The names of the blocks there are of this generation.
    pub(crate) fn list(&self) -> Vec<String> {
        let folder = layout::parts(&self.unit);
        let all = self.inputs.try_to(|store| list(store, folder.clone())).unwrap_or_default();
        self.any.fetch_or(!all.is_empty(), Ordering::Relaxed);
        let ours = all.into_iter().filter(|file| layout::part_generation(file) == Some(self.generation));
        ours.map(|file| file.split('.').next().unwrap_or_default().to_owned()).collect()
    }

    /// A block's bytes, as they were found.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let path = layout::part(&self.unit, &layout::part_file(name, self.generation));
        self.inputs.try_to(|store| get(store, path.clone())).ok()
    }

    /// Keeps a block: it is on its way when this returns, and what was on its way before is there.
    pub(crate) fn put(&self, name: &str, content: &Content) {
        self.settle();
        self.any.store(true, Ordering::Relaxed);
        let (path, content) = (layout::part(&self.unit, &layout::part_file(name, self.generation)), content.clone());
        let (store, timing, progress) = (self.inputs.store.clone(), self.inputs.timing, self.inputs.progress.clone());
        let write = async move {
            let bytes = content.to_bytes();
            let written = tokio::select! {
                biased;
                () = progress.cancellation() => Err(InputError::Cancelled),
                written = patiently(&timing, || put(store.clone(), path.clone(), bytes.clone())) => written.map_err(InputError::from),
            };
            if let Err(error) = written {
                tracing::warn!(%error, "a finished block can't be kept; going on without");
            }
        };
        // What it says is the attempt's.
        let writing = self.inputs.runtime.spawn(write.in_current_span());
        self.writing().replace(writing);
    }

    fn writing(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the write that is under way.
    fn settle(&self) {
        let writing = self.writing().take();
        if let Some(writing) = writing {
            // It says itself what went wrong; one that was ended with the runtime needs no word.
            let _ = self.inputs.wait(writing);
        }
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

async fn list(store: Store, folder: String) -> Result<Vec<String>, StoreError> {
    store.list(&folder).await
}

async fn get(store: Store, path: String) -> Result<Bytes, StoreError> {
    store.get(&path).await
}

async fn put(store: Store, path: String, bytes: Bytes) -> Result<(), StoreError> {
    store.put_content(&path, bytes).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use limbic_proto::key::Digest;
    use object_store::ObjectStoreExt;
    use object_store::path::Path;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::inputs::Shelf;
    use crate::inputs::watched::{Fault, Watched};
    use crate::progress::Progress;
    use crate::settings::Timing;

    struct World {
        runtime: tokio::runtime::Runtime,
        watched: Arc<Watched>,
        inputs: Inputs,
    }

    impl World {
        fn new(fault: Fault) -> World {
            let (runtime, watched) = (tokio::runtime::Runtime::new().unwrap(), Watched::new(fault));
            let (shelf, progress) = (Arc::new(Shelf::new(0)), Arc::new(Progress::new()));
            let inputs = Inputs::new(watched.store(), shelf, runtime.handle().clone(), Timing::default(), progress);
            World { runtime, watched, inputs }
        }

        fn parts(&self) -> Parts<'_> {
            self.inputs.parts(Digest::of(b"unit"), Duration::ZERO)
        }

        /// The bytes of a block that is there, without asking the store as the worker would.
        fn found(&self, name: &str) -> Option<Bytes> {
            let path = Path::from(layout::part(&Digest::of(b"unit"), name));
            self.runtime.block_on(async { self.watched.inner.get(&path).await.ok()?.bytes().await.ok() })
        }

        fn let_through(&self, writes: usize) {
            let Fault::Held(semaphore) = &self.watched.fault else { panic!("writes are not held") };
            semaphore.add_permits(writes);
        }
    }

    fn content(text: &'static str) -> Content {
        Content::of_pieces(text.split_inclusive(' ').map(|piece| Bytes::from_static(piece.as_bytes())).collect())
    }

    #[test]
    fn one_block_is_written_while_the_next_is_computed() {
        let world = World::new(Fault::Held(Semaphore::new(0)));
        let parts = world.parts();
        parts.put("a", &content("first of all"));
        assert_eq!(world.found("a"), None, "nobody waited for it");
        world.let_through(1);
        parts.put("b", &content("second"));
        assert_eq!(world.found("a"), Some(Bytes::from_static(b"first of all")));
        assert_eq!(world.found("b"), None);
        world.let_through(2);
        parts.put("c", &content("third"));
        drop(parts);
        assert_eq!(["b", "c"].map(|name| world.found(name)), [Some(Bytes::from_static(b"second")), Some(Bytes::from_static(b"third"))]);
        assert_eq!(world.watched.most.load(Ordering::SeqCst), 1, "one at a time");
        assert_eq!(world.parts().list(), ["a", "b", "c"]);
    }

    #[test]
    fn a_cancelled_attempt_leaves_no_write_behind() {
        let world = World::new(Fault::Held(Semaphore::new(0)));
        let parts = world.parts();
        parts.put("a", &content("first"));
        world.inputs.progress.cancel();
        // Neither hangs, although nothing is let through.
        parts.put("b", &content("second"));
        drop(parts);
        world.let_through(2);
        assert_eq!(["a", "b"].map(|name| world.found(name)), [None, None]);
    }

    #[test]
    fn a_block_that_cannot_be_kept_is_no_failure() {
        let world = World::new(Fault::Full);
        let parts = world.parts();
        ["a", "b"].into_iter().for_each(|name| parts.put(name, &content("something")));
        drop(parts);
        assert_eq!(world.parts().list(), Vec::<String>::new());
    }
}
