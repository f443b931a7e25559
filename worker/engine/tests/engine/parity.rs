//! Token ids, chat prompts, replies and hidden states of five small models agree with transformers.

use limbic_engine::{Inspection, InspectionRequest, Model, Placement, Request, token_states};
use limbic_proto::axis::{Layer, ReadOut};

use crate::reference::{FAMILIES, Reference, all_layers, chats, difference, fixture, greedy, hub_states, model, prompts, raw, run};

/// max |ours - reference| / max |reference| per layer, in f32.
const BOUND: f32 = 1e-4;

/// Compares everything a reference holds and returns the largest difference.
pub fn agree(model: &Model, reference: &Reference, replies: usize) -> f32 {
    let (meta, layers) = (&reference.meta, reference.meta.layers);
    let raw = prompts(model, &raw(), &meta.texts);
    let chats = chats(model, &meta.texts);
    for (i, (raw, chat)) in raw.iter().zip(&chats).enumerate() {
        assert_eq!(raw.ids, meta.raw_ids[i], "ids of text {i}");
        assert_eq!(chat.text, meta.chat_prompts[i], "chat prompt {i}");
        assert_eq!(chat.ids, meta.chat_ids[i], "ids of chat {i}");
    }
    let found = run(model, &raw, &Request::new(all_layers(layers), vec![ReadOut::LAST]));
    let width = found.width;
    let mut worst = 0f32;
    for i in 0..raw.len() {
        if let Some(expected) = reference.tensors.get(&format!("raw.{i}.hidden")) {
            worst = worst.max(difference(&hub_states(&found, layers, i, ReadOut::LAST), expected, width));
            let last = &found.get(Layer::Block(layers as u32), ReadOut::LAST).unwrap().values[i * width..][..width];
            worst = worst.max(difference(last, &reference.tensors[&format!("raw.{i}.resid_L")], width));
        }
    }
    let request = Request {
        layers: all_layers(layers),
        read_outs: (0..=replies as u32).map(ReadOut::at).collect(),
        continuation: Some(greedy(replies)),
        ..Request::new(Vec::new(), Vec::new())
    };
    let found = run(model, &chats, &request);
    for i in 0..chats.len() {
        assert_eq!(found.replies[i], meta.reply_ids[i][..replies], "reply {i}");
        if let Some(expected) = reference.tensors.get(&format!("chat.{i}.hidden")) {
            worst = worst.max(difference(&hub_states(&found, layers, i, ReadOut::LAST), expected, width));
        }
        if let Some(expected) = reference.tensors.get(&format!("chat.{i}.reply")) {
            for (k, expected) in expected.chunks((layers + 1) * width).enumerate() {
                let ours = hub_states(&found, layers, i, ReadOut::at(k as u32 + 1));
                worst = worst.max(difference(&ours, expected, width));
            }
        }
    }
    worst
}

#[test]
fn five_families_agree_with_transformers() {
    for name in FAMILIES {
        let worst = agree(&model(name), &Reference::read(name), 24);
        println!("{name}: largest difference {worst:.2e}");
        assert!(worst <= BOUND, "{name}: {worst:.2e}");
    }
}

#[test]
fn the_operations_that_run_on_gpus_agree_too() {
    for name in FAMILIES {
        let model = Model::load(&fixture(name), &Placement::cpu_composed()).unwrap();
        let worst = agree(&model, &Reference::read(name), 24);
        println!("{name}, composed: largest difference {worst:.2e}");
        assert!(worst <= BOUND, "{name}: {worst:.2e}");
    }
}

#[test]
fn an_inspection_has_the_references_names_and_values() {
    let (model, reference) = (model("llama-plain"), Reference::read("llama-plain"));
    let texts = reference.meta.texts.clone();
    let system = Some("You are very emotional.".to_owned());
    let request = InspectionRequest { texts, chat: true, system, reply_tokens: 24 };
    let inspection = Inspection::new(&model, &request).unwrap();
    let width = model.architecture().hidden;
    for (name, row) in [("chat.1.hidden", 1), ("chat.1.reply", 1)] {
        let (shape, ours) = &inspection.tensors[name];
        assert_eq!(shape.iter().product::<usize>(), ours.len());
        assert!(difference(ours, &reference.tensors[name], width) <= BOUND, "{name} of row {row}");
    }
    assert_eq!(inspection.meta["reply_ids"][1], serde_json::json!(reference.meta.reply_ids[1]));
    assert_eq!(inspection.tensors.len(), 36);
}

#[test]
fn the_states_at_every_token_end_with_those_of_the_last() {
    for name in FAMILIES {
        let model = model(name);
        let reference = Reference::read(name);
        let prompts = prompts(&model, &raw(), &reference.meta.texts[..2]);
        let layers = [Layer::Block(0), Layer::Block(2), Layer::Final];
        let found = run(&model, &prompts, &Request::new(layers.to_vec(), vec![ReadOut::LAST]));
        for layer in layers {
            let expected = &found.get(layer, ReadOut::LAST).unwrap().values;
            for (row, prompt) in prompts.iter().enumerate() {
                let states = token_states(&model, prompt, layer).unwrap();
                assert_eq!(states.len(), prompt.ids.len() * found.width);
                assert_eq!(states[states.len() - found.width..], expected[row * found.width..][..found.width], "{name} {layer}");
            }
        }
        let error = token_states(&model, &prompts[0], Layer::Block(99)).unwrap_err().to_string();
        assert!(error.contains("layer 99 does not exist"), "{error}");
    }
}
