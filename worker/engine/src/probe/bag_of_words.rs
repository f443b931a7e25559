//! The words alone: TF-IDF features with a logistic regression, the control that says what needs no model.

use super::error::ProbeError;
use super::fitted::Fitted;
use super::logistic::{LogisticSettings, SparseSplit, fit_sparse, sparse_proba};
use super::report::FitReport;
use super::tfidf::{TfIdf, TfIdfSettings};

/// Settings of the bag-of-words probe.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BagOfWordsSettings {
    /// How texts become features.
    pub features: TfIdfSettings,
    /// How the classifier on them is fitted; `standardise` is ignored, rows have unit length already.
    pub logistic: LogisticSettings,
}

/// Texts with labels.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a, S> {
    /// One text a row.
    pub texts: &'a [S],
    /// Class of each row.
    pub y: &'a [u32],
}

/// A fitted bag-of-words probe.
#[derive(Debug, Clone, PartialEq)]
pub struct BagOfWords {
    /// Vocabulary and inverse document frequencies.
    pub features: TfIdf,
    /// The classifier; it has one column per word of the vocabulary.
    pub classifier: Fitted,
}

/// Fits vocabulary, weights and (with several strengths) the strength; validation texts never reach the vocabulary.
pub fn fit<S: AsRef<str>>(
    train: Texts<'_, S>,
    validation: Option<Texts<'_, S>>,
    classes: usize,
    settings: &BagOfWordsSettings,
) -> Result<(BagOfWords, FitReport), ProbeError> {
    let features = TfIdf::fit(train.texts, &settings.features)?;
    let x = features.transform(train.texts);
    let held = validation.map(|v| (features.transform(v.texts), v.y));
    let held = held.as_ref().map(|(x, y)| SparseSplit { x, y });
    let (classifier, report) = fit_sparse(SparseSplit { x: &x, y: train.y }, held, classes, &settings.logistic)?;
    Ok((BagOfWords { features, classifier }, report))
}

impl BagOfWords {
    /// Probabilities `[n, K]`, row-major; a text without known words gets the intercept's.
    pub fn predict_proba<S: AsRef<str>>(&self, texts: &[S]) -> Vec<f32> {
        sparse_proba(&self.classifier, &self.features.transform(texts))
    }
}
