//! A row's numbers depend on the row alone: not on its batch, the budget, or which layers are asked.

use limbic_engine::{Continuation, Extraction, Request};
use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::spec;

use crate::reference::{FAMILIES, Reference, all_layers, chats, greedy, model, prompts, run};

fn bits(found: &Extraction) -> Vec<Vec<u32>> {
    found.states.iter().map(|s| s.values.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn batches_change_no_bit() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let prompts = chats(&model, &meta.texts);
        let pooling = |pooling| ReadOut { pooling, ..ReadOut::LAST };
        let request = Request {
            layers: all_layers(meta.layers),
            read_outs: vec![
                ReadOut::LAST,
                pooling(Pooling::UtteranceMean),
                pooling(Pooling::PromptMean),
                ReadOut::at(1),
                ReadOut::at(9),
                ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(9) },
            ],
            continuation: Some(greedy(9)),
            batch_tokens: Some(100_000),
        };
        let whole = run(&model, &prompts, &request);
        for budget in [1, 100, 333] {
            let split = run(&model, &prompts, &Request { batch_tokens: Some(budget), ..request.clone() });
            assert_eq!(whole.replies, split.replies, "{name}");
            assert_eq!(bits(&whole), bits(&split), "{name} at {budget} tokens");
        }
        let alone = run(&model, &prompts[3..4], &request);
        let width = whole.width;
        for (all, one) in whole.states.iter().zip(&alone.states) {
            assert_eq!(all.values[3 * width..4 * width], one.values, "{name} {:?} {}", all.layer, all.read_out.name());
        }
    }
}

#[test]
fn fewer_layers_give_the_same_states() {
    let (model, meta) = (model("qwen3-qk-norm"), Reference::read("qwen3-qk-norm").meta);
    let prompts = chats(&model, &meta.texts);
    let read_outs = vec![ReadOut::LAST, ReadOut { pooling: Pooling::UtteranceLast, ..ReadOut::LAST }];
    let all = run(&model, &prompts, &Request::new(all_layers(meta.layers), read_outs.clone()));
    for layer in [Layer::Block(0), Layer::Block(2), Layer::Block(5), Layer::Final] {
        let one = run(&model, &prompts, &Request::new(vec![layer], read_outs.clone()));
        for read_out in &read_outs {
            assert_eq!(one.get(layer, *read_out), all.get(layer, *read_out), "{layer}");
        }
    }
}

#[test]
fn a_reply_run_at_once_is_the_reply_decoded() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let prompts = chats(&model, &meta.texts);
        let read_outs = vec![ReadOut::at(1), ReadOut::at(7), ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(7) }];
        let mut request = Request::new(all_layers(meta.layers), read_outs);
        request.continuation = Some(greedy(7));
        let decoded = run(&model, &prompts, &request);
        request.continuation = Some(Continuation::Given(decoded.replies.clone()));
        let given = run(&model, &prompts, &request);
        assert_eq!(bits(&decoded), bits(&given), "{name}");
    }
}

#[test]
fn a_shared_beginning_is_run_once_and_changes_no_bit() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let system = Some("You are very emotional, and you have always been.".to_owned());
        let condition = spec::Prompt::Chat(spec::Chat { system, ..spec::Chat::default() });
        let prompts = prompts(&model, &condition, &meta.texts);
        let read_outs = vec![ReadOut::LAST, ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST }, ReadOut::at(3)];
        let mut request = Request::new(all_layers(meta.layers), read_outs.clone());
        for continuation in [None, Some(greedy(3)), Some(Continuation::Given(vec![vec![5, 6, 7]; 12]))] {
            request.read_outs.truncate(if continuation.is_some() { 3 } else { 2 });
            request.continuation = continuation;
            let together = run(&model, &prompts, &request);
            let all: usize = prompts.iter().map(|p| p.ids.len()).sum();
            assert!((together.tokens as usize) < all, "{name}: {} of {all} tokens were run", together.tokens);
            for row in 0..12 {
                let mut alone = request.clone();
                if let Some(Continuation::Given(replies)) = &mut alone.continuation {
                    replies.truncate(1);
                }
                let alone = run(&model, &prompts[row..=row], &alone);
                assert_eq!(alone.replies[0], together.replies[row]);
                for (one, all) in alone.states.iter().zip(&together.states) {
                    assert_eq!(one.values, all.values[row * alone.width..][..alone.width], "{name} row {row} layer {}", one.layer);
                }
            }
            request.read_outs.clone_from(&read_outs);
        }
    }
}
