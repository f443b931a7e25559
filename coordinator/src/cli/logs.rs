//! Logs: text or JSON on standard error, quiet unless RUST_LOG or LIMBIC_LOG says otherwise.

use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line of text an event.
    #[default]
    Text,
    /// A JSON object an event.
    Json,
}

/// Installs the subscriber. The filter is `LIMBIC_LOG` (as `RUST_LOG`, such as `info` or `limbic=debug`), by default `warn`.
///
/// A command that works `alone` says at its end which attempts failed, so it doesn't log them one by one.
pub fn init(format: LogFormat, alone: bool) {
    let default = if alone { "warn,limbic::service::workers=error" } else { "warn" };
    let filter = EnvFilter::try_from_env("LIMBIC_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
