//! Ridge regression on sparse features, by conjugate gradients on the normal equations.

use super::{Aim, RidgeSettings, build, finished, norm};
use crate::probe::csr::Csr;
use crate::probe::error::ProbeError;
use crate::probe::fitted::Fitted;
use crate::probe::labels::Trial;
use crate::probe::logistic::{SparseSplit, candidates, check_sparse};
use crate::probe::report::{FitReport, PathPoint, best};

/// Relative residual at which the conjugate gradients stop.
const TOLERANCE: f64 = 1e-10;

/// Iterations at most, for each penalty: far more than features of unit length need at the smallest sensible one.
const ITERATIONS: usize = 2000;

/// Fits on sparse features, which are used as they are; otherwise as [`super::fit`].
///
/// # Errors
/// As [`super::fit`].
pub fn fit_sparse(
    train: SparseSplit<'_>,
    validation: Option<SparseSplit<'_>>,
    outputs: usize,
    settings: &RidgeSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    let mut alphas = candidates("alphas", &settings.alphas, validation.is_some())?;
    alphas.reverse();
    check_sparse(&train, validation.as_ref(), outputs)?;
    let trial = Trial { train: train.targets, validation: validation.map(|split| split.targets) };
    let aim = Aim::of(&trial, train.x.rows(), outputs)?;
    let system = System::new(&train, &aim, outputs);
    let mut w = vec![0f64; train.x.columns() * outputs];
    let (mut path, mut kept) = (Vec::new(), None);
    for alpha in alphas {
        let (iterations, converged) = system.solve(alpha, &mut w);
        let fitted = build(&w, &system.centre, &aim.mean);
        let error = validation.map(|split| aim.error(&fitted.sparse_scores(split.x), &split.targets, outputs));
        path.push(PathPoint { iterations, converged, norm: norm(&w), ..PathPoint::exact(alpha, error) });
        if best(&path) + 1 == path.len() {
            kept = Some(fitted);
        }
    }
    let fitted = kept.expect("the best of several penalties was kept");
    let held = validation.map(|split| (fitted.sparse_scores(split.x), split.targets));
    Ok(finished(&fitted, path, &aim, || (fitted.sparse_scores(train.x), train.targets), held, outputs))
}

/// The normal equations of centred features, which are never formed.
struct System<'a> {
    x: &'a Csr,
    weights: Vec<f64>,
    centre: Vec<f64>,
    /// `[d, outputs]`.
    side: Vec<f64>,
    lanes: usize,
}

impl<'a> System<'a> {
    fn new(train: &SparseSplit<'a>, aim: &Aim, lanes: usize) -> Self {
        let x = train.x;
        let weights: Vec<f64> = (0..x.rows()).map(|row| train.targets.weight(row)).collect();
        let total: f64 = weights.iter().sum();
        let mut centre = vec![0f64; x.columns()];
        weights.iter().enumerate().for_each(|(row, w)| x.row(row).for_each(|(j, v)| centre[j] += w / total * f64::from(v)));
        let mut system = System { x, weights, centre, side: Vec::new(), lanes };
        let centred: Vec<f64> = aim.values.chunks_exact(lanes).flat_map(|row| row.iter().zip(&aim.mean).map(|(v, m)| v - m)).collect();
        system.side = system.gather(&centred);
        system
    }

    /// `sum_i w_i (x_i - c) r_i`, `[d, lanes]`.
    fn gather(&self, r: &[f64]) -> Vec<f64> {
        let lanes = self.lanes;
        let mut out = vec![0f64; self.centre.len() * lanes];
        let mut sums = vec![0f64; lanes];
        for (row, (r, w)) in r.chunks_exact(lanes).zip(&self.weights).enumerate() {
            for (j, v) in self.x.row(row) {
                out[j * lanes..(j + 1) * lanes].iter_mut().zip(r).for_each(|(o, r)| *o += w * f64::from(v) * r);
            }
            sums.iter_mut().zip(r).for_each(|(s, r)| *s += w * r);
        }
        for (row, c) in out.chunks_exact_mut(lanes).zip(&self.centre) {
            row.iter_mut().zip(&sums).for_each(|(o, s)| *o -= c * s);
        }
        out
    }

    /// `(G + alpha I) w`.
    fn apply(&self, w: &[f64], alpha: f64) -> Vec<f64> {
        let lanes = self.lanes;
        let mut shift = vec![0f64; lanes];
        for (row, c) in w.chunks_exact(lanes).zip(&self.centre) {
            shift.iter_mut().zip(row).for_each(|(s, w)| *s += c * w);
        }
        let mut scores = Vec::with_capacity(self.x.rows() * lanes);
        for row in 0..self.x.rows() {
            let mut sum: Vec<f64> = shift.iter().map(|s| -s).collect();
            for (j, v) in self.x.row(row) {
                sum.iter_mut().zip(&w[j * lanes..(j + 1) * lanes]).for_each(|(s, w)| *s += f64::from(v) * w);
            }
            scores.extend(sum);
        }
        let mut out = self.gather(&scores);
        out.iter_mut().zip(w).for_each(|(o, w)| *o += alpha * w);
        out
    }

    /// Inner products of each lane.
    fn dots(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut sums = vec![0f64; self.lanes];
        for (a, b) in a.chunks_exact(self.lanes).zip(b.chunks_exact(self.lanes)) {
            sums.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s += a * b);
        }
        sums
    }

    /// Solves from `w`, every output with its own steps; says after how many iterations, and whether it got there.
    fn solve(&self, alpha: f64, w: &mut [f64]) -> (usize, bool) {
        let lanes = self.lanes;
        let add = |to: &mut [f64], from: &[f64], factors: &[f64]| {
            to.iter_mut().zip(from).enumerate().for_each(|(at, (t, f))| *t += factors[at % lanes] * f);
        };
        let mut rest: Vec<f64> = self.side.iter().zip(self.apply(w, alpha)).map(|(s, a)| s - a).collect();
        let goal: Vec<f64> = self.dots(&self.side, &self.side).iter().map(|s| s * TOLERANCE * TOLERANCE).collect();
        let mut along = rest.clone();
        let mut left = self.dots(&rest, &rest);
        for iteration in 0..ITERATIONS {
            if left.iter().zip(&goal).all(|(l, g)| l <= g) {
                return (iteration, true);
            }
            let product = self.apply(&along, alpha);
            let bends = self.dots(&along, &product);
            let steps: Vec<f64> = left.iter().zip(&bends).map(|(l, b)| if *b > 0.0 { l / b } else { 0.0 }).collect();
            add(w, &along, &steps);
            add(&mut rest, &product, &steps.iter().map(|s| -s).collect::<Vec<_>>());
            let next = self.dots(&rest, &rest);
            let turns: Vec<f64> = next.iter().zip(&left).map(|(n, l)| if *l > 0.0 { n / l } else { 0.0 }).collect();
            along.iter_mut().zip(&rest).enumerate().for_each(|(at, (a, r))| *a = r + turns[at % lanes] * *a);
            left = next;
        }
        (ITERATIONS, false)
    }
}
