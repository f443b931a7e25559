//! Attention composed of tensor operations: runs of sequences against their keys under a block-diagonal mask.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use candle_core::{D, DType, Device, Result, Tensor};

use super::heads::Heads;
use crate::pass::Sequence;

/// New tokens handled at once.
const TOKENS: usize = 512;

/// Pairs of a query and a key handled at once; bounds the scores to `hq * 4,194,304` numbers of f32.
const PAIRS: usize = 1 << 22;

/// Cached rows gathered at once for single tokens; bounds their copy to `32,768 * 2 * hk * w` numbers.
const GATHERED: usize = 1 << 15;

/// Successive sequences, or a part of one, and what they may look at.
#[derive(Debug)]
struct Block {
    /// Their new tokens.
    tokens: Range<usize>,
    keys: Keys,
    mask: Mask,
}

/// Which keys a query sees: 0 where it does, else a number that leaves nothing of a share, f32.
#[derive(Debug)]
enum Mask {
    /// As it is added.
    Held(Tensor),
    /// Of a part of a large sequence it is made anew whenever it is needed: those of all parts together would grow with the square of
    /// its length. The number of each key in the sequence, `[1, keys]`, and of each query, `[tokens, 1]`, f32.
    Counted { keys: Tensor, queries: Tensor, window: Option<usize> },
}

impl Mask {
    fn get(&self) -> Result<Tensor> {
        match self {
            Mask::Held(mask) => Ok(mask.clone()),
            Mask::Counted { keys, queries, window } => {
                let mut seen = keys.broadcast_le(queries)?.to_dtype(DType::F32)?;
                if let Some(window) = window {
                    let from = (queries - *window as f64)?;
                    seen = (seen * keys.broadcast_gt(&from)?.to_dtype(DType::F32)?)?;
                }
                seen.affine(UNSEEN, -UNSEEN)
            }
        }
    }
}

/// Taken from the score of a key that isn't seen: beside any score that a key which is seen can have its exponential is 0 in f32.
const UNSEEN: f64 = 1e30;

/// Where a block's keys come from.
#[derive(Debug)]
enum Keys {
    /// Cache rows, then those of the pass's tokens `own`, both ascending and each once, for all queries alike; the mask is
    /// `[tokens, cached + own]`.
    Alike { cached: Vec<Range<usize>>, own: Vec<Range<usize>> },
    /// Of sequences with one new token, as replies have that are decoded, each has its own prefix's, filled up to the longest, and
    /// then its own: cache rows `[tokens * longest]`; the mask is `[tokens, 1, 1, longest + 1]`. So the work grows with the rows, not
    /// with their square.
    Each(Tensor),
}

/// Whether a sequence is one new token behind cached ones.
fn single(sequence: &Sequence) -> bool {
    sequence.len == 1 && sequence.stem.is_empty() && sequence.prefix.iter().any(|r| !r.is_empty())
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
        while let Some(first) = rest.first() {
            let (run, others) = rest.split_at(together(rest));
            if single(first) {
                blocks.push(Block::each(run, window, device)?);
            } else if run.len() == 1 && large(first) {
                for tokens in parts(first) {
                    blocks.push(Block::part(first, tokens, window, device)?);
                }
            } else {
                blocks.push(Block::alike(run, window, device)?);
            }
            rest = others;
        }
        let blocks = Rc::new(blocks);
        self.0.borrow_mut().insert(window, Rc::clone(&blocks));
        Ok(blocks)
    }
}

fn held(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}

/// Whether a sequence is more than a block may have.
fn large(sequence: &Sequence) -> bool {
    sequence.len > TOKENS || sequence.len * (sequence.before() + sequence.len) > PAIRS
}

/// The new tokens of a large sequence, in parts that are not.
fn parts(sequence: &Sequence) -> Vec<Range<usize>> {
    let (mut parts, mut from, end) = (Vec::new(), sequence.start, sequence.start + sequence.len);
    while from < end {
        let keys = sequence.before() + from - sequence.start + TOKENS;
        let to = end.min(from + (PAIRS / keys).clamp(1, TOKENS));
        parts.push(from..to);
        from = to;
    }
    parts
}

