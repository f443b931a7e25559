//! Corpus specs, and the comments that they name.

use insta::assert_snapshot;

use crate::{limbic, sandbox};

/// A corpus spec over two comments.
const SPEC: &str = "\
dataset: {source: comments.csv}
model: {source: MODEL}
classes: [joy, neutral]
rewrite: {per_class: 2}
";

/// What is said of the spec and the comments with some text replaced.
fn said(replace: &[(&str, &str)]) -> String {
    let sandbox = sandbox();
    let (mut spec, mut comments) = (SPEC.to_owned(), "id,text\na,what a day\nb,the bus is late\n".to_owned());
    for (from, to) in replace {
        assert!(spec.contains(from) || comments.contains(from), "neither has `{from}`");
        (spec, comments) = (spec.replace(from, to), comments.replace(from, to));
    }
    let model = limbic_tests::Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    sandbox.write("corpus.yaml", &spec.replace("MODEL", &model.to_string_lossy()));
    sandbox.write("comments.csv", &comments);
    limbic(&sandbox, &["corpus", "build", "corpus.yaml", "--store", "store", "--out", "out"])
}

#[test]
fn fields_that_are_not_known_or_missing() {
    assert_snapshot!(said(&[("rewrite:", "rewrites:")]), @"");
    assert_snapshot!(said(&[("per_class", "perclass")]), @"");
    assert_snapshot!(said(&[("classes: [joy, neutral]\n", "")]), @"");
    assert_snapshot!(said(&[("joy, neutral", "joy")]), @"");
}

#[test]
fn classes_that_are_none() {
    assert_snapshot!(said(&[("[joy, neutral]", "[joy, anger]")]), @"");
    assert_snapshot!(said(&[("{per_class: 2}", "{to: [fear]}")]), @"");
    assert_snapshot!(said(&[("{per_class: 2}", "{to: [neutral]}")]), @"");
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: comments.csv, label: text, label_map: {a: fear}}")]), @"");
}

#[test]
fn questions_without_their_marks() {
    assert_snapshot!(said(&[("{per_class: 2}", "{question: 'Rewrite {text}'}")]), @"");
    assert_snapshot!(said(&[("rewrite: {per_class: 2}", "synthesize: {question: 'Be {label}'}")]), @"");
    assert_snapshot!(said(&[("rewrite:", "classify: {question: Which?}\nrewrite:")]), @"");
}

#[test]
fn filters_that_let_nothing_through() {
    assert_snapshot!(said(&[("rewrite:", "filters: {words: {min: 9, max: 3}}\nrewrite:")]), @"");
    assert_snapshot!(said(&[("rewrite:", "filters: {languages: [english]}\nrewrite:")]), @"");
    assert_snapshot!(said(&[("rewrite:", "filters: {words: {min: 90}}\nrewrite:")]), @"");
}

#[test]
fn comments_that_can_t_be_read() {
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: comments.csv, text: body}")]), @"");
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: {train: comments.csv, test: comments.csv}}")]), @"");
    assert_snapshot!(said(&[("b,the", "a,the")]), @"");
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: nothing.csv}")]), @"");
}

#[test]
fn a_model_of_random_weights() {
    assert_snapshot!(said(&[("{source: MODEL}", "{source: MODEL, random_weights: 0}")]), @"");
}
