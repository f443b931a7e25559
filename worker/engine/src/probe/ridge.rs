//! Ridge regression, exactly: scikit-learn's optimum from second moments, with one factorisation for each penalty that
//! serves every set of labels.

mod sparse;

use limbic_proto::rows::Scheme;

use super::cholesky::Cholesky;
use super::error::ProbeError;
use super::fitted::{Fitted, ProbeKind};
use super::head::Head;
use super::labels::{Labels, Targets, Trial};
use super::logistic::{candidates, linear};
use super::matrix::{Matrix, Split};
use super::moments::{self, Standard};
use super::report::{FitReport, PathPoint, best};
use super::standardizer::Standardizer;
use super::temperature::calibrated;

pub use sparse::fit_sparse;

/// Settings of the ridge probe.
#[derive(Debug, Clone, PartialEq)]
pub struct RidgeSettings {
    /// Candidate penalties `alpha` (scikit-learn's); with more than one, validation rows choose.
    pub alphas: Vec<f64>,
}

impl Default for RidgeSettings {
    fn default() -> Self {
        Self { alphas: vec![1.0] }
    }
}

/// Fits on dense features `[n, d]`, which are standardised first, and returns the probe with the report of its path.
///
/// Minimises `sum_i w_i |y_i - x_i W - b|^2 + alpha |W|^2` with a free intercept: scikit-learn's
/// [`Ridge(alpha)`](https://scikit-learn.org/stable/modules/linear_model.html#ridge-regression). Of labels, `y` is -1 or 1
/// for each class, as `RidgeClassifier` has it, and the probabilities are those of the scores at the temperature of the least
/// log-loss on validation (on train without it). The penalty with the lowest squared error on validation is kept (of values
/// in units of train's variance, so that each scale counts the same), of equals the strongest.
///
/// # Errors
/// Bad input, or a class that no training row has where a row has one class.
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    outputs: usize,
    settings: &RidgeSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    let standardizer = Standardizer::fit(&train.x)?;
    let x = standardizer.apply(&train.x)?;
    let held = validation.map(|split| split.x.check("validation").and_then(|()| standardizer.apply(&split.x))).transpose()?;
    let d = train.x.columns();
    let held = held.as_deref().map(|rows| Matrix::new(rows, rows.len() / d, d)).transpose()?;
    let trial = Trial { train: train.targets, validation: validation.map(|split| split.targets) };
    let mut fits = fit_all(&Matrix::new(&x, train.x.rows(), d)?, held.as_ref(), &[trial], outputs, settings)?;
    let (mut fitted, report) = fits.pop().expect("one fit for one trial")?;
    fitted.standardizer = Some(standardizer);
    Ok((fitted, report))
}

