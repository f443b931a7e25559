//! Pauses between tries: doubling, bounded, jittered, and over when the patience is.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Timing;

/// The pauses of one request that is tried again.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
    patience: Duration,
    began: Option<Instant>,
}

impl Pauses {
    pub(super) fn new(timing: &Timing) -> Pauses {
        Pauses { next: timing.first_pause, longest: timing.longest_pause, patience: timing.patience, began: None }
    }

    /// Waits before the next try; false (at once) where the first failure is longer ago than the patience.
    pub(super) async fn wait(&mut self) -> bool {
        let began = *self.began.get_or_insert_with(Instant::now);
        let left = self.patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(jittered(self.next).min(left)).await;
        self.next = (self.next * 2).min(self.longest);
        true
    }

    /// Seconds since the first failure.
    pub(super) fn seconds(&self) -> u64 {
        self.began.map_or(0, |b| b.elapsed().as_secs())
    }
}

/// Between 80 % and 120 % of a duration, so that many workers don't move in step.
pub(super) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_and_end_with_the_patience() {
        let timing = Timing {
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(8),
            patience: Duration::from_millis(60),
            ..Timing::default()
        };
        let mut pauses = Pauses::new(&timing);
        let began = Instant::now();
        let mut tries = 0;
        while pauses.wait().await {
            tries += 1;
        }
        assert!((5..30).contains(&tries), "{tries}");
        assert!(began.elapsed() >= timing.patience);
    }
}
