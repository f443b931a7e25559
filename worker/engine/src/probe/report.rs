//! What a fit says about itself: the strength it chose, how each candidate did, and whether the solver converged.

/// How a fit went.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// The strength `C` (larger is weaker regularisation) or penalty `alpha` that was chosen; absent for probes without one.
    pub strength: Option<f64>,
    /// Every strength that was tried, ascending; of networks one entry per epoch.
    pub path: Vec<PathPoint>,
    /// Index into `path` of the fit that was kept.
    pub chosen: usize,
    /// Its mean loss on the validation rows, where there are any: log-loss in nats, summed over classes where a row may have
    /// several; squared error in units of train's variance where predictions are no probabilities.
    pub validation: Option<f64>,
}

impl FitReport {
    /// The report of a probe that is found at once, with nothing to choose.
    pub(crate) fn exact(validation: Option<f64>) -> Self {
        Self { strength: None, path: vec![PathPoint::exact(f64::NAN, validation)], chosen: 0, validation }
    }

    /// The entry of the fit that was kept.
    pub fn chosen(&self) -> Option<&PathPoint> {
        self.path.get(self.chosen)
    }

    /// True where the fit that was kept met its tolerance.
    pub fn converged(&self) -> bool {
        self.chosen().is_some_and(|point| point.converged)
    }
}

/// One candidate of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct PathPoint {
    /// The strength `C`, the penalty `alpha`, or the epoch (from 1) of a network.
    pub strength: f64,
    /// Iterations of the solver, or optimiser steps so far.
    pub iterations: usize,
    /// `C * sum of row losses + penalty` in nats (scikit-learn's objective times `C * n`), or the epoch's mean loss; NaN where
    /// nothing is minimised step by step.
    pub objective: f64,
    /// Largest absolute component of the gradient of the objective over `C * n`, scikit-learn's `tol` scale; NaN
    /// where nothing is minimised or by plan.
    pub gradient: f64,
    /// Euclidean norm of the weights, without the intercept.
    pub norm: f64,
    /// True where the solver met its tolerance; always of probes that have none.
    pub converged: bool,
    /// What candidates are chosen by, where there are validation rows: the lower the better.
    pub validation: Option<f64>,
}

impl PathPoint {
    /// A candidate that is found at once.
    pub(crate) fn exact(strength: f64, validation: Option<f64>) -> Self {
        Self { strength, iterations: 0, objective: f64::NAN, gradient: f64::NAN, norm: f64::NAN, converged: true, validation }
    }
}

/// Index of the largest value; the lowest index among equals.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Index of the candidate with the lowest validation loss; the earliest (strongest regularisation) among equals.
pub(crate) fn best(path: &[PathPoint]) -> usize {
    let loss = |p: &PathPoint| p.validation.unwrap_or(f64::INFINITY);
    let mut best = 0;
    for (i, point) in path.iter().enumerate() {
        if loss(point) < loss(&path[best]) {
            best = i;
        }
    }
    best
}
