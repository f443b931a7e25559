//! Exact causal attention over packed sequences, with keys and values of earlier passes in front.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::heads::Heads;
use super::lanes::{dispatch, dot, exp, madd};
use super::{Steps, blocks, in_place, read};
use crate::pass::{Pass, Sequence};

/// Queries handled by one task.
const BLOCK: usize = 16;

/// Keys and values a pass may read besides its own: one layer of a cache, `[capacity, 2 * hk * w]` (key, then value).
pub(crate) type CachedLayer<'a> = Option<&'a Tensor>;

/// Attention of every sequence over its cached prefix and itself.
///
/// Shapes: `qkv` [t, (hq + 2 hk) * w], already placed; `cached` [capacity, 2 * hk * w] -> [t, hq * w]. Query i of a
/// sequence (counted with the prefix) sees the keys j with i - window < j <= i. Every query is computed on its own, in
/// key order, so its result depends neither on the batch nor on what part of its keys was cached.
pub(crate) fn attend(
    steps: Steps,
    heads: Heads,
    qkv: &Tensor,
    cached: CachedLayer<'_>,
    pass: &Pass,
    window: Option<usize>,
) -> Result<Tensor> {
    if steps == Steps::Composed {
        return blocks::attend(heads, qkv, cached, &pass.sequences, &pass.blocks, window);
    }
    let (tokens, width) = (qkv.dim(0)?, heads.key_start());
    let mut out = vec![0f32; tokens * width];
    let mut tasks = Vec::new();
    let mut rest = out.as_mut_slice();
    for sequence in &pass.sequences {
        for first in (0..sequence.len).step_by(BLOCK) {
            let queries = BLOCK.min(sequence.len - first);
            let (mine, others) = rest.split_at_mut(queries * width);
            rest = others;
            tasks.push((sequence, first, mine));
        }
    }
    read(qkv, |qkv| {
        let mut run = |cached: &[f32]| {
            tasks.par_iter_mut().for_each_init(Vec::new, |scores, (sequence, first, out)| {
                block(&Work { heads, qkv, cached, sequence, window, first: *first }, scores, out);
            });
        };
        match cached {
            Some(cached) => read(cached, run),
            None => {
                run(&[]);
                Ok(())
            }
        }
    })??;
    Tensor::from_vec(out, (tokens, width), qkv.device())
}

struct Work<'a> {
    heads: Heads,
    qkv: &'a [f32],
    cached: &'a [f32],
    sequence: &'a Sequence,
    window: Option<usize>,
    /// The first query of this task, counted from the sequence's first new token.
    first: usize,
}

impl<'a> Work<'a> {
    /// Calls `f` with runs of (key rows, stride, first key's index, number of keys) that cover the keys `from..to`.
    #[inline(always)]
    fn runs(&self, from: usize, to: usize, mut f: impl FnMut(Run<'a>)) {
        let key_width = self.heads.key_width();
        let mut base = 0;
        let own = (self.sequence.start, self.sequence.len);
        let parts = self.sequence.prefix.iter().map(|r| (true, r.start, r.len())).chain([(false, own.0, own.1)]);
        for (is_cached, start, len) in parts {
            let (a, b) = (from.max(base), to.min(base + len));
            if a < b {
                let row = start + a - base;
                let (stride, data, key) = match is_cached {
                    true => (2 * key_width, self.cached, 0),
                    false => (self.heads.row(), self.qkv, self.heads.key_start()),
                };
                f(Run { data: &data[row * stride + key..], stride, first: a, len: b - a });
            }
            base += len;
        }
    }
}

/// Rows that hold successive keys, and at `+ key_width` their values.
struct Run<'a> {
    data: &'a [f32],
    stride: usize,
    first: usize,
    len: usize,
}

