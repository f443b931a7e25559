//! `limbic-worker inspect`: what it writes is what transformers computed, by name, token by token.

use std::collections::BTreeMap;
use std::path::Path;

use limbic_tests::Sandbox;
use serde_json::Value;

/// The largest relative difference of a layer's states from the reference that is let pass.
const BOUND: f32 = 1e-4;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

fn tensors(file: &Path) -> Tensors {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), floats(view.data())))).collect()
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The largest difference over the layers of states `[…, width]`, relative to the layer's largest number.
fn difference(ours: &[f32], reference: &[f32], width: usize) -> f32 {
    let largest = |numbers: &mut dyn Iterator<Item = f32>| numbers.fold(0f32, |m, x| if x.is_nan() { f32::NAN } else { m.max(x) });
    let layers = ours.chunks(width).zip(reference.chunks(width));
    largest(&mut layers.map(|(a, b)| largest(&mut a.iter().zip(b).map(|(a, b)| (a - b).abs())) / largest(&mut b.iter().map(|b| b.abs()))))
}

#[test]
fn states_ids_and_replies_are_those_of_transformers() {
    let fixture = Sandbox::repository().join("worker/engine/tests/fixtures/qwen3-qk-norm");
    let (reference, expected) = (json(&fixture.join("reference.json")), tensors(&fixture.join("reference.safetensors")));
    let model = fixture.to_string_lossy().into_owned();
    let width = reference["hidden_size"].as_u64().unwrap() as usize;
    let sandbox = sandbox();
    // The reference has a system message in every other chat.
    let texts = reference["texts"].as_array().unwrap().iter().enumerate().map(|(row, text)| match row % 2 {
        0 => serde_json::json!({"text": text}),
        _ => serde_json::json!({"text": text, "system": "You are very emotional."}),
    });
    sandbox.write("chats.jsonl", &texts.map(|line| format!("{line}\n")).collect::<String>());
    let texts = reference["texts"].as_array().unwrap().iter().map(|text| format!("{}\n", serde_json::json!({"text": text})));
    sandbox.write("texts.jsonl", &texts.collect::<String>());

    let raw = sandbox.worker(&["inspect", &model, "--texts", "texts.jsonl", "--out", "raw.safetensors"]);
    assert!(raw.code == Some(0) && raw.stdout.contains("raw.safetensors"), "{raw:?}");
    let chat = ["inspect", &model, "--texts", "chats.jsonl", "--chat", "--reply", "24", "--out", "chat.safetensors", "--json"];
    let chat = sandbox.worker(&chat);
    assert_eq!(chat.code, Some(0), "{}", chat.stderr);
    let said: Value = serde_json::from_str(&chat.stdout).unwrap();
    assert_eq!((&said["texts"], &said["ids"]), (&reference["texts"].as_array().unwrap().len().into(), &"chat.json".into()));

    for (kind, keys) in [("raw", &["raw_ids"][..]), ("chat", &["chat_ids", "chat_prompts", "reply_ids"])] {
        let written = json(&sandbox.path(&format!("{kind}.json")));
        for key in keys {
            assert_eq!(written[key], reference[key], "{key}");
        }
        let ours = tensors(&sandbox.path(&format!("{kind}.safetensors")));
        // The reference holds replies and last residuals of some texts only.
        let compared: Vec<_> = expected.iter().filter(|(name, _)| name.starts_with(kind)).collect();
        assert!(compared.len() >= reference["texts"].as_array().unwrap().len());
        for (name, (shape, numbers)) in compared {
            assert_eq!(ours[name].0, *shape, "{name}");
            let worst = difference(&ours[name].1, numbers, width);
            assert!(worst <= BOUND, "{name}: {worst:.1e}");
        }
    }
}

#[test]
fn what_cannot_be_inspected_is_named() {
    let sandbox = sandbox();
    let model = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m").to_string_lossy().into_owned();
    sandbox.write("texts.jsonl", "{\"text\": \"Oh!\"}\n{\"txt\": \"Oh!\"}\n");
    let inspect =
        |texts: &str, more: &[&str]| sandbox.worker(&[&["inspect", &model, "--texts", texts, "--out", "out.safetensors"], more].concat());
    let line = inspect("texts.jsonl", &[]);
    assert!(line.code == Some(2) && line.stderr.contains("texts.jsonl, line 2") && line.stderr.contains("`txt`"), "{}", line.stderr);
    let absent = inspect("nowhere.jsonl", &[]);
    assert!(absent.code == Some(2) && absent.stderr.contains("nowhere.jsonl"), "{}", absent.stderr);
    sandbox.write("texts.jsonl", "{\"text\": \"Oh!\"}\n");
    let device = inspect("texts.jsonl", &["--device", "tpu"]);
    assert!(device.code == Some(2) && device.stderr.contains("tpu"), "{}", device.stderr);
    assert!(!sandbox.path("out.safetensors").exists());
}
