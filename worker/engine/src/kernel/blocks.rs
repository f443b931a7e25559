//! Attention composed of tensor operations: runs of sequences against their keys under a block-diagonal mask.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use candle_core::{D, DType, Device, Result, Tensor};

use super::heads::Heads;
use crate::pass::Sequence;

/// New tokens handled at once; bounds the score matrix to `hq * 512 * keys`.
const TOKENS: usize = 512;

/// Cached rows gathered at once for single tokens; bounds their copy to `32,768 * 2 * hk * w` numbers.
const GATHERED: usize = 1 << 15;

/// Successive sequences, and what they may look at.
#[derive(Debug)]
struct Block {
    /// Their new tokens.
    tokens: Range<usize>,
    keys: Keys,
    /// 0 where a query sees a key, else minus infinity, f32.
    mask: Tensor,
}

/// Where a block's keys come from, before those of its own tokens.
#[derive(Debug)]
enum Keys {
    /// The cache rows between the first and the last prefix, for all queries alike; the mask is `[tokens, cached + tokens]`.
    Alike(Range<usize>),
    /// Of sequences with one new token, as replies have that are decoded, each has its own prefix's, filled up to the longest: cache
    /// rows `[tokens * longest]`; the mask is `[tokens, 1, 1, longest + 1]`. So the work grows with the rows, not with their square.
    Each(Tensor),
}

/// Whether a sequence is one new token behind others.
fn single(sequence: &Sequence) -> bool {
    sequence.len == 1 && sequence.prefix.iter().any(|r| !r.is_empty())
}

/// The blocks of one pass, by window; built when a layer first asks and kept for the others.
#[derive(Debug, Default)]
pub(crate) struct Blocks(RefCell<BTreeMap<Option<usize>, Rc<Vec<Block>>>>);

