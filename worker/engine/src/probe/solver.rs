//! Preconditioned L-BFGS for the L2-penalised multinomial log-loss, in whichever space the data are in.
//!
//! Minimises `sum_i c_i * -ln p_i(y_i) + 1/2 ||W||^2` over `W` and a free intercept; `c_i` is the strength times the
//! row's weight. Parameters, inner products and sums over rows are `f64`; passes over the data are `f32` products.
//! The initial inverse Hessian of the two-loop recursion (Nocedal & Wright, algorithm 7.4) is the space's
//! preconditioner, rebuilt for the current probabilities at iterations 8, 24, 56, ... Logits are linear along a search
//! direction, so the line search costs no pass: a safeguarded Newton iteration on the derivative, which unlike the
//! objective's value keeps its precision near the optimum.

use std::collections::VecDeque;

use super::product::{dot, transpose};
use super::softmax::{Line, log_loss, softmax};
use super::space::Space;

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 12;

/// Iterations without progress of the decrement after which rounding is held responsible.
const STALL: usize = 20;

/// Relative gap below which such a lack of progress ends the search; above it the decrement may rise for a while.
const STALLED: f64 = 1e-6;

/// The loss to be minimised and when to stop.
pub(crate) struct Problem<'a> {
    /// Class of each row, `[n]`.
    pub labels: &'a [u32],
    /// Strength times row weight, `[n]`.
    pub weights: &'a [f32],
    /// Number of classes, `K`.
    pub classes: usize,
    /// Relative gap of the objective, as the Newton decrement estimates it, at which to stop.
    pub tolerance: f64,
    /// Iterations at most.
    pub max_iterations: usize,
}

/// How a minimisation ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub iterations: usize,
    pub objective: f64,
    /// Largest absolute component of the gradient by the weights and the intercept, over the sum of the row weights.
    pub gradient: f64,
    pub converged: bool,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `1 / <step, change>`.
    rho: f64,
}

/// Buffers of one minimisation. A parameter is `theta` `[p, K]` followed by the intercept `[K]`.
struct Run<'a> {
    space: &'a mut dyn Space,
    problem: &'a Problem<'a>,
    /// `[n, K]`, `[p, K]` and `[K][n]` scratch.
    lanes: Vec<f32>,
    narrow: Vec<f32>,
    probabilities: Vec<f32>,
    intercept_curvature: f64,
    memory: VecDeque<Pair>,
}

/// Minimises from `theta` (`[p, K]` followed by the intercept `[K]`), which becomes the minimum found.
pub(crate) fn minimise(space: &mut dyn Space, problem: &Problem<'_>, theta: &mut [f64]) -> Outcome {
    let (n, k, p) = (space.samples(), problem.classes, space.width());
    let mut run = Run {
        space,
        problem,
        lanes: vec![0.0; n * k],
        narrow: vec![0.0; p * k],
        probabilities: vec![0.0; n * k],
        intercept_curvature: 1.0,
        memory: VecDeque::with_capacity(MEMORY + 1),
    };
    run.minimise(theta)
}

