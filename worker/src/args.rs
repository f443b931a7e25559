//! The command line, shared by the binary `limbic-worker` and the hidden subcommand `limbic worker`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, Parser};
use limbic_proto::answer;
use limbic_proto::logs::{self, LogFormat};
use limbic_proto::takes::Takes;

use crate::apply::{ApplyArgs, ApplyError};
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
    /// Which units to take: `all` there are, `passes` (those that run a model) or `fits` (those that don't). On a GPU `all` computes
    /// one of each at a time, fits on the processor.
    #[arg(long, env = "LIMBIC_TAKES", default_value = "all", value_name = "UNITS", value_parser = takes())]
    pub takes: Takes,
    /// Threads of computation [default: one per core].
    #[arg(long, env = "LIMBIC_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The worker's name [default: host, process and a random tail].
    #[arg(long, env = "LIMBIC_WORKER_ID", value_name = "NAME")]
    pub id: Option<String>,
    /// Leave once every sweep is finished.
    #[arg(long, env = "LIMBIC_EXIT_WHEN_FINISHED")]
    pub exit_when_finished: bool,
    /// Keep verified artifacts of other units and, on a CPU, prepared weights in this folder, too, for the next run. Several workers
    /// may share it, and those on one computer then have one copy of a model's weights in memory.
    #[arg(long, env = "LIMBIC_CACHE_DIR", value_name = "FOLDER")]
    pub cache_dir: Option<PathBuf>,
    /// How much the cache folder may hold, such as 20GiB; what was used longest ago goes first.
    #[arg(long, env = "LIMBIC_CACHE_SIZE", value_name = "SIZE", default_value = "20GiB", value_parser = size)]
    pub cache_size: u64,
    /// How much the models in the hub's cache (HF_HOME) may take together, such as 200GiB; those used longest ago go first. No
    /// limit by default: other programs may share the folder.
    #[arg(long, env = "LIMBIC_HUB_SIZE", value_name = "SIZE", value_parser = size)]
    pub hub_size: Option<u64>,
    /// How long the coordinator may be away before the worker gives up.
    #[arg(long, env = "LIMBIC_PATIENCE", default_value_t = 600, value_name = "SECONDS")]
    pub patience: u64,
    /// How the log on standard error is written; what is logged is set by LIMBIC_LOG (such as `info` or `debug`).
    #[arg(long, env = "LIMBIC_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Something else than working.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a worker can do besides working for a coordinator.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Write a model's hidden states on some texts, as transformers orders them, to compare with.
    Inspect(InspectArgs),
    /// Read new texts with a saved probe, token by token.
    Apply(ApplyArgs),
    /// Print a shell's completion script for `limbic-worker`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Args {
    /// The settings that the flags and variables give.
    pub fn settings(&self) -> Settings {
        let id = self.id.clone().unwrap_or_else(crate::machine::worker_id);
        Settings {
            coordinator: self.coordinator.clone(),
            // Fits are computed on the processor.
            device: if self.takes == Takes::Fits { "cpu".to_owned() } else { self.device.clone() },
            takes: self.takes,
            threads: self.threads.map(usize::from),
            id,
            exit_when_finished: self.exit_when_finished,
            cache_dir: self.cache_dir.clone(),
            cache_size: self.cache_size,
            hub_size: self.hub_size,
            timing: Timing { patience: Duration::from_secs(self.patience), ..Timing::default() },
        }
    }
}

/// Reads `passes`.
fn takes() -> impl TypedValueParser<Value = Takes> {
    PossibleValuesParser::new(Takes::ALL.map(Takes::as_str)).map(|word| word.parse().expect("a possible value is one"))
}

/// Reads `20GiB`.
fn size(text: &str) -> Result<u64, String> {
    let usual = || format!("`{text}`: write bytes, or a number with KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (of 1000)");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| usual())?;
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(usual()),
    };
    number.checked_mul(unit).ok_or_else(usual)
}

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("starting the runtime: {0}")]
    Runtime(std::io::Error),
}

impl ProcessError {
    fn exit_code(&self) -> u8 {
        match self {
            ProcessError::Worker(error) => error.exit_code(),
            ProcessError::Inspect(error) => error.exit_code(),
            ProcessError::Apply(error) => error.exit_code(),
            ProcessError::Runtime(_) => 75,
        }
    }
}

