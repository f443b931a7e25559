//! Leaving in good order: no new leases, some time to finish, then everything else is given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::holding::Holding;

/// How long a draining worker waits for the answer to a lease request that is on its way, and at its end for those to its
/// last reports.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How long an attempt may take to notice that it should stop, before it is given back all the same.
const NOTICE: Duration = Duration::from_secs(1);

/// Whether the worker is draining.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    stage: watch::Receiver<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Working,
    Draining,
    /// Whatever still computes or uploads is given back.
    Over,
    /// Nothing is waited for any more.
    Gone,
}

impl Drain {
    /// Drains once `shutdown` resolves: attempts have `time` to finish, then they are asked to stop. All is over
    /// [`NOTICE`] and [`LAST_ANSWER`] later, whether coordinator and store answer or not.
    pub(super) fn watch(shutdown: impl Future<Output = ()> + Send + 'static, time: Duration, holding: Arc<Holding>) -> Drain {
        let (sender, stage) = watch::channel(Stage::Working);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = shutdown => {}
                () = sender.closed() => return,
            }
            tracing::info!(seconds = time.as_secs(), "draining: nothing more is leased; what runs may finish within this time");
            let _ = sender.send(Stage::Draining);
            tokio::time::sleep(time).await;
            holding.cancel_all();
            tokio::time::sleep(NOTICE).await;
            let _ = sender.send(Stage::Over);
            tokio::time::sleep(LAST_ANSWER).await;
            let _ = sender.send(Stage::Gone);
            sender.closed().await;
        });
        Drain { stage }
    }

    pub(super) fn has_begun(&self) -> bool {
        *self.stage.borrow() >= Stage::Draining
    }

    /// Waits until draining begins.
    pub(super) async fn begun(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Waits until the time to finish is over.
    pub(super) async fn over(&self) {
        self.reached(Stage::Over).await;
    }

    /// Waits until not even an answer is waited for.
    pub(super) async fn gone(&self) {
        self.reached(Stage::Gone).await;
    }

    async fn reached(&self, stage: Stage) {
        if self.stage.clone().wait_for(|s| *s >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
