//! Weights as a model has them before training, drawn from a seed.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use limbic_proto::key::Digest;

use super::{LoadError, Rows, Tensors};

/// Numbers that are drawn from one stream.
const CHUNK: usize = 1 << 14;

/// Tensors under Hugging Face names: norms are 1, biases 0, all others normal with mean 0.
///
/// That is how the LLaMA, Qwen and Mistral families are initialised. The numbers depend on the seed and the tensor's name
/// alone: not on the machine, the number of threads, or the order in which tensors are asked for.
pub(crate) struct Random {
    /// The seed.
    pub seed: u64,
    /// The standard deviation.
    pub spread: f64,
    /// The divisors of rotary frequencies, which training doesn't change.
    pub factors: Option<Vec<f32>>,
}

impl Tensors for Random {
    fn load(&mut self, name: &str, shape: &[usize], _: Rows) -> Result<Vec<f32>, LoadError> {
        let count = shape.iter().product();
        if name.ends_with(".bias") {
            return Ok(vec![0.0; count]);
        }
        if name.ends_with("norm.weight") {
            return Ok(vec![1.0; count]);
        }
        let mut numbers = vec![0f32; count];
        let key = Digest::of_json(&("random weights", self.seed, name)).seed();
        numbers.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, numbers)| {
            let mut random = ChaCha8Rng::seed_from_u64(key);
            random.set_stream(chunk as u64);
            numbers.chunks_mut(2).for_each(|two| {
                let drawn = normal(&mut random).map(|x| (x * self.spread) as f32);
                two.copy_from_slice(&drawn[..two.len()]);
            });
        });
        Ok(numbers)
    }

    fn rope_factors(&mut self) -> Result<Option<Vec<f32>>, LoadError> {
        Ok(self.factors.clone())
    }

    fn not_finite(&self, name: &str) -> LoadError {
        unreachable!("drawn weights are finite, `{name}` too")
    }
}

/// Two independent standard normal numbers (Marsaglia and Bray 1964, the polar method).
///
/// Besides operations that IEEE 754 rounds alike everywhere it needs a logarithm, which is libm's own and so the same on
/// every platform, where that of the system is not.
fn normal(random: &mut ChaCha8Rng) -> [f64; 2] {
    let mut uniform = || (random.next_u64() >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0;
    loop {
        let (x, y) = (uniform(), uniform());
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let scale = (-2.0 * libm::log(square) / square).sqrt();
            return [x * scale, y * scale];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, name: &str, count: usize) -> Vec<f32> {
        let mut random = Random { seed, spread: 0.02, factors: None };
        random.load(name, &[count], Rows::Plain).unwrap()
    }

    const NAME: &str = "model.layers.3.self_attn.q_proj.weight";

    #[test]
    fn numbers_are_the_same_on_every_machine_and_number_of_threads() {
        let count = 3 * CHUNK + 5;
        let all = drawn(7, NAME, count);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| drawn(7, NAME, count)), all);
        }
        // Written down once; whoever changes them changes every random model.
        let digest = Digest::of(&all.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        assert_eq!((all[0], all[1], all[count - 1], digest.short().as_str()), (0.03144222, -0.0040384, -0.028243804, "336aa69efc55"));
    }

    #[test]
    fn numbers_are_normal_and_independent() {
        let (count, all) = (400_000, drawn(7, NAME, 400_000));
        let moment = |k: i32| all.iter().map(|x| (f64::from(*x) / 0.02).powi(k)).sum::<f64>() / count as f64;
        // Six standard errors of the first four moments.
        for (k, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let bound = 6.0 * f64::sqrt(variance / f64::from(count));
            assert!((moment(k) - expected).abs() < bound, "moment {k}: {} not within {bound} of {expected}", moment(k));
        }
        // P(|x| > 3) = 0.0027.
        let far = all.iter().filter(|x| x.abs() > 0.06).count() as f64 / f64::from(count);
        assert!((far - 0.0027).abs() < 6.0 * (0.0027f64 / f64::from(count)).sqrt(), "{far}");
        let along = |other: &[f32]| {
            let sum: f64 = all.iter().zip(other).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            sum / (f64::from(count) * 0.0004)
        };
        let others = [drawn(8, NAME, 400_000), drawn(7, "lm_head.weight", 400_000), all[1..].to_vec(), all[CHUNK..].to_vec()];
        for other in &others {
            assert!(along(other).abs() < 6.0 / f64::from(count).sqrt(), "{}", along(other));
        }
    }

    #[test]
    fn norms_are_one_and_biases_zero() {
        for name in ["model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_norm.weight"] {
            assert_eq!(drawn(1, name, 3), [1.0; 3], "{name}");
        }
        assert_eq!(drawn(1, "model.layers.0.self_attn.q_proj.bias", 3), [0.0; 3]);
        assert!(drawn(1, "lm_head.weight", 3).iter().all(|x| *x != 0.0 && *x != 1.0));
    }
}
