//! The program `limbic`, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    limbic::cli::main()
}
