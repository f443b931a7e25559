//! Damaged and unsupported models are refused with errors that say what is wrong where.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use limbic_engine::{ExtractError, Model, Placement, Request, extract};
use limbic_proto::axis::{Layer, ReadOut};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::reference::{Reference, all_layers, fixture, model, prompts, raw, run};

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"] {
        std::fs::write(folder.path().join(file), std::fs::read(fixture(name).join(file)).unwrap()).unwrap();
    }
    folder
}

fn tensors(folder: &Path) -> Tensors {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    all.tensors().into_iter().map(|(n, v)| (n, (v.dtype(), v.shape().to_vec(), v.data().to_vec()))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub fn set_config(folder: &Path, changes: Value) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    std::fs::write(path, config.to_string()).unwrap();
}

/// Gives a copied model such end tokens, as transformers has them: a generation config's, where there is one, are all that count.
pub fn set_ends(folder: &Path, ends: Value) {
    std::fs::write(folder.join("generation_config.json"), serde_json::json!({"eos_token_id": ends}).to_string()).unwrap();
}

fn refusal(folder: &Path) -> String {
    Model::load(folder, &Placement::cpu()).unwrap_err().to_string()
}

#[test]
fn shards_load_like_one_file_and_absent_ones_are_named() {
    let folder = copy("qwen2-qkv-bias");
    let mut first = tensors(folder.path());
    let second = first.split_off("model.layers.2");
    let mut map = BTreeMap::new();
    for (file, part) in [("model-00001-of-00002.safetensors", &first), ("model-00002-of-00002.safetensors", &second)] {
        write(&folder.path().join(file), part);
        map.extend(part.keys().map(|name| (name.clone(), file)));
    }
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let sharded = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let (whole, meta) = (model("qwen2-qkv-bias"), Reference::read("qwen2-qkv-bias").meta);
    let prompts = prompts(&whole, &raw(), &meta.texts);
    let request = Request::new(all_layers(meta.layers), vec![ReadOut::LAST]);
    assert_eq!(run(&sharded, &prompts, &request), run(&whole, &prompts, &request));
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refusal(folder.path()).contains("model-00002-of-00002.safetensors is missing"));
}

#[test]
fn half_precision_weights_load() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let folder = copy("llama-plain");
        let mut all = tensors(folder.path());
        for (kind, _, bytes) in all.values_mut() {
            let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            *bytes = match dtype {
                Dtype::F16 => floats.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
                _ => floats.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            };
            *kind = dtype;
        }
        write(&folder.path().join("model.safetensors"), &all);
        let rounded = Model::load(folder.path(), &Placement::cpu()).unwrap();
        let (exact, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
        let prompts = prompts(&exact, &raw(), &meta.texts);
        let request = Request::new(vec![Layer::Block(1)], vec![ReadOut::LAST]);
        let (a, b) = (run(&rounded, &prompts, &request), run(&exact, &prompts, &request));
        let difference = crate::reference::difference(&a.states[0].values, &b.states[0].values, a.width);
        assert!(difference > 0.0 && difference < 0.03, "{dtype:?}: {difference}");
    }
}

#[test]
fn truncated_weights_are_damaged() {
    let folder = copy("llama-plain");
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let error = refusal(folder.path());
        assert!(error.contains("model.safetensors"), "{keep}: {error}");
        assert!(error.contains("truncated") || error.contains("reading"), "{keep}: {error}");
    }
}

#[test]
fn a_wrong_shape_and_an_absent_tensor_are_named() {
    let folder = copy("llama-plain");
    set_config(folder.path(), json!({"intermediate_size": 256}));
    let error = refusal(folder.path());
    assert!(error.contains("model.layers.0.mlp.gate_proj.weight` has shape [224, 96], expected [256, 96]"), "{error}");
    set_config(folder.path(), json!({"intermediate_size": 224, "num_hidden_layers": 6}));
    assert!(refusal(folder.path()).contains("tensor `model.layers.5."));
}

#[test]
fn unsupported_models_are_named_with_what_is_supported() {
    let folder = copy("llama-plain");
    set_config(folder.path(), json!({"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}));
    let error = refusal(folder.path());
    assert!(error.contains("`gemma2 (Gemma2ForCausalLM)` is not supported; supported are: llama, qwen2, qwen3, mistral"), "{error}");
    let folder = copy("llama-plain");
    set_config(folder.path(), json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}));
    assert!(refusal(folder.path()).contains("rope type `yarn` is not supported"));
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(refusal(folder.path()).contains("config.json is missing"));
    let pickle = tempfile::tempdir().unwrap();
    std::fs::write(pickle.path().join("model.gguf"), b"\x80\x02pickle").unwrap();
    assert!(refusal(&pickle.path().join("model.gguf")).contains("not a GGUF file"));
    assert!(refusal(&pickle.path().join("absent.gguf")).contains("absent.gguf"));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let folder = copy("llama-plain");
    let mut all = tensors(folder.path());
    let (_, shape, bytes) = all.get_mut("model.embed_tokens.weight").unwrap();
    shape[0] = 100;
    bytes.truncate(100 * shape[1] * 4);
    write(&folder.path().join("model.safetensors"), &all);
    set_config(folder.path(), json!({"vocab_size": 100}));
    let error = refusal(folder.path());
    assert!(error.contains("the tokenizer has token id") && error.contains("embeds only 100 tokens"), "{error}");
}

#[test]
fn weights_and_states_that_are_not_finite_are_named() {
    let folder = copy("llama-plain");
    let path = folder.path().join("model.safetensors");
    let mut all = tensors(folder.path());
    let name = "model.layers.3.mlp.down_proj.weight";
    let clean = all[name].2.clone();
    all.get_mut(name).unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    write(&path, &all);
    assert!(refusal(folder.path()).contains("`model.layers.3.mlp.down_proj.weight` holds a NaN"));
    // Finite weights that overflow: the layer and the row are named.
    let huge: Vec<u8> = clean.chunks_exact(4).flat_map(|_| 3e38f32.to_le_bytes()).collect();
    all.get_mut(name).unwrap().2 = huge;
    write(&path, &all);
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let prompts = prompts(&model, &raw(), &["Oh!".to_owned()]);
    let request = Request::new(all_layers(5), vec![ReadOut::LAST]);
    let error = extract(&model, &prompts, &request, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ExtractError::NotFinite { row: 0, layer: Layer::Block(4), .. }), "{error}");
}

