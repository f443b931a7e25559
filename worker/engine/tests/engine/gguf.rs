//! The small models again, written as GGUF files in the layout of llama.cpp's converter.

use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use limbic_engine::{Model, Placement};
use limbic_proto::architecture::{Architecture, Family, RopeScaling};
use safetensors::SafeTensors;

use crate::parity::agree;
use crate::reference::{FAMILIES, Reference, fixture};

/// llama.cpp's name of a tensor.
fn renamed(name: &str) -> String {
    let parts = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    parts.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The converter's `permute`: reshape (heads, 2, w / 2, columns), swap the middle two.
fn interleaved(x: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = x.dims2().unwrap();
    let x = x.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    x.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

fn tensors(name: &str, a: &Architecture) -> Vec<(String, QTensor)> {
    let bytes = std::fs::read(fixture(name).join("model.safetensors")).unwrap();
    let rotated = matches!(a.family, Family::Llama | Family::Mistral);
    let mut all = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let numbers: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut x = Tensor::from_vec(numbers, view.shape(), &Device::Cpu).unwrap();
        if rotated && name.contains("q_proj.weight") {
            x = interleaved(&x, a.heads);
        } else if rotated && name.contains("k_proj.weight") {
            x = interleaved(&x, a.kv_heads);
        }
        all.push((renamed(&name), QTensor::quantize(&x, GgmlDType::F32).unwrap()));
    }
    if let Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context }) = a.rope_scaling {
        let divisor = |i: usize| {
            let wavelength = std::f64::consts::TAU * a.rope_theta.powf(2.0 * i as f64 / a.head_dim as f64);
            let turns = original_context as f64 / wavelength;
            let smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        };
        let divisors: Vec<f32> = (0..a.head_dim / 2).map(divisor).collect();
        let x = Tensor::new(divisors, &Device::Cpu).unwrap();
        all.push(("rope_freqs.weight".to_owned(), QTensor::quantize(&x, GgmlDType::F32).unwrap()));
    }
    all
}

fn metadata(name: &str, a: &Architecture) -> Vec<(String, Value)> {
    let tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture(name).join("tokenizer.json")).unwrap()).unwrap();
    let mut tokens = vec![String::new(); a.vocab];
    for (token, id) in tokenizer["model"]["vocab"].as_object().unwrap() {
        tokens[id.as_u64().unwrap() as usize] = token.clone();
    }
    let used = tokens.iter().filter(|t| !t.is_empty()).count();
    tokens.truncate(used);
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|m| Value::String(format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap()))).collect();
    let kinds = (0..used).map(|i| Value::I32(if i < 3 { 3 } else { 1 })).collect();
    let arch = if a.family == Family::Mistral { "llama" } else { a.family.as_str() };
    let size = |n: usize| Value::U32(n as u32);
    let mut all = vec![
        ("general.architecture".to_owned(), Value::String(arch.to_owned())),
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre".to_owned(), Value::String("gpt-2".to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(tokens.into_iter().map(Value::String).collect())),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(kinds)),
        ("tokenizer.ggml.merges".to_owned(), Value::Array(merges)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(2)),
        ("tokenizer.chat_template".to_owned(), Value::String(std::fs::read_to_string(fixture(name).join("chat_template.jinja")).unwrap())),
    ];
    let mut add = |key: &str, value: Value| all.push((format!("{arch}.{key}"), value));
    add("block_count", size(a.layers));
    add("context_length", size(a.context));
    add("embedding_length", size(a.hidden));
    add("feed_forward_length", size(a.intermediate));
    add("attention.head_count", size(a.heads));
    add("attention.head_count_kv", size(a.kv_heads));
    add("attention.key_length", size(a.head_dim));
    add("attention.layer_norm_rms_epsilon", Value::F32(a.rms_eps as f32));
    add("rope.freq_base", Value::F32(a.rope_theta as f32));
    if let Some(window) = a.sliding_window {
        add("attention.sliding_window", size(window));
    }
    all
}

