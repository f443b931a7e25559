//! One problem on its way to its minimum.

use std::collections::VecDeque;

use super::{Outcome, Problem, Stop};
use crate::probe::cholesky::Cholesky;
use crate::probe::loss::{Line, Loss};
use crate::probe::product::dot;

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 12;

/// Iterations without progress of the decrement after which rounding is held responsible.
const STALL: usize = 20;

/// Relative gap below which such a lack of progress ends the search; above it the decrement may rise for a while.
const STALLED: f64 = 1e-6;

/// Relative gap of the objective that the gradient alone must rule out before a decrement is believed whose preconditioner is from
/// elsewhere: where curvatures were larger, it says too little.
const BELIEVED: f64 = 1e-5;

/// By what share the objective has fallen where another preconditioner counts as from elsewhere.
const ELSEWHERE: f64 = 0.01;

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `1 / <step, change>`.
    rho: f64,
}

/// A problem with its parameters, scores and memory. A parameter is the weights `[lanes][p]` followed by the extras.
pub(super) struct Run<'a> {
    loss: Loss<'a>,
    base: Vec<f32>,
    /// Strength times row weight, `[n]`.
    weights: Vec<f32>,
    pub(super) theta: Vec<f64>,
    /// `[lanes][n]`.
    pub(super) scores: Vec<f32>,
    pub(super) residual: Vec<f32>,
    state: Vec<f32>,
    gradient: Vec<f64>,
    by_extras: Vec<f64>,
    pub(super) direction: Vec<f64>,
    /// The step that was taken last, while the gradient after it is not known.
    step: Option<Vec<f64>>,
    extras: Cholesky<f64>,
    memory: VecDeque<Pair>,
    shares: Vec<f64>,
    /// The preconditioner of each lane.
    pub(super) clusters: Vec<usize>,
    pub(super) active: bool,
    /// Whether the decrement is small, but the gradient isn't, and the preconditioner is from elsewhere.
    pub(super) doubtful: bool,
    /// Whether it seems to have ended, but by scores that steps have added up since they were computed from the parameters, each
    /// with its rounding: large scores and a weak penalty make much of that.
    pub(super) drifted: bool,
    /// Whether a step was taken since then.
    moved: bool,
    /// The objective where the preconditioner was made.
    vouched: f64,
    converged: bool,
    iterations: usize,
    objective: f64,
    /// The derivative along the direction, at its beginning.
    start: f64,
    /// The first decrement under the present preconditioner, and when that was.
    first: Option<(f64, usize)>,
    /// The least one so far, and when it was found.
    least: (f64, usize),
}

impl<'a> Run<'a> {
    pub(super) fn new(problem: Problem<'a>, width: usize) -> Self {
        let Problem { loss, weights } = problem;
        let (n, lanes) = (weights.len(), loss.lanes());
        let mut theta = vec![0f64; width * lanes];
        theta.extend(loss.start(&weights));
        let extras = loss.extras();
        let ones: Vec<f64> = (0..extras * extras).map(|at| if at % (extras + 1) == 0 { 1.0 } else { 0.0 }).collect();
        Run {
            weights: weights.clone(),
            base: weights,
            scores: vec![0.0; n * lanes],
            residual: vec![0.0; n * lanes],
            state: vec![0.0; n * loss.states()],
            gradient: vec![0.0; theta.len()],
            by_extras: Vec::new(),
            direction: vec![0.0; theta.len()],
            step: None,
            extras: Cholesky::new(&ones, extras, 0.0),
            memory: VecDeque::with_capacity(MEMORY + 1),
            shares: Vec::with_capacity(MEMORY),
            clusters: vec![0; lanes],
            active: true,
            doubtful: false,
            drifted: false,
            moved: false,
            vouched: f64::INFINITY,
            converged: false,
            iterations: 0,
            objective: 0.0,
            start: 0.0,
            first: None,
            least: (f64::INFINITY, 0),
            theta,
            loss,
        }
    }

    pub(super) fn lanes(&self) -> usize {
        self.loss.lanes()
    }

    fn free(&self) -> usize {
        self.theta.len() - self.loss.extras()
    }

