//! Named tensors of a model on disk: a folder of safetensors or one GGUF file.

pub(crate) mod folder;
pub(crate) mod gguf;
pub(crate) mod random;

use std::ops::ControlFlow;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use limbic_proto::architecture::ArchitectureError;

use crate::kernel::bf16::{Kernel, Panels};
use crate::kernel::matrix::Matrix;
use crate::tokenizer::TokenizerError;

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

/// Loads, checks and lays out tensors for the decoder.
pub(crate) struct Layout<'a> {
    pub tensors: &'a mut dyn Tensors,
    pub on_tensor: OnTensor<'a>,
    pub device: &'a Device,
    pub dtype: DType,
    /// Matrices become bf16 panels for that kernel instead of tensors.
    pub packed: Option<Kernel>,
}

impl Layout<'_> {
    fn numbers(&mut self, name: &str, shape: &[usize], rows: Rows) -> Result<Vec<f32>, LoadError> {
        if let ControlFlow::Break(()) = (self.on_tensor)() {
            return Err(LoadError::Cancelled);
        }
        let numbers = self.tensors.load(name, shape, rows)?;
        if numbers.iter().all(|x| x.is_finite()) { Ok(numbers) } else { Err(self.tensors.not_finite(name)) }
    }

    fn place(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor, LoadError> {
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(self.device)?)
    }

    /// A vector.
    pub(crate) fn plain(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let numbers = self.numbers(name, shape, Rows::Plain)?;
        self.place(numbers, shape)
    }

    /// Biases one after another, `[sum of lengths]`.
    pub(crate) fn joined(&mut self, parts: &[(&str, usize, Rows)]) -> Result<Tensor, LoadError> {
        let mut all = Vec::new();
        for (name, len, rows) in parts {
            all.extend(self.numbers(name, &[*len], *rows)?);
        }
        let len = all.len();
        self.place(all, &[len])
    }

    /// A matrix with a row for every token, `[vocab, d]`, as `[d, vocab]`.
    pub(crate) fn table(&mut self, name: &str, shape: &[usize; 2]) -> Result<Matrix, LoadError> {
        let numbers = self.numbers(name, shape, Rows::Plain)?;
        Ok(match self.packed {
            Some(kernel) => Matrix::Packed(Panels::joined(kernel, shape[1], &[numbers]).into()),
            None => Matrix::Plain(self.place(numbers, shape)?.t()?),
        })
    }

    /// Gate and up projection, `[width, input]` both, as one matrix that a feed-forward part begins with.
    pub(crate) fn gated(&mut self, input: usize, width: usize, gate: &str, up: &str) -> Result<Matrix, LoadError> {
        let Some(kernel) = self.packed else {
            return self.projections(input, &[(gate, width, Rows::Plain), (up, width, Rows::Plain)]);
        };
        let gate = self.numbers(gate, &[width, input], Rows::Plain)?;
        let up = self.numbers(up, &[width, input], Rows::Plain)?;
        Ok(Matrix::Packed(Panels::gated(kernel, input, &gate, &up).into()))
    }

    /// Projections `[out_i, input]` side by side as one `[input, sum of out_i]`.
    pub(crate) fn projections(&mut self, input: usize, parts: &[(&str, usize, Rows)]) -> Result<Matrix, LoadError> {
        if let Some(kernel) = self.packed {
            let parts: Result<Vec<_>, _> = parts.iter().map(|(name, out, rows)| self.numbers(name, &[*out, input], *rows)).collect();
            return Ok(Matrix::Packed(Panels::joined(kernel, input, &parts?).into()));
        }
        let total: usize = parts.iter().map(|p| p.1).sum();
        let mut all = vec![0f32; input * total];
        let mut column = 0;
        for (name, out, rows) in parts {
            let numbers = self.numbers(name, &[*out, input], *rows)?;
            transpose(&numbers, input, &mut all, total, column);
            column += out;
        }
        Ok(Matrix::Plain(self.place(all, &[input, total])?))
    }
}

/// Writes `from` [out, input] into columns `column..` of `to` [input, total].
fn transpose(from: &[f32], input: usize, to: &mut [f32], total: usize, column: usize) {
    use rayon::prelude::*;
    const TILE: usize = 32;
    to.par_chunks_mut(total * TILE).enumerate().for_each(|(block, to)| {
        let first = block * TILE;
        for (o, rows) in from.chunks(input * TILE).enumerate() {
            for (i, row) in rows.chunks_exact(input).enumerate() {
                for (j, line) in to.chunks_exact_mut(total).enumerate() {
                    line[column + o * TILE + i] = row[first + j];
                }
            }
        }
    });
}
