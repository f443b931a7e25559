//! Leases: which attempts run where, until when. They are in memory only.

use std::collections::BTreeMap;
use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_proto::unit::UnitKind;

use super::event::{SweepId, Token, WorkerId};

/// A running attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lease {
    /// Whose budgets it runs on.
    pub sweep: SweepId,
    pub unit: UnitKey,
    /// The unit's kind.
    pub kind: UnitKind,
    pub attempt: String,
    pub token: Token,
    pub worker: WorkerId,
    /// Which generation of the unit it computes.
    pub generation: u32,
    /// When it was granted or adopted.
    pub since: Duration,
    /// Whether it was adopted, so that nobody here knows when it began.
    pub adopted: bool,
    pub expires: Duration,
    /// Share done, as the worker says.
    pub share: f64,
    /// Tokens that went through a model so far, as the worker says.
    pub tokens: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its commit stands.
    Committed,
    /// It failed.
    Failed,
    /// Its lease ran out. It may yet come back.
    Lost,
    /// Given back, cancelled, or overtaken by another attempt's commit.
    Released,
}

/// All running attempts, by unit and attempt: a unit may have several (a straggler gets a second one).
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_unit: BTreeMap<(UnitKey, String), Lease>,
}

impl Leases {
    pub fn insert(&mut self, lease: Lease) {
        self.by_unit.insert((lease.unit, lease.attempt.clone()), lease);
    }

    pub fn get_mut(&mut self, unit: &UnitKey, attempt: &str) -> Option<&mut Lease> {
        self.by_unit.get_mut(&(*unit, attempt.to_owned()))
    }

    pub fn remove(&mut self, unit: &UnitKey, attempt: &str) -> Option<Lease> {
        self.by_unit.remove(&(*unit, attempt.to_owned()))
    }

    pub fn of_unit(&self, unit: &UnitKey) -> impl Iterator<Item = &Lease> {
        self.by_unit.range((*unit, String::new())..).take_while(move |((key, _), _)| key == unit).map(|(_, lease)| lease)
    }

    pub fn runs(&self, unit: &UnitKey) -> bool {
        self.of_unit(unit).next().is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_unit.values()
    }

    /// The units that run, each once.
    pub fn units(&self) -> Vec<UnitKey> {
        let mut units: Vec<UnitKey> = self.by_unit.keys().map(|(unit, _)| *unit).collect();
        units.dedup();
        units
    }

    pub fn next_expiry(&self) -> Option<Duration> {
        self.by_unit.values().map(|lease| lease.expires).min()
    }

    /// Takes out a worker's leases.
    pub fn take_of(&mut self, worker: &WorkerId) -> Vec<Lease> {
        let keys: Vec<_> = self.by_unit.iter().filter(|(_, lease)| lease.worker == *worker).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.by_unit.remove(&key)).collect()
    }

    /// Takes out a lease that has run out by `now`.
    pub fn pop_expired(&mut self, now: Duration) -> Option<Lease> {
        let (unit, attempt) = self.by_unit.iter().find(|(_, lease)| lease.expires <= now).map(|(key, _)| key.clone())?;
        self.remove(&unit, &attempt)
    }
}
