//! A differentiable Qwen3 decoder: pre-norm blocks, head norms on queries and keys, rotary embedding, grouped queries, SwiGLU, tied embeddings.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::corpus::{Batch, CLASSES};
use crate::kernels::{DocumentSoftmax, RmsNorm, Rotary};

/// Added to the mean square in every norm.
pub(crate) const NORM_EPS: f64 = 1e-6;
const READER: &str = "reader";
/// Base of the rotary angles.
pub(crate) const ROPE_THETA: f64 = 10_000.0;

/// The shape of one model and how it is trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Folder name under `--out`.
    pub(crate) name: &'static str,
    /// Width of the residual stream.
    pub(crate) width: usize,
    /// Number of blocks.
    pub(crate) layers: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    /// Inner width of the feed-forward layer.
    pub(crate) inner: usize,
    /// Highest learning rate.
    pub(crate) rate: f64,
    /// Share of the time budget, relative to the other models.
    pub(crate) share: f64,
}

/// The three models of the family.
pub(crate) const SIZES: [Size; 3] = [
    Size { name: "tiny-0.3m", width: 64, layers: 4, heads: 4, kv_heads: 2, head_dim: 16, inner: 192, rate: 4e-3, share: 0.12 },
    Size { name: "tiny-1m", width: 128, layers: 4, heads: 4, kv_heads: 2, head_dim: 32, inner: 320, rate: 3e-3, share: 0.30 },
    Size { name: "tiny-4m", width: 256, layers: 5, heads: 4, kv_heads: 2, head_dim: 64, inner: 704, rate: 2e-3, share: 0.58 },
];

struct Block {
    input_norm: Var,
    query: Var,
    key: Var,
    value: Var,
    query_norm: Var,
    key_norm: Var,
    output: Var,
    post_norm: Var,
    gate: Var,
    up: Var,
    down: Var,
}

/// The weights, each also reachable by its Hugging Face name.
pub(crate) struct Model {
    size: Size,
    embedding: Var,
    blocks: Vec<Block>,
    norm: Var,
    reader: Var,
    named: BTreeMap<String, Var>,
}

/// Draws initial weights and files them under their names.
struct Init {
    random: ChaCha8Rng,
    named: BTreeMap<String, Var>,
}

impl Init {
    fn normal(&mut self, name: String, shape: (usize, usize), deviation: f64) -> Result<Var> {
        let draw = |random: &mut ChaCha8Rng| {
            let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos() * deviation) as f32
        };
        let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| draw(&mut self.random)).collect();
        self.file(name, Var::from_vec(values, shape, &Device::Cpu)?)
    }

    fn ones(&mut self, name: String, width: usize) -> Result<Var> {
        self.file(name, Var::ones(width, DType::F32, &Device::Cpu)?)
    }

    fn file(&mut self, name: String, var: Var) -> Result<Var> {
        self.named.insert(name, var.clone());
        Ok(var)
    }
}

