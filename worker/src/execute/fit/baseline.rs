//! The baselines that need no model: the class shares of train, and the words alone.

use limbic_engine::probe::{NamedTensor, ProbeError, Regression, Texts, bag_of_words, majority as shares};
use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, ProbeSpec};
use limbic_proto::unit::{FitName, FitUnit};

use super::Study;
use super::parts::{Answers, Part, Parts};
use super::probe::{logistic_settings, ridge_settings};
use super::results::{Fit, Results, record};
use crate::execute::{Advice, ExecuteError};

fn name(spec: &FitUnit, baseline: Baseline) -> FitName {
    FitName::new(baseline.name(), None, spec.seeds.first().copied().unwrap_or(0))
}

/// All rows by split, with one feature that is 0.
fn parts(study: &Study) -> Parts {
    let mut parts = Parts { width: 1, ..Parts::default() };
    for (index, row) in study.rows().iter().enumerate() {
        let part = parts.of(row.split);
        part.x.push(0.0);
        part.rows.push(index);
    }
    parts
}

fn failed(baseline: Baseline, error: &ProbeError) -> ExecuteError {
    ExecuteError::Engine { what: format!("fitting {}", baseline.name()), message: error.to_string(), advice: Advice::Reject }
}

/// The same for every row: how often each class counts in train, or the mean of each scale.
pub(super) fn majority(spec: &FitUnit, study: &Study) -> Result<Results, ExecuteError> {
    let parts = parts(study);
    let fit = constant(spec, study, &parts).map_err(|e| failed(Baseline::Majority, &e))?;
    let mut results = Results::new(study);
    results.add(fit);
    Ok(results)
}

fn constant(spec: &FitUnit, study: &Study, parts: &Parts) -> Result<Fit, ProbeError> {
    let answers = |part: &Part| Answers::of(study, part.rows.iter().copied());
    let (outputs, known, held) = (study.classes().len(), answers(&parts.train), answers(&parts.validation));
    let train = parts.train.split(parts.width, &known)?;
    let validation = if parts.validation.is_empty() { None } else { Some(parts.validation.split(parts.width, &held)?) };
    let (fitted, report) = shares::fit(&train, validation.as_ref(), outputs)?;
    let predictions = if parts.test.is_empty() { Vec::new() } else { fitted.predict(&parts.test.matrix(parts.width)?)? };
    let sizes = (parts.train.len(), parts.validation.len(), parts.test.len());
    let record = record(name(spec, Baseline::Majority), &report, sizes, false);
    Ok(Fit::done(record, &parts.test, &predictions, outputs, Some(fitted)))
}

/// TF-IDF of the utterances and a regression on it.
pub(super) fn bag_of_words(spec: &FitUnit, study: &Study, texts: &Digest) -> Result<Results, ExecuteError> {
    let found = Rows::texts_digest(study.rows());
    if found != *texts {
        return Err(study.mismatch("the dataset", format!("its texts have the digest {found:?}, the unit asks for {texts:?}")));
    }
    let regression = match spec.probes.as_slice() {
        [ProbeSpec::Logistic(spec)] => Regression::Logistic(logistic_settings(spec)),
        [ProbeSpec::Ridge(spec)] => Regression::Ridge(ridge_settings(spec)),
        other => {
            let names: Vec<&str> = other.iter().map(ProbeSpec::name).collect();
            return Err(study.mismatch("the probes", format!("bag-of-words takes one logistic or ridge probe, not [{}]", names.join(", "))));
        }
    };
    let outputs = study.classes().len();
    let [train, validation, test] = Split::ALL.map(|split| Words::of(study, split));
    let held = (!validation.texts.is_empty()).then(|| validation.texts());
    let (fitted, report) = bag_of_words::fit(train.texts(), held, outputs, &regression).map_err(|e| failed(Baseline::BagOfWords, &e))?;
    let parts = parts(study);
    let sizes = (parts.train.len(), parts.validation.len(), parts.test.len());
    let idf = fitted.features.idf().to_vec();
    let mut results = Results::new(study);
    results.note("terms", &fitted.features.terms());
    let record = record(name(spec, Baseline::BagOfWords), &report, sizes, false);
    let predictions = fitted.predict(&test.texts);
    let fit = Fit::done(record, &parts.test, &predictions, outputs, Some(fitted.regression));
    results.add(Fit { beside: vec![NamedTensor { name: "idf".to_owned(), shape: vec![idf.len()], data: idf }], ..fit });
    Ok(results)
}

/// The texts of a split; in train each as often as it counts, as it is in a balanced dataset.
struct Words<'a> {
    texts: Vec<&'a str>,
    answers: Answers,
}

impl<'a> Words<'a> {
    fn of(study: &'a Study, split: Split) -> Words<'a> {
        let mut rows = Vec::new();
        for (index, row) in study.rows().iter().enumerate().filter(|(_, row)| row.split == split) {
            let times = if split == Split::Train { row.weight as usize } else { 1 };
            rows.extend(std::iter::repeat_n(index, times));
        }
        let texts = rows.iter().map(|row| study.rows()[*row].text.as_str()).collect();
        Words { texts, answers: Answers::of(study, rows).unweighted() }
    }

    fn texts(&self) -> Texts<'_, &'a str> {
        Texts { texts: &self.texts, targets: self.answers.targets() }
    }
}
