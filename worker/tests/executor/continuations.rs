//! What follows prompts, as extract units record it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use limbic_engine::{Model, Placement, Request, extract, partners};
use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::spec::{Chat, Continuation, Prompt, TooLong, Turn};
use limbic_proto::unit::{RowTokens, STATES, TOKENS, Unit, UnitSpec, Versions};
use limbic_worker::Output;

use crate::bench::{Bench, fixture, tensor_f32, tensor_i64};
use crate::{LAYERS, artifact};

fn at(context: Context, offset: u32) -> ReadOut {
    ReadOut { context, ..ReadOut::at(offset) }
}

fn continuation(tokens: u32, filler: Option<&str>, controls: &[Context]) -> Continuation {
    let filler = filler.map(str::to_owned);
    Continuation {
        tokens: Some(tokens),
        temperature: 0.0,
        seed: Some(0),
        seeds: Vec::new(),
        filler,
        stop_at_eos: false,
        controls: controls.to_vec(),
    }
}

fn tokens(output: &Output) -> Vec<RowTokens> {
    serde_json::from_slice(artifact(output, TOKENS)).unwrap()
}

/// The states of all layers at the last of some tokens, run alone.
fn naively(model: &Model, ids: &[u32]) -> Vec<f32> {
    let prompt = limbic_engine::Prompt::of_tokens(ids);
    let request = Request::new(LAYERS.to_vec(), vec![ReadOut::LAST]);
    let found = extract(model, &[prompt], &request, &mut |_| ControlFlow::Continue(())).unwrap();
    found.states.into_iter().flat_map(|s| s.values).collect()
}

