//! Softmax over logits laid out class after class, so that loops over rows vectorise.

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
