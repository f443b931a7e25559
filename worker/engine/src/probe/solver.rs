//! Preconditioned L-BFGS for L2-penalised log-losses, of many fits on the same features at once.
//!
//! Minimises, for each problem, `sum_i c_i * loss_i(x_i W, e) + 1/2 ||W||^2` over `W` and the free extras `e` (intercepts or
//! thresholds); `c_i` is the strength times the row's weight. Problems go through their iterations side by side, so that a
//! pass over the features serves all of them. Parameters, inner products and sums over rows are `f64`; passes over the
//! features are `f32` products. The initial inverse Hessian of the two-loop recursion (Nocedal & Wright, algorithm 7.4) is
//! a Cholesky factor for the rows' curvatures, shared by problems whose curvatures are alike. Scores are linear along a
//! search direction, so the line search costs no pass: a safeguarded Newton iteration on the derivative, which unlike the
//! objective's value keeps its precision near the optimum. Scores that steps have added up are computed anew from the
//! parameters before an end is believed that the gradient alone doesn't vouch for.

mod run;

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::loss::Loss;
use super::space::{Factor, Moment, Space};
use run::Run;

/// A loss over the rows of a space.
pub(crate) struct Problem<'a> {
    /// The loss.
    pub loss: Loss<'a>,
    /// Weight of each row without the strength, `[n]`.
    pub weights: Vec<f32>,
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// Relative gap of the objective, as the Newton decrement estimates it.
    pub tolerance: f64,
    /// Iterations at most.
    pub max_iterations: usize,
}

/// How a minimisation ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub iterations: usize,
    pub objective: f64,
    /// Largest absolute component of the gradient by the weights and the extras, over the sum of the row weights.
    pub gradient: f64,
    pub converged: bool,
}

/// The mean curvature of some lanes, and which they are: of which run, and which of its lanes.
type Group = (Vec<f32>, Vec<(usize, usize)>);

/// Lanes that share a preconditioner.
struct Cluster {
    /// Of which run, and which of its lanes.
    lanes: Vec<(usize, usize)>,
    /// The second moment for their curvature, without the strength.
    moment: Moment,
    factor: Option<Factor>,
}

/// Problems on the same features, to be solved for one strength after another, each from where the last one ended.
pub(crate) struct Solver<'a> {
    space: &'a dyn Space,
    stop: Stop,
    runs: Vec<Run<'a>>,
    clusters: Vec<Cluster>,
    strength: f64,
}

/// Iterations at which preconditioners may be made anew.
const REBUILD_AT: [usize; 5] = [8, 24, 56, 120, 248];

/// Preconditioners at the beginning: most lanes are much alike then.
const AT_FIRST: usize = 3;

/// Numbers in all preconditioners at most (1 GiB of moments and factors).
const NUMBERS: usize = 128 << 20;

/// Largest share of curvature by which two lanes with one preconditioner may differ.
const ALIKE: f32 = 0.2;

/// How much faster second moments and factors are computed than passes, for a number of operations: their blocks stay in the
/// fastest memory. From 0.7 to 1.5 a fit takes about the same time.
const BLOCKED: f64 = 1.5;

impl<'a> Solver<'a> {
    /// All weights start at zero, the extras at what is best then.
    pub fn new(space: &'a dyn Space, problems: Vec<Problem<'a>>, stop: Stop) -> Self {
        let width = space.width();
        let runs = problems.into_iter().map(|problem| Run::new(problem, width)).collect();
        Solver { space, stop, runs, clusters: Vec::new(), strength: 1.0 }
    }

    /// Weights `[lanes][p]` of a problem, followed by its extras.
    pub fn theta(&self, problem: usize) -> &[f64] {
        &self.runs[problem].theta
    }

