//! Models as they are before training: weights drawn from a seed, everything else from the files.

use std::ops::ControlFlow;

use limbic_engine::{LoadError, Model, Placement, Request};
use limbic_proto::axis::ReadOut;
use serde_json::json;

use crate::damage::{copy, set_config};
use crate::reference::{FAMILIES, Reference, all_layers, chats, fixture, model, prompts, raw, run};

fn random(name: &str, seed: u64) -> Model {
    Model::random(&fixture(name), seed, &Placement::cpu()).unwrap()
}

fn states(model: &Model, meta: &crate::reference::Meta) -> Vec<f32> {
    let prompts = prompts(model, &raw(), &meta.texts);
    let request = Request::new(all_layers(meta.layers), vec![ReadOut::LAST]);
    run(model, &prompts, &request).states.into_iter().flat_map(|s| s.values).collect()
}

#[test]
fn a_seed_makes_a_model_and_another_one_another() {
    for name in FAMILIES {
        let meta = Reference::read(name).meta;
        let first = states(&random(name, 1), &meta);
        assert!(first.iter().all(|x| x.is_finite()) && first.iter().any(|x| *x != 0.0));
        assert_eq!(first, states(&random(name, 1), &meta), "{name}");
        assert_ne!(first, states(&random(name, 2), &meta), "{name}");
        assert_ne!(first, states(&model(name), &meta), "{name}");
    }
}

#[test]
fn words_and_chats_are_the_trained_models_and_weight_files_are_not_needed() {
    let (folder, meta) = (copy("qwen2-qkv-bias"), Reference::read("qwen2-qkv-bias").meta);
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(matches!(Model::load(folder.path(), &Placement::cpu()), Err(LoadError::FileMissing { .. })));
    let model = Model::random(folder.path(), 1, &Placement::cpu()).unwrap();
    for (prompt, ids) in chats(&model, &meta.texts).iter().zip(&meta.chat_ids) {
        assert_eq!(prompt.ids, *ids);
    }
    assert_eq!(states(&model, &meta), states(&random("qwen2-qkv-bias", 1), &meta));
}

#[test]
fn embeddings_have_the_spread_of_the_config() {
    let spread = |folder: &std::path::Path| {
        let model = Model::random(folder, 1, &Placement::cpu()).unwrap();
        let meta = Reference::read("llama-plain").meta;
        let request = Request::new(vec![limbic_proto::axis::Layer::Block(0)], vec![ReadOut::LAST]);
        let found = run(&model, &prompts(&model, &raw(), &meta.texts), &request);
        let numbers = &found.states[0].values;
        (numbers.iter().map(|x| x * x).sum::<f32>() / numbers.len() as f32).sqrt()
    };
    let folder = copy("llama-plain");
    for (given, expected) in [(json!(null), 0.02), (json!(0.02), 0.02), (json!(0.1), 0.1), (json!(1), 1.0)] {
        set_config(folder.path(), json!({"initializer_range": given}));
        let found = spread(folder.path());
        assert!((found / expected - 1.0).abs() < 0.1, "{given}: {found}");
    }
    for given in [json!(-0.1), json!("wide"), json!(0)] {
        set_config(folder.path(), json!({"initializer_range": given}));
        let error = Model::random(folder.path(), 1, &Placement::cpu()).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("`initializer_range` = "), "{error}");
        assert!(Model::load(folder.path(), &Placement::cpu()).is_ok(), "a trained model doesn't need it");
    }
}

#[test]
fn a_gguf_file_gives_the_weights_of_the_folder() {
    for name in FAMILIES {
        let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
        crate::gguf::write(name, file.path());
        let meta = Reference::read(name).meta;
        let folder = copy(name);
        set_config(folder.path(), json!({"initializer_range": 0.02}));
        let twin = Model::random(folder.path(), 1, &Placement::cpu()).unwrap();
        let model = Model::random(file.path(), 1, &Placement::cpu()).unwrap();
        let (ours, theirs) = (states(&model, &meta), states(&twin, &meta));
        // RoPE's scaling is stored as rounded factors in GGUF files.
        let off = crate::reference::difference(&ours, &theirs, model.architecture().hidden);
        assert!(off < 1e-4, "{name}: {off}");
    }
}

#[test]
fn loading_is_given_up_when_somebody_says_so() {
    for random in [None, Some(3)] {
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            if asked > 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let given_up = Model::prepare(&fixture("llama-plain"), random, &Placement::cpu(), None, &mut stop);
        assert!(matches!(given_up, Err(LoadError::Cancelled)) && asked == 8, "{asked}");
    }
}