fn block(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
    #[inline(always)]
    fn body<const FMA: bool>(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
        let Heads { queries, keys, width } = work.heads;
        let (group, key_width) = (queries / keys, work.heads.key_width());
        let scale = 1.0 / (width as f32).sqrt();
        let before: usize = work.sequence.prefix.iter().map(ExactSizeIterator::len).sum();
        for key_head in 0..keys {
            for (i, out) in out.chunks_exact_mut(work.heads.key_start()).enumerate() {
                let query = work.first + i;
                let to = before + query + 1;
                let from = work.window.map_or(0, |w| to.saturating_sub(w));
                scores.resize((to - from).max(scores.len()), 0.0);
                let scores = &mut scores[..to - from];
                let row = &work.qkv[(work.sequence.start + query) * work.heads.row()..];
                for head in key_head * group..(key_head + 1) * group {
                    let q = &row[head * width..][..width];
                    work.runs(from, to, |run| {
                        let scores = &mut scores[run.first - from..][..run.len];
                        for (score, key) in scores.iter_mut().zip(run.data.chunks(run.stride)) {
                            *score = dot::<FMA>(q, &key[key_head * width..][..width]) * scale;
                        }
                    });
                    let total = softmax::<FMA>(scores);
                    let out = &mut out[head * width..][..width];
                    work.runs(from, to, |run| {
                        let scores = &scores[run.first - from..][..run.len];
                        let values = &run.data[key_width + key_head * width..];
                        accumulate::<FMA>(out, scores, values, run.stride);
                    });
                    for x in out.iter_mut() {
                        *x /= total;
                    }
                }
            }
        }
    }
    dispatch!(body(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]))
}

/// Replaces scores by e^(score - max) and returns their sum.
#[inline(always)]
fn softmax<const FMA: bool>(scores: &mut [f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; 8];
    for chunk in scores.chunks(8) {
        for (m, s) in most.iter_mut().zip(chunk) {
            *m = if *s > *m { *s } else { *m };
        }
    }
    let most = most.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for s in scores.iter_mut() {
        *s = exp::<FMA>(*s - most);
    }
    let mut sums = [0f32; 8];
    for chunk in scores.chunks(8) {
        for (sum, s) in sums.iter_mut().zip(chunk) {
            *sum += s;
        }
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]))
}

/// `out += sum over j of weights[j] * values[j * stride..]`, in order of j.
#[inline(always)]
fn accumulate<const FMA: bool>(out: &mut [f32], weights: &[f32], values: &[f32], stride: usize) {
    let n = out.len();
    let mut j = 0;
    while j + 4 <= weights.len() {
        let w = &weights[j..j + 4];
        let (a, b) = (&values[j * stride..][..n], &values[(j + 1) * stride..][..n]);
        let (c, d) = (&values[(j + 2) * stride..][..n], &values[(j + 3) * stride..][..n]);
        for i in 0..n {
            let x = madd::<FMA>(w[1], b[i], madd::<FMA>(w[0], a[i], out[i]));
            out[i] = madd::<FMA>(w[3], d[i], madd::<FMA>(w[2], c[i], x));
        }
        j += 4;
    }
    while j < weights.len() {
        for (o, v) in out.iter_mut().zip(&values[j * stride..][..n]) {
            *o = madd::<FMA>(weights[j], *v, *o);
        }
        j += 1;
    }
}

/// Copies keys and values of a pass into a cache layer: token `start + i` of a sequence goes to row `to + i`.
///
/// Shapes: `layer` [capacity, 2 * hk * w], `qkv` [t, (hq + 2 hk) * w].
pub(crate) fn store(steps: Steps, heads: Heads, layer: &Tensor, qkv: &Tensor, sequences: &[Sequence], to: &[usize]) -> Result<()> {
    let (pair, row) = (2 * heads.key_width(), heads.row());
    if steps == Steps::Composed {
        for (sequence, &to) in sequences.iter().zip(to) {
            let new = qkv.narrow(0, sequence.start, sequence.len)?.narrow(1, heads.key_start(), pair)?.contiguous()?;
            layer.slice_set(&new, 0, to)?;
        }
        return Ok(());
    }
    in_place(layer, qkv, |layer, qkv| {
        for (sequence, &to) in sequences.iter().zip(to) {
            let new = qkv[sequence.start * row..].chunks_exact(row).take(sequence.len);
            for (slot, new) in layer[to * pair..].chunks_exact_mut(pair).zip(new) {
                slot.copy_from_slice(&new[heads.key_start()..]);
            }
        }
    })
}
