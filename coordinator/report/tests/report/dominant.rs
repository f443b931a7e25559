//! Calls of one label only: they are told, and so is what rests on them.

use limbic_report::{Caller, Deferred, Results, Source, Study};

use super::synthetic::{Size, study};
use super::{evaluated, made, text, values};

const SIZE: Size = Size { models: 1, layers: 1, conditions: 3, offsets: 3, rows: 140, masked: false, mlp: false, whole: true };
const ROWS: usize = 140;

/// Probabilities by which so many rows are called anger and the others what they are.
fn angry(study: &Study, rows: usize) -> Vec<f32> {
    let row = |(at, row): (usize, &limbic_report::TestRow)| {
        let call = if at < rows { 0 } else { row.class as usize };
        (0..7).map(move |class| if class == call { 0.94 } else { 0.01 }).collect::<Vec<f32>>()
    };
    study.test.iter().enumerate().flat_map(row).collect()
}

/// The judge calls so many replies under each of three conditions angry, and models answer so many rows so when they are asked.
fn told(replies: [usize; 3], answers: usize) -> (Study, Results) {
    let mut study = study(SIZE);
    study.options.resamples = 100;
    let calls = replies.map(|rows| angry(&study, rows));
    study.verdicts.iter_mut().for_each(|v| v.values.clone_from(&calls[v.condition]));
    let answers = angry(&study, answers);
    let asked = study.predictions.iter_mut().filter(|p| ["zero-shot", "zero-shot-json"].contains(&&*p.probe));
    asked.for_each(|p| {
        // What could not be read stays unreadable.
        let kept = values(p).iter().zip(&answers).map(|(old, new)| if old.is_nan() { f32::NAN } else { *new }).collect();
        p.values = Deferred::held(kept);
    });
    let results = evaluated(&study);
    (study, results)
}

#[test]
fn a_judge_and_answers_of_one_label_are_told_and_so_is_what_rests_on_them() {
    let (study, results) = told([ROWS, 134, 70], 134);
    let of = |caller: Caller| results.dominant.iter().filter(|d| d.caller == caller).collect::<Vec<_>>();
    let judge = of(Caller::Replies(Source::Judge { model: 0 }));
    // Of the last six rows one is angry anyhow.
    let shares: Vec<_> = judge.iter().map(|d| (d.condition, d.class, d.n, (d.share * ROWS as f64).round() as usize)).collect();
    assert_eq!(shares, [(Some(0), 0, ROWS, ROWS), (Some(1), 0, ROWS, 134)], "not where half of them are");
    assert_eq!(of(Caller::Baseline("zero-shot")).len(), 1);
    let [json] = of(Caller::Baseline("zero-shot-json"))[..] else { panic!("{:?}", results.dominant) };
    assert!(json.n < ROWS && json.share > 0.9, "of those that can be read: {json:?}");
    assert!(of(Caller::Replies(Source::Probe)).is_empty() && of(Caller::Baseline("zero-shot-mean")).is_empty());
    let markdown = text(&made(&study, &results), "report.md");
    let findings = markdown.split("## Scale").next().expect("the findings");
    for words in [
        "; in 2 of 3 cases the judge gives one label to more than 90% of the replies.",
        "Judge Linden-0.6B gives one label to more than 90% of the replies in raw (anger, 100.0%) and chat (anger, 95.7%): there",
        "in 2 of 3 cases one of them gives one label to more than 90% of the replies, where kappa says little",
        "; in 3 of 6 cases one label takes more than 90% of the calls of a side, which can hide a change.",
        "By zero-shot, one label is more than 90% of the answers of Linden-0.6B (anger, 95.7%): they hardly tell one row from another.",
        "By zero-shot-json, one label is more than 90% of the answers",
    ] {
        assert!(findings.contains(words), "`{words}` in {findings}");
    }
    let section = markdown.split("## Malleability").nth(1).expect("a section");
    assert!(section.contains("Judge Linden-0.6B gives one label"), "where one looks for it, too");
}

#[test]
fn calls_of_many_labels_and_rows_of_one_are_not_suspected() {
    let (study, results) = told([70, 80, 90], 100);
    assert!(results.dominant.is_empty(), "{:?}", results.dominant);
    let markdown = text(&made(&study, &results), "report.md");
    assert!(!markdown.contains("gives one label to") && !markdown.contains("one label is more than"));
    let (mut study, _) = told([ROWS, ROWS, ROWS], ROWS);
    study.test.iter_mut().skip(7).for_each(|row| row.class = 0);
    let results = evaluated(&study);
    assert!(results.dominant.is_empty(), "they are right: {:?}", results.dominant);
}
