//! The paper's probe: a two-layer ReLU network trained with Adam under linear warm-up and cosine decay.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::adam::{Adam, learning_rate};
use super::error::ProbeError;
use super::fitted::{Fitted, Linear, ProbeKind, softmax_rows};
use super::matrix::{Split, class_totals};
use super::product::{Strided, product};
use super::report::{FitReport, PathPoint, Score, best};
use super::standardizer::Standardizer;

/// Settings of the MLP probe.
///
/// The paper (arXiv 2510.04064) states two layers, ReLU, Adam at 1e-4, 10 % linear warm-up then cosine, and one epoch
/// over about 500k balanced rows. It doesn't state width, batch size, seed or input scaling: 256 and 64 are ours (in a
/// spec the default batch is 32), small enough to train in a fraction of a second, and inputs are standardised because
/// residual streams hold a few columns hundreds of times larger than the rest. On thousands instead of hundreds of thousands of rows, one epoch at 1e-4
/// is far too little: raise `epochs` (with validation rows and `patience`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MlpSettings {
    /// Hidden units, `h`.
    pub hidden: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps over which the learning rate rises linearly.
    pub warmup: f64,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Rows of a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Epochs without a lower validation log-loss after which training stops; the best epoch is kept. Needs validation rows.
    pub patience: Option<usize>,
    /// Standardise the features on the training rows first.
    pub standardise: bool,
    /// Seed of the initial weights and of the order of rows.
    pub seed: u64,
}

impl Default for MlpSettings {
    fn default() -> Self {
        Self { hidden: 256, learning_rate: 1e-4, warmup: 0.1, epochs: 1, batch: 64, patience: None, standardise: true, seed: 0 }
    }
}

impl MlpSettings {
    fn check(&self, validated: bool) -> Result<(), ProbeError> {
        let wrong = |name, value: String, need| Err(ProbeError::Setting { name, value, need });
        for (name, value) in [("hidden", self.hidden), ("epochs", self.epochs), ("batch", self.batch)] {
            if value == 0 {
                return wrong(name, "0".into(), "at least 1 is needed");
            }
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            return wrong("learning-rate", self.learning_rate.to_string(), "a positive number is needed");
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", self.warmup.to_string(), "a share between 0 and 1 is needed");
        }
        if self.patience.is_some() && !validated {
            return wrong("patience", format!("{:?}", self.patience), "stopping early needs validation rows");
        }
        Ok(())
    }
}

/// Trains on features `[n, d]` and returns the probe with a report of one entry per epoch.
///
/// Initial weights and biases are `U(-1/sqrt(in), 1/sqrt(in))`, as torch's `Linear` draws them. Classes are balanced in
/// the data set (or by row weights), not here. With `patience`, the epoch with the lowest validation log-loss is kept,
/// else the last.
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    classes: usize,
    settings: &MlpSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", classes)?;
    settings.check(validation.is_some())?;
    class_totals(train.y, train.weights, classes)?;
    if let Some(split) = validation {
        split.check("validation", classes)?;
    }
    let (n, d) = (train.x.rows(), train.x.columns());
    let standardizer = if settings.standardise { Some(Standardizer::fit(&train.x)?) } else { None };
    let standard = match &standardizer {
        Some(s) => Some(s.apply(&train.x)?),
        None => None,
    };
    let x = standard.as_deref().unwrap_or(train.x.data());
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let layers = vec![drawn(&mut rng, d, settings.hidden), drawn(&mut rng, settings.hidden, classes)];
    let mut net = Fitted { kind: ProbeKind::Mlp, columns: d, classes, standardizer, layers };
    let mut optimisers: Vec<Adam> = net.layers.iter().map(Adam::new).collect();
    let steps = settings.epochs * n.div_ceil(settings.batch);
    let mut order: Vec<usize> = (0..n).collect();
    let (mut batch, mut step) = (Batch::default(), 0);
    let (mut path, mut kept): (Vec<PathPoint>, Option<Vec<Linear>>) = (Vec::new(), None);
    for epoch in 0..settings.epochs {
        shuffle(&mut rng, &mut order);
        let (mut loss, mut weight) = (0f64, 0f64);
        for rows in order.chunks(settings.batch) {
            batch.gather(x, d, train, rows);
            let (sum, gradients) = batch.gradients(&net.layers);
            if !sum.is_finite() {
                return Err(ProbeError::Diverged { probe: "mlp", step });
            }
            let rate = learning_rate(settings.learning_rate, settings.warmup, step, steps);
            for ((layer, adam), gradient) in net.layers.iter_mut().zip(&mut optimisers).zip(&gradients) {
                adam.step(layer, gradient, rate);
            }
            step += 1;
            loss += sum;
            weight += batch.total();
        }
        let score = match validation {
            Some(split) => Some(Score::of(&net.predict_proba(&split.x)?, split.y, split.weights, classes)),
            None => None,
        };
        let squares = net.layers.iter().flat_map(|l| &l.weight).map(|&w| f64::from(w).powi(2));
        path.push(PathPoint {
            strength: (epoch + 1) as f64,
            iterations: step,
            objective: loss / weight,
            gradient: f64::NAN,
            norm: squares.sum::<f64>().sqrt(),
            converged: true,
            validation: score,
        });
        if let Some(patience) = settings.patience {
            let at = best(&path);
            if at == epoch {
                kept = Some(net.layers.clone());
            } else if epoch - at >= patience {
                break;
            }
        }
    }
    let mut chosen = path.len() - 1;
    if let Some(layers) = kept {
        net.layers = layers;
        chosen = best(&path);
    }
    Ok((net, FitReport { strength: None, path, chosen }))
}

