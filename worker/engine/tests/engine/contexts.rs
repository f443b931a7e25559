//! What precedes a continuation token: the prompt or nothing, the own reply, another row's, or a fixed text.

use std::ops::ControlFlow;

use limbic_engine::{Continuation, Extraction, Model, Placement, Prompt, Request, extract, partners};
use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::spec::{self, BadRows};

use crate::damage::{copy, set_config, set_ends};
use crate::reference::{FAMILIES, Reference, all_layers, chats, difference, fixture, greedy, model, prompts, run};

/// max |ours - a naive pass| / max |a naive pass| per layer.
const BOUND: f32 = 1e-5;

fn at(context: Context, offset: u32) -> ReadOut {
    ReadOut { context, ..ReadOut::at(offset) }
}

/// All contexts, at some offsets.
fn everywhere(offsets: &[u32]) -> Vec<ReadOut> {
    let contexts = [Context::Full, Context::MaskedPrompt, Context::ShuffledReply, Context::Filler];
    let beyond = offsets.iter().flat_map(|&k| contexts.map(|context| at(context, k)));
    [ReadOut::LAST].into_iter().chain(beyond).collect()
}

fn ids(count: usize) -> Vec<Option<usize>> {
    let ids: Vec<String> = (0..count).map(|i| format!("row {i}")).collect();
    partners(&ids.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A request for all contexts at offsets 1, 4 and 6 of replies of six tokens and a filler of five.
fn request(layers: usize, rows: usize) -> Request {
    Request {
        continuation: Some(greedy(6)),
        partners: ids(rows),
        filler: vec![40, 7, 300, 12, 9],
        ..Request::new(all_layers(layers), everywhere(&[1, 4, 6]))
    }
}

/// The states of every layer at the last of some tokens, run alone: nothing is cached, batched or shared.
fn naively(model: &Model, layers: usize, ids: Vec<u32>) -> Vec<f32> {
    run(model, &[Prompt::of_tokens(ids)], &Request::new(all_layers(layers), vec![ReadOut::LAST]))
        .states
        .into_iter()
        .flat_map(|s| s.values)
        .collect()
}

fn states(found: &Extraction, row: usize, read_out: ReadOut) -> Vec<f32> {
    let of = found.states.iter().filter(|s| s.read_out == read_out);
    of.flat_map(|s| s.values[row * found.width..][..found.width].to_vec()).collect()
}

/// Compares everything that was found with naive passes, and tells how many states were absent.
fn agrees(model: &Model, layers: usize, prompts: &[Prompt], request: &Request, found: &Extraction) -> usize {
    let mut absent = 0;
    for (row, prompt) in prompts.iter().enumerate() {
        let own = &found.replies[row];
        let other = request.partners[row].map_or(&[][..], |partner| &found.replies[partner]);
        for &read_out in request.read_outs.iter().filter(|r| r.offset > 0) {
            let k = read_out.offset as usize;
            let (before, tokens) = match read_out.context {
                Context::Full => (prompt.ids.as_slice(), own.as_slice()),
                Context::MaskedPrompt => (&[][..], own.as_slice()),
                Context::ShuffledReply => (prompt.ids.as_slice(), &other[..other.len().min(own.len())]),
                Context::Filler => (prompt.ids.as_slice(), request.filler.as_slice()),
            };
            let ours = states(found, row, read_out);
            assert_eq!(found.has(row, read_out), k <= tokens.len(), "row {row}, {}", read_out.name());
            if k > tokens.len() {
                assert!(ours.iter().all(|x| *x == 0.0));
                absent += 1;
                continue;
            }
            let expected = naively(model, layers, [before, &tokens[..k]].concat());
            let off = difference(&ours, &expected, found.width);
            assert!(off <= BOUND, "row {row}, {}: off by {off:.2e}", read_out.name());
        }
    }
    absent
}

fn bits(found: &Extraction) -> Vec<Vec<u32>> {
    found.states.iter().map(|s| s.values.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn every_context_is_what_a_naive_pass_over_its_tokens_gives() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let prompts = chats(&model, &meta.texts);
        let request = request(meta.layers, prompts.len());
        let found = run(&model, &prompts, &request);
        // The filler has five tokens, so offset 6 is absent there, of every row.
        assert_eq!(agrees(&model, meta.layers, &prompts, &request, &found), 12, "{name}");
    }
}

/// The study's replies have 512 tokens, behind prompts of some hundred.
#[test]
fn offset_512_is_what_a_naive_pass_over_its_tokens_gives() {
    // All positions of the one are attended to; the other's window is left behind many times over.
    for name in ["llama-plain", "mistral-window"] {
        let (folder, meta) = (copy(name), Reference::read(name).meta);
        set_config(folder.path(), serde_json::json!({"max_position_embeddings": 1024}));
        let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
        let token = |seed: usize, at: usize| (3 + (seed * 131 + at * at * 7 + at * 37) % 997) as u32;
        let prompt = |(row, length): (usize, usize)| Prompt::of_tokens((0..length).map(|at| token(row, at)).collect::<Vec<_>>());
        let prompts: Vec<Prompt> = [97, 133].into_iter().enumerate().map(prompt).collect();
        let contexts = [Context::Full, Context::MaskedPrompt, Context::Filler];
        let beyond = [1, 64, 512].into_iter().flat_map(|offset| contexts.map(|context| at(context, offset)));
        let request = Request {
            continuation: Some(greedy(512)),
            partners: ids(prompts.len()),
            filler: (0..512).map(|at| token(5, at)).collect(),
            ..Request::new(all_layers(meta.layers), [ReadOut::LAST].into_iter().chain(beyond).collect())
        };
        let found = run(&model, &prompts, &request);
        assert!(found.replies.iter().all(|reply| reply.len() == 512), "{name}");
        assert_eq!(agrees(&model, meta.layers, &prompts, &request, &found), 0, "{name}");
        for (row, prompt) in prompts.iter().enumerate() {
            let off = difference(&states(&found, row, ReadOut::LAST), &naively(&model, meta.layers, prompt.ids.clone()), found.width);
            assert!(off <= BOUND, "{name}: row {row} is off by {off:.2e} at its prompt's end");
        }
    }
}

#[test]
fn replies_that_end_early_leave_their_rows_and_those_that_read_them_out() {
    let (folder, meta) = (copy("llama-plain"), Reference::read("llama-plain").meta);
    let end = meta.reply_ids[0][3];
    set_ends(folder.path(), serde_json::json!([end]));
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let prompts = chats(&model, &meta.texts);
    let mut request = request(meta.layers, prompts.len());
    request.continuation = Some(Continuation::Generated { tokens: 6, temperature: 0.0, seeds: Vec::new(), stop_at_eos: true });
    let found = run(&model, &prompts, &request);
    let short: Vec<usize> = (0..12).filter(|row| found.replies[*row].len() < 6).collect();
    assert!(!short.is_empty() && short.len() < 12, "{short:?}");
    let both = |row: usize| short.contains(&row) || short.contains(&request.partners[row].unwrap());
    assert!((0..12).any(|row| both(row) && !short.contains(&row)), "somebody's partner ends early");
    assert!((0..12).all(|row| found.has(row, at(Context::ShuffledReply, 6)) != both(row)));
    agrees(&model, meta.layers, &prompts, &request, &found);
}

#[test]
fn rows_whose_reply_ends_make_room_for_the_next_and_change_no_bit() {
    let (folder, meta) = (copy("llama-plain"), Reference::read("llama-plain").meta);
    let ends: Vec<u32> = (0..9).map(|row| meta.reply_ids[row][2 * row + 1]).collect();
    set_ends(folder.path(), serde_json::json!(ends));
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let pair = |i: usize| format!("{} {}", meta.texts[i % 12], meta.texts[(i * 5 + i / 12) % 12]);
    let prompts = chats(&model, &(0..48).map(pair).collect::<Vec<_>>());
    let mut request = request(meta.layers, prompts.len());
    request.continuation = Some(Continuation::Generated { tokens: 24, temperature: 0.0, seeds: Vec::new(), stop_at_eos: true });
    request.batch_tokens = Some(100_000);
    let whole = run(&model, &prompts, &request);
    let lengths: Vec<usize> = whole.replies.iter().map(Vec::len).collect();
    assert!(lengths.iter().min() < Some(&6) && lengths.contains(&24), "{lengths:?}");
    for partners in [true, false] {
        if !partners {
            request.read_outs.retain(|read_out| read_out.context == Context::Full);
        }
        let whole = run(&model, &prompts, &request);
        let narrow = Request { batch_tokens: Some(200), ..request.clone() };
        let mut passes = std::collections::BTreeSet::new();
        let found = extract(&model, &prompts, &narrow, &mut |now| {
            passes.insert(now.tokens);
            ControlFlow::Continue(())
        });
        let found = found.unwrap();
        assert_eq!((&whole.replies, &whole.shuffled, bits(&whole)), (&found.replies, &found.shuffled, bits(&found)));
        assert_eq!(whole.tokens, found.tokens);
        // Batch after batch, every batch would take passes for its prompts and decode for as long as its longest reply goes on.
        let alone = |batch: &Vec<usize>| {
            let own: usize = batch.iter().map(|&row| prompts[row].ids.len() - narrow.shared(&prompts)).sum();
            own.div_ceil(200) + batch.iter().map(|&row| lengths[row]).max().unwrap()
        };
        let batches = narrow.batches(&prompts);
        let apart: usize = batches.iter().map(alone).sum();
        assert!(partners || passes.len() < apart - 6, "{} passes, {apart} in {} batches", passes.len(), batches.len());
    }
}

#[test]
fn contexts_depend_on_neither_batches_nor_memory() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        // Eleven rows: eight exchange in pairs, three in a circle.
        let prompts = &chats(&model, &meta.texts)[..11];
        let request = Request { batch_tokens: Some(100_000), ..request(meta.layers, 11) };
        let whole = run(&model, prompts, &request);
        for budget in [1, 100, 333] {
            let split = run(&model, prompts, &Request { batch_tokens: Some(budget), ..request.clone() });
            assert_eq!(
                (&whole.replies, &whole.shuffled, bits(&whole)),
                (&split.replies, &split.shuffled, bits(&split)),
                "{name}: {budget}"
            );
            assert_eq!(whole.tokens, split.tokens, "{name}: no prompt is run twice");
        }
        // Where not even two rows fit, partners are parted and prompts are run again.
        let longest = prompts.iter().map(|p| p.ids.len()).max().unwrap();
        for room in [longest + 6, 3 * longest] {
            let cramped = Model::load(&fixture(name), &Placement::cpu().with_room(room)).unwrap();
            let found = run(&cramped, prompts, &request);
            assert!(found.memory_retries > 0 && found.tokens >= whole.tokens, "{name}");
            assert_eq!((&whole.replies, &whole.shuffled, bits(&whole)), (&found.replies, &found.shuffled, bits(&found)), "{name}: {room}");
        }
    }
}

