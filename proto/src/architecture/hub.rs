//! From a Hugging Face `config.json`, in the older and the newer style of rotary settings.

use serde_json::{Map, Value};

use super::{Architecture, ArchitectureError, Family, RopeScaling};

impl Architecture {
    /// Reads the text of a `config.json`.
    ///
    /// Both `rope_theta` / `rope_scaling` and the newer `rope_parameters` are understood, `head_dim` may be absent, and
    /// `eos_token_id` may be a number, a list or null.
    pub fn from_config(json: &str) -> Result<Architecture, ArchitectureError> {
        let config = Config(serde_json::from_str(json).map_err(ArchitectureError::Json)?);
        let family = config.family()?;
        config.refuse_unknown_computations()?;
        let (layers, hidden, heads) = (config.size("num_hidden_layers")?, config.size("hidden_size")?, config.size("num_attention_heads")?);
        let (rope_theta, rope_scaling) = config.rope()?;
        let (sliding_window, sliding_layers) = config.windows(family, layers)?;
        let attention_bias = config.flag("attention_bias", false);
        Architecture {
            family,
            layers,
            hidden,
            heads,
            intermediate: config.size("intermediate_size")?,
            kv_heads: config.optional_size("num_key_value_heads")?.unwrap_or(heads),
            head_dim: config.optional_size("head_dim")?.unwrap_or(hidden / heads.max(1)),
            vocab: config.size("vocab_size")?,
            context: config.size("max_position_embeddings")?,
            rms_eps: config.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            sliding_window,
            sliding_layers,
            tie_embeddings: config.flag("tie_word_embeddings", false),
            qkv_bias: family == Family::Qwen2 || attention_bias,
            output_bias: attention_bias && family != Family::Qwen2,
            qk_norm: family == Family::Qwen3,
            eos: config.tokens("eos_token_id")?,
        }
        .checked()
    }
}

/// The top object of a `config.json`.
struct Config(Map<String, Value>);

impl Config {
    /// The value of a key that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, ArchitectureError> {
        self.get(key).map(|v| v.as_f64().ok_or_else(|| wrong(key, v, "a number"))).transpose()
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, ArchitectureError> {
        let size = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        self.get(key).map(|v| size(v).ok_or_else(|| wrong(key, v, "a whole number"))).transpose()
    }

    fn size(&self, key: &str) -> Result<usize, ArchitectureError> {
        self.optional_size(key)?.ok_or_else(|| ArchitectureError::Missing { key: key.to_owned() })
    }

