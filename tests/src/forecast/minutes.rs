//! What happened, minute by minute: amounts that come at a moment or over a while, their means and peaks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Units granted by the coordinator.
    Grants,
    /// Heartbeats that the coordinator answers.
    Heartbeats,
    /// Everything that the coordinator is asked: heartbeats, leases, reports, registrations.
    Calls,
    /// Objects, parts of objects and lengths that the store is asked for.
    Gets,
    /// Objects and parts of objects that are written.
    Puts,
    /// Folders listed.
    Lists,
    /// Bytes of objects read from the store.
    BytesRead,
    /// Bytes of objects written to the store.
    BytesWritten,
    /// Bytes of the sweep's journal.
    JournalBytes,
}

impl Counted {
    /// All of them, in the order of tables.
    pub const ALL: [Counted; 9] = [
        Counted::Grants,
        Counted::Heartbeats,
        Counted::Calls,
        Counted::Gets,
        Counted::Puts,
        Counted::Lists,
        Counted::BytesRead,
        Counted::BytesWritten,
        Counted::JournalBytes,
    ];
}

/// Seconds in a minute.
const MINUTE: f64 = 60.0;

/// Amounts by what they are of and by the minute in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Minutes {
    amounts: BTreeMap<Counted, Vec<f64>>,
}

impl Minutes {
    /// An amount that comes at a moment.
    pub fn add(&mut self, what: Counted, at: Duration, amount: f64) {
        self.put(what, (at.as_secs_f64() / MINUTE) as usize, amount);
    }

    /// An amount that comes evenly from a moment to another; at once where there is no time between.
    pub fn spread(&mut self, what: Counted, from: Duration, to: Duration, amount: f64) {
        let (from_seconds, to_seconds) = (from.as_secs_f64(), to.as_secs_f64());
        if to_seconds <= from_seconds {
            return self.add(what, from, amount);
        }
        let mut at = from_seconds;
        while at < to_seconds {
            let minute = (at / MINUTE) as usize;
            let until = to_seconds.min((minute + 1) as f64 * MINUTE);
            self.put(what, minute, amount * (until - at) / (to_seconds - from_seconds));
            at = until;
        }
    }

    fn put(&mut self, what: Counted, minute: usize, amount: f64) {
        let amounts = self.amounts.entry(what).or_default();
        if amounts.len() <= minute {
            amounts.resize(minute + 1, 0.0);
        }
        amounts[minute] += amount;
    }

    /// All of it.
    pub fn total(&self, what: Counted) -> f64 {
        self.amounts.get(&what).map_or(0.0, |amounts| amounts.iter().sum())
    }

    /// Per second, in the minute that had the most.
    pub fn peak(&self, what: Counted) -> f64 {
        self.amounts.get(&what).map_or(0.0, |amounts| amounts.iter().copied().fold(0.0, f64::max) / MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_belong_to_the_minutes_in_which_they_come() {
        let at = Duration::from_secs_f64;
        let mut minutes = Minutes::default();
        minutes.add(Counted::Grants, at(59.0), 2.0);
        minutes.add(Counted::Grants, at(60.0), 3.0);
        minutes.spread(Counted::Gets, at(30.0), at(180.0), 150.0);
        minutes.spread(Counted::Puts, at(7.0), at(7.0), 5.0);
        assert_eq!(minutes.amounts[&Counted::Grants], [2.0, 3.0]);
        assert_eq!(minutes.amounts[&Counted::Gets], [30.0, 60.0, 60.0]);
        assert_eq!((minutes.total(Counted::Gets), minutes.peak(Counted::Gets)), (150.0, 1.0));
        assert_eq!((minutes.total(Counted::Puts), minutes.peak(Counted::Lists)), (5.0, 0.0));
    }
}
