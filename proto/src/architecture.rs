//! What a decoder looks like, read from a Hugging Face `config.json` or a GGUF header.

mod gguf;
mod hub;

use serde::{Deserialize, Serialize};

/// The model families the engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// LLaMA 1 to 3 and what shares its block (SmolLM2, TinyLlama, ...).
    Llama,
    /// Qwen 2 and 2.5: biases on q, k and v.
    Qwen2,
    /// Qwen 3 (dense): per-head norms on q and k.
    Qwen3,
    /// Mistral: LLaMA with sliding-window attention in some releases.
    Mistral,
}

impl Family {
    /// All families, for messages.
    pub const SUPPORTED: &'static str = "llama, qwen2, qwen3, mistral";

    /// The family of a `model_type` or a `general.architecture`.
    pub fn from_name(name: &str) -> Option<Family> {
        Some(match name {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            "mistral" => Family::Mistral,
            _ => return None,
        })
    }

    /// The family's name in `config.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Mistral => "mistral",
        }
    }
}

/// How rotary frequencies are stretched beyond plain RoPE.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// LLaMA 3.1: long wavelengths are divided by `factor`, middle ones blended.
    Llama3 {
        /// By how much the longest wavelengths are stretched.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are stretched fully.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` stay.
        high_freq_factor: f64,
        /// The context length of pre-training.
        original_context: usize,
    },
    /// All positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Per-frequency divisors lie in the GGUF file's tensor `rope_freqs.weight`.
    Factors,
}

/// The shape and the switches of one decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Which family's block it has.
    pub family: Family,
    /// Number of blocks, L.
    pub layers: usize,
    /// Width of the residual stream, d.
    pub hidden: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; `heads * head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Rows of the embedding matrix.
    pub vocab: usize,
    /// The longest sequence the model was made for (`max_position_embeddings`).
    pub context: usize,
    /// Epsilon of the RMS norms.
    pub rms_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Keys a query sees, itself included, in blocks that have a window.
    pub sliding_window: Option<usize>,
    /// Which blocks have the window; empty = all of them.
    pub sliding_layers: Vec<bool>,
    /// The LM head is the embedding matrix.
    pub tie_embeddings: bool,
    /// q, k and v projections have biases.
    pub qkv_bias: bool,
    /// The attention output projection has a bias.
    pub output_bias: bool,
    /// q and k are normed per head before RoPE.
    pub qk_norm: bool,
    /// Tokens that end a reply.
    pub eos: Vec<u32>,
}

impl Architecture {
    /// The attention window of block `layer` (0-based), if it has one.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.sliding_layers.get(layer).copied().unwrap_or(self.sliding_layers.is_empty()))
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together (and of all value heads).
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Multiply-adds of one block's matrices per token.
    fn block_matrices(&self) -> u64 {
        let (d, q, kv, i) = (self.hidden, self.query_width(), self.kv_width(), self.intermediate);
        (d * (q + 2 * kv) + q * d + 3 * d * i) as u64
    }

    /// The exact number of parameters, a tied LM head counted once.
    pub fn parameters(&self) -> u64 {
        let (d, q, kv) = (self.hidden as u64, self.query_width() as u64, self.kv_width() as u64);
        let mut block = self.block_matrices() + 2 * d;
        if self.qkv_bias {
            block += q + 2 * kv;
        }
        if self.output_bias {
            block += d;
        }
        if self.qk_norm {
            block += 2 * self.head_dim as u64;
        }
        let embeddings = self.vocab as u64 * d * if self.tie_embeddings { 1 } else { 2 };
        embeddings + self.layers as u64 * block + d
    }

    /// Floating-point operations of one token's forward pass through all blocks, without the LM head, where it attends
    /// to `context_len` keys. A causal prompt of n tokens attends to (n + 1) / 2 on average.
    pub fn flops_per_token(&self, context_len: usize) -> u64 {
        let attention = |layer| {
            let keys = self.window(layer).map_or(context_len, |w| w.min(context_len));
            4 * (self.query_width() * keys) as u64
        };
        (0..self.layers).map(|layer| 2 * self.block_matrices() + attention(layer)).sum()
    }

    /// Bytes of one stored state (one row, one layer, one read-out; f32).
    pub fn bytes_per_state(&self) -> u64 {
        4 * self.hidden as u64
    }
}

/// Why a model's description is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchitectureError {
    /// Not JSON, or not an object.
    #[error("config.json is not a JSON object: {0}")]
    Json(#[source] serde_json::Error),
    /// A family the engine does not compute.
    #[error("architecture `{found}` is not supported; supported are: {}", Family::SUPPORTED)]
    Family {
        /// The name in the file.
        found: String,
    },
    /// A rotary scaling the engine does not compute.
    #[error("rope type `{found}` is not supported; supported are: default, linear, llama3")]
    Rope {
        /// The name in the file.
        found: String,
    },
    /// A setting whose value changes the computation in a way the engine does not know.
    #[error("`{key}` = {found} is not supported; expected {expected}")]
    Setting {
        /// The key in the file.
        key: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A key that must be there is absent.
    #[error("the key `{key}` is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A value of the wrong type, or sizes that contradict one another.
    #[error("`{key}` = {found} is wrong: expected {expected}")]
    Value {
        /// The key in the file.
        key: String,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The most blocks.
const MOST_LAYERS: usize = 10_000;

impl Architecture {
    /// Refuses sizes no decoder can have.
    fn checked(self) -> Result<Architecture, ArchitectureError> {
        let wrong =
            |key: &str, found: usize, expected| Err(ArchitectureError::Value { key: key.to_owned(), found: found.to_string(), expected });
        // Some hundred times what any model has: what is beyond is a damaged file, and must not be laid out in memory.
        let sizes = [
            ("layers", self.layers, MOST_LAYERS),
            ("hidden", self.hidden, 1 << 20),
            ("intermediate", self.intermediate, 1 << 22),
            ("heads", self.heads, 1 << 16),
            ("kv_heads", self.kv_heads, 1 << 16),
            ("head_dim", self.head_dim, 1 << 16),
            ("heads times head_dim", self.heads.saturating_mul(self.head_dim), 1 << 22),
            ("vocab", self.vocab, 1 << 24),
            ("context", self.context, 1 << 27),
        ];
        for (key, size, most) in sizes {
            if size == 0 || size > most {
                return wrong(key, size, if size == 0 { "a size above 0" } else { "a size that a model can have" });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return wrong("kv_heads", self.kv_heads, "a divisor of the number of heads");
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong("head_dim", self.head_dim, "an even number");
        }
        Ok(self)
    }
}
