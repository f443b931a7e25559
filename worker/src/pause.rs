//! Waiting for a store: until it is there again, and for answers that are not old.

use std::time::Duration;

use limbic_store::StoreError;
use tokio::time::Instant;

use crate::settings::Timing;

/// Tries a store operation until it succeeds, fails for good, or the store has been out of reach for longer than the
/// patience: computing again costs more than waiting.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    timing: &Timing,
    operation: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut pauses = timing.pauses();
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
}
