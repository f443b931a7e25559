//! Exponential decay of a signal over offsets, fitted by least squares.

use std::f64::consts::LN_2;

/// Half-lives tried: log-spaced steps.
const STEPS: usize = 240;

/// The longest half-life tried, in lengths of the whole span.
pub const LONGEST: f64 = 100.0;

/// Fits `a · 2^(-k/h)` to a signal above its floor, at fixed offsets: for each half-life of a log-spaced grid the best
/// amplitude is closed-form (variable projection, Golub & Pereyra 1973), so a fit costs grid x offsets
/// multiplications, cheap enough for every resample.
#[derive(Debug, Clone)]
pub struct DecayFit {
    half_lives: Vec<f64>,
    /// `[half-lives][offsets]`: 2^(-k/h).
    shapes: Vec<Vec<f64>>,
    /// Per half-life: the shape's sum of squares.
    norms: Vec<f64>,
}

/// One fitted decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decayed {
    /// Tokens until half of the signal is left; infinite if the best fit is the longest half-life tried, 0 if it is the shortest.
    pub half_life: f64,
    /// The signal at the first offset; not above 0 if there is none.
    pub amplitude: f64,
}

impl Decayed {
    /// What is left of the signal so many tokens after the first offset.
    pub fn at(&self, tokens: f64) -> f64 {
        if tokens == 0.0 { self.amplitude } else { self.amplitude * (-tokens * LN_2 / self.half_life).exp() }
    }
}

impl DecayFit {
    /// For offsets in ascending order; time starts at the first. Half-lives from a fifth of the first step, after which 3 % would be left,
    /// to a hundred times the whole span are tried.
    pub fn new(offsets: &[u32]) -> DecayFit {
        let first = offsets.first().copied().unwrap_or(0);
        let times: Vec<f64> = offsets.iter().map(|k| f64::from(k - first)).collect();
        let step = times.get(1).copied().unwrap_or(1.0);
        let (low, high) = (step / 5.0, times.last().copied().unwrap_or(1.0).max(1.0) * LONGEST);
        let half_lives: Vec<f64> = (0..STEPS).map(|i| low * (high / low).powf(i as f64 / (STEPS - 1) as f64)).collect();
        let shapes: Vec<Vec<f64>> = half_lives.iter().map(|h| times.iter().map(|t| (-t * LN_2 / h).exp()).collect()).collect();
        let norms = shapes.iter().map(|s| s.iter().map(|v| v * v).sum()).collect();
        DecayFit { half_lives, shapes, norms }
    }

    /// The shortest half-life tried, in tokens: shorter ones can't be told from it, for nothing was measured so early.
    pub fn shortest(&self) -> f64 {
        self.half_lives[0]
    }

    /// The least-squares fit to a signal (value minus floor), one value per offset.
    pub fn fit(&self, signal: &[f64]) -> Decayed {
        // SSE = |y|² - (y·e)² / |e|²: the best shape has the largest gain among those with a positive amplitude.
        let gain: Vec<f64> = self
            .shapes
            .iter()
            .zip(&self.norms)
            .map(|(shape, norm)| {
                let product: f64 = shape.iter().zip(signal).map(|(s, y)| s * y).sum();
                if product > 0.0 { product * product / norm } else { 0.0 }
            })
            .collect();
        let best = (0..gain.len()).max_by(|a, b| gain[*a].total_cmp(&gain[*b]).then(b.cmp(a))).unwrap_or(0);
        if gain[best].is_nan() || gain[best] <= 0.0 {
            return Decayed { half_life: f64::NAN, amplitude: 0.0 };
        }
        let amplitude = (gain[best] / self.norms[best]).sqrt();
        if best + 1 == gain.len() {
            return Decayed { half_life: f64::INFINITY, amplitude };
        }
        if best == 0 {
            return Decayed { half_life: 0.0, amplitude };
        }
        // The top of the parabola through the best step and its neighbours, on the log axis.
        let (left, top, right) = (gain[best - 1], gain[best], gain[best + 1]);
        let curve = left - 2.0 * top + right;
        let shift = if curve < 0.0 { ((left - right) / (2.0 * curve)).clamp(-0.5, 0.5) } else { 0.0 };
        let ratio = self.half_lives[best + 1] / self.half_lives[best];
        Decayed { half_life: self.half_lives[best] * ratio.powf(shift), amplitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flat_signal_never_halves_and_none_has_no_amplitude() {
        let fit = DecayFit::new(&[0, 1, 4, 16]);
        assert_eq!(fit.fit(&[0.3; 4]).half_life, f64::INFINITY);
        assert!((fit.fit(&[0.3; 4]).at(16.0) - 0.3).abs() < 2e-3, "the longest half-life tried is a hundred spans");
        assert_eq!(fit.fit(&[-0.1; 4]).amplitude, 0.0);
        assert_eq!(fit.fit(&[0.0; 4]).amplitude, 0.0);
    }

    #[test]
    fn what_is_gone_before_the_second_offset_is_shorter_than_can_be_told() {
        for offsets in [[0, 8, 16, 32], [0, 32, 40, 48], [5, 69, 70, 133]] {
            let fit = DecayFit::new(&offsets);
            let found = fit.fit(&[0.4, 0.0, 0.0, 0.0]);
            assert_eq!((found.half_life, found.at(0.0), found.at(8.0)), (0.0, found.amplitude, 0.0));
            assert!((found.amplitude - 0.4).abs() < 1e-3 && fit.shortest() == f64::from(offsets[1] - offsets[0]) / 5.0);
        }
    }

    proptest! {
        #[test]
        fn a_clean_decay_is_recovered(half_life in 0.8_f64..200.0, amplitude in 0.05_f64..0.9) {
            let offsets = [0_u32, 1, 2, 4, 8, 16, 32, 64];
            let signal: Vec<f64> = offsets.iter().map(|k| amplitude * (-f64::from(*k) * LN_2 / half_life).exp()).collect();
            let found = DecayFit::new(&offsets).fit(&signal);
            prop_assert!((found.half_life / half_life - 1.0).abs() < 0.02, "{} for {}", found.half_life, half_life);
            prop_assert!((found.amplitude / amplitude - 1.0).abs() < 0.05);
            for (k, left) in offsets.iter().zip(&signal) {
                prop_assert!((found.at(f64::from(*k)) - left).abs() < 0.03 * amplitude, "offset {}", k);
            }
        }
    }
}
