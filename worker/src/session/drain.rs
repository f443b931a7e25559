//! Leaving in good order: no new leases, some time to finish, then everything else is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::holding::Holding;

/// How long a draining worker waits for the answer to a lease request that is on its way, and at its end for those to its
/// last reports.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How long an attempt may take to notice that it should stop, before it is given back all the same.
const NOTICE: Duration = Duration::from_secs(1);

/// Whether the worker is draining.
#[derive(Debug)]
pub(super) struct Drain {
    course: Arc<Course>,
    /// What moves it on; it ends with its owner.
    _task: JoinSet<()>,
}

/// How far it is. Whoever waits for a stage is woken in the order in which they came, as a channel's receivers are not: a
/// simulation must be the same each time.
#[derive(Debug, Default)]
struct Course {
    stage: AtomicU8,
    moved: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Draining = 1,
    /// Whatever still computes or uploads is given back.
    Over,
    /// Nothing is waited for any more.
    Gone,
}

impl Drain {
    /// Drains once `shutdown` resolves: attempts have `time` to finish, then they are asked to stop. All is over
    /// [`NOTICE`] and [`LAST_ANSWER`] later, whether coordinator and store answer or not.
    pub(super) fn watch(shutdown: impl Future<Output = ()> + Send + 'static, time: Duration, holding: Arc<Holding>) -> Drain {
        let (course, mut task) = (Arc::<Course>::default(), JoinSet::new());
        let moving = course.clone();
        task.spawn(async move {
            shutdown.await;
            tracing::info!(seconds = time.as_secs(), "draining: nothing more is leased; what runs may finish within this time");
            moving.reach(Stage::Draining);
            tokio::time::sleep(time).await;
            holding.cancel_all();
            tokio::time::sleep(NOTICE).await;
            moving.reach(Stage::Over);
            tokio::time::sleep(LAST_ANSWER).await;
            moving.reach(Stage::Gone);
        });
        Drain { course, _task: task }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.course.has_reached(Stage::Draining)
    }

    /// Waits until draining begins.
    pub(super) async fn begun(&self) {
        self.course.reached(Stage::Draining).await;
    }

    /// Waits until the time to finish is over.
    pub(super) async fn over(&self) {
        self.course.reached(Stage::Over).await;
    }

    /// Waits until not even an answer is waited for.
    pub(super) async fn gone(&self) {
        self.course.reached(Stage::Gone).await;
    }
}

impl Course {
    fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        self.moved.notify_waiters();
    }

    fn has_reached(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }

    async fn reached(&self, stage: Stage) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Enabled before the stage is read, so that no move falls between the two.
            moved.as_mut().enable();
            if self.has_reached(stage) {
                return;
            }
            moved.await;
        }
    }
}
