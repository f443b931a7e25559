//! From files to a decoder.

use std::path::Path;

use limbic_proto::architecture::{Architecture, ArchitectureError};

use super::decoder::{Block, Decoder};
use super::rope::Rope;
use super::{Model, Placement, chat};
use crate::kernel::heads::HeadWeights;
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weights::folder::Folder;
use crate::weights::gguf::GgufFile;
use crate::weights::layout::{Form, Layout, Source};
use crate::weights::prepared::{Store, share};
use crate::weights::random::Random;
use crate::weights::{LoadError, OnTensor, Rows, SharedFile, Tensors};

const EMBEDDINGS: &str = "model.embed_tokens.weight";

/// The standard deviation of weights before training, where a config doesn't say.
const SPREAD: f64 = 0.02;

/// How a model's weights come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weights {
    /// As they lie in the files.
    Stored,
    /// Drawn from a seed.
    Random(u64),
}

/// Where a model's weights are put.
#[derive(Clone, Copy)]
pub(super) struct Whereto<'a> {
    /// On which device, in which number format.
    pub placement: &'a Placement,
    /// In which file they are shared, if they can be.
    pub shared: Option<&'a SharedFile>,
}

/// Loads a Hugging Face folder. Without stored weights none of its safetensors are read.
pub(super) fn folder(path: &Path, weights: Weights, whereto: Whereto<'_>, on_tensor: OnTensor<'_>) -> Result<Model, LoadError> {
    let (config, words) = (path.join("config.json"), path.join("tokenizer.json"));
    for needed in [&config, &words] {
        if !needed.exists() {
            let why = "a model folder holds config.json, tokenizer.json and safetensors".to_owned();
            return Err(LoadError::FileMissing { path: needed.clone(), why });
        }
    }
    let text = std::fs::read_to_string(&config).map_err(|source| LoadError::Io { path: config.clone(), source })?;
    let refused = |source| LoadError::Architecture { path: config.clone(), source };
    let architecture = with_generation(Architecture::from_config(&text).map_err(refused)?, path);
    let tokenizer = Tokenizer::from_file(&words, architecture.vocab).map_err(|source| LoadError::Tokenizer { path: words, source })?;
    let tokenizer = as_configured(path, tokenizer)?;
    let template = chat::of_folder(path)?;
    let decoder = match weights {
        Weights::Stored => decoder(architecture, &mut Folder::open(path)?, whereto, on_tensor)?,
        Weights::Random(seed) => {
            let spread = spread(&text).map_err(refused)?;
            decoder(architecture, &mut Random { seed, spread, factors: None }, whereto, on_tensor)?
        }
    };
    Ok(Model { decoder, tokenizer, template })
}

/// The standard deviation that a config gives to weights before training.
fn spread(config: &str) -> Result<f64, ArchitectureError> {
    let config: serde_json::Value = serde_json::from_str(config).map_err(ArchitectureError::Json)?;
    match &config["initializer_range"] {
        serde_json::Value::Null => Ok(SPREAD),
        value => value.as_f64().filter(|x| *x > 0.0 && *x < 100.0).ok_or_else(|| ArchitectureError::Value {
            key: "initializer_range".to_owned(),
            found: value.to_string(),
            expected: "a number above 0",
        }),
    }
}

/// Loads a GGUF file. A `tokenizer.json` beside it stands in for a vocabulary that can't be rebuilt.
pub(super) fn gguf(path: &Path, weights: Weights, whereto: Whereto<'_>, on_tensor: OnTensor<'_>) -> Result<Model, LoadError> {
    let (mut file, architecture, header) = GgufFile::open(path)?;
    let template = chat::of_gguf(&header, &file.content);
    let beside = path.with_file_name("tokenizer.json");
    let tokenizer = match header.splitting() {
        Ok(splitting) => Tokenizer::from_gguf(&mut file.content, splitting, architecture.vocab),
        Err(_) if beside.exists() => Tokenizer::from_file(&beside, architecture.vocab),
        Err(unsupported) => Err(TokenizerError::Kind(unsupported)),
    };
    let tokenizer = tokenizer.map_err(|source| LoadError::Tokenizer { path: path.to_owned(), source })?;
    let decoder = match weights {
        Weights::Stored => decoder(architecture, &mut file, whereto, on_tensor)?,
        Weights::Random(seed) => {
            let factors = file.rope_factors()?;
            decoder(architecture, &mut Random { seed, spread: SPREAD, factors }, whereto, on_tensor)?
        }
    };
    Ok(Model { decoder, tokenizer, template })
}

