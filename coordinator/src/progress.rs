//! What people see while they wait: a bar with rates and time left, a line per phase, and numbers in words.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limbic_proto::logs::tell;
use limbic_proto::status::{Status, SweepState};
use tracing::Level;

/// A sweep's progress bar. Where standard error is not a terminal (a file, the log of a job) it is a line now and then.
#[derive(Debug)]
pub struct SweepBar {
    bar: ProgressBar,
    lines: RefCell<Lines>,
}

/// The lines in place of a bar.
#[derive(Debug)]
struct Lines {
    began: Instant,
    /// None before the first line.
    said: Option<Instant>,
    last: String,
    /// The latest that wasn't said.
    unsaid: Option<String>,
}

impl Lines {
    /// Whether it is time for another line: five seconds after the last one in the first minute, later less often, a minute at
    /// most.
    fn due(&self, now: Instant) -> bool {
        self.said.is_none_or(|said| now - said >= ((said - self.began) / 10).clamp(Duration::from_secs(5), Duration::from_secs(60)))
    }
}

/// One phase of a command (reading, downloading, evaluating), shown on one line with the time it takes; invisible when
/// standard error is not a terminal, and gone when dropped.
#[derive(Debug)]
pub struct Phase {
    bar: ProgressBar,
}

impl Phase {
    /// A phase whose length nobody knows.
    pub fn new(what: impl Into<String>) -> Phase {
        Phase::on(ProgressDrawTarget::stderr_with_hz(8), None, what)
    }

    /// What is done with a source; downloads from the hub show themselves.
    pub fn on_source(doing: &str, source: &str) -> Option<Phase> {
        (!source.starts_with("hf://")).then(|| Phase::new(format!("{doing} {source}")))
    }

    /// A phase of so many steps.
    pub fn of(steps: usize, what: impl Into<String>) -> Phase {
        Phase::on(ProgressDrawTarget::stderr_with_hz(8), Some(steps as u64), what)
    }

    fn on(target: ProgressDrawTarget, steps: Option<u64>, what: impl Into<String>) -> Phase {
        let bar = ProgressBar::with_draw_target(steps, target);
        let template = match steps {
            Some(_) => "{spinner} {msg} {pos}/{len} · {per_sec} · {elapsed}, {eta} left",
            None => "{spinner} {msg} · {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a well-formed template"));
        bar.set_message(what.into());
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(125));
        }
        Phase { bar }
    }

    /// A step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bar measures work in units of 10^9 floating-point operations, for units differ in size.
const GIGA: f64 = 1e9;

impl SweepBar {
    /// A bar for a sweep.
    pub fn new(name: &str) -> SweepBar {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3}% {msg}").expect("a well-formed template");
        bar.set_style(style.progress_chars("━━─"));
        bar.set_prefix(name.to_owned());
        SweepBar { bar, lines: RefCell::new(Lines { began: Instant::now(), said: None, last: String::new(), unsaid: None }) }
    }

    /// Draws where the sweep stands.
    pub fn show(&self, status: &Status) {
        let work = &status.work;
        self.bar.set_length((work.total_flops / GIGA).max(1.0) as u64);
        self.bar.set_position((work.done_flops / GIGA) as u64);
        let mut parts = vec![format!("{}/{} units", status.units.committed, status.units.total)];
        if status.cells.total > 0 {
            parts.push(format!("{}/{} cells", status.cells.done, status.cells.total));
        }
        if work.seconds > 0.0 && work.tokens > 0 {
            parts.push(format!("{} tokens/s", count(work.tokens as f64 / work.seconds)));
        }
        parts.extend(to_come(status));
        if status.units.quarantined > 0 {
            parts.push(format!("{} quarantined", status.units.quarantined));
        }
        parts.push(counted(status.workers.len(), "worker"));
        if status.state == SweepState::Paused {
            parts.push("paused: `limbic resume` goes on".to_owned());
        }
        let line = parts.join(" · ");
        if self.bar.is_hidden() {
            self.line(format!("sweep {}: {:.0}% of the work, {line}", status.name, 100.0 * work.done_flops / work.total_flops.max(1.0)));
        }
        self.bar.set_message(line);
    }

    /// Says a line, if it is time for one and it says anything new.
    fn line(&self, line: String) {
        let mut lines = self.lines.borrow_mut();
        let now = Instant::now();
        if lines.last == line {
            lines.unsaid = None;
        } else if lines.due(now) {
            tell(Level::INFO, &line);
            (lines.said, lines.last, lines.unsaid) = (Some(now), line, None);
        } else {
            lines.unsaid = Some(line);
        }
    }

    /// Takes the bar away; in place of a bar, the last line says where the sweep stands.
    pub fn finish(&self) {
        if let Some(line) = self.lines.borrow_mut().unsaid.take() {
            tell(Level::INFO, &line);
        }
        self.bar.finish_and_clear();
    }
}

/// The share of what was to do that must be done before its rate says anything: baselines on the words are done at once.
const TELLING: f64 = 0.01;

