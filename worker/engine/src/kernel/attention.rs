//! Exact causal attention over packed sequences, with keys and values of earlier passes, and of beginnings that sequences share, in front.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::heads::Heads;
use super::lanes::{dispatch, dots, exp, madd};
use super::{Steps, blocks, flash, in_place, read};
use crate::pass::{Pass, Sequence};

/// Queries handled by one task.
const BLOCK: usize = 16;
/// Tasks that a thread takes at once: few, for they differ in length.
const TASKS: usize = 8;
/// Keys visited together by all queries of a task: their keys and values stay in the first-level cache.
const TILE: usize = 32;

/// Keys and values a pass may read besides its own: one layer of a cache, `[capacity, 2 * hk * w]` (key, then value).
pub(crate) type CachedLayer<'a> = Option<&'a Tensor>;

/// Attention of every sequence over its cached prefix, its stem and itself.
///
/// Shapes: `qkv` [t, (hq + 2 hk) * w], already placed; `cached` [capacity, 2 * hk * w] -> [t, hq * w]. Query i of a
/// sequence (counted with what precedes it) sees the keys j with i - window < j <= i. Every query is computed on its own, in
/// key order, so its result depends neither on the batch nor on what part of its keys was cached or is shared.
pub(crate) fn attend(
    steps: Steps,
    heads: Heads,
    qkv: &Tensor,
    cached: CachedLayer<'_>,
    pass: &Pass,
    window: Option<usize>,
) -> Result<Tensor> {
    if steps == Steps::Composed {
        return match flash::kernel(heads, qkv) {
            Some(kernel) => flash::attend(heads, qkv, cached, &pass.sequences, &pass.calls, window, kernel),
            None => blocks::attend(heads, qkv, cached, &pass.sequences, &pass.blocks, window),
        };
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
            tasks.par_iter_mut().with_max_len(TASKS).for_each_init(Vec::new, |scores, (sequence, first, out)| {
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
    /// The keys `from..to` as tiles of at most [`TILE`] that lie at one stride.
    fn tiles(&self, from: usize, to: usize) -> Vec<Tile<'a>> {
        let key_width = self.heads.key_width();
        let mut tiles = Vec::new();
        let mut base = 0;
        let own = (false, self.sequence.start, self.sequence.len);
        let prefix = self.sequence.prefix.iter().map(|r| (true, r.start, r.len()));
        let stem = self.sequence.stem.iter().map(|r| (false, r.start, r.len()));
        for (cached, start, len) in prefix.chain(stem).chain([own]) {
            let (stride, data, key) = match cached {
                true => (2 * key_width, self.cached, 0),
                false => (self.heads.row(), self.qkv, self.heads.key_start()),
            };
            for first in (from.max(base)..to.min(base + len)).step_by(TILE) {
                let len = TILE.min(to.min(base + len) - first);
                tiles.push(Tile { data: &data[(start + first - base) * stride + key..], stride, first, len });
            }
            base += len;
        }
        tiles
    }
}

/// Rows that hold successive keys, and at `+ key_width` their values.
struct Tile<'a> {
    data: &'a [f32],
    stride: usize,
    /// Index of the first key in its sequence.
    first: usize,
    len: usize,
}

impl Tile<'_> {
    /// The part of `from..to` that is in this tile.
    #[inline(always)]
    fn part(&self, from: usize, to: usize) -> Range<usize> {
        let start = from.max(self.first);
        start..to.min(self.first + self.len).max(start)
    }
}