/// A layer with torch's initial distribution.
fn drawn(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Linear {
    let bound = 1.0 / (inputs as f32).sqrt();
    // The top 24 bits of a word are a uniform multiple of 2^-24 below 1.
    let mut uniform = || ((rng.next_u32() >> 8) as f32 / 16_777_216.0 * 2.0 - 1.0) * bound;
    let weight = (0..inputs * outputs).map(|_| uniform()).collect();
    Linear { weight, bias: (0..outputs).map(|_| uniform()).collect() }
}

/// Fisher-Yates, with the index drawn from the high bits of a 64-bit product.
fn shuffle(rng: &mut ChaCha8Rng, order: &mut [usize]) {
    for last in (1..order.len()).rev() {
        let at = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, at as usize);
    }
}

/// The rows of one step and the scratch of its forward and backward pass.
#[derive(Default)]
struct Batch {
    x: Vec<f32>,
    y: Vec<u32>,
    weights: Vec<f32>,
    hidden: Vec<f32>,
    back: Vec<f32>,
    residual: Vec<f32>,
}

impl Batch {
    fn gather(&mut self, x: &[f32], d: usize, train: &Split<'_>, rows: &[usize]) {
        self.x.clear();
        self.y.clear();
        self.weights.clear();
        for &row in rows {
            self.x.extend_from_slice(&x[row * d..(row + 1) * d]);
            self.y.push(train.y[row]);
            self.weights.push(train.weights.map_or(1.0, |w| w[row]));
        }
    }

    /// Sum of the row weights, in rows.
    fn total(&self) -> f64 {
        self.weights.iter().map(|&w| f64::from(w)).sum()
    }

    /// Weighted sum of the rows' losses, and the gradients of their weighted mean by both layers.
    fn gradients(&mut self, layers: &[Linear]) -> (f64, [Linear; 2]) {
        let (first, second) = (&layers[0], &layers[1]);
        let (n, h, k) = (self.y.len(), first.bias.len(), second.bias.len());
        self.hidden.resize(n * h, 0.0);
        first.apply(&self.x, n, &mut self.hidden);
        self.hidden.iter_mut().for_each(|v| *v = v.max(0.0));
        self.residual.resize(n * k, 0.0);
        second.apply(&self.hidden, n, &mut self.residual);
        let mut loss = 0f64;
        softmax_rows(&mut self.residual, n, k);
        let scale = 1.0 / self.total().max(f64::MIN_POSITIVE) as f32;
        for ((row, &label), &weight) in self.residual.chunks_exact_mut(k).zip(&self.y).zip(&self.weights) {
            let right = row[label as usize];
            loss -= f64::from(weight) * f64::from(if right.is_nan() { right } else { right.max(1e-38) }).ln();
            row[label as usize] -= 1.0;
            row.iter_mut().for_each(|r| *r *= weight * scale);
        }
        let residual = Strided::rows(&self.residual, n, k);
        let outer = layer_gradient(residual, Strided::rows(&self.hidden, n, h));
        self.back.resize(n * h, 0.0);
        product(&mut self.back, (h, 1), 0.0, 1.0, residual, Strided::rows(&second.weight, k, h));
        self.back.iter_mut().zip(&self.hidden).for_each(|(b, &v)| *b = if v > 0.0 { *b } else { 0.0 });
        let back = Strided::rows(&self.back, n, h);
        let inner = layer_gradient(back, Strided::rows(&self.x, n, self.x.len() / n));
        (loss, [inner, outer])
    }
}

/// Gradient of a layer with inputs `[n, in]` whose outputs' gradient is `back`, `[n, out]`.
fn layer_gradient(back: Strided<'_, f32>, inputs: Strided<'_, f32>) -> Linear {
    let (outputs, width) = (back.shape.1, inputs.shape.1);
    let mut weight = vec![0f32; outputs * width];
    product(&mut weight, (width, 1), 0.0, 1.0, back.transposed(), inputs);
    let mut bias = vec![0f32; outputs];
    for row in back.data.chunks_exact(outputs).take(back.shape.0) {
        bias.iter_mut().zip(row).for_each(|(b, r)| *b += r);
    }
    Linear { weight, bias }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::matrix::Matrix;

    #[test]
    fn gradients_match_finite_differences() {
        let (n, d, h, k) = (9, 5, 6, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut layers = vec![drawn(&mut rng, d, h), drawn(&mut rng, h, k)];
        let x = drawn(&mut rng, d, n).weight.iter().map(|v| v * 4.0).collect::<Vec<f32>>();
        let y: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let weights: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 / 4.0).collect();
        let split = Split { x: Matrix::new(&x, n, d).unwrap(), y: &y, weights: Some(&weights) };
        let mut batch = Batch::default();
        batch.gather(&x, d, &split, &(0..n).collect::<Vec<_>>());
        let (_, gradients) = batch.gradients(&layers);
        let total = batch.total();
        for l in 0..2 {
            for e in 0..layers[l].weight.len() + layers[l].bias.len() {
                let inside = layers[l].weight.len();
                let at = |g: &Linear| if e < inside { g.weight[e] } else { g.bias[e - inside] };
                let mut moved = |by: f32| {
                    let layer = &mut layers[l];
                    if e < inside {
                        layer.weight[e] += by
                    } else {
                        layer.bias[e - inside] += by
                    }
                    let loss = batch.gradients(&layers).0 / total;
                    let layer = &mut layers[l];
                    if e < inside {
                        layer.weight[e] -= by
                    } else {
                        layer.bias[e - inside] -= by
                    }
                    loss
                };
                let step = 2e-3;
                let numeric = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                let exact = f64::from(at(&gradients[l]));
                assert!((numeric - exact).abs() < 2e-3, "layer {l} element {e}: {numeric} for {exact}");
            }
        }
    }
}