#[test]
fn a_tokenizer_config_that_says_otherwise_is_refused() {
    let folder = copy("llama-plain");
    let path = folder.path().join("tokenizer_config.json");
    let settings: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let with = |changes: Value| {
        let mut settings = settings.clone();
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        std::fs::write(&path, settings.to_string()).unwrap();
        Model::load(folder.path(), &Placement::cpu()).map(|_| ()).map_err(|e| e.to_string())
    };
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let known = model.tokenizer().shown(2).unwrap();
    assert_eq!(with(json!({"added_tokens_decoder": {"2": {"content": known}, "7": {"content": known}}})), Ok(()));
    let error = with(json!({"added_tokens_decoder": {"299": {"content": "[PAD]"}}})).unwrap_err();
    assert!(error.contains("tokenizer_config.json") && error.contains("`[PAD]`, which tokenizer.json hasn't"), "{error}");
    assert!(with(json!({"split_special_tokens": true})).unwrap_err().contains("`split_special_tokens: true` is not supported"));
}

#[test]
fn a_tokenizer_whose_tokens_are_drawn_is_refused() {
    let folder = copy("llama-plain");
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (dropout, fine) in [(0.0, true), (0.5, false)] {
        tokenizer["model"]["dropout"] = json!(dropout);
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let loaded = Model::load(folder.path(), &Placement::cpu()).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(loaded.is_ok(), fine, "{loaded:?}");
        assert!(fine || loaded.unwrap_err().contains("its `model.dropout` is 0.5, so that a text has other tokens each time"));
    }
}

#[test]
fn of_several_chat_templates_the_default_is_taken() {
    let folder = copy("llama-plain");
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    let with = |templates: Value| {
        let settings = json!({"chat_template": templates});
        std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
        let message = limbic_engine::Message { role: "user", content: "hi".to_owned() };
        let rendered = model.template().map(|template| template.render(&[message], &std::collections::BTreeMap::new()).unwrap());
        rendered.map_err(|e| e.to_string())
    };
    let (plain, rag) = ("[{{ messages[0].content }}]", "rag");
    assert_eq!(with(json!(plain)).unwrap(), "[hi]");
    assert_eq!(with(json!([{"name": "rag", "template": rag}, {"name": "default", "template": plain}])).unwrap(), "[hi]");
    assert_eq!(with(json!({"rag": rag, "default": plain})).unwrap(), "[hi]");
    let undecided = with(json!([{"name": "rag", "template": rag}])).unwrap_err();
    assert_eq!(undecided, "the model has chat templates (rag), but none called `default`");
    assert!(with(json!(null)).unwrap_err().contains("no chat template"));
}

#[test]
fn the_classes_of_llama_frame_texts_by_their_settings() {
    let folder = copy("llama-plain");
    let plain = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let (shown, ids) = (|id| plain.tokenizer().shown(id).unwrap(), plain.tokenizer().ids("Oh!", false).unwrap());
    let with = |changes: Value| {
        let mut settings = json!({"tokenizer_class": "LlamaTokenizerFast", "bos_token": shown(1), "eos_token": {"content": shown(2)}});
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        let model = Model::load(folder.path(), &Placement::cpu()).map_err(|e| e.to_string())?;
        assert_eq!(model.tokenizer().ids("Oh!", false).unwrap(), ids, "chats are rendered without");
        Ok::<_, String>(model.tokenizer().ids("Oh!", true).unwrap())
    };
    assert_eq!(with(json!({})).unwrap(), [&[1], ids.as_slice()].concat(), "the first token is the default");
    assert_eq!(with(json!({"add_bos_token": false})).unwrap(), ids);
    assert_eq!(with(json!({"add_eos_token": true})).unwrap(), [&[1], ids.as_slice(), &[2]].concat());
    assert!(with(json!({"bos_token": "[BOS]"})).unwrap_err().contains("`[BOS]` goes with every text"));
    assert_eq!(
        with(json!({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "[BOS]"})).unwrap(),
        plain.tokenizer().ids("Oh!", true).unwrap()
    );
}
