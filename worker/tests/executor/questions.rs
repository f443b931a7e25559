//! What models are asked: likelihoods and their calibration, written answers, and verdicts on replies.

use limbic_engine::{Model, Placement};
use limbic_proto::axis::ReadOut;
use limbic_proto::commit::Commit;
use limbic_proto::layout;
use limbic_proto::spec::{BadRows, Chat, Prompt, TooLong};
use limbic_proto::unit::{ANSWERS, Answer, RowTokens, SCORES, TOKENS, Unit, UnitSpec, Versions};
use limbic_worker::{Advice, ExecuteError, Output};

use crate::artifact;
use crate::bench::{Bench, copied, fixture, generated, oversized, tensor_f64, tensor_i64};

pub const LABELS: [&str; 3] = [" joy", " fear", " a much longer answer"];

pub fn question() -> Prompt {
    Prompt::Template("What is this? {text}\nAnswer:".into())
}

fn scores(output: &Output) -> Vec<f64> {
    tensor_f64(artifact(output, SCORES), "log_likelihood").1
}

#[test]
fn texts_without_content_are_scored_under_the_same_question() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let plain = bench.prompt(0..12, question(), &LABELS, TooLong::Error);
    let mut unit = plain.clone();
    let UnitSpec::Prompt(spec) = &mut unit.spec else { panic!("{unit:?}") };
    spec.content_free = vec!["N/A".into(), String::new()];
    let (plain, calibrated) = (bench.execute(&plain).unwrap(), bench.execute(&unit).unwrap());
    assert_eq!(scores(&calibrated), scores(&plain));
    let (shape, free) = tensor_f64(artifact(&calibrated, SCORES), "content_free");
    assert_eq!(shape, [2, 3]);
    assert!(calibrated.tokens > plain.tokens);
    // Rows of those texts have the same numbers.
    bench.say(0, "N/A");
    bench.say(1, "");
    let rows = bench.prompt(0..2, question(), &LABELS, TooLong::Error);
    assert_eq!(scores(&bench.execute(&rows).unwrap()), free);
    // Halves have them too.
    for half in unit.split(&Versions::CURRENT) {
        let UnitSpec::Prompt(spec) = &half.spec else { panic!("{half:?}") };
        assert_eq!(spec.content_free.len(), 2);
    }
}

#[test]
fn written_answers_are_the_greedy_replies_in_words() {
    let mut bench = Bench::new("llama-plain", 40);
    bench.lengthen(3);
    let chat = || Prompt::Chat(Chat { user: "{text} Answer with JSON.".into(), ..Chat::default() });
    let mut unit = bench.answers(0..40, chat(), 7, TooLong::Skip);
    unit.hints.token_budget = 100;
    let output = bench.execute(&unit).unwrap();
    assert_eq!(output.artifacts.len(), 1);
    let answers: Vec<Answer> = serde_json::from_slice(artifact(&output, ANSWERS)).unwrap();
    let stop = generated(7, 0.0, 0, true);
    let replies = bench.extract(0..40, chat(), vec![ReadOut::at(7)], Some(stop), TooLong::Skip);
    let replies: Vec<RowTokens> = serde_json::from_slice(artifact(&bench.execute(&replies).unwrap(), TOKENS)).unwrap();
    let expected: Vec<(&str, &str)> = replies.iter().map(|row| (row.id.as_str(), row.reply_text.as_str())).collect();
    assert_eq!(answers.iter().map(|a| (a.id.as_str(), a.text.as_str())).collect::<Vec<_>>(), expected);
    assert!(answers[3].text.is_empty() && answers.iter().filter(|a| !a.text.is_empty()).count() > 6);
    assert_eq!((output.counts["rows"], output.counts["skipped_rows"]), (40, 1));
    assert_eq!(output.counts["reply_tokens"], replies.iter().map(|row| row.reply.len() as u64).sum::<u64>());

    // Cramped, killed and begun again, they are the same.
    bench.cramp(60);
    let cramped = bench.execute(&unit).unwrap();
    assert!(cramped.counts["memory_retries"] > 0 && artifact(&cramped, ANSWERS) == artifact(&output, ANSWERS));
    bench.doom(Some(1));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.execute(&unit))).is_err());
    bench.doom(None);
    let second = bench.execute(&unit).unwrap();
    assert!(second.counts["resumed_rows"] > 0 && artifact(&second, ANSWERS) == artifact(&output, ANSWERS));
    bench.progress.cancel();
    assert!(matches!(bench.execute(&unit), Err(ExecuteError::Cancelled)));
}

