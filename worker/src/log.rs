//! The log of an attempt: what is said while something is done for it, kept in memory until it ends.
//!
//! Every attempt has a span, which is entered wherever something is done for it: in the session's tasks, on the device
//! thread and in the threads that fit. The lines hang on the span, and the layer [`attempt_logs`] adds what is said inside.
//! What standard error is told is another matter.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// The most events, and bytes of them, that a log keeps: the last ones.
const EVENTS: usize = 300;
const BYTES: usize = 64 << 10;

/// The most bytes of one event.
const EVENT_BYTES: usize = 4 << 10;

/// The log of one attempt. It stays empty in a process whose subscriber lacks the layer [`attempt_logs`].
#[derive(Debug)]
pub(crate) struct AttemptLog {
    span: Span,
    lines: Arc<Mutex<Lines>>,
}

impl AttemptLog {
    /// An empty log.
    pub(crate) fn new(unit: &str, attempt: &str) -> AttemptLog {
        // At this level it is there for whoever hears anything at all, so that each of an attempt's events tells whose it is.
        let span = tracing::error_span!("attempt", unit, attempt);
        let lines = Arc::<Mutex<Lines>>::default();
        span.with_subscriber(|(id, subscriber)| {
            if let Some(span) = subscriber.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) {
                span.extensions_mut().insert(Kept(lines.clone()));
            }
        });
        AttemptLog { span, lines }
    }

    /// What is said inside is kept.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// What was said, oldest first; none if that is nothing.
    pub(crate) fn text(&self) -> Option<String> {
        let lines = lock(&self.lines);
        (!lines.kept.is_empty()).then(|| lines.text())
    }
}

/// The lines of a span.
struct Kept(Arc<Mutex<Lines>>);

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last events.
#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Lines {
    fn push(&mut self, event: String) {
        self.bytes += event.len();
        self.kept.push_back(event);
        while self.kept.len() > EVENTS || self.bytes > BYTES {
            let oldest = self.kept.pop_front().expect("an event is shorter than the limit");
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    fn text(&self) -> String {
        let dropped = if self.dropped > 0 { format!("({} earlier events are left out)\n", self.dropped) } else { String::new() };
        dropped + &self.kept.iter().map(String::as_str).collect::<String>()
    }
}

/// The layer that keeps what is said inside an attempt's span: info and above by Limbic's own crates, warnings by others. It
/// must lie directly on a [`Registry`].
pub fn attempt_logs() -> impl Layer<Registry> + Send + Sync {
    Collector.with_filter(Targets::new().with_default(LevelFilter::WARN).with_target("limbic", LevelFilter::INFO))
}

struct Collector;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let spans = context.event_scope(event).into_iter().flatten();
        let kept = spans.into_iter().find_map(|span| span.extensions().get::<Kept>().map(|kept| kept.0.clone()));
        if let Some(lines) = kept {
            let event = in_words(event);
            lock(&lines).push(event);
        }
    }
}

/// An event as a line: time, level, message and fields. What the message has of further lines is indented.
fn in_words(event: &Event<'_>) -> String {
    let (mut time, mut said) = (String::new(), String::new());
    // Writing into a string doesn't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let _ = DefaultFields::new().format_fields(Writer::new(&mut said), event);
    if said.len() > EVENT_BYTES {
        said.truncate(said.floor_char_boundary(EVENT_BYTES));
        said.push('…');
    }
    format!("{time} {:>5} {}\n", event.metadata().level(), said.trim_end().replace('\n', "\n    "))
}

/// Seconds as they are told: to the millisecond.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Runs it where attempts' logs are collected.
    fn collected(run: impl FnOnce()) {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(attempt_logs()), run);
    }

    fn lines(log: &AttemptLog) -> Vec<String> {
        log.text().unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_log_has_what_is_said_in_its_own_span_and_nothing_else() {
        collected(|| {
            let [one, two] = ["1-1", "1-2"].map(|attempt| AttemptLog::new("unit", attempt));
            tracing::info!("outside");
            one.span().in_scope(|| {
                tracing::info!(seconds = 0.5, model = "tiny", "model loaded");
                tracing::debug!("not of interest");
                tracing::info_span!("within").in_scope(|| tracing::warn!("out of memory"));
                two.span().in_scope(|| tracing::error!("another's\nin two lines"));
                tracing::info!(target: "object_store::client", "somebody else's");
                tracing::warn!(target: "object_store::client", "somebody else's trouble");
            });
            let said = lines(&one);
            let ends = [" INFO model loaded seconds=0.5 model=\"tiny\"", " WARN out of memory", " WARN somebody else's trouble"];
            assert_eq!(said.len(), ends.len(), "{said:#?}");
            assert!(said.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{said:#?}");
            assert!(said[0].starts_with("20") && said[0].split(' ').next().unwrap().ends_with('Z'), "{said:#?}");
            let said = lines(&two);
            assert!(said.len() == 2 && said[0].ends_with("ERROR another's") && said[1] == "    in two lines", "{said:#?}");
            assert!(AttemptLog::new("unit", "1-3").text().is_none());
        });
    }

    #[test]
    fn a_log_is_fed_from_every_thread_that_its_span_is_entered_in() {
        let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(attempt_logs()));
        let log = tracing::dispatcher::with_default(&subscriber, || AttemptLog::new("unit", "1-1"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (subscriber, log) = (&subscriber, &log);
                scope.spawn(move || {
                    tracing::dispatcher::with_default(subscriber, || {
                        tracing::info!(thread, "before");
                        (0..50).for_each(|n| log.span().in_scope(|| tracing::info!(thread, n, "said")));
                        tracing::info!(thread, "after");
                    });
                });
            }
        });
        let said = lines(&log);
        for thread in 0..4 {
            let of: Vec<&String> = said.iter().filter(|line| line.contains(&format!("thread={thread} "))).collect();
            assert_eq!(of.len(), 50);
            assert!(of.iter().enumerate().all(|(n, line)| line.ends_with(&format!("said thread={thread} n={n}"))), "{of:#?}");
        }
        assert_eq!(said.len(), 200);
    }

    #[test]
    fn a_log_keeps_the_last_events_and_says_how_many_went() {
        collected(|| {
            let log = AttemptLog::new("unit", "1-1");
            log.span().in_scope(|| (0..1000).for_each(|n| tracing::info!(n, "said")));
            let said = lines(&log);
            assert_eq!((said.len(), said[0].as_str()), (EVENTS + 1, "(700 earlier events are left out)"));
            assert!(said[1].ends_with("n=700") && said[EVENTS].ends_with("n=999"), "{} {}", said[1], said[EVENTS]);

            let long = "é".repeat(1 << 20);
            log.span().in_scope(|| (0..100).for_each(|_| tracing::info!("{long}")));
            let text = log.text().unwrap();
            assert!(text.len() <= BYTES + 100 && text.len() > BYTES / 2, "{}", text.len());
            assert!(text.ends_with("é…\n"));
        });
    }

    #[test]
    fn without_the_layer_a_log_is_empty() {
        let log = AttemptLog::new("unit", "1-1");
        log.span().in_scope(|| tracing::error!("to nobody"));
        assert!(log.text().is_none());
    }
}
