//! Values that scikit-learn computed (`fixtures/probe/make_probe_fixtures.py`): objectives, probabilities, TF-IDF features.

use std::collections::BTreeMap;

use limbic_engine::probe::{ClassWeight, LogisticSettings, Matrix, Split, TfIdf, TfIdfSettings, logistic};

use super::furthest;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    rows: usize,
    held: usize,
    columns: usize,
    classes: usize,
    standardise: bool,
    balanced: bool,
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
        let class_weight = if case.balanced { ClassWeight::Balanced } else { ClassWeight::Uniform };
        for fit in &case.fits {
            let settings = LogisticSettings { standardise: case.standardise, class_weight, ..LogisticSettings::fixed(fit.strength) };
            check(case, fit, &settings);
        }
    }
}

#[derive(serde::Deserialize)]
struct Sentences {
    sentences: Vec<String>,
    cases: Vec<Features>,
}

#[derive(serde::Deserialize)]
struct Features {
    ngrams: (usize, usize),
    least_texts: usize,
    sublinear: bool,
    terms: Vec<String>,
    rows: Vec<BTreeMap<String, f32>>,
}

#[test]
fn tfidf_has_scikit_learns_values() {
    let all: Sentences = serde_json::from_str(include_str!("../fixtures/probe/tfidf.json")).unwrap();
    for case in &all.cases {
        let settings = TfIdfSettings { ngrams: case.ngrams, least_texts: case.least_texts, sublinear: case.sublinear };
        let features = TfIdf::fit(&all.sentences, &settings).unwrap();
        let terms = features.terms();
        assert_eq!(terms, case.terms);
        let x = features.transform(&all.sentences);
        for (i, expected) in case.rows.iter().enumerate() {
            let found: BTreeMap<String, f32> = x.row(i).map(|(j, v)| (terms[j].to_owned(), v)).collect();
            assert!(found.keys().eq(expected.keys()), "sentence {i}: {found:?} for {expected:?}");
            for (term, value) in expected {
                assert!((found[term] - value).abs() < 1e-6, "sentence {i}, {term}: {} for {value}", found[term]);
            }
        }
        let owned = terms.iter().map(|t| (*t).to_owned()).collect();
        assert_eq!(TfIdf::from_parts(settings, owned, features.idf().to_vec()).unwrap(), features);
    }
}
