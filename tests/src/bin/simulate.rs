//! Simulates sweeps under many seeds: `cargo run --release -p limbic-tests --bin simulate -- --seeds 200`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use limbic_tests::simulation::{Study, many, table};

/// Runs the whole machine on a simulated clock, network and store, and judges what it came to.
#[derive(Debug, Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// So many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// So many at a time.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, std::num::NonZero::get))]
    at_once: usize,
    /// Writes everything that happened under the first seed into this file.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Prints what the first seed came to as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.log.is_some() || args.json {
        let (outcome, log) = Study::new()?.simulate(args.seed, args.log.is_some());
        if let Some(file) = &args.log {
            std::fs::write(file, log.join("\n"))?;
        }
        println!("{}", serde_json::to_string(&outcome?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let began = std::time::Instant::now();
    let outcomes = many(&std::env::current_exe()?, args.seed..args.seed + args.seeds, args.at_once)?;
    println!("{}\n{:.1} s", table(&outcomes), began.elapsed().as_secs_f64());
    let failed = outcomes.values().filter(|outcome| !outcome.as_ref().is_ok_and(|o| o.violations.is_empty())).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
