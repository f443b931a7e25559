//! Weight matrices, and the steps of a block that multiply with them.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::bf16::{self, Panels};
use super::dense::Dense;
use super::{Steps, change, gate, in_place, norm, read};

/// A matrix `[in, out]` that rows are multiplied with.
#[derive(Debug, Clone)]
pub(crate) enum Matrix {
    /// A tensor in the number format of the activations, on any device.
    Plain(Tensor),
    /// f32 on a CPU.
    Dense(Arc<Dense>),
    /// bf16 on a CPU, under activations of f32.
    Packed(Arc<Panels>),
}

impl Matrix {
    /// `x` times the matrix.
    ///
    /// Shapes: `x` [t, in] -> [t, out]. On a CPU the result of one row does not depend on the others: a single row is doubled,
    /// because the matrix-vector path of tensors sums in another order.
    pub(crate) fn times(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Matrix::Plain(weight) if x.dim(0)? == 1 && x.device().is_cpu() => {
                Tensor::cat(&[x, x], 0)?.matmul(weight)?.narrow(0, 0, 1)?.contiguous()
            }
            Matrix::Plain(weight) => x.matmul(weight),
            Matrix::Dense(dense) => Tensor::from_vec(read(x, |x| dense.times(x))?, (x.dim(0)?, dense.output()), x.device()),
            Matrix::Packed(panels) => packed(x, None, panels),
        }
    }

    /// Some columns as rows, `[columns, in]`: the embeddings of tokens.
    pub(crate) fn columns(&self, columns: &[u32]) -> Result<Tensor> {
        let output = match self {
            Matrix::Plain(weight) => weight.dim(1)?,
            Matrix::Dense(dense) => dense.output(),
            Matrix::Packed(panels) => panels.output(),
        };
        // A GPU would look at memory that is not the matrix's, and be of no use afterwards.
        if let Some(column) = columns.iter().find(|column| **column as usize >= output) {
            candle_core::bail!("column {column} of a matrix that has {output}");
        }
        let there = |input: usize, numbers: Vec<f32>| Tensor::from_vec(numbers, (columns.len(), input), &Device::Cpu);
        match self {
            Matrix::Plain(weight) => super::pick(&weight.t()?, columns),
            Matrix::Dense(dense) => there(dense.input(), dense.columns(columns)),
            Matrix::Packed(panels) => there(panels.input(), panels.columns(columns)),
        }
    }
}

fn packed(x: &Tensor, norm: Option<(&[f32], f32)>, panels: &Panels) -> Result<Tensor> {
    let tokens = x.dim(0)?;
    let mut out = vec![0f32; tokens * panels.output()];
    read(x, |x| bf16::times(x, norm, panels, &mut out))?;
    Tensor::from_vec(out, (tokens, panels.output()), x.device())
}

/// `norm(x) * matrix`.
///
/// Shapes: `x` [t, in], `weight` (the norm's) [in], `matrix` [in, out] -> [t, out].
pub(crate) fn normed(steps: Steps, x: &Tensor, weight: &Tensor, eps: f32, matrix: &Matrix) -> Result<Tensor> {
    match matrix {
        Matrix::Plain(_) | Matrix::Dense(_) => matrix.times(&norm::rms_norm(steps, x, weight, eps)?),
        Matrix::Packed(panels) => read(weight, |weight| packed(x, Some((weight, eps)), panels))?,
    }
}

/// `x += y * matrix + bias`, in place where `steps` allows.
///
/// Shapes: `x` [t, out], `y` [t, in], `matrix` [in, out], `bias` [out].
pub(crate) fn add(steps: Steps, x: Tensor, y: &Tensor, matrix: &Matrix, bias: Option<&Tensor>) -> Result<Tensor> {
    let Matrix::Packed(panels) = matrix else {
        let mut more = matrix.times(y)?;
        if let Some(bias) = bias {
            more = more.broadcast_add(bias)?;
        }
        return super::add(steps, x, &more);
    };
    let added = |bias: Option<&[f32]>| in_place(&x, y, |x, y| bf16::add(x, y, panels, bias));
    match bias {
        Some(bias) => read(bias, |bias| added(Some(bias)))??,
        None => added(None)?,
    }
    Ok(x)
}

/// The feed-forward part of a block: `x += (silu(n * gate) * (n * up)) * down` with n = norm(x).
///
/// Shapes: `x` [t, d], `weight` (the norm's) [d], `gate_up` [d, 2 i], `down` [i, d] -> [t, d].
pub(crate) fn feed(steps: Steps, x: Tensor, weight: &Tensor, eps: f32, gate_up: &Matrix, down: &Matrix) -> Result<Tensor> {
    if let (Matrix::Packed(gate_up), Matrix::Packed(down)) = (gate_up, down) {
        read(weight, |weight| change(&x, |x| bf16::feed(x, (weight, eps), gate_up, down)))??;
        return Ok(x);
    }
    let both = normed(steps, &x, weight, eps, gate_up)?;
    add(steps, x, &gate::silu_times(steps, &both)?, down, None)
}
