//! The command line of `limbic`.

mod apply;
mod change;
mod compare;
#[cfg(feature = "local")]
mod computing;
#[cfg(feature = "local")]
mod corpus;
mod doctor;
#[cfg(feature = "local")]
mod export;
mod gc;
mod place;
mod plan;
mod remote;
mod report;
#[cfg(feature = "local")]
mod run;
mod serve;
mod show;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use limbic_proto::answer;
use limbic_proto::logs::{self, LogFormat};
use limbic_proto::wire::Change;
use tracing::Level;

use crate::failure::Failure;

/// Maps how, where and for how long emotion (or any labelled property) is represented inside language models.
#[derive(Debug, Parser)]
#[command(name = "limbic", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How logs are written to standard error; LIMBIC_LOG says which: a level such as info, or a filter such as limbic=debug.
    #[arg(long, global = true, value_enum, default_value_t, env = "LIMBIC_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a sweep on this computer and writes its report; run again after an interruption, it goes on.
    #[cfg(feature = "local")]
    Run(run::RunArgs),
    /// Shows what a sweep would compute and cost, without running anything.
    Plan(plan::PlanArgs),
    /// Checks a spec, its dataset and its models.
    Validate(plan::ValidateArgs),
    /// Builds labelled corpora out of raw comments.
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Corpus(corpus::CorpusCommand),
    /// Prints the JSON Schema of spec files.
    Schema(plan::SchemaArgs),
    /// Leads sweeps: leases their units to workers that connect.
    Coordinator(serve::CoordinatorArgs),
    /// Hands a sweep to a coordinator.
    Submit(remote::SubmitArgs),
    /// Says where a sweep stands.
    Status(status::StatusArgs),
    /// Shows a sweep's progress until it is complete.
    Watch(remote::WatchArgs),
    /// Grants no more units of a sweep; what runs goes on.
    Pause(change::ChangeArgs),
    /// Grants a paused or cancelled sweep's units again.
    Resume(change::ChangeArgs),
    /// Stops a sweep: nothing more is granted, what runs is stopped, everything committed is kept.
    Cancel(change::ChangeArgs),
    /// Tries units again that failed for good.
    Retry(change::RetryArgs),
    /// Computes committed units again, and what was computed from them; the old results stay in the store.
    Again(change::AgainArgs),
    /// Shows what is known of single units: attempts, errors, results.
    Show(show::ShowArgs),
    /// Lists the sweeps of a store or a coordinator.
    List(status::ListArgs),
    /// Writes tables, figures and pages from what is committed.
    Report(report::ReportArgs),
    /// Sets two sweeps of a store side by side, paired where they test the same rows.
    Compare(compare::CompareArgs),
    /// Writes rows, tokens, replies and hidden states of a sweep for other programs.
    #[cfg(feature = "local")]
    Export(export::ExportArgs),
    /// Reads new texts with a fitted probe of a sweep, token by token.
    Apply(apply::ApplyArgs),
    /// Tries the store, this computer and the coordinator, and says what to mend.
    Doctor(doctor::DoctorArgs),
    /// Removes artifacts that no commit names: what lost or failed attempts left behind.
    Gc(gc::GcArgs),
    /// Prints a shell's completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where results are kept.
#[derive(Debug, Clone, clap::Args)]
struct StoreArgs {
    /// A folder or an object-store URL (s3://bucket/prefix, gs://…, az://…); default: the `store` of the spec, if one is given, else ./limbic-store.
    #[arg(long, value_name = "URL", env = "LIMBIC_STORE")]
    store: Option<String>,
}

/// The store folder in the current directory, where nothing else is said.
const DEFAULT_STORE: &str = "limbic-store";

impl StoreArgs {
    fn address(&self, spec: Option<&str>) -> String {
        self.store.as_deref().or(spec).unwrap_or(DEFAULT_STORE).to_owned()
    }

