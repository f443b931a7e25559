//! The decoder: embeddings, blocks, final norm and LM head, with taps after every block.

use candle_core::{DType, Device, Result, Tensor};
use limbic_proto::architecture::Architecture;
use limbic_proto::axis::Layer;

use super::rope::Rope;
use crate::kernel::attention::{attend, store};
use crate::kernel::heads::{HeadWeights, Heads, place};
use crate::kernel::matrix::{Matrix, add, feed, normed};
use crate::kernel::{Steps, norm, pick};
use crate::pass::{Cache, Pass};

/// One block's weights; matrices lie as `[in, out]`.
#[derive(Debug)]
pub(crate) struct Block {
    /// Norm before the attention, [d].
    pub attention_norm: Tensor,
    /// q, k and v projections side by side, [d, (hq + 2 hk) * w].
    pub qkv: Matrix,
    /// Bias and per-head norms.
    pub heads: HeadWeights,
    /// Output projection, [hq * w, d].
    pub output: Matrix,
    /// Its bias, [d].
    pub output_bias: Option<Tensor>,
    /// Norm before the feed-forward part, [d].
    pub feed_norm: Tensor,
    /// Gate and up projections side by side, [d, 2 i].
    pub gate_up: Matrix,
    /// Down projection, [i, d].
    pub down: Matrix,
    /// How many keys a query sees.
    pub window: Option<usize>,
}

/// All weights of one decoder on one device.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub architecture: Architecture,
    /// [d, vocab].
    pub embeddings: Matrix,
    pub blocks: Vec<Block>,
    /// Final norm, [d].
    pub norm: Tensor,
    /// LM head, [d, vocab]; the embeddings where tied.
    pub head: Matrix,
    pub rope: Rope,
    pub device: Device,
    /// The number format of activations.
    pub dtype: DType,
    pub steps: Steps,
    /// See [`crate::Placement::with_room`].
    pub room: Option<usize>,
}

/// What a pass does besides computing.
#[derive(Default, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Keys and values that sequences' prefixes refer to, and that `store` writes to.
    pub cache: Option<&'a Cache>,
    /// Where each sequence's new keys and values go; `None` keeps none.
    pub store: Option<&'a [usize]>,
    /// How many blocks run.
    pub blocks: usize,
    /// Token indices (ascending) that matter after the last block; the others are dropped before its feed-forward part.
    pub kept: &'a [u32],
}

/// What a tap is shown.
pub(crate) struct Tap<'a> {
    /// Where it is.
    pub layer: Layer,
    /// [t, d], or [kept, d] where `kept_only`.
    pub states: &'a Tensor,
    /// Only the kept tokens' rows are there.
    pub kept_only: bool,
}

impl Decoder {
    /// Runs a pass and shows every layer's states to `tap`.
    ///
    /// `tap` sees `Block(0)` to `Block(plan.blocks)` and, if all blocks ran, `Final`. Returns the last states shown.
    pub(crate) fn forward(&self, pass: &Pass, plan: &Plan<'_>, mut tap: impl FnMut(Tap<'_>) -> Result<()>) -> Result<Tensor> {
        if let Some(room) = self.room.filter(|room| pass.tokens.len() > *room) {
            candle_core::bail!("out of memory: a pass of {} tokens, there is room for {room}", pass.tokens.len());
        }
        let all: Vec<u32>;
        let kept = if plan.kept.is_empty() {
            all = (0..pass.tokens.len() as u32).collect();
            &all
        } else {
            plan.kept
        };
        let mut x = self.embeddings.columns(&pass.tokens)?;
        tap(Tap { layer: Layer::Block(0), states: &x, kept_only: false })?;
        for (index, block) in self.blocks.iter().take(plan.blocks).enumerate() {
            let last = index + 1 == plan.blocks && kept.len() < pass.tokens.len();
            x = self.block(index, block, x, pass, plan, last.then_some(kept))?;
            tap(Tap { layer: Layer::Block(index as u32 + 1), states: &x, kept_only: last })?;
        }
        if plan.blocks == self.blocks.len() {
            let kept_only = x.dim(0)? < pass.tokens.len();
            x = norm::rms_norm(self.steps, &x, &self.norm, self.architecture.rms_eps as f32)?;
            tap(Tap { layer: Layer::Final, states: &x, kept_only })?;
        }
        Ok(x)
    }

    fn block(&self, index: usize, block: &Block, x: Tensor, pass: &Pass, plan: &Plan<'_>, kept: Option<&[u32]>) -> Result<Tensor> {
        let (steps, eps) = (self.steps, self.architecture.rms_eps as f32);
        let heads = self.heads();
        let cached = plan.cache.map(|cache| &cache.layers[index]);
        let qkv = normed(steps, &x, &block.attention_norm, eps, &block.qkv)?;
        let qkv = place(steps, heads, qkv, &block.heads, &self.rope, pass)?;
        let mut mixed = attend(steps, heads, &qkv, cached, pass, block.window)?;
        if let (Some(layer), Some(to)) = (cached, plan.store) {
            store(steps, heads, layer, &qkv, &pass.sequences, to)?;
        }
        drop(qkv);
        let mut x = x;
        if let Some(kept) = kept {
            (mixed, x) = (pick(&mixed, kept)?, pick(&x, kept)?);
        }
        let x = add(steps, x, &mixed, &block.output, block.output_bias.as_ref())?;
        feed(steps, x, &block.feed_norm, eps, &block.gate_up, &block.down)
    }

    /// Next-token scores of states after the final norm, `[n, d]` -> `[n, vocab]` in f32.
    pub(crate) fn logits(&self, states: &Tensor) -> Result<Tensor> {
        self.head.times(states)?.to_dtype(DType::F32)
    }

    /// An empty cache for so many tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<Cache> {
        Cache::new(&self.architecture, capacity, self.dtype, &self.device)
    }

    pub(crate) fn heads(&self) -> Heads {
        let a = &self.architecture;
        Heads { queries: a.heads, keys: a.kv_heads, width: a.head_dim }
    }
}
