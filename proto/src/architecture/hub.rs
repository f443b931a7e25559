//! From a Hugging Face `config.json`, in the older and the newer style of rotary settings.

mod rope;

use serde_json::{Map, Value};

use super::{Architecture, ArchitectureError, Family, MOST_LAYERS};

impl Architecture {
    /// Reads the text of a `config.json`.
    ///
    /// Both `rope_theta` / `rope_scaling` and the newer `rope_parameters` are understood, and `eos_token_id` may be a number, a list or
    /// null. What is absent is what transformers' config of the family has for it, which may differ from what null means there.
    pub fn from_config(json: &str) -> Result<Architecture, ArchitectureError> {
        let config = Config(serde_json::from_str(json).map_err(ArchitectureError::Json)?);
        let family = config.family()?;
        config.refuse_unknown_computations()?;
        let (layers, hidden, heads) = (config.size("num_hidden_layers")?, config.size("hidden_size")?, config.size("num_attention_heads")?);
        if layers > MOST_LAYERS {
            return Err(wrong("num_hidden_layers", &Value::from(layers), "a number of blocks that a model can have"));
        }
        let (rope_theta, rope_scaling) = config.rope()?;
        let (sliding_window, sliding_layers) = config.windows(family, layers)?;
        // Mistral's projections have none, whatever its config says.
        let attention_bias = config.flag("attention_bias", false)? && family != Family::Mistral;
        Architecture {
            family,
            layers,
            hidden,
            heads,
            intermediate: config.size("intermediate_size")?,
            kv_heads: match family {
                Family::Mistral if config.lacks("num_key_value_heads") => 8,
                Family::Qwen2 | Family::Qwen3 if config.lacks("num_key_value_heads") => 32,
                _ => config.optional_size("num_key_value_heads")?.unwrap_or(heads),
            },
            head_dim: match family {
                Family::Qwen3 if config.lacks("head_dim") => 128,
                _ => config.optional_size("head_dim")?.unwrap_or(hidden / heads.max(1)),
            },
            vocab: config.size("vocab_size")?,
            context: config.size("max_position_embeddings")?,
            rms_eps: config.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            sliding_window,
            sliding_layers,
            tie_embeddings: config.flag("tie_word_embeddings", false)?,
            qkv_bias: family == Family::Qwen2 || attention_bias,
            output_bias: attention_bias && family != Family::Qwen2,
            qk_norm: family == Family::Qwen3,
            eos: match family {
                Family::Llama | Family::Mistral if config.lacks("eos_token_id") => vec![2],
                _ => config.tokens("eos_token_id")?,
            },
        }
        .checked()
    }
}

/// The window of families that have one, where a config doesn't name it: transformers' default.
const WINDOW: usize = 4096;

/// The top object of a `config.json`.
struct Config(Map<String, Value>);

