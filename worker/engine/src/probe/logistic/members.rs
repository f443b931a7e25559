//! What a trial's labels ask of the solver, and the probe that its solutions make.

use super::linear;
use crate::probe::error::ProbeError;
use crate::probe::fitted::{Fitted, ProbeKind};
use crate::probe::head::{Head, Levels};
use crate::probe::labels::{Labels, Targets, Trial, class_totals};
use crate::probe::loss::Loss;
use crate::probe::product::transpose;
use crate::probe::solver::Problem;

/// A trial among those that are solved together.
pub(super) struct Member {
    classes: Vec<Class>,
    head: Shape,
}

/// What becomes of one class.
enum Class {
    /// It is one of the lanes of a problem that they share.
    Shared(usize),
    /// It has a problem of its own, over these levels.
    Own(usize, Vec<f32>),
    /// Its label doesn't vary: this is the label, or the logit of its share.
    Constant(f32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Softmax,
    Sigmoid,
    Ordinal,
}

impl Member {
    /// Adds the trial's problems to those of others.
    pub(super) fn enlist<'a>(
        trial: &Trial<'a>,
        rows: usize,
        outputs: usize,
        problems: &mut Vec<Problem<'a>>,
    ) -> Result<Member, ProbeError> {
        let targets = &trial.train;
        targets.check("train", rows, outputs)?;
        let plain = || (0..rows).map(|row| targets.weight(row) as f32).collect::<Vec<f32>>();
        match targets.labels {
            Labels::Single(labels) => {
                let half = if outputs == 2 { 0.5 } else { 1.0 };
                let weights = row_weights(labels, targets.weights, outputs)?;
                let weights = weights.into_iter().map(|w| (w * half) as f32).collect();
                problems.push(Problem { loss: Loss::Multinomial { labels, classes: outputs }, weights });
                let shared = |_| Class::Shared(problems.len() - 1);
                Ok(Member { classes: (0..outputs).map(shared).collect(), head: Shape::Softmax })
            }
            Labels::Multi(values) | Labels::Intensity(values) => {
                let head = if matches!(targets.labels, Labels::Multi(_)) { Shape::Sigmoid } else { Shape::Ordinal };
                let class = |output: usize| {
                    let column: Vec<f32> = values.iter().skip(output).step_by(outputs).copied().collect();
                    let levels = levels(&column, targets);
                    match (levels.as_slice(), head) {
                        (&[one], Shape::Sigmoid) => return Class::Constant(constant_logit(one, targets.total(rows))),
                        (&[one], _) => return Class::Constant(one),
                        _ => {}
                    }
                    // Rows that don't count may have another level; whichever they are given changes nothing.
                    let of = |v: &f32| levels.partition_point(|l| l < v).min(levels.len() - 1) as u32;
                    let loss = Loss::Cumulative { levels: column.iter().map(of).collect(), thresholds: levels.len() - 1 };
                    problems.push(Problem { loss, weights: plain() });
                    Class::Own(problems.len() - 1, levels)
                };
                if targets.total(rows) <= 0.0 {
                    return Err(ProbeError::EmptySplit { split: "train" });
                }
                Ok(Member { classes: (0..outputs).map(class).collect(), head })
            }
            Labels::Continuous(_) => Err(ProbeError::Scheme { probe: "logistic", scheme: targets.labels.scheme().as_str() }),
        }
    }

