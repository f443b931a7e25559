//! What a simulated run came to.

use std::collections::BTreeMap;
use std::time::Duration;

use limbic_proto::status::{AttemptCounts, UnitCounts};
use limbic_proto::unit::UnitKind;

use super::minutes::{Counted, Minutes};
use super::worker::Attempt;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Seconds from the first grant to the last commit.
    pub wall_seconds: f64,
    /// Where the units ended.
    pub units: UnitCounts,
    /// How attempts ended.
    pub attempts: AttemptCounts,
    /// Seconds that workers were there, all together.
    pub alive_seconds: f64,
    /// The same of those that take fits alone.
    pub fit_alive_seconds: f64,
    /// Seconds of their attempts, by kind of unit; of those in which something was published meanwhile, both count.
    pub busy_seconds: BTreeMap<UnitKind, f64>,
    /// Seconds of attempts that a preemption made worthless.
    pub lost_seconds: f64,
    /// So many attempts.
    pub lost_attempts: u64,
    /// Seconds of attempts whose unit another attempt committed first.
    pub overtaken_seconds: f64,
    /// Preemptions.
    pub preemptions: u64,
    /// How often a model was loaded.
    pub loads: u64,
    /// Leases at a time, at most.
    pub in_flight: usize,
    /// Bytes of hidden states in the store at a time, at most.
    pub standing: f64,
    /// What coordinator and store were asked.
    pub minutes: Minutes,
}

impl Outcome {
    pub(super) fn new() -> Outcome {
        Outcome {
            wall_seconds: 0.0,
            units: UnitCounts::default(),
            attempts: AttemptCounts::default(),
            alive_seconds: 0.0,
            fit_alive_seconds: 0.0,
            busy_seconds: BTreeMap::new(),
            lost_seconds: 0.0,
            lost_attempts: 0,
            overtaken_seconds: 0.0,
            preemptions: 0,
            loads: 0,
            in_flight: 0,
            standing: 0.0,
            minutes: Minutes::default(),
        }
    }

    /// An attempt has taken its worker until now.
    pub(super) fn used(&mut self, attempt: &Attempt, now: Duration) {
        *self.busy_seconds.entry(attempt.work.kind).or_default() += (now - attempt.began).as_secs_f64();
        if now < attempt.computed_at {
            self.read(attempt, now);
        }
    }

    /// An attempt has read the store until now, evenly: a fit reads while it computes, one read-out after the other.
    pub(super) fn read(&mut self, attempt: &Attempt, now: Duration) {
        let (whole, until) = ((attempt.computed_at - attempt.began).as_secs_f64(), now.min(attempt.computed_at));
        let share = if whole > 0.0 { (until - attempt.began).as_secs_f64() / whole } else { 1.0 };
        self.minutes.spread(Counted::Gets, attempt.began, until, share * attempt.work.gets);
        self.minutes.spread(Counted::BytesRead, attempt.began, until, share * attempt.work.read);
    }

    /// Another attempt was first.
    pub(super) fn overtaken(&mut self, attempt: &Attempt, now: Duration) {
        self.used(attempt, now);
        self.overtaken_seconds += (now - attempt.began).as_secs_f64();
    }

    /// Per second, on average.
    pub fn mean(&self, what: Counted) -> f64 {
        if self.wall_seconds > 0.0 { self.minutes.total(what) / self.wall_seconds } else { 0.0 }
    }
}
