//! What is done to the processes, and when: drawn from the seed alone.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Deeds of one lane happen one after another; lanes go on side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What is done to workers.
    Workers,
    /// What is done to coordinators and to the wire before them.
    Lead,
    /// What is done to the store.
    Store,
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A worker gets SIGKILL.
    KillWorker,
    /// A worker gets SIGSTOP, and SIGCONT when its leases have run out.
    StopWorker,
    /// A worker gets SIGTERM.
    DrainWorker,
    /// Every worker gets SIGKILL.
    KillAllWorkers,
    /// The coordinator gets SIGKILL and is started again at once.
    KillCoordinator,
    /// The coordinator gets SIGSTOP, and SIGCONT when its leases have run out.
    StopCoordinator,
    /// The coordinator gets SIGKILL and stays away for a while.
    Outage,
    /// A second coordinator starts beside the first.
    Duel,
    /// The coordinator gets SIGSTOP, another takes over, the first gets SIGCONT and believes that it leads.
    Zombie,
    /// The wire to the coordinator is cut for a while.
    Partition,
    /// The store is away for some seconds.
    StoreOutage,
    /// A bit of states that were just committed is flipped.
    FlipBit,
}

/// How often a deed is done.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The deed.
    pub deed: Deed,
    /// What the table calls it.
    pub name: &'static str,
    /// Its lane.
    pub lane: Lane,
    /// How often in ten minutes.
    pub in_ten_minutes: f64,
}

/// Every deed there is: add one here and in `Chaos::perform`.
pub const KINDS: &[Kind] = &[
    Kind { deed: Deed::KillWorker, name: "worker SIGKILL", lane: Lane::Workers, in_ten_minutes: 135.0 },
    Kind { deed: Deed::StopWorker, name: "worker SIGSTOP past the lease", lane: Lane::Workers, in_ten_minutes: 14.0 },
    Kind { deed: Deed::DrainWorker, name: "worker SIGTERM (drain)", lane: Lane::Workers, in_ten_minutes: 26.0 },
    Kind { deed: Deed::KillAllWorkers, name: "all workers SIGKILL", lane: Lane::Workers, in_ten_minutes: 4.0 },
    Kind { deed: Deed::KillCoordinator, name: "coordinator SIGKILL", lane: Lane::Lead, in_ten_minutes: 30.0 },
    Kind { deed: Deed::StopCoordinator, name: "coordinator SIGSTOP past the leases", lane: Lane::Lead, in_ten_minutes: 3.0 },
    Kind { deed: Deed::Outage, name: "coordinator outage", lane: Lane::Lead, in_ten_minutes: 4.0 },
    Kind { deed: Deed::Duel, name: "two coordinators at once", lane: Lane::Lead, in_ten_minutes: 4.0 },
    Kind { deed: Deed::Zombie, name: "coordinator back from the dead", lane: Lane::Lead, in_ten_minutes: 2.0 },
    Kind { deed: Deed::Partition, name: "wire cut", lane: Lane::Lead, in_ten_minutes: 3.0 },
    Kind { deed: Deed::StoreOutage, name: "store outage", lane: Lane::Store, in_ten_minutes: 2.0 },
    Kind { deed: Deed::FlipBit, name: "bit flip", lane: Lane::Store, in_ten_minutes: 14.0 },
];

/// A deed and when it is due.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// When, after the start.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// Whom it hits and for how long follow from this.
    pub draw: u64,
}

/// The deeds of a lane in order of time, all within the first nine tenths of `length`; each kind at least once.
pub fn schedule(seed: u64, lane: Lane, length: Duration) -> Vec<Planned> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed ^ ((lane as u64 + 1) << 56));
    let mut planned = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.lane == lane) {
        let count = (kind.in_ten_minutes * length.as_secs_f64() / 600.0).round().max(1.0) as usize;
        for _ in 0..count {
            let at = length.mul_f64(0.9 * draws.random::<f64>());
            planned.push(Planned { at, deed: kind.deed, draw: draws.random() });
        }
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}
