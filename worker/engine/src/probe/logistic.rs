//! Logistic regression with an L2 penalty: scikit-learn's optimum, found faster, over a path of strengths, for one set of
//! labels or many on the same features.

mod members;
mod online;

use super::csr::Csr;
use super::error::ProbeError;
use super::fitted::{Fitted, Linear};
use super::labels::{Targets, Trial};
use super::matrix::{Matrix, Split};
use super::product::dot;
use super::report::{FitReport, PathPoint, best};
use super::rotation::Rotation;
use super::solver::{Outcome, Solver, Stop};
use super::space::{Dense, Space, Sparse};
use super::standardizer::Standardizer;
use members::Member;

pub(crate) use members::constant_logit;

pub use online::{OnlineCode, online_code};

/// Settings of the logistic probe.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticSettings {
    /// Candidate strengths `C` (inverse regularisation, scikit-learn's); with more than one, validation rows choose.
    pub strengths: Vec<f64>,
    /// Standardise the features on the training rows first.
    pub standardise: bool,
    /// Estimated relative distance of the objective from its minimum at which the solver stops.
    pub tolerance: f64,
    /// Iterations at most, for each strength.
    pub max_iterations: usize,
}

impl Default for LogisticSettings {
    fn default() -> Self {
        Self { strengths: vec![1.0], standardise: true, tolerance: 1e-9, max_iterations: 5000 }
    }
}

impl LogisticSettings {
    /// Default settings with one fixed strength.
    pub fn fixed(strength: f64) -> Self {
        Self { strengths: vec![strength], ..Self::default() }
    }

    /// Default settings with seven strengths, 10^-4 to 10^2 in decades, for validation to choose from.
    pub fn path() -> Self {
        Self { strengths: (-4..=2).map(|e| 10f64.powi(e)).collect(), ..Self::default() }
    }

    fn ascending(&self, validated: bool) -> Result<Vec<f64>, ProbeError> {
        candidates("strengths", &self.strengths, validated)
    }
}

/// Candidates of a setting, ascending and each once; several need validation rows to choose by.
pub(crate) fn candidates(name: &'static str, given: &[f64], validated: bool) -> Result<Vec<f64>, ProbeError> {
    let wrong = |value: String, need| ProbeError::Setting { name, value, need };
    let mut all = given.to_vec();
    if all.is_empty() || all.iter().any(|c| !c.is_finite() || *c <= 0.0) {
        return Err(wrong(format!("{all:?}"), "one or more positive numbers are needed"));
    }
    all.sort_by(f64::total_cmp);
    all.dedup();
    if all.len() > 1 && !validated {
        return Err(wrong(format!("{all:?}"), "choosing among several needs validation rows"));
    }
    Ok(all)
}

/// Fits on dense features `[n, d]` and returns the probe with the report of its path.
///
/// - **One class a row**: minimises `C * sum_i w_i * -ln p_i(y_i) + 1/2 ||W||^2` with a free intercept: scikit-learn's
///   [`LogisticRegression(C)`](https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression). For two
///   classes scikit-learn penalises the one difference vector, which is the same optimum at half the strength; that is
///   followed here, so `C` means the same for every `K`.
/// - **Several classes a row**: the same for each class against the rest, scikit-learn's
///   [`OneVsRestClassifier`](https://scikit-learn.org/stable/modules/generated/sklearn.multiclass.OneVsRestClassifier.html).
///   A class that no or every training row has is given the share `(count + 1/2) / (n + 1)`.
/// - **Intensities**: for each class, proportional odds (McCullagh 1980), `P(y <= l) = sigmoid(threshold_l - w x)`, with the
///   same penalty; levels are those that train has. Predictions are expected intensities.
///
/// Strengths are fitted from the strongest regularisation to the weakest, each starting from the one before; the lowest
/// validation log-loss (summed over classes) wins, ties the stronger one. Where that loss has risen twice in a row, and to more than
/// a tenth above its lowest, weaker ones are not tried: of one direction of the weights the loss is convex in their length, which
/// grows with the strength, so it goes on rising but for what the direction changes.
///
/// # Errors
/// Bad input, scales instead of labels, or a class that no training row has.
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    outputs: usize,
    settings: &LogisticSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", outputs)?;
    let standardizer = if settings.standardise { Standardizer::fit(&train.x)? } else { Standardizer::centring(&train.x)? };
    let x = standardizer.apply(&train.x)?;
    let held = match validation {
        Some(split) => {
            split.check("validation", outputs)?;
            Some(standardizer.apply(&split.x)?)
        }
        None => None,
    };
    let d = train.x.columns();
    let trial = Trial { train: train.targets, validation: validation.map(|split| split.targets) };
    let held = held.as_deref().map(|rows| Matrix::new(rows, rows.len() / d, d)).transpose()?;
    let mut fits = fit_all(&Matrix::new(&x, train.x.rows(), d)?, held.as_ref(), &[trial], outputs, settings)?;
    let (mut fitted, report) = fits.pop().expect("one fit for one trial")?;
    // The optimum without standardisation is that of the centred features; the intercept takes the means back.
    if settings.standardise {
        fitted.standardizer = Some(standardizer);
    } else {
        fitted.uncentre(&standardizer.mean);
    }
    Ok((fitted, report))
}