/// One fit for each trial on the same features, which are used as they are; otherwise as [`fit`].
///
/// # Errors
/// Bad features or settings. A trial whose labels are bad has an error of its own.
#[expect(clippy::type_complexity, reason = "a result for each trial")]
pub fn fit_all(
    train: &Matrix<'_>,
    validation: Option<&Matrix<'_>>,
    trials: &[Trial<'_>],
    outputs: usize,
    settings: &RidgeSettings,
) -> Result<Vec<Result<(Fitted, FitReport), ProbeError>>, ProbeError> {
    let mut alphas = candidates("alphas", &settings.alphas, validation.is_some())?;
    // From the strongest penalty to the weakest, as strengths are.
    alphas.reverse();
    train.check("train")?;
    let aims: Vec<Result<Aim, ProbeError>> = trials.iter().map(|trial| Aim::of(trial, train.rows(), outputs)).collect();
    let mut out: Vec<Option<Result<(Fitted, FitReport), ProbeError>>> = trials.iter().map(|_| None).collect();
    for first in 0..trials.len() {
        if let Err(error) = &aims[first] {
            out[first] = Some(Err(error.clone()));
        }
        if out[first].is_some() {
            continue;
        }
        // Trials whose rows weigh the same share their factors.
        let weights = trials[first].train.weights;
        let together: Vec<usize> =
            (first..trials.len()).filter(|&at| out[at].is_none() && aims[at].is_ok() && trials[at].train.weights == weights).collect();
        let members: Vec<(&Trial<'_>, &Aim)> =
            together.iter().map(|&at| (&trials[at], aims[at].as_ref().expect("bad ones are left out"))).collect();
        for (at, fit) in together.iter().zip(solve(train, validation, &members, outputs, &alphas)) {
            out[*at] = Some(Ok(fit));
        }
    }
    Ok(out.into_iter().map(|fit| fit.expect("every trial is in one group")).collect())
}

/// What a trial's scores aim at.
pub(super) struct Aim {
    /// Whether scores become probabilities of classes.
    labelled: bool,
    /// `[n, outputs]`; none where only moments of the rows are known.
    pub(super) values: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// What squared errors are measured in: the variance of values, 1 of class indicators.
    pub(super) unit: Vec<f64>,
}

impl Aim {
    pub(super) fn of(trial: &Trial<'_>, rows: usize, outputs: usize) -> Result<Aim, ProbeError> {
        let targets = &trial.train;
        targets.check("train", rows, outputs)?;
        if targets.total(rows) <= 0.0 {
            return Err(ProbeError::EmptySplit { split: "train" });
        }
        if let Labels::Single(labels) = targets.labels {
            super::labels::class_totals(labels, targets.weights, outputs)?;
        }
        let values = aims(targets, rows, outputs);
        let (mean, variance) = moments::spread(&values, outputs, targets);
        let labelled = matches!(targets.labels, Labels::Single(_) | Labels::Multi(_));
        Ok(Aim { labelled, values, mean, unit: unit(labelled, &variance) })
    }

    fn of_moments(train: &Standard) -> Aim {
        let labelled = matches!(train.scheme, Scheme::Single | Scheme::Multi);
        let (mean, variance) = train.spread();
        // -1 and 1 where moments have 0 and 1.
        let mean = if labelled { mean.iter().map(|m| 2.0 * m - 1.0).collect() } else { mean };
        Aim { labelled, values: Vec::new(), mean, unit: unit(labelled, &variance) }
    }

    /// Mean squared error of scores `[n, outputs]`, averaged over outputs.
    fn error(&self, scores: &[f32], targets: &Targets<'_>, outputs: usize) -> f64 {
        let rows = scores.len() / outputs;
        let aims = aims(targets, rows, outputs);
        let row = |(i, (scores, aims)): (usize, (&[f32], &[f64]))| {
            let each = scores.iter().zip(aims).zip(&self.unit).map(|((s, a), unit)| (f64::from(*s) - a).powi(2) / unit);
            targets.weight(i) * each.sum::<f64>()
        };
        let sum: f64 = scores.chunks_exact(outputs).zip(aims.chunks_exact(outputs)).enumerate().map(row).sum();
        sum / (targets.total(rows) * outputs as f64)
    }
}

/// What squared errors of each output are measured in.
fn unit(labelled: bool, variance: &[f64]) -> Vec<f64> {
    variance.iter().map(|v| if labelled || *v <= 0.0 { 1.0 } else { *v }).collect()
}

fn aims(targets: &Targets<'_>, rows: usize, outputs: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(rows * outputs);
    (0..rows).for_each(|row| targets.labels.aim(row, outputs, -1.0, &mut values));
    values.into_iter().map(f64::from).collect()
}

/// What a fit's scores aim at, and what they are validated against.
type Member<'a> = (&'a Aim, Option<Targets<'a>>);

/// The penalties that were tried, and the best fit so far.
type Tried = (Vec<PathPoint>, Option<Fitted>);

/// The normal equations of fits on the same features, whose rows weigh the same.
struct Normal {
    /// The means of the features, `[d]`.
    centre: Vec<f64>,
    order: usize,
    /// The lower triangle, column-major `[order, order]`.
    matrix: Vec<f64>,
    /// All fits' aims side by side, `[order, lanes]`.
    side: Vec<f64>,
    lanes: usize,
}

impl Normal {
    /// The path of every fit; `weights` makes weights `[d, lanes]` of a solution.
    fn paths(
        &self,
        alphas: &[f64],
        members: &[Member<'_>],
        validation: Option<&Matrix<'_>>,
        weights: impl Fn(Vec<f64>) -> Vec<f64>,
    ) -> Vec<Tried> {
        let (order, lanes, outputs) = (self.order, self.lanes, self.lanes / members.len());
        let mut paths: Vec<Tried> = members.iter().map(|_| (Vec::new(), None)).collect();
        for &alpha in alphas {
            let mut matrix = self.matrix.clone();
            (0..order).for_each(|i| matrix[i * order + i] += alpha);
            let mut solution = self.side.clone();
            Cholesky::new(&matrix, order, 0.0).solve(&mut solution, lanes);
            let w = weights(solution);
            for (at, ((aim, held), (path, kept))) in members.iter().zip(&mut paths).enumerate() {
                let own: Vec<f64> = w.chunks_exact(lanes).flat_map(|row| &row[at * outputs..][..outputs]).copied().collect();
                let fitted = build(&own, &self.centre, &aim.mean);
                let validation = validation.zip(held.as_ref());
                let error = validation.map(|(rows, targets)| aim.error(&fitted.scores(rows.data(), rows.rows()), targets, outputs));
                path.push(PathPoint { norm: norm(&own), ..PathPoint::exact(alpha, error) });
                if best(path) + 1 == path.len() {
                    *kept = Some(fitted);
                }
            }
        }
        paths
    }
}

/// The fits of trials whose rows weigh the same.
fn solve(
    train: &Matrix<'_>,
    validation: Option<&Matrix<'_>>,
    members: &[(&Trial<'_>, &Aim)],
    outputs: usize,
    alphas: &[f64],
) -> Vec<(Fitted, FitReport)> {
    let (n, d, lanes) = (train.rows(), train.columns(), outputs * members.len());
    let weight = |row: usize| members[0].0.train.weight(row);
    let centre = moments::means(train, weight);
    // All aims side by side, centred.
    let mut y = vec![0f64; n * lanes];
    for (at, (_, aim)) in members.iter().enumerate() {
        for (row, values) in y.chunks_exact_mut(lanes).zip(aim.values.chunks_exact(outputs)) {
            row[at * outputs..][..outputs].iter_mut().zip(values).zip(&aim.mean).for_each(|((y, v), m)| *y = v - m);
        }
    }
    let aims: Vec<Member<'_>> = members.iter().map(|(trial, aim)| (*aim, trial.validation)).collect();
    let paths = if d > n {
        let roots: Vec<f64> = (0..n).map(|row| weight(row).sqrt()).collect();
        y.chunks_exact_mut(lanes).zip(&roots).for_each(|(row, root)| row.iter_mut().for_each(|v| *v *= root));
        let matrix = moments::gram(train, |_| &centre, weight);
        let normal = Normal { centre, order: n, matrix, side: y, lanes };
        normal.paths(alphas, &aims, validation, |solution| moments::back(train, &normal.centre, &solution, lanes, weight))
    } else {
        let side = moments::cross(train, &centre, &y, lanes, weight);
        let matrix = moments::second(train, |_| &centre, weight);
        Normal { centre, order: d, matrix, side, lanes }.paths(alphas, &aims, validation, |solution| solution)
    };
    let finish = |((trial, aim), (path, kept)): (&(&Trial<'_>, &Aim), Tried)| {
        let fitted = kept.expect("the best of several penalties was kept");
        let of = |rows: &Matrix<'_>| fitted.scores(rows.data(), rows.rows());
        let held = validation.zip(trial.validation).map(|(rows, targets)| (of(rows), targets));
        finished(&fitted, path, aim, || (of(train), trial.train), held, outputs)
    };
    members.iter().zip(paths).map(finish).collect()
}

/// Fits on the moments of standardised features, with validation rows that are standardised alike; otherwise as [`fit`].
///
/// # Errors
/// As [`fit`]; and labels without validation rows, for the scores of train have no temperature without the rows.
pub fn fit_moments(train: &Standard, validation: Option<&Split<'_>>, settings: &RidgeSettings) -> Result<(Fitted, FitReport), ProbeError> {
    let outputs = train.sums.len();
    let mut alphas = candidates("alphas", &settings.alphas, validation.is_some())?;
    alphas.reverse();
    train.check()?;
    let aim = Aim::of_moments(train);
    if let Some(split) = validation {
        split.check("validation", outputs)?;
    } else if aim.labelled {
        return Err(ProbeError::EmptySplit { split: "validation" });
    }
    let factor = if aim.labelled { 2.0 } else { 1.0 };
    let side = train.cross.iter().map(|v| factor * v).collect();
    let normal = Normal { centre: train.centre.clone(), order: train.columns(), matrix: train.second.clone(), side, lanes: outputs };
    let rows = validation.map(|split| split.x);
    let member = (&aim, validation.map(|split| split.targets));
    let (path, kept) = normal.paths(&alphas, &[member], rows.as_ref(), |solution| solution).pop().expect("one path for one fit");
    let fitted = kept.expect("the best of several penalties was kept");
    let held = validation.map(|split| (fitted.scores(split.x.data(), split.x.rows()), split.targets));
    let own = || unreachable!("labels without validation rows were refused");
    Ok(finished(&fitted, path, &aim, own, held, outputs))
}

/// A ridge probe of weights `[d, outputs]` around the means of features and targets.
pub(super) fn build(w: &[f64], centre: &[f64], mean: &[f64]) -> Fitted {
    let outputs = mean.len();
    let mut bias = mean.to_vec();
    for (row, c) in w.chunks_exact(outputs).zip(centre) {
        bias.iter_mut().zip(row).for_each(|(b, w)| *b -= w * c);
    }
    Fitted::linear(ProbeKind::Ridge, linear(w, bias.iter().map(|&b| b as f32).collect()), Head::Value)
}

pub(super) fn norm(w: &[f64]) -> f64 {
    w.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Gives the scores of labels their temperature (on what is held out, else on train's own) and reports.
pub(super) fn finished<'t>(
    fitted: &Fitted,
    path: Vec<PathPoint>,
    aim: &Aim,
    own: impl FnOnce() -> (Vec<f32>, Targets<'t>),
    held: Option<(Vec<f32>, Targets<'t>)>,
    outputs: usize,
) -> (Fitted, FitReport) {
    let mut fitted = fitted.clone();
    if aim.labelled {
        fitted.head = match &held {
            Some((scores, targets)) => calibrated(scores, targets, outputs),
            None => {
                let (scores, targets) = own();
                calibrated(&scores, &targets, outputs)
            }
        };
    }
    let validation = held.map(|(scores, targets)| fitted.head.loss(&scores, &targets, outputs, &aim.unit));
    let chosen = best(&path);
    (fitted, FitReport { strength: Some(path[chosen].strength), path, chosen, validation })
}
