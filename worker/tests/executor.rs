//! The executor on a tiny model, unit by unit: artifacts as `limbic_proto::unit` documents them, numbers as transformers has them.

#[path = "executor/bench.rs"]
mod bench;
#[path = "executor/continuations.rs"]
mod continuations;
#[path = "executor/moments.rs"]
mod moments;
#[path = "executor/probes.rs"]
mod probes;
#[path = "executor/questions.rs"]
mod questions;
#[path = "executor/twins.rs"]
mod twins;
#[path = "executor/verdicts.rs"]
mod verdicts;
#[path = "executor/weights.rs"]
mod weights;

use std::ops::Range;

use bench::{Bench, fixture, generated, oversized, tensor_f32, tensor_f64, tensor_i64};
use limbic_engine::probe::{Labels, measure};
use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::commit::Commit;
use limbic_proto::layout;
use limbic_proto::rows::Split;
use limbic_proto::spec::{BadRows, Chat, Continuation, Dtype, LogisticSpec, MlpSpec, ProbeSpec, Prompt, TooLong};
use limbic_proto::unit::{FITS, Features, FitRecord, PREDICTIONS, RowTokens, SCORES, STATES, TOKENS, Unit, UnitSpec, WEIGHTS};
use limbic_worker::inputs::Shelf;
use limbic_worker::{Advice, ExecuteError, Output};

const LAYERS: [Layer; 3] = [Layer::Block(0), Layer::Block(3), Layer::Final];

/// An artifact's bytes, for as long as the test runs.
fn artifact(output: &Output, name: &str) -> &'static [u8] {
    output.artifacts.iter().find(|(n, _)| *n == name).unwrap().1.to_bytes().to_vec().leak()
}

fn close(found: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    let off = found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(found.len() == expected.len() && off <= 1e-4 * largest, "off by {off} of {largest}");
}

#[test]
fn states_are_those_of_transformers_and_stored_by_name() {
    let mut bench = Bench::new("llama-plain", 12);
    let unit = bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let output = bench.execute(&unit).unwrap();
    let reference = std::fs::read(fixture("llama-plain").join("reference.safetensors")).unwrap();
    let states = artifact(&output, STATES);
    for (layer, hub) in LAYERS.into_iter().zip([0, 3, 5]) {
        let (shape, found) = tensor_f32(states, &format!("L{layer}.k0"));
        assert_eq!(shape, [12, 96]);
        for row in 0..12 {
            let (_, expected) = tensor_f32(&reference, &format!("raw.{row}.hidden"));
            close(&found[row * 96..][..96], &expected[hub * 96..][..96]);
        }
    }
    let tokens: Vec<RowTokens> = serde_json::from_slice(artifact(&output, TOKENS)).unwrap();
    let lengths: Vec<i64> = tokens.iter().map(|t| t.prompt.len() as i64).collect();
    assert_eq!(tensor_i64(states, "prompt_tokens"), lengths);
    assert_eq!(output.tokens, lengths.iter().sum::<i64>() as u64);
    for (row, tokens) in bench.rows().iter().zip(&tokens) {
        assert_eq!((tokens.id.as_str(), tokens.utterance_bytes), (row.id.as_str(), (0, row.text.len())));
    }
}

#[test]
fn a_number_format_is_part_of_the_unit_and_close_to_f32() {
    let mut bench = Bench::new("llama-plain", 12);
    let mut unit = |dtype| {
        bench.dtype = dtype;
        bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error)
    };
    let [full, rounded] = [Dtype::F32, Dtype::Bf16].map(&mut unit);
    assert_ne!(full.spec.key(), rounded.spec.key());
    let mut states = |unit| artifact(&bench.execute(unit).unwrap(), STATES);
    let (first, second) = (states(&full), states(&rounded));
    for layer in LAYERS {
        let [full, rounded] = [first, second].map(|states| tensor_f32(states, &format!("L{layer}.k0")).1);
        let largest = full.iter().fold(0f32, |m, x| m.max(x.abs()));
        let off = full.iter().zip(&rounded).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(full != rounded && off <= 0.08 * largest, "layer {layer} is off by {off} of {largest}");
    }
    // Both are in memory now, and told apart.
    assert!(states(&full) == first && states(&rounded) == second);
}

