//! Rotary frequencies and their tables.

use candle_core::{Device, Result, Tensor};
use limbic_proto::architecture::{Architecture, RopeScaling};

/// Cosines and sines by position, f32, `[context, w / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl Rope {
    /// The tables for all positions of the model's context.
    ///
    /// `factors` are the divisors of a GGUF file's `rope_freqs.weight`. All arithmetic is in f32, as in transformers.
    pub(crate) fn new(architecture: &Architecture, factors: Option<&[f32]>, device: &Device) -> Result<Rope> {
        let frequencies = frequencies(architecture, factors);
        let (context, half) = (architecture.context, frequencies.len());
        let mut angles = Vec::with_capacity(context * half);
        for position in 0..context {
            angles.extend(frequencies.iter().map(|f| position as f32 * f));
        }
        let table = |f: fn(f32) -> f32| Tensor::from_vec(angles.iter().map(|a| f(*a)).collect::<Vec<_>>(), (context, half), device);
        Ok(Rope { cos: table(f32::cos)?, sin: table(f32::sin)? })
    }
}

/// The angle per position of each pair of a head's elements.
fn frequencies(architecture: &Architecture, factors: Option<&[f32]>) -> Vec<f32> {
    let width = architecture.head_dim;
    let plain = (0..width / 2).map(|i| 1.0 / (architecture.rope_theta as f32).powf((2 * i) as f32 / width as f32));
    match architecture.rope_scaling {
        None => plain.collect(),
        Some(RopeScaling::Linear { factor }) => plain.map(|f| f / factor as f32).collect(),
        Some(RopeScaling::Factors) => {
            let factors = factors.unwrap_or(&[]);
            plain.enumerate().map(|(i, f)| f / factors.get(i).copied().unwrap_or(1.0)).collect()
        }
        Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context }) => {
            let (factor, low, high) = (factor as f32, low_freq_factor as f32, high_freq_factor as f32);
            let original = original_context as f32;
            let stretch = |f: f32| {
                let wavelength = 2.0 * std::f32::consts::PI / f;
                if wavelength > original / low {
                    f / factor
                } else if wavelength < original / high {
                    f
                } else {
                    let smooth = (original / wavelength - low) / (high - low);
                    (1.0 - smooth) * f / factor + smooth * f
                }
            };
            plain.map(stretch).collect()
        }
    }
}