impl Config {
    /// The value of a key that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    /// Whether a key isn't there at all.
    fn lacks(&self, key: &str) -> bool {
        !self.0.contains_key(key)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ArchitectureError> {
        self.get(key).map_or(Ok(default), |v| v.as_bool().ok_or_else(|| wrong(key, v, "true or false")))
    }

    /// An object; empty where there is none.
    fn object(&self, key: &str) -> Result<Config, ArchitectureError> {
        let object = self.get(key).map(|v| v.as_object().ok_or_else(|| wrong(key, v, "an object"))).transpose()?;
        Ok(Config(object.cloned().unwrap_or_default()))
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
        match self.get("hidden_act") {
            Some(act) if act != "silu" && act != "swish" => return Err(other("hidden_act", act, "silu")),
            _ => {}
        }
        if self.flag("mlp_bias", false)? {
            return Err(other("mlp_bias", &Value::Bool(true), "false"));
        }
        if let Some(quantisation) = self.get("quantization_config") {
            let method = quantisation.get("quant_method").unwrap_or(quantisation);
            return Err(other("quantization_config", method, "none: give unquantised weights or a GGUF file"));
        }
        match self.get("partial_rotary_factor") {
            Some(factor) if factor.as_f64() != Some(1.0) => Err(other("partial_rotary_factor", factor, "1.0")),
            _ => Ok(()),
        }
    }

    /// The sliding window and the blocks that have it.
    ///
    /// Qwen configs carry a window that counts only with `use_sliding_window`, and then from block
    /// `max_window_layers` on, unless `layer_types` says it block by block.
    fn windows(&self, family: Family, layers: usize) -> Result<(Option<usize>, Vec<bool>), ArchitectureError> {
        let qwen = matches!(family, Family::Qwen2 | Family::Qwen3);
        let used = match family {
            Family::Llama => false,
            Family::Mistral => true,
            Family::Qwen2 | Family::Qwen3 => self.flag("use_sliding_window", false)?,
        };
        if !used {
            return Ok((None, Vec::new()));
        }
        let window = match self.optional_size("sliding_window")? {
            Some(0) => return Err(wrong("sliding_window", &Value::from(0), "a number above 0, or null")),
            None if self.lacks("sliding_window") => WINDOW,
            None => return Ok((None, Vec::new())),
            Some(window) => window,
        };
        let mut sliding = Vec::new();
        if let Some(types) = self.get("layer_types").and_then(Value::as_array) {
            if let Some(other) = types.iter().find(|t| *t != "sliding_attention" && *t != "full_attention") {
                return Err(wrong("layer_types", other, "sliding_attention or full_attention"));
            }
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

/// Refuses a setting under which something else is computed than here.
fn other(key: &str, found: &Value, expected: &'static str) -> ArchitectureError {
    ArchitectureError::Setting { key: key.to_owned(), found: found.to_string(), expected }
}

/// Refuses a value that the key can't have.
fn wrong(key: &str, found: &Value, expected: &'static str) -> ArchitectureError {
    ArchitectureError::Value { key: key.to_owned(), found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::super::RopeScaling;
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
    fn what_is_absent_is_what_transformers_has_for_it() {
        let of = |family: &str, class: &str, lacking: &[&str], changes: Value| {
            let mut config = base();
            let config = config.as_object_mut().unwrap();
            config.extend(serde_json::json!({"model_type": family, "architectures": [class]}).as_object().unwrap().clone());
            lacking.iter().for_each(|key| drop(config.remove(*key)));
            config.extend(changes.as_object().unwrap().clone());
            Architecture::from_config(&serde_json::to_string(&config).unwrap())
        };
        let mistral = |changes| of("mistral", "MistralForCausalLM", &[], changes).unwrap();
        assert_eq!(mistral(serde_json::json!({})).window(3), Some(4096));
        assert_eq!(mistral(serde_json::json!({"sliding_window": null})).window(3), None);
        let biased = mistral(serde_json::json!({"attention_bias": true}));
        assert!(!biased.qkv_bias && !biased.output_bias);
        let switched = serde_json::json!({"use_sliding_window": true, "max_window_layers": 1});
        let qwen = of("qwen2", "Qwen2ForCausalLM", &[], switched).unwrap();
        assert_eq!((qwen.window(0), qwen.window(1)), (None, Some(4096)));
        let heads = |family: &str, class: &str, changes| of(family, class, &["num_key_value_heads"], changes);
        let eight = serde_json::json!({"num_attention_heads": 64, "hidden_size": 1024});
        assert_eq!(heads("mistral", "MistralForCausalLM", eight.clone()).unwrap().kv_heads, 8);
        let qwen = heads("qwen3", "Qwen3ForCausalLM", eight).unwrap();
        assert_eq!((qwen.kv_heads, qwen.head_dim), (32, 128));
        assert_eq!(heads("llama", "LlamaForCausalLM", serde_json::json!({})).unwrap().kv_heads, 9);
    }

    #[test]
    fn contradictions_and_other_types_are_refused_by_name() {
        let said = |changes: Value| with(changes).unwrap_err().to_string();
        let linear = serde_json::json!({"rope_type": "linear", "factor": 4.0});
        let both = serde_json::json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rope_scaling": linear});
        assert!(said(both).contains("rope_scaling"));
        let factors = serde_json::json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0}, "rope_scaling": linear});
        assert!(said(factors).contains("rope_scaling"));
        let alike = serde_json::json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4},
            "rope_scaling": {"type": "linear", "factor": 4}, "rope_theta": 10000});
        assert_eq!(with(alike).unwrap().rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
        let bases = serde_json::json!({"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 1e4});
        assert!(said(bases).contains("rope_theta"));
        let llama3 = serde_json::json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64});
        let twice = serde_json::json!({"rope_scaling": llama3, "original_max_position_embeddings": 256});
        assert!(said(twice).contains("original_max_position_embeddings"));
        for (changes, key) in [
            (serde_json::json!({"rope_scaling": "linear"}), "rope_scaling"),
            (serde_json::json!({"num_hidden_layers": 10_000_000_000_000u64}), "num_hidden_layers"),
            (serde_json::json!({"max_position_embeddings": 1u64 << 40}), "context"),
            (serde_json::json!({"vocab_size": 1u64 << 31}), "vocab"),
            (serde_json::json!({"rope_scaling": {"type": null, "factor": 4.0}}), "rope_type"),
            (serde_json::json!({"rope_scaling": {"type": "linear", "factor": 0.0}}), "factor"),
            (serde_json::json!({"tie_word_embeddings": "true"}), "tie_word_embeddings"),
            (serde_json::json!({"attention_bias": 1}), "attention_bias"),
            (serde_json::json!({"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 0}), "sliding_window"),
            (
                serde_json::json!({"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 8,
                "layer_types": ["linear_attention"]}),
                "layer_types",
            ),
        ] {
            assert!(said(changes).contains(key), "{key}");
        }
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