impl Model {
    /// Random weights: normal with deviation `0.5 / sqrt(width)`, residual outputs scaled down by the depth.
    pub(crate) fn new(size: Size, vocabulary: usize, seed: u64) -> Result<Self> {
        let mut init = Init { random: ChaCha8Rng::seed_from_u64(seed), named: BTreeMap::new() };
        let Size { width, layers, heads, kv_heads, head_dim, inner, .. } = size;
        let deviation = 0.5 / (width as f64).sqrt();
        let residual = deviation / (2.0 * layers as f64).sqrt();
        let embedding = init.normal("model.embed_tokens.weight".into(), (vocabulary, width), deviation)?;
        let blocks = (0..layers)
            .map(|layer| {
                let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
                Ok(Block {
                    input_norm: init.ones(name("input_layernorm"), width)?,
                    query: init.normal(name("self_attn.q_proj"), (heads * head_dim, width), deviation)?,
                    key: init.normal(name("self_attn.k_proj"), (kv_heads * head_dim, width), deviation)?,
                    value: init.normal(name("self_attn.v_proj"), (kv_heads * head_dim, width), deviation)?,
                    query_norm: init.ones(name("self_attn.q_norm"), head_dim)?,
                    key_norm: init.ones(name("self_attn.k_norm"), head_dim)?,
                    output: init.normal(name("self_attn.o_proj"), (width, heads * head_dim), residual)?,
                    post_norm: init.ones(name("post_attention_layernorm"), width)?,
                    gate: init.normal(name("mlp.gate_proj"), (inner, width), deviation)?,
                    up: init.normal(name("mlp.up_proj"), (inner, width), deviation)?,
                    down: init.normal(name("mlp.down_proj"), (width, inner), residual)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let norm = init.ones("model.norm.weight".into(), width)?;
        let reader = init.normal(READER.into(), (CLASSES.len(), width), deviation)?;
        init.named.remove(READER);
        Ok(Self { size, embedding, blocks, norm, reader, named: init.named })
    }

    /// Every weight by its Hugging Face name.
    pub(crate) fn named(&self) -> &BTreeMap<String, Var> {
        &self.named
    }

    /// Number of trained values; the tied head counts once.
    pub(crate) fn parameters(&self) -> usize {
        self.named.values().map(|var| var.elem_count()).sum()
    }

    /// Normed hidden states `[rows, width]` at the positions that the batch asks for.
    pub(crate) fn states(&self, batch: &Batch) -> Result<Tensor> {
        let rotary = Rotary::new(self.size.head_dim, batch.time, ROPE_THETA);
        let starts = Arc::new(batch.starts.clone());
        let tokens = Tensor::new(batch.tokens.as_slice(), &Device::Cpu)?;
        let mut x = self.embedding.index_select(&tokens, 0)?;
        for block in &self.blocks {
            x = (&x + self.attend(block, &norm(&x, &block.input_norm)?, batch, &rotary, &starts)?)?;
            let normed = norm(&x, &block.post_norm)?;
            let gated = (project(&normed, &block.gate)?.silu()? * project(&normed, &block.up)?)?;
            x = (&x + project(&gated, &block.down)?)?;
        }
        let rows = Tensor::new(batch.rows.as_slice(), &Device::Cpu)?;
        norm(&x.index_select(&rows, 0)?, &self.norm)
    }

    /// Logits `[rows, vocabulary]` of the next tokens.
    pub(crate) fn logits(&self, states: &Tensor) -> Result<Tensor> {
        project(states, &self.embedding)
    }

    /// Logits `[rows, classes]` of the utterance's class, from a head that is trained along and not exported.
    pub(crate) fn classes(&self, states: &Tensor) -> Result<Tensor> {
        project(states, &self.reader)
    }

    /// Every weight that is trained.
    pub(crate) fn trained(&self) -> Vec<Var> {
        self.named.values().chain([&self.reader]).cloned().collect()
    }

    fn attend(&self, block: &Block, x: &Tensor, batch: &Batch, rotary: &Rotary, starts: &Arc<Vec<u32>>) -> Result<Tensor> {
        let Size { heads, kv_heads, head_dim, .. } = self.size;
        let (blocks, time) = (batch.tokens.len() / batch.time, batch.time);
        let split = |x: Tensor, heads: usize| x.reshape((blocks, time, heads, head_dim));
        let query = norm(&split(project(x, &block.query)?, heads)?, &block.query_norm)?;
        let query = query.transpose(1, 2)?.contiguous()?.apply_op1(rotary.clone())?;
        let key = norm(&split(project(x, &block.key)?, kv_heads)?, &block.key_norm)?;
        let key = key.transpose(1, 2)?.contiguous()?.apply_op1(rotary.clone())?;
        let value = split(project(x, &block.value)?, kv_heads)?.transpose(1, 2)?;
        // The queries of one key head lie side by side, so they are folded into the time axis and no key is copied.
        let folded = (blocks, kv_heads, heads / kv_heads * time, head_dim);
        let scores = query.reshape(folded)?.matmul(&key.t()?)?.reshape((blocks, heads, time, time))?;
        let softmax = DocumentSoftmax { starts: starts.clone(), heads, time, scale: (head_dim as f32).sqrt().recip() };
        let weights = scores.apply_op1(softmax)?.reshape((blocks, kv_heads, heads / kv_heads * time, time))?;
        let mixed = weights.matmul(&value.contiguous()?)?.reshape((blocks, heads, time, head_dim))?;
        project(&mixed.transpose(1, 2)?.reshape((blocks * time, heads * head_dim))?, &block.output)
    }
}

fn norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, RmsNorm { eps: NORM_EPS as f32 })
}

fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)
}
