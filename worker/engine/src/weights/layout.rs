//! From named tensors to the matrices and vectors of a decoder, as they lie in memory.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};

use super::prepared::Store;
use super::{LoadError, OnTensor, Rows, Tensors};
use crate::kernel::bf16::panels::{gated, gated_width, joined};
use crate::kernel::bf16::{Kernel, Panels};
use crate::kernel::dense::{Dense, Order};
use crate::kernel::matrix::Matrix;
use crate::slab::Slab;

/// What becomes of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Tensors, on any device.
    Plain,
    /// f32 on a CPU.
    Dense,
    /// bf16 on a CPU, for that kernel.
    Packed(Kernel),
}

/// Where a model's numbers come from.
pub(crate) struct Source<'a> {
    pub tensors: &'a mut dyn Tensors,
    pub on_tensor: OnTensor<'a>,
}

impl Source<'_> {
    fn numbers(&mut self, name: &str, shape: &[usize], rows: Rows) -> Result<Vec<f32>, LoadError> {
        if let ControlFlow::Break(()) = (self.on_tensor)() {
            return Err(LoadError::Cancelled);
        }
        let numbers = self.tensors.load(name, shape, rows)?;
        if numbers.iter().all(|x| x.is_finite()) { Ok(numbers) } else { Err(self.tensors.not_finite(name)) }
    }

    /// Projections `[out_i, input]` side by side as one `[input, total]`.
    fn side_by_side(&mut self, input: usize, total: usize, parts: &[(&str, usize, Rows)]) -> Result<Vec<f32>, LoadError> {
        let mut all = vec![0f32; input * total];
        let mut column = 0;
        for (name, out, rows) in parts {
            let numbers = self.numbers(name, &[*out, input], *rows)?;
            transpose(&numbers, input, &mut all, total, column);
            column += out;
        }
        Ok(all)
    }
}

/// Loads, checks and lays out tensors for the decoder. In a store they have the name of their first tensor.
pub(crate) struct Layout<'a> {
    pub source: Source<'a>,
    pub store: &'a mut Store,
    pub form: Form,
    pub device: &'a Device,
    pub dtype: DType,
}

impl Layout<'_> {
    fn place(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor, LoadError> {
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(self.device)?)
    }

    /// A vector.
    pub(crate) fn plain(&mut self, name: &str, len: usize) -> Result<Tensor, LoadError> {
        self.joined(&[(name, len, Rows::Plain)])
    }

    /// Vectors one after another, `[sum of lengths]`.
    pub(crate) fn joined(&mut self, parts: &[(&str, usize, Rows)]) -> Result<Tensor, LoadError> {
        let (source, len) = (&mut self.source, parts.iter().map(|p| p.1).sum());
        let numbers = self.store.keep(parts[0].0, len, || {
            let each: Result<Vec<_>, _> = parts.iter().map(|(name, len, rows)| source.numbers(name, &[*len], *rows)).collect();
            Ok(each?.concat())
        })?;
        self.place(numbers.to_vec(), &[len])
    }

    /// A matrix with a row for every token, `[vocab, d]`, as `[d, vocab]`.
    pub(crate) fn table(&mut self, name: &str, shape: &[usize; 2]) -> Result<Matrix, LoadError> {
        let (source, [vocab, d]) = (&mut self.source, *shape);
        let mut numbers = || source.numbers(name, shape, Rows::Plain);
        Ok(match self.form {
            Form::Plain => {
                let numbers = numbers()?;
                Matrix::Plain(self.place(numbers, shape)?.t()?)
            }
            Form::Dense => dense(d, vocab, Order::Columns, self.store.keep(name, d * vocab, numbers)?),
            Form::Packed(kernel) => {
                let blocks = self.store.keep(name, Panels::blocks(d, vocab), || Ok(joined(d, &[numbers()?])))?;
                Matrix::Packed(Panels::new(kernel, d, vocab, blocks).into())
            }
        })
    }

    /// Gate and up projection, `[width, input]` both, as one matrix that a feed-forward part begins with.
    pub(crate) fn gated(&mut self, input: usize, width: usize, gate: &str, up: &str) -> Result<Matrix, LoadError> {
        let Form::Packed(kernel) = self.form else {
            return self.projections(input, &[(gate, width, Rows::Plain), (up, width, Rows::Plain)]);
        };
        let (source, output) = (&mut self.source, gated_width(width));
        let blocks = self.store.keep(gate, Panels::blocks(input, output), || {
            let [gate, up] = [gate, up].map(|name| source.numbers(name, &[width, input], Rows::Plain));
            Ok(gated(input, &gate?, &up?))
        })?;
        Ok(Matrix::Packed(Panels::new(kernel, input, output, blocks).into()))
    }

    /// Projections `[out_i, input]` side by side as one `[input, sum of out_i]`.
    pub(crate) fn projections(&mut self, input: usize, parts: &[(&str, usize, Rows)]) -> Result<Matrix, LoadError> {
        let (source, name, total) = (&mut self.source, parts[0].0, parts.iter().map(|p| p.1).sum());
        Ok(match self.form {
            Form::Plain => {
                let numbers = source.side_by_side(input, total, parts)?;
                Matrix::Plain(self.place(numbers, &[input, total])?)
            }
            Form::Dense => {
                let numbers = self.store.keep(name, input * total, || source.side_by_side(input, total, parts))?;
                dense(input, total, Order::Rows, numbers)
            }
            Form::Packed(kernel) => {
                let blocks = self.store.keep(name, Panels::blocks(input, total), || {
                    let parts: Result<Vec<_>, _> =
                        parts.iter().map(|(name, out, rows)| source.numbers(name, &[*out, input], *rows)).collect();
                    Ok(joined(input, &parts?))
                })?;
                Matrix::Packed(Panels::new(kernel, input, total, blocks).into())
            }
        })
    }
}

fn dense(input: usize, output: usize, order: Order, numbers: Slab<f32>) -> Matrix {
    Matrix::Dense(Dense::new(input, output, order, numbers).into())
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
