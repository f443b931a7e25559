//! Writes a model as a Hugging Face folder: bfloat16 safetensors, configuration, tokenizer, chat template.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use half::bf16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::model::{Model, NORM_EPS, ROPE_THETA, Size};
use crate::tokenizer::{SPECIAL, VOCABULARY};

/// Longest context the configuration promises.
const CONTEXT: usize = 512;
/// ChatML: every message between `<|im_start|>role` and `<|im_end|>`.
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Rounds the weights to bfloat16 where they are, so that what is scored next is what is shipped.
pub(crate) fn round(model: &Model) -> Result<()> {
    for var in model.named().values() {
        var.set(&var.to_dtype(DType::BF16)?.to_dtype(DType::F32)?)?;
    }
    Ok(())
}

/// Reads the weights of a folder back into the model.
pub(crate) fn read(model: &Model, folder: &Path) -> Result<()> {
    let path = folder.join("model.safetensors");
    let weights = candle_core::safetensors::load(&path, &Device::Cpu).with_context(|| path.display().to_string())?;
    for (name, var) in model.named() {
        let weight = weights.get(name).with_context(|| format!("{} has no {name}", path.display()))?;
        var.set(&weight.to_dtype(DType::F32)?).with_context(|| name.clone())?;
    }
    Ok(())
}

/// Writes the whole folder; the weights appear under their name only once they are complete.
pub(crate) fn write(model: &Model, size: &Size, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text = |name: &str, value: &Value| -> Result<()> {
        std::fs::write(folder.join(name), serde_json::to_string_pretty(value)? + "\n")
            .with_context(|| folder.join(name).display().to_string())
    };
    text("config.json", &config(size))?;
    text("generation_config.json", &json!({ "do_sample": true, "eos_token_id": [2, 0], "pad_token_id": 0, "temperature": 1.0 }))?;
    text("tokenizer_config.json", &tokenizer_config())?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string(false).map_err(anyhow::Error::from_boxed)? + "\n")?;
    let mut weights = Vec::new();
    for (name, var) in model.named() {
        let values = var.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect();
        weights.push((name.as_str(), var.dims().to_vec(), bytes));
    }
    let views = weights
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::BF16, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    let part = folder.join("model.safetensors.tmp");
    std::fs::write(&part, safetensors::serialize(views, Some(HashMap::from([("format".into(), "pt".into())])))?)?;
    std::fs::rename(&part, folder.join("model.safetensors"))?;
    Ok(())
}

fn config(size: &Size) -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": null,
        "eos_token_id": 2,
        "head_dim": size.head_dim,
        "hidden_act": "silu",
        "hidden_size": size.width,
        "initializer_range": 0.02,
        "intermediate_size": size.inner,
        "max_position_embeddings": CONTEXT,
        "max_window_layers": size.layers,
        "model_type": "qwen3",
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.kv_heads,
        "pad_token_id": 0,
        "rms_norm_eps": NORM_EPS,
        "rope_scaling": null,
        "rope_theta": ROPE_THETA,
        "sliding_window": null,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "use_sliding_window": false,
        "vocab_size": VOCABULARY,
    })
}

fn tokenizer_config() -> Value {
    let added: serde_json::Map<String, Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            let flags =
                json!({ "content": token, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true });
            (id.to_string(), flags)
        })
        .collect();
    json!({
        "add_bos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": added,
        "bos_token": null,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": false,
        "eos_token": "<|im_end|>",
        "model_max_length": CONTEXT,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": null,
    })
}
