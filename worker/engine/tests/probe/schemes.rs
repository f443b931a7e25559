//! Every further probe and scheme against what scikit-learn (for ordinal labels scipy) computed: `fixtures/probe/schemes.json`.

use limbic_engine::probe::head::Head;
use limbic_engine::probe::{
    Fitted, Geometry, Labels, LdaSettings, LogisticSettings, Matrix, Moments, ProbeError, RidgeSettings, Split, Standardizer, lda,
    logistic, mean_difference, ridge,
};
use limbic_proto::rows::Scheme;

use super::furthest;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    rows: usize,
    held: usize,
    columns: usize,
    x: Vec<f32>,
    classes: Vec<u32>,
    several: Vec<f32>,
    scales: Vec<f32>,
    levels: Vec<f32>,
    weights: Vec<f32>,
    ridge: Vec<Ridge>,
    lda: Vec<Lda>,
    one_vs_rest: Vec<OneVsRest>,
    ordinal: Vec<Ordinal>,
    explained: Vec<f32>,
    coordinates: Vec<f32>,
    silhouette: f32,
}

#[derive(serde::Deserialize)]
struct Ridge {
    alpha: f64,
    values: Vec<f32>,
    weighted: Vec<f32>,
    scores: Vec<f32>,
}

#[derive(serde::Deserialize)]
struct Lda {
    shrinkage: Option<f64>,
    probabilities: Vec<f32>,
}

#[derive(serde::Deserialize)]
struct OneVsRest {
    strength: f64,
    probabilities: Vec<f32>,
}

#[derive(serde::Deserialize)]
struct Ordinal {
    strength: f64,
    objective: f64,
    values: Vec<f32>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../fixtures/probe/schemes.json")).unwrap()
}

impl Case {
    fn train(&self) -> Matrix<'_> {
        Matrix::new(&self.x[..self.rows * self.columns], self.rows, self.columns).unwrap()
    }

    fn rest(&self) -> Matrix<'_> {
        Matrix::new(&self.x[self.rows * self.columns..], self.held, self.columns).unwrap()
    }

    fn split<'a>(&'a self, labels: impl Into<Labels<'a>>) -> Split<'a> {
        Split::new(self.train(), labels)
    }

    /// The first so many columns of values `[rows + held, 3]`, of the training rows.
    fn first(&self, values: &[f32], columns: usize) -> Vec<f32> {
        values.chunks_exact(3).take(self.rows).flat_map(|row| &row[..columns]).copied().collect()
    }
}

/// Scores, as they are before any temperature.
fn scores(fitted: Fitted, x: &Matrix<'_>) -> Vec<f32> {
    Fitted { head: Head::Value, ..fitted }.predict(x).unwrap()
}

/// A probe on features as they are.
fn whole(fitted: Fitted, standardizer: &Standardizer) -> Fitted {
    Fitted { standardizer: Some(standardizer.clone()), ..fitted }
}

#[test]
fn ridge_is_scikit_learns() {
    for case in cases() {
        for expected in &case.ridge {
            let (name, settings) = (format!("{} at {}", case.name, expected.alpha), RidgeSettings { alphas: vec![expected.alpha] });
            let split = case.split(Labels::Continuous(&case.scales[..3 * case.rows]));
            for (split, values) in [(split, &expected.values), (split.weighing(Some(&case.weights)), &expected.weighted)] {
                let (fitted, _) = ridge::fit(&split, None, 3, &settings).unwrap();
                let off = furthest(&fitted.predict(&case.rest()).unwrap(), values);
                assert!(off < 1e-4, "{name}: a value is {off} off");
            }
            let values = case.split(Labels::Continuous(&case.scales[..3 * case.rows]));
            let (standardizer, moments) = Moments::of(&values, 3).unwrap().standard(Scheme::Continuous).unwrap();
            let (fitted, _) = ridge::fit_moments(&moments, None, &settings).unwrap();
            let off = furthest(&whole(fitted, &standardizer).predict(&case.rest()).unwrap(), &expected.values);
            assert!(off < 1e-4, "{name}: a value is {off} off where it is fitted to moments");
            let (fitted, _) = ridge::fit(&case.split(&case.classes[..case.rows]), None, 3, &settings).unwrap();
            let off = furthest(&scores(fitted, &case.rest()), &expected.scores);
            assert!(off < 1e-4, "{name}: a score is {off} off");
        }
    }
}

