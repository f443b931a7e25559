//! Differences of class means as directions: the simplest linear probe, with nothing fitted but the means.

use limbic_proto::rows::Scheme;

use super::error::ProbeError;
use super::fitted::{Fitted, ProbeKind};
use super::head::Head;
use super::labels::{Labels, class_totals};
use super::logistic::{constant_logit, linear};
use super::matrix::{Matrix, Split};
use super::moments::Standard;
use super::report::FitReport;
use super::standardizer::Standardizer;
use super::temperature::calibrated;

/// Fits on dense features `[n, d]`, which are standardised first.
///
/// For each class, `w` is the mean of its training rows less the mean of all others, and the score is `w (x - m)` with `m`
/// halfway between the two: the log-odds of the class if both were spherical and as wide and as frequent as one another.
/// Probabilities are those of the scores at the temperature of the least log-loss on validation (on train without it). Where
/// rows may have several classes, a class that no or every training row has is given the share `(count + 1/2) / (n + 1)`.
///
/// # Errors
/// Bad input, values instead of labels, or a class that no training row has where a row has one class.
pub fn fit(train: &Split<'_>, validation: Option<&Split<'_>>, outputs: usize) -> Result<(Fitted, FitReport), ProbeError> {
    let standardizer = Standardizer::fit(&train.x)?;
    let x = standardizer.apply(&train.x)?;
    let held = validation.map(|split| split.x.check("validation").and_then(|()| standardizer.apply(&split.x))).transpose()?;
    let d = train.x.columns();
    let held = match (&held, validation) {
        (Some(rows), Some(split)) => Some(Split { x: Matrix::new(rows, rows.len() / d, d)?, ..*split }),
        _ => None,
    };
    let (mut fitted, report) = fit_prepared(&Split { x: Matrix::new(&x, train.x.rows(), d)?, ..*train }, held.as_ref(), outputs)?;
    fitted.standardizer = Some(standardizer);
    Ok((fitted, report))
}

/// The same on features that are standardised already.
///
/// # Errors
/// As [`fit`].
pub fn fit_prepared(train: &Split<'_>, validation: Option<&Split<'_>>, outputs: usize) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", outputs)?;
    if let Some(split) = validation {
        split.check("validation", outputs)?;
    }
    match train.targets.labels {
        Labels::Single(labels) => drop(class_totals(labels, train.targets.weights, outputs)?),
        Labels::Multi(_) => {}
        Labels::Intensity(_) | Labels::Continuous(_) => {
            return Err(ProbeError::Scheme { probe: "mean-difference", scheme: train.targets.labels.scheme().as_str() });
        }
    }
    let sides = Sides::of(train, outputs);
    Ok(finished(&sides, train.x.columns(), validation.unwrap_or(train), validation.is_some(), outputs))
}

/// Fits on the moments of standardised features, with validation rows that are standardised alike; otherwise as [`fit`].
///
/// # Errors
/// As [`fit`]; and no validation rows, for the scores of train have no temperature without the rows.
pub fn fit_moments(train: &Standard, validation: Option<&Split<'_>>) -> Result<(Fitted, FitReport), ProbeError> {
    if !matches!(train.scheme, Scheme::Single | Scheme::Multi) {
        return Err(ProbeError::Scheme { probe: "mean-difference", scheme: train.scheme.as_str() });
    }
    let outputs = train.sums.len();
    train.check()?;
    let held = validation.ok_or(ProbeError::EmptySplit { split: "validation" })?;
    held.check("validation", outputs)?;
    Ok(finished(&Sides::of_moments(train), train.columns(), held, true, outputs))
}

/// The probe between each class and the others, with the temperature that is best for some rows, and its loss on them if they
/// are validation's.
fn finished(sides: &[(Side, Side)], d: usize, held: &Split<'_>, validated: bool, outputs: usize) -> (Fitted, FitReport) {
    let mut w = vec![0f64; d * outputs];
    let mut bias = vec![0f64; outputs];
    for (output, (with, without)) in sides.iter().enumerate() {
        let (Some(with), Some(without)) = (with.mean(), without.mean()) else { continue };
        for (j, (a, b)) in with.iter().zip(&without).enumerate() {
            w[j * outputs + output] = a - b;
            bias[output] -= (a - b) * (a + b) / 2.0;
        }
    }
    let mut fitted = Fitted::linear(ProbeKind::MeanDifference, linear(&w, bias.iter().map(|&b| b as f32).collect()), Head::Value);
    let scores = fitted.scores(held.x.data(), held.x.rows());
    fitted.head = calibrated(&scores, &held.targets, outputs);
    if let Head::Sigmoid { temperature } = fitted.head {
        for (bias, (with, without)) in fitted.layers[0].bias.iter_mut().zip(sides) {
            if with.total == 0.0 || without.total == 0.0 {
                *bias = temperature * constant_logit(f32::from(u8::from(without.total == 0.0)), with.total + without.total);
            }
        }
    }
    let loss = validated.then(|| {
        let scores = fitted.scores(held.x.data(), held.x.rows());
        fitted.head.loss(&scores, &held.targets, outputs, &[])
    });
    (fitted, FitReport::exact(loss))
}

/// The weighted sum of some rows.
#[derive(Clone)]
pub(crate) struct Side {
    sum: Vec<f64>,
    pub(crate) total: f64,
}

impl Side {
    pub(crate) fn mean(&self) -> Option<Vec<f64>> {
        (self.total > 0.0).then(|| self.sum.iter().map(|s| s / self.total).collect())
    }
}

/// For each class, the rows that have it and those that don't.
pub(crate) struct Sides;

impl Sides {
    pub(crate) fn of(split: &Split<'_>, outputs: usize) -> Vec<(Side, Side)> {
        let d = split.x.columns();
        let empty = Side { sum: vec![0.0; d], total: 0.0 };
        let (mut with, mut all) = (vec![empty.clone(); outputs], empty);
        let mut aims = Vec::with_capacity(outputs);
        for row in 0..split.x.rows() {
            let weight = split.targets.weight(row);
            let add = |side: &mut Side| {
                side.sum.iter_mut().zip(split.x.row(row)).for_each(|(s, &v)| *s += weight * f64::from(v));
                side.total += weight;
            };
            add(&mut all);
            aims.clear();
            split.targets.labels.aim(row, outputs, 0.0, &mut aims);
            with.iter_mut().zip(&aims).filter(|(_, aim)| **aim > 0.5).for_each(|(side, _)| add(side));
        }
        let rest = |side: Side| {
            let sum = all.sum.iter().zip(&side.sum).map(|(a, s)| a - s).collect();
            let rest = Side { sum, total: all.total - side.total };
            (side, rest)
        };
        with.into_iter().map(rest).collect()
    }

    /// Around the mean of all rows both sides lie opposite to one another.
    fn of_moments(train: &Standard) -> Vec<(Side, Side)> {
        let side = |total: f64, apart: &dyn Fn(usize) -> f64| {
            let sum = train.centre.iter().enumerate().map(|(j, c)| total * c + apart(j)).collect();
            Side { sum, total }
        };
        let outputs = train.sums.len();
        let sides = |(class, &total): (usize, &f64)| {
            let cross = |j: usize| train.cross[j * outputs + class];
            (side(total, &cross), side(train.total - total, &|j| -cross(j)))
        };
        train.sums.iter().enumerate().map(sides).collect()
    }
}
