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
    assert_snapshot!(said(&[("rewrite:", "rewrites:")]), @r#"
    exit 2
    error: corpus.yaml, line 4, column 1: unknown field `rewrites`; did you mean `rewrite`? the fields here are name, store, dataset, model, classes, classify, filters, rewrite, synthesize, keep, seed, execution
      4 | rewrites: {per_class: 2}
    "#);
    assert_snapshot!(said(&[("per_class", "perclass")]), @r#"
    exit 2
    error: corpus.yaml, line 4, column 11: unknown field `perclass`; did you mean `per_class`? the fields here are from, to, per_class, question, tokens
      4 | rewrite: {perclass: 2}
    "#);
    assert_snapshot!(said(&[("classes: [joy, neutral]\n", "")]), @r#"
    exit 2
    error: corpus.yaml, line 3, column 1: the field `classes` is missing
      3 | rewrite: {per_class: 2}
    "#);
    assert_snapshot!(said(&[("joy, neutral", "joy")]), @r#"
    exit 2
    error: corpus.yaml: classes: is [joy]: there must be at least 2, or there is nothing to tell apart
    "#);
}

#[test]
fn classes_that_are_none() {
    assert_snapshot!(said(&[("[joy, neutral]", "[joy, anger]")]), @r#"
    exit 2
    error: corpus.yaml: rewrite.from: `neutral` is none of the classes (joy, anger)
    "#);
    assert_snapshot!(said(&[("{per_class: 2}", "{to: [fear]}")]), @r#"
    exit 2
    error: corpus.yaml: rewrite.to: `fear` is none of the classes (joy, neutral)
    "#);
    assert_snapshot!(said(&[("{per_class: 2}", "{to: [neutral]}")]), @r#"
    exit 2
    error: corpus.yaml: rewrite.to: names `neutral`, which is what comments are rewritten from
    "#);
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: comments.csv, label: text, label_map: {a: fear}}")]), @r#"
    exit 2
    error: corpus.yaml: dataset.label_map: maps `a` to `fear`, which is none of the classes (joy, neutral)
    "#);
}

#[test]
fn questions_without_their_marks() {
    assert_snapshot!(said(&[("{per_class: 2}", "{question: 'Rewrite {text}'}")]), @r#"
    exit 2
    error: corpus.yaml: rewrite.question: must contain `{label}`
    "#);
    assert_snapshot!(said(&[("rewrite: {per_class: 2}", "synthesize: {question: 'Be {label}'}")]), @r#"
    exit 2
    error: corpus.yaml: synthesize.question: must contain `{examples}`
    "#);
    assert_snapshot!(said(&[("rewrite:", "classify: {question: Which?}\nrewrite:")]), @r#"
    exit 2
    error: corpus.yaml: classify.question: must contain `{text}` exactly once: it is where the comment goes
    "#);
}

#[test]
fn filters_that_let_nothing_through() {
    assert_snapshot!(said(&[("rewrite:", "filters: {words: {min: 9, max: 3}}\nrewrite:")]), @r#"
    exit 2
    error: corpus.yaml: filters.words: min 9 is above max 3: nothing would stay
    "#);
    assert_snapshot!(said(&[("rewrite:", "filters: {languages: [english]}\nrewrite:")]), @r#"
    exit 2
    error: corpus.yaml: filters.languages: `english` is no language that can be told; write ISO 639-3 codes: afr, aka, amh, ara, aze, bel, ben, bul, cat, ces, cmn, cym, dan, deu, ell, eng, epo, est, fin, fra, guj, heb, hin, hrv, hun, hye, ind, ita, jav, jpn, kan, kat, khm, kor, lat, lav, lit, mal, mar, mkd, mya, nep, nld, nob, ori, pan, pes, pol, por, ron, rus, sin, slk, slv, sna, spa, srp, swe, tam, tel, tgl, tha, tuk, tur, ukr, urd, uzb, vie, yid, zul
    "#);
    assert_snapshot!(said(&[("rewrite:", "filters: {words: {min: 90}}\nrewrite:")]), @r#"
    exit 2
    error: filters: none of the 2 comments passes (2 too few words): loosen them
    "#);
}

#[test]
fn comments_that_can_t_be_read() {
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: comments.csv, text: body}")]), @r#"
    exit 2
    error: comments.csv: has no column `body` (`dataset.text`); it has `id`, `text`
    "#);
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: {train: comments.csv, test: comments.csv}}")]), @r#"
    exit 2
    error: corpus.yaml: dataset.source: names files of splits, which a corpus has none of: list the files
    "#);
    assert_snapshot!(said(&[("b,the", "a,the"), ("{source: comments.csv}", "{source: comments.csv, id: id}")]), @r#"
    exit 2
    error: comments.csv, line 3: the id `a` is already that of line 2; ids must be unique
    "#);
    assert_snapshot!(said(&[("{source: comments.csv}", "{source: nothing.csv}")]), @r#"
    exit 2
    error: dataset.source: `nothing.csv` can't be read: No such file or directory (os error 2) (relative paths start at the spec's folder)
    "#);
}

#[test]
fn a_model_of_random_weights() {
    assert_snapshot!(said(&[("{source: MODEL}", "{source: MODEL, random_weights: 0}")]), @r#"
    exit 2
    error: corpus.yaml: model.random_weights: a model of random weights can neither label nor write: leave it out
    "#);
}