#[test]
fn a_filler_may_take_the_place_of_a_reply() {
    let (model, meta) = (model("qwen3-qk-norm"), Reference::read("qwen3-qk-norm").meta);
    let prompts = chats(&model, &meta.texts);
    let mut request = request(meta.layers, prompts.len());
    request.continuation = Some(Continuation::Given(vec![request.filler.clone(); 12]));
    let found = run(&model, &prompts, &request);
    agrees(&model, meta.layers, &prompts, &request, &found);
    assert_eq!(states(&found, 3, at(Context::Full, 4)), states(&found, 3, at(Context::Filler, 4)));
    assert_eq!(states(&found, 3, at(Context::Full, 4)), states(&found, 3, at(Context::ShuffledReply, 4)));
}

#[test]
fn contexts_behind_a_shared_beginning_are_the_same() {
    for name in FAMILIES {
        let (model, meta) = (model(name), Reference::read(name).meta);
        let turn = |text: &str| spec::Turn { user: text.to_owned(), assistant: "joy".to_owned() };
        let turns = ["What a day", "She left.", "At three"].map(turn).to_vec();
        let condition = spec::Prompt::Chat(spec::Chat { turns, ..spec::Chat::default() });
        let prompts = prompts(&model, &condition, &meta.texts[..7]);
        let request = request(meta.layers, 7);
        let header = request.shared(&prompts);
        assert!(header > 40, "{name}: {header}");
        let found = run(&model, &prompts, &request);
        agrees(&model, meta.layers, &prompts, &request, &found);
        // The header once; prompts without it; six tokens decoded; and as much as is asked of the three other contexts.
        let own: usize = prompts.iter().map(|p| p.ids.len() - header).sum();
        assert_eq!(found.tokens as usize, header + own + 7 * (6 + 6 + 6 + 4), "{name}");
    }
}

