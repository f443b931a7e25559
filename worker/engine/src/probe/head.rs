//! From a probe's scores to its predictions, and how wrong they are, under each label scheme.

use super::labels::{Labels, Targets};
use super::product::transpose;
use super::softmax::softmax;

/// How scores `[n, K]` become predictions.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Probabilities that sum to 1: softmax of the scores over the temperature.
    Softmax {
        /// Divides the scores.
        temperature: f32,
    },
    /// A probability for each class: sigmoid of its score over the temperature.
    Sigmoid {
        /// Divides the scores.
        temperature: f32,
    },
    /// Expected intensities under cumulative logits, one set of levels for each class.
    Ordinal(Vec<Levels>),
    /// The scores themselves.
    Value,
}

/// The intensities of one class and the thresholds between them: `P(intensity <= values[l]) = sigmoid(thresholds[l] - score)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// The intensities that train has, ascending.
    pub values: Vec<f32>,
    /// Ascending, one fewer than values.
    pub thresholds: Vec<f32>,
}

impl Levels {
    fn expected(&self, score: f32) -> f32 {
        let steps = self.values.windows(2).zip(&self.thresholds);
        let above = |(pair, threshold): (&[f32], &f32)| f64::from(pair[1] - pair[0]) * sigmoid(f64::from(score - threshold));
        (f64::from(self.values[0]) + steps.map(above).sum::<f64>()) as f32
    }

    /// The level nearest to an intensity that train may lack; of two the lower.
    pub(crate) fn nearest(&self, value: f32) -> usize {
        let distance = |l: &usize| (self.values[*l] - value).abs();
        (0..self.values.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    }

    /// `-ln P(level)`.
    fn loss(&self, level: usize, score: f32) -> f64 {
        let away = |l: usize| f64::from(score) - f64::from(self.thresholds[l]);
        let upper = if level < self.thresholds.len() { softplus(away(level)) } else { 0.0 };
        let lower = if level > 0 { softplus(-away(level - 1)) } else { 0.0 };
        let between = level > 0 && level < self.thresholds.len();
        let gap = if between { away(level - 1) - away(level) } else { f64::INFINITY };
        upper + lower - (-(-gap).exp()).ln_1p()
    }
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)`, precise on both sides.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Head {
    /// Turns scores, row-major `[n, outputs]`, into predictions in place.
    pub(crate) fn predict(&self, scores: &mut [f32], n: usize, outputs: usize) {
        match self {
            Head::Softmax { temperature } => {
                scores.iter_mut().for_each(|s| *s /= temperature);
                softmax_rows(scores, n, outputs);
            }
            Head::Sigmoid { temperature } => scores.iter_mut().for_each(|s| *s = sigmoid(f64::from(*s / temperature)) as f32),
            Head::Ordinal(levels) => {
                for row in scores.chunks_exact_mut(outputs) {
                    row.iter_mut().zip(levels).for_each(|(s, levels)| *s = levels.expected(*s));
                }
            }
            Head::Value => {}
        }
    }

    /// The mean loss of scores `[n, outputs]`, row weights counting: log-loss in nats, summed over classes where a row may
    /// have several; squared error in units of `spread` (a variance for each output), averaged over outputs, of values.
    pub(crate) fn loss(&self, scores: &[f32], targets: &Targets<'_>, outputs: usize, spread: &[f64]) -> f64 {
        let (mut sum, mut total) = (0f64, 0f64);
        for (i, row) in scores.chunks_exact(outputs).enumerate() {
            let weight = targets.weight(i);
            sum += weight * self.row_loss(row, &targets.labels, i, spread);
            total += weight;
        }
        sum / total
    }

    fn row_loss(&self, scores: &[f32], labels: &Labels<'_>, row: usize, spread: &[f64]) -> f64 {
        let outputs = scores.len();
        match (self, labels) {
            (Head::Softmax { temperature }, Labels::Single(classes)) => {
                let at = |s: &f32| f64::from(*s) / f64::from(*temperature);
                let top = scores.iter().map(at).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|s| (at(s) - top).exp()).sum();
                top + sum.ln() - at(&scores[classes[row] as usize])
            }
            (Head::Sigmoid { temperature }, Labels::Multi(values)) => {
                let signed = |(s, v): (&f32, &f32)| f64::from(if *v > 0.5 { -s } else { *s }) / f64::from(*temperature);
                scores.iter().zip(&values[row * outputs..]).map(signed).map(softplus).sum()
            }
            (Head::Ordinal(levels), Labels::Intensity(values)) => {
                let each = scores.iter().zip(&values[row * outputs..]).zip(levels);
                each.map(|((s, v), levels)| levels.loss(levels.nearest(*v), *s)).sum()
            }
            (Head::Value, Labels::Intensity(values) | Labels::Continuous(values)) => {
                let each = scores.iter().zip(&values[row * outputs..]).zip(spread);
                each.map(|((s, v), spread)| f64::from(s - v).powi(2) / spread).sum::<f64>() / outputs as f64
            }
            _ => unreachable!("a head is chosen by the scheme of its labels"),
        }
    }
}

/// Softmax of each row of a row-major `[n, classes]`, in place.
pub(crate) fn softmax_rows(logits: &mut [f32], n: usize, classes: usize) {
    let mut by_class = vec![0f32; logits.len()];
    transpose(logits, n, classes, &mut by_class);
    softmax(&mut by_class, n);
    transpose(&by_class, classes, n, logits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinal_loss_is_minus_the_logarithm_of_the_levels_probability() {
        let levels = Levels { values: vec![0.0, 1.0, 3.0], thresholds: vec![-0.5, 1.25] };
        let score = 0.3f32;
        let below: Vec<f64> = levels.thresholds.iter().map(|t| sigmoid(f64::from(t - score))).collect();
        let p = [below[0], below[1] - below[0], 1.0 - below[1]];
        for (level, p) in p.iter().enumerate() {
            assert!((levels.loss(level, score) + p.ln()).abs() < 1e-7, "{level}");
        }
        assert!((f64::from(levels.expected(score)) - (p[1] + 3.0 * p[2])).abs() < 1e-6);
        assert_eq!([0.0, 0.4, 2.0, 2.1, 9.0].map(|v| levels.nearest(v)), [0, 0, 1, 2, 2]);
        let certain = Levels { values: vec![2.0], thresholds: Vec::new() };
        assert_eq!((certain.expected(7.0), certain.loss(0, 7.0)), (2.0, 0.0));
    }
}
