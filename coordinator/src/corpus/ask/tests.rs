//! What is asked, of whom, and how it is spelled.

use std::collections::{BTreeMap, BTreeSet};

use crate::corpus::Reason;
use crate::corpus::tests::{comment, spec};

use super::*;

#[test]
fn so_many_comments_are_rewritten_toward_each_class_and_stay_in_their_group() {
    let spec = spec("rewrite: {per_class: 2, question: '{label}: {text}'}\nclassify: {answers: {joy: happiness}}");
    let mut comments: Vec<Entry> = (0..5).map(|i| comment(&format!("n{i}"), &format!("text {i} {{label}}"), Some(2))).collect();
    comments.push(comment("other", "not neutral", Some(0)));
    comments[0].refused = Some(Reason::Limit);
    let asked = rewrites(&spec, spec.rewrite.as_ref().unwrap(), &comments);
    let targets: Vec<Option<usize>> = asked.iter().map(|a| a.entry.target).collect();
    assert_eq!(targets, [Some(0), Some(0), Some(1), Some(1)]);
    for Asked { entry, question } in &asked {
        let original = comments.iter().find(|c| c.id == entry.made_of[0]).unwrap();
        let class = ["joy", "anger"][entry.target.unwrap()];
        assert_eq!((entry.group.as_str(), entry.provenance), (original.group.as_str(), Provenance::Rewritten));
        assert_eq!(entry.id, format!("{}.to-{class}", original.id));
        // A mark in the comment is its own.
        assert_eq!(*question, format!("{}: {}", ["happiness", "anger"][entry.target.unwrap()], original.text));
        assert!(original.id.starts_with('n') && original.id != "n0", "{}", original.id);
    }
    assert_eq!(asked, rewrites(&spec, spec.rewrite.as_ref().unwrap(), &comments), "the draw is the same each time");
    let other = CorpusSpec { seed: 1, ..spec.clone() };
    assert_ne!(asked, rewrites(&other, spec.rewrite.as_ref().unwrap(), &comments), "and another with another seed");
}

#[test]
fn examples_take_turns_and_no_two_questions_are_the_same() {
    let spec = spec("synthesize: {per_class: 8, examples: 2, question: '{label}? {examples}'}");
    let comments: Vec<Entry> = (0..5).map(|i| comment(&format!("j{i}"), &format!("joyful\n {i}"), Some(0))).collect();
    let asked = syntheses(&spec, spec.synthesize.as_ref().unwrap(), &comments);
    assert_eq!(asked.len(), 8, "only of the class that has comments");
    let questions: BTreeSet<&str> = asked.iter().map(|a| a.question.as_str()).collect();
    assert_eq!(questions.len(), 8);
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    asked.iter().flat_map(|a| &a.entry.made_of).for_each(|id| *shown.entry(id).or_default() += 1);
    assert_eq!(shown.values().sum::<usize>(), 16);
    assert_eq!(shown.len(), 5, "every one is shown before long: {shown:?}");
    let first: BTreeSet<&String> = asked[..2].iter().flat_map(|a| &a.entry.made_of).collect();
    assert_eq!(first.len(), 4, "nothing is shown twice in a round");
    for (number, Asked { entry, question }) in asked.iter().enumerate() {
        assert_eq!((&entry.id, &entry.group), (&format!("synthetic-joy-{number:04}"), &entry.id));
        let texts: Vec<String> = entry.made_of.iter().map(|id| format!("- joyful {}", &id[1..])).collect();
        assert_eq!(*question, format!("joy? {}", texts.join("\n")));
    }
}

#[test]
fn few_comments_are_shown_in_other_orders_as_long_as_there_are_some() {
    let spec = spec("synthesize: {per_class: 4, examples: 9, question: '{label}{examples}'}");
    let comments: Vec<Entry> = (0..6).map(|i| comment(&format!("a{i}"), &format!("angry {i}"), Some(1))).collect();
    let asked = syntheses(&spec, spec.synthesize.as_ref().unwrap(), &comments);
    let questions: BTreeSet<&str> = asked.iter().map(|a| a.question.as_str()).collect();
    assert!(asked.len() == 4 && questions.len() == 4 && asked.iter().all(|a| a.entry.made_of.len() == 6));
    let asked_of = |count: usize| syntheses(&spec, spec.synthesize.as_ref().unwrap(), &comments[..count]).len();
    assert_eq!([asked_of(0), asked_of(1), asked_of(2), asked_of(3)], [0, 1, 2, 4]);
}
