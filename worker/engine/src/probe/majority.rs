//! The floor every probe is compared with: it knows how often each class occurs and nothing else.

use super::error::ProbeError;
use super::fitted::{Fitted, Linear, ProbeKind};
use super::matrix::{check_labels, check_weights, class_totals};

/// Fits the class frequencies of labels `[n]`, weighted where weights `[n]` are given, for features of `columns`.
///
/// Every row gets the same probabilities, scikit-learn's `DummyClassifier(strategy="prior")`: the predicted class is the
/// most frequent one (the lowest among equals) and the log-loss is the entropy of the labels rather than infinite.
pub fn fit(labels: &[u32], weights: Option<&[f32]>, columns: usize, classes: usize) -> Result<Fitted, ProbeError> {
    if labels.is_empty() || columns == 0 {
        return Err(ProbeError::EmptySplit { split: "train" });
    }
    check_labels("train", labels, labels.len(), classes)?;
    check_weights("train", weights, labels.len())?;
    let totals = class_totals(labels, weights, classes)?;
    let sum: f64 = totals.iter().sum();
    let bias = totals.iter().map(|t| (t / sum).ln() as f32).collect();
    let layers = vec![Linear { weight: vec![0.0; classes * columns], bias }];
    Ok(Fitted { kind: ProbeKind::Majority, columns, classes, standardizer: None, layers })
}
