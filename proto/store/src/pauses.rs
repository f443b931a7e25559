//! Pauses between tries: doubling, bounded, jittered, and over when the patience is.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance;

/// The pauses of one request that is tried again.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
    patience: Duration,
    began: Option<Instant>,
}

impl Pauses {
    /// Pauses that double from the first up to the longest, until the first failure is longer ago than the patience.
    pub fn new(first: Duration, longest: Duration, patience: Duration) -> Pauses {
        Pauses { next: first, longest, patience, began: None }
    }

    /// Waits before the next try; false (at once) where the first failure is longer ago than the patience.
    pub async fn wait(&mut self) -> bool {
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
    pub fn seconds(&self) -> u64 {
        self.began.map_or(0, |b| b.elapsed().as_secs())
    }
}

/// Between 80 % and 120 % of a duration, so that many workers don't move in step.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * chance::draw::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_with_the_patience() {
        let (first, longest, patience) = (Duration::from_millis(2), Duration::from_millis(8), Duration::from_millis(60));
        let mut pauses = Pauses::new(first, longest, patience);
        let began = Instant::now();
        let mut lengths = Vec::new();
        loop {
            let before = Instant::now();
            if !pauses.wait().await {
                break;
            }
            lengths.push(before.elapsed());
        }
        // Of 2, 4, 8, 8, … ms, each a fifth longer or shorter; the last one ends with the patience.
        assert!((8..=12).contains(&lengths.len()), "{lengths:?}");
        assert!(lengths[0] < Duration::from_millis(4) && lengths.iter().all(|length| *length <= Duration::from_millis(11)), "{lengths:?}");
        assert!(began.elapsed() >= patience && began.elapsed() <= patience + first, "{lengths:?}");
    }
}
