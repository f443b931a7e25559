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

/// Successive sequences, and what they may look at.
#[derive(Debug)]
struct Block {
    /// Their new tokens.
    tokens: Range<usize>,
    /// The cache rows between their first and last prefix.
    cached: Range<usize>,
    /// 0 where a query sees a key, else minus infinity: `[tokens, cached + tokens]`, f32.
    mask: Tensor,
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
            let first = rest[0].start;
            let count = rest.iter().take_while(|s| s.start + s.len - first <= TOKENS).count().max(1);
            let (run, others) = rest.split_at(count);
            blocks.push(Block::new(run, window, device)?);
            rest = others;
        }
        let blocks = Rc::new(blocks);
        self.0.borrow_mut().insert(window, Rc::clone(&blocks));
        Ok(blocks)
    }
}

impl Block {
    fn new(sequences: &[Sequence], window: Option<usize>, device: &Device) -> Result<Block> {
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
        Ok(Block { tokens, cached, mask })
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
    let Heads { queries, keys: kv, width } = heads;
    let (group, pair) = (queries / kv, 2 * heads.key_width());
    let blocks = blocks.get(sequences, window, qkv.device())?;
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks.iter() {
        let tokens = block.tokens.len();
        let own = qkv.narrow(0, block.tokens.start, tokens)?;
        let mut pairs = own.narrow(1, heads.key_start(), pair)?.contiguous()?;
        if let Some(cached) = cached.filter(|_| !block.cached.is_empty()) {
            pairs = Tensor::cat(&[&cached.narrow(0, block.cached.start, block.cached.len())?, &pairs], 0)?;
        }
        let keys = pairs.dim(0)?;
        let pairs = pairs.reshape((keys, 2, kv, width))?.permute((1, 2, 0, 3))?.contiguous()?;
        let q = own.narrow(1, 0, heads.key_start())?.contiguous()?.reshape((tokens, kv, group, width))?;
        let q = (q.permute((1, 2, 0, 3))?.contiguous()?.reshape((kv, group * tokens, width))? * (1.0 / (width as f64).sqrt()))?;
        let scores = q.matmul(&pairs.get(0)?.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let scores = scores.reshape((kv, group, tokens, keys))?.broadcast_add(&block.mask)?;
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let shares = scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?.to_dtype(qkv.dtype())?;
        let mixed = shares.reshape((kv, group * tokens, keys))?.matmul(&pairs.get(1)?)?;
        let mixed = mixed.reshape((kv, group, tokens, width))?.permute((2, 0, 1, 3))?.contiguous()?;
        all.push(mixed.reshape((tokens, heads.key_start()))?);
    }
    if all.len() == 1 { Ok(all.remove(0)) } else { Tensor::cat(&all, 0) }
}
