//! Named tensors of a model on disk: a folder of safetensors or one GGUF file.

pub(crate) mod folder;
pub(crate) mod gguf;
pub(crate) mod layout;
pub(crate) mod prepared;
pub(crate) mod random;

use std::ops::ControlFlow;
use std::path::PathBuf;

use limbic_proto::architecture::ArchitectureError;

use crate::tokenizer::TokenizerError;
pub use prepared::{SharedFile, WEIGHTS_VERSION};

/// Why a model can't be loaded. Most are the model's fault, not the moment's: trying again won't help, except
/// for [`LoadError::Io`] and [`LoadError::Device`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file can't be opened or read.
    #[error("reading {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the model is absent.
    #[error("{} is missing: {why}", path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
        /// What refers to it.
        why: String,
    },
    /// A file's bytes contradict its format; truncated files end up here.
    #[error("{} is damaged or truncated: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The architecture is not one the engine computes, or its description is wrong.
    #[error("{}: {source}", path.display())]
    Architecture {
        /// The config or GGUF file.
        path: PathBuf,
        /// Why.
        source: ArchitectureError,
    },
    /// A tensor the architecture needs is absent.
    #[error("{}: tensor `{tensor}` is missing", path.display())]
    TensorMissing {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name in it.
        tensor: String,
    },
    /// A tensor has another shape than the architecture says.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        tensor: String,
        /// What the config implies.
        expected: Vec<usize>,
        /// What the file says.
        found: Vec<usize>,
    },
    /// A tensor's number format is not one of f32, f16 and bf16 (or a GGUF block format).
    #[error("{}: tensor `{tensor}` is stored as {found}, which is not supported", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        tensor: String,
        /// The format.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor `{tensor}` holds a NaN or an infinity", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        tensor: String,
    },
    /// The tokenizer can't be read or does not fit the model.
    #[error("{}: {source}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// Why.
        source: TokenizerError,
    },
    /// Whoever was asked said so; see [`OnTensor`].
    #[error("loading was cancelled")]
    Cancelled,
    /// The device refused.
    #[error("placing weights on the device: {0}")]
    Device(#[from] candle_core::Error),
}

/// Is asked before every tensor that is loaded; `Break` cancels.
pub type OnTensor<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// What a matrix is for: GGUF files of LLaMA store query and key rows in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// As they are.
    Plain,
    /// Rows of that many heads, rotated.
    Rotated { heads: usize },
}

/// A place that holds named tensors, under Hugging Face names.
pub(crate) trait Tensors {
    /// A tensor's numbers as f32, row-major, checked against `shape`.
    fn load(&mut self, name: &str, shape: &[usize], rows: Rows) -> Result<Vec<f32>, LoadError>;

    /// The divisors of rotary frequencies, where the file carries them.
    fn rope_factors(&mut self) -> Result<Option<Vec<f32>>, LoadError>;

    /// The error for numbers that are not finite.
    fn not_finite(&self, name: &str) -> LoadError;
}