/// How many of the first sequences make a block; a large one is alone.
fn together(sequences: &[Sequence]) -> usize {
    let (alone, first) = (single(&sequences[0]), sequences[0].start);
    let (mut longest, mut cached, mut own) = (0, Vec::new(), Vec::new());
    let fits = |(at, s): &(usize, &Sequence)| {
        if single(s) != alone {
            return false;
        }
        if alone {
            longest = longest.max(s.before());
            return (at + 1) * longest <= GATHERED;
        }
        s.prefix.iter().for_each(|rows| cover(&mut cached, rows));
        new_tokens(s, s.len).iter().for_each(|tokens| cover(&mut own, tokens));
        let tokens = s.start + s.len - first;
        tokens <= TOKENS && tokens * (held(&cached) + held(&own)) <= PAIRS
    };
    sequences.iter().enumerate().take_while(fits).count().max(1)
}

/// Adds rows to disjoint ranges of such, ascending.
fn cover(covered: &mut Vec<Range<usize>>, rows: &Range<usize>) {
    if rows.is_empty() {
        return;
    }
    let from = covered.partition_point(|r| r.end < rows.start);
    let to = covered.partition_point(|r| r.start <= rows.end);
    let merged = covered[from..to].iter().fold(rows.clone(), |all, r| all.start.min(r.start)..all.end.max(r.end));
    covered.splice(from..to, [merged]);
}

/// How many of the covered rows stand before one of them.
fn column(covered: &[Range<usize>], row: usize) -> usize {
    let at = covered.partition_point(|r| r.end <= row);
    held(&covered[..at]) + row - covered[at].start
}

impl Block {
    fn each(sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Block> {
        let (first, count) = (sequences[0].start, sequences.len());
        let longest = sequences.iter().map(Sequence::before).max().unwrap_or(0);
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
        let mask = Mask::Held(Tensor::from_vec(mask, (count, 1, 1, longest + 1), device)?);
        Ok(Block { tokens: first..first + count, keys: Keys::Each(rows), mask })
    }

    fn alike(sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Block> {
        let (first, last) = (&sequences[0], &sequences[sequences.len() - 1]);
        let (tokens, cached) = (first.start..last.start + last.len, seen(sequences));
        let mut own = Vec::new();
        sequences.iter().flat_map(|s| new_tokens(s, s.len)).for_each(|tokens| cover(&mut own, &tokens));
        let keys = held(&cached) + held(&own);
        let mut mask = vec![f32::NEG_INFINITY; tokens.len() * keys];
        for sequence in sequences {
            let columns = columns(sequence, sequence.len, &cached, &own);
            for query in 0..sequence.len {
                let to = columns.len() - sequence.len + query + 1;
                let from = window.map_or(0, |w| to.saturating_sub(w));
                let row = &mut mask[(sequence.start - tokens.start + query) * keys..][..keys];
                columns[from..to].iter().for_each(|&column| row[column] = 0.0);
            }
        }
        let mask = Mask::Held(Tensor::from_vec(mask, (tokens.len(), keys), device)?);
        Ok(Block { tokens, keys: Keys::Alike { cached, own }, mask })
    }

    /// Some of a large sequence's new tokens.
    fn part(sequence: &Sequence, tokens: Range<usize>, window: Option<usize>, device: &Device) -> Result<Block> {
        let cached = seen(std::slice::from_ref(sequence));
        let len = tokens.end - sequence.start;
        let mut own = Vec::new();
        new_tokens(sequence, len).iter().for_each(|tokens| cover(&mut own, tokens));
        let count = held(&cached) + held(&own);
        let mut keys = vec![0f32; count];
        columns(sequence, len, &cached, &own).into_iter().enumerate().for_each(|(number, column)| keys[column] = number as f32);
        let queries: Vec<f32> = tokens.clone().map(|token| (sequence.before() + token - sequence.start) as f32).collect();
        let queries = Tensor::from_vec(queries, (tokens.len(), 1), device)?;
        let keys = Tensor::from_vec(keys, (1, count), device)?;
        Ok(Block { tokens, keys: Keys::Alike { cached, own }, mask: Mask::Counted { keys, queries, window } })
    }
}

/// The cache rows that any of the sequences sees.
pub(super) fn seen(sequences: &[Sequence]) -> Vec<Range<usize>> {
    let mut cached = Vec::new();
    sequences.iter().flat_map(|s| &s.prefix).for_each(|rows| cover(&mut cached, rows));
    cached
}

/// The pass's tokens that the first `len` new tokens of a sequence see: its stem, and themselves.
fn new_tokens(sequence: &Sequence, len: usize) -> Vec<Range<usize>> {
    sequence.stem.iter().cloned().chain([sequence.start..sequence.start + len]).collect()
}

/// Where the keys of a sequence's first `len` new tokens, in its own order, lie among a block's: the cached ones, then the pass's own.
pub(super) fn columns(sequence: &Sequence, len: usize, cached: &[Range<usize>], own: &[Range<usize>]) -> Vec<usize> {
    let prefix = sequence.prefix.iter().filter(|rows| !rows.is_empty());
    let prefix = prefix.map(|rows| (column(cached, rows.start), rows.len())).map(|(at, len)| at..at + len);
    let new = new_tokens(sequence, len).into_iter().map(|tokens| (held(cached) + column(own, tokens.start), tokens.len()));
    prefix.chain(new.map(|(at, len)| at..at + len)).flatten().collect()
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
        let behind = |needed: bool| match cached {
            None if needed => candle_core::bail!("a sequence has a prefix, and there is no cache"),
            cached => Ok(cached),
        };
        all.push(match &block.keys {
            Keys::Each(rows) => block.attend_each(heads, qkv, behind(true)?, rows)?,
            Keys::Alike { cached, own } => block.attend_alike(heads, qkv, behind(!cached.is_empty())?, cached, own)?,
        });
    }
    if all.len() == 1 { Ok(all.remove(0)) } else { Tensor::cat(&all, 0) }
}

impl Block {
    /// The queries of the block's tokens, `[tokens, hq * w]`.
    fn queries(&self, heads: Heads, qkv: &Tensor) -> Result<Tensor> {
        qkv.narrow(0, self.tokens.start, self.tokens.len())?.narrow(1, 0, heads.key_start())?.contiguous()
    }