#[test]
fn discriminant_analysis_is_scikit_learns() {
    for case in cases() {
        for expected in &case.lda {
            let settings = LdaSettings { shrinkage: expected.shrinkage };
            let (fitted, _) = lda::fit(&case.split(&case.classes[..case.rows]), None, 3, &settings).unwrap();
            let off = furthest(&fitted.predict(&case.rest()).unwrap(), &expected.probabilities);
            assert!(off < 1e-4, "{} at {:?}: a probability is {off} off", case.name, expected.shrinkage);
            let moments = Moments::of(&case.split(&case.classes[..case.rows]), 3).unwrap();
            let (standardizer, moments) = moments.standard(Scheme::Single).unwrap();
            if expected.shrinkage.is_some() {
                let (fitted, _) = lda::fit_moments(&moments, None, &settings).unwrap();
                let off = furthest(&whole(fitted, &standardizer).predict(&case.rest()).unwrap(), &expected.probabilities);
                assert!(off < 1e-4, "{} at {:?}: a probability is {off} off of moments", case.name, expected.shrinkage);
            }
        }
    }
    let wide = cases().pop().unwrap();
    let none = LdaSettings { shrinkage: Some(0.0) };
    let error = lda::fit(&wide.split(&wide.classes[..wide.rows]), None, 3, &none).unwrap_err();
    assert!(matches!(error, ProbeError::Singular { rows: 30, columns: 36, .. }), "{error}");
}

#[test]
fn one_class_against_the_rest_is_scikit_learns() {
    for case in cases() {
        let two = case.first(&case.several, 2);
        for expected in &case.one_vs_rest {
            let settings = LogisticSettings::fixed(expected.strength);
            let (fitted, report) = logistic::fit(&case.split(Labels::Multi(&two)), None, 2, &settings).unwrap();
            assert!(report.converged());
            let off = furthest(&fitted.predict(&case.rest()).unwrap(), &expected.probabilities);
            assert!(off < 1e-3, "{} at {}: a probability is {off} off", case.name, expected.strength);
        }
        // The third class is on no training row: it is as likely as half a row of n + 1.
        let all = Labels::Multi(&case.several[..3 * case.rows]);
        let (fitted, _) = logistic::fit(&case.split(all), None, 3, &LogisticSettings::default()).unwrap();
        let share = 0.5 / (case.rows as f32 + 1.0);
        assert!(fitted.predict(&case.rest()).unwrap().chunks_exact(3).all(|p| (p[2] - share).abs() < 1e-6));
    }
}

#[test]
fn intensities_have_proportional_odds() {
    let case = cases().remove(0);
    for expected in &case.ordinal {
        let settings = LogisticSettings::fixed(expected.strength);
        let labels = Labels::Intensity(&case.levels[..3 * case.rows]);
        let (fitted, report) = logistic::fit(&case.split(labels), None, 3, &settings).unwrap();
        let found = report.chosen().unwrap();
        assert!(found.converged && (found.objective / expected.objective - 1.0).abs() < 1e-6, "{found:?} for {}", expected.objective);
        let off = furthest(&fitted.predict(&case.rest()).unwrap(), &expected.values);
        assert!(off < 2e-3, "at {}: an intensity is {off} off", expected.strength);
    }
}