#[test]
fn an_empty_answer_is_told_from_a_skipped_row() {
    let chat = || Prompt::Chat(Chat { user: "{text} Answer with JSON.".into(), ..Chat::default() });
    let mut bench = Bench::new("llama-plain", 12);
    let free = bench.extract(0..12, chat(), vec![ReadOut::at(4)], Some(generated(4, 0.0, 0, true)), TooLong::Error);
    let replies: Vec<RowTokens> = serde_json::from_slice(artifact(&bench.execute(&free).unwrap(), TOKENS)).unwrap();
    // The token that the first row's answer begins with becomes one that ends an answer.
    let folder = copied("llama-plain");
    let ends = serde_json::json!({"eos_token_id": [2, replies[0].reply[0]]});
    std::fs::write(folder.path().join("generation_config.json"), ends.to_string()).unwrap();
    let mut bench = Bench::over(folder.path(), 12);
    bench.lengthen(3);
    let unit = bench.answers(0..12, chat(), 4, TooLong::Skip);
    let answers = |output: &Output| serde_json::from_slice::<Vec<serde_json::Value>>(artifact(output, ANSWERS)).unwrap();
    let found = answers(&bench.execute(&unit).unwrap());
    assert_eq!(found[0], serde_json::json!({"id": "r0", "text": ""}), "it was answered with nothing");
    assert_eq!(found[3], serde_json::json!({"id": "r3", "text": "", "skipped": true}));
    assert!(found.iter().enumerate().all(|(row, answer)| row == 3 || answer.get("skipped").is_none()), "{found:?}");
    assert!(found.iter().any(|answer| answer["text"] != ""), "others go on");

    // Rows that the model has no numbers for are skipped too.
    let folder = oversized("llama-plain");
    let mut broken = Bench::over(folder.path(), 12);
    broken.bad_rows = BadRows::Skip;
    let unit = broken.answers(0..12, chat(), 4, TooLong::Error);
    let found = answers(&broken.execute(&unit).unwrap());
    assert!(found.len() == 12 && found.iter().all(|answer| answer["text"] == "" && answer["skipped"] == true), "{found:?}");
}

/// A unit of replies, and the rows' replies made what a test needs.
pub fn replies(bench: &mut Bench, says: impl Fn(usize) -> String) -> (Unit, Output) {
    let asked = generated(4, 0.0, 0, false);
    let rows = bench.rows().len();
    let unit = bench.extract(0..rows, Prompt::Template("{text}".into()), vec![ReadOut::at(1)], Some(asked), TooLong::Error);
    let mut output = bench.execute(&unit).unwrap();
    let mut tokens: Vec<RowTokens> = serde_json::from_slice(artifact(&output, TOKENS)).unwrap();
    tokens.iter_mut().enumerate().for_each(|(at, row)| row.reply_text = says(at));
    let json = bytes::Bytes::from(serde_json::to_vec(&tokens).unwrap());
    output.artifacts.iter_mut().find(|(name, _)| *name == TOKENS).unwrap().1 = json.into();
    (unit, output)
}

