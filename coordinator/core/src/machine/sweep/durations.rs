//! How long a sweep's units took of late, by kind.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use limbic_proto::unit::UnitKind;

/// So many of the latest are remembered of each kind.
const REMEMBERED: usize = 101;
/// Fewer say nothing.
const ENOUGH: usize = 3;

/// The latest durations of each kind.
#[derive(Debug, Clone, Default)]
pub(in crate::machine) struct Durations {
    latest: BTreeMap<UnitKind, VecDeque<Duration>>,
    /// Kept, for stragglers are sought among all leases whenever a worker waits.
    medians: BTreeMap<UnitKind, Duration>,
}

impl Durations {
    pub fn add(&mut self, kind: UnitKind, took: Duration) {
        let latest = self.latest.entry(kind).or_default();
        latest.push_back(took);
        if latest.len() > REMEMBERED {
            latest.pop_front();
        }
        if latest.len() >= ENOUGH {
            let mut sorted: Vec<Duration> = latest.iter().copied().collect();
            sorted.sort_unstable();
            self.medians.insert(kind, sorted[(sorted.len() - 1) / 2]);
        }
    }

    /// The median; none of a kind that too few are known of.
    pub fn median(&self, kind: UnitKind) -> Option<Duration> {
        self.medians.get(&kind).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_latest_and_of_one_kind() {
        let mut durations = Durations::default();
        let secs = Duration::from_secs;
        for s in [5, 1] {
            durations.add(UnitKind::Fit, secs(s));
        }
        assert_eq!(durations.median(UnitKind::Fit), None);
        durations.add(UnitKind::Fit, secs(9));
        assert_eq!(durations.median(UnitKind::Fit), Some(secs(5)));
        assert_eq!(durations.median(UnitKind::Extract), None);
        (0..REMEMBERED).for_each(|_| durations.add(UnitKind::Fit, secs(100)));
        assert_eq!(durations.median(UnitKind::Fit), Some(secs(100)));
    }
}
