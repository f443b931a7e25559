//! Adam and the learning-rate schedule of the MLP probe.

use super::fitted::Linear;
use crate::kernel::lanes::dispatch;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) with torch's defaults: betas 0.9 and 0.999, epsilon 1e-8, no weight decay.
pub(crate) struct Adam {
    weight: Moments,
    bias: Moments,
    steps: i32,
}

/// Running means of the gradients of some parameters and of their squares.
struct Moments([Vec<f32>; 2]);

impl Moments {
    fn zero(parameters: usize) -> Moments {
        Moments([(); 2].map(|()| vec![0.0; parameters]))
    }
}

/// How far a step goes: the rate and the root of the second moment, both corrected for moments that began at zero.
#[derive(Clone, Copy)]
struct Stride {
    rate: f32,
    root: f32,
}

const BETA: [f64; 2] = [0.9, 0.999];

impl Adam {
    /// Zero moments for the parameters of `layer`.
    pub fn new(layer: &Linear) -> Self {
        Self { weight: Moments::zero(layer.weight.len()), bias: Moments::zero(layer.bias.len()), steps: 0 }
    }

    /// One step of `rate` against `gradient`.
    pub fn step(&mut self, layer: &mut Linear, gradient: &Linear, rate: f64) {
        self.steps += 1;
        let correction = BETA.map(|b| 1.0 - b.powi(self.steps));
        let stride = Stride { rate: (rate / correction[0]) as f32, root: (1.0 / correction[1].sqrt()) as f32 };
        update(&mut layer.weight, &mut self.weight, &gradient.weight, stride);
        update(&mut layer.bias, &mut self.bias, &gradient.bias, stride);
    }
}

fn update(values: &mut [f32], moments: &mut Moments, gradient: &[f32], stride: Stride) {
    dispatch!(updated(values: &mut [f32], moments: &mut Moments, gradient: &[f32], stride: Stride))
}

/// Nothing is fused: the bits are those of any processor.
#[inline(always)]
fn updated<const FMA: bool>(values: &mut [f32], Moments([mean, square]): &mut Moments, gradient: &[f32], Stride { rate, root }: Stride) {
    let (first, second) = (BETA[0] as f32, BETA[1] as f32);
    for (((v, m), s), &g) in values.iter_mut().zip(mean).zip(square).zip(gradient) {
        *m = first * *m + (1.0 - first) * g;
        *s = second * *s + (1.0 - second) * g * g;
        *v -= rate * *m / (s.sqrt() * root + 1e-8);
    }
}

/// Learning rate of `step` (from 0) of `steps`: rises linearly over the first `warmup` share, then falls as a half cosine.
///
/// The first step takes `peak / warm` rather than 0, so that no step is idle.
pub(crate) fn learning_rate(peak: f64, warmup: f64, step: usize, steps: usize) -> f64 {
    let warm = (steps as f64 * warmup).round() as usize;
    if step < warm {
        return peak * (step + 1) as f64 / warm as f64;
    }
    let along = (step - warm) as f64 / (steps - warm).max(1) as f64;
    peak * 0.5 * (1.0 + (std::f64::consts::PI * along).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls() {
        let rates: Vec<f64> = (0..100).map(|s| learning_rate(1e-4, 0.1, s, 100)).collect();
        assert!((rates[0] - 1e-5).abs() < 1e-12 && (rates[9] - 1e-4).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|w| w[1] < w[0]));
        assert!(rates[99] > 0.0 && rates[99] < 1e-7);
    }

    #[test]
    fn first_step_has_the_size_of_the_rate() {
        let mut layer = Linear { weight: vec![1.0, 1.0], bias: vec![0.0] };
        let gradient = Linear { weight: vec![3.0, -0.01], bias: vec![1e-3] };
        Adam::new(&layer).step(&mut layer, &gradient, 0.1);
        for (v, e) in layer.weight.iter().chain(&layer.bias).zip([0.9, 1.1, -0.1]) {
            assert!((v - e).abs() < 1e-4, "{v} for {e}");
        }
    }
}
