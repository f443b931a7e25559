//! The log-losses that linear probes are fitted to, as functions of scores that are linear in the features.
//!
//! Scores are laid out lane after lane, `[lanes][n]`, so that loops over rows vectorise. Beside the scores a loss has a few
//! parameters of its own, its extras: intercepts, or the thresholds between ordered levels. Row weights hold the strength.

use super::head::softplus;
use super::softmax::{exp, softmax};

/// A convex loss of a row's scores and of the extras.
#[derive(Debug, Clone)]
pub(crate) enum Loss<'a> {
    /// Minus the log-softmax of the label's lane; one lane and one intercept for each of `classes`.
    Multinomial {
        /// Class of each row, `[n]`.
        labels: &'a [u32],
        /// Number of classes.
        classes: usize,
    },
    /// Cumulative logits (McCullagh 1980): `P(level <= l) = sigmoid(threshold_l - score)`, one lane. Of two levels it is
    /// logistic regression with the intercept `-threshold`.
    Cumulative {
        /// Level of each row, `[n]`, from 0; every level occurs.
        levels: Vec<u32>,
        /// One fewer than there are levels.
        thresholds: usize,
    },
}

/// Where a loss is evaluated: `scores + t * along` and `extras + t * turn`, for some `t`.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Strength times weight of each row, `[n]`.
    pub weights: &'a [f32],
    /// `[lanes][n]`.
    pub scores: &'a [f32],
    /// `[lanes][n]`.
    pub along: &'a [f32],
    /// The extras.
    pub extras: &'a [f64],
    /// Their direction.
    pub turn: &'a [f64],
}

/// Stands for a threshold beyond the first or last level.
const FAR: f32 = 1e30;