    /// Opens the store, made if missing, and sees whether it answers.
    async fn open(&self, spec: Option<&str>) -> Result<limbic_store::Store, Failure> {
        let store = limbic_store::Store::open(&self.address(spec))?;
        store.probe().await?;
        Ok(store)
    }

    /// Opens the store to lead sweeps on it: it must keep the promises that commits rest on.
    async fn open_to_lead(&self, spec: Option<&str>) -> Result<limbic_store::Store, Failure> {
        let store = self.open(spec).await?;
        store.demand().await?;
        Ok(store)
    }

    /// Opens a store that must be there already.
    async fn open_existing(&self, spec: Option<&str>) -> Result<limbic_store::Store, Failure> {
        let address = self.address(spec);
        if !address.contains("://") && !PathBuf::from(&address).is_dir() {
            return Err(Failure::user(format_args!(
                "--store {address}: there is no such folder; name the store that the sweep was run with"
            )));
        }
        self.open(spec).await
    }
}

/// Runs the command line and returns the exit code: 0 done, 2 user error, 75 try again.
pub fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { limbic_proto::environment::forget_empty() };
    // A worker of `limbic run` is this very program under its first argument; its flags are the worker's own.
    #[cfg(feature = "local")]
    if std::env::args().nth(1).as_deref() == Some(crate::local::WORKER) {
        return crate::local::worker();
    }
    let cli = Cli::parse();
    #[cfg(feature = "local")]
    let alone = matches!(cli.command, Command::Run(_) | Command::Corpus(_));
    #[cfg(not(feature = "local"))]
    let alone = false;
    let filter = match cli.command {
        // A command that works alone says at its end which attempts failed, so it doesn't log them one by one.
        _ if alone => "warn,limbic::service::workers=error,limbic::coordinator::told=error",
        // Whoever reads the log of a server wants to know what came and went.
        Command::Coordinator(_) => "warn,limbic=info",
        _ => "warn",
    };
    logs::init(cli.log_format, filter);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be made");
    let result = match cli.command {
        #[cfg(feature = "local")]
        Command::Run(args) => runtime.block_on(run::run(args, cli.log_format)),
        Command::Plan(args) => runtime.block_on(plan::plan(args)),
        Command::Validate(args) => runtime.block_on(plan::validate(args)),
        Command::Schema(args) => plan::schema(&args),
        #[cfg(feature = "local")]
        Command::Corpus(command) => runtime.block_on(corpus::corpus(command, cli.log_format)),
        Command::Coordinator(args) => runtime.block_on(serve::coordinator(args)),
        Command::Submit(args) => runtime.block_on(remote::submit(args)),
        Command::Status(args) => runtime.block_on(status::status(args)),
        Command::Watch(args) => runtime.block_on(remote::watch(args)),
        Command::Pause(args) => runtime.block_on(change::change(args, Change::Pause)),
        Command::Resume(args) => runtime.block_on(change::change(args, Change::Resume)),
        Command::Cancel(args) => runtime.block_on(change::change(args, Change::Cancel)),
        Command::Retry(args) => runtime.block_on(change::retry(args)),
        Command::Again(args) => runtime.block_on(change::again(args)),
        Command::Show(args) => runtime.block_on(show::show(args)),
        Command::List(args) => runtime.block_on(status::list(args)),
        Command::Compare(args) => runtime.block_on(compare::compare(args)),
        Command::Report(args) => runtime.block_on(report::report(args)),
        #[cfg(feature = "local")]
        Command::Export(args) => runtime.block_on(export::export(args)),
        Command::Apply(args) => runtime.block_on(apply::apply(args, cli.log_format)),
        Command::Doctor(args) => runtime.block_on(doctor::doctor(args)),
        Command::Gc(args) => runtime.block_on(gc::gc(args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "limbic", &mut script);
            answer!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logs::tell(Level::ERROR, &failure);
            ExitCode::from(failure.code())
        }
    }
}
