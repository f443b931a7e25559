//! Continuations: ends, sampling, fillers, contexts, likelihoods, progress.

use std::ops::ControlFlow;

use limbic_engine::{Continuation, ExtractError, Labels, Model, Placement, Prompt, Request, extract, label_log_likelihoods};
use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::spec;

use crate::damage::{copy, set_ends};
use crate::reference::{FAMILIES, Reference, all_layers, chats, difference, greedy, model, prompts, raw, run};

#[test]
fn the_state_behind_a_reply_is_that_of_the_longer_prompt() {
    let (model, meta) = (model("mistral-window"), Reference::read("mistral-window").meta);
    let prompts = chats(&model, &meta.texts);
    let mut request = Request::new(all_layers(meta.layers), vec![ReadOut::at(5)]);
    request.continuation = Some(greedy(5));
    let decoded = run(&model, &prompts, &request);
    let longer: Vec<Prompt> =
        prompts.iter().zip(&decoded.replies).map(|(p, r)| Prompt::of_tokens([p.ids.as_slice(), r].concat())).collect();
    let whole = run(&model, &longer, &Request::new(all_layers(meta.layers), vec![ReadOut::LAST]));
    for (a, b) in decoded.states.iter().zip(&whole.states) {
        assert_eq!(a.values, b.values, "layer {}", a.layer);
    }
    let masked = ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(5) };
    request.read_outs = vec![masked];
    let masked = run(&model, &prompts, &request);
    let alone: Vec<Prompt> = decoded.replies.iter().map(|r| Prompt::of_tokens(r.as_slice())).collect();
    let alone = run(&model, &alone, &Request::new(all_layers(meta.layers), vec![ReadOut::LAST]));
    for (a, b) in masked.states.iter().zip(&alone.states) {
        assert_eq!(a.values, b.values, "layer {}", a.layer);
    }
}

#[test]
fn a_reply_ends_at_the_end_token_and_later_states_are_absent() {
    let (folder, meta) = (copy("llama-plain"), Reference::read("llama-plain").meta);
    // Any token that some greedy replies hold can play the end token.
    let end = meta.reply_ids[0][9];
    set_ends(folder.path(), serde_json::json!([0, end]));
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let prompts = chats(&model, &meta.texts);
    let read_out = ReadOut::at(24);
    let mut request = Request::new(vec![Layer::Final], vec![read_out]);
    request.continuation = Some(Continuation::Generated { tokens: 24, temperature: 0.0, seeds: vec![], stop_at_eos: true });
    let stopped = run(&model, &prompts, &request);
    request.continuation = Some(greedy(24));
    let free = run(&model, &prompts, &request);
    let mut ended = 0;
    for row in 0..12 {
        let reply = &meta.reply_ids[row];
        let len = reply.iter().position(|t| [0, end].contains(t)).unwrap_or(24);
        assert_eq!((&stopped.replies[row][..], &free.replies[row]), (&reply[..len], reply));
        assert_eq!(stopped.has(row, read_out), len == 24);
        let states = |found: &limbic_engine::Extraction| found.states[0].values[row * found.width..][..found.width].to_vec();
        let expected = if len == 24 { states(&free) } else { vec![0.0; free.width] };
        assert_eq!(states(&stopped), expected);
        ended += usize::from(len < 24);
    }
    assert!(ended > 0 && ended < 12, "{ended} replies ended early");
}

#[test]
fn sampling_depends_on_the_rows_seed_only() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let prompts = prompts(&model, &raw(), &meta.texts);
    let sampled = |prompts: &[Prompt], seeds: Vec<u64>| {
        let mut request = Request::new(vec![], vec![]);
        request.continuation = Some(Continuation::Generated { tokens: 8, temperature: 1.0, seeds, stop_at_eos: false });
        run(&model, prompts, &request).replies
    };
    let all = sampled(&prompts, (0..12).collect());
    assert_eq!(sampled(&prompts[4..6], vec![4, 5]), all[4..6]);
    assert_ne!(sampled(&prompts[4..6], vec![14, 15]), all[4..6]);
}

