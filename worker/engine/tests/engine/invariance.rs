//! A row's numbers depend on the row alone: not on its batch, the budget, or which layers are asked.

use std::collections::HashSet;
use std::ops::ControlFlow;

use limbic_engine::{
    Continuation, ExtractError, Extraction, Labels, Model, Placement, Prompts, Request, RowPolicy, extract, label_log_likelihoods,
};
use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::spec::{self, BadRows, TooLong};

use crate::reference::{Reference, all_layers, chats, fixture, greedy, in_all_formats, model, prompts, raw, run};

fn bits(found: &Extraction) -> Vec<Vec<u32>> {
    found.states.iter().map(|s| s.values.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn batches_change_no_bit() {
    for (name, placement) in in_all_formats() {
        let (model, meta) = (Model::load(&fixture(name), &placement).unwrap(), Reference::read(name).meta);
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
            ..Request::new(Vec::new(), Vec::new())
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
    for (name, placement) in in_all_formats() {
        let (model, meta) = (Model::load(&fixture(name), &placement).unwrap(), Reference::read(name).meta);
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
    for (name, placement) in in_all_formats() {
        let (model, meta) = (Model::load(&fixture(name), &placement).unwrap(), Reference::read(name).meta);
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

#[test]
fn what_rows_of_a_pass_begin_with_is_run_once_and_changes_no_bit() {
    let texts =
        ["I miss her.", "It rains.", "I miss the sun so much", "I miss her.", "I", "I am glad that it rains.", "It rains again.", "Why?"];
    let texts = texts.map(str::to_owned);
    for (name, placement) in in_all_formats() {
        let model = Model::load(&fixture(name), &placement).unwrap();
        let prompts = prompts(&model, &raw(), &texts);
        let layers = model.architecture().layers;
        let read_outs = vec![ReadOut::LAST, ReadOut { pooling: Pooling::UtteranceLast, ..ReadOut::LAST }];
        let masked = ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(2) };
        for reply in [false, true] {
            let mut request = Request::new(all_layers(layers), read_outs.clone());
            if reply {
                request.read_outs.push(masked);
                request.continuation = Some(Continuation::Given(vec![vec![5, 6]; texts.len()]));
            }
            let together = run(&model, &prompts, &request);
            let beginnings: HashSet<&[u32]> = prompts.iter().flat_map(|p| (1..=p.last()).map(|n| &p.ids[..n])).collect();
            let replies = if reply { 2 * texts.len() } else { 0 };
            assert_eq!(
                together.tokens as usize,
                beginnings.len() + texts.len() + replies,
                "{name}: every beginning once, and every last token"
            );
            for row in 0..texts.len() {
                let mut alone = request.clone();
                if let Some(Continuation::Given(replies)) = &mut alone.continuation {
                    replies.truncate(1);
                }
                let alone = run(&model, &prompts[row..=row], &alone);
                for (one, all) in alone.states.iter().zip(&together.states) {
                    assert_eq!(one.values, all.values[row * alone.width..][..alone.width], "{name} row {row} layer {}", one.layer);
                }
            }
        }
        // A mean is over tokens of the row's own.
        let mean = Request::new(vec![Layer::Final], vec![ReadOut { pooling: Pooling::PromptMean, ..ReadOut::LAST }]);
        assert_eq!(run(&model, &prompts, &mean).tokens as usize, prompts.iter().map(|p| p.ids.len()).sum::<usize>());
    }
}

/// A model of a device that holds passes of so many tokens.
fn cramped(name: &str, placement: &Placement, tokens: usize) -> Model {
    Model::load(&fixture(name), &placement.clone().with_room(tokens)).unwrap()
}

#[test]
fn too_little_memory_halves_the_passes_and_changes_no_bit() {
    for (name, placement) in in_all_formats() {
        let (model, meta) = (Model::load(&fixture(name), &placement).unwrap(), Reference::read(name).meta);
        let prompts = chats(&model, &meta.texts);
        let longest = prompts.iter().map(|p| p.ids.len()).max().unwrap();
        let mut request = Request::new(all_layers(meta.layers), vec![ReadOut::LAST, ReadOut::at(1), ReadOut::at(4)]);
        request.read_outs.push(ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(4) });
        request.continuation = Some(greedy(4));
        let whole = run(&model, &prompts, &request);
        assert_eq!(whole.memory_retries, 0);
        for room in [longest, 2 * longest, 4 * longest] {
            let found = run(&cramped(name, &placement, room), &prompts, &request);
            assert!(found.memory_retries > 0, "{name} with room for {room}");
            assert_eq!((bits(&whole), &whole.replies, whole.tokens), (bits(&found), &found.replies, found.tokens), "{name}, room {room}");
        }
        // A shared beginning survives a batch that failed.
        let system = Some("You are very emotional, and you have always been.".to_owned());
        let shared = self::prompts(&model, &spec::Prompt::Chat(spec::Chat { system, ..spec::Chat::default() }), &meta.texts);
        let request = Request::new(all_layers(meta.layers), vec![ReadOut::LAST]);
        let longest = shared.iter().map(|p| p.ids.len()).max().unwrap();
        let (whole, found) = (run(&model, &shared, &request), run(&cramped(name, &placement, longest), &shared, &request));
        // Rows that are run apart share less of what they begin with, but each has the header in common with all.
        let (all, header) = (shared.iter().map(|p| p.ids.len()).sum::<usize>() as u64, request.shared(&shared) as u64);
        let apart = all - header * (shared.len() as u64 - 1);
        assert!(found.memory_retries > 0 && bits(&whole) == bits(&found), "{name}");
        assert!((whole.tokens..=apart).contains(&found.tokens), "{name}: {} and {} tokens, {apart} apart", whole.tokens, found.tokens);
        let labels = vec![vec![7, 300, 12], vec![5]];
        let score =
            |model: &Model| label_log_likelihoods(model, &prompts, Labels::new(&labels), &mut |_| ControlFlow::Continue(())).unwrap();
        let (whole, found) = (score(&model), score(&cramped(name, &placement, 2 * longest)));
        let behind: usize = labels.iter().map(|label| label.len() - 1).sum();
        let apart: usize = prompts.iter().map(|p| p.ids.len() + behind).sum();
        assert!(found.memory_retries > 0 && whole.rows == found.rows, "{name}");
        assert!(
            (whole.tokens..=apart as u64).contains(&found.tokens),
            "{name}: {} and {} tokens, {apart} apart",
            whole.tokens,
            found.tokens
        );
        // What memory has turned out to hold is known to those behind another header.
        let system = Some("Answer in one word only: which emotion is this?".to_owned());
        let others = self::prompts(&model, &spec::Prompt::Chat(spec::Chat { system, ..spec::Chat::default() }), &meta.texts);
        let longest = |prompts: &[limbic_engine::Prompt]| prompts.iter().map(|p| p.ids.len()).max().unwrap();
        let room = longest(&shared).max(longest(&others));
        let retries = |prompts: &[limbic_engine::Prompt]| {
            let asked = Labels { batch_tokens: Some(2 * room), ..Labels::new(&labels) };
            let cramped = cramped(name, &placement, room);
            label_log_likelihoods(&cramped, prompts, asked, &mut |_| ControlFlow::Continue(())).unwrap().memory_retries
        };
        let (one, other) = (retries(&shared), retries(&others));
        let both = retries(&[shared, others].concat());
        assert!(one > 0 && other > 0 && both == one.max(other), "{name}: {one}, {other}, both {both}");
    }
}

#[test]
fn likelihoods_are_those_of_the_prompt_alone_whatever_is_scored_beside_it() {
    for (name, placement) in in_all_formats() {
        let (model, meta) = (Model::load(&fixture(name), &placement).unwrap(), Reference::read(name).meta);
        let user = "Reply: {text} Which emotion does this reply express?".to_owned();
        let question = spec::Prompt::Chat(spec::Chat { user, ..spec::Chat::default() });
        let prompts = prompts(&model, &question, &meta.texts);
        let labels = vec![vec![7, 300, 12], vec![5], vec![9, 4]];
        let score = |prompts: &[limbic_engine::Prompt]| -> Vec<Vec<u64>> {
            let found = label_log_likelihoods(&model, prompts, Labels::new(&labels), &mut |_| ControlFlow::Continue(())).unwrap();
            found.rows.iter().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
        };
        let whole = score(&prompts);
        let asked = Labels { batch_tokens: Some(9), ..Labels::new(&labels) };
        let small = label_log_likelihoods(&model, &prompts, asked, &mut |_| ControlFlow::Continue(())).unwrap();
        let small: Vec<Vec<u64>> = small.rows.iter().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
        assert_eq!(whole, small, "passes of any size");
        for row in 0..prompts.len() {
            assert_eq!(score(&prompts[row..=row]), whole[row..=row], "{name} row {row} alone");
        }
        for size in [2, 5] {
            let parts: Vec<_> = prompts.chunks(size).flat_map(score).collect();
            assert_eq!(parts, whole, "{name}, {size} at a time");
        }
        let odd: Vec<_> = prompts.iter().rev().step_by(2).cloned().collect();
        assert_eq!(score(&odd), whole.iter().rev().step_by(2).cloned().collect::<Vec<_>>(), "{name}, every other");
    }
}

#[test]
fn too_little_memory_for_one_row_says_so() {
    let (model, meta) = (cramped("llama-plain", &Placement::cpu(), 3), Reference::read("llama-plain").meta);
    let prompts = prompts(&model, &raw(), &meta.texts);
    let request = Request::new(vec![Layer::Final], vec![ReadOut::LAST]);
    let error = extract(&model, &prompts, &request, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ExtractError::OutOfMemory { .. }) && error.to_string().contains("room for 3"), "{error}");
}

#[test]
fn a_text_without_tokens_is_named_or_left_out() {
    let model = model("llama-plain");
    let texts = ["Oh!", "", "I miss her."];
    let error = Prompts::new(&model, &raw(), &texts, 0, TooLong::Skip).unwrap_err();
    assert!(error.to_string().contains("row 1"), "{error}");
    let policy = RowPolicy { bad_rows: BadRows::Skip, ..RowPolicy::default() };
    let built = Prompts::new(&model, &raw(), &texts, 0, policy).unwrap();
    assert_eq!((built.rows, built.bad, built.skipped), (vec![0, 2], vec![1], vec![]));
}
