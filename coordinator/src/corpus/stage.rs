//! The sweeps of a build: each asks one model about rows of its own, and does nothing else.

use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::{BadRows, Baseline, Condition, CorpusSpec, How, LayerSelector, Spec, TEXT, TooLong, Writing, ZeroShot};
use serde_json::json;

use super::Entry;
use super::ask::Asked;

/// The sweep that labels texts.
pub fn labelling(spec: &CorpusSpec, name: &str, entries: &[&mut Entry]) -> (Spec, Rows) {
    let classify = &spec.classify;
    let mut stage = asking(spec, name);
    stage.models = vec![spec.classifier().clone()];
    let asked = ZeroShot::default();
    let (question, json_question) = match classify.how {
        How::Likelihood => (classify.question.clone(), None),
        How::Json => (None, classify.question.clone()),
    };
    stage.baselines = vec![match classify.how {
        How::Likelihood => Baseline::ZeroShot,
        How::Json => Baseline::ZeroShotJson,
    }];
    stage.zero_shot = ZeroShot {
        question: question.unwrap_or(asked.question),
        chat: classify.chat,
        answers: classify.answers.clone(),
        content_free: classify.content_free.clone(),
        json_question: json_question.unwrap_or(asked.json_question),
        json_tokens: classify.tokens,
    };
    // Labels are what is asked for, so no row has one: the first class says nothing.
    (stage, rows(spec, entries.iter().map(|entry| (entry.id.as_str(), entry.text.as_str(), 0, entry.group.as_str()))))
}

/// The sweep that writes texts, of at most so many tokens each. Its rows are whole questions.
pub fn writing(spec: &CorpusSpec, name: &str, asked: &[Asked], tokens: u32) -> (Spec, Rows) {
    let mut stage = asking(spec, name);
    stage.models = vec![spec.model.clone()];
    stage.writing = Some(Writing { question: TEXT.to_owned(), chat: true, tokens });
    let row = |asked: &'_ Asked| (asked.entry.target.expect("texts are written toward a class"), asked.question.clone());
    let targets: Vec<(usize, String)> = asked.iter().map(row).collect();
    let each = asked.iter().zip(&targets);
    (stage, rows(spec, each.map(|(a, (target, question))| (a.entry.id.as_str(), question.as_str(), *target, a.entry.group.as_str()))))
}

/// A sweep that measures nothing: no layers, no probes. A row that a model can't be asked about is skipped, not an error.
fn asking(spec: &CorpusSpec, name: &str) -> Spec {
    let mut stage: Spec = serde_json::from_value(json!({"dataset": {"source": spec.dataset.source}, "models": []}))
        .expect("a spec needs nothing but a dataset and models");
    stage.name = format!("{}.{name}", spec.name);
    stage.layers = LayerSelector::List(Vec::new());
    stage.conditions = vec![Condition::raw("raw")];
    (stage.probes, stage.baselines) = (Vec::new(), Vec::new());
    (stage.too_long, stage.bad_rows) = (TooLong::Skip, BadRows::Skip);
    stage.execution = spec.execution.clone();
    stage
}

/// Rows that are all asked about, which is what test rows are.
fn rows<'a>(spec: &CorpusSpec, each: impl Iterator<Item = (&'a str, &'a str, usize, &'a str)>) -> Rows {
    let row = |(id, text, class, group): (&str, &str, usize, &str)| Row {
        id: id.to_owned(),
        text: text.to_owned(),
        class: class as u32,
        group: group.to_owned(),
        split: Split::Test,
        weight: 1,
        values: Vec::new(),
    };
    Rows { scheme: Scheme::Single, classes: spec.classes.clone(), rows: each.map(row).collect() }
}
