//! Finished pieces of a unit on their way into the store, so that they outlive a worker that is killed: those that are worth it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use limbic_store::Content;

use crate::inputs::Parts;

/// Bytes that a second of computing must not exceed for its piece to be kept: then writing takes about a tenth of the time that it
/// saves.
const WORTH: f64 = 20e6;

/// Keeps the pieces of a unit; several threads may finish some.
pub(super) struct Keeper<'a> {
    parts: &'a Parts<'a>,
    pending: Mutex<Pending>,
}

/// Finished and not kept yet.
#[derive(Default)]
struct Pending {
    /// Names and bytes.
    pieces: Vec<(String, Content)>,
    took: Duration,
    bytes: usize,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(parts: &'a Parts<'a>) -> Keeper<'a> {
        Keeper { parts, pending: Mutex::default() }
    }

    /// Takes note of a piece of so many bytes, and writes what is worth it. What has no content is computed again.
    pub(super) fn add(&self, name: String, bytes: usize, took: Duration, content: impl FnOnce() -> Option<Content>) {
        {
            let mut pending = self.pending();
            pending.took += took;
            pending.bytes += bytes;
            if pending.took.as_secs_f64() * WORTH < pending.bytes as f64 {
                *pending = Pending::default();
                return;
            }
        }
        // Nothing is held here: this may be spread over threads, and a thread that waits for others takes up further jobs, which
        // come here, too.
        let content = content();
        // Held while pieces are written: they are written one after the other.
        let mut pending = self.pending();
        pending.pieces.extend(content.map(|content| (name, content)));
        if pending.took >= self.parts.after() {
            let Pending { pieces, .. } = std::mem::take(&mut *pending);
            pieces.iter().for_each(|(name, content)| self.parts.put(name, content));
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
