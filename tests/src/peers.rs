//! Peers beside us: what a careful user's transformers and scikit-learn take for the same rows.
//!
//! Contenders of a case take turns within one run, so that whatever else the machine does meets all of them. Medians are
//! compared, and wherever both sides compute the same numbers, it is said how far apart they are.

mod ceiling;
mod comparison;
mod continuation;
mod device;
mod extraction;
mod fitting;
mod growth;
mod memory;
mod peer;
mod prefix;
mod program;
mod stage;
mod whole;

use std::path::PathBuf;

pub use comparison::{Comparison, Found, Line, markdown};
pub use program::Program;
use stage::Stage;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The last token's state at every layer in f32 and bf16, beside the peer's and the machine's ceilings.
    Extract,
    /// The same beside a pass per layer, padded to 128 tokens.
    Naive,
    /// A logistic probe at every layer.
    Fit,
    /// A whole study: states, probes, results, report.
    Whole,
    /// A whole study of ours with half as much of something.
    Growth,
    /// Replies of 64 tokens, read at nine offsets.
    Continuation,
    /// Four conditions with a header of about 200 tokens.
    Prefix,
    /// Peak memory at a hundred times the rows.
    Memory,
    /// The last token's state at every layer in bf16 on a device, beside the peer's on the same.
    Device,
}

impl Case {
    /// Those that need no device of their own.
    pub fn on_processor() -> Vec<Case> {
        let all = <Case as clap::ValueEnum>::value_variants().iter().copied();
        all.filter(|case| *case != Case::Device).collect()
    }
}

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The peer's Python; without it only our side runs.
    pub python: Option<PathBuf>,
    /// A model's folder or `.gguf` file.
    pub model: PathBuf,
    /// Labelled rows as JSON lines.
    pub data: PathBuf,
    /// How often every contender runs.
    pub rounds: usize,
    /// What is compared.
    pub cases: Vec<Case>,
    /// About so many rows, evenly spaced within every class of every split.
    pub limit: Option<usize>,
    /// Rows that replies are generated for.
    pub continuation_rows: usize,
    /// Rows that each header is put before.
    pub prefix_rows: usize,
    /// Rows of the smaller sweep whose memory is measured.
    pub memory_rows: usize,
    /// Rows of a batch of the peer.
    pub peer_batch: usize,
    /// `cpu` or `cuda:N`, for the case of a device.
    pub device: String,
    /// Tokens of a pass of ours on that device.
    pub device_tokens: usize,
    /// A config in place of the model's own; the weights are drawn from a seed.
    pub shape: Option<PathBuf>,
}

/// Runs all cases that are asked for.
///
/// # Errors
/// A file can't be read, or the peer fails; the message names the flag.
pub fn run(options: &Options) -> anyhow::Result<Found> {
    let stage = Stage::set(options)?;
    let mut comparisons = Vec::new();
    for case in &options.cases {
        eprintln!("{case:?} …");
        comparisons.push(match case {
            Case::Extract => extraction::extract(&stage)?,
            Case::Naive => extraction::naive(&stage)?,
            Case::Fit => fitting::fit(&stage)?,
            Case::Whole => whole::whole(&stage)?,
            Case::Growth => growth::growth(&stage)?,
            Case::Continuation => continuation::continuation(&stage)?,
            Case::Prefix => prefix::prefix(&stage)?,
            Case::Memory => memory::memory(&stage)?,
            Case::Device => device::device(&stage)?,
        });
    }
    Ok(Found { about: stage.about()?, comparisons })
}