/// One fit for each trial on the same features, which must be standardised or centred already; otherwise as [`fit`].
///
/// A pass over the features serves all trials.
///
/// # Errors
/// Bad features or settings. A trial whose labels are bad has an error of its own.
#[expect(clippy::type_complexity, reason = "a result for each trial")]
pub fn fit_all(
    train: &Matrix<'_>,
    validation: Option<&Matrix<'_>>,
    trials: &[Trial<'_>],
    outputs: usize,
    settings: &LogisticSettings,
) -> Result<Vec<Result<(Fitted, FitReport), ProbeError>>, ProbeError> {
    let strengths = settings.ascending(validation.is_some())?;
    for (name, x) in [("train", Some(train)), ("validation", validation)] {
        let Some(x) = x else { continue };
        x.check(name)?;
        if x.columns() != train.columns() {
            return Err(ProbeError::Shape { what: "columns of the features", expected: train.columns(), found: x.columns() });
        }
    }
    let (n, d) = (train.rows(), train.columns());
    let rotation = (d > n).then(|| Rotation::new(train.data(), n, d));
    let rotated = rotation.as_ref().map(Rotation::rows);
    let space = match &rotated {
        Some(z) => Dense::new(z, n, n),
        None => Dense::new(train.data(), n, d),
    };
    let back = |v: &[f64], lanes: usize| match &rotation {
        Some(rotation) => rotation.back(train.data(), d, v, lanes),
        None => v.to_vec(),
    };
    let score = |fitted: &Fitted, targets: &Targets<'_>| {
        let rows = validation?;
        Some(fitted.head.loss(&fitted.scores(rows.data(), rows.rows()), targets, outputs, &[]))
    };
    Ok(path(&space, trials, outputs, settings, &strengths, back, score))
}

/// Rows `[n, d]` in sparse form with their labels.
#[derive(Debug, Clone, Copy)]
pub struct SparseSplit<'a> {
    /// Features.
    pub x: &'a Csr,
    /// Labels and weights of the rows.
    pub targets: Targets<'a>,
}

/// Fits on sparse features, which are used as they are (`standardise` is ignored); otherwise as [`fit`].
///
/// # Errors
/// As [`fit`].
pub fn fit_sparse(
    train: SparseSplit<'_>,
    validation: Option<SparseSplit<'_>>,
    outputs: usize,
    settings: &LogisticSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    let strengths = settings.ascending(validation.is_some())?;
    check_sparse(&train, validation.as_ref(), outputs)?;
    let score = |fitted: &Fitted, targets: &Targets<'_>| {
        let split = validation?;
        Some(fitted.head.loss(&fitted.sparse_scores(split.x), targets, outputs, &[]))
    };
    let trial = Trial { train: train.targets, validation: validation.map(|split| split.targets) };
    let mut fits = path(&Sparse::new(train.x), &[trial], outputs, settings, &strengths, |v, _| v.to_vec(), score);
    fits.pop().expect("one fit for one trial")
}

/// Refuses sparse rows that don't fit together.
pub(crate) fn check_sparse(train: &SparseSplit<'_>, validation: Option<&SparseSplit<'_>>, outputs: usize) -> Result<(), ProbeError> {
    for (name, split) in [("train", Some(train)), ("validation", validation)] {
        let Some(split) = split else { continue };
        if split.x.rows() == 0 || split.x.columns() == 0 {
            return Err(ProbeError::EmptySplit { split: name });
        }
        if split.x.columns() != train.x.columns() {
            let (expected, found) = (train.x.columns(), split.x.columns());
            return Err(ProbeError::Shape { what: "columns of the validation rows", expected, found });
        }
        split.targets.check(name, split.x.rows(), outputs)?;
    }
    Ok(())
}

/// What multiple of its lowest the validation loss is where weaker regularisation is no longer tried.
const HOPELESS: f64 = 1.1;