/// Compares what a unit recorded in the contexts `shuffled-reply` and `filler` with passes over the same tokens.
fn check(model: &Model, output: &Output, filler: &[u32], offsets: &[u32]) {
    let (states, rows) = (artifact(output, STATES), tokens(output));
    let present: Vec<&RowTokens> = rows.iter().filter(|row| !row.prompt.is_empty()).collect();
    let ids: Vec<&str> = present.iter().map(|row| row.id.as_str()).collect();
    let found = partners(&ids);
    let partner: BTreeMap<&str, Option<&RowTokens>> = ids.iter().zip(&found).map(|(id, at)| (*id, at.map(|at| present[at]))).collect();
    let lengths = |context: Context| tensor_i64(states, context.lengths());
    let (shuffled, fillers) = (lengths(Context::ShuffledReply), lengths(Context::Filler));
    for (at_row, row) in rows.iter().enumerate() {
        let skipped = row.prompt.is_empty();
        let other = partner.get(row.id.as_str()).copied().flatten().map_or(&[][..], |other| &other.reply);
        let other = &other[..other.len().min(row.reply.len())];
        assert_eq!((shuffled[at_row], fillers[at_row]), (other.len() as i64, if skipped { 0 } else { filler.len() as i64 }), "{}", row.id);
        for &k in offsets {
            for (context, behind) in [(Context::ShuffledReply, other), (Context::Filler, filler)] {
                let of = |layer: &Layer| tensor_f32(states, &at(context, k).tensor(*layer)).1[at_row * 96..][..96].to_vec();
                let ours: Vec<f32> = LAYERS.iter().flat_map(of).collect();
                match behind.get(..k as usize).filter(|_| !skipped) {
                    Some(behind) => {
                        let expected = naively(model, &[&row.prompt, behind].concat());
                        let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
                        let off = ours.iter().zip(&expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                        assert!(off <= 1e-5 * largest, "{} at {}: off by {off}", row.id, at(context, k).name());
                    }
                    None => assert!(ours.iter().all(|x| *x == 0.0), "{} at {}", row.id, at(context, k).name()),
                }
            }
        }
    }
}

fn unit(bench: &mut Bench, offsets: &[u32]) -> Unit {
    let contexts = [Context::Full, Context::MaskedPrompt, Context::ShuffledReply, Context::Filler];
    let beyond = offsets.iter().flat_map(|&k| contexts.map(|context| at(context, k)));
    let read_outs = [ReadOut::LAST].into_iter().chain(beyond).collect();
    let asked = continuation(5, Some(" It is a day like any other."), &contexts[1..]);
    bench.extract(0..12, Prompt::Chat(Chat::default()), read_outs, Some(asked), TooLong::Skip)
}

#[test]
fn controls_are_recorded_with_their_lengths_in_wholes_and_in_halves() {
    let mut bench = Bench::new("llama-plain", 12);
    bench.lengthen(4);
    let model = Model::load(&fixture("llama-plain"), &Placement::cpu()).unwrap();
    let filler = model.tokenizer().ids(" It is a day like any other.", false).unwrap()[..5].to_vec();
    let offsets = [1, 3, 5];
    let unit = unit(&mut bench, &offsets);
    let output = bench.execute(&unit).unwrap();
    check(&model, &output, &filler, &offsets);
    // Halves exchange replies among their own rows; nothing else is other than in the whole.
    let halves = unit.split(&Versions::CURRENT);
    assert_eq!(halves.len(), 2);
    for (half, from) in halves.iter().zip([0, 6]) {
        let part = bench.execute(half).unwrap();
        check(&model, &part, &filler, &offsets);
        assert_eq!(tokens(&part), tokens(&output)[from..from + 6]);
        for context in [Context::Full, Context::MaskedPrompt, Context::Filler] {
            let of = |output: &Output| tensor_f32(artifact(output, STATES), &at(context, 3).tensor(Layer::Final)).1;
            assert_eq!(of(&part), of(&output)[from * 96..(from + 6) * 96], "{}", context.as_str());
        }
    }
    // A single row has nobody to exchange with.
    let UnitSpec::Extract(_) = &halves[0].spec else { panic!("a half is of its kind") };
    let single = halves[0].split(&Versions::CURRENT)[0].split(&Versions::CURRENT).remove(0);
    let output = bench.execute(&single).unwrap();
    assert_eq!(tensor_i64(artifact(&output, STATES), Context::ShuffledReply.lengths()), [0]);
}

#[test]
fn another_seed_draws_other_replies_and_the_same_one_the_same() {
    let mut bench = Bench::new("llama-plain", 12);
    let sampled = |seed| Continuation { temperature: 0.9, seed: Some(seed), ..continuation(6, None, &[]) };
    let mut replies = |seed| {
        let unit = bench.extract(0..12, Prompt::Chat(Chat::default()), vec![ReadOut::at(2)], Some(sampled(seed)), TooLong::Error);
        let output = bench.execute(&unit).unwrap();
        tokens(&output).into_iter().map(|row| row.reply).collect::<Vec<_>>()
    };
    let (first, second) = (replies(3), replies(4));
    assert_eq!(replies(3), first);
    let differ = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    assert!(differ >= 11, "{differ} of 12 replies differ");
}

#[test]
fn replies_are_written_where_nothing_is_read_of_them() {
    let mut bench = Bench::new("llama-plain", 12);
    let asked = Continuation { temperature: 0.9, seed: Some(3), ..continuation(6, None, &[]) };
    let read = bench.extract(0..12, Prompt::Chat(Chat::default()), vec![ReadOut::at(2)], Some(asked), TooLong::Error);
    let UnitSpec::Extract(spec) = &read.spec else { panic!("an extract unit") };
    let spec = UnitSpec::Extract(limbic_proto::unit::ExtractUnit { layers: Vec::new(), read_outs: Vec::new(), ..spec.clone() });
    let bare = bench.execute(&Unit { spec, ..read.clone() }).unwrap();
    let found = bench.execute(&read).unwrap();
    assert_eq!(tokens(&bare), tokens(&found), "as a judge of the replies needs them");
    let lengths = |output: &Output| tensor_i64(artifact(output, STATES), Context::Full.lengths());
    assert_eq!(lengths(&bare), lengths(&found));
}

#[test]
fn too_little_memory_changes_no_bit_of_the_controls() {
    let mut bench = Bench::new("llama-plain", 12);
    let unit = unit(&mut bench, &[1, 5]);
    let roomy = bench.execute(&unit).unwrap();
    bench.cramp(40);
    let cramped = bench.execute(&unit).unwrap();
    assert!(cramped.counts["memory_retries"] > 0 && roomy.counts["memory_retries"] == 0);
    assert!([STATES, TOKENS].iter().all(|name| artifact(&cramped, name) == artifact(&roomy, name)));
}

#[test]
fn replies_are_put_into_words_where_the_model_wrote_them() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let model = Model::load(&fixture("qwen3-qk-norm"), &Placement::cpu()).unwrap();
    let written =
        bench.extract(0..12, Prompt::Chat(Chat::default()), vec![ReadOut::at(4)], Some(continuation(9, None, &[])), TooLong::Error);
    let written = tokens(&bench.execute(&written).unwrap());
    for row in &written {
        assert_eq!(row.reply_text, model.tokenizer().decode(&row.reply).unwrap());
    }
    assert!(written.iter().filter(|row| !row.reply_text.is_empty()).count() > 6);
    let filled = continuation(9, Some(" It is a day."), &[]);
    let filled = bench.extract(0..12, Prompt::Chat(Chat::default()), vec![ReadOut::at(2)], Some(filled), TooLong::Error);
    let filled = tokens(&bench.execute(&filled).unwrap());
    assert!(filled.iter().all(|row| row.reply_text.is_empty() && row.reply.len() > 2));
    let raw = Prompt::Template("{text}".into());
    let none = bench.extract(0..12, raw, vec![ReadOut::LAST], None, TooLong::Error);
    assert!(tokens(&bench.execute(&none).unwrap()).iter().all(|row| row.reply_text.is_empty() && row.reply.is_empty()));
}

#[test]
fn a_long_header_is_run_a_few_times_however_many_blocks_there_are() {
    let mut bench = Bench::new("llama-plain", 120);
    let turn = |i: usize| Turn { user: format!("That was {i} times as good as it could be, I tell you."), assistant: "joy".into() };
    let turns: Vec<Turn> = (0..7).map(turn).collect();
    let unit = bench.extract(0..120, Prompt::Chat(Chat { turns, ..Chat::default() }), vec![ReadOut::LAST], None, TooLong::Error);
    let output = bench.execute(&unit).unwrap();
    let prompts: Vec<Vec<u32>> = tokens(&output).into_iter().map(|row| row.prompt).collect();
    let all: usize = prompts.iter().map(Vec::len).sum();
    let header = (0..).take_while(|&at| prompts.iter().all(|p| p[at] == prompts[0][at])).count();
    let own = all - 120 * header;
    assert!(header > 200 && own > 1000, "{header} and {own} tokens");
    // The budget is 64 tokens, and 128 make a block where nothing is shared. With a header, 16 of it do.
    let headers = own.div_ceil(16 * header);
    assert!(output.tokens as usize <= own + (headers + 1) * (header + 2), "{} tokens of {own} and {headers} times {header}", output.tokens);
    // Each row's span is its own.
    for (row, tokens) in bench.rows().iter().zip(tokens(&output)) {
        assert!(tokens.utterance.0 >= header - 1 && tokens.utterance_bytes.1 - tokens.utterance_bytes.0 == row.text.len());
    }
}