#[test]
fn poolings_read_the_positions_they_name() {
    let (model, meta) = (model("llama3-rope-scaled"), Reference::read("llama3-rope-scaled").meta);
    let prompts = chats(&model, &meta.texts);
    let layer = Layer::Block(3);
    let at = |pooling| ReadOut { pooling, ..ReadOut::LAST };
    let poolings = [Pooling::First, Pooling::UtteranceLast, Pooling::UtteranceMean, Pooling::PromptMean];
    let found = run(&model, &prompts, &Request::new(vec![layer], poolings.map(at).to_vec()));
    for (row, prompt) in prompts.iter().enumerate() {
        // Causal: the state at a token is the last state of the prompt that ends there.
        let heads: Vec<Prompt> = (1..=prompt.ids.len()).map(|n| Prompt::of_tokens(&prompt.ids[..n])).collect();
        let states = run(&model, &heads, &Request::new(vec![layer], vec![ReadOut::LAST]));
        let width = states.width;
        let state = |t: usize| &states.states[0].values[t * width..][..width];
        let mean = |range: std::ops::Range<usize>| -> Vec<f32> {
            (0..width).map(|i| range.clone().map(|t| state(t)[i]).sum::<f32>() / range.len() as f32).collect()
        };
        let spoken = prompt.utterance_tokens.clone();
        let expected = [state(0).to_vec(), state(spoken.end - 1).to_vec(), mean(spoken), mean(0..prompt.ids.len())];
        for (pooling, expected) in poolings.iter().zip(expected) {
            let ours = &found.get(layer, at(*pooling)).unwrap().values[row * width..][..width];
            assert!(difference(ours, &expected, width) < 1e-5, "{} of row {row}", pooling.as_str());
        }
    }
}

fn score(model: &Model, prompts: &[Prompt], labels: &[Vec<u32>]) -> Vec<Vec<f64>> {
    label_log_likelihoods(model, prompts, Labels::new(labels), &mut |_| ControlFlow::Continue(())).unwrap().rows
}

#[test]
fn likelihoods_add_up() {
    let (model, meta) = (model("qwen2-qkv-bias"), Reference::read("qwen2-qkv-bias").meta);
    let prompts = prompts(&model, &raw(), &meta.texts);
    let every: Vec<Vec<u32>> = (0..1000).map(|t| vec![t]).collect();
    let scores = score(&model, &prompts[..2], &every);
    for row in &scores {
        assert!((row.iter().map(|s| s.exp()).sum::<f64>() - 1.0).abs() < 1e-5);
    }
    // log p(a b) = log p(a) + log p(b | a), and the latter is the likelihood of b after the longer prompt.
    let labels = vec![vec![7, 300, 12], vec![7], vec![500, 2]];
    let scores = score(&model, &prompts, &labels);
    for (prompt, scores) in prompts.iter().zip(&scores) {
        let after = |ids: &[u32], token: u32| {
            let longer = Prompt::of_tokens([prompt.ids.as_slice(), ids].concat());
            score(&model, &[longer], &[vec![token]])[0][0]
        };
        let expected = after(&[], 7) + after(&[7], 300) + after(&[7, 300], 12);
        assert!((scores[0] - expected).abs() < 1e-4, "{} {expected}", scores[0]);
        assert!((scores[1] - after(&[], 7)).abs() < 1e-5);
    }
}

