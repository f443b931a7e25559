//! What a careful user's Python takes for the same rows, beside us: `cargo run --release -p limbic-tests --bin peers -- --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use limbic_tests::peers::{Case, Options, Program, markdown, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs transformers and scikit-learn beside Limbic on the same rows, by turns, and prints medians and ratios.
#[derive(Debug, Parser)]
struct Args {
    /// The Python of an environment with torch, transformers, gguf and scikit-learn; without it only our side runs.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// A model's folder or `.gguf` file.
    #[arg(long, value_name = "DIR_OR_GGUF")]
    model: PathBuf,
    /// Rows as JSON lines with `text`, `label` or `labels`, and `split` (train, validation, test).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// So many rounds; each has every contender once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these cases; all that need no device of their own without this, or that one where `--device` names it.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,…")]
    only: Vec<Case>,
    /// `cpu` or `cuda:N`: where the case `device` runs, ours and the peer.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Tokens of a pass of ours in the case `device`.
    #[arg(long, default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    device_tokens: u32,
    /// A `config.json` in place of the model's own, for the case `device`: of `--model`, a folder, only the tokenizer is taken, and the
    /// weights are drawn from a seed. `tests/shapes` has some.
    #[arg(long, value_name = "FILE")]
    shape: Option<PathBuf>,
    /// About so many rows of the data, evenly spaced within every class of every split.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Rows that replies are generated for.
    #[arg(long, default_value_t = 400, value_name = "N")]
    continuation_rows: usize,
    /// Rows that each of four headers is put before.
    #[arg(long, default_value_t = 64, value_name = "N")]
    prefix_rows: usize,
    /// Rows of the small sweep whose memory is measured; the large one has a hundred times as many.
    #[arg(long, default_value_t = 512, value_name = "N")]
    memory_rows: usize,
    /// Rows of a batch of the peer, in passes and in decoding.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    peer_batch: u16,
    /// Prints JSON instead of Markdown.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if let Some(code) = Program::play() {
        return code;
    }
    match compare(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compare(args: Args) -> anyhow::Result<()> {
    let cases = match (args.only.is_empty(), &args.device) {
        (false, _) => args.only,
        (true, Some(_)) => vec![Case::Device],
        (true, None) => Case::on_processor(),
    };
    let found = run(&Options {
        python: args.python,
        model: args.model,
        data: args.data,
        rounds: usize::from(args.rounds),
        cases,
        limit: args.limit,
        continuation_rows: args.continuation_rows,
        prefix_rows: args.prefix_rows,
        memory_rows: args.memory_rows,
        peer_batch: usize::from(args.peer_batch),
        device: args.device.unwrap_or_else(|| "cpu".to_owned()),
        device_tokens: args.device_tokens as usize,
        shape: args.shape,
    })?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => print!("{}", markdown(&found)),
    }
    Ok(())
}
