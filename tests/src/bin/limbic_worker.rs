//! The program `limbic-worker`, for tests.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Computes units for a Limbic coordinator, or inspects a model.
#[derive(Debug, Parser)]
#[command(name = "limbic-worker", version, about)]
struct Cli {
    #[command(flatten)]
    args: limbic_worker::Args,
}

fn main() -> ExitCode {
    limbic_worker::main(Cli::parse().args)
}