    /// `qkv` [t, (hq + 2 hk) * w] -> [tokens, hq * w].
    fn attend_alike(
        &self,
        heads: Heads,
        qkv: &Tensor,
        cache: Option<&Tensor>,
        cached: &[Range<usize>],
        own: &[Range<usize>],
    ) -> Result<Tensor> {
        let Heads { queries, keys: kv, width } = heads;
        let (group, tokens) = (queries / kv, self.tokens.len());
        let behind = cache.iter().flat_map(|cache| cached.iter().map(|rows| cache.narrow(0, rows.start, rows.len())));
        let mut pairs = behind.collect::<Result<Vec<_>>>()?;
        let new = qkv.narrow(1, heads.key_start(), 2 * heads.key_width())?;
        for tokens in own {
            pairs.push(new.narrow(0, tokens.start, tokens.len())?.contiguous()?);
        }
        let pairs = if pairs.len() == 1 { pairs.remove(0) } else { Tensor::cat(&pairs, 0)? };
        let keys = pairs.dim(0)?;
        let pairs = pairs.reshape((keys, 2, kv, width))?.permute((1, 2, 0, 3))?.contiguous()?;
        let q = self.queries(heads, qkv)?.reshape((tokens, kv, group, width))?;
        let q = q.permute((1, 2, 0, 3))?.contiguous()?.reshape((kv, group * tokens, width))?;
        let scores = scores(&q, &pairs.get(0)?)?.reshape((kv, group, tokens, keys))?;
        let shares = shares(&scores, &self.mask.get()?, qkv.dtype())?;
        let mixed = shares.reshape((kv, group * tokens, keys))?.matmul(&pairs.get(1)?)?;
        let mixed = mixed.reshape((kv, group, tokens, width))?.permute((2, 0, 1, 3))?.contiguous()?;
        mixed.reshape((tokens, heads.key_start()))
    }

