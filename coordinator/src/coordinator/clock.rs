//! The machine's time: that in which its task listened.
//!
//! Leases run out where nothing is heard of their attempts. A coordinator that was stopped for a minute (SIGSTOP, a node
//! that is frozen, a computer that has too much to do) heard nobody, but for no fault of the workers: their heartbeats
//! still lie in its sockets when it wakes. So such a time doesn't count, and nobody's budget pays for it.

use std::time::Duration;

use tokio::time::Instant;

/// Counts the time in which the task listened.
#[derive(Debug)]
pub(super) struct Clock {
    heartbeat: Duration,
    looked: Instant,
    listened: Duration,
}

impl Clock {
    /// Begins at zero. Workers send their heartbeats so often.
    pub fn new(heartbeat: Duration) -> Clock {
        Clock { heartbeat, looked: Instant::now(), listened: Duration::ZERO }
    }

    /// How long the task may sleep before it looks again, so that it knows its own sleep from a stop.
    pub fn nap(&self) -> Duration {
        self.heartbeat / 2
    }

    /// The time. Where nobody has looked for more than a heartbeat, the task was stopped; of that no more than a nap counts.
    pub fn now(&mut self) -> Duration {
        let passed = self.looked.elapsed();
        self.looked += passed;
        self.listened += if passed > self.heartbeat {
            tracing::warn!(
                seconds = passed.as_secs_f64(),
                "the coordinator didn't run for a while: was it stopped, or has its computer too much to do? No lease ran meanwhile"
            );
            self.nap()
        } else {
            passed
        };
        self.listened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_time_in_which_nobody_looked_does_not_count() {
        let secs = Duration::from_secs;
        let mut clock = Clock::new(secs(10));
        for slept in 1..=6 {
            tokio::time::advance(clock.nap()).await;
            assert_eq!(clock.now(), clock.nap() * slept);
        }
        tokio::time::advance(secs(10)).await;
        assert_eq!(clock.now(), secs(40), "it may be a little late");
        tokio::time::advance(secs(66)).await;
        assert_eq!(clock.now(), secs(45), "it was stopped, perhaps after a nap");
        assert_eq!(clock.now(), secs(45));
    }
}