/// How long it will take yet; or what it waits for, where nobody knows when a worker will come that takes it. (That there is none at all
/// is said anyway.)
fn to_come(status: &Status) -> Option<String> {
    let unserved: u64 = status.waiting.iter().filter(|waiting| waiting.unserved).map(|waiting| waiting.count).sum();
    match unserved {
        0 => time_left(status).map(|left| format!("{} left", seconds(left))),
        _ if status.workers.is_empty() => None,
        1 => Some("1 unit waits for a worker that takes it".to_owned()),
        n => Some(format!("{n} units wait for a worker that takes them")),
    }
}

/// Seconds left at the rate so far, once that says anything.
fn time_left(status: &Status) -> Option<f64> {
    let work = &status.work;
    let done = work.done_flops - work.inherited_flops;
    let telling = done > TELLING * (work.total_flops - work.inherited_flops) && work.seconds > 1.0;
    telling.then(|| (work.total_flops - work.done_flops).max(0.0) / (done / work.seconds)).filter(|left| *left >= 0.5)
}

/// So many things in words: `1 unit`, `12 units`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `nothing is`, `1 unit is`, `12 units are`.
pub fn units_are(units: u64) -> String {
    match units {
        0 => "nothing is".to_owned(),
        1 => "1 unit is".to_owned(),
        n => format!("{n} units are"),
    }
}

/// A time in words: `850 ms`, `12 s`, `3 min 20 s`, `4 h 10 min`.
pub fn seconds(s: f64) -> String {
    let whole = Duration::from_secs_f64(s.clamp(0.0, 1e12)).as_secs();
    match whole {
        0 => format!("{:.0} ms", s * 1e3),
        1..60 => format!("{s:.0} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..172_800 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{:.1} days", s / 86400.0),
    }
}

/// A moment, in seconds since 1970, to the minute: `2026-11-30 07:14 UTC`.
pub fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    moment.map_or_else(|| "at no time".to_owned(), |moment| moment.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// A count in words: `950`, `12.3k`, `4.56M`, `7.8G`, `3.2T`, `1.1P`.
pub fn count(n: f64) -> String {
    scaled(n, &["", "k", "M", "G", "T", "P", "E"], 1000.0)
}

/// A size in words: `950 B`, `12.3 KiB`, `4.56 MiB`.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"], 1024.0)
}

fn scaled(n: f64, units: &[&str], base: f64) -> String {
    let mut value = n;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use limbic_proto::status::Status;

    use super::{Lines, bytes, count, counted, seconds, to_come};

    #[test]
    fn lines_come_at_once_then_every_few_seconds_and_every_minute_later() {
        let began = Instant::now();
        let due = |said: Option<u64>, now: u64| {
            let at = |s| began + Duration::from_secs(s);
            Lines { began, said: said.map(at), last: String::new(), unsaid: None }.due(at(now))
        };
        assert_eq!(
            [due(None, 0), due(Some(0), 4), due(Some(0), 5), due(Some(50), 54), due(Some(50), 55)],
            [true, false, true, false, true]
        );
        assert_eq!([due(Some(200), 219), due(Some(200), 220)], [false, true]);
        assert_eq!([due(Some(36_000), 36_059), due(Some(36_000), 36_060)], [false, true]);
    }

    #[test]
    fn no_end_is_foretold_of_what_no_worker_takes() {
        let with = |unserved: bool, worker: bool| -> Status {
            let fits = serde_json::json!({"count": 2, "what": "fit a", "reason": "a worker", "unserved": unserved});
            let there = serde_json::json!({"id": "w", "device": "cpu", "running": [], "committed": 0, "silent_ms": 0});
            serde_json::from_value(serde_json::json!({
                "sweep": "aa", "name": "n", "state": "running", "cells": {"total": 1, "done": 0, "quarantined": 0},
                "units": {"total": 4, "committed": 1, "running": 1, "pending": 2, "quarantined": 0},
                "attempts": {"started": 2, "committed": 1, "failed": 0, "lost": 0},
                "work": {"total_flops": 4e9, "done_flops": 1e9, "inherited_flops": 0.0, "tokens": 0, "seconds": 10.0},
                "workers": if worker { vec![there] } else { Vec::new() }, "quarantined": [], "waiting": [fits],
            }))
            .unwrap()
        };
        assert_eq!(to_come(&with(false, true)).unwrap(), "30 s left");
        assert_eq!(to_come(&with(true, true)).unwrap(), "2 units wait for a worker that takes them");
        assert_eq!(to_come(&with(true, false)), None);
    }

    #[test]
    fn numbers_are_put_in_words() {
        assert_eq!([count(950.0), count(12_345.0), count(4.56e6)], ["950", "12.3k", "4.6M"]);
        assert_eq!([counted(1, "unit"), counted(0, "unit")], ["1 unit", "0 units"]);
        assert_eq!([bytes(12), bytes(1536), bytes(3 << 30)], ["12 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([seconds(0.85), seconds(12.2), seconds(200.0), seconds(15_000.0)], ["850 ms", "12 s", "3 min 20 s", "4 h 10 min"]);
    }
}
