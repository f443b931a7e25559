//! Bad input is named: which row, which column, which class, which setting.

use limbic_engine::probe::{
    Labels, LogisticSettings, Matrix, MlpSettings, ProbeError, Regression, Split, Texts, TfIdf, bag_of_words, logistic, majority, mlp,
};

use super::Data;

fn both(split: &Split<'_>, classes: usize) -> [ProbeError; 2] {
    [
        logistic::fit(split, None, classes, &LogisticSettings::default()).unwrap_err(),
        mlp::fit(split, None, classes, &MlpSettings::default()).unwrap_err(),
    ]
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = Data::drawn(1, 30, 5, 3);
        data.x[17 * 5 + 2] = bad;
        for error in both(&data.split(), 3) {
            let named = matches!(&error, ProbeError::NonFinite { split: "train", row: 17, column: 2, .. });
            assert!(named, "{error}");
        }
        let good = Data::drawn(1, 30, 5, 3);
        let error = logistic::fit(&good.split(), Some(&data.split()), 3, &LogisticSettings::default()).unwrap_err();
        assert!(matches!(error, ProbeError::NonFinite { split: "validation", .. }), "{error}");
    }
}

#[test]
fn labels_must_be_known_and_present() {
    let mut data = Data::drawn(2, 30, 5, 3);
    for error in both(&data.split(), 4) {
        assert_eq!(error, ProbeError::AbsentClass { class: 3, classes: 4 });
    }
    data.y[8] = 3;
    for error in both(&data.split(), 3) {
        assert_eq!(error, ProbeError::LabelOutOfRange { split: "train", row: 8, label: 3, classes: 3 });
    }
    assert!(matches!(
        majority::fit(&Split::new(Matrix::new(&[0.0; 2], 2, 1).unwrap(), &[0, 0][..]), None, 2),
        Err(ProbeError::AbsentClass { class: 1, .. })
    ));
    let split = Split::new(data.split().x, &data.y[..29]);
    for error in both(&split, 4) {
        assert_eq!(error, ProbeError::Shape { what: "labels", expected: 30, found: 29 });
    }
}

#[test]
fn splits_must_have_rows_and_the_same_columns() {
    let empty = Split::new(Matrix::new(&[], 0, 5).unwrap(), Labels::Single(&[]));
    for error in both(&empty, 2) {
        assert_eq!(error, ProbeError::EmptySplit { split: "train" });
    }
    assert!(Matrix::new(&[0.0; 5], 2, 3).is_err());
    let (data, other) = (Data::drawn(3, 30, 5, 3), Data::drawn(3, 30, 6, 3));
    let error = logistic::fit(&data.split(), Some(&other.split()), 3, &LogisticSettings::default()).unwrap_err();
    assert!(matches!(error, ProbeError::Shape { expected: 5, found: 6, .. }), "{error}");
    let (probe, _) = logistic::fit(&data.split(), None, 3, &LogisticSettings::default()).unwrap();
    assert!(matches!(probe.predict(&other.split().x), Err(ProbeError::Shape { .. })));
}

#[test]
fn settings_are_judged() {
    let data = Data::drawn(4, 30, 5, 3);
    for strengths in [vec![], vec![0.0], vec![f64::NAN], vec![-1.0, 1.0], vec![1.0, 2.0]] {
        let settings = LogisticSettings { strengths, ..LogisticSettings::default() };
        let error = logistic::fit(&data.split(), None, 3, &settings).unwrap_err();
        assert!(matches!(error, ProbeError::Setting { name: "strengths", .. }), "{error}");
    }
    let bad = [
        MlpSettings { hidden: 0, ..MlpSettings::default() },
        MlpSettings { batch: 0, ..MlpSettings::default() },
        MlpSettings { learning_rate: f64::NAN, ..MlpSettings::default() },
        MlpSettings { warmup: 1.5, ..MlpSettings::default() },
        MlpSettings { patience: Some(1), ..MlpSettings::default() },
    ];
    for settings in bad {
        assert!(matches!(mlp::fit(&data.split(), None, 3, &settings), Err(ProbeError::Setting { .. })), "{settings:?}");
    }
    let texts = ["a b c", "? !"];
    assert!(matches!(TfIdf::fit(&texts), Err(ProbeError::NoWords)));
    let regression = Regression::Logistic(LogisticSettings::default());
    let train = Texts { texts: &["good day", "bad day"][..], targets: Labels::Single(&[0, 0]).into() };
    assert!(bag_of_words::fit(train, None, 2, &regression).is_err());
}
