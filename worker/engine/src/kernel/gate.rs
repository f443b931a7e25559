//! The gate of the feed-forward part: silu(gate) * up.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::lanes::{dispatch, exp};
use super::{Steps, read};

/// `silu(x[.., ..i]) * x[.., i..]`.
///
/// Shapes: `x` [t, 2i] (gate, then up) -> [t, i]. With x = [2, 3] and i = 1 the result is 2 / (1 + e^-2) * 3 = 5.28.
/// See "GLU Variants Improve Transformer", <https://arxiv.org/abs/2002.05202>.
pub(crate) fn silu_times(steps: Steps, x: &Tensor) -> Result<Tensor> {
    let (tokens, both) = x.dims2()?;
    let width = both / 2;
    if steps == Steps::Composed {
        return x.narrow(1, 0, width)?.silu()? * x.narrow(1, width, width)?;
    }
    let mut out = Vec::with_capacity(tokens * width);
    read(x, |x| {
        let out = &mut out.spare_capacity_mut()[..tokens * width];
        x.par_chunks(both * 8).zip(out.par_chunks_mut(width * 8)).for_each(|(x, out)| some_rows(x, width, out));
    })?;
    // SAFETY: as many rows were written as there are of `x`.
    unsafe { out.set_len(tokens * width) };
    Tensor::from_vec(out, (tokens, width), x.device())
}

/// `silu(gate) * up` of two numbers.
#[inline(always)]
pub(super) fn gated<const FMA: bool>(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exp::<FMA>((-gate).min(80.0))) * up
}

/// Writes every number of `out`.
fn some_rows(x: &[f32], width: usize, out: &mut [MaybeUninit<f32>]) {
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32], width: usize, out: &mut [MaybeUninit<f32>]) {
        for (x, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = x.split_at(width);
            for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
                out.write(gated::<FMA>(*g, *u));
            }
        }
    }
    dispatch!(body(x: &[f32], width: usize, out: &mut [MaybeUninit<f32>]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn both_implementations_agree() {
        let x: Vec<f32> = (0..2 * 24).map(|i| (i as f32 - 20.0) * 4.0).collect();
        let x = Tensor::from_vec(x, (2, 24), &Device::Cpu).unwrap();
        let fused: Vec<Vec<f32>> = silu_times(Steps::Fused, &x).unwrap().to_vec2().unwrap();
        let composed: Vec<Vec<f32>> = silu_times(Steps::Composed, &x).unwrap().to_vec2().unwrap();
        for (a, b) in fused.concat().iter().zip(composed.concat()) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
        }
    }
}
