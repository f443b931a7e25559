//! One forward pass over packed sequences: which tokens, where they stand, what they may look back at.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use limbic_proto::architecture::Architecture;

use crate::kernel::blocks::Blocks;
use crate::kernel::flash::Calls;
use crate::kernel::heads::Turns;

/// One sequence inside a pass.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    /// Its first token among the pass's tokens.
    pub start: usize,
    /// How many new tokens it has.
    pub len: usize,
    /// Cache rows that precede the new tokens, in order.
    pub prefix: Vec<Range<usize>>,
    /// Tokens of the same pass that come behind those and precede the new ones: what it begins with and shares with other sequences.
    /// Ascending.
    pub stem: Vec<Range<usize>>,
}

impl Sequence {
    /// How many tokens precede the new ones.
    pub(crate) fn before(&self) -> usize {
        self.prefix.iter().chain(&self.stem).map(ExactSizeIterator::len).sum()
    }
}

/// The tokens of a pass, packed without padding.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// Token ids of all sequences, one after another.
    pub tokens: Vec<u32>,
    /// The position of each token in its own sequence.
    pub positions: Vec<u32>,
    /// The sequences.
    pub sequences: Vec<Sequence>,
    /// Masks for attention that is composed of tensor operations.
    pub blocks: Blocks,
    /// Lists of keys for FlashAttention.
    pub calls: Calls,
    /// Rotations to the positions, likewise.
    pub turns: Turns,
}

impl Pass {
    /// Appends a sequence of new tokens behind cached ones and returns the index of its first token.
    pub(crate) fn push(&mut self, tokens: &[u32], prefix: Vec<Range<usize>>) -> usize {
        self.branch(tokens, prefix, Vec::new())
    }

    /// The same behind tokens of this pass, which come behind the cached ones.
    pub(crate) fn branch(&mut self, tokens: &[u32], prefix: Vec<Range<usize>>, stem: Vec<Range<usize>>) -> usize {
        let start = self.tokens.len();
        let sequence = Sequence { start, len: tokens.len(), prefix, stem };
        let before = sequence.before();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((before..before + tokens.len()).map(|p| p as u32));
        self.sequences.push(sequence);
        start
    }
}

/// Keys and values of earlier passes, one tensor `[capacity, 2 * hk * w]` per block.
pub(crate) struct Cache {
    pub layers: Vec<Tensor>,
}

impl Cache {
    /// Room for `capacity` tokens.
    pub(crate) fn new(architecture: &Architecture, capacity: usize, dtype: DType, device: &Device) -> Result<Cache> {
        let shape = (capacity, 2 * architecture.kv_width());
        let layers = (0..architecture.layers).map(|_| Tensor::zeros(shape, dtype, device)).collect::<Result<_>>()?;
        Ok(Cache { layers })
    }

    /// Copies the first `rows` rows of every layer from another cache.
    pub(crate) fn begin_with(&self, other: &Cache, rows: usize) -> Result<()> {
        for (to, from) in self.layers.iter().zip(&other.layers) {
            to.slice_set(&from.narrow(0, 0, rows)?, 0, 0)?;
        }
        Ok(())
    }
}