/// Whether weaker regularisation than that of the path so far is not worth a fit; see [`fit`].
fn hopeless(path: &[PathPoint]) -> bool {
    let losses: Vec<f64> = path.iter().filter_map(|point| point.validation).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    match losses.as_slice() {
        [.., before, last, now] => before < last && last < now && *now > HOPELESS * lowest,
        _ => false,
    }
}

/// Fits every strength in turn, each from the one before, and keeps the best of each trial.
fn path(
    space: &dyn Space,
    trials: &[Trial<'_>],
    outputs: usize,
    settings: &LogisticSettings,
    strengths: &[f64],
    back: impl Fn(&[f64], usize) -> Vec<f64>,
    score: impl Fn(&Fitted, &Targets<'_>) -> Option<f64>,
) -> Vec<Result<(Fitted, FitReport), ProbeError>> {
    let mut problems = Vec::new();
    let members: Vec<Result<Member, ProbeError>> =
        trials.iter().map(|trial| Member::enlist(trial, space.samples(), outputs, &mut problems)).collect();
    let stop = Stop { tolerance: settings.tolerance, max_iterations: settings.max_iterations };
    let mut solver = Solver::new(space, problems, stop);
    let mut paths: Vec<(Vec<PathPoint>, Option<Fitted>)> = trials.iter().map(|_| (Vec::new(), None)).collect();
    let mut wanted = vec![true; members.iter().flatten().map(|member| member.problems().count()).sum()];
    for &strength in strengths {
        let outcomes = solver.solve(strength, &wanted);
        for ((member, trial), (path, kept)) in members.iter().zip(trials).zip(&mut paths) {
            let Some(member) = member.as_ref().ok().filter(|_| !hopeless(path)) else { continue };
            let fitted = member.build(space.width(), |problem| solver.theta(problem), &back);
            let own: Vec<Outcome> = member.problems().map(|at| outcomes[at]).collect();
            let squares = member.problems().map(|at| {
                let theta = solver.theta(at);
                let w = &theta[..theta.len() - member.extras(at)];
                dot(w, w)
            });
            path.push(PathPoint {
                strength,
                iterations: own.iter().map(|o| o.iterations).max().unwrap_or(0),
                objective: own.iter().map(|o| o.objective).sum::<f64>() / member.half(),
                gradient: own.iter().map(|o| o.gradient).fold(0.0, f64::max),
                norm: (squares.sum::<f64>() / member.half()).sqrt(),
                converged: own.iter().all(|o| o.converged),
                validation: trial.validation.and_then(|targets| score(&fitted, &targets)),
            });
            if best(path) + 1 == path.len() {
                *kept = Some(fitted);
            }
            if hopeless(path) {
                member.problems().for_each(|problem| wanted[problem] = false);
            }
        }
    }
    members
        .into_iter()
        .zip(paths)
        .map(|(member, (path, kept))| {
            member?;
            let chosen = best(&path);
            let fitted = kept.expect("the best of several strengths was kept");
            Ok((fitted, FitReport { strength: Some(path[chosen].strength), validation: path[chosen].validation, path, chosen }))
        })
        .collect()
}

/// A linear map of weights `[d, K]` and an intercept `[K]`.
pub(crate) fn linear(by_column: &[f64], bias: Vec<f32>) -> Linear {
    let (classes, columns) = (bias.len(), by_column.len() / bias.len());
    let narrow: Vec<f32> = by_column.iter().map(|&v| v as f32).collect();
    let mut weight = vec![0f32; narrow.len()];
    super::product::transpose(&narrow, columns, classes, &mut weight);
    Linear { weight, bias }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_where_validation_has_risen_twice_and_far() {
        let path = |losses: &[f64]| losses.iter().map(|loss| PathPoint::exact(1.0, Some(*loss))).collect::<Vec<_>>();
        let on: [&[f64]; 6] = [&[], &[1.0, 2.0], &[1.0, 1.04, 1.09], &[1.0, 3.0, 2.9], &[3.0, 2.0, 2.9], &[2.0, 1.0, 0.9, 1.5]];
        assert!(on.iter().all(|losses| !hopeless(&path(losses))));
        let over: [&[f64]; 3] = [&[1.0, 1.01, 1.2], &[2.0, 1.0, 1.1, 1.2], &[1.0, 1.01, 1.02, 1.11]];
        assert!(over.iter().all(|losses| hopeless(&path(losses))));
        // Without validation rows there is nothing to go by.
        assert!(!hopeless(&[1.0, 2.0, 3.0].map(|strength| PathPoint::exact(strength, None))));
    }
}
