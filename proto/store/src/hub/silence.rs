//! A limit for how long the hub may bring nothing: the library that asks it has none, and waits for ever for a connection that
//! was dropped without a word.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long nothing may come before it is given up.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// What `ask` gives, unless before that all that `come` counts stays the same for this long. Nobody can end the thread that asks,
/// and what it has locked stays locked, until the process ends.
pub(super) fn unless_silent<T: Send + 'static>(
    silence: Duration,
    come: impl Fn() -> u64,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, answer) = channel();
    // Whoever waits may have given up.
    let asking = thread::spawn(move || drop(done.send(ask())));
    let (mut seen, mut since) = (come(), Instant::now());
    loop {
        match answer.recv_timeout(silence / 60) {
            Ok(answer) => return Some(answer),
            // It can only have panicked.
            Err(RecvTimeoutError::Disconnected) => resume_unwind(asking.join().expect_err("it sends before it ends")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = come();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= silence {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_brings_nothing_is_given_up_and_what_grows_is_waited_for() {
        let silence = Duration::from_millis(300);
        assert_eq!(unless_silent(Duration::from_secs(600), || 0, || 7), Some(7));
        let (_held, never) = mpsc::channel::<()>();
        let began = Instant::now();
        assert_eq!(unless_silent(silence, || 5, move || never.recv().is_ok()), None);
        assert!(began.elapsed() >= silence);
        // It asks for longer than the silence, but each look finds more than the last.
        let (count, enough) = (Arc::new(AtomicU64::new(0)), mpsc::channel());
        let (counted, (tell, told)) = (count.clone(), enough);
        let come = move || {
            let come = counted.fetch_add(1, Ordering::SeqCst);
            if come == 100 {
                tell.send(()).unwrap();
            }
            come
        };
        let began = Instant::now();
        assert_eq!(unless_silent(silence, come, move || told.recv().is_ok()), Some(true));
        assert!(began.elapsed() > silence && count.load(Ordering::SeqCst) > 100);
    }

    #[test]
    #[should_panic(expected = "torn")]
    fn a_panic_is_passed_on() {
        unless_silent::<()>(Duration::from_secs(600), || 0, || panic!("torn"));
    }
}