    /// Sets out at a strength, from the present parameters, or rests.
    pub(super) fn begin(&mut self, strength: f64, active: bool) {
        self.active = active;
        if !active {
            return;
        }
        self.weights.iter_mut().zip(&self.base).for_each(|(w, b)| *w = (f64::from(*b) * strength) as f32);
        self.step = None;
        self.memory.clear();
        (self.doubtful, self.drifted, self.vouched) = (false, false, f64::INFINITY);
        (self.first, self.least) = (None, (f64::INFINITY, 0));
    }

    /// Takes note of a preconditioner of where the run is: decrements from now on are not like those before.
    pub(super) fn vouch(&mut self) {
        self.vouched = self.objective;
        (self.first, self.least) = (None, (f64::INFINITY, self.iterations));
    }

    /// Whether the objective is near its minimum as far as the weights go: with the penalty it curves by 1 or more in each.
    fn is_near(&self) -> bool {
        let by_weights = &self.gradient[..self.free()];
        dot(by_weights, by_weights) / 2.0 <= BELIEVED * self.objective
    }

    /// Takes up the state at scores that were computed from the parameters.
    pub(super) fn settle(&mut self) {
        self.moved = false;
        let free = self.free();
        let still = vec![0f32; self.scores.len()];
        let turn = vec![0f64; self.loss.extras()];
        let extras = &self.theta[free..];
        let line = Line { weights: &self.weights, scores: &self.scores, along: &still, extras, turn: &turn };
        self.loss.slopes(&line, 0.0, &mut self.state);
        self.by_extras = self.loss.residual(&self.state, extras, &self.weights, &mut self.residual);
        self.bend();
        self.value();
    }

    fn value(&mut self) {
        let (w, extras) = self.theta.split_at(self.free());
        self.objective = self.loss.value(&self.scores, extras, &self.weights) + dot(w, w) / 2.0;
    }

    /// Renews the preconditioner of the extras.
    fn bend(&mut self) {
        let q = self.loss.extras();
        let bend = self.loss.bend(&self.state, &self.theta[self.free()..], &self.weights);
        self.extras = Cholesky::new(&bend, q, 1e-6);
    }

    /// The rows' curvatures along each lane, without the strength, `[lanes][n]`. Steps and changes from before remain good for
    /// a new preconditioner.
    pub(super) fn curvature(&mut self, strength: f64) -> Vec<f32> {
        self.bend();
        let floor = 1e-5 * self.base.iter().fold(f32::MIN_POSITIVE, |m, &w| m.max(w));
        let scaled = self.loss.curvature(&self.state, &self.weights);
        scaled.into_iter().map(|c| (f64::from(c) / strength) as f32).map(|c| c.max(floor)).collect()
    }

    /// How many more iterations it will take at the pace so far, to a relative gap of the objective.
    pub(super) fn remaining(&self, tolerance: f64) -> f64 {
        let (Some((first, since)), last) = (self.first, -self.start) else { return 0.0 };
        let goal = 2.0 * tolerance * self.objective;
        if !self.active || last <= goal || self.iterations == since {
            return 0.0;
        }
        let pace = (first / last).ln() / (self.iterations - since) as f64;
        if pace > 0.0 { (last / goal).ln() / pace } else { f64::INFINITY }
    }

    /// The first half of the two-loop recursion, from the gradient.
    pub(super) fn descend(&mut self) {
        self.direction.copy_from_slice(&self.gradient);
        self.shares.clear();
        for pair in self.memory.iter().rev() {
            let share = pair.rho * dot(&pair.step, &self.direction);
            self.direction.iter_mut().zip(&pair.change).for_each(|(q, y)| *q -= share * y);
            self.shares.push(share);
        }
    }

    /// The second half, after the weights' part was preconditioned.
    pub(super) fn ascend(&mut self) {
        let free = self.free();
        self.extras.solve(&mut self.direction[free..], 1);
        if self.loss.shifts() && self.clusters.windows(2).any(|pair| pair[0] != pair[1]) {
            // Different preconditioners would leave the space in which lanes add up to nothing.
            let (lanes, width) = (self.loss.lanes(), free / self.loss.lanes());
            let mut means = vec![0f64; width];
            self.direction[..free].chunks_exact(width).for_each(|lane| means.iter_mut().zip(lane).for_each(|(m, v)| *m += v));
            means.iter_mut().for_each(|m| *m /= lanes as f64);
            self.direction[..free].chunks_exact_mut(width).for_each(|lane| lane.iter_mut().zip(&means).for_each(|(v, m)| *v -= m));
        }
        for (pair, share) in self.memory.iter().zip(self.shares.iter().rev()) {
            let back = pair.rho * dot(&pair.change, &self.direction);
            self.direction.iter_mut().zip(&pair.step).for_each(|(q, s)| *q += (share - back) * s);
        }
        self.direction.iter_mut().for_each(|v| *v = -*v);
        self.start = dot(&self.gradient, &self.direction);
    }

