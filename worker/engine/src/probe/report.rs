//! What a fit says about itself: the strength it chose, how each candidate did, and whether the solver converged.

/// How a fit went.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// The strength `C` that was chosen (larger is weaker regularisation); absent for probes without one.
    pub strength: Option<f64>,
    /// Every strength that was tried, ascending; for the MLP one entry per epoch.
    pub path: Vec<PathPoint>,
    /// Index into `path` of the fit that was kept.
    pub chosen: usize,
}

impl FitReport {
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
    /// The strength `C`, or the epoch (from 1) for the MLP.
    pub strength: f64,
    /// Iterations of the solver, or optimiser steps so far.
    pub iterations: usize,
    /// `C * sum of row losses + penalty` in nats (scikit-learn's objective times `C * n`), or the epoch's mean loss.
    pub objective: f64,
    /// Largest absolute component of the gradient of the objective over `C * n`, scikit-learn's `tol` scale; NaN for the MLP.
    pub gradient: f64,
    /// Euclidean norm of the weights, without the intercept.
    pub norm: f64,
    /// True where the solver met its tolerance; always for the MLP, which has none.
    pub converged: bool,
    /// Log-loss and accuracy on the validation rows, where there are any.
    pub validation: Option<Score>,
}

/// Log-loss (nats per row) and accuracy (share of rows whose label has the highest probability).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean of `-ln p(label)`.
    pub log_loss: f64,
    /// Share of rows predicted right, ties going to the lower class.
    pub accuracy: f64,
}

impl Score {
    /// Scores probabilities `[n, classes]` against labels `[n]`; row weights count where given.
    pub fn of(probabilities: &[f32], labels: &[u32], weights: Option<&[f32]>, classes: usize) -> Self {
        let (mut loss, mut right, mut total) = (0f64, 0f64, 0f64);
        for (i, (row, &label)) in probabilities.chunks_exact(classes).zip(labels).enumerate() {
            let weight = weights.map_or(1.0, |w| f64::from(w[i]));
            loss -= weight * f64::from(row[label as usize].max(f32::MIN_POSITIVE)).ln();
            right += if argmax(row) == label as usize { weight } else { 0.0 };
            total += weight;
        }
        Self { log_loss: loss / total, accuracy: right / total }
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

/// Index of the candidate with the lowest validation log-loss; the earliest (strongest regularisation) among equals.
pub(crate) fn best(path: &[PathPoint]) -> usize {
    let loss = |p: &PathPoint| p.validation.map_or(f64::INFINITY, |s| s.log_loss);
    let mut best = 0;
    for (i, point) in path.iter().enumerate() {
        if loss(point) < loss(&path[best]) {
            best = i;
        }
    }
    best
}
