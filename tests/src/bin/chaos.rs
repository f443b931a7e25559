//! Chaos among real processes, for as long as one likes: `cargo run --release -p limbic-tests --bin chaos -- --minutes 10`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use limbic_tests::chaos::{Options, Place, run};

/// Runs a sweep while its processes are killed, stopped, drained and cut off, and counts what was lost.
#[derive(Debug, Parser)]
struct Args {
    /// How long things are done to the processes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What is done and when follows from it.
    #[arg(long)]
    seed: Option<u64>,
    /// A folder, an object-store URL, or `moto`: an S3 server that is started for the run (the program in LIMBIC_MOTO).
    #[arg(long)]
    store: Option<String>,
    /// At least so many units.
    #[arg(long, default_value_t = 2000)]
    units: usize,
    /// So many workers at a time.
    #[arg(long, default_value_t = 8)]
    workers: usize,
    /// Milliseconds that a unit takes; by default the work lasts about as long as the chaos.
    #[arg(long)]
    unit_millis: Option<u64>,
    /// Where logs and reports go and are kept; by default a new folder, removed if all is well.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let beside = std::env::current_exe()?;
    let seed = args.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let own = args.folder.is_none().then(tempfile::tempdir).transpose()?;
    let folder = args.folder.clone().or(own.as_ref().map(|own| own.path().to_owned())).expect("one of both");
    let options = Options {
        limbic: beside.with_file_name("limbic-under-test"),
        worker: beside.with_file_name("limbic-worker-under-test"),
        length: Duration::from_secs_f64(args.minutes * 60.0),
        seed,
        units: args.units,
        workers: args.workers,
        unit: args.unit_millis.map(Duration::from_millis),
        place: Place::named(args.store.as_deref(), &folder)?,
        folder,
    };
    let found = run(&options)?;
    if args.json {
        println!("{}", found.json());
    } else {
        print!("{found}");
    }
    if found.violations.is_empty() && found.late.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(own) = own {
        eprintln!("logs are kept in {}", own.keep().display());
    }
    Ok(ExitCode::FAILURE)
}
