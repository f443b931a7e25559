//! Root-mean-square norm of each token's vector.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::lanes::{dispatch, squares};
use super::{Steps, read};

/// `x / sqrt(mean(x^2) + eps) * weight`, row by row.
///
/// Shapes: `x` [t, d], `weight` [d] -> [t, d]. See "Root Mean Square Layer Normalization",
/// <https://arxiv.org/abs/1910.07467>. The mean is taken in f32 whatever the dtype.
pub(crate) fn rms_norm(steps: Steps, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    if steps == Steps::Composed {
        return candle_nn::ops::rms_norm(&x.contiguous()?, weight, eps);
    }
    let (tokens, width) = x.dims2()?;
    let mut out = vec![0f32; tokens * width];
    read(x, |x| read(weight, |weight| all_rows(x, weight, eps, &mut out)))??;
    Tensor::from_vec(out, (tokens, width), x.device())
}

fn all_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let block = width * 16;
    x.par_chunks(block).zip(out.par_chunks_mut(block)).for_each(|(x, out)| some_rows(x, weight, eps, out));
}

/// The same of some rows, on this thread.
pub(super) fn some_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let scale = 1.0 / (squares::<FMA>(x) / x.len() as f32 + eps).sqrt();
            for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * w;
            }
        }
    }
    dispatch!(body(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]))
}
