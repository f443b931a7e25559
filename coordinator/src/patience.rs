//! Waiting for a store that is out of reach.

use std::time::Duration;

use limbic_store::pauses::Pauses;

use crate::failure::Failure;

/// How long something is tried again that fails for a reason which may pass.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    whole: Duration,
    first: Duration,
    longest: Duration,
}

impl Patience {
    /// So long, with pauses that double from half a second up to fifteen.
    pub fn of(whole: Duration) -> Patience {
        Patience { whole, first: Duration::from_millis(500), longest: Duration::from_secs(15) }
    }

    /// Tries until it succeeds or fails for good, or until the first failure is longer ago than the patience.
    ///
    /// # Errors
    /// The last failure.
    pub async fn wait_for<T>(&self, mut what: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut pauses = Pauses::new(self.first, self.longest, self.whole);
        loop {
            match what().await {
                Err(Failure::Again(error)) if pauses.wait().await => tracing::warn!(error, "trying again"),
                answer => return answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(whole: Duration) -> Patience {
        Patience { whole, first: Duration::from_millis(1), longest: Duration::from_millis(4) }
    }

    /// How often it is tried where the tries end so, and how the last one ended.
    async fn tries(patience: Patience, ends: impl Fn(u32) -> Result<(), Failure>) -> (u32, Result<(), Failure>) {
        let mut tries = 0;
        let ended = patience
            .wait_for(async || {
                tries += 1;
                ends(tries)
            })
            .await;
        (tries, ended)
    }

    #[tokio::test]
    async fn what_may_pass_is_waited_for_and_what_does_not_is_not() {
        let long = patience(Duration::from_secs(600));
        let answers = |n| if n < 5 { Err(Failure::again("away")) } else { Ok(()) };
        assert!(matches!(tries(long, answers).await, (5, Ok(()))));
        assert!(matches!(tries(long, |_| Err(Failure::user("refused"))).await, (1, Err(Failure::User(_)))));
        assert!(matches!(tries(patience(Duration::ZERO), |_| Err(Failure::again("away"))).await, (1, Err(Failure::Again(_)))));
        let (count, ended) = tries(patience(Duration::from_millis(20)), |_| Err(Failure::again("away"))).await;
        assert!(count > 1 && matches!(ended, Err(Failure::Again(_))), "{count}");
    }
}
