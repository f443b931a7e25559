//! The command line, shared by the binary `limbic-worker` and the hidden subcommand `limbic worker`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::execute::{EngineExecutor, Executor};
use crate::inspect::{InspectArgs, InspectError};
use crate::run::{Components, ExitKind, WorkerError, run};
use crate::settings::{Settings, Timing};

/// A worker's flags. Each can also be set by an environment variable; flags win.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Where the coordinator listens.
    #[arg(long, env = "LIMBIC_COORDINATOR", default_value = "http://127.0.0.1:7447", value_name = "URL")]
    pub coordinator: String,
    /// What to compute on: `cpu` or `cuda:N`.
    #[arg(long, env = "LIMBIC_DEVICE", default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// Threads of computation [default: one per core].
    #[arg(long, env = "LIMBIC_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The worker's name [default: host, process and a random tail].
    #[arg(long, env = "LIMBIC_WORKER_ID", value_name = "NAME")]
    pub id: Option<String>,
    /// Leave once every sweep is finished.
    #[arg(long, env = "LIMBIC_EXIT_WHEN_FINISHED")]
    pub exit_when_finished: bool,
    /// Keep verified artifacts of other units in this folder, too, for the next run; nothing in it is ever deleted.
    #[arg(long, env = "LIMBIC_CACHE_DIR", value_name = "FOLDER")]
    pub cache_dir: Option<PathBuf>,
    /// How long the coordinator may be away before the worker gives up.
    #[arg(long, env = "LIMBIC_PATIENCE", default_value_t = 600, value_name = "SECONDS")]
    pub patience: u64,
    /// How the log on standard error is written; what is logged is set by LIMBIC_LOG (such as `info` or `debug`).
    #[arg(long, env = "LIMBIC_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Something else than working.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a worker can do besides working for a coordinator.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Write a model's hidden states on some texts, as transformers orders them, to compare with.
    Inspect(InspectArgs),
}

impl Args {
    /// The settings that the flags and variables give.
    pub fn settings(&self) -> Settings {
        let id = self.id.clone().unwrap_or_else(crate::machine::worker_id);
        Settings {
            coordinator: self.coordinator.clone(),
            device: self.device.clone(),
            threads: self.threads.map(usize::from),
            id,
            exit_when_finished: self.exit_when_finished,
            cache_dir: self.cache_dir.clone(),
            timing: Timing { patience: Duration::from_secs(self.patience), ..Timing::default() },
        }
    }
}

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("starting the runtime: {0}")]
    Runtime(std::io::Error),
}

impl ProcessError {
    fn exit_code(&self) -> u8 {
        match self {
            ProcessError::Worker(error) => error.exit_code(),
            ProcessError::Inspect(error) => error.exit_code(),
            ProcessError::Runtime(_) => 75,
        }
    }
}

/// The program `limbic-worker`.
#[derive(Debug, Parser)]
#[command(name = "limbic-worker", version, about = "Computes units for a Limbic coordinator, or inspects a model.")]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// [`main`] with the arguments of this process's command line.
pub fn cli() -> ExitCode {
    main(Cli::parse().args)
}

/// The process: logs to standard error, works, and gives the exit code: 0 finished or drained, 2 something the user must
/// change, 75 trying again later may help.
pub fn main(args: Args) -> ExitCode {
    log(args.log_format);
    let settings = args.settings();
    exit(match &args.command {
        Some(Command::Inspect(inspect)) => crate::inspect::inspect(inspect).map_err(ProcessError::from),
        None => EngineExecutor::new(&settings.device, settings.threads)
            .map_err(|error| WorkerError::from(error).into())
            .and_then(|executor| work(settings, Box::new(executor))),
    })
}

/// The process with another engine, for tests; what the arguments say of the engine counts for nothing.
pub fn main_with(args: Args, executor: Box<dyn Executor>) -> ExitCode {
    log(args.log_format);
    exit(work(args.settings(), executor))
}

fn exit(result: Result<(), ProcessError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn work(settings: Settings, executor: Box<dyn Executor>) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ProcessError::Runtime)?;
    let components = Components { executor, store: None };
    let result = runtime.block_on(run(settings, components, stop_signal()));
    // A unit that was given back may still be computing; nobody waits for it.
    runtime.shutdown_background();
    match result? {
        ExitKind::Finished => tracing::info!("every sweep is finished"),
        ExitKind::Drained => tracing::info!("drained"),
    }
    Ok(())
}

/// Resolves at the first SIGTERM or ctrl-c; the second one ends the process at once.
async fn stop_signal() {
    signal().await;
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut term) => drop(term.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = term => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LIMBIC_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error only says that the process logs already.
    let _ = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