fn block(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
    #[inline(always)]
    fn body<const FMA: bool>(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
        let Heads { queries, keys, width } = work.heads;
        let (group, row, out_row) = (queries / keys, work.heads.row(), work.heads.key_start());
        let scale = 1.0 / (width as f32).sqrt();
        let count = out.len() / out_row;
        let before = work.sequence.before();
        // What query i sees, and what any of them sees.
        let seen = |i: usize| {
            let to = before + work.first + i + 1;
            (work.window.map_or(0, |w| to.saturating_sub(w)), to)
        };
        let (least, most) = (seen(0).0, seen(count - 1).1);
        let span = most - least;
        let tiles = work.tiles(least, most);
        scores.clear();
        scores.resize(count * group * span, 0.0);
        for key_head in 0..keys {
            let head = key_head * width;
            for tile in &tiles {
                for i in 0..count {
                    let (from, to) = seen(i);
                    let part = tile.part(from, to);
                    if part.is_empty() {
                        continue;
                    }
                    let q = &work.qkv[(work.sequence.start + work.first + i) * row + key_head * group * width..];
                    for g in 0..group {
                        let q = &q[g * width..][..width];
                        let scores = &mut scores[(i * group + g) * span..][part.start - least..part.end - least];
                        dots::<FMA>(q, &tile.data[(part.start - tile.first) * tile.stride + head..], tile.stride, scores);
                    }
                }
            }
            for (r, scores) in scores.chunks_exact_mut(span).enumerate() {
                let (from, to) = seen(r / group);
                softmax::<FMA>(&mut scores[from - least..to - least], scale);
            }
            for tile in &tiles {
                for i in 0..count {
                    let (from, to) = seen(i);
                    let part = tile.part(from, to);
                    if part.is_empty() {
                        continue;
                    }
                    let values = &tile.data[(part.start - tile.first) * tile.stride + keys * width + head..];
                    for g in 0..group {
                        let shares = &scores[(i * group + g) * span..][part.start - least..part.end - least];
                        let out = &mut out[i * out_row + (key_head * group + g) * width..][..width];
                        accumulate::<FMA>(out, shares, values, tile.stride);
                    }
                }
            }
        }
    }
    dispatch!(body(work: &Work<'_>, scores: &mut Vec<f32>, out: &mut [f32]))
}

/// Replaces scores by the softmax of `scores * scale`; `scale` is positive.
#[inline(always)]
fn softmax<const FMA: bool>(scores: &mut [f32], scale: f32) {
    let (whole, rest) = scores.as_chunks::<8>();
    let mut most = [f32::NEG_INFINITY; 8];
    for chunk in whole {
        for i in 0..8 {
            most[i] = if chunk[i] > most[i] { chunk[i] } else { most[i] };
        }
    }
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |m, s| if *s > m { *s } else { m });
    for s in scores.iter_mut() {
        *s = exp::<FMA>((*s - most) * scale);
    }
    let (whole, rest) = scores.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for chunk in whole {
        for i in 0..8 {
            sums[i] += chunk[i];
        }
    }
    for (sum, s) in sums.iter_mut().zip(rest) {
        *sum += s;
    }
    let total = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    let share = 1.0 / total;
    for s in scores.iter_mut() {
        *s *= share;
    }
}

/// `out += sum over j of shares[j] * values[j * stride..]`, in order of j.
#[inline(always)]
fn accumulate<const FMA: bool>(out: &mut [f32], shares: &[f32], values: &[f32], stride: usize) {
    let at = accumulate_lanes::<FMA, 64>(out, 0, shares, values, stride);
    let at = accumulate_lanes::<FMA, 16>(out, at, shares, values, stride);
    accumulate_lanes::<FMA, 1>(out, at, shares, values, stride);
}

/// [`accumulate`] for as many blocks of `LANES` numbers as fit behind `at`; returns where they end.
#[inline(always)]
fn accumulate_lanes<const FMA: bool, const LANES: usize>(
    out: &mut [f32],
    mut at: usize,
    shares: &[f32],
    values: &[f32],
    stride: usize,
) -> usize {
    for part in out[at..].as_chunks_mut::<LANES>().0 {
        let mut sums = *part;
        for (j, share) in shares.iter().enumerate() {
            let value = &values[j * stride + at..][..LANES];
            for i in 0..LANES {
                sums[i] = madd::<FMA>(*share, value[i], sums[i]);
            }
        }
        *part = sums;
        at += LANES;
    }
    at
}

/// Copies keys and values of a pass into a cache layer: token `start + i` of a sequence goes to row `to + i`.
///
/// Shapes: `layer` [capacity, 2 * hk * w], `qkv` [t, (hq + 2 hk) * w].
pub(crate) fn store(steps: Steps, heads: Heads, layer: &Tensor, qkv: &Tensor, sequences: &[Sequence], to: &[usize]) -> Result<()> {
    let (pair, row) = (2 * heads.key_width(), heads.row());
    if steps == Steps::Composed {
        let new = qkv.narrow(1, heads.key_start(), pair)?.contiguous()?;
        return put(layer, &new, sequences, to);
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

/// Runs of tokens that are copied one by one; a scattered copy goes through all tokens one after another, so it pays where
/// runs are many and short.
const RUNS: usize = 8;

/// [`store`] composed of tensor operations, in as few of them as there can be. `new` [t, 2 * hk * w].
fn put(layer: &Tensor, new: &Tensor, sequences: &[Sequence], to: &[usize]) -> Result<()> {
    // (first token, first row, tokens) that follow one another here and there.
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (sequence, &to) in sequences.iter().zip(to) {
        match runs.last_mut() {
            Some((from, row, len)) if *from + *len == sequence.start && *row + *len == to => *len += sequence.len,
            _ => runs.push((sequence.start, to, sequence.len)),
        }
    }
    let (tokens, pair) = new.dims2()?;
    if runs.len() <= RUNS || tokens > 4 * runs.len() {
        return runs.iter().try_for_each(|&(from, row, len)| layer.slice_set(&new.narrow(0, from, len)?, 0, row));
    }
    let rows: Vec<u32> = runs.iter().flat_map(|&(_, row, len)| row..row + len).map(|row| row as u32).collect();
    let rows = Tensor::from_vec(rows, (tokens, 1), new.device())?.broadcast_as((tokens, pair))?.contiguous()?;
    layer.scatter_set(&rows, new, 0)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn numbers(rows: usize, width: usize) -> Tensor {
        let number = |i: usize| ((i * 2_654_435_761) % 1_000_003) as f32 / 500_000.0 - 1.0;
        Tensor::from_vec((0..rows * width).map(number).collect::<Vec<_>>(), (rows, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn all_kinds_of_steps_attend_alike_however_long_sequences_and_prefixes_are() {
        let heads = Heads { queries: 4, keys: 2, width: 8 };
        let cached = numbers(3000, 2 * heads.key_width());
        for window in [None, Some(100)] {
            let mut pass = Pass::default();
            let mut push = |len: usize, prefix: Vec<Range<usize>>| {
                pass.push(&vec![0; len], prefix);
            };
            push(5, vec![]);
            push(1300, vec![0..40, 50..61]);
            push(20, vec![0..40, 2900..2903]);
            push(7, vec![0..0, 0..40]);
            push(500, vec![0..2990]);
            (0..4).for_each(|i| push(1, vec![0..40, 100 * i + 60..100 * i + 61 + i]));
            push(1, vec![]);
            // A tree behind cached rows, deep and with single tokens.
            let first = pass.push(&[0; 9], vec![0..40]);
            let second = pass.branch(&[0; 3], vec![0..40], vec![first..first + 9]);
            pass.branch(&[0; 1], vec![0..40], vec![first..first + 12]);
            pass.branch(&[0; 700], vec![0..40], vec![first..first + 9]);
            pass.branch(&[0; 6], vec![], vec![first..first + 2, second..second + 1]);
            let qkv = numbers(pass.tokens.len(), heads.row());
            let found = |steps| attend(steps, heads, &qkv, Some(&cached), &pass, window).unwrap().to_vec2::<f32>().unwrap();
            let fused = found(Steps::Fused);
            let flash = flash::attend(heads, &qkv, Some(&cached), &pass.sequences, &pass.calls, window, flash::tests::plain);
            for (kind, other) in [("composed", found(Steps::Composed)), ("flash", flash.unwrap().to_vec2().unwrap())] {
                for (token, (a, b)) in fused.iter().zip(&other).enumerate() {
                    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(apart < 1e-5, "{kind}: token {token} with window {window:?}: {apart}");
                }
            }
        }
    }

    #[test]
    fn keys_and_values_go_to_their_rows_by_either_kind_of_steps() {
        let heads = Heads { queries: 2, keys: 1, width: 2 };
        // Adjacent ones, a few apart, many single ones apart.
        let cases = [vec![(3, 0), (2, 3), (4, 5)], vec![(3, 20), (1, 0), (2, 7)], (0..12).map(|i| (1 + i % 2, 3 * i)).collect()];
        for case in cases {
            let mut pass = Pass::default();
            for (len, _) in &case {
                pass.push(&vec![0; *len], Vec::new());
            }
            let to: Vec<usize> = case.iter().map(|c| c.1).collect();
            let tokens = pass.tokens.len();
            let qkv = Tensor::arange(0f32, (tokens * heads.row()) as f32, &Device::Cpu).unwrap().reshape((tokens, heads.row())).unwrap();
            let stored = |steps| {
                let layer = Tensor::zeros((40, 4), DType::F32, &Device::Cpu).unwrap();
                store(steps, heads, &layer, &qkv, &pass.sequences, &to).unwrap();
                layer.to_vec2::<f32>().unwrap()
            };
            let fused = stored(Steps::Fused);
            assert_eq!(fused, stored(Steps::Composed), "{case:?}");
            assert_eq!(fused.iter().filter(|row| row.iter().any(|x| *x != 0.0)).count(), tokens);
        }
    }
}
