//! Labels that are given, found and written.

use std::path::Path;

use limbic_proto::spec::CorpusSpec;
use serde_json::Value;

use super::{Entry, Provenance, Reason, Verdict, judge, judge_written, lines, strange};
use crate::dataset::Comment;

/// A spec of three classes with some more fields.
pub(super) fn spec(fields: &str) -> CorpusSpec {
    let text = format!("dataset: {{source: c.jsonl}}\nmodel: {{source: m}}\nclasses: [joy, anger, neutral]\n{fields}\n");
    CorpusSpec::from_yaml(&text, Path::new("c.yaml")).unwrap()
}

/// A comment of a group of its own that was found to be of a class.
pub(super) fn comment(id: &str, text: &str, class: Option<usize>) -> Entry {
    let read = Comment { id: id.into(), text: text.into(), group: format!("g-{id}"), labels: Vec::new() };
    let verdict = class.map(|class| Verdict { class, probabilities: vec![0.2; 3] });
    Entry { verdict, ..Entry::natural(&spec(""), read) }
}

/// A text that was written toward a class.
pub(super) fn written(id: &str, provenance: Provenance, target: usize, class: usize) -> Entry {
    Entry { provenance, target: Some(target), ..comment(id, &format!("text {id}"), Some(class)) }
}

#[test]
fn a_given_label_counts_if_it_is_one_class() {
    let mut spec = spec("");
    spec.dataset.label_map.insert("annoyance".into(), "anger".into());
    let given = |labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Entry::natural(&spec, Comment { id: "a".into(), text: "t".into(), group: "a".into(), labels }).given
    };
    assert_eq!(given(&["annoyance"]), Some(1));
    assert_eq!(given(&["annoyance", "anger"]), Some(1), "both are the same class");
    assert_eq!(given(&["joy", "pride"]), Some(0), "what is no class says nothing");
    assert_eq!([given(&["joy", "anger"]), given(&["pride"]), given(&[])], [None; 3]);
}

#[test]
fn given_labels_that_are_no_class_are_told() {
    let mut spec = spec("");
    spec.dataset.label_map.insert("anoyance".into(), "anger".into());
    let given = |label: &str| Comment { id: label.into(), text: "t".into(), group: "a".into(), labels: vec![label.into()] };
    let all: Vec<Comment> = ["joy", "Joy", "annoyance", "Joy"].map(given).into();
    let notes = strange(&spec, &all);
    let first = "given labels: `Joy` (2), `annoyance` (1) are none of the classes (";
    assert!(notes[0].starts_with(first), "{notes:?}");
    assert_eq!(notes[1], "dataset.label_map: no comment has the label `anoyance`");
    assert!(strange(&self::spec(""), &all[..1]).is_empty());
}

#[test]
fn the_likeliest_class_is_the_label_if_it_is_likely_enough() {
    let spec = spec("classify: {confidence: 0.5}");
    let mut entries = [comment("a", "x", None), comment("b", "x", None), comment("c", "x", None)];
    judge(&spec, entries.iter_mut().collect(), vec![Some(vec![0.2, 0.7, 0.1]), Some(vec![0.4, 0.3, 0.3]), None]);
    assert_eq!(entries[0].verdict.as_ref().map(|v| (v.class, v.confidence())), Some((1, Some(0.7))));
    assert_eq!(entries.map(|entry| entry.refused), [None, Some(Reason::Unlabelled), Some(Reason::Unlabelled)]);
}

#[test]
fn a_written_label_counts_by_its_word_and_what_was_asked_for_must_be_found() {
    let says = |text: &str| Some(format!("{{\"emotion\": \"{text}\"}}"));
    let run = |fields: &str| {
        let spec = spec(&format!("classify: {{how: json, answers: {{joy: happiness}}}}\n{fields}"));
        let mut entries = ["a", "b", "c"].map(|id| written(id, Provenance::Rewritten, 0, 2));
        judge_written(&spec, entries.iter_mut().collect(), vec![says("Happiness"), says("anger"), Some("no idea".into())]);
        entries.map(|entry| (entry.verdict.map(|v| (v.class, v.probabilities.len())), entry.refused))
    };
    let unread = (None, Some(Reason::Unlabelled));
    assert_eq!(run(""), [(Some((0, 0)), None), (Some((1, 0)), Some(Reason::Disagrees)), unread]);
    assert_eq!(run("keep: labelled"), [(Some((0, 0)), None), (Some((1, 0)), None), unread]);
}

#[test]
fn what_stands_and_what_was_left_out_have_the_same_columns() {
    let spec = spec("");
    let mut gone = written("a.to-joy", Provenance::Rewritten, 0, 1);
    (gone.refused, gone.made_of) = (Some(Reason::Disagrees), vec!["a".into()]);
    let (kept, left_out) = lines(&spec, &[comment("a", "one\ntwo", Some(2)), gone]);
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let (kept, mut left_out) = (read(kept.trim_end()), read(left_out.trim_end()));
    assert_eq!((&kept["label"], &kept["target"], &kept["given_label"]), (&"neutral".into(), &Value::Null, &Value::Null));
    assert_eq!((&left_out["label"], &left_out["target"], &left_out["made_of"][0]), (&"anger".into(), &"joy".into(), &"a".into()));
    assert_eq!(left_out["scores"]["anger"], kept["confidence"]);
    assert_eq!(left_out.as_object_mut().unwrap().remove("left_out").unwrap(), "not what was asked for");
    let columns = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(columns(&kept), columns(&left_out));
}
