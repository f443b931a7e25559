//! The machine's timers and budgets.

use std::time::Duration;

use limbic_proto::key::{Digest, UnitKey};

/// Timers and budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease lasts without a heartbeat, and how long a worker may be silent.
    pub lease_ttl: Duration,
    /// How often workers are asked to send heartbeats.
    pub heartbeat: Duration,
    /// How long grants are held back after a restart, for workers to name what they still run.
    pub adoption_window: Duration,
    /// Lost attempts after which a unit is split or, where that can't help, quarantined.
    pub lost_budget: u32,
    /// The same of the halves of a unit that spent its own budget of lost attempts: most likely one of its rows ends whichever
    /// worker reads it, and is to be found at the cost of few of them.
    pub half_lost_budget: u32,
    /// Failed attempts after which a unit is split or, where that can't help, quarantined.
    pub fail_budget: u32,
    /// Failures in a row, on different units, after which a worker is set aside.
    pub strikes: usize,
    /// The pause after a unit's first failure; it doubles with each further one.
    pub backoff_base: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// How many percent of a sweep's units must be done before running ones get second attempts.
    pub stragglers_from: u32,
    /// How many times as long as half of its kind an attempt must have taken to count as a straggler.
    pub straggler_factor: u32,
    /// How long an attempt must have taken at least to count as a straggler.
    pub straggler_least: Duration,
    /// Seeds the jitter of pauses.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lease_ttl: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            adoption_window: Duration::from_secs(30),
            lost_budget: 8,
            half_lost_budget: 2,
            fail_budget: 3,
            strikes: 5,
            backoff_base: Duration::from_secs(2),
            backoff_max: Duration::from_secs(300),
            stragglers_from: 90,
            straggler_factor: 3,
            straggler_least: Duration::from_secs(10),
            seed: 0,
        }
    }
}

impl Settings {
    /// The pause before a unit that failed `fails` times is tried again: `base * 2^(fails - 1)`, at most `max`, times a
    /// factor in 0.5..1 drawn from (seed, unit, fails), so that units that failed together don't come back together.
    pub fn backoff(&self, unit: &UnitKey, fails: u32) -> Duration {
        let doublings = fails.saturating_sub(1).min(31);
        let full = self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_max);
        let draw = Digest::of_json(&(self.seed, unit, fails)).seed() >> 11;
        full.mul_f64(0.5 + 0.5 * draw as f64 / (1u64 << 53) as f64)
    }
}
