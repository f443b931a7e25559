//! The floor every probe is compared with: it knows how often each class occurs (or the mean of each scale) and nothing else.

use super::error::ProbeError;
use super::fitted::{Fitted, Linear, ProbeKind};
use super::head::Head;
use super::labels::{Labels, Targets, class_totals};
use super::logistic::constant_logit;
use super::moments;

/// Fits to the labels of `rows` rows, for features of `columns`.
///
/// - **One class a row**: the class shares, scikit-learn's `DummyClassifier(strategy="prior")`: the predicted class is the
///   most frequent one (the lowest among equals) and the log-loss is the entropy of the labels rather than infinite.
/// - **Several classes a row**: each class's share; of one that no or every row has, `(count + 1/2) / (n + 1)`.
/// - **Intensities and scales**: their means.
///
/// # Errors
/// Bad labels, or a class that no row has where a row has one class.
pub fn fit(targets: &Targets<'_>, rows: usize, columns: usize, outputs: usize) -> Result<Fitted, ProbeError> {
    if rows == 0 || columns == 0 {
        return Err(ProbeError::EmptySplit { split: "train" });
    }
    targets.check("train", rows, outputs)?;
    let (bias, head) = match targets.labels {
        Labels::Single(labels) => {
            let totals = class_totals(labels, targets.weights, outputs)?;
            let sum: f64 = totals.iter().sum();
            (totals.iter().map(|t| (t / sum).ln() as f32).collect(), Head::Softmax { temperature: 1.0 })
        }
        Labels::Multi(values) => {
            let (share, _) = moments::spread(&wide(values), outputs, targets);
            let constant = |share: f64| !(1e-12..=1.0 - 1e-12).contains(&share);
            let logit = |share: &f64| match constant(*share) {
                true => constant_logit(*share as f32, targets.total(rows)),
                false => (share / (1.0 - share)).ln() as f32,
            };
            (share.iter().map(logit).collect(), Head::Sigmoid { temperature: 1.0 })
        }
        Labels::Intensity(values) | Labels::Continuous(values) => {
            let (mean, _) = moments::spread(&wide(values), outputs, targets);
            (mean.iter().map(|&m| m as f32).collect(), Head::Value)
        }
    };
    let layer = Linear { weight: vec![0.0; outputs * columns], bias };
    Ok(Fitted::linear(ProbeKind::Majority, layer, head))
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
