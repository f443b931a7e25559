//! From the metadata and the tensor directory of a GGUF file.

use super::{Architecture, ArchitectureError, Family, RopeScaling};
use crate::gguf::{Header, Value};

impl Architecture {
    /// Reads a GGUF header. Mistral files call themselves `llama`.
    pub fn from_gguf(header: &Header) -> Result<Architecture, ArchitectureError> {
        let name =
            header.text("general.architecture").ok_or_else(|| ArchitectureError::Missing { key: "general.architecture".to_owned() })?;
        let family = Family::from_name(name).ok_or_else(|| ArchitectureError::Family { found: name.to_owned() })?;
        let optional = |key: &str| header.number(&format!("{name}.{key}")).map(|n| n as usize);
        let size = |key: &str| optional(key).ok_or_else(|| ArchitectureError::Missing { key: format!("{name}.{key}") });
        let number = |key: &str| header.metadata.get(&format!("{name}.{key}")).and_then(Value::as_f64);
        let (hidden, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_dim = optional("attention.key_length").unwrap_or(hidden / heads.max(1));
        if let Some(rotated) = optional("rope.dimension_count").filter(|r| *r != head_dim) {
            return Err(ArchitectureError::Setting {
                key: format!("{name}.rope.dimension_count"),
                found: rotated.to_string(),
                expected: "the head width",
            });
        }
        if let Some(experts) = optional("expert_count").filter(|n| *n > 0) {
            return Err(ArchitectureError::Setting {
                key: format!("{name}.expert_count"),
                found: experts.to_string(),
                expected: "a dense model",
            });
        }
        let vocab = match header.tensors.get("token_embd.weight").and_then(|t| t.dims.get(1)) {
            Some(rows) => *rows as usize,
            None => size("vocab_size")?,
        };
        let ends = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
        let mut eos: Vec<u32> = ends.iter().filter_map(|key| header.number(key)).filter_map(|id| u32::try_from(id).ok()).collect();
        eos.dedup();
        Architecture {
            family,
            layers: size("block_count")?,
            hidden,
            intermediate: size("feed_forward_length")?,
            heads,
            kv_heads: optional("attention.head_count_kv").unwrap_or(heads),
            head_dim,
            vocab,
            context: size("context_length")?,
            rms_eps: number("attention.layer_norm_rms_epsilon").map_or(1e-6, shortest),
            rope_theta: number("rope.freq_base").unwrap_or(10_000.0),
            rope_scaling: scaling(header, name)?,
            sliding_window: optional("attention.sliding_window").filter(|w| *w > 0),
            sliding_layers: Vec::new(),
            tie_embeddings: !header.tensors.contains_key("output.weight"),
            qkv_bias: header.tensors.contains_key("blk.0.attn_q.bias"),
            output_bias: header.tensors.contains_key("blk.0.attn_output.bias"),
            qk_norm: header.tensors.contains_key("blk.0.attn_q_norm.weight"),
            eos,
        }
        .checked()
    }
}

/// The f64 a person would have written for a value that was stored as f32 (1e-5, not 9.99999974e-6).
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

fn scaling(header: &Header, name: &str) -> Result<Option<RopeScaling>, ArchitectureError> {
    if header.tensors.contains_key("rope_freqs.weight") {
        return Ok(Some(RopeScaling::Factors));
    }
    // Older files have the second key; llama.cpp takes a factor without a type to be linear, and 0 for none.
    let keys = ["rope.scaling.factor", "rope.scale_linear"].map(|key| format!("{name}.{key}"));
    let factor = keys.iter().find_map(|key| header.metadata.get(key)).and_then(Value::as_f64).filter(|factor| *factor != 0.0);
    match header.text(&format!("{name}.rope.scaling.type")) {
        Some("none") => Ok(None),
        None | Some("linear") => Ok(factor.map(|factor| RopeScaling::Linear { factor })),
        Some(other) => Err(ArchitectureError::Rope { found: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_is_read_as_llama_cpp_reads_it() {
        let with = |settings: &[(&str, Value)]| {
            let mut header = Header::default();
            header.metadata.extend(settings.iter().map(|(key, value)| (format!("llama.rope.{key}"), value.clone())));
            scaling(&header, "llama").map_err(|error| error.to_string())
        };
        let (four, text) = (Value::Float(4.0), |kind: &str| Value::Text(kind.to_owned()));
        let linear = Ok(Some(RopeScaling::Linear { factor: 4.0 }));
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&[("scaling.factor", four.clone())]), linear);
        assert_eq!(with(&[("scale_linear", four.clone())]), linear);
        assert_eq!(with(&[("scaling.type", text("linear")), ("scaling.factor", four.clone())]), linear);
        assert_eq!(with(&[("scaling.type", text("none")), ("scaling.factor", four)]), Ok(None));
        assert_eq!(with(&[("scaling.factor", Value::Float(0.0))]), Ok(None));
        assert_eq!(with(&[("scaling.type", text("linear"))]), Ok(None));
        assert!(with(&[("scaling.type", text("yarn"))]).unwrap_err().contains("yarn"));
    }
}
