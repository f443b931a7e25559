//! What becomes scarce: how much of each resource a run uses, and how much further it reaches.

use limbic_core::machine::Settings;
use serde::Serialize;

use super::Total;
use super::fleet::Fleet;
use super::minutes::Counted;
use super::outcome::Outcome;

/// Grants per second of one coordinator with its store; measured by `scale` (1,010,100 grants of a million units, 256 workers).
const GRANTS: f64 = 2800.0;
/// Requests per second that Amazon S3 documents for one prefix before it divides it: reads, and writes.
const PREFIX: (f64, f64) = (5500.0, 3500.0);
/// The chance of giving up its longest unit that a sweep may run.
const RISK: f64 = 0.01;
/// Copies of one read-out's states that a fit has at a time: as they were read, and standardised.
const COPIES: f64 = 2.0;

/// What one has of something, and what a run takes of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// What is used.
    pub what: &'static str,
    /// In what unit.
    pub unit: &'static str,
    /// How much of it at most.
    pub used: f64,
    /// How much there is.
    pub room: f64,
    /// Whether it grows with the workers, else with the rows.
    pub with_workers: bool,
}

impl Limit {
    /// So many times as many workers (or rows) fill it.
    pub fn reach(&self) -> f64 {
        if self.used > 0.0 { self.room / self.used } else { f64::INFINITY }
    }
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Room {
    /// Bytes of the coordinator's memory.
    pub coordinator: f64,
    /// Bytes of a worker's memory.
    pub worker: f64,
}

/// The limits of a run of so much; `memory` is what rows and plan took, in bytes.
pub fn limits(total: &Total, (fleet, run): &(Fleet, Outcome), memory: f64, room: Room) -> Vec<Limit> {
    let rate = |what, of, room| Limit { what, unit: "/s", used: run.minutes.peak(of), room, with_workers: true };
    let bytes = |what, used: f64, room| Limit { what, unit: "GiB", used: used / GIB, room: room / GIB, with_workers: false };
    let mut limits = vec![
        rate("grants of the coordinator", Counted::Grants, GRANTS),
        rate("reads of one prefix of the store, were there but one", Counted::Gets, PREFIX.0),
        rate("writes of one prefix of the store, were there but one", Counted::Puts, PREFIX.1),
        Limit {
            what: "workers that the work keeps busy as long as its longest chain of units takes",
            unit: "",
            used: fleet.workers as f64,
            room: (total.ideal(&Fleet { workers: 1, fit_workers: 0, ..*fleet }) / total.chain_seconds.max(f64::MIN_POSITIVE)).max(1.0),
            with_workers: true,
        },
        bytes("memory of the coordinator: rows and plan", memory, room.coordinator),
        bytes("memory of a worker: one read-out of the widest fit, twice", COPIES * total.held, room.worker),
    ];
    if fleet.preempted_per_hour > 0.0 {
        let room = bearable(fleet.preempted_per_hour, Settings::default().lost_budget) / 3600.0;
        let what = "hours of the longest unit, for a chance of 1 % that its attempts are lost too often";
        limits.push(Limit { what, unit: "h", used: total.unit_seconds / 3600.0, room, with_workers: false });
    }
    limits
}

/// Bytes in a GiB.
pub(super) const GIB: f64 = (1 << 30) as f64;

/// The most memory that this process has had, in bytes; 0 where the system doesn't tell.
pub fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) * 1024.0
}

/// Seconds of a unit that loses so many attempts with a chance of [`RISK`] where workers are preempted so often in an hour. As what they
/// had finished is kept, their losses come as preemptions do: a Poisson process.
pub fn bearable(per_hour: f64, attempts: u32) -> f64 {
    let (mut low, mut high) = (0.0, 10.0 * f64::from(attempts.max(1)));
    while high - low > 1e-12 * high {
        let middle = (low + high) / 2.0;
        *(if at_least(attempts, middle) < RISK { &mut low } else { &mut high }) = middle;
    }
    low / per_hour * 3600.0
}

/// The chance of at least so many where so many are expected.
fn at_least(many: u32, expected: f64) -> f64 {
    let fewer = (0..many).map(|n| (1..=n).fold((-expected).exp(), |p, k| p * expected / f64::from(k)));
    1.0 - fewer.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_may_take_as_long_as_workers_live() {
        // One loss: 1 - exp(-rate * hours). Of eight, 2.906 are expected: a quantile of the chi-squared distribution with 16
        // degrees of freedom, 5.812, halved.
        assert!((1.0 - (-3.0 * bearable(3.0, 1) / 3600.0).exp() - RISK).abs() < 1e-9);
        assert!((bearable(1.0, 8) / 3600.0 - 2.906).abs() < 1e-3, "{}", bearable(1.0, 8) / 3600.0);
        assert!((bearable(0.5, 8) / bearable(1.0, 8) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_limit_reaches_as_far_as_there_is_room() {
        let limit = |used, room| Limit { what: "it", unit: "", used, room, with_workers: true };
        assert_eq!(limit(2.0, 8.0).reach(), 4.0);
        assert_eq!(limit(0.0, 8.0).reach(), f64::INFINITY);
    }
}