/// Takes the end tokens of `generation_config.json` where it has some. Of what else it asks of generation nothing is done: a reply is the
/// likeliest token each time, or drawn at a temperature.
fn with_generation(mut architecture: Architecture, folder: &Path) -> Architecture {
    let text = std::fs::read_to_string(folder.join("generation_config.json")).unwrap_or_default();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let ends = match &settings["eos_token_id"] {
        serde_json::Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let ends: Vec<u32> = ends.iter().filter_map(serde_json::Value::as_u64).filter_map(|id| u32::try_from(id).ok()).collect();
    if !ends.is_empty() {
        architecture.eos = ends;
    }
    let asked: Vec<&str> = PROCESSORS.into_iter().filter(|(key, idle)| heeded(&settings[key], *idle)).map(|(key, _)| key).collect();
    if !asked.is_empty() {
        let file = folder.join("generation_config.json");
        tracing::warn!(file = %file.display(), "replies don't heed {}: they are the likeliest tokens, or drawn at a temperature", asked.join(", "));
    }
    architecture
}

/// What `generate` of transformers does to scores by a `generation_config.json` even where it takes the likeliest token, and the number by
/// which it doesn't.
const PROCESSORS: [(&str, f64); 13] = [
    ("repetition_penalty", 1.0),
    ("encoder_repetition_penalty", 1.0),
    ("num_beams", 1.0),
    ("no_repeat_ngram_size", 0.0),
    ("min_new_tokens", 0.0),
    ("min_length", 0.0),
    ("bad_words_ids", 0.0),
    ("suppress_tokens", 0.0),
    ("begin_suppress_tokens", 0.0),
    ("sequence_bias", 0.0),
    ("exponential_decay_length_penalty", 0.0),
    ("forced_bos_token_id", -1.0),
    ("forced_eos_token_id", -1.0),
];

/// Whether such a setting does anything.
fn heeded(setting: &serde_json::Value, idle: f64) -> bool {
    match setting {
        serde_json::Value::Number(number) => number.as_f64() != Some(idle),
        serde_json::Value::Array(list) => !list.is_empty(),
        serde_json::Value::Object(map) => !map.is_empty(),
        _ => false,
    }
}

/// The tokenizer as `tokenizer_config.json` has it. The classes of LLaMA put its first and last token around a text by two settings of
/// that file, whatever `tokenizer.json` does, in transformers 4.
///
/// # Errors
/// The file can't be read, or asks for what is not done here.
fn as_configured(folder: &Path, tokenizer: Tokenizer) -> Result<Tokenizer, LoadError> {
    let path = folder.join("tokenizer_config.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(tokenizer) };
    let settings: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| LoadError::Damaged { path: path.clone(), what: e.to_string() })?;
    let refused = |source| LoadError::Tokenizer { path: path.clone(), source };
    let refuse = |what: String| Err(refused(TokenizerError::Contradicted { what }));
    if settings["split_special_tokens"].as_bool() == Some(true) {
        return refuse("`split_special_tokens: true` is not supported".to_owned());
    }
    let added = settings["added_tokens_decoder"].as_object().into_iter().flatten();
    if let Some(token) = added.filter_map(|(_, token)| token["content"].as_str()).find(|token| tokenizer.id(token).is_none()) {
        return refuse(format!(
            "`added_tokens_decoder` has the token `{token}`, which tokenizer.json hasn't: save the tokenizer anew with transformers"
        ));
    }
    let class = settings["tokenizer_class"].as_str().unwrap_or_default();
    if !["LlamaTokenizer", "CodeLlamaTokenizer"].contains(&class.trim_end_matches("Fast")) {
        return Ok(tokenizer);
    }
    let map = std::fs::read_to_string(folder.join("special_tokens_map.json")).unwrap_or_default();
    let special = chat::special(&settings, &serde_json::from_str(&map).unwrap_or_default());
    let asked = |key: &str, absent: bool| settings[key].as_bool().unwrap_or(absent);
    let named = |name: &str, absent: &'static str| special.get(name).map_or(absent, String::as_str);
    let first = asked("add_bos_token", true).then(|| named("bos_token", "<s>"));
    let last = asked("add_eos_token", false).then(|| named("eos_token", "</s>"));
    tokenizer.framed(first, last).map_err(refused)
}

fn decoder(
    architecture: Architecture,
    tensors: &mut dyn Tensors,
    Whereto { placement, shared }: Whereto<'_>,
    on_tensor: OnTensor<'_>,
) -> Result<Decoder, LoadError> {
    let mut lay_out = |store: &mut Store, on_tensor: OnTensor<'_>| lay_out(&architecture, tensors, placement, store, on_tensor);
    // What goes to a GPU need not be in a process's memory, and what is composed of tensor operations can't be mapped.
    match shared.filter(|_| placement.form() != Form::Plain) {
        Some(shared) => share(shared, on_tensor, lay_out),
        None => lay_out(&mut Store::Private, on_tensor),
    }
}

fn lay_out(
    a: &Architecture,
    tensors: &mut dyn Tensors,
    placement: &Placement,
    store: &mut Store,
    on_tensor: OnTensor<'_>,
) -> Result<Decoder, LoadError> {
    let (device, dtype, steps) = (placement.device.clone(), placement.dtype, placement.steps);
    let factors = tensors.rope_factors()?;
    let mut layout = Layout { source: Source { tensors, on_tensor }, store, form: placement.form(), device: &device, dtype };
    let embeddings = layout.table(EMBEDDINGS, &[a.vocab, a.hidden])?;
    let head = if a.tie_embeddings { embeddings.clone() } else { layout.table("lm_head.weight", &[a.vocab, a.hidden])? };
    let norm = layout.plain("model.norm.weight", a.hidden)?;
    let blocks = (0..a.layers).map(|i| block(a, i, &mut layout)).collect::<Result<_, _>>()?;
    let rope = Rope::new(a, factors.as_deref(), &device);
    let room = placement.room;
    Ok(Decoder { embeddings, blocks, norm, head, rope, device, dtype, steps, room, architecture: a.clone() })
}

fn block(a: &Architecture, index: usize, layout: &mut Layout<'_>) -> Result<Block, LoadError> {
    let name = |part: &str| format!("model.layers.{index}.{part}");
    let rotated = |heads| Rows::Rotated { heads };
    let parts = [
        ("q_proj", a.query_width(), rotated(a.heads)),
        ("k_proj", a.kv_width(), rotated(a.kv_heads)),
        ("v_proj", a.kv_width(), Rows::Plain),
    ];
    let named = |kind: &str| parts.map(|(part, width, rows)| (name(&format!("self_attn.{part}.{kind}")), width, rows));
    let weights = named("weight");
    let weights: Vec<_> = weights.iter().map(|(n, w, r)| (n.as_str(), *w, *r)).collect();
    let qkv = layout.projections(a.hidden, &weights)?;
    let bias = match a.qkv_bias {
        true => {
            let biases = named("bias");
            let biases: Vec<_> = biases.iter().map(|(n, w, r)| (n.as_str(), *w, *r)).collect();
            Some(layout.joined(&biases)?)
        }
        false => None,
    };
    let norms = match a.qk_norm {
        true => {
            let mut norm = |part: &str| layout.plain(&name(part), a.head_dim);
            Some((norm("self_attn.q_norm.weight")?, norm("self_attn.k_norm.weight")?))
        }
        false => None,
    };
    let (gate, up) = (name("mlp.gate_proj.weight"), name("mlp.up_proj.weight"));
    Ok(Block {
        attention_norm: layout.plain(&name("input_layernorm.weight"), a.hidden)?,
        qkv,
        heads: HeadWeights { bias, norms, eps: a.rms_eps as f32 },
        output: layout.projections(a.query_width(), &[(&name("self_attn.o_proj.weight"), a.hidden, Rows::Plain)])?,
        output_bias: match a.output_bias {
            true => Some(layout.plain(&name("self_attn.o_proj.bias"), a.hidden)?),
            false => None,
        },
        feed_norm: layout.plain(&name("post_attention_layernorm.weight"), a.hidden)?,
        gate_up: layout.gated(a.hidden, a.intermediate, &gate, &up)?,
        down: layout.projections(a.intermediate, &[(&name("mlp.down_proj.weight"), a.hidden, Rows::Plain)])?,
        window: a.window(index),
    })
}
