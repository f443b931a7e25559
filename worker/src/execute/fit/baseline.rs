//! The baselines that need no model: the class shares of train, and the words alone.

use std::time::Instant;

use limbic_engine::probe::{BagOfWordsSettings, Matrix, NamedTensor, ProbeError, Score, Texts, bag_of_words, majority as shares};
use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, ProbeSpec};
use limbic_proto::unit::{FitName, FitRecord};

use super::Study;
use super::parts::Parts;
use super::probe::{record, settings};
use super::results::{Fit, Results};
use crate::execute::{Advice, ExecuteError};

fn name(study: &Study<'_>, baseline: Baseline) -> FitName {
    FitName::new(baseline.name(), None, study.spec.seeds.first().copied().unwrap_or(0))
}

/// All rows by split, without features.
fn parts(study: &Study<'_>) -> Parts {
    let mut parts = Parts::default();
    for (index, row) in study.rows().iter().enumerate() {
        let part = parts.of(row.split);
        part.y.push(row.class);
        part.weights.push(row.weight as f32);
        part.rows.push(index);
    }
    parts
}

fn failed(baseline: Baseline, error: &ProbeError) -> ExecuteError {
    ExecuteError::Engine { what: format!("fitting {}", baseline.name()), message: error.to_string(), advice: Advice::Reject }
}

/// The same probabilities for every row: how often each class counts in train.
pub(super) fn majority(study: &Study<'_>) -> Result<Results, ExecuteError> {
    let began = Instant::now();
    let (parts, classes) = (parts(study), study.classes().len());
    let fitted = shares::fit(&parts.train.y, Some(&parts.train.weights), 1, classes).map_err(|e| failed(Baseline::Majority, &e))?;
    let predict = |rows: usize| -> Result<Vec<f32>, ExecuteError> {
        if rows == 0 {
            return Ok(Vec::new());
        }
        let x = vec![0f32; rows];
        Matrix::new(&x, rows, 1).and_then(|x| fitted.predict_proba(&x)).map_err(|e| failed(Baseline::Majority, &e))
    };
    let held = predict(parts.validation.len())?;
    let loss = Score::of(&held, &parts.validation.y, None, classes).log_loss;
    let record = FitRecord {
        name: name(study, Baseline::Majority),
        train: parts.train.len(),
        validation: parts.validation.len(),
        test: parts.test.len(),
        strength: None,
        validation_log_loss: Some(loss).filter(|loss| loss.is_finite()),
        iterations: 0,
        converged: true,
        absent: None,
        mdl: None,
    };
    let predictions = Fit::by_row(&parts.test, &predict(parts.test.len())?, classes);
    let mut results = Results::new(study);
    let fit = Fit { record, predictions, weights: fitted.to_tensors() };
    fit.tell(began.elapsed());
    results.add(fit);
    Ok(results)
}

/// TF-IDF of the utterances and a logistic regression on it.
pub(super) fn bag_of_words(study: &Study<'_>, texts: &Digest) -> Result<Results, ExecuteError> {
    let began = Instant::now();
    let found = Rows::texts_digest(study.rows());
    if found != *texts {
        return Err(study.mismatch("the dataset", format!("its texts have the digest {found:?}, the unit asks for {texts:?}")));
    }
    let [ProbeSpec::Logistic(spec)] = study.spec.probes.as_slice() else {
        return Err(study.mismatch("the probes", format!("bag-of-words takes one logistic probe, not {} probes", study.spec.probes.len())));
    };
    let classes = study.classes().len();
    let (train, validation, test) = (Words::of(study, Split::Train), Words::of(study, Split::Validation), Words::of(study, Split::Test));
    let settings = BagOfWordsSettings { logistic: settings(spec), ..BagOfWordsSettings::default() };
    let held = (!validation.y.is_empty()).then(|| validation.texts());
    let (fitted, report) = bag_of_words::fit(train.texts(), held, classes, &settings).map_err(|e| failed(Baseline::BagOfWords, &e))?;
    let parts = parts(study);
    let sizes = (parts.train.len(), parts.validation.len(), parts.test.len());
    let mut weights = fitted.classifier.to_tensors();
    let idf = fitted.features.idf().to_vec();
    weights.push(NamedTensor { name: "idf".to_owned(), shape: vec![idf.len()], data: idf });
    let mut results = Results::new(study);
    results.note("terms", &fitted.features.terms());
    let fit = Fit {
        record: record(name(study, Baseline::BagOfWords), &report, sizes, false),
        predictions: Fit::by_row(&parts.test, &fitted.predict_proba(&test.texts), classes),
        weights,
    };
    fit.tell(began.elapsed());
    results.add(fit);
    Ok(results)
}

/// The texts of a split; in train each as often as it counts, as it is in a balanced dataset.
struct Words<'a> {
    texts: Vec<&'a str>,
    y: Vec<u32>,
}

impl<'a> Words<'a> {
    fn of(study: &'a Study<'_>, split: Split) -> Words<'a> {
        let mut words = Words { texts: Vec::new(), y: Vec::new() };
        for row in study.rows().iter().filter(|row| row.split == split) {
            let times = if split == Split::Train { row.weight as usize } else { 1 };
            words.texts.extend(std::iter::repeat_n(row.text.as_str(), times));
            words.y.extend(std::iter::repeat_n(row.class, times));
        }
        words
    }

    fn texts(&self) -> Texts<'_, &'a str> {
        Texts { texts: &self.texts, y: &self.y }
    }
}
