//! Waiting for a store: until it is there again, until it does again what it did before, and for answers that are not old.

use std::sync::atomic::{AtomicBool, Ordering};
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
    while_passing(timing, operation, StoreError::out_of_reach).await
}

/// Tries a store operation until it succeeds, or fails with what doesn't pass or hasn't within the patience.
async fn while_passing<T, F: Future<Output = Result<T, StoreError>>>(
    timing: &Timing,
    operation: impl Fn() -> F,
    passes: impl Fn(&StoreError) -> bool,
) -> Result<T, StoreError> {
    let mut pauses = timing.pauses();
    loop {
        match operation().await {
            Err(error) if passes(&error) && pauses.wait().await => tracing::warn!(%error, "the store is away or refuses; trying again"),
            result => return result,
        }
    }
}

/// What the store has done for this process so far. What it refuses although it did such before (credentials that have run out, a disk
/// that is full by now) is waited for, and no reason to call anybody; what it refuses from the start somebody must mend.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    read: AtomicBool,
    written: AtomicBool,
}

impl Proven {
    /// [`patiently`] for reads that can't be done without: once the store was read, what it refuses is waited for, too.
    pub(crate) async fn reading<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        timing: &Timing,
        operation: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let result = while_passing(timing, operation, |error| self.reads_again(error)).await;
        self.read.fetch_or(result.is_ok(), Ordering::Relaxed);
        result
    }

    /// Whether what can't be read now may be readable later.
    pub(crate) fn reads_again(&self, error: &StoreError) -> bool {
        error.out_of_reach() || (self.read.load(Ordering::Relaxed) && error.may_pass())
    }

    /// [`patiently`] for a write; where it fails for good, whether it may succeed later. Once the store was written, what it
    /// refuses is waited for, too. So it is where nothing was written yet, but `look`, which reads, is refused as well by now: then the
    /// credentials have run out, and not only writing is forbidden to them.
    pub(crate) async fn writing<T, W: Future<Output = Result<T, StoreError>>, L: Future<Output = Result<(), StoreError>>>(
        &self,
        timing: &Timing,
        operation: impl Fn() -> W,
        look: impl Fn() -> L,
    ) -> Result<T, (StoreError, bool)> {
        let mut pauses = timing.pauses();
        loop {
            let error = match operation().await {
                Ok(value) => {
                    self.written.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let passes = error.out_of_reach()
                || error.may_pass()
                    && (self.written.load(Ordering::Relaxed)
                        || self.read.load(Ordering::Relaxed) && look().await.is_err_and(|error| error.may_pass()));
            if !passes || !pauses.wait().await {
                return Err((error, passes));
            }
            tracing::warn!(%error, "the store can't be written now; trying again");
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

    fn timing() -> Timing {
        Timing { patience: Duration::from_secs(60), ..Timing::default() }
    }

    fn refused() -> StoreError {
        StoreError::Denied { url: String::new(), what: String::new() }
    }

    /// What is refused so often, and then done; counts.
    fn refusing<'a>(times: usize, asked: &'a Cell<usize>) -> impl Fn() -> std::future::Ready<Result<(), StoreError>> + 'a {
        move || std::future::ready(if asked.replace(asked.get() + 1) < times { Err(refused()) } else { Ok(()) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_read_is_waited_for_once_the_store_was_read() {
        let (proven, asked) = (Proven::default(), Cell::new(0));
        assert!(proven.reading(&timing(), refusing(2, &asked)).await.is_err());
        assert!(asked.get() == 1 && !proven.reads_again(&refused()), "what it refuses from the start is to be mended");
        proven.reading(&timing(), refusing(0, &asked)).await.unwrap();
        asked.set(0);
        proven.reading(&timing(), refusing(3, &asked)).await.unwrap();
        assert_eq!(asked.get(), 4);
        let began = Instant::now();
        let error = proven.reading(&timing(), refusing(usize::MAX, &asked)).await.unwrap_err();
        assert!(began.elapsed() >= timing().patience && proven.reads_again(&error), "it may be allowed later");
        let corrupt = || async { Err::<(), _>(StoreError::Corrupt { url: String::new(), path: String::new(), message: String::new() }) };
        let began = Instant::now();
        assert!(proven.reading(&timing(), corrupt).await.is_err() && began.elapsed().is_zero(), "what rots stays so");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_waited_for_once_the_store_was_written_or_where_reads_are_refused_by_now() {
        let (proven, asked, never) = (Proven::default(), Cell::new(0), Cell::new(0));
        let write = async |times, reads: bool| {
            asked.set(0);
            let looks = Cell::new(0);
            let look = refusing(if reads { 0 } else { usize::MAX }, &looks);
            proven.writing(&timing(), refusing(times, &asked), look).await.map_err(|(_, passes)| passes)
        };
        assert_eq!((write(3, false).await, asked.get()), (Err(false), 1), "it was not even read");
        proven.reading(&timing(), refusing(0, &never)).await.unwrap();
        assert_eq!((write(3, true).await, asked.get()), (Err(false), 1), "it can be read, but not be written");
        assert_eq!((write(3, false).await, asked.get()), (Ok(()), 4), "the credentials had run out");
        assert_eq!((write(3, true).await, asked.get()), (Ok(()), 4), "the disk was full for a while");
        assert_eq!(write(usize::MAX, true).await, Err(true));
    }

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
