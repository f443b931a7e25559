//! How far an attempt is, and whether it should stop: shared by the device thread, the heartbeat and the upload.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The progress of one attempt, seen from everywhere.
#[derive(Debug, Default)]
pub struct Progress {
    stop: AtomicBool,
    stopped: Notify,
    share: AtomicU64,
    tokens: AtomicU64,
}

impl Progress {
    /// Nothing done yet.
    pub fn new() -> Progress {
        Progress::default()
    }

    /// Asks the attempt to stop at the next chance.
    pub fn cancel(&self) {
        self.stop.store(true, Ordering::Release);
        self.stopped.notify_waiters();
    }

    /// Whether the attempt should stop.
    pub fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until the attempt should stop.
    pub async fn cancellation(&self) {
        let notified = self.stopped.notified();
        tokio::pin!(notified);
        // Enabled before the flag is read, so that no cancel falls between the two.
        notified.as_mut().enable();
        if !self.cancelled() {
            notified.await;
        }
    }

    /// Sets the share done (0..=1) and the tokens that went through the model so far.
    pub fn set(&self, share: f64, tokens: u64) {
        self.share.store(share.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        self.tokens.store(tokens, Ordering::Relaxed);
    }

    /// The share done, 0..=1.
    pub fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    /// Tokens that went through the model so far.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancel_before_or_during_the_wait_is_seen() {
        let progress = std::sync::Arc::new(Progress::new());
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.cancellation().await }
        });
        tokio::task::yield_now().await;
        progress.cancel();
        waiting.await.unwrap();
        progress.cancellation().await;
    }
}
