//! The program `limbic-worker`, for tests: with `LIMBIC_FAKE_ENGINE=MILLISECONDS` in the environment nothing is computed,
//! and each unit takes that long.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: limbic_worker::Args,
}

fn main() -> ExitCode {
    match std::env::var("LIMBIC_FAKE_ENGINE") {
        Ok(millis) => {
            let millis = millis.parse().expect("LIMBIC_FAKE_ENGINE is a number of milliseconds");
            let engine = limbic_tests::StandIn::new(Duration::from_millis(millis));
            limbic_worker::main_with(Cli::parse().args, Box::new(engine))
        }
        Err(_) => limbic_worker::cli(),
    }
}