impl Loss<'_> {
    /// Scores of a row.
    pub fn lanes(&self) -> usize {
        match self {
            Loss::Multinomial { classes, .. } => *classes,
            Loss::Cumulative { .. } => 1,
        }
    }

    /// Parameters beside the scores.
    pub fn extras(&self) -> usize {
        match self {
            Loss::Multinomial { classes, .. } => *classes,
            Loss::Cumulative { thresholds, .. } => *thresholds,
        }
    }

    /// Numbers for each row that [`Loss::slopes`] leaves for what follows.
    pub fn states(&self) -> usize {
        match self {
            Loss::Multinomial { classes, .. } => *classes,
            Loss::Cumulative { .. } => 2,
        }
    }

    /// The extras that are best while all scores are 0.
    pub fn start(&self, weights: &[f32]) -> Vec<f64> {
        let (labels, levels) = match self {
            Loss::Multinomial { labels, classes } => (*labels, *classes),
            Loss::Cumulative { levels, thresholds } => (levels.as_slice(), thresholds + 1),
        };
        let mut totals = vec![0f64; levels];
        labels.iter().zip(weights).for_each(|(&l, &w)| totals[l as usize] += f64::from(w));
        match self {
            Loss::Multinomial { .. } => {
                let logs: Vec<f64> = totals.iter().map(|t| t.ln()).collect();
                let mean = logs.iter().sum::<f64>() / levels as f64;
                logs.iter().map(|l| l - mean).collect()
            }
            Loss::Cumulative { thresholds, .. } => {
                let all: f64 = totals.iter().sum();
                let below = totals.iter().scan(0.0, |sum, t| {
                    *sum += t;
                    Some((*sum / (all - *sum)).ln())
                });
                below.take(*thresholds).collect()
            }
        }
    }

    /// The weighted sum of the rows' losses.
    pub fn value(&self, scores: &[f32], extras: &[f64], weights: &[f32]) -> f64 {
        let n = weights.len();
        match self {
            Loss::Multinomial { labels, .. } => {
                let row = |(i, (&label, &weight)): (usize, (&u32, &f32))| {
                    let logits = || scores.iter().skip(i).step_by(n).zip(extras).map(|(&s, b)| f64::from(s) + b);
                    let top = logits().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = logits().map(|l| f64::from(exp((l - top) as f32))).sum();
                    let own = f64::from(scores[label as usize * n + i]) + extras[label as usize];
                    f64::from(weight) * (top + sum.ln() - own)
                };
                labels.iter().zip(weights).enumerate().map(row).sum()
            }
            Loss::Cumulative { levels, thresholds } => {
                let totals = level_totals(levels, *thresholds, weights);
                let rows = levels.iter().zip(scores).zip(weights).map(|((&level, &s), &weight)| {
                    let (level, s) = (level as usize, f64::from(s));
                    let upper = if level < *thresholds { softplus(s - extras[level]) } else { 0.0 };
                    let lower = if level > 0 { softplus(extras[level - 1] - s) } else { 0.0 };
                    f64::from(weight) * (upper + lower)
                });
                let between = extras.windows(2).zip(&totals[1..]).map(|(pair, w)| -w * (-(pair[0] - pair[1]).exp()).ln_1p());
                rows.sum::<f64>() + between.sum::<f64>()
            }
        }
    }

    /// The largest step along a direction of the extras that keeps thresholds in order.
    pub fn reach(&self, extras: &[f64], turn: &[f64]) -> f64 {
        match self {
            Loss::Multinomial { .. } => f64::INFINITY,
            Loss::Cumulative { .. } => {
                let gaps = extras.windows(2).zip(turn.windows(2)).map(|(e, d)| (e[1] - e[0], d[1] - d[0]));
                gaps.filter(|(_, change)| *change < 0.0).map(|(gap, change)| -gap / change).fold(f64::INFINITY, f64::min)
            }
        }
    }

    /// First and second derivative of the weighted loss by `t`, at `t`. Leaves what [`Loss::residual`] and
    /// [`Loss::curvature`] need in `state`, `[states][n]`.
    pub fn slopes(&self, line: &Line<'_>, t: f64, state: &mut [f32]) -> (f64, f64) {
        match self {
            Loss::Multinomial { labels, .. } => multinomial_slopes(labels, line, t, state),
            Loss::Cumulative { levels, thresholds } => cumulative_slopes(levels, *thresholds, line, t, state),
        }
    }

    /// The loss's derivative by the scores, `[lanes][n]`, into `out`; returns that by the extras.
    pub fn residual(&self, state: &[f32], extras: &[f64], weights: &[f32], out: &mut [f32]) -> Vec<f64> {
        let n = weights.len();
        let total = |lane: &[f32]| lane.iter().map(|&r| f64::from(r)).sum::<f64>();
        match self {
            Loss::Multinomial { labels, .. } => {
                let mut others = vec![0f32; n];
                for (c, (lane, p)) in out.chunks_exact_mut(n).zip(state.chunks_exact(n)).enumerate() {
                    for ((((r, p), w), o), &label) in lane.iter_mut().zip(p).zip(weights).zip(&mut others).zip(*labels) {
                        *r = w * p;
                        *o += if label as usize == c { 0.0 } else { *r };
                    }
                }
                // Not `p - 1`, which would round away what is left of a row that is nearly certain.
                labels.iter().zip(&others).enumerate().for_each(|(i, (&label, o))| out[label as usize * n + i] = -o);
                out.chunks_exact(n).map(total).collect()
            }
            Loss::Cumulative { levels, thresholds } => {
                let (upper, lower) = state.split_at(n);
                let mut by_extras = vec![0f64; *thresholds];
                for (i, (r, &w)) in out.iter_mut().zip(weights).enumerate() {
                    let (level, up, low) = (levels[i] as usize, w * upper[i], w * lower[i]);
                    *r = up - low;
                    if level < *thresholds {
                        by_extras[level] -= f64::from(up);
                    }
                    if level > 0 {
                        by_extras[level - 1] += f64::from(low);
                    }
                }
                let totals = level_totals(levels, *thresholds, weights);
                for l in 1..*thresholds {
                    let pull = totals[l] / (extras[l] - extras[l - 1]).exp_m1();
                    by_extras[l] -= pull;
                    by_extras[l - 1] += pull;
                }
                by_extras
            }
        }
    }

    /// The curvature of each row's loss along each lane alone, `[lanes][n]`.
    pub fn curvature(&self, state: &[f32], weights: &[f32]) -> Vec<f32> {
        let n = weights.len();
        let bend = |p: f32| p * (1.0 - p);
        match self {
            // Across the lanes, whose sum the loss doesn't see, the curvature of equal probabilities is 1 / K.
            Loss::Multinomial { classes, .. } => {
                let scale = *classes as f32 / (classes - 1) as f32;
                state.chunks_exact(n).flat_map(|lane| lane.iter().zip(weights).map(|(&p, w)| scale * w * bend(p))).collect()
            }
            Loss::Cumulative { .. } => {
                let (upper, lower) = state.split_at(n);
                upper.iter().zip(lower).zip(weights).map(|((&up, &low), w)| w * (bend(up) + bend(low))).collect()
            }
        }
    }

    /// Whether a change of all lanes alike changes nothing.
    pub fn shifts(&self) -> bool {
        matches!(self, Loss::Multinomial { .. })
    }

    /// Second derivatives by the extras, `[extras, extras]`; of intercepts, whose matrix is singular, the diagonal.
    pub fn bend(&self, state: &[f32], extras: &[f64], weights: &[f32]) -> Vec<f64> {
        let (n, q) = (weights.len(), self.extras());
        let mut out = vec![0f64; q * q];
        let bend = |p: f32, w: f32| f64::from(w * p * (1.0 - p));
        match self {
            Loss::Multinomial { .. } => {
                for (c, lane) in state.chunks_exact(n).enumerate() {
                    out[c * q + c] = lane.iter().zip(weights).map(|(&p, &w)| bend(p, w)).sum();
                }
            }
            Loss::Cumulative { levels, thresholds } => {
                let (upper, lower) = state.split_at(n);
                for (i, &w) in weights.iter().enumerate() {
                    let level = levels[i] as usize;
                    if level < q {
                        out[level * q + level] += bend(upper[i], w);
                    }
                    if level > 0 {
                        out[(level - 1) * q + level - 1] += bend(lower[i], w);
                    }
                }
                let totals = level_totals(levels, *thresholds, weights);
                for l in 1..q {
                    let gap = extras[l] - extras[l - 1];
                    let stiff = totals[l] / (gap.exp_m1() * (-(-gap).exp_m1()));
                    for (a, b, sign) in [(l, l, 1.0), (l - 1, l - 1, 1.0), (l, l - 1, -1.0), (l - 1, l, -1.0)] {
                        out[a * q + b] += sign * stiff;
                    }
                }
            }
        }
        out
    }
}