#[test]
fn each_reply_is_judged_once_as_an_utterance_under_the_same_question_is_scored() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let says = |row: usize| match row {
        2 => String::new(),
        5 => " \n".into(),
        _ => format!("I am reply {}.", row % 4),
    };
    let (unit, output) = replies(&mut bench, says);
    let judge = bench.judge(&unit, question(), &LABELS, TooLong::Error);
    let early = bench.execute(&judge).unwrap_err();
    assert!(early.to_string().contains("its commit is missing") && early.advice() == Advice::Retry, "{early}");
    bench.commit(&unit, "a", &output);
    let verdicts = bench.execute(&judge).unwrap();
    let found = artifact(&verdicts, SCORES);
    let (shape, values) = tensor_f64(found, "log_likelihood");
    assert_eq!((shape, tensor_i64(found, "label_tokens").len()), (vec![12, 3], 3));
    let counts = ["rows", "empty_replies", "judged_replies", "known_replies", "skipped_rows", "bad_rows"].map(|name| verdicts.counts[name]);
    assert_eq!(counts, [12, 2, 4, 0, 0, 0]);

    // The same texts as utterances have the same numbers.
    let mut other = Bench::new("qwen3-qk-norm", 12);
    (0..12).for_each(|row| other.say(row, &says(row)));
    let rows = other.prompt(0..12, question(), &LABELS, TooLong::Error);
    let rows = other.execute(&rows).unwrap();
    let (expected, lengths) = (scores(&rows), tensor_i64(artifact(&rows, SCORES), "prompt_tokens"));
    for row in 0..12 {
        let (ours, theirs) = (&values[3 * row..3 * row + 3], &expected[3 * row..3 * row + 3]);
        let judged = tensor_i64(found, "prompt_tokens")[row];
        match [2, 5].contains(&row) {
            true => assert!(judged == 0 && ours == [0.0; 3], "row {row}"),
            false => assert!(judged == lengths[row] && ours == theirs, "row {row}"),
        }
    }
    // Of twelve utterances six are different, two of which have no words.
    let all = lengths.iter().sum::<i64>() as u64;
    assert!(verdicts.tokens < rows.tokens && rows.tokens < all, "{}, {} and {all} tokens", verdicts.tokens, rows.tokens);

    // What was judged before is known, in other units too; under another question it isn't.
    let again = bench.execute(&judge).unwrap();
    assert_eq!((again.tokens, again.counts["known_replies"], artifact(&again, SCORES)), (0, 4, found));
    let reworded = bench.judge(&unit, Prompt::Template("And this? {text}\nAnswer:".into()), &LABELS, TooLong::Error);
    assert_eq!(bench.execute(&reworded).unwrap().counts["judged_replies"], 4);
    let fewer = bench.judge(&unit, question(), &LABELS[..2], TooLong::Error);
    assert_eq!(bench.execute(&fewer).unwrap().counts["judged_replies"], 4);
}

#[test]
fn texts_without_content_stand_beside_verdicts_that_they_leave_as_they_are() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let (unit, output) = replies(&mut bench, |row| format!("I am reply {}.", row % 4));
    bench.commit(&unit, "a", &output);
    let plain = bench.judge(&unit, question(), &LABELS, TooLong::Error);
    let found = bench.execute(&plain).unwrap();
    let bytes = artifact(&found, SCORES);
    assert!(safetensors::SafeTensors::deserialize(bytes).unwrap().tensor("content_free").is_err());
    let mut calibrated = plain.clone();
    let UnitSpec::Judge(spec) = &mut calibrated.spec else { unreachable!("it judges") };
    spec.content_free = vec!["I am reply 2.".into(), String::new()];
    assert_ne!(calibrated.spec.key(), plain.spec.key());
    let both = bench.execute(&calibrated).unwrap();
    let ours = artifact(&both, SCORES);
    assert_eq!((both.counts["judged_replies"], both.counts["known_replies"]), (0, 4), "replies were judged before");
    assert_eq!(tensor_f64(ours, "log_likelihood"), tensor_f64(bytes, "log_likelihood"));
    let (shape, empty) = tensor_f64(ours, "content_free");
    assert_eq!((shape, both.tokens > 0), (vec![2, 3], true));
    let as_reply = tensor_f64(bytes, "log_likelihood").1[6..9].to_vec();
    assert!(empty[..3].iter().zip(&as_reply).all(|(a, b)| (a - b).abs() < 1e-5), "as that text is judged where it is a reply");
}

#[test]
fn replies_of_halves_are_judged_in_the_order_of_the_whole() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let says = |row: usize| format!("I am reply {row}.");
    let (unit, output) = replies(&mut bench, says);
    let judge = bench.judge(&unit, question(), &LABELS, TooLong::Error);
    let halves = unit.split(&Versions::CURRENT);
    for half in &halves {
        let mut part = bench.execute(half).unwrap();
        let mut tokens: Vec<RowTokens> = serde_json::from_slice(artifact(&part, TOKENS)).unwrap();
        tokens.iter_mut().for_each(|row| row.reply_text = says(row.id[1..].parse().unwrap()));
        part.artifacts.iter_mut().find(|(name, _)| *name == TOKENS).unwrap().1 =
            bytes::Bytes::from(serde_json::to_vec(&tokens).unwrap()).into();
        bench.commit(half, "a", &part);
    }
    bench.create_commit(&unit, &Commit::Split { nonce: "n".into(), children: halves.iter().map(|half| half.spec.key()).collect() });
    let of_halves = bench.execute(&judge).unwrap();
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    bench.commit(&unit, "a", &output);
    assert_eq!(artifact(&bench.execute(&judge).unwrap(), SCORES), artifact(&of_halves, SCORES));
}