/// The program `limbic-worker`.
#[derive(Debug, Parser)]
#[command(
    name = "limbic-worker",
    version,
    about = "Computes units for a Limbic coordinator, inspects a model, or reads texts with a saved probe."
)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// [`main`] with the arguments of this process's command line.
pub fn cli() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { limbic_proto::environment::forget_empty() };
    main(Cli::parse().args)
}

/// The process: logs to standard error, works, and gives the exit code: 0 every sweep is finished, 2 something the user must
/// change, 75 trying again later may help, also after a drain: there was more to do.
pub fn main(args: Args) -> ExitCode {
    let settings = args.settings();
    exit(args.log_format, || match &args.command {
        Some(Command::Inspect(inspect)) => crate::inspect::inspect(inspect).map(|()| ExitKind::Finished).map_err(ProcessError::from),
        Some(Command::Apply(apply)) => crate::apply::apply(apply).map(|()| ExitKind::Finished).map_err(ProcessError::from),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "limbic-worker", &mut script);
            answer!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(ExitKind::Finished)
        }
        None => {
            EngineExecutor::new(&settings.device, settings.threads).map_err(|error| WorkerError::from(error).into()).and_then(|executor| {
                let apart = settings.device != "cpu" && settings.takes == Takes::All;
                let fits = apart.then(|| Box::new(EngineExecutor::on_processor(settings.threads)) as Box<dyn Executor>);
                work(settings, Box::new(executor), fits)
            })
        }
    })
}

/// The process with another engine, for tests; what the arguments say of the engine counts for nothing.
pub fn main_with(args: Args, executor: Box<dyn Executor>) -> ExitCode {
    exit(args.log_format, || work(args.settings(), executor, None))
}

/// What is logged by default: not every single fit, which its attempt's log tells.
const LOG: &str = "info,limbic_worker::execute::fit=warn";

fn exit(format: LogFormat, process: impl FnOnce() -> Result<ExitKind, ProcessError>) -> ExitCode {
    logs::init_beside(format, LOG, Some(crate::log::attempt_logs()));
    match process() {
        Ok(ExitKind::Finished) => ExitCode::SUCCESS,
        Ok(ExitKind::Drained) => ExitCode::from(75),
        Err(error) => {
            logs::tell(tracing::Level::ERROR, &error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn work(settings: Settings, executor: Box<dyn Executor>, fits: Option<Box<dyn Executor>>) -> Result<ExitKind, ProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ProcessError::Runtime)?;
    let components = Components { executor, fits, store: None, simulated: None };
    let result = runtime.block_on(run(settings, components, Box::pin(stop_signal())));
    // A unit that was given back may still be computing; nobody waits for it.
    runtime.shutdown_background();
    let ended = result?;
    match ended {
        ExitKind::Finished => tracing::info!("every sweep is finished"),
        ExitKind::Drained => tracing::info!("drained"),
    }
    Ok(ended)
}

/// Resolves at the first SIGTERM or ctrl-c. A second ctrl-c ends the process at once; a further SIGTERM changes
/// nothing, for whoever ends a whole group of processes sends one to each, and a script among them passes its own on.
async fn stop_signal() {
    let mut signals = Signals::new();
    let mut interrupted = signals.next().await;
    tokio::spawn(async move {
        loop {
            let again = signals.next().await;
            if again && interrupted {
                std::process::exit(130);
            }
            interrupted |= again;
        }
    });
}

/// The signals to leave. They are listened to without a gap, so that a second one is never taken for none.
struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Signals {
        use tokio::signal::unix::{SignalKind, signal};
        Signals { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    /// Waits for the next one: whether it was ctrl-c.
    async fn next(&mut self) -> bool {
        async fn came(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = came(&mut self.terminate) => false,
            () = came(&mut self.interrupt) => true,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> Signals {
        Signals {}
    }

    async fn next(&mut self) -> bool {
        let _ = tokio::signal::ctrl_c().await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("20GiB", 20 << 30), ("20G", 20 << 30), ("1 TB", 1_000_000_000_000), ("3MiB", 3 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("20GiB"), Ok(crate::settings::CACHE_SIZE), "the flag's default is the setting's");
        for bad in ["", "GiB", "-1", "1.5GiB", "1PiB", "99999999TiB"] {
            assert!(size(bad).unwrap_err().contains("powers of 1024"), "{bad}");
        }
    }
}
