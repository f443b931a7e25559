//! What a study holds of what workers committed: written answers, twins, and conditions in words.

use std::collections::BTreeMap;

use bytes::Bytes;
use limbic::chains::Chains;
use limbic::{collect, sweep};
use limbic_core::plan::{self, ModelFacts, Place};
use limbic_proto::commit::{self, Commit, Done, Provenance};
use limbic_proto::key::Digest;
use limbic_proto::layout;
use limbic_proto::spec::{Baseline, Dtype};
use limbic_proto::unit::ANSWERS;
use limbic_report::{Study, evaluate};
use limbic_store::{Store, create};

#[expect(dead_code, reason = "the crate that it is of uses all of it")]
#[path = "../core/src/testkit.rs"]
mod testkit;

/// The study of a sweep over some models; what they answer about each row where JSON is asked for, as `answers.json` has it.
async fn studied(fields: &str, models: Vec<ModelFacts>, answer: impl Fn(usize) -> String) -> Study {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().to_string_lossy()).unwrap();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let spec = testkit::spec(&names, fields);
    let sweep = sweep::of_rows(spec, testkit::rows(20, &["joy", "anger"]), models).unwrap();
    for (key, planned) in &sweep.plan.units {
        let Place::Prompt { baseline: Baseline::ZeroShotJson, rows, .. } = planned.place else { continue };
        let answers = format!("[{}]", (rows.0..rows.1).map(&answer).collect::<Vec<_>>().join(","));
        let artifacts = vec![store.put_artifact(key, "a", ANSWERS, Bytes::from(answers)).await.unwrap()];
        let (worker, software, device, counts) = ("w".into(), "limbic".into(), "cpu".into(), BTreeMap::new());
        let provenance = Provenance { worker, software, device, seconds: 1.0, tokens: 1, counts };
        let done = Commit::Done(Done { nonce: create::nonce(), attempt: "a".into(), artifacts, provenance });
        let body = serde_json::to_vec(&done).unwrap();
        store.create(&layout::commit(key, commit::result(0)), done.nonce(), body.into()).await.unwrap();
    }
    let chains = Chains::read(&store, &sweep).await.unwrap();
    collect::study(&store, &sweep, &chains, Vec::new()).await.unwrap()
}

fn unasked(_: usize) -> String {
    unreachable!("nobody is asked")
}

#[tokio::test]
async fn an_answer_without_words_cannot_be_read_and_a_skipped_row_has_none() {
    // Of four test rows one is answered, one with nothing, one not at all, one without a label.
    let answer = |row: usize| match row {
        4 => r#"{"id":"r4","text":"{\"emotion\": \"joy\"}"}"#.to_owned(),
        14 => r#"{"id":"r14","text":"","skipped":true}"#.to_owned(),
        19 => r#"{"id":"r19","text":"I am a model."}"#.to_owned(),
        _ => format!(r#"{{"id":"r{row}","text":""}}"#),
    };
    let fields = "baselines: [zero-shot-json]\nlayers: []\nprobes: []\nreport: {resamples: 100}";
    let study = studied(fields, vec![testkit::facts("a", 2)], answer).await;
    let [json] = &study.predictions[..] else { panic!("{} predictions", study.predictions.len()) };
    assert_eq!(json.unreadable, [1, 3], "the second and the fourth");
    let values = json.values.read().unwrap();
    assert!(values[..2] == [1.0, 0.0] && values[2..].iter().all(|v| v.is_nan()), "{values:?}");
    let results = evaluate(&study).unwrap();
    let score = |name: &str| results.score(0, name).map(|e| (e.value, e.n));
    assert_eq!((score("coverage"), score("accuracy-over-all")), (Some((1.0 / 3.0, 3)), Some((1.0 / 3.0, 3))));
}

#[tokio::test]
async fn a_twin_is_of_the_model_in_its_own_number_format() {
    let model = |name: &str, dtype, random_weights: Option<u64>| ModelFacts {
        source: "/models/a".to_owned(),
        digest: Digest::of_json(&("a", random_weights)),
        dtype,
        random_weights,
        ..testkit::facts(name, 2)
    };
    let models = vec![
        model("rounded", Dtype::Bf16, None),
        model("full", Dtype::F32, None),
        model("full-random", Dtype::F32, Some(0)),
        model("rounded-random", Dtype::Bf16, Some(0)),
    ];
    let study = studied("baselines: []", models, unasked).await;
    let twins: Vec<(&str, Option<usize>)> = study.models.iter().map(|model| (model.name.as_str(), model.twin_of)).collect();
    assert_eq!(twins, [("rounded", None), ("full", None), ("full-random", Some(1)), ("rounded-random", Some(0))]);
}

#[tokio::test]
async fn a_condition_is_described_with_its_examples_and_variables() {
    let examples = "examples: [{text: a, label: joy}, {text: b, label: anger}]";
    let fields = format!(
        "conditions: [{{name: raw}}, {{name: few, template: '{{text}} ->', {examples}}}, {{name: bare, {examples}}}, \
         {{name: one, template: 'So: {{text}}', examples: [{{text: a, label: joy}}]}}, {{name: turns, chat: {{}}, {examples}}}, \
         {{name: quick, chat: {{system: '', user: 'Hm. {{text}}', variables: {{enable_thinking: false, mood: calm}}}}}}, \
         {{name: calm, chat: {{system: Be calm.}}}}]\nbaselines: []"
    );
    let study = studied(&fields, vec![ModelFacts { chat_template: true, ..testkit::facts("a", 2) }], unasked).await;
    let said: Vec<&str> = study.conditions.iter().map(|condition| condition.description.as_str()).collect();
    assert_eq!(
        said,
        [
            "the bare text",
            "after 2 solved examples, template: {text} ->",
            "after 2 solved examples, the bare text",
            "after 1 solved example, template: So: {text}",
            "after 2 solved examples, chat, no system prompt, user: {text}",
            "chat with enable_thinking: false and mood: \"calm\", empty system prompt, user: Hm. {text}",
            "chat, system: Be calm. User: {text}",
        ]
    );
}

#[test]
fn units_that_run_a_model_are_long_where_fits_are_not_most_of_what_is_missing() {
    let planned = |fields: &str| {
        let spec = testkit::spec(&["a"], &format!("execution: {{rows_per_unit: 5}}\n{fields}"));
        sweep::of_rows(spec, testkit::rows(20, &["joy", "anger"]), vec![testkit::facts("a", 2)]).unwrap()
    };
    let asked = planned("baselines: [zero-shot]\nlayers: []\nprobes: []");
    let mut chains = Chains::default();
    let at_once = |chains: &Chains, sweep| chains.long_at_once(sweep, 2);
    assert_eq!(at_once(&chains, &asked), Some(4));
    asked.plan.units.keys().skip(1).for_each(|unit| _ = chains.links.insert(*unit, commit::result(0)));
    assert_eq!(at_once(&chains, &asked), Some(1));
    asked.plan.units.keys().for_each(|unit| _ = chains.links.insert(*unit, commit::result(0)));
    assert_eq!(at_once(&chains, &asked), None, "nothing is missing");
    let judged = planned("baselines: []\nlayers: [2]\nprobes: []\noffsets: [0, 3]\ncontinuation: {}\njudge: {}");
    assert!(judged.plan.units.len() > 4, "there are judges, and they wait for replies");
    assert_eq!(at_once(&Chains::default(), &judged), Some(4));
    let fits = planned("baselines: []\nprobes: [{kind: mlp}]\nseeds: [0, 1, 2, 3, 4, 5, 6, 7]");
    assert_eq!(at_once(&Chains::default(), &fits), None, "fits are most of it");
}