#[test]
fn several_sets_of_labels_are_fitted_as_each_alone() {
    use limbic_engine::probe::Trial;
    let case = cases().remove(0);
    let standard = Standardizer::fit(&case.train()).unwrap().apply(&case.train()).unwrap();
    let x = Matrix::new(&standard, case.rows, case.columns).unwrap();
    let moved: Vec<u32> = (0..case.rows).map(|i| case.classes[(i + 7) % case.rows]).collect();
    let trials = [&case.classes[..case.rows], &moved].map(|y| Trial { train: Labels::Single(y).into(), validation: None });
    let settings = LogisticSettings::default();
    let together = logistic::fit_all(&x, None, &trials, 3, &settings).unwrap();
    for (fit, trial) in together.into_iter().zip(trials) {
        let (fitted, report) = fit.unwrap();
        let (alone, other) =
            logistic::fit(&Split { x, targets: trial.train }, None, 3, &LogisticSettings { standardise: false, ..settings.clone() })
                .unwrap();
        assert!((report.path[0].objective / other.path[0].objective - 1.0).abs() < 1e-6);
        assert!(furthest(&fitted.predict(&x).unwrap(), &alone.predict(&x).unwrap()) < 1e-3);
    }
    let bad = Trial { train: Labels::Single(&[0; 80]).into(), validation: None };
    let mixed = logistic::fit_all(&x, None, &[bad, trials[0]], 3, &settings).unwrap();
    assert!(mixed[0] == Err(ProbeError::AbsentClass { class: 1, classes: 3 }) && mixed[1].is_ok(), "one's error is not the other's");
}

#[test]
fn differences_of_means_point_from_one_class_to_the_rest() {
    let case = cases().remove(0);
    let split = case.split(&case.classes[..case.rows]);
    let (fitted, _) = mean_difference::fit(&split, None, 3).unwrap();
    let standard = Standardizer::fit(&case.train()).unwrap().apply(&case.train()).unwrap();
    let mean = |of: &dyn Fn(u32) -> bool, column: usize| {
        let rows: Vec<usize> = (0..case.rows).filter(|&i| of(case.classes[i])).collect();
        rows.iter().map(|i| standard[i * case.columns + column]).sum::<f32>() / rows.len() as f32
    };
    for (class, weights) in fitted.layers[0].weight.chunks_exact(case.columns).enumerate() {
        for (column, weight) in weights.iter().enumerate() {
            let class = class as u32;
            let expected = mean(&|c| c == class, column) - mean(&|c| c != class, column);
            assert!((weight - expected).abs() < 1e-5, "class {class} column {column}: {weight} for {expected}");
        }
    }
    let error = mean_difference::fit(&case.split(Labels::Continuous(&case.scales[..3 * case.rows])), None, 3).unwrap_err();
    assert_eq!(error, ProbeError::Scheme { probe: "mean-difference", scheme: "continuous" });
}

#[test]
fn geometry_is_scikit_learns() {
    for case in cases() {
        let standardizer = Standardizer::fit(&case.train()).unwrap();
        let (train, rest) = (standardizer.apply(&case.train()).unwrap(), standardizer.apply(&case.rest()).unwrap());
        let split = |x, n, y| Split::new(Matrix::new(x, n, case.columns).unwrap(), Labels::Single(y));
        let (y, z) = case.classes.split_at(case.rows);
        let found = Geometry::of(&split(&train, case.rows, y), &split(&rest, case.held, z), 3).unwrap();
        let name = &case.name;
        assert!(furthest(&found.explained, &case.explained) < 1e-5, "{name}: {:?} for {:?}", found.explained, case.explained);
        // The sign of a component is anybody's choice.
        let coordinates: Vec<f32> = found.coordinates.iter().map(|v| v.abs()).collect();
        assert!(furthest(&coordinates, &case.coordinates) < 1e-2, "{name}: {coordinates:?} for {:?}", case.coordinates);
        assert!((found.separation[0] - case.silhouette).abs() < 1e-5, "{name}: {:?} for {}", found.separation, case.silhouette);
    }
}
