//! The floor every probe is compared with: it knows how often each class occurs (or the mean of each scale) and nothing else.

use super::error::ProbeError;
use super::fitted::{Fitted, Linear, ProbeKind};
use super::head::Head;
use super::labels::{Labels, class_totals};
use super::logistic::constant_logit;
use super::matrix::Split;
use super::moments;
use super::report::FitReport;

/// Fits to the labels of train; of the features only the width counts.
///
/// - **One class a row**: the class shares, scikit-learn's `DummyClassifier(strategy="prior")`: the predicted class is the
///   most frequent one (the lowest among equals) and the log-loss is the entropy of the labels rather than infinite.
/// - **Several classes a row**: each class's share; of one that no or every row has, `(count + 1/2) / (n + 1)`.
/// - **Intensities and scales**: their means.
///
/// # Errors
/// Bad labels, or a class that no row has where a row has one class.
pub fn fit(train: &Split<'_>, validation: Option<&Split<'_>>, outputs: usize) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", outputs)?;
    let targets = &train.targets;
    let mut unit = Vec::new();
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
                true => constant_logit(*share as f32, targets.total(train.x.rows())),
                false => (share / (1.0 - share)).ln() as f32,
            };
            (share.iter().map(logit).collect(), Head::Sigmoid { temperature: 1.0 })
        }
        Labels::Intensity(values) | Labels::Continuous(values) => {
            let (mean, variance) = moments::spread(&wide(values), outputs, targets);
            unit = variance.iter().map(|v| if *v > 0.0 { *v } else { 1.0 }).collect();
            (mean.iter().map(|&m| m as f32).collect(), Head::Value)
        }
    };
    let layer = Linear { weight: vec![0.0; outputs * train.x.columns()], bias };
    let fitted = Fitted::linear(ProbeKind::Majority, layer, head);
    let loss = |split: &Split<'_>| {
        split.check("validation", outputs)?;
        let scores = fitted.scores(split.x.data(), split.x.rows());
        Ok(fitted.head.loss(&scores, &split.targets, outputs, &unit))
    };
    let report = FitReport::exact(validation.map(loss).transpose()?);
    Ok((fitted, report))
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