impl Blocks {
    fn get(&self, sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Rc<Vec<Block>>> {
        if let Some(blocks) = self.0.borrow().get(&window) {
            return Ok(Rc::clone(blocks));
        }
        let mut blocks = Vec::new();
        let mut rest = sequences;
        while !rest.is_empty() {
            let alone = single(&rest[0]);
            let (first, mut longest) = (rest[0].start, 0);
            let fits = |(at, s): &(usize, &Sequence)| {
                longest = longest.max(before(s));
                single(s) == alone && if alone { (at + 1) * longest <= GATHERED } else { s.start + s.len - first <= TOKENS }
            };
            let count = rest.iter().enumerate().take_while(fits).count().max(1);
            let (run, others) = rest.split_at(count);
            blocks.push(if alone { Block::each(run, window, device)? } else { Block::alike(run, window, device)? });
            rest = others;
        }
        let blocks = Rc::new(blocks);
        self.0.borrow_mut().insert(window, Rc::clone(&blocks));
        Ok(blocks)
    }
}

/// How many tokens precede a sequence's new ones.
fn before(sequence: &Sequence) -> usize {
    sequence.prefix.iter().map(ExactSizeIterator::len).sum()
}

impl Block {
    fn each(sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Block> {
        let (first, count) = (sequences[0].start, sequences.len());
        let longest = sequences.iter().map(before).max().unwrap_or(0);
        let (mut rows, mut mask) = (Vec::with_capacity(count * longest), Vec::with_capacity(count * (longest + 1)));
        for sequence in sequences {
            let own: Vec<u32> = sequence.prefix.iter().cloned().flatten().map(|row| row as u32).collect();
            // What fills up is the sequence's own, so that no other's states can spoil it.
            rows.extend(own.iter().copied().chain(std::iter::repeat(own[0])).take(longest));
            let from = window.map_or(0, |w| (own.len() + 1).saturating_sub(w));
            mask.extend((0..longest).map(|key| if (from..own.len()).contains(&key) { 0.0 } else { f32::NEG_INFINITY }));
            mask.push(0.0);
        }
        let rows = Tensor::from_vec(rows, count * longest, device)?;
        let mask = Tensor::from_vec(mask, (count, 1, 1, longest + 1), device)?;
        Ok(Block { tokens: first..first + count, keys: Keys::Each(rows), mask })
    }

    fn alike(sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Block> {
        let (first, last) = (&sequences[0], &sequences[sequences.len() - 1]);
        let tokens = first.start..last.start + last.len;
        let prefixes = || sequences.iter().flat_map(|s| &s.prefix);
        let cached = prefixes().map(|r| r.start).min().unwrap_or(0)..prefixes().map(|r| r.end).max().unwrap_or(0);
        let keys = cached.len() + tokens.len();
        let mut mask = vec![f32::NEG_INFINITY; tokens.len() * keys];
        for sequence in sequences {
            let own = cached.len() + sequence.start - tokens.start;
            let parts = sequence.prefix.iter().map(|r| r.start - cached.start..r.end - cached.start);
            let columns: Vec<usize> = parts.chain([own..own + sequence.len]).flatten().collect();
            let before = columns.len() - sequence.len;
            for query in 0..sequence.len {
                let to = before + query + 1;
                let from = window.map_or(0, |w| to.saturating_sub(w));
                let row = &mut mask[(sequence.start - tokens.start + query) * keys..][..keys];
                columns[from..to].iter().for_each(|&column| row[column] = 0.0);
            }
        }
        let mask = Tensor::from_vec(mask, (tokens.len(), keys), device)?;
        Ok(Block { tokens, keys: Keys::Alike(cached), mask })
    }
}

/// As [`super::attention::attend`], on any device. Softmax is in f32.
pub(super) fn attend(
    heads: Heads,
    qkv: &Tensor,
    cached: Option<&Tensor>,
    sequences: &[Sequence],
    blocks: &Blocks,
    window: Option<usize>,
) -> Result<Tensor> {
    let blocks = blocks.get(sequences, window, qkv.device())?;
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks.iter() {
        let own = qkv.narrow(0, block.tokens.start, block.tokens.len())?;
        all.push(match (&block.keys, cached) {
            (Keys::Each(rows), Some(cached)) => block.attend_each(heads, &own, cached, rows)?,
            (Keys::Each(_), None) => candle_core::bail!("a sequence has a prefix, and there is no cache"),
            (Keys::Alike(range), cached) => block.attend_alike(heads, &own, cached.filter(|_| !range.is_empty()), range)?,
        });
    }
    if all.len() == 1 { Ok(all.remove(0)) } else { Tensor::cat(&all, 0) }
}

impl Block {
    /// `own` [tokens, (hq + 2 hk) * w] -> [tokens, hq * w].
    fn attend_alike(&self, heads: Heads, own: &Tensor, cached: Option<&Tensor>, range: &Range<usize>) -> Result<Tensor> {
        let Heads { queries, keys: kv, width } = heads;
        let (group, tokens) = (queries / kv, self.tokens.len());
        let mut pairs = own.narrow(1, heads.key_start(), 2 * heads.key_width())?.contiguous()?;
        if let Some(cached) = cached {
            pairs = Tensor::cat(&[&cached.narrow(0, range.start, range.len())?, &pairs], 0)?;
        }
        let keys = pairs.dim(0)?;
        let pairs = pairs.reshape((keys, 2, kv, width))?.permute((1, 2, 0, 3))?.contiguous()?;
        let q = own.narrow(1, 0, heads.key_start())?.contiguous()?.reshape((tokens, kv, group, width))?;
        let q = q.permute((1, 2, 0, 3))?.contiguous()?.reshape((kv, group * tokens, width))?;
        let scores = scores(&q, &pairs.get(0)?)?.reshape((kv, group, tokens, keys))?;
        let shares = shares(&scores, &self.mask, own.dtype())?;
        let mixed = shares.reshape((kv, group * tokens, keys))?.matmul(&pairs.get(1)?)?;
        let mixed = mixed.reshape((kv, group, tokens, width))?.permute((2, 0, 1, 3))?.contiguous()?;
        mixed.reshape((tokens, heads.key_start()))
    }

    /// The same for single tokens behind the cache's `rows`, `[tokens * longest]`.
    fn attend_each(&self, heads: Heads, own: &Tensor, cached: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let Heads { queries, keys: kv, width } = heads;
        let (group, tokens, pair) = (queries / kv, self.tokens.len(), 2 * heads.key_width());
        let longest = rows.dim(0)? / tokens;
        let before = cached.index_select(rows, 0)?.reshape((tokens, longest, pair))?;
        let pairs = Tensor::cat(&[&before, &own.narrow(1, heads.key_start(), pair)?.contiguous()?.unsqueeze(1)?], 1)?;
        let pairs = pairs.reshape((tokens, longest + 1, 2, kv, width))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let q = own.narrow(1, 0, heads.key_start())?.contiguous()?.reshape((tokens, kv, group, width))?;
        let shares = shares(&scores(&q, &pairs.get(0)?)?, &self.mask, own.dtype())?;
        shares.matmul(&pairs.get(1)?)?.reshape((tokens, heads.key_start()))
    }
}

/// What queries `[.., q, w]` find of keys `[.., k, w]`, `[.., q, k]`, f32.
fn scores(queries: &Tensor, keys: &Tensor) -> Result<Tensor> {
    let width = queries.dim(D::Minus1)?;
    (queries * (1.0 / (width as f64).sqrt()))?.matmul(&keys.transpose(D::Minus2, D::Minus1)?)?.to_dtype(DType::F32)
}

/// Their softmax under a mask.
fn shares(scores: &Tensor, mask: &Tensor, dtype: DType) -> Result<Tensor> {
    let scores = scores.broadcast_add(mask)?;
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?.to_dtype(dtype)
}
