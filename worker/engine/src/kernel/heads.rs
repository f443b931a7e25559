//! What happens to queries and keys between the projection and the attention: bias, per-head norm, RoPE.

use std::cell::OnceCell;

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::lanes::{dispatch, squares};
use super::{Steps, change, pick, read};
use crate::model::rope::Rope;
use crate::pass::Pass;

/// The widths inside one token's projected row: query heads, then key heads, then value heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key heads (and value heads).
    pub keys: usize,
    /// Width of one head.
    pub width: usize,
}

impl Heads {
    /// Width of a projected row, [q | k | v].
    pub(crate) fn row(&self) -> usize {
        (self.queries + 2 * self.keys) * self.width
    }

    /// Where the keys start in a projected row.
    pub(crate) fn key_start(&self) -> usize {
        self.queries * self.width
    }

    /// Width of all key heads.
    pub(crate) fn key_width(&self) -> usize {
        self.keys * self.width
    }
}

/// The parts of a block that act on projected heads.
#[derive(Debug, Clone)]
pub(crate) struct HeadWeights {
    /// Bias of the whole projected row, [(hq + 2 hk) * w].
    pub bias: Option<Tensor>,
    /// Per-head norm weights of queries and keys, [w] each.
    pub norms: Option<(Tensor, Tensor)>,
    /// Epsilon of the norms.
    pub eps: f32,
}

/// Adds the bias, norms queries and keys head by head and rotates them to their positions.
///
/// Shapes: `qkv` [t, (hq + 2 hk) * w] of a pass of t tokens -> as `qkv`. Rotation is by halves: element i of a head pairs
/// with element i + w/2. See "RoFormer", <https://arxiv.org/abs/2104.09864>.
pub(crate) fn place(steps: Steps, heads: Heads, qkv: Tensor, weights: &HeadWeights, rope: &Rope, pass: &Pass) -> Result<Tensor> {
    if steps == Steps::Composed {
        return composed(heads, &qkv, weights, &pass.turns.get(rope, &pass.positions, qkv.dtype())?);
    }
    let vector = |t: Option<&Tensor>| t.map(|t| t.flatten_all()?.to_vec1::<f32>()).transpose();
    let work = Work {
        heads,
        bias: vector(weights.bias.as_ref())?,
        query_norm: vector(weights.norms.as_ref().map(|n| &n.0))?,
        key_norm: vector(weights.norms.as_ref().map(|n| &n.1))?,
        eps: weights.eps,
    };
    let block = 16;
    let table = rope.table(&pass.positions)?;
    read(&table.cos, |cos| {
        read(&table.sin, |sin| {
            change(&qkv, |qkv| {
                qkv.par_chunks_mut(heads.row() * block)
                    .zip(pass.positions.par_chunks(block))
                    .for_each(|(rows, positions)| some_rows(&work, rows, positions, cos, sin));
            })
        })
    })???;
    Ok(qkv)
}

struct Work {
    heads: Heads,
    bias: Option<Vec<f32>>,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    eps: f32,
}

fn some_rows(work: &Work, rows: &mut [f32], positions: &[u32], cos: &[f32], sin: &[f32]) {
    #[inline(always)]
    fn body<const FMA: bool>(work: &Work, rows: &mut [f32], positions: &[u32], cos: &[f32], sin: &[f32]) {
        let Heads { queries, keys, width } = work.heads;
        let half = width / 2;
        for (row, &position) in rows.chunks_exact_mut(work.heads.row()).zip(positions) {
            if let Some(bias) = &work.bias {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x += b;
                }
            }
            let cos = &cos[position as usize * half..][..half];
            let sin = &sin[position as usize * half..][..half];
            for (h, head) in row.chunks_exact_mut(width).take(queries + keys).enumerate() {
                if let Some(norm) = if h < queries { &work.query_norm } else { &work.key_norm } {
                    let scale = 1.0 / (squares::<FMA>(head) / width as f32 + work.eps).sqrt();
                    for (x, w) in head.iter_mut().zip(norm) {
                        *x = *x * scale * w;
                    }
                }
                let (low, high) = head.split_at_mut(half);
                for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    let (x, y) = (*a, *b);
                    *a = x * c - y * s;
                    *b = y * c + x * s;
                }
            }
        }
    }
    dispatch!(body(work: &Work, rows: &mut [f32], positions: &[u32], cos: &[f32], sin: &[f32]))
}

/// The cosines and sines of a pass's positions, `[t, w / 2]` each; looked up when a layer first asks and kept for the others.
#[derive(Debug, Default)]
pub(crate) struct Turns(OnceCell<[Tensor; 2]>);

impl Turns {
    fn get(&self, rope: &Rope, positions: &[u32], dtype: DType) -> Result<[Tensor; 2]> {
        if let Some(turns) = self.0.get() {
            return Ok(turns.clone());
        }
        let (table, of) = (rope.table(positions)?, |t: &Tensor| pick(t, positions)?.to_dtype(dtype));
        let turns = [of(&table.cos)?, of(&table.sin)?];
        Ok(self.0.get_or_init(|| turns).clone())
    }
}

fn composed(heads: Heads, qkv: &Tensor, weights: &HeadWeights, [cos, sin]: &[Tensor; 2]) -> Result<Tensor> {
    let tokens = qkv.dim(0)?;
    let qkv = match &weights.bias {
        Some(bias) => qkv.broadcast_add(bias)?,
        None => qkv.clone(),
    };
    let turn = |start: usize, count: usize, norm: Option<&Tensor>| -> Result<Tensor> {
        let mut x = qkv.narrow(1, start, count * heads.width)?.contiguous()?.reshape((tokens, count, heads.width))?;
        if let Some(norm) = norm {
            x = candle_nn::ops::rms_norm(&x, norm, weights.eps)?;
        }
        candle_nn::rotary_emb::rope_thd(&x.unsqueeze(0)?, cos, sin)?.reshape((tokens, count * heads.width))
    };
    let q = turn(0, heads.queries, weights.norms.as_ref().map(|n| &n.0))?;
    let k = turn(heads.key_start(), heads.keys, weights.norms.as_ref().map(|n| &n.1))?;
    let v = qkv.narrow(1, heads.key_start() + heads.key_width(), heads.key_width())?;
    Tensor::cat(&[q, k, v.contiguous()?], 1)
}