    /// Minimises those problems that are still wanted at a strength; outcomes of others say nothing, and they must not be wanted again.
    pub fn solve(&mut self, strength: f64, wanted: &[bool]) -> Vec<Outcome> {
        self.strength = strength;
        debug_assert_eq!(wanted.len(), self.runs.len());
        // Every trial may have bad labels, or labels that don't vary, or have come to its end.
        if !wanted.contains(&true) {
            return self.runs.iter().map(Run::outcome).collect();
        }
        self.runs.iter_mut().zip(wanted).for_each(|(run, wanted)| run.begin(strength, *wanted));
        self.evaluate(|_| true);
        if self.clusters.is_empty() {
            let groups = self.groups(AT_FIRST, |_| true);
            self.precondition(groups);
        } else {
            self.factor();
        }
        for iteration in 0.. {
            if REBUILD_AT.contains(&iteration) {
                self.renew();
            }
            self.directions(|_| true);
            let stop = self.stop;
            self.runs.par_iter_mut().filter(|run| run.active).for_each(|run| run.judge(iteration, stop));
            if self.runs.iter().any(|run| run.drifted) {
                self.evaluate(|run| run.drifted);
                self.directions(|run| run.drifted);
                self.runs.par_iter_mut().filter(|run| run.drifted).for_each(|run| run.judge(iteration, stop));
            }
            if self.runs.iter().any(|run| run.doubtful) {
                self.reassure();
                self.directions(|run| run.doubtful);
                self.runs.par_iter_mut().filter(|run| run.doubtful).for_each(|run| run.judge(iteration, stop));
            }
            if !self.runs.iter().any(|run| run.active) {
                break;
            }
            self.advance();
        }
        self.runs.iter_mut().zip(wanted).for_each(|(run, wanted)| run.begin(strength, *wanted));
        self.evaluate(|_| true);
        self.runs.iter().map(Run::outcome).collect()
    }