#[test]
fn a_shared_beginning_is_scored_once_and_so_is_a_prompt_that_stands_twice() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let behind = |system: &str| {
            let condition = spec::Prompt::Chat(spec::Chat { system: Some(system.to_owned()), ..spec::Chat::default() });
            prompts(&model, &condition, &meta.texts)
        };
        let labels = [vec![7, 300, 12], vec![7], vec![500, 2]];
        let score = |prompts: &[Prompt]| {
            let asked = Labels { batch_tokens: Some(40), ..Labels::new(&labels) };
            label_log_likelihoods(&model, prompts, asked, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let run = |prompts: &[Prompt]| prompts.iter().map(|p| p.ids.len() + 3).sum::<usize>();
        let prompts = behind("You are very emotional, and you have always been.");
        let header = Request::new(Vec::new(), Vec::new()).shared(&prompts);
        let together = score(&prompts);
        let expected = run(&prompts) - 11 * header;
        assert!(header > 8 && together.tokens as usize == expected, "{name}: {header}, {} of {expected}", together.tokens);
        let alone = |prompts: &[Prompt]| prompts.iter().map(|p| score(std::slice::from_ref(p)).rows.remove(0)).collect::<Vec<_>>();
        assert_eq!(together.rows, alone(&prompts), "{name}");
        // Another header beside it, and some of each once more.
        let others = behind("Answer in one word only: which emotion is this?");
        let expected = expected + run(&others) - 11 * Request::new(Vec::new(), Vec::new()).shared(&others);
        let all = [&prompts[..], &others, &prompts[3..6], &others[..2]].concat();
        let mixed = score(&all);
        assert_eq!((mixed.rows, mixed.tokens as usize), (alone(&all), expected), "{name}");
    }
}

#[test]
fn work_is_given_up_within_a_pass() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let prompts = prompts(&model, &raw(), &meta.texts);
    let request = Request { batch_tokens: Some(100_000), ..Request::new(all_layers(meta.layers), vec![ReadOut::LAST]) };
    // A single pass through five blocks: it is asked after the embeddings, after each block and after the norm.
    for patience in 0..7 {
        let mut asked = 0;
        let mut stop = |_| {
            asked += 1;
            if asked > patience { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let given_up = extract(&model, &prompts, &request, &mut stop);
        assert!(matches!(given_up, Err(ExtractError::Cancelled { tokens: 0 })), "{patience}");
        asked = 0;
        let mut stop = |_| {
            asked += 1;
            if asked > patience { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let given_up = label_log_likelihoods(&model, &prompts, Labels::new(&[vec![7]]), &mut stop);
        assert!(matches!(given_up, Err(ExtractError::Cancelled { tokens: 0 })), "{patience}");
    }
}

#[test]
fn an_extraction_tells_its_progress_and_can_be_cancelled() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let prompts = prompts(&model, &raw(), &meta.texts);
    let request = Request { batch_tokens: Some(40), ..Request::new(vec![Layer::Final], vec![ReadOut::LAST]) };
    let mut seen = Vec::new();
    let found = extract(&model, &prompts, &request, &mut |p| {
        seen.push(p);
        ControlFlow::Continue(())
    });
    let last = seen.last().unwrap();
    assert_eq!((last.rows, last.tokens), (12, found.unwrap().tokens));
    assert_eq!(last.tokens, meta.raw_ids.iter().map(|r| r.len() as u64).sum::<u64>());
    let cancelled = extract(&model, &prompts, &request, &mut |_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(ExtractError::Cancelled { .. })));
}

#[test]
fn impossible_requests_are_refused_before_any_work() {
    let model = model("llama-plain");
    let refused = |prompts: &[Prompt], request: Request| {
        extract(&model, prompts, &request, &mut |_| panic!("work was done")).unwrap_err().to_string()
    };
    let one = [Prompt::of_tokens([5; 10])];
    assert!(refused(&one, Request::new(vec![Layer::Block(6)], vec![ReadOut::LAST])).contains("layer 6 does not exist"));
    assert!(refused(&one, Request::new(vec![], vec![ReadOut::at(1)])).contains("continuation"));
    assert!(refused(&[Prompt::of_tokens([5; 513])], Request::new(vec![], vec![ReadOut::LAST])).contains("exceed the context of 512"));
    assert!(refused(&[Prompt::of_tokens([1000])], Request::new(vec![], vec![ReadOut::LAST])).contains("token id 1000"));
}
