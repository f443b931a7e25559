//! Models under `fixtures/` and the values transformers computed with them (`make_reference.py` names the tensors).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use limbic_engine::{Continuation, Extraction, Model, Placement, Prompt, Prompts, Request, extract};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::{self, Chat, TooLong};
use serde::Deserialize;

pub const FAMILIES: [&str; 5] = ["llama-plain", "llama3-rope-scaled", "qwen2-qkv-bias", "qwen3-qk-norm", "mistral-window"];

#[derive(Deserialize)]
pub struct Meta {
    pub texts: Vec<String>,
    pub raw_ids: Vec<Vec<u32>>,
    pub chat_prompts: Vec<String>,
    pub chat_ids: Vec<Vec<u32>>,
    pub reply_ids: Vec<Vec<u32>>,
    pub layers: usize,
}

pub struct Reference {
    pub meta: Meta,
    pub tensors: BTreeMap<String, Vec<f32>>,
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn model(name: &str) -> Model {
    Model::load(&fixture(name), &Placement::cpu()).unwrap()
}

/// Every family in every number format that CPUs compute in.
pub fn in_all_formats() -> impl Iterator<Item = (&'static str, Placement)> {
    FAMILIES.into_iter().flat_map(|name| [(name, Placement::cpu()), (name, Placement::cpu_bf16())])
}

impl Reference {
    pub fn read(name: &str) -> Reference {
        let meta = serde_json::from_str(&std::fs::read_to_string(fixture(name).join("reference.json")).unwrap()).unwrap();
        let bytes = std::fs::read(fixture(name).join("reference.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats = |b: &[u8]| b.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let tensors = tensors.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect();
        Reference { meta, tensors }
    }
}

pub fn raw() -> spec::Prompt {
    spec::Prompt::Template("{text}".to_owned())
}

/// The chat condition of text `i` in `make_reference.py`.
pub fn chat(i: usize) -> spec::Prompt {
    let system = (i % 2 == 1).then(|| "You are very emotional.".to_owned());
    spec::Prompt::Chat(Chat { system, ..Chat::default() })
}

pub fn prompts(model: &Model, condition: &spec::Prompt, texts: &[String]) -> Vec<Prompt> {
    Prompts::new(model, condition, texts, 0, TooLong::Error).unwrap().prompts
}

pub fn chats(model: &Model, texts: &[String]) -> Vec<Prompt> {
    texts.iter().enumerate().map(|(i, text)| Prompt::new(model, &chat(i), text).unwrap()).collect()
}

/// All layers: Hugging Face's order, then the residual stream after the last block.
pub fn all_layers(layers: usize) -> Vec<Layer> {
    (0..layers as u32).map(Layer::Block).chain([Layer::Final, Layer::Block(layers as u32)]).collect()
}

pub fn greedy(tokens: usize) -> Continuation {
    Continuation::Generated { tokens, temperature: 0.0, seeds: vec![], stop_at_eos: false }
}

pub fn run(model: &Model, prompts: &[Prompt], request: &Request) -> Extraction {
    extract(model, prompts, request, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// One row's states over Hugging Face's layers, `[L + 1, d]`.
pub fn hub_states(found: &Extraction, layers: usize, row: usize, read_out: ReadOut) -> Vec<f32> {
    let hub = &all_layers(layers)[..=layers];
    hub.iter().flat_map(|&l| found.get(l, read_out).unwrap().values[row * found.width..][..found.width].to_vec()).collect()
}

/// The largest relative difference over the layers of two `[L + 1, d]` blocks: max |a - b| / max |b|, layer by layer.
pub fn difference(ours: &[f32], reference: &[f32], width: usize) -> f32 {
    assert_eq!(ours.len(), reference.len());
    let layer = |(a, b): (&[f32], &[f32])| {
        let largest = |it: &mut dyn Iterator<Item = f32>| it.fold(0f32, |m, x| if x.is_nan() { f32::NAN } else { m.max(x) });
        largest(&mut a.iter().zip(b).map(|(a, b)| (a - b).abs())) / largest(&mut b.iter().map(|b| b.abs()))
    };
    ours.chunks(width).zip(reference.chunks(width)).map(layer).fold(0.0, f32::max)
}
