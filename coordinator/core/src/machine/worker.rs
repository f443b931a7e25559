//! A connected worker, as placement sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::takes::Takes;

/// A connected worker.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub device: String,
    /// Which units it takes.
    pub takes: Takes,
    /// Bytes of memory models can use; 0 = not told.
    pub memory: u64,
    /// When it was last heard of.
    pub seen: Duration,
    /// It waits for a unit.
    pub ready: bool,
    /// It wants nothing more.
    pub draining: bool,
    /// The models it has in memory.
    pub loaded: Vec<Digest>,
    /// Units it committed.
    pub commits: u64,
    /// Units it failed since its last commit.
    pub streak: BTreeSet<UnitKey>,
    /// Units it ever failed.
    pub failed: BTreeSet<UnitKey>,
}

impl Worker {
    /// One that has just been heard of, and not said anything of itself.
    pub fn new(now: Duration) -> Worker {
        Worker {
            device: String::new(),
            takes: Takes::All,
            memory: 0,
            seen: now,
            ready: false,
            draining: false,
            loaded: Vec::new(),
            commits: 0,
            streak: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    /// Whether it failed so many different units in a row that it is the likelier culprit.
    pub fn set_aside(&self, strikes: usize) -> bool {
        self.streak.len() >= strikes
    }

    /// Whether a model of `bytes` can be in its memory.
    pub fn fits(&self, bytes: u64) -> bool {
        self.memory == 0 || bytes <= self.memory
    }

    pub fn committed(&mut self) {
        self.commits += 1;
        self.streak.clear();
    }

    pub fn failed(&mut self, unit: UnitKey) {
        self.streak.insert(unit);
        self.failed.insert(unit);
    }
}