    /// The indices of its problems.
    pub(super) fn problems(&self) -> impl Iterator<Item = usize> + '_ {
        let shared = self.classes.iter().take(1).filter_map(|class| if let Class::Shared(at) = class { Some(*at) } else { None });
        shared.chain(self.classes.iter().filter_map(|class| if let Class::Own(at, _) = class { Some(*at) } else { None }))
    }

    /// How many of a problem's parameters are no weights.
    pub(super) fn extras(&self, problem: usize) -> usize {
        let own = self.classes.iter().find_map(|class| match class {
            Class::Own(at, levels) if *at == problem => Some(levels.len() - 1),
            _ => None,
        });
        own.unwrap_or(self.classes.len())
    }

    /// Two classes: half the strength on two opposite vectors is scikit-learn's penalty on their difference.
    pub(super) fn half(&self) -> f64 {
        if self.head == Shape::Softmax && self.classes.len() == 2 { 0.5 } else { 1.0 }
    }

    /// The probe, from the parameters of its problems as the solver has them; `back` takes weights `[width, lanes]` to those on
    /// the features.
    pub(super) fn build<'s>(&self, width: usize, theta: impl Fn(usize) -> &'s [f64], back: impl Fn(&[f64], usize) -> Vec<f64>) -> Fitted {
        let outputs = self.classes.len();
        let weights: Vec<(usize, &[f64])> = self.problems().map(|at| (at, theta(at))).collect();
        if let (Shape::Softmax, [(_, theta)]) = (self.head, weights.as_slice()) {
            let (w, b) = theta.split_at(width * outputs);
            let mut by_column = vec![0f64; w.len()];
            transpose(w, outputs, width, &mut by_column);
            let layer = linear(&back(&by_column, outputs), b.iter().map(|&v| v as f32).collect());
            return Fitted::linear(ProbeKind::Logistic, layer, Head::Softmax { temperature: 1.0 });
        }
        // The classes' weights side by side, zeros where the label is constant.
        let mut by_column = vec![0f64; width * outputs];
        let (mut bias, mut levels) = (vec![0f32; outputs], Vec::new());
        for (output, class) in self.classes.iter().enumerate() {
            match class {
                Class::Own(at, values) => {
                    let (w, thresholds) = theta(*at).split_at(width);
                    by_column.iter_mut().skip(output).step_by(outputs).zip(w).for_each(|(out, w)| *out = *w);
                    if self.head == Shape::Sigmoid {
                        bias[output] = -thresholds[0] as f32;
                    }
                    levels.push(Levels { values: values.clone(), thresholds: thresholds.iter().map(|&t| t as f32).collect() });
                }
                Class::Constant(value) => {
                    if self.head == Shape::Sigmoid {
                        bias[output] = *value;
                    }
                    levels.push(Levels { values: vec![*value], thresholds: Vec::new() });
                }
                Class::Shared(_) => unreachable!("classes share a problem under softmax alone"),
            }
        }
        let layer = linear(&back(&by_column, outputs), bias);
        let head = if self.head == Shape::Sigmoid { Head::Sigmoid { temperature: 1.0 } } else { Head::Ordinal(levels) };
        Fitted::linear(ProbeKind::Logistic, layer, head)
    }
}

/// The values of rows that count, ascending and each once.
fn levels(column: &[f32], targets: &Targets<'_>) -> Vec<f32> {
    let mut levels: Vec<f32> = column.iter().enumerate().filter(|(row, _)| targets.weight(*row) > 0.0).map(|(_, v)| *v).collect();
    levels.sort_by(f32::total_cmp);
    levels.dedup();
    levels
}

/// The logit of `(count + 1/2) / (total + 1)` of a class that no row (0) or every row (1) has: half a row of each kind is
/// added (the Jeffreys prior), for a share of 0 would make a single such row in test infinitely unlikely.
pub(crate) fn constant_logit(value: f32, total: f64) -> f32 {
    let odds = (2.0 * total + 1.0).ln() as f32;
    if value > 0.5 { odds } else { -odds }
}

/// Weight of each row in the loss, `[n]`. Every class must have a row that weighs anything.
fn row_weights(labels: &[u32], weights: Option<&[f32]>, classes: usize) -> Result<Vec<f64>, ProbeError> {
    class_totals(labels, weights, classes)?;
    Ok((0..labels.len()).map(|i| weights.map_or(1.0, |w| f64::from(w[i]))).collect())
}
