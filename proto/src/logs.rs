//! What both programs print: answers on standard output; logs, notes and complaints on standard error, all of one shape (lines
//! of text, or JSON objects).

use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Identity, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The variable that says what is logged, such as `info` or `limbic=debug`.
pub const FILTER: &str = "LIMBIC_LOG";

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// The format that [`init`] was told.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Installs the subscriber of this process. What is logged is set by [`FILTER`], by default `default`; a filter that
/// can't be read is warned about, and the default is taken.
pub fn init(format: LogFormat, default: &str) {
    init_beside(format, default, None::<Identity>);
}

/// [`init`], with a layer beside the log that hears what it asks for, whatever [`FILTER`] says.
pub fn init_beside(format: LogFormat, default: &str, beside: Option<impl Layer<Registry> + Send + Sync>) {
    // As with the subscriber below, the first call counts.
    let _ = FORMAT.set(format);
    let given = std::env::var(FILTER).ok().filter(|given| !given.trim().is_empty());
    let read = given.as_deref().map(EnvFilter::try_new);
    let (filter, bad) = match read {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default), Some(error)),
        None => (EnvFilter::new(default), None),
    };
    // Colours are for terminals: what is kept in a file is read by other programs, too.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let log = match format {
        LogFormat::Text => log.with_target(false).boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).boxed(),
    };
    // An error only says that the process logs already.
    let _ = tracing_subscriber::registry().with(beside).with(log.with_filter(filter)).try_init();
    if let Some(error) = bad {
        let given = given.unwrap_or_default();
        tracing::warn!("{FILTER}=`{given}` can't be read ({error}); `{default}` is used: write a level such as info, or limbic=debug");
    }
}

/// Tells the user something on standard error, in the log's format but whatever the filter is: why the process ends, a note, what
/// is begun.
pub fn tell(level: Level, message: &dyn Display) {
    let message = harmless(&message.to_string());
    let line = match (FORMAT.get().copied().unwrap_or_default(), level) {
        (LogFormat::Json, level) => object(level, &message),
        (LogFormat::Text, Level::ERROR) => format!("error: {message}"),
        (LogFormat::Text, Level::WARN) => format!("warning: {message}"),
        (LogFormat::Text, _) => message,
    };
    // Nobody may be there to hear it.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A text without what would command a terminal or turn its lines around: datasets, models and workers bring their own words. Such
/// characters are written as JSON escapes them, so that JSON stays JSON.
fn harmless(text: &str) -> String {
    let harms = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if harms(c) {
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A message as the subscriber writes its events.
fn object(level: Level, message: &str) -> String {
    let mut timestamp = String::new();
    // Writing into a string doesn't fail.
    let _ = SystemTime.format_time(&mut format::Writer::new(&mut timestamp));
    serde_json::json!({ "timestamp": timestamp, "level": level.as_str(), "message": message, "target": "limbic" }).to_string()
}

/// A line of a command's answer, on standard output; takes what `println!` takes. See [`logs::answer`](crate::logs::answer).
#[macro_export]
macro_rules! answer {
    ($($said:tt)*) => { $crate::logs::answer(::core::format_args!($($said)*)) };
}

/// Whether nobody reads the command's answer any more.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Writes a line of a command's answer to standard output. Where nobody reads it any more (`limbic schema | head -1`) the rest
/// goes unsaid, and the command ends as it would have. An answer that can't be written otherwise ends the process with code 2.
pub fn answer(line: Arguments<'_>) {
    if UNREAD.load(Ordering::Relaxed) {
        return;
    }
    let mut out = std::io::stdout().lock();
    // What goes to a program or a file is meant as it is.
    match if out.is_terminal() { writeln!(out, "{}", harmless(&line.to_string())) } else { writeln!(out, "{line}") } {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => UNREAD.store(true, Ordering::Relaxed),
        Err(error) => {
            tell(Level::ERROR, &format_args!("standard output can't be written: {error}"));
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_shown_instead() {
        let shown = harmless("joy \u{1b}]0;x\u{7}\tand\nanger \u{202e}evil é 😀");
        assert_eq!(shown, "joy \\u001b]0;x\\u0007\tand\nanger \\u202eevil é 😀");
    }

    #[test]
    fn a_failure_is_one_json_object_in_one_line() {
        let line = object(Level::ERROR, "two\nlines and \"quotes\"");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((read["level"].as_str(), read["message"].as_str()), (Some("ERROR"), Some("two\nlines and \"quotes\"")));
        assert!(!line.contains('\n') && read["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
