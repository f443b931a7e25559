//! The few fused steps of a decoder block, each once for CPU slices and once as plain tensor operations.
//!
//! Tensors are packed: the first dimension counts the tokens of all sequences, one after another. On a CPU in f32 the
//! steps run over slices with rayon; anywhere else (and on request, to check one against the other) they are composed
//! from candle's operations. Matrices of bf16 on a CPU ([`bf16`]) have products of their own; all else stays in f32 ([`dense`]).

pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod blocks;
pub(crate) mod dense;
pub(crate) mod flash;
pub(crate) mod gate;
pub(crate) mod heads;
pub(crate) mod lanes;
pub(crate) mod matrix;
pub(crate) mod norm;

use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Storage, Tensor};

/// Which implementation of the steps runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steps {
    /// Slices and rayon: CPU, f32.
    Fused,
    /// Candle operations: any device, any float type.
    Composed,
}

/// `x += y` for tensors of one shape, in place where `steps` allows.
fn add(steps: Steps, x: Tensor, y: &Tensor) -> Result<Tensor> {
    if steps == Steps::Composed {
        return &x + y;
    }
    in_place(&x, y, lanes::add)?;
    Ok(x)
}

/// Rows of `x` [t, d] at `positions`, as f32 on the host.
pub(crate) fn rows(x: &Tensor, positions: &[u32]) -> Result<Vec<f32>> {
    let width = x.dim(1)?;
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return read(x, |data| positions.iter().flat_map(|&p| &data[p as usize * width..][..width]).copied().collect());
    }
    pick(x, positions)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// Rows of `x` [t, d] at `positions`, as a tensor [positions, d].
pub(crate) fn pick(x: &Tensor, positions: &[u32]) -> Result<Tensor> {
    x.index_select(&Tensor::new(positions, x.device())?, 0)
}

/// Calls `f` with the numbers of a contiguous f32 CPU tensor.
pub(crate) fn read<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => Ok(f(slice(cpu, layout)?)),
        _ => candle_core::bail!("a fused step was given a tensor that is not on the CPU"),
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused step was given a tensor that is not contiguous")
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused step was given a tensor that is not contiguous")
    };
    match storage {
        CpuStorage::F32(data) => Ok(&mut data[from..to]),
        _ => candle_core::bail!("a fused step was given a tensor that is not f32"),
    }
}

/// An in-place operation given as a closure.
struct Closure<F>(F);

impl<F: Fn(&mut [f32])> InplaceOp1 for Closure<F> {
    fn name(&self) -> &'static str {
        "fused-step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        (self.0)(slice_mut(storage, layout)?);
        Ok(())
    }
}

/// An in-place operation with a second argument, given as a closure.
struct Closure2<F>(F);

impl<F: Fn(&mut [f32], &[f32])> InplaceOp2 for Closure2<F> {
    fn name(&self) -> &'static str {
        "fused-step"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, xl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<()> {
        (self.0)(slice_mut(x, xl)?, slice(y, yl)?);
        Ok(())
    }
}

/// Changes the numbers of a contiguous f32 CPU tensor.
pub(crate) fn change(x: &Tensor, f: impl Fn(&mut [f32])) -> Result<()> {
    x.inplace_op1(&Closure(f))
}

/// Changes the numbers of `x` with those of `y`, both contiguous f32 CPU tensors.
pub(crate) fn in_place(x: &Tensor, y: &Tensor, f: impl Fn(&mut [f32], &[f32])) -> Result<()> {
    x.inplace_op2(y, &Closure2(f))
}