impl Run<'_> {
    fn minimise(&mut self, theta: &mut [f64]) -> Outcome {
        let (n, k) = (self.problem.labels.len(), self.problem.classes);
        let free = theta.len() - k;
        let (mut logits, mut along) = (vec![0f32; n * k], vec![0f32; n * k]);
        self.logits(theta, &mut logits);
        self.rebuild(&logits);
        let mut gradient = self.gradient(theta);
        let mut objective = self.objective(&logits, theta);
        let (mut iterations, mut converged, mut next_rebuild) = (0, false, 8);
        let (mut least, mut least_at) = (f64::INFINITY, 0);
        while iterations < self.problem.max_iterations {
            let direction = self.direction(&gradient);
            let start = dot(&gradient, &direction);
            if iterations % 4 == 0 || -start < 1e-5 * objective {
                objective = self.objective(&logits, theta);
            }
            // Half of `-start` is the Newton decrement's estimate of the distance to the minimum.
            if -start / 2.0 <= self.problem.tolerance * objective {
                converged = true;
                break;
            }
            if -start < 0.7 * least {
                (least, least_at) = (-start, iterations);
            } else if iterations - least_at >= STALL && least / 2.0 <= STALLED * objective {
                // Single-precision passes give no better gradient than this.
                converged = true;
                break;
            }
            self.logits(&direction, &mut along);
            let cross = dot(&theta[..free], &direction[..free]);
            let square = dot(&direction[..free], &direction[..free]);
            let t = self.search(&logits, &along, start, cross, square);
            logits.iter_mut().zip(&along).for_each(|(l, a)| *l += t as f32 * a);
            theta.iter_mut().zip(&direction).for_each(|(v, d)| *v += t * d);
            iterations += 1;
            if iterations == next_rebuild {
                next_rebuild = 2 * next_rebuild + 8;
                self.logits(theta, &mut logits);
                self.rebuild(&logits);
            }
            let next = self.gradient(theta);
            let change = next.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            self.remember(direction.iter().map(|d| t * d).collect(), change);
            gradient = next;
        }
        self.logits(theta, &mut logits);
        let objective = self.objective(&logits, theta);
        self.probabilities = logits;
        softmax(&mut self.probabilities, n);
        let largest = self.gradient(theta).iter().fold(0f64, |m, g| m.max(g.abs()));
        let total: f64 = self.problem.weights.iter().map(|&w| f64::from(w)).sum();
        Outcome { iterations, objective, gradient: largest / total, converged }
    }

    /// Logits of a parameter, `[K][n]`, intercept included.
    fn logits(&mut self, parameter: &[f64], logits: &mut [f32]) {
        let (n, k) = (self.problem.labels.len(), self.problem.classes);
        let free = parameter.len() - k;
        self.narrow.iter_mut().zip(parameter).for_each(|(s, &v)| *s = v as f32);
        self.space.logits(&self.narrow, k, &mut self.lanes);
        transpose(&self.lanes, n, k, logits);
        for (class, &b) in logits.chunks_exact_mut(n).zip(&parameter[free..]) {
            class.iter_mut().for_each(|l| *l += b as f32);
        }
    }

    /// Gradient of the objective at the current probabilities, `[p, K]` followed by the intercept's `[K]`.
    fn gradient(&mut self, theta: &[f64]) -> Vec<f64> {
        let (n, k) = (self.problem.labels.len(), self.problem.classes);
        let mut intercept = vec![0f64; k];
        for (i, row) in self.lanes.chunks_exact_mut(k).enumerate() {
            let label = self.problem.labels[i] as usize;
            let mut others = 0f32;
            for (c, r) in row.iter_mut().enumerate() {
                *r = self.problem.weights[i] * self.probabilities[c * n + i];
                others += if c == label { 0.0 } else { *r };
            }
            // Not `p - 1`, which would round away what is left of a row that is nearly certain.
            row[label] = -others;
            intercept.iter_mut().zip(&*row).for_each(|(s, &r)| *s += f64::from(r));
        }
        self.space.gather(&self.lanes, k, &mut self.narrow);
        self.narrow.iter().zip(theta).map(|(&g, t)| f64::from(g) + t).chain(intercept).collect()
    }

    fn objective(&self, logits: &[f32], theta: &[f64]) -> f64 {
        let w = &theta[..theta.len() - self.problem.classes];
        log_loss(logits, self.problem.labels, Some(self.problem.weights)) + dot(w, w) / 2.0
    }

    /// Sets the probabilities to those of `logits` and rebuilds the preconditioner for them.
    ///
    /// A row's scalar curvature is the mean eigenvalue of `diag(p) - p p^T` over its `K - 1` live directions.
    fn rebuild(&mut self, logits: &[f32]) {
        let (n, k) = (self.problem.labels.len(), self.problem.classes);
        self.probabilities.copy_from_slice(logits);
        softmax(&mut self.probabilities, n);
        let mut squares = vec![0f32; n];
        for class in self.probabilities.chunks_exact(n) {
            squares.iter_mut().zip(class).for_each(|(s, p)| *s += p * p);
        }
        let floor = 1e-5 * self.problem.weights.iter().fold(f32::MIN_POSITIVE, |m, &w| m.max(w));
        let live = |(s, w): (&f32, &f32)| (w * (1.0 - s) / (k - 1) as f32).max(floor);
        let curvature: Vec<f32> = squares.iter().zip(self.problem.weights).map(live).collect();
        self.intercept_curvature = curvature.iter().map(|&w| f64::from(w)).sum();
        self.space.curvature(&curvature);
    }

    /// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let k = self.problem.classes;
        let free = gradient.len() - k;
        let mut q = gradient.to_vec();
        let mut shares = Vec::with_capacity(MEMORY);
        for pair in self.memory.iter().rev() {
            let share = pair.rho * dot(&pair.step, &q);
            q.iter_mut().zip(&pair.change).for_each(|(q, y)| *q -= share * y);
            shares.push(share);
        }
        self.space.precondition(&mut q[..free], k);
        q[free..].iter_mut().for_each(|v| *v /= self.intercept_curvature);
        for (pair, share) in self.memory.iter().zip(shares.iter().rev()) {
            let back = pair.rho * dot(&pair.change, &q);
            q.iter_mut().zip(&pair.step).for_each(|(q, s)| *q += (share - back) * s);
        }
        q.iter_mut().for_each(|v| *v = -*v);
        q
    }

    /// A step at which the derivative along the line has fallen to a fifth of `start`, the (negative) one at 0.
    ///
    /// Leaves the probabilities at that step in `self.probabilities`.
    fn search(&mut self, logits: &[f32], along: &[f32], start: f64, cross: f64, square: f64) -> f64 {
        let line = Line::new(self.problem.labels, self.problem.weights, logits, along);
        let (mut low, mut high, mut t) = (0f64, f64::INFINITY, 1f64);
        for _ in 0..30 {
            let (slope, bend) = line.derivatives(t as f32, &mut self.probabilities);
            let (slope, bend) = (slope + cross + t * square, bend + square);
            if slope.abs() <= 0.2 * start.abs() {
                break;
            }
            if slope < 0.0 {
                low = t;
            } else {
                high = t;
            }
            let newton = t - slope / bend;
            t = if newton > low && newton < high.min(10.0 * t) {
                newton
            } else if high.is_finite() {
                0.5 * (low + high)
            } else {
                10.0 * t
            };
        }
        t
    }

    fn remember(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        if curvature <= f64::MIN_POSITIVE {
            return;
        }
        if self.memory.len() == MEMORY {
            self.memory.pop_front();
        }
        self.memory.push_back(Pair { step, change, rho: 1.0 / curvature });
    }
}