    /// The same for single tokens behind the cache's `rows`, `[tokens * longest]`.
    fn attend_each(&self, heads: Heads, qkv: &Tensor, cache: Option<&Tensor>, rows: &Tensor) -> Result<Tensor> {
        let Heads { queries, keys: kv, width } = heads;
        let (group, tokens, pair) = (queries / kv, self.tokens.len(), 2 * heads.key_width());
        let longest = rows.dim(0)? / tokens;
        let before = cache.expect("it is looked for first").index_select(rows, 0)?.reshape((tokens, longest, pair))?;
        let own = qkv.narrow(0, self.tokens.start, tokens)?.narrow(1, heads.key_start(), pair)?.contiguous()?;
        let pairs = Tensor::cat(&[&before, &own.unsqueeze(1)?], 1)?;
        let pairs = pairs.reshape((tokens, longest + 1, 2, kv, width))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let q = self.queries(heads, qkv)?.reshape((tokens, kv, group, width))?;
        let shares = shares(&scores(&q, &pairs.get(0)?)?, &self.mask.get()?, qkv.dtype())?;
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
    candle_nn::ops::softmax_last_dim(&scores.broadcast_add(mask)?)?.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sequences one after another with such lengths and prefixes.
    fn sequences(of: &[(usize, &[Range<usize>])]) -> Vec<Sequence> {
        let mut start = 0;
        let one = |(len, prefix): &(usize, &[Range<usize>])| {
            start += len;
            Sequence { start: start - len, len: *len, prefix: prefix.to_vec(), stem: Vec::new() }
        };
        of.iter().map(one).collect()
    }

    /// A block's new tokens, cached rows and the pass's own.
    type Cut = (Range<usize>, Vec<Range<usize>>, Vec<Range<usize>>);

    fn cut(of: &[Sequence]) -> Vec<Cut> {
        let blocks = Blocks::default().get(of, None, &Device::Cpu).unwrap();
        let one = |block: &Block| match &block.keys {
            Keys::Alike { cached, own } => (block.tokens.clone(), cached.clone(), own.clone()),
            Keys::Each(_) => (block.tokens.clone(), Vec::new(), Vec::new()),
        };
        blocks.iter().map(one).collect()
    }

    #[test]
    fn a_long_sequence_is_cut_into_parts_that_see_what_is_before_them() {
        let of = sequences(&[(300, &[]), (1300, &[0..40]), (20, &[])]);
        let expected = vec![
            (0..300, vec![], vec![0..300]),
            (300..812, vec![0..40], vec![300..812]),
            (812..1324, vec![0..40], vec![300..1324]),
            (1324..1600, vec![0..40], vec![300..1600]),
            (1600..1620, vec![], vec![1600..1620]),
        ];
        assert_eq!(cut(&of), expected);
    }

    #[test]
    fn only_cached_rows_that_are_seen_are_read() {
        let of = sequences(&[(4, &[0..10, 70_000..70_020]), (4, &[0..10, 70_020..70_050]), (3, &[0..10, 90_000..90_001])]);
        assert_eq!(cut(&of), vec![(0..11, vec![0..10, 70_000..70_050, 90_000..90_001], vec![0..11])]);
    }

    #[test]
    fn no_block_scores_more_than_its_bound() {
        for (len, before) in [(131_072, 0), (512, 131_072), (3, 3_000_000), (8192, 60_000)] {
            let of = sequences(&[(len, &[0..before])]);
            let parts = if large(&of[0]) { parts(&of[0]) } else { vec![0..len] };
            assert!(parts.iter().all(|part| part.len() == 1 || part.len() * (before + part.end) <= PAIRS), "{len} behind {before}");
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, len));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
        // Many short ones whose prefixes are long.
        let long: Vec<Range<usize>> = (0..200).map(|i| i * 1000..(i + 1) * 1000).collect();
        let each: Vec<(usize, &[Range<usize>])> = long.iter().map(|rows| (2, std::slice::from_ref(rows))).collect();
        let cut = cut(&sequences(&each));
        assert!(cut.len() > 1 && cut.iter().all(|(tokens, cached, own)| tokens.len() * (held(cached) + held(own)) <= PAIRS));
    }

    #[test]
    fn of_a_stem_that_many_share_only_its_tokens_are_read() {
        // One first token, and many rows behind it.
        let mut of = sequences(&[(1, &[])]);
        let row = |i: usize| Sequence { start: 1 + 40 * i, len: 40, prefix: Vec::new(), stem: vec![0..1] };
        of.extend((0..1000).map(row));
        let cut = cut(&of);
        assert_eq!(cut.last().unwrap().2.first(), Some(&(0..1)));
        assert!(cut.iter().all(|(tokens, _, own)| held(own) <= tokens.len() + 1), "what is others' isn't looked at");
    }

    proptest! {
        #[test]
        fn covered_rows_are_those_that_were_added(ranges in proptest::collection::vec((0usize..60, 0usize..12), 0..12)) {
            let (mut covered, mut rows) = (Vec::new(), std::collections::BTreeSet::new());
            for (start, len) in ranges {
                cover(&mut covered, &(start..start + len));
                rows.extend(start..start + len);
            }
            prop_assert_eq!(covered.iter().cloned().flatten().collect::<Vec<_>>(), rows.iter().copied().collect::<Vec<_>>());
            prop_assert!(covered.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", covered);
            for (at, row) in rows.iter().enumerate() {
                prop_assert_eq!(column(&covered, *row), at);
            }
        }
    }
}