    /// Whether to go on.
    pub(super) fn judge(&mut self, iteration: usize, stop: Stop) {
        if iteration == 0 {
            self.converged = false;
        }
        self.iterations = iteration;
        let decrement = -self.start;
        if iteration.is_multiple_of(4) || decrement < 1e-5 * self.objective {
            self.value();
        }
        let stalled = iteration - self.least.1 >= STALL && self.least.0 / 2.0 <= STALLED * self.objective;
        // Half of the decrement is its estimate of the distance to the minimum. Single-precision passes may give no better
        // gradient than one that doesn't get smaller any more.
        let arrived = decrement / 2.0 <= stop.tolerance * self.objective;
        let ended = arrived || (stalled && decrement >= 0.7 * self.least.0);
        self.drifted = ended && self.moved && !self.is_near();
        if self.drifted {
            (self.first, self.least) = (None, (f64::INFINITY, iteration));
            return;
        }
        let elsewhere = self.objective < (1.0 - ELSEWHERE) * self.vouched;
        self.doubtful = arrived && elsewhere && !self.is_near();
        if self.doubtful {
            return;
        }
        self.first.get_or_insert((decrement, iteration));
        if ended {
            (self.converged, self.active) = (true, false);
        } else if iteration >= stop.max_iterations {
            self.active = false;
        }
        if decrement < 0.7 * self.least.0 {
            self.least = (decrement, iteration);
        }
    }

    /// Goes along the direction, whose scores are `along`, `[lanes][n]`, and takes up the state there.
    pub(super) fn step(&mut self, along: &[f32]) {
        let free = self.free();
        let t = self.search(along);
        self.scores.iter_mut().zip(along).for_each(|(s, a)| *s += t as f32 * a);
        let step: Vec<f64> = self.direction.iter().map(|d| t * d).collect();
        self.theta.iter_mut().zip(&step).for_each(|(v, s)| *v += s);
        self.by_extras = self.loss.residual(&self.state, &self.theta[free..], &self.weights, &mut self.residual);
        (self.step, self.moved) = (Some(step), true);
    }

    /// A step at which the derivative along the line has fallen to a fifth of the one at its beginning.
    fn search(&mut self, along: &[f32]) -> f64 {
        let free = self.free();
        let ((w, extras), (d, turn)) = (self.theta.split_at(free), self.direction.split_at(free));
        let (cross, square) = (dot(w, d), dot(d, d));
        let line = Line { weights: &self.weights, scores: &self.scores, along, extras, turn };
        let reach = self.loss.reach(extras, turn);
        let (mut low, mut high) = (0f64, reach);
        let mut t = if reach > 1.0 { 1.0 } else { 0.9 * reach };
        for _ in 0..30 {
            let (slope, bend) = self.loss.slopes(&line, t, &mut self.state);
            let (slope, bend) = (slope + cross + t * square, bend + square);
            if slope.abs() <= 0.2 * self.start.abs() {
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

    /// Takes up the gradient, of which `gathered`, `[lanes][p]`, is the losses' part by the weights.
    pub(super) fn absorb(&mut self, gathered: &[f32]) {
        let mut next = Vec::with_capacity(self.theta.len());
        next.extend(gathered.iter().zip(&self.theta).map(|(&g, t)| f64::from(g) + t));
        next.extend_from_slice(&self.by_extras);
        if let Some(step) = self.step.take() {
            let change: Vec<f64> = next.iter().zip(&self.gradient).map(|(a, b)| a - b).collect();
            let curvature = dot(&step, &change);
            if curvature > f64::MIN_POSITIVE {
                if self.memory.len() == MEMORY {
                    self.memory.pop_front();
                }
                self.memory.push_back(Pair { step, change, rho: 1.0 / curvature });
            }
        }
        self.gradient = next;
    }

    pub(super) fn outcome(&self) -> Outcome {
        let largest = self.gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
        let total: f64 = self.weights.iter().map(|&w| f64::from(w)).sum();
        Outcome { iterations: self.iterations, objective: self.objective, gradient: largest / total, converged: self.converged }
    }
}
