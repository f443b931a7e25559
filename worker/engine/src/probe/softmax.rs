//! Softmax, log-loss and their derivatives along a line, over logits laid out class after class so that rows vectorise.

/// `e^x` in `f32` to about 2 units in the last place, branch-free so that loops over it vectorise; 0 below -87.
///
/// Range reduction by `ln 2` and a degree-6 polynomial, as in Cephes `expf`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low mantissa bits
    let live = if x < -87.0 { 0.0 } else { 1.0 };
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power) * live
}

/// Turns logits into probabilities in place; `logits` is `[classes][n]`, class after class.
pub(crate) fn softmax(logits: &mut [f32], n: usize) {
    let mut top = vec![f32::NEG_INFINITY; n];
    for class in logits.chunks_exact(n) {
        top.iter_mut().zip(class).for_each(|(t, &l)| *t = t.max(l));
    }
    let mut sum = vec![0f32; n];
    for class in logits.chunks_exact_mut(n) {
        for ((l, t), s) in class.iter_mut().zip(&top).zip(&mut sum) {
            *l = exp(*l - t);
            *s += *l;
        }
    }
    sum.iter_mut().for_each(|s| *s = s.recip());
    for class in logits.chunks_exact_mut(n) {
        class.iter_mut().zip(&sum).for_each(|(l, s)| *l *= s);
    }
}

/// Sum of `weight * -ln p(label)` in nats; `logits` is `[classes][n]`, weights are 1 when absent.
pub(crate) fn log_loss(logits: &[f32], labels: &[u32], weights: Option<&[f32]>) -> f64 {
    let n = labels.len();
    let mut total = 0f64;
    for (i, &label) in labels.iter().enumerate() {
        let rows = || logits.iter().skip(i).step_by(n);
        let top = rows().fold(f32::NEG_INFINITY, |t, &l| t.max(l));
        let sum: f64 = rows().map(|&l| f64::from(l - top).exp()).sum();
        let loss = f64::from(top) + sum.ln() - f64::from(logits[label as usize * n + i]);
        total += loss * weights.map_or(1.0, |w| f64::from(w[i]));
    }
    total
}

/// The loss along a line of logits `from + t * along`, both `[classes][n]`.
pub(crate) struct Line<'a> {
    labels: &'a [u32],
    weights: &'a [f32],
    from: &'a [f32],
    along: &'a [f32],
}

impl<'a> Line<'a> {
    /// Rows weigh `weights`, `[n]`.
    pub fn new(labels: &'a [u32], weights: &'a [f32], from: &'a [f32], along: &'a [f32]) -> Self {
        Self { labels, weights, from, along }
    }

    /// First and second derivative of the weighted log-loss with respect to `t`, at `t`.
    ///
    /// Leaves the probabilities at `t` in `p`, `[classes][n]`.
    pub fn derivatives(&self, t: f32, p: &mut [f32]) -> (f64, f64) {
        let n = self.labels.len();
        for ((p, f), a) in p.iter_mut().zip(self.from).zip(self.along) {
            *p = f + t * a;
        }
        softmax(p, n);
        // Relative to the label's own direction, so that a row that is nearly certain keeps its precision.
        let own: Vec<f32> = self.labels.iter().enumerate().map(|(i, &label)| self.along[label as usize * n + i]).collect();
        let (mut mean, mut square) = (vec![0f32; n], vec![0f32; n]);
        for (p, a) in p.chunks_exact(n).zip(self.along.chunks_exact(n)) {
            for ((((p, a), o), m), s) in p.iter().zip(a).zip(&own).zip(&mut mean).zip(&mut square) {
                let away = a - o;
                *m += p * away;
                *s += p * away * away;
            }
        }
        let (mut slope, mut bend) = (0f64, 0f64);
        for ((m, s), &weight) in mean.iter().zip(&square).zip(self.weights) {
            slope += f64::from(weight) * f64::from(*m);
            bend += f64::from(weight) * f64::from((s - m * m).max(0.0));
        }
        (slope, bend)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let relative = (super::exp(x) / x.exp() - 1.0).abs();
            assert!(relative < 3e-7, "exp({x}): {relative}");
        }
        assert_eq!(super::exp(f32::MIN), 0.0);
    }
}
