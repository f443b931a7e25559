//! Pauses between tries: doubling, bounded, jittered, and over when the patience is.

use std::time::Duration;

use limbic_store::{StoreError, chance};
use tokio::time::Instant;

use crate::settings::Timing;

/// The pauses of one request that is tried again.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
    patience: Duration,
    began: Option<Instant>,
}

impl Pauses {
    pub(crate) fn new(timing: &Timing) -> Pauses {
        Pauses { next: timing.first_pause, longest: timing.longest_pause, patience: timing.patience, began: None }
    }

    /// Waits before the next try; false (at once) where the first failure is longer ago than the patience.
    pub(crate) async fn wait(&mut self) -> bool {
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
    pub(crate) fn seconds(&self) -> u64 {
        self.began.map_or(0, |b| b.elapsed().as_secs())
    }
}

/// Tries a store operation until it succeeds, fails for good, or the store has been out of reach for longer than the
/// patience: computing again costs more than waiting.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    timing: &Timing,
    operation: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut pauses = Pauses::new(timing);
    loop {
        match operation().await {
            Err(error) if error.out_of_reach() && pauses.wait().await => tracing::warn!(%error, "the store is away; trying again"),
            result => return result,
        }
    }
}

/// Between 80 % and 120 % of a duration, so that many workers don't move in step.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * chance::draw::<f64>())
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
