//! Values that scikit-learn computed (`fixtures/probe/make_probe_fixtures.py`): objectives, probabilities, TF-IDF features.

use std::collections::BTreeMap;

use limbic_engine::probe::{LogisticSettings, Matrix, Split, TfIdf, logistic};

use super::furthest;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    rows: usize,
    held: usize,
    columns: usize,
    classes: usize,
    standardise: bool,
    weights: Option<Vec<f32>>,
    x: Vec<f32>,
    y: Vec<u32>,
    fits: Vec<Fit>,
}

#[derive(serde::Deserialize)]
struct Fit {
    strength: f64,
    objective: f64,
    norm: f64,
    probabilities: Vec<f32>,
}

fn check(case: &Case, fit: &Fit, settings: &LogisticSettings) {
    let (at, d) = (case.rows * case.columns, case.columns);
    let x = Matrix::new(&case.x[..at], case.rows, d).unwrap();
    let train = Split::new(x, &case.y[..case.rows]).weighing(case.weights.as_deref());
    let held = Matrix::new(&case.x[at..], case.held, d).unwrap();
    let (probe, report) = logistic::fit(&train, None, case.classes, settings).unwrap();
    let point = report.chosen().unwrap();
    let (name, c) = (&case.name, fit.strength);
    assert!(point.converged, "{name} at {c}: {point:?}");
    let gap = (point.objective - fit.objective) / fit.objective;
    assert!(gap.abs() < 1e-5, "{name} at {c}: objective {} for {}", point.objective, fit.objective);
    assert!((point.norm / fit.norm - 1.0).abs() < 1e-3, "{name} at {c}: norm {} for {}", point.norm, fit.norm);
    let off = furthest(&probe.predict(&held).unwrap(), &fit.probabilities);
    assert!(off < 1e-3, "{name} at {c}: a probability is {off} off");
}

#[test]
fn logistic_reaches_scikit_learns_optimum() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/probe/logistic.json")).unwrap();
    for case in &cases {
        for fit in &case.fits {
            let settings = LogisticSettings { standardise: case.standardise, ..LogisticSettings::fixed(fit.strength) };
            check(case, fit, &settings);
        }
    }
}

#[derive(serde::Deserialize)]
struct Features {
    sentences: Vec<String>,
    terms: Vec<String>,
    rows: Vec<BTreeMap<String, f32>>,
}

#[test]
fn tfidf_has_scikit_learns_values() {
    let all: Features = serde_json::from_str(include_str!("../fixtures/probe/tfidf.json")).unwrap();
    let features = TfIdf::fit(&all.sentences).unwrap();
    let terms = features.terms();
    assert_eq!(terms, all.terms);
    let x = features.transform(&all.sentences);
    for (i, expected) in all.rows.iter().enumerate() {
        let found: BTreeMap<String, f32> = x.row(i).map(|(j, v)| (terms[j].to_owned(), v)).collect();
        assert!(found.keys().eq(expected.keys()), "sentence {i}: {found:?} for {expected:?}");
        for (term, value) in expected {
            assert!((found[term] - value).abs() < 1e-6, "sentence {i}, {term}: {} for {value}", found[term]);
        }
    }
}