    /// Computes scores and gradients of some active runs from the parameters, which is free of what iterations have added up.
    fn evaluate(&mut self, which: impl Fn(&Run<'_>) -> bool) {
        let (n, width) = (self.space.samples(), self.space.width());
        let scores = self.pass(&which, |run| run.theta.as_slice());
        let mut lanes = scores.chunks(n);
        let residuals = self.runs.iter_mut().filter(|run| run.active && which(run)).map(|run| {
            let each = run.lanes();
            run.scores.chunks_exact_mut(n).for_each(|lane| lane.copy_from_slice(lanes.next().expect("a lane for each")));
            run.settle();
            debug_assert_eq!(run.scores.len(), each * n);
            run.residual.as_slice()
        });
        let stacked = residuals.collect::<Vec<_>>().concat();
        let gathered = self.gather(&stacked, width);
        self.absorb(&which, &gathered);
    }

    /// Scores `[lanes][n]` of one parameter of some active runs.
    fn pass(&self, which: impl Fn(&Run<'_>) -> bool, parameter: impl for<'r> Fn(&'r Run<'a>) -> &'r [f64]) -> Vec<f32> {
        let width = self.space.width();
        let active = self.runs.iter().filter(|run| run.active && which(run));
        let theta: Vec<f32> = active.flat_map(|run| parameter(run)[..width * run.lanes()].iter().map(|&v| v as f32)).collect();
        let lanes = theta.len() / width;
        let mut out = vec![0f32; lanes * self.space.samples()];
        self.space.scores(&theta, lanes, &mut out);
        out
    }

    fn gather(&self, residuals: &[f32], width: usize) -> Vec<f32> {
        let lanes = residuals.len() / self.space.samples();
        let mut out = vec![0f32; width * lanes];
        self.space.gather(residuals, lanes, &mut out);
        out
    }

    /// Hands some active runs their lanes of a gradient `[lanes][p]`.
    fn absorb(&mut self, which: impl Fn(&Run<'_>) -> bool, gathered: &[f32]) {
        let (mut rest, mut jobs) = (gathered, Vec::new());
        for run in self.runs.iter_mut().filter(|run| run.active && which(run)) {
            let (own, others) = rest.split_at(run.lanes() * self.space.width());
            rest = others;
            jobs.push((run, own));
        }
        jobs.into_par_iter().for_each(|(run, own)| run.absorb(own));
    }

    /// A step of every active run.
    fn advance(&mut self) {
        let (n, width) = (self.space.samples(), self.space.width());
        let along = self.pass(|_| true, |run| run.direction.as_slice());
        let mut rest = along.as_slice();
        let mut jobs = Vec::new();
        for run in self.runs.iter_mut().filter(|run| run.active) {
            let (own, others) = rest.split_at(run.lanes() * n);
            rest = others;
            jobs.push((run, own));
        }
        jobs.into_par_iter().for_each(|(run, along)| run.step(along));
        let stacked = self.runs.iter().filter(|run| run.active).map(|run| run.residual.as_slice()).collect::<Vec<_>>().concat();
        let gathered = self.gather(&stacked, width);
        self.absorb(|_| true, &gathered);
    }

    /// The two-loop recursion of some active runs, with one solve for all lanes that share a preconditioner.
    fn directions(&mut self, which: impl Fn(&Run<'_>) -> bool + Sync) {
        let width = self.space.width();
        self.runs.par_iter_mut().filter(|run| run.active && which(run)).for_each(Run::descend);
        let runs = &self.runs;
        let solve = |cluster: &Cluster| {
            let lanes: Vec<(usize, usize)> =
                cluster.lanes.iter().copied().filter(|(run, _)| runs[*run].active && which(&runs[*run])).collect();
            let mut stacked = Vec::with_capacity(width * lanes.len());
            lanes.iter().for_each(|(run, lane)| stacked.extend_from_slice(&runs[*run].direction[lane * width..][..width]));
            if let Some(factor) = cluster.factor.as_ref().filter(|_| !lanes.is_empty()) {
                factor.solve(&mut stacked, lanes.len());
            }
            (lanes, stacked)
        };
        let solved: Vec<_> = self.clusters.par_iter().map(solve).collect();
        for (lanes, stacked) in &solved {
            for ((run, lane), solved) in lanes.iter().zip(stacked.chunks_exact(width)) {
                self.runs[*run].direction[lane * width..][..width].copy_from_slice(solved);
            }
        }
        self.runs.par_iter_mut().filter(|run| run.active && which(run)).for_each(Run::ascend);
    }

    /// Puts lanes of some active runs with like curvatures together, in at most so many groups, each with its mean curvature.
    fn groups(&mut self, most: usize, which: impl Fn(&Run<'_>) -> bool + Sync) -> Vec<Group> {
        let n = self.space.samples();
        let strength = self.strength;
        let curvature = |run: &mut Run<'_>| (run.active && which(run)).then(|| run.curvature(strength));
        let curvatures: Vec<Option<Vec<f32>>> = self.runs.par_iter_mut().map(curvature).collect();
        let mut groups: Vec<Group> = Vec::new();
        for (run, curvature) in curvatures.iter().enumerate() {
            let Some(curvature) = curvature else { continue };
            for (lane, curvature) in curvature.chunks_exact(n).enumerate() {
                let apart: Vec<f32> = groups.iter().map(|(mean, _)| distance(mean, curvature)).collect();
                let nearest = (0..groups.len()).min_by(|a, b| apart[*a].total_cmp(&apart[*b]));
                match nearest.filter(|at| apart[*at] <= ALIKE || groups.len() >= most) {
                    Some(at) => {
                        let (mean, members) = &mut groups[at];
                        members.push((run, lane));
                        let share = 1.0 / members.len() as f32;
                        mean.iter_mut().zip(curvature).for_each(|(m, c)| *m += share * (c - *m));
                    }
                    None => groups.push((curvature.to_vec(), vec![(run, lane)])),
                }
            }
        }
        groups
    }

    /// Makes preconditioners anew where they cost less than the iterations that they may save.
    fn renew(&mut self) {
        let (n, p) = (self.space.samples() as f64, self.space.width() as f64);
        let lanes: usize = self.runs.iter().filter(|run| run.active).map(Run::lanes).sum();
        let remaining = self.runs.iter().map(|run| run.remaining(self.stop.tolerance) * run.lanes() as f64).sum::<f64>();
        let one = (n * p * p + p * p * p / 3.0) / BLOCKED;
        // At best a group for each lane; the iterations that are left are halved or better.
        let saved = 0.5 * remaining * 4.0 * n * p;
        let affordable = (saved / one) as usize;
        if affordable == 0 {
            return;
        }
        self.renew_some(affordable.min(lanes), |_| true);
    }

    /// Gives runs that seem to have arrived, but may owe it to a preconditioner from far away, one of where they are; where memory
    /// holds no more of them, they are believed.
    fn reassure(&mut self) {
        self.renew_some(usize::MAX, |run| run.doubtful);
        self.runs.iter_mut().filter(|run| run.doubtful).for_each(Run::vouch);
    }

    /// Makes at most so many preconditioners for some active runs, as far as there is memory beside those of other lanes.
    fn renew_some(&mut self, most: usize, which: impl Fn(&Run<'_>) -> bool + Sync) {
        let room = (NUMBERS / (self.space.width() * self.space.width()).max(1)).max(1);
        let others = |cluster: &&Cluster| cluster.lanes.iter().any(|(run, _)| !(self.runs[*run].active && which(&self.runs[*run])));
        let kept = self.clusters.iter().filter(others).count();
        let most = most.min(room.saturating_sub(kept));
        if most > 0 {
            let groups = self.groups(most, which);
            self.precondition(groups);
        }
    }

    /// Gives each group a preconditioner; lanes of other runs keep theirs.
    fn precondition(&mut self, groups: Vec<Group>) {
        let moved: BTreeSet<(usize, usize)> = groups.iter().flat_map(|(_, lanes)| lanes.iter().copied()).collect();
        self.clusters.iter_mut().for_each(|cluster| cluster.lanes.retain(|lane| !moved.contains(lane)));
        self.clusters.retain(|cluster| !cluster.lanes.is_empty());
        let (space, strength) = (self.space, self.strength);
        let cluster = |(curvature, lanes): (Vec<f32>, _)| {
            let moment = space.moment(&curvature);
            let factor = Some(moment.factor(strength));
            Cluster { lanes, moment, factor }
        };
        self.clusters.par_extend(groups.into_par_iter().map(cluster));
        for (at, cluster) in self.clusters.iter().enumerate() {
            cluster.lanes.iter().for_each(|(run, lane)| self.runs[*run].clusters[*lane] = at);
        }
        moved.iter().for_each(|(run, _)| self.runs[*run].vouch());
    }

    /// Fits the preconditioners of active runs to another strength; those of others are not needed any more.
    fn factor(&mut self) {
        let (strength, runs) = (self.strength, &self.runs);
        self.clusters.iter_mut().for_each(|cluster| cluster.lanes.retain(|(run, _)| runs[*run].active));
        self.clusters.retain(|cluster| !cluster.lanes.is_empty());
        for (at, cluster) in self.clusters.iter().enumerate() {
            cluster.lanes.iter().for_each(|(run, lane)| self.runs[*run].clusters[*lane] = at);
        }
        self.clusters.par_iter_mut().for_each(|cluster| cluster.factor = Some(cluster.moment.factor(strength)));
    }
}

/// How far two curvatures are apart: the share of both that they don't have in common, in 0..=1.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let (mut apart, mut both) = (0f64, 0f64);
    for (x, y) in a.iter().zip(b) {
        apart += f64::from((x - y).abs());
        both += f64::from(x + y);
    }
    (apart / both.max(f64::MIN_POSITIVE)) as f32
}