#[test]
fn replies_skipped_rows_and_byte_spans_are_recorded() {
    let mut bench = Bench::new("llama-plain", 12);
    bench.lengthen(4);
    let read_outs = vec![ReadOut::LAST, ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST }, ReadOut::at(2)];
    let continuation = generated(3, 0.7, 5, false);
    let chat = Prompt::Chat(Chat { user: "→ {text}".into(), ..Chat::default() });
    let whole = bench.extract(0..12, chat.clone(), read_outs.clone(), Some(continuation.clone()), TooLong::Skip);
    let output = bench.execute(&whole).unwrap();
    let (states, tokens) = (artifact(&output, STATES), artifact(&output, TOKENS));
    let tokens: Vec<RowTokens> = serde_json::from_slice(tokens).unwrap();
    assert_eq!((tensor_i64(states, "prompt_tokens")[4], tensor_i64(states, "reply_tokens")[4]), (0, 0));
    assert!(tokens[4].prompt.is_empty() && tokens.iter().enumerate().all(|(i, t)| i == 4 || t.reply.len() == 3));
    assert!(tensor_f32(states, "L3.k2").1[4 * 96..5 * 96].iter().all(|x| *x == 0.0));
    assert_eq!((output.counts["skipped_rows"], output.counts["reply_tokens"]), (1, 33));
    // The span counts bytes although `→` has three of them.
    let (from, to) = tokens[0].utterance_bytes;
    assert_eq!(to - from, bench.rows()[0].text.len());
    // Sampling depends on the row, not on the unit that it is in.
    let part = bench.extract(5..9, chat, read_outs, Some(continuation), TooLong::Skip);
    let part = bench.execute(&part).unwrap();
    let (all, some) = (tensor_f32(states, "L3.k2").1, tensor_f32(artifact(&part, STATES), "L3.k2").1);
    assert_eq!(&all[5 * 96..9 * 96], some.as_slice());
}

fn two_probes() -> Vec<ProbeSpec> {
    let mlp = MlpSpec { hidden: 8, epochs: 3, ..MlpSpec::default() };
    vec![ProbeSpec::Logistic(LogisticSpec { c: vec![0.01, 1.0], ..LogisticSpec::default() }), ProbeSpec::Mlp(mlp)]
}

#[test]
fn probes_are_fitted_on_all_shards_and_absences_are_told() {
    let mut bench = Bench::new("llama-plain", 60);
    bench.lengthen(7);
    bench.lengthen(59);
    let read_outs = vec![ReadOut::LAST, ReadOut::at(1), ReadOut::at(40)];
    let filler = Continuation {
        tokens: Some(40),
        temperature: 0.0,
        seed: Some(0),
        seeds: Vec::new(),
        filler: Some(" ok".into()),
        stop_at_eos: true,
        controls: Vec::new(),
    };
    let shards: Vec<Unit> = [0..25, 25..60]
        .into_iter()
        .map(|rows| bench.extract(rows, Prompt::Template("{text}".into()), read_outs.clone(), Some(filler.clone()), TooLong::Skip))
        .collect();
    let keys: Vec<_> = shards.iter().map(|unit| unit.spec.key()).collect();
    let fit = bench.fit(Features::States { extracts: keys, layer: Layer::Block(3) }, read_outs, two_probes(), vec![1, 2]);
    let early = bench.execute(&fit).unwrap_err();
    assert!(early.to_string().contains("its commit is missing") && early.advice() == Advice::Retry, "{early}");
    for shard in &shards {
        let output = bench.execute(shard).unwrap();
        bench.commit(shard, "a1", &output);
    }
    let output = bench.execute(&fit).unwrap();
    let records: Vec<FitRecord> = serde_json::from_slice(artifact(&output, FITS)).unwrap();
    assert_eq!(records.len(), 9);
    let test: Vec<usize> = (0..60).filter(|row| bench.rows()[*row].split == Split::Test).collect();
    let labels: Vec<u32> = test.iter().map(|row| bench.rows()[*row].class).collect();
    for record in &records {
        let name = record.name.tensor();
        let (shape, values) = tensor_f32(artifact(&output, PREDICTIONS), &name);
        assert_eq!(shape, [test.len(), 3]);
        if name.contains(".k40.") {
            assert!(record.absent.as_ref().unwrap().contains("0 of 60 rows") && values.iter().all(|x| x.is_nan()), "{record:?}");
            continue;
        }
        assert_eq!((record.test, record.train + record.validation + record.test, record.absent.as_ref()), (test.len() - 1, 58, None));
        for (row, probabilities) in test.iter().zip(values.chunks_exact(3)) {
            let sum: f32 = probabilities.iter().sum();
            assert!(if *row == 59 { sum.is_nan() } else { (sum - 1.0).abs() < 1e-5 }, "row {row}: {probabilities:?}");
        }
        let accuracy = measure(&values[..values.len() - 3], &Labels::Single(&labels[..labels.len() - 1]), 3).unwrap();
        assert!(!name.starts_with("logistic.k0") || accuracy > 0.6, "{name}: {accuracy}");
        tensor_f32(artifact(&output, WEIGHTS), &format!("{name}.0.weight"));
    }
    let names: Vec<String> = records.iter().map(|r| r.name.tensor()).collect();
    assert_eq!(names[..3], ["logistic.k0.s0", "mlp.k0.s1", "mlp.k0.s2"]);
    // Byte ranges give the same as whole artifacts.
    bench.shelve(Shelf::new(0).ranges_above(100));
    let ranged = bench.execute(&fit).unwrap();
    assert_eq!(artifact(&ranged, PREDICTIONS), artifact(&output, PREDICTIONS));
}

