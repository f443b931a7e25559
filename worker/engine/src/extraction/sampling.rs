//! Choosing the next token.

use candle_core::{D, DType, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One row's way of choosing tokens.
pub(crate) struct Sampler {
    temperature: f64,
    random: ChaCha8Rng,
}

impl Sampler {
    /// Greedy at temperature 0; otherwise a stream of choices that depends on `seed` only.
    pub(crate) fn new(temperature: f64, seed: u64) -> Sampler {
        Sampler { temperature, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Whether nothing is drawn.
    pub(crate) fn greedy(&self) -> bool {
        self.temperature <= 0.0
    }

    /// The next token given the scores `[vocab]`; `None` if a score is NaN.
    pub(crate) fn choose(&mut self, scores: &[f32]) -> Option<u32> {
        let best = argmax(scores)?;
        if self.greedy() {
            return Some(best as u32);
        }
        let most = f64::from(scores[best]);
        let weight = |s: &f32| ((f64::from(*s) - most) / self.temperature).exp();
        let total: f64 = scores.iter().map(weight).sum();
        let mut left = self.random.random::<f64>() * total;
        for (token, score) in scores.iter().enumerate() {
            left -= weight(score);
            if left < 0.0 {
                return Some(token as u32);
            }
        }
        Some(best as u32)
    }
}

/// The first of the largest scores, as torch's `argmax` on CPU; `None` if one is NaN.
fn argmax(scores: &[f32]) -> Option<usize> {
    const LANES: usize = 16;
    let (whole, rest) = scores.as_chunks::<LANES>();
    let (mut most, mut nan) = ([f32::NEG_INFINITY; LANES], [false; LANES]);
    for chunk in whole {
        for i in 0..LANES {
            most[i] = if chunk[i] > most[i] { chunk[i] } else { most[i] };
            nan[i] |= chunk[i].is_nan();
        }
    }
    if nan.contains(&true) || rest.iter().any(|s| s.is_nan()) {
        return None;
    }
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |m, s| if *s > m { *s } else { m });
    scores.iter().position(|s| *s == most)
}

/// The likeliest token of every row of scores `[rows, vocab]`, the first one where several are, found where they lie; `None` if one
/// is NaN.
pub(crate) fn likeliest(scores: &Tensor) -> candle_core::Result<Vec<Option<u32>>> {
    let best = scores.argmax(D::Minus1)?.to_dtype(DType::F32)?;
    // A sum is NaN if a score is.
    let sums = scores.sum(D::Minus1)?;
    let equal = scores.broadcast_eq(&scores.max_keepdim(D::Minus1)?)?.to_dtype(DType::F32)?.sum(D::Minus1)?;
    // In one copy; f32 counts exactly up to 16,777,216.
    let found = Tensor::stack(&[best, sums, equal], 1)?.to_vec2::<f32>()?;
    let one = |(row, found): (usize, Vec<f32>)| match found[..] {
        [_, sum, _] if sum.is_nan() => Ok(None),
        // A GPU takes any of several largest scores.
        [_, _, equal] if equal > 1.0 => Ok(argmax(&scores.get(row)?.to_vec1::<f32>()?).map(|best| best as u32)),
        [best, ..] => Ok(Some(best as u32)),
        [] => unreachable!("three numbers were stacked"),
    };
    found.into_iter().enumerate().map(one).collect()
}

/// `log(sum(exp(scores)))`, in f64.
pub(crate) fn log_sum_exp(scores: &[f32]) -> f64 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|s| f64::from(s - most).exp()).sum();
    f64::from(most) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_largest_and_refuses_nan() {
        assert_eq!(Sampler::new(0.0, 1).choose(&[0.0, 2.0, 2.0]), Some(1));
        assert_eq!(Sampler::new(0.0, 1).choose(&[0.0, f32::NAN]), None);
        assert_eq!(Sampler::new(0.0, 1).choose(&[f32::NEG_INFINITY; 40]), Some(0));
        // Anywhere among so many that they are looked at side by side.
        for at in 0..40 {
            let mut scores: Vec<f32> = (0..40).map(|i| -1.0 - (i as f32)).collect();
            (scores[39], scores[at]) = (7.0, 7.0);
            assert_eq!(Sampler::new(0.0, 1).choose(&scores), Some(at as u32));
            scores[at] = f32::NAN;
            assert_eq!(Sampler::new(0.0, 1).choose(&scores), None);
        }
    }

    #[test]
    fn where_the_scores_lie_the_same_is_chosen() {
        let rows = [[0.0, 2.0, 2.0, -1.0], [0.0, f32::NAN, 1.0, 0.5], [-3.0, -8.0, -2.0, -2.5], [1.0, 0.0, 1.0, 1.0]];
        let found = likeliest(&Tensor::new(&rows, &candle_core::Device::Cpu).unwrap()).unwrap();
        assert_eq!(found, rows.map(|row| Sampler::new(0.0, 1).choose(&row)));
    }

    #[test]
    fn sampling_follows_the_softmax_and_the_seed() {
        let draw = |seed| {
            let mut sampler = Sampler::new(0.5, seed);
            (0..4000).map(|_| sampler.choose(&[0.0, 0.5, -9.0]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        // softmax of [0, 1] (scores over temperature) is 0.269, 0.731.
        let share = draw(3).iter().filter(|t| **t == 1).count() as f64 / 4000.0;
        assert!((share - 0.731).abs() < 0.03, "{share}");
    }
}
