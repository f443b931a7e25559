//! Metrics against what scikit-learn, SciPy and NumPy say of the same predictions (`tests/fixtures/make_metrics.py`).

use std::collections::BTreeMap;

use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, Prediction, evaluate};
use serde::Deserialize;

use super::planted::{bare, test_row};

/// Predictions of one scheme, and their scores.
#[derive(Deserialize)]
struct Case {
    scheme: Scheme,
    class: Vec<u32>,
    truth: Vec<f32>,
    values: Vec<f32>,
    classes: usize,
    scores: BTreeMap<String, f64>,
}

#[test]
fn metrics_are_scikit_learns_to_a_millionth() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/metrics.json")).expect("the fixture is JSON");
    let (mut compared, mut largest) = (0, 0.0_f64);
    for case in cases {
        let values =
            |row: usize| if case.truth.is_empty() { Vec::new() } else { case.truth[row * case.classes..][..case.classes].to_vec() };
        let test = case.class.iter().enumerate().map(|(row, class)| test_row(row, *class, values(row))).collect();
        let mut study = bare(case.scheme, test, vec![Prediction::baseline("bag-of-words", None, Deferred::held(case.values.clone()))], 0);
        study.classes = (0..case.classes).map(|c| format!("c{c}")).collect();
        let results = evaluate(&study).expect("the study is sound");
        for (name, expected) in &case.scores {
            let found = results.score(0, name).unwrap_or_else(|| panic!("{:?}: no {name}", case.scheme)).value;
            assert!((found - expected).abs() < 1e-6, "{:?} {name}: {found}, expected {expected}", case.scheme);
            largest = largest.max((found - expected).abs());
            compared += 1;
        }
    }
    println!("{compared} scores, the largest difference {largest:.1e}");
    assert_eq!(compared, 76);
}