#[test]
fn a_split_shard_stands_for_its_children_and_a_void_one_for_nothing() {
    let mut bench = Bench::new("llama-plain", 60);
    let mut extract = |rows| bench.extract(rows, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let (whole, children) = (extract(0..60), [extract(0..30), extract(30..60)]);
    let features = Features::States { extracts: vec![whole.spec.key()], layer: Layer::Final };
    let fit = bench.fit(features, vec![ReadOut::LAST], two_probes()[..1].to_vec(), vec![0]);
    for child in &children {
        let output = bench.execute(child).unwrap();
        bench.commit(child, "a", &output);
    }
    let keys = children.iter().map(|c| c.spec.key()).collect();
    bench.create_commit(&whole, &Commit::Split { nonce: "n".into(), children: keys });
    assert!(bench.execute(&fit).is_ok());

    let mut bench = Bench::new("llama-plain", 60);
    bench.create_commit(&whole, &Commit::Void { nonce: "n".into(), reason: "its only row is empty".into() });
    let error = bench.execute(&fit).unwrap_err();
    // The coordinator voids it and has it computed again; here that is only told.
    assert!(error.to_string().contains("a void where a result should be") && error.advice() == Advice::Retry, "{error}");
}

#[test]
fn a_corrupt_artifact_is_found_before_anything_is_fitted() {
    let mut bench = Bench::new("llama-plain", 60);
    let shard = bench.extract(0..60, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let features = Features::States { extracts: vec![shard.spec.key()], layer: Layer::Final };
    let fit = bench.fit(features, vec![ReadOut::LAST], two_probes()[..1].to_vec(), vec![0]);
    let output = bench.execute(&shard).unwrap();
    bench.commit(&shard, "a", &output);
    let path = layout::artifact(&shard.spec.key(), "a", STATES);
    let header = u64::from_le_bytes(artifact(&output, STATES)[..8].try_into().unwrap()) as isize;
    // Read whole or by ranges: a bit of the header's length, of the header, of the rows' lengths, of the states.
    for ranges_above in [u64::MAX, 100] {
        for at in [1, 20, 8 + header, -1] {
            bench.damage(&path, at);
            bench.shelve(Shelf::new(1 << 20).ranges_above(ranges_above));
            let error = bench.execute(&fit).unwrap_err();
            assert!(error.to_string().contains("corrupt") && error.advice() == Advice::Retry, "{at}: {error}");
            bench.damage(&path, at);
        }
        bench.execute(&fit).unwrap();
    }
}

#[test]
fn a_commit_without_a_headers_digest_is_read_whole() {
    let mut bench = Bench::new("llama-plain", 60);
    let shard = bench.extract(0..60, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let features = Features::States { extracts: vec![shard.spec.key()], layer: Layer::Final };
    let fit = bench.fit(features, vec![ReadOut::LAST], two_probes()[..1].to_vec(), vec![0]);
    let mut output = bench.execute(&shard).unwrap();
    for (_, content) in &mut output.artifacts {
        *content = content.to_bytes().into();
    }
    bench.commit(&shard, "a", &output);
    bench.shelve(Shelf::new(1 << 20).ranges_above(100));
    bench.execute(&fit).unwrap();
    bench.shelve(Shelf::new(1 << 20).ranges_above(100));
    bench.damage(&layout::artifact(&shard.spec.key(), "a", STATES), -1);
    assert!(bench.execute(&fit).unwrap_err().to_string().contains("corrupt"));
}

#[test]
fn rows_that_cannot_be_computed_stop_the_unit_or_are_skipped_everywhere() {
    let mut bench = Bench::new("llama-plain", 60);
    bench.say(7, "");
    bench.say(58, "");
    let raw = || Prompt::Template("{text}".into());
    let stop = bench.extract(0..60, raw(), vec![ReadOut::LAST], None, TooLong::Error);
    let error = bench.execute(&stop).unwrap_err();
    assert!(error.to_string().contains("id `r7`") && error.to_string().contains("bad_rows") && error.advice() == Advice::Reject, "{error}");
    bench.bad_rows = BadRows::Skip;
    let skip = bench.extract(0..60, raw(), vec![ReadOut::LAST], None, TooLong::Error);
    assert_ne!(skip.spec.key(), stop.spec.key());
    let output = bench.execute(&skip).unwrap();
    assert_eq!((output.counts["rows"], output.counts["skipped_rows"], output.counts["bad_rows"]), (60, 2, 2));
    let states = artifact(&output, STATES);
    assert!([7, 58].iter().all(|row| tensor_i64(states, "prompt_tokens")[*row] == 0));
    assert!(tensor_f32(states, "L3.k0").1[7 * 96..8 * 96].iter().all(|x| *x == 0.0));
    bench.commit(&skip, "a", &output);
    let features = Features::States { extracts: vec![skip.spec.key()], layer: Layer::Final };
    let fit = bench.fit(features, vec![ReadOut::LAST], two_probes()[..1].to_vec(), vec![0]);
    let records: Vec<FitRecord> = serde_json::from_slice(artifact(&bench.execute(&fit).unwrap(), FITS)).unwrap();
    assert_eq!((records[0].train + records[0].validation + records[0].test, records[0].test), (58, 9));
    let scored = bench.prompt(0..60, raw(), &[" joy", " fear"], TooLong::Error);
    let output = bench.execute(&scored).unwrap();
    assert_eq!(output.counts["skipped_rows"], 2);
    assert_eq!(tensor_i64(artifact(&output, SCORES), "prompt_tokens").iter().filter(|tokens| **tokens == 0).count(), 2);

    // Every state of this model is infinite: all rows are left out, at both seams.
    let folder = oversized("llama-plain");
    let mut bench = Bench::over(folder.path(), 12);
    bench.bad_rows = BadRows::Skip;
    let unit = bench.extract(0..12, raw(), vec![ReadOut::LAST], None, TooLong::Error);
    let output = bench.execute(&unit).unwrap();
    assert_eq!((output.counts["skipped_rows"], output.counts["prompt_tokens"], output.tokens), (12, 0, 0));
    assert!(tensor_i64(artifact(&output, STATES), "prompt_tokens").iter().all(|tokens| *tokens == 0));
    let tokens: Vec<RowTokens> = serde_json::from_slice(artifact(&output, TOKENS)).unwrap();
    assert!(tokens.iter().all(|t| t.prompt.is_empty() && t.reply.is_empty()));
    let scored = bench.prompt(0..12, raw(), &[" joy"], TooLong::Error);
    assert_eq!(bench.execute(&scored).unwrap().counts["bad_rows"], 12);
}

#[test]
fn what_the_memory_did_not_hold_is_not_tried_again_block_after_block() {
    let mut bench = Bench::new("llama-plain", 60);
    // No two begin alike, so that none of their tokens is run once for several.
    (0..60).for_each(|row| bench.say(row, &format!("{row} words are in the attic, or so they say")));
    let mut unit = bench.extract(0..60, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    unit.hints.token_budget = 100;
    let roomy = bench.execute(&unit).unwrap();
    assert!(roomy.tokens > 4 * 100, "it is more than two blocks: {}", roomy.tokens);
    bench.cramp(60);
    let cramped = bench.execute(&unit).unwrap();
    assert_eq!(cramped.counts["memory_retries"], 1);
    assert!(artifact(&cramped, STATES) == artifact(&roomy, STATES));
}

#[test]
fn a_device_that_keeps_failing_is_not_excused_by_units_that_do_not_use_it() {
    let mut bench = Bench::new("llama-plain", 12);
    let extract = bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let majority = bench.fit(Features::Majority, Vec::new(), Vec::new(), vec![0]);
    bench.cramp(1);
    for advice in [Advice::Retry, Advice::Retry, Advice::Abort] {
        assert_eq!(bench.execute(&extract).unwrap_err().advice(), advice);
        bench.execute(&majority).unwrap();
    }
}

#[test]
fn too_little_memory_is_counted_and_changes_no_artifact() {
    let mut bench = Bench::new("llama-plain", 60);
    let continuation = generated(3, 0.7, 5, false);
    let read_outs = vec![ReadOut::LAST, ReadOut::at(3)];
    let mut extract = bench.extract(0..60, Prompt::Template("{text}".into()), read_outs, Some(continuation), TooLong::Error);
    extract.hints.token_budget = 4096;
    let prompt = bench.prompt(0..60, Prompt::Template("{text}\nAnswer:".into()), &[" joy", " fear"], TooLong::Error);
    let units = [(extract, vec![STATES, TOKENS]), (prompt, vec![SCORES])];
    let roomy: Vec<Output> = units.iter().map(|(unit, _)| bench.execute(unit).unwrap()).collect();
    for ((unit, names), roomy) in units.iter().zip(&roomy) {
        // With ever less room, until a pass doesn't find enough.
        let mut rooms = (3..=40).rev().map(|room| {
            bench.cramp(room);
            bench.execute(unit).unwrap()
        });
        let cramped = rooms.find(|output| output.counts["memory_retries"] > 0).expect("sixty rows don't fit into three tokens");
        drop(rooms);
        assert_eq!(roomy.counts["memory_retries"], 0);
        assert!(cramped.tokens >= roomy.tokens, "what rows begin with is run in each pass");
        for name in names {
            assert!(artifact(&cramped, name) == artifact(roomy, name), "{name}");
        }
    }
    // Not even one row: the unit fails, another worker may have more, and after the third time this one leaves.
    bench.cramp(3);
    let advice: Vec<Advice> = (0..3).map(|_| bench.execute(&units[0].0).unwrap_err().advice()).collect();
    assert_eq!(advice, [Advice::Retry, Advice::Retry, Advice::Abort]);
    assert!(bench.execute(&units[0].0).unwrap_err().to_string().contains("out of memory"));
}

#[test]
fn baselines_need_no_model() {
    let mut bench = Bench::new("llama-plain", 60);
    let majority = bench.fit(Features::Majority, Vec::new(), Vec::new(), vec![0]);
    let output = bench.execute(&majority).unwrap();
    let (shape, values) = tensor_f32(artifact(&output, PREDICTIONS), "majority.s0");
    assert!(shape[1] == 3 && values.chunks_exact(3).all(|p| p == &values[..3]));
    let words = Features::BagOfWords { texts: bench.texts() };
    let words = bench.fit(words, Vec::new(), vec![limbic_proto::unit::bag_of_words_probe(limbic_proto::rows::Scheme::Single)], vec![0]);
    let output = bench.execute(&words).unwrap();
    let records: Vec<FitRecord> = serde_json::from_slice(artifact(&output, FITS)).unwrap();
    assert!(records[0].name.tensor() == "bag-of-words.s0" && records[0].converged);
    let limbic_proto::spec::ProbeSpec::Logistic(path) = limbic_proto::unit::bag_of_words_probe(limbic_proto::rows::Scheme::Single) else {
        panic!("a logistic probe")
    };
    // Validation chooses among several strengths, as it does for probes.
    assert!(path.c.len() > 1 && path.c.contains(&records[0].strength.unwrap()) && records[0].validation_log_loss.is_some());
    let (terms, _) = tensor_f32(artifact(&output, WEIGHTS), "bag-of-words.s0.idf");
    assert_eq!(tensor_f32(artifact(&output, WEIGHTS), "bag-of-words.s0.0.weight").0, [3, terms[0]]);
}

#[test]
fn answers_are_scored_in_class_order() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    bench.lengthen(3);
    let unit = bench.prompt(0..12, Prompt::Template("{text}\nAnswer:".into()), &[" joy", " fear", " a much longer answer"], TooLong::Skip);
    let output = bench.execute(&unit).unwrap();
    let scores = artifact(&output, SCORES);
    let (shape, values) = tensor_f64(scores, "log_likelihood");
    assert_eq!(shape, [12, 3]);
    let skipped: Vec<bool> = tensor_i64(scores, "prompt_tokens").iter().map(|t| *t == 0).collect();
    assert!(values.chunks_exact(3).zip(&skipped).all(|(v, skipped)| v.iter().all(|x| (*x == 0.0) == *skipped && *x <= 0.0)));
    assert!(skipped[3] && tensor_i64(scores, "label_tokens")[2] > 1 && output.tokens > 0);
}

#[test]
fn a_state_that_is_not_finite_is_a_failure_that_names_layer_and_row() {
    let folder = oversized("llama-plain");
    let mut bench = Bench::over(folder.path(), 12);
    let unit = bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    let error = bench.execute(&unit).unwrap_err();
    assert!(matches!(&error, ExecuteError::NotFinite { .. }) && error.advice() == Advice::Reject, "{error}");
    assert!(error.to_string().contains("layer") && error.to_string().contains("row `r"), "{error}");
}

#[test]
fn what_contradicts_the_plan_is_rejected_with_its_reason() {
    let mut bench = Bench::new("llama-plain", 12);
    let raw = || Prompt::Template("{text}".into());
    let good = bench.extract(0..12, raw(), vec![ReadOut::LAST], None, TooLong::Error);
    let with = |change: &dyn Fn(&mut Unit)| {
        let mut unit = good.clone();
        change(&mut unit);
        unit
    };
    let changed = with(&|unit| match &mut unit.spec {
        UnitSpec::Extract(spec) => spec.model.digest = limbic_proto::key::Digest::of(b"other weights"),
        other => panic!("{other:?}"),
    });
    let shifted = with(&|unit| unit.hints.rows = (0, 11));
    let newer = with(&|unit| match &mut unit.spec {
        UnitSpec::Extract(spec) => spec.version += 1,
        other => panic!("{other:?}"),
    });
    let error = bench.execute(&changed).unwrap_err();
    assert!(error.to_string().contains("changed since the sweep was planned") && error.advice() == Advice::Reject, "{error}");
    assert!(matches!(bench.execute(&shifted).unwrap_err(), ExecuteError::Mismatch { what: "the rows", .. }));
    assert_eq!(bench.execute(&newer).unwrap_err().advice(), Advice::Retry);
    bench.lengthen(2);
    let long = bench.extract(0..12, raw(), vec![ReadOut::LAST], None, TooLong::Error);
    let error = bench.execute(&long).unwrap_err();
    assert!(error.to_string().contains("id `r2`") && error.to_string().contains("too_long") && error.advice() == Advice::Reject, "{error}");
    bench.progress.cancel();
    assert!(matches!(bench.execute(&good).unwrap_err(), ExecuteError::Cancelled));
}

#[test]
fn prompts_that_are_the_same_are_run_once_and_each_row_has_its_states() {
    let mut bench = Bench::new("llama-plain", 24);
    let read_outs = vec![ReadOut::LAST, ReadOut::at(2)];
    for (row, like) in [(7, "I miss her."), (3, "I miss her."), (20, "I miss her."), (9, "So far away"), (14, "So far away")] {
        bench.say(row, like);
    }
    for continuation in [None, Some(generated(3, 0.0, 5, false)), Some(generated(3, 0.7, 5, false))] {
        let sampled = continuation.as_ref().is_some_and(|c| c.temperature > 0.0);
        let read_outs = if continuation.is_some() { read_outs.clone() } else { vec![ReadOut::LAST] };
        let raw = Prompt::Template("{text}".into());
        let mut of = |rows: Range<usize>, budget: usize| {
            let mut unit = bench.extract(rows, raw.clone(), read_outs.clone(), continuation.clone(), TooLong::Error);
            unit.hints.token_budget = budget;
            bench.execute(&unit).unwrap()
        };
        // In one block and in several.
        let (whole, parted) = (of(0..24, 4096), of(0..24, 16));
        assert!([STATES, TOKENS].iter().all(|name| artifact(&whole, name) == artifact(&parted, name)));
        let alone: Vec<Output> = (0..24).map(|row| of(row..row + 1, 4096)).collect();
        for read_out in &read_outs {
            let name = read_out.tensor(Layer::Block(3));
            let each: Vec<f32> = alone.iter().flat_map(|output| tensor_f32(artifact(output, STATES), &name).1).collect();
            assert!(tensor_f32(artifact(&whole, STATES), &name).1 == each, "{name}");
        }
        let tokens = |row: usize| alone[row].tokens;
        let copies = if sampled { 0 } else { tokens(7) + tokens(20) + tokens(14) };
        let apart = (0..24).map(tokens).sum::<u64>() - copies;
        // Where nothing follows, what several begin with is run once, too.
        match continuation {
            Some(_) => assert_eq!(whole.tokens, apart, "sampled: {sampled}"),
            None => assert!(whole.tokens < apart, "{} tokens, {apart} apart", whole.tokens),
        }
        assert_eq!((whole.counts["rows"], whole.counts["skipped_rows"]), (24, 0));
    }
}

#[test]
fn a_prompt_that_was_cut_takes_the_header_from_no_other() {
    let mut bench = Bench::new("llama-plain", 24);
    let prompt = Prompt::Template(format!("{}{{text}}", "What a day it is today. ".repeat(6)));
    let mut unit = bench.extract(0..24, prompt.clone(), vec![ReadOut::LAST], None, TooLong::Truncate);
    unit.hints.token_budget = 128;
    let whole = bench.execute(&unit).unwrap();
    bench.lengthen(11);
    let mut unit = bench.extract(0..24, prompt, vec![ReadOut::LAST], None, TooLong::Truncate);
    unit.hints.token_budget = 128;
    let cut = bench.execute(&unit).unwrap();
    assert_eq!((cut.counts["truncated_rows"], tensor_i64(artifact(&cut, STATES), "prompt_tokens")[11]), (1, 512));
    assert!(cut.tokens < whole.tokens + 512 + 128, "{} tokens with the cut row, {} without", cut.tokens, whole.tokens);
    let (cut, whole) = (tensor_f32(artifact(&cut, STATES), "L3.k0").1, tensor_f32(artifact(&whole, STATES), "L3.k0").1);
    let width = whole.len() / 24;
    assert!((0..24).filter(|row| *row != 11).all(|row| cut[row * width..][..width] == whole[row * width..][..width]));
}

#[test]
fn a_second_attempt_goes_on_where_a_killed_worker_was() {
    let mut bench = Bench::new("llama-plain", 60);
    let continuation = generated(3, 0.7, 5, false);
    let shuffled = ReadOut { context: Context::ShuffledReply, ..ReadOut::at(3) };
    let read_outs = vec![ReadOut::LAST, ReadOut::at(3), shuffled];
    let mut unit = bench.extract(0..60, Prompt::Template("{text}".into()), read_outs, Some(continuation), TooLong::Error);
    unit.hints.token_budget = 16;
    let whole = bench.execute(&unit).unwrap();
    assert!(bench.parts(&unit).is_empty(), "a unit that takes no time keeps nothing");
    let same = |output: &Output| [STATES, TOKENS].iter().all(|name| artifact(output, name) == artifact(&whole, name));
    bench.doom(Some(4));
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.execute(&unit)));
    assert!(killed.is_err());
    let kept = bench.parts(&unit);
    assert_eq!(kept.len(), 4);

    bench.doom(None);
    let second = bench.execute(&unit).unwrap();
    let resumed = second.counts["resumed_rows"];
    assert!((8..60).contains(&resumed) && whole.counts["resumed_rows"] == 0, "{resumed} rows");
    assert!(second.tokens < whole.tokens * (64 - resumed) / 60, "{} of {} tokens for {resumed} of 60 rows", second.tokens, whole.tokens);
    assert!(same(&second), "the same bytes");

    // Blocks that are damaged are computed.
    bench.damage(&kept[0], -1);
    bench.damage(&kept[1], 3);
    let third = bench.execute(&unit).unwrap();
    assert!(third.tokens > 0 && third.tokens < second.tokens && same(&third), "the second attempt kept the rest");
    // Whoever asks for the unit again asks for new numbers.
    assert_eq!(bench.execute_again(&unit, 1).unwrap().counts["resumed_rows"], 0);
    // Blocks of other units are not taken.
    let other = bench.extract(0..59, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error);
    assert_eq!(bench.execute(&other).unwrap().counts["resumed_rows"], 0);
}