#[test]
fn one_row_alone_has_no_shuffled_reply() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let prompts = &chats(&model, &meta.texts)[..1];
    let found = run(&model, prompts, &request(meta.layers, 1));
    assert!(!found.has(0, at(Context::ShuffledReply, 1)) && found.has(0, at(Context::Filler, 1)) && found.has(0, at(Context::Full, 6)));
}

#[test]
fn a_row_without_numbers_takes_its_reply_with_it() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let mut prompts = chats(&model, &meta.texts);
    let mut request = Request { bad_rows: BadRows::Skip, ..request(meta.layers, 12) };
    let healthy = run(&model, &prompts, &request);
    // A pooling that this row can't answer stands for a row that can't be computed.
    request.read_outs.push(ReadOut { pooling: limbic_proto::axis::Pooling::UtteranceLast, ..ReadOut::LAST });
    prompts[5].utterance_tokens = 0..0;
    let found = run(&model, &prompts, &request);
    assert_eq!(found.bad, [5]);
    for row in (0..12).filter(|row| *row != 5) {
        let lost = request.partners[row] == Some(5);
        assert_eq!(found.has(row, at(Context::ShuffledReply, 6)), !lost);
        for &read_out in &everywhere(&[1, 4, 6]) {
            let (ours, theirs) = (states(&found, row, read_out), states(&healthy, row, read_out));
            let gone = lost && read_out.context == Context::ShuffledReply;
            assert!(if gone { ours.iter().all(|x| *x == 0.0) } else { ours == theirs }, "row {row}, {}", read_out.name());
        }
    }
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let prompts = chats(&model, &meta.texts);
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = Request { layers: vec![Layer::Final], ..request(meta.layers, 12) };
        change(&mut request);
        limbic_engine::extract(&model, &prompts, &request, &mut |_| panic!("work was done")).unwrap_err().to_string()
    };
    assert!(refused(&|r| r.partners.truncate(3)).contains("k1.shuffled-reply is read in a continuation, and there is none"));
    assert!(refused(&|r| r.partners[3] = Some(3)).contains("row 3 of 12 has the partner"));
    assert!(refused(&|r| r.partners[3] = Some(12)).contains("row 3 of 12 has the partner"));
    assert!(refused(&|r| r.filler.clear()).contains("k1.filler is read in a continuation, and there is none"));
    assert!(refused(&|r| r.filler[2] = 1000).contains("token id 1000"));
    assert!(refused(&|r| (r.filler, r.read_outs) = (vec![5; 600], vec![at(Context::Filler, 500)])).contains("exceed the context of 512"));
}