pub fn write(name: &str, path: &Path) -> Architecture {
    let config = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let (metadata, tensors) = (metadata(name, &architecture), tensors(name, &architecture));
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
    architecture
}

#[test]
fn five_families_agree_from_gguf_too() {
    for name in FAMILIES {
        let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
        let config = write(name, file.path());
        let model = Model::load(file.path(), &Placement::cpu()).unwrap();
        let a = model.architecture();
        assert_eq!((a.parameters(), a.sliding_window, a.rms_eps), (config.parameters(), config.sliding_window, 1e-6));
        let worst = agree(&model, &Reference::read(name), 24);
        println!("{name} from GGUF: largest difference {worst:.2e}");
        assert!(worst <= 1e-4, "{name}: {worst:.2e}");
    }
}

#[test]
fn an_alignment_of_nothing_is_damage() {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    let alignment = Value::U32(0);
    gguf_file::write(&mut std::fs::File::create(file.path()).unwrap(), &[("general.alignment", &alignment)], &[]).unwrap();
    let error = Model::load(file.path(), &Placement::cpu()).unwrap_err().to_string();
    assert!(error.contains("general.alignment is 0, and must be a power of two"), "{error}");
}

#[test]
fn divisors_of_rotary_frequencies_that_are_too_few_are_damage() {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    let architecture = write("llama3-rope-scaled", file.path());
    let pairs = architecture.head_dim / 2;
    let (metadata, mut tensors) = (metadata("llama3-rope-scaled", &architecture), tensors("llama3-rope-scaled", &architecture));
    let divisors = tensors.iter_mut().find(|(name, _)| name == "rope_freqs.weight").expect("its frequencies are scaled");
    let few = Tensor::new(vec![2.0f32; pairs - 1], &Device::Cpu).unwrap();
    divisors.1 = QTensor::quantize(&few, GgmlDType::F32).unwrap();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    gguf_file::write(&mut std::fs::File::create(file.path()).unwrap(), &metadata, &tensors).unwrap();
    let error = Model::load(file.path(), &Placement::cpu()).unwrap_err().to_string();
    assert!(error.contains(&format!("rope_freqs.weight has the shape [{}], expected [{pairs}]", pairs - 1)), "{error}");
}

#[test]
fn user_defined_tokens_are_text_and_special_ones_are_not() {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    let config = std::fs::read_to_string(fixture("llama-plain").join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let (mut metadata, tensors) = (metadata("llama-plain", &architecture), tensors("llama-plain", &architecture));
    let (_, kinds) = metadata.iter_mut().find(|(key, _)| key == "tokenizer.ggml.token_type").unwrap();
    let Value::Array(kinds) = kinds else { panic!("the kinds are a list") };
    (kinds[20], kinds[21]) = (Value::I32(4), Value::I32(5));
    metadata.push(("tokenizer.ggml.add_eos_token".to_owned(), Value::Bool(true)));
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    gguf_file::write(&mut std::fs::File::create(file.path()).unwrap(), &metadata, &tensors).unwrap();
    let model = Model::load(file.path(), &Placement::cpu()).unwrap();
    let tokenizer = model.tokenizer();
    for id in [20, 21] {
        assert_eq!(tokenizer.decode(&[id]).unwrap(), tokenizer.shown(id).unwrap());
        assert!(!tokenizer.shown(id).unwrap().is_empty());
    }
    assert_eq!(tokenizer.decode(&[2]).unwrap(), "");
    assert_eq!(tokenizer.ids("a", true).unwrap().last(), Some(&2), "the file asks for an end token");
}

#[test]
fn a_truncated_gguf_file_is_refused_wherever_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write("llama-plain", &path);
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 3, 20, 1000, 60_000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let error = Model::load(&path, &Placement::cpu()).unwrap_err().to_string();
        assert!(error.contains("model.gguf is damaged or truncated"), "{keep}: {error}");
    }
}