    fn tokens(&self, key: &str) -> Result<Vec<u32>, ArchitectureError> {
        let token = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(|v| token(v).ok_or_else(|| wrong(key, v, "token ids"))).collect(),
            Some(v) => token(v).map(|id| vec![id]).ok_or_else(|| wrong(key, v, "a token id or a list of them")),
        }
    }

    fn family(&self) -> Result<Family, ArchitectureError> {
        let kind = self.get("model_type").and_then(Value::as_str);
        let class = self.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let found = match (kind, class) {
            (Some(kind), Some(class)) => format!("{kind} ({class})"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => return Err(ArchitectureError::Missing { key: "model_type".to_owned() }),
        };
        let causal = class.is_none_or(|c| c.ends_with("ForCausalLM") || c.ends_with("Model"));
        let family = kind.or_else(|| class.and_then(|c| c.strip_suffix("ForCausalLM"))).map(str::to_lowercase);
        let family = family.as_deref().and_then(Family::from_name).filter(|_| causal);
        family.ok_or(ArchitectureError::Family { found })
    }

    /// Settings under which these families compute something the engine does not.
    fn refuse_unknown_computations(&self) -> Result<(), ArchitectureError> {
        let refuse = |key: &str, found: &Value, expected| {
            Err(ArchitectureError::Setting { key: key.to_owned(), found: found.to_string(), expected })
        };
        match self.get("hidden_act") {
            Some(act) if act != "silu" && act != "swish" => return refuse("hidden_act", act, "silu"),
            _ => {}
        }
        if self.flag("mlp_bias", false) {
            return refuse("mlp_bias", &Value::Bool(true), "false");
        }
        if let Some(quantisation) = self.get("quantization_config") {
            let method = quantisation.get("quant_method").unwrap_or(quantisation);
            return refuse("quantization_config", method, "none: give unquantised weights or a GGUF file");
        }
        let rotated = self.get("partial_rotary_factor");
        match rotated {
            Some(factor) if factor.as_f64() != Some(1.0) => refuse("partial_rotary_factor", factor, "1.0"),
            _ => Ok(()),
        }
    }

    /// Base and scaling of RoPE, in either style.
    fn rope(&self) -> Result<(f64, Option<RopeScaling>), ArchitectureError> {
        let newer = self.get("rope_parameters").and_then(Value::as_object);
        let older = self.get("rope_scaling").and_then(Value::as_object);
        let empty = Map::new();
        let settings = Config(newer.or(older).unwrap_or(&empty).clone());
        let theta = match settings.number("rope_theta")? {
            Some(theta) => theta,
            None => self.number("rope_theta")?.unwrap_or(10_000.0),
        };
        let required = |key: &str| settings.number(key)?.ok_or_else(|| ArchitectureError::Missing { key: key.to_owned() });
        let kind = settings.get("rope_type").or_else(|| settings.get("type")).and_then(Value::as_str);
        let scaling = match kind {
            None | Some("default") => None,
            Some("linear") => Some(RopeScaling::Linear { factor: required("factor")? }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original_context: settings.size("original_max_position_embeddings")?,
            }),
            Some(other) => return Err(ArchitectureError::Rope { found: other.to_owned() }),
        };
        Ok((theta, scaling))
    }

    /// The sliding window and the blocks that have it.
    ///
    /// Qwen configs carry a window that counts only with `use_sliding_window`, and then from block
    /// `max_window_layers` on, unless `layer_types` says it block by block.
    fn windows(&self, family: Family, layers: usize) -> Result<(Option<usize>, Vec<bool>), ArchitectureError> {
        let window = self.optional_size("sliding_window")?.filter(|w| *w > 0);
        let qwen = matches!(family, Family::Qwen2 | Family::Qwen3);
        let used = match family {
            Family::Llama => false,
            Family::Mistral => true,
            Family::Qwen2 | Family::Qwen3 => self.flag("use_sliding_window", false),
        };
        let Some(window) = window.filter(|_| used) else { return Ok((None, Vec::new())) };
        let mut sliding = Vec::new();
        if let Some(types) = self.get("layer_types").and_then(Value::as_array) {
            sliding = types.iter().map(|t| t == "sliding_attention").collect();
            if sliding.len() != layers {
                return Err(wrong("layer_types", &Value::Array(types.clone()), "one entry per layer"));
            }
        } else if qwen {
            let first = self.optional_size("max_window_layers")?.unwrap_or(28);
            sliding = (0..layers).map(|layer| layer >= first).collect();
        }
        Ok(if !sliding.is_empty() && !sliding.contains(&true) { (None, Vec::new()) } else { (Some(window), sliding) })
    }
}

fn wrong(key: &str, found: &Value, expected: &'static str) -> ArchitectureError {
    ArchitectureError::Value { key: key.to_owned(), found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Value {
        serde_json::json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 30, "hidden_size": 576,
            "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
            "max_position_embeddings": 8192, "tie_word_embeddings": true, "eos_token_id": [2, 5],
        })
    }

    fn with(changes: Value) -> Result<Architecture, ArchitectureError> {
        let mut config = base();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Architecture::from_config(&config.to_string())
    }

    #[test]
    fn smollm2_has_its_published_size() {
        let a = with(serde_json::json!({})).unwrap();
        assert_eq!((a.parameters(), a.head_dim, a.eos), (134_515_008, 64, vec![2, 5]));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let gpt = with(serde_json::json!({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}));
        assert!(gpt.unwrap_err().to_string().contains("gpt2 (GPT2LMHeadModel)` is not supported; supported are: llama"));
        let yarn = with(serde_json::json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}));
        assert!(yarn.unwrap_err().to_string().contains("rope type `yarn`"));
        let gelu = with(serde_json::json!({"hidden_act": "gelu"}));
        assert!(gelu.unwrap_err().to_string().contains("hidden_act"));
    }

    #[test]
    fn qwen_windows_follow_their_switches() {
        let qwen = |changes: Value| {
            let mut all = serde_json::json!({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 64});
            all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            with(all).unwrap()
        };
        assert_eq!(qwen(serde_json::json!({})).window(29), None);
        let on = qwen(serde_json::json!({"use_sliding_window": true, "max_window_layers": 20}));
        assert_eq!((on.window(19), on.window(20)), (None, Some(64)));
        let absent = qwen(serde_json::json!({"use_sliding_window": true, "max_window_layers": 30}));
        assert_eq!(absent.sliding_window, None);
    }

    #[test]
    fn both_rope_styles_read_the_same() {
        let scaling = serde_json::json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64});
        let mut newer = scaling.clone();
        newer["rope_theta"] = 5e5.into();
        let old = with(serde_json::json!({"rope_theta": 5e5, "rope_scaling": scaling})).unwrap();
        assert_eq!(old, with(serde_json::json!({"rope_parameters": newer})).unwrap());
        assert!(matches!(old.rope_scaling, Some(RopeScaling::Llama3 { original_context: 64, .. })));
    }
}
