//! The words alone: TF-IDF features with a logistic or ridge regression, the control that says what needs no model.

use super::error::ProbeError;
use super::fitted::Fitted;
use super::labels::Targets;
use super::logistic::{self, LogisticSettings, SparseSplit};
use super::report::FitReport;
use super::ridge::{self, RidgeSettings};
use super::tfidf::TfIdf;

/// What is fitted to the words.
#[derive(Debug, Clone, PartialEq)]
pub enum Regression {
    /// For classes and intensities; `standardise` is ignored, rows have unit length already.
    Logistic(LogisticSettings),
    /// For anything.
    Ridge(RidgeSettings),
}

/// Texts with labels.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a, S> {
    /// One text a row.
    pub texts: &'a [S],
    /// Their labels.
    pub targets: Targets<'a>,
}

/// A fitted bag-of-words probe.
#[derive(Debug, Clone, PartialEq)]
pub struct BagOfWords {
    /// Vocabulary and inverse document frequencies.
    pub features: TfIdf,
    /// The regression; it has one column per word of the vocabulary.
    pub regression: Fitted,
}

/// Fits vocabulary, weights and (with several strengths) the strength; validation texts never reach the vocabulary.
///
/// # Errors
/// As [`logistic::fit`] and [`ridge::fit`], or there are no words.
pub fn fit<S: AsRef<str>>(
    train: Texts<'_, S>,
    validation: Option<Texts<'_, S>>,
    outputs: usize,
    regression: &Regression,
) -> Result<(BagOfWords, FitReport), ProbeError> {
    let features = TfIdf::fit(train.texts)?;
    let x = features.transform(train.texts);
    let held = validation.map(|v| (features.transform(v.texts), v.targets));
    let held = held.as_ref().map(|(x, targets)| SparseSplit { x, targets: *targets });
    let train = SparseSplit { x: &x, targets: train.targets };
    let (regression, report) = match regression {
        Regression::Logistic(settings) => logistic::fit_sparse(train, held, outputs, settings)?,
        Regression::Ridge(settings) => ridge::fit_sparse(train, held, outputs, settings)?,
    };
    Ok((BagOfWords { features, regression }, report))
}

impl BagOfWords {
    /// Predictions `[n, K]`, row-major; a text without known words gets the intercept's.
    pub fn predict<S: AsRef<str>>(&self, texts: &[S]) -> Vec<f32> {
        self.regression.sparse_predictions(&self.features.transform(texts))
    }
}