#[test]
fn replies_that_are_corrupt_or_too_long_are_told() {
    let mut bench = Bench::new("llama-plain", 12);
    let (unit, output) = replies(&mut bench, |row| if row == 7 { "word ".repeat(2000) } else { format!("I am reply {row}.") });
    bench.commit(&unit, "a", &output);
    let stop = bench.judge(&unit, question(), &LABELS, TooLong::Error);
    let error = bench.execute(&stop).unwrap_err();
    assert!(error.to_string().contains("id `r7`") && error.to_string().contains("too_long") && error.advice() == Advice::Reject, "{error}");
    let skip = bench.judge(&unit, question(), &LABELS, TooLong::Skip);
    let skipped = bench.execute(&skip).unwrap();
    assert_eq!((skipped.counts["skipped_rows"], skipped.counts["empty_replies"]), (1, 0));
    assert_eq!(tensor_i64(artifact(&skipped, SCORES), "prompt_tokens").iter().position(|n| *n == 0), Some(7));
    let cut = bench.judge(&unit, question(), &LABELS, TooLong::Truncate);
    for known in [0, 12] {
        let cut = bench.execute(&cut).unwrap();
        assert_eq!((cut.counts["truncated_rows"], cut.counts["known_replies"]), (1, known));
    }
    let path = layout::artifact(&unit.spec.key(), "a", TOKENS);
    bench.damage(&path, -20);
    let error = bench.execute(&skip).unwrap_err();
    assert!(error.to_string().contains("corrupt") && error.advice() == Advice::Retry, "{error}");
    bench.damage(&path, -20);
    assert!(bench.execute(&skip).is_ok());
    bench.progress.cancel();
    let other = bench.judge(&unit, Prompt::Template("Else: {text}".into()), &LABELS, TooLong::Skip);
    assert!(matches!(bench.execute(&other), Err(ExecuteError::Cancelled)));
}

#[test]
fn too_little_memory_changes_no_verdict_and_rows_without_numbers_have_none() {
    let mut bench = Bench::new("llama-plain", 12);
    let (unit, output) = replies(&mut bench, |row| format!("I am reply {}.", row % 7));
    bench.commit(&unit, "a", &output);
    let mut judge = bench.judge(&unit, question(), &LABELS, TooLong::Error);
    judge.hints.token_budget = 1024;
    let roomy = bench.execute(&judge).unwrap();
    bench.cramp(40);
    // Asked for again, so that the verdicts in the store don't count.
    let cramped = bench.execute_again(&judge, 1).unwrap();
    assert!(cramped.counts["memory_retries"] > 0 && artifact(&cramped, SCORES) == artifact(&roomy, SCORES));

    let folder = oversized("llama-plain");
    let mut broken = Bench::over(folder.path(), 12);
    broken.commit(&unit, "a", &output);
    broken.bad_rows = BadRows::Skip;
    let judge = broken.judge(&unit, question(), &LABELS, TooLong::Error);
    let found = broken.execute(&judge).unwrap();
    assert_eq!((found.counts["bad_rows"], found.counts["skipped_rows"]), (12, 12));
    assert!(scores(&found).iter().all(|x| *x == 0.0));
    assert_eq!(broken.execute(&judge).unwrap().counts["judged_replies"], 7, "what failed is tried again");
}

#[test]
fn a_reply_goes_from_the_model_to_its_judge() {
    let mut bench = Bench::new("llama-plain", 12);
    let asked = generated(8, 0.0, 0, true);
    let unit = bench.extract(0..12, Prompt::Chat(Chat::default()), vec![ReadOut::LAST], Some(asked), TooLong::Error);
    let output = bench.execute(&unit).unwrap();
    bench.commit(&unit, "a", &output);
    let judge = Prompt::Chat(Chat { user: "Reply: {text} Which feeling is it?".into(), ..Chat::default() });
    let judge = bench.judge(&unit, judge, &["joy", "fear"], TooLong::Error);
    let verdicts = bench.execute(&judge).unwrap();
    let tokens: Vec<RowTokens> = serde_json::from_slice(artifact(&output, TOKENS)).unwrap();
    let model = Model::load(&fixture("llama-plain"), &Placement::cpu()).unwrap();
    let lengths = tensor_i64(artifact(&verdicts, SCORES), "prompt_tokens");
    for (row, length) in tokens.iter().zip(lengths) {
        let text = format!("Reply: {} Which feeling is it?", row.reply_text);
        let put = limbic_engine::Prompt::new(&model, &Prompt::Chat(Chat::default()), &text).unwrap();
        assert_eq!(length as usize, if row.reply_text.trim().is_empty() { 0 } else { put.ids.len() });
    }
}
