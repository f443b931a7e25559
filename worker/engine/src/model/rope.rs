//! Rotary frequencies and their tables.

use std::sync::{PoisonError, RwLock};

use candle_core::{Device, Result, Tensor};
use limbic_proto::architecture::{Architecture, RopeScaling};

/// Rotary frequencies, and tables of the positions that passes have had so far: a context may have a million.
#[derive(Debug)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
    device: Device,
    table: RwLock<Option<Table>>,
}

/// Cosines and sines by position, f32, `[positions, w / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    positions: usize,
    pub cos: Tensor,
    pub sin: Tensor,
}

/// The fewest positions of a table.
const FEWEST: usize = 1024;

impl Rope {
    /// `factors` are the divisors of a GGUF file's `rope_freqs.weight`. All arithmetic is in f32, as in transformers.
    pub(crate) fn new(architecture: &Architecture, factors: Option<&[f32]>, device: &Device) -> Rope {
        Rope { frequencies: frequencies(architecture, factors), device: device.clone(), table: RwLock::default() }
    }

    /// A table that has all of these positions.
    pub(crate) fn table(&self, positions: &[u32]) -> Result<Table> {
        let needed = positions.iter().max().map_or(0, |last| *last as usize + 1);
        let found = self.table.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(table) = found.filter(|table| table.positions >= needed) {
            return Ok(table);
        }
        let table = self.of(needed.next_power_of_two().max(FEWEST))?;
        let mut kept = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have made a larger one meanwhile.
        if kept.as_ref().is_none_or(|kept| kept.positions < table.positions) {
            *kept = Some(table.clone());
        }
        Ok(table)
    }

    fn of(&self, positions: usize) -> Result<Table> {
        let half = self.frequencies.len();
        let angles: Vec<f32> = (0..positions).flat_map(|position| self.frequencies.iter().map(move |f| position as f32 * f)).collect();
        let each = |f: fn(f32) -> f32| Tensor::from_vec(angles.iter().map(|a| f(*a)).collect::<Vec<_>>(), (positions, half), &self.device);
        Ok(Table { positions, cos: each(f32::cos)?, sin: each(f32::sin)? })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_grows_with_the_positions_and_keeps_its_numbers() {
        let config = r#"{"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 8,
            "vocab_size": 9, "max_position_embeddings": 1000000}"#;
        let rope = Rope::new(&Architecture::from_config(config).unwrap(), None, &Device::Cpu);
        let row = |table: &Table, at: usize| table.cos.get(at).unwrap().to_vec1::<f32>().unwrap();
        let small = rope.table(&[0, 3]).unwrap();
        assert_eq!(small.cos.dims(), [FEWEST, 16]);
        let large = rope.table(&[5000, 7]).unwrap();
        assert_eq!(large.cos.dims(), [8192, 16]);
        assert_eq!(row(&small, 1000), row(&large, 1000));
        assert_eq!(rope.table(&[8191]).unwrap().cos.dims(), [8192, 16]);
        assert_eq!(row(&large, 5000)[0], 5000f32.cos());
        assert_eq!(rope.table(&[]).unwrap().positions, 8192);
    }
}
