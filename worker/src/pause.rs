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

/// How old an answer may be when it comes for something to be begun on it.
const FRESH: Duration = Duration::from_secs(1);

/// How often something is looked at where every answer takes longer than that.
const LOOKS: usize = 3;

/// Looks at what others may change, and once more where the answer took long to come: this process may have been stopped, or the
/// network held up, after the store had answered. A store that is always slow is believed in the end.
pub(crate) async fn freshly<T, F: Future<Output = T>>(look: impl Fn() -> F) -> T {
    let mut left = LOOKS;
    loop {
        let asked = Instant::now();
        let found = look().await;
        left -= 1;
        if left == 0 || asked.elapsed() <= FRESH {
            return found;
        }
    }
}

/// Between 80 % and 120 % of a duration, so that many workers don't move in step.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * chance::draw::<f64>())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_came_late_is_not_begun_on() {
        // Each look sees what is so when it is asked; each answer takes its time.
        let looks = Cell::new(0);
        let look = |takes: fn(usize) -> u64| {
            let seen = looks.replace(looks.get() + 1);
            async move {
                tokio::time::sleep(Duration::from_millis(takes(seen))).await;
                seen
            }
        };
        assert_eq!(freshly(|| look(|_| 900)).await, 0, "an answer that comes soon counts");
        looks.set(0);
        assert_eq!(freshly(|| look(|seen| if seen == 0 { 10_000 } else { 5 })).await, 1, "what was so ten seconds ago does not");
        looks.set(0);
        assert_eq!(freshly(|| look(|_| 2000)).await, LOOKS - 1, "a slow store is believed in the end");
    }

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