/// Weight of each level but the last, which no gap follows.
fn level_totals(levels: &[u32], thresholds: usize, weights: &[f32]) -> Vec<f64> {
    let mut totals = vec![0f64; thresholds + 1];
    levels.iter().zip(weights).for_each(|(&level, &w)| totals[level as usize] += f64::from(w));
    totals.truncate(thresholds);
    totals
}

fn multinomial_slopes(labels: &[u32], line: &Line<'_>, t: f64, p: &mut [f32]) -> (f64, f64) {
    let n = labels.len();
    let lanes = || line.scores.chunks_exact(n).zip(line.along.chunks_exact(n)).zip(line.extras.iter().zip(line.turn));
    for (p, ((scores, along), (extra, turn))) in p.chunks_exact_mut(n).zip(lanes()) {
        let (t, shift) = (t as f32, (extra + t * turn) as f32);
        p.iter_mut().zip(scores).zip(along).for_each(|((p, s), a)| *p = s + t * a + shift);
    }
    softmax(p, n);
    // Relative to the label's own direction, so that a row that is nearly certain keeps its precision.
    let own = |(i, &label): (usize, &u32)| line.along[label as usize * n + i] + line.turn[label as usize] as f32;
    let own: Vec<f32> = labels.iter().enumerate().map(own).collect();
    let (mut mean, mut square) = (vec![0f32; n], vec![0f32; n]);
    for (p, ((_, along), (_, turn))) in p.chunks_exact(n).zip(lanes()) {
        let turn = *turn as f32;
        for ((((p, a), o), m), s) in p.iter().zip(along).zip(&own).zip(&mut mean).zip(&mut square) {
            let away = a + turn - o;
            *m += p * away;
            *s += p * away * away;
        }
    }
    let (mut slope, mut bend) = (0f64, 0f64);
    for ((m, s), &weight) in mean.iter().zip(&square).zip(line.weights) {
        slope += f64::from(weight) * f64::from(*m);
        bend += f64::from(weight) * f64::from((s - m * m).max(0.0));
    }
    (slope, bend)
}

fn cumulative_slopes(levels: &[u32], thresholds: usize, line: &Line<'_>, t: f64, state: &mut [f32]) -> (f64, f64) {
    let at: Vec<f64> = line.extras.iter().zip(line.turn).map(|(e, d)| e + t * d).collect();
    // What lies above and below each level, and how it moves.
    let above: Vec<(f32, f32)> =
        (0..=thresholds).map(|l| if l < thresholds { (at[l] as f32, line.turn[l] as f32) } else { (FAR, 0.0) }).collect();
    let below: Vec<(f32, f32)> =
        (0..=thresholds).map(|l| if l > 0 { (at[l - 1] as f32, line.turn[l - 1] as f32) } else { (-FAR, 0.0) }).collect();
    let (upper, lower) = state.split_at_mut(levels.len());
    let (mut slope, mut bend) = (0f64, 0f64);
    for (i, &level) in levels.iter().enumerate() {
        let (score, along, weight) = (line.scores[i] + t as f32 * line.along[i], line.along[i], f64::from(line.weights[i]));
        let ((high, high_turn), (low, low_turn)) = (above[level as usize], below[level as usize]);
        let (up, down) = (narrow_sigmoid(score - high), narrow_sigmoid(low - score));
        let (by_up, by_down) = (along - high_turn, low_turn - along);
        (upper[i], lower[i]) = (up, down);
        slope += weight * f64::from(up * by_up + down * by_down);
        bend += weight * f64::from(up * (1.0 - up) * by_up * by_up + down * (1.0 - down) * by_down * by_down);
    }
    let totals = level_totals(levels, thresholds, line.weights);
    for l in 1..thresholds {
        let (gap, change) = (at[l] - at[l - 1], line.turn[l] - line.turn[l - 1]);
        slope -= totals[l] * change / gap.exp_m1();
        bend += totals[l] * change * change / (gap.exp_m1() * (-(-gap).exp_m1()));
    }
    (slope, bend)
}

