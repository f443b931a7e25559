//! The probes: against scikit-learn, against their own laws, and against damaged input.

#[path = "probe/against_sklearn.rs"]
mod against_sklearn;
#[path = "probe/agreement.rs"]
mod agreement;
#[path = "probe/damage.rs"]
mod damage;
#[path = "probe/laws.rs"]
mod laws;
#[path = "probe/moments.rs"]
mod moments;
#[path = "probe/network.rs"]
mod network;
#[path = "probe/schemes.rs"]
mod schemes;

use limbic_engine::probe::{Matrix, Split};

/// Owned features `[n, d]` with labels, drawn so that the labels can be learned but not separated.
struct Data {
    x: Vec<f32>,
    y: Vec<u32>,
    d: usize,
    classes: usize,
}

impl Data {
    /// `n` rows of `d` columns around class centres; every class occurs.
    fn drawn(seed: u64, n: usize, d: usize, classes: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        let centres: Vec<f32> = (0..classes * d).map(|_| 2.0 * uniform()).collect();
        let y: Vec<u32> = (0..n).map(|i| if i < classes { i as u32 } else { ((uniform() + 0.5) * classes as f32) as u32 }).collect();
        let noise = |u: &mut dyn FnMut() -> f32| 2.0 * (u() + u() + u());
        let x = (0..n * d).map(|e| centres[y[e / d] as usize * d + e % d] + noise(&mut uniform)).collect();
        Self { x, y, d, classes }
    }

    fn split(&self) -> Split<'_> {
        self.part(0, self.y.len())
    }

    fn part(&self, from: usize, to: usize) -> Split<'_> {
        Split::new(Matrix::new(&self.x[from * self.d..to * self.d], to - from, self.d).unwrap(), &self.y[from..to])
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}