/// The sigmoid in `f32`, relatively precise where it is small.
fn narrow_sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    if x > 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::head::sigmoid;

    /// Values, slopes, residuals and the extras' second derivatives against finite differences.
    #[test]
    fn derivatives_match_finite_differences() {
        let n = 40;
        let wave = |i: usize, by: f64| ((i as f64 * by).sin() * 1.5) as f32;
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % 4).collect();
        let weights: Vec<f32> = (0..n).map(|i| 0.5 + (i % 3) as f32).collect();
        let losses = [Loss::Multinomial { labels: &labels, classes: 4 }, Loss::Cumulative { levels: labels.clone(), thresholds: 3 }];
        for loss in losses {
            let (lanes, q) = (loss.lanes(), loss.extras());
            let scores: Vec<f32> = (0..lanes * n).map(|i| wave(i, 0.7)).collect();
            let along: Vec<f32> = (0..lanes * n).map(|i| wave(i, 1.3)).collect();
            let (extras, turn): (Vec<f64>, Vec<f64>) = (0..q).map(|e| (e as f64 - 0.8, 0.3 - 0.1 * e as f64)).unzip();
            let line = Line { weights: &weights, scores: &scores, along: &along, extras: &extras, turn: &turn };
            let value = |t: f64| {
                let moved: Vec<f32> = scores.iter().zip(&along).map(|(s, a)| s + t as f32 * a).collect();
                let extras: Vec<f64> = extras.iter().zip(&turn).map(|(e, d)| e + t * d).collect();
                loss.value(&moved, &extras, &weights)
            };
            let mut state = vec![0f32; loss.states() * n];
            let (slope, bend) = loss.slopes(&line, 0.25, &mut state);
            let h = 1.0 / 64.0;
            assert!((slope - (value(0.25 + h) - value(0.25 - h)) / (2.0 * h)).abs() < 2e-2, "{loss:?}");
            let (after, before) = (loss.slopes(&line, 0.25 + h, &mut state).0, loss.slopes(&line, 0.25 - h, &mut state).0);
            assert!((bend - (after - before) / (2.0 * h)).abs() < 2e-2, "{loss:?}: {bend}");
            // The slope is the residual along the line.
            let (slope, _) = loss.slopes(&line, 0.0, &mut state);
            let mut residual = vec![0f32; lanes * n];
            let by_extras = loss.residual(&state, &extras, &weights, &mut residual);
            let found: f64 = residual.iter().zip(&along).map(|(r, a)| f64::from(r * a)).sum::<f64>()
                + by_extras.iter().zip(&turn).map(|(g, d)| g * d).sum::<f64>();
            assert!((slope - found).abs() < 1e-3, "{loss:?}: {slope} {found}");
            // Second derivatives by each extra alone.
            let bends = loss.bend(&state, &extras, &weights);
            for e in 0..q {
                let mut unit = vec![0f64; q];
                unit[e] = 1.0;
                let still = vec![0f32; lanes * n];
                let (_, bend) = loss.slopes(&Line { along: &still, turn: &unit, ..line }, 0.0, &mut state);
                assert!((bend - bends[e * q + e]).abs() < 1e-3 * bend, "{loss:?} {e}: {bend} {}", bends[e * q + e]);
            }
            let start = loss.start(&weights);
            let mut zero = vec![0f32; loss.states() * n];
            let still = vec![0f32; lanes * n];
            loss.slopes(&Line { scores: &still, along: &still, extras: &start, turn: &vec![0.0; q], ..line }, 0.0, &mut zero);
            let rest = loss.residual(&zero, &start, &weights, &mut residual);
            assert!(rest.iter().all(|g| g.abs() < 1e-4), "{rest:?}");
        }
    }

    #[test]
    fn a_small_sigmoid_keeps_its_precision() {
        for x in [-80.0f32, -20.0, -1.0, 0.0, 3.0, 90.0] {
            let exact = sigmoid(f64::from(x)) as f32;
            assert!((narrow_sigmoid(x) / exact - 1.0).abs() < 1e-6, "{x}");
        }
        assert_eq!(narrow_sigmoid(-FAR), 0.0);
    }
}
