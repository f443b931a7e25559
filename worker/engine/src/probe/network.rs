//! The two-layer ReLU network behind the MLP probes: forward, backward, and training over epochs.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::adam::{Adam, learning_rate};
use super::control::{normal, shuffle};
use super::error::ProbeError;
use super::fitted::Linear;
use super::head::{Head, sigmoid, softmax_rows};
use super::labels::{Labels, Targets};
use super::mlp::MlpSettings;
use super::moments;
use super::product::{Strided, product};
use super::report::{FitReport, PathPoint, best};

/// What outputs aim at.
pub(super) struct Aims {
    /// `[n, K]`: class indicators, or values in units of their deviation from their mean.
    values: Vec<f32>,
    /// How much each row counts whenever an epoch goes over it; 1 where there are none.
    weights: Option<Vec<f32>>,
    /// How often an epoch goes over each row, where that is not once.
    repeats: Option<Vec<usize>>,
    outputs: usize,
    head: Head,
    /// Mean and deviation of values.
    scale: Option<(Vec<f64>, Vec<f64>)>,
}

impl Aims {
    /// Of `rows` training rows. Where all weights are whole numbers, a row of weight w is w rows (an epoch goes over it w times, and
    /// each time it counts 1), so that there are as many steps as over a data set in which it is repeated; other weights
    /// scale the losses of rows.
    pub(super) fn of(targets: &Targets<'_>, rows: usize, outputs: usize) -> Aims {
        let mut values = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|row| targets.labels.aim(row, outputs, 0.0, &mut values));
        let (whole, other): (Option<&[f32]>, _) = match targets.weights {
            Some(weights) if weights.iter().all(|w| w.fract() == 0.0) => (Some(weights), None),
            weights => (None, weights),
        };
        let repeats = whole.map(|weights| weights.iter().map(|&w| w as usize).collect());
        let weights = other.map(<[f32]>::to_vec);
        let (head, scale) = match targets.labels {
            Labels::Single(_) => (Head::Softmax { temperature: 1.0 }, None),
            Labels::Multi(_) => (Head::Sigmoid { temperature: 1.0 }, None),
            Labels::Intensity(_) | Labels::Continuous(_) => {
                let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
                let (mean, variance) = moments::spread(&wide, outputs, targets);
                let deviation: Vec<f64> = variance.iter().map(|v| if *v > 0.0 { v.sqrt() } else { 1.0 }).collect();
                values.iter_mut().enumerate().for_each(|(at, v)| {
                    let output = at % outputs;
                    *v = ((f64::from(*v) - mean[output]) / deviation[output]) as f32;
                });
                (Head::Value, Some((mean, deviation)))
            }
        };
        Aims { values, weights, repeats, outputs, head, scale }
    }

    pub(super) fn head(&self) -> Head {
        self.head.clone()
    }

    /// The variances that squared errors are measured in.
    fn unit(&self) -> Vec<f64> {
        self.scale.as_ref().map_or_else(Vec::new, |(_, deviation)| deviation.iter().map(|d| d * d).collect())
    }

    /// The last layer for values in their own units.
    fn unscaled(&self, layer: &Linear) -> Linear {
        let Some((mean, deviation)) = &self.scale else { return layer.clone() };
        let rows = layer.weight.chunks_exact(layer.inputs()).zip(deviation);
        let weight = rows.flat_map(|(row, d)| row.iter().map(move |w| (f64::from(*w) * d) as f32)).collect();
        let bias = layer.bias.iter().zip(mean.iter().zip(deviation)).map(|(b, (m, d))| (f64::from(*b) * d + m) as f32).collect();
        Linear { weight, bias }
    }

    /// The rows `0..rows`, each as often as an epoch goes over it.
    pub(super) fn repeated(&self, rows: usize) -> Vec<usize> {
        let times = |row: usize| self.repeats.as_ref().map_or(1, |repeats| repeats[row]);
        (0..rows).flat_map(|row| std::iter::repeat_n(row, times(row))).collect()
    }

    fn weight(&self, row: usize) -> f32 {
        self.weights.as_ref().map_or(1.0, |w| w[row])
    }
}

/// The network's parameters.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// Two affine maps with a ReLU between them.
    pub(super) layers: [Linear; 2],
    /// A learned vector for each offset, `[offsets, e]` without bias; its row is appended to the features.
    pub(super) table: Option<Linear>,
}

/// Rows to train on.
pub(super) struct Rows<'a> {
    /// `[m, d]`.
    pub(super) x: &'a [f32],
    pub(super) d: usize,
    /// The offset of each row, an index into the table.
    pub(super) offsets: Option<&'a [u32]>,
    pub(super) aims: &'a Aims,
}

/// Which rows each epoch goes over.
pub(super) enum Epochs<'a> {
    /// The same rows, so many times.
    Whole {
        /// Those rows; one that counts several times stands there as often.
        rows: Vec<usize>,
        /// How many epochs.
        epochs: usize,
    },
    /// Those that are listed for each; one that counts several times stands there as often.
    Listed(&'a [Vec<usize>]),
}

impl Epochs<'_> {
    fn steps(&self, batch: usize) -> usize {
        match self {
            Epochs::Whole { rows, epochs } => epochs * rows.len().div_ceil(batch),
            Epochs::Listed(lists) => lists.iter().map(|rows| rows.len().div_ceil(batch)).sum(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Epochs::Whole { epochs, .. } => *epochs,
            Epochs::Listed(lists) => lists.len(),
        }
    }

    /// Puts the rows of an epoch into `order`, to be shuffled. Whole epochs go on from the order of the last one.
    fn list(&self, epoch: usize, order: &mut Vec<usize>) {
        match self {
            Epochs::Whole { rows, .. } if epoch == 0 => order.clone_from(rows),
            Epochs::Whole { .. } => {}
            Epochs::Listed(lists) => order.clone_from(&lists[epoch]),
        }
    }
}

impl Network {
    /// Initial weights and biases are `U(-1/sqrt(in), 1/sqrt(in))`, as torch's `Linear` draws them; vectors of offsets are
    /// standard normal, as its `Embedding`'s.
    pub(super) fn drawn(rng: &mut ChaCha8Rng, d: usize, hidden: usize, outputs: usize, offsets: usize, embedding: usize) -> Network {
        let layers = [drawn(rng, d + embedding, hidden), drawn(rng, hidden, outputs)];
        let numbers = |rng: &mut ChaCha8Rng| (0..offsets * embedding).map(|_| normal(rng) as f32).collect();
        let table = (embedding > 0).then(|| Linear { weight: numbers(rng), bias: Vec::new() });
        Network { layers, table }
    }

    /// The width of an offset's vector.
    fn appended(&self, d: usize) -> usize {
        self.layers[0].inputs() - d
    }

    /// Trains on the rows of each epoch; `loss` measures parameters (their last layer in the targets' own units) on
    /// validation.
    ///
    /// With `patience`, the epoch with the lowest validation loss is kept, else the last.
    pub(super) fn train(
        mut self,
        rows: &Rows<'_>,
        epochs: &Epochs<'_>,
        settings: &MlpSettings,
        mut rng: ChaCha8Rng,
        probe: &'static str,
        loss: impl Fn(&Network, &[f64]) -> Option<f64>,
    ) -> Result<(Network, FitReport), ProbeError> {
        let mut optimisers: Vec<Adam> = self.layers.iter().chain(&self.table).map(Adam::new).collect();
        let steps = epochs.steps(settings.batch);
        let (mut batch, mut step) = (Batch::default(), 0);
        let unit = rows.aims.unit();
        let finished = |network: &Network| {
            let [first, last] = &network.layers;
            Network { layers: [first.clone(), rows.aims.unscaled(last)], table: network.table.clone() }
        };
        let (mut path, mut kept): (Vec<PathPoint>, Option<Network>) = (Vec::new(), None);
        let mut order: Vec<usize> = Vec::new();
        for epoch in 0..epochs.count() {
            epochs.list(epoch, &mut order);
            shuffle(&mut rng, &mut order);
            let (mut total, mut weight) = (0f64, 0f64);
            for chosen in order.chunks(settings.batch) {
                batch.gather(rows, &self, chosen);
                let sum = batch.descend(&self, rows);
                if !sum.is_finite() {
                    return Err(ProbeError::Diverged { probe, step });
                }
                let rate = learning_rate(settings.learning_rate, settings.warmup, step, steps);
                for ((layer, adam), gradient) in self.layers.iter_mut().chain(&mut self.table).zip(&mut optimisers).zip(&batch.gradients) {
                    adam.step(layer, gradient, rate);
                }
                step += 1;
                total += sum;
                weight += batch.total();
            }
            let now = finished(&self);
            let squares = now.layers.iter().flat_map(|l| &l.weight).map(|&w| f64::from(w).powi(2));
            path.push(PathPoint {
                iterations: step,
                objective: total / weight,
                norm: squares.sum::<f64>().sqrt(),
                ..PathPoint::exact((epoch + 1) as f64, loss(&now, &unit))
            });
            if let Some(patience) = settings.patience {
                let at = best(&path);
                if at == epoch {
                    kept = Some(now);
                } else if epoch - at >= patience {
                    break;
                }
            }
        }
        let chosen = if kept.is_some() { best(&path) } else { path.len() - 1 };
        let network = kept.unwrap_or_else(|| finished(&self));
        Ok((network, FitReport { strength: None, validation: path[chosen].validation, path, chosen }))
    }
}

/// The generator of a seed.
pub(super) fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A layer with torch's initial distribution.
fn drawn(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Linear {
    let bound = 1.0 / (inputs as f32).sqrt();
    // The top 24 bits of a word are a uniform multiple of 2^-24 below 1.
    let mut uniform = || ((rng.next_u32() >> 8) as f32 / 16_777_216.0 * 2.0 - 1.0) * bound;
    let weight = (0..inputs * outputs).map(|_| uniform()).collect();
    Linear { weight, bias: (0..outputs).map(|_| uniform()).collect() }
}

/// The rows of one step, the scratch of its forward and backward pass, and what comes of them.
#[derive(Default)]
struct Batch {
    /// `[n, d + e]`.
    x: Vec<f32>,
    /// `[n, K]`.
    aims: Vec<f32>,
    weights: Vec<f32>,
    offsets: Vec<usize>,
    hidden: Vec<f32>,
    back: Vec<f32>,
    residual: Vec<f32>,
    /// Of the weighted mean of the rows' losses by the layers and the table.
    gradients: [Linear; 3],
}

impl Batch {
    fn gather(&mut self, rows: &Rows<'_>, network: &Network, chosen: &[usize]) {
        let (d, k, e) = (rows.d, rows.aims.outputs, network.appended(rows.d));
        self.x.clear();
        self.aims.clear();
        self.weights.clear();
        self.offsets.clear();
        for &row in chosen {
            self.x.extend_from_slice(&rows.x[row * d..(row + 1) * d]);
            if let (Some(offsets), Some(table)) = (rows.offsets, &network.table) {
                let offset = offsets[row] as usize;
                self.x.extend_from_slice(&table.weight[offset * e..(offset + 1) * e]);
                self.offsets.push(offset);
            }
            self.aims.extend_from_slice(&rows.aims.values[row * k..(row + 1) * k]);
            self.weights.push(rows.aims.weight(row));
        }
    }

    /// Sum of the row weights, in rows.
    fn total(&self) -> f64 {
        self.weights.iter().map(|&w| f64::from(w)).sum()
    }

    /// Works out the gradients. Returns the weighted sum of the rows' losses.
    fn descend(&mut self, network: &Network, rows: &Rows<'_>) -> f64 {
        let [first, second] = &network.layers;
        let (n, h, k) = (self.weights.len(), first.bias.len(), second.bias.len());
        self.hidden.resize(n * h, 0.0);
        first.apply(&self.x, n, &mut self.hidden);
        self.hidden.iter_mut().for_each(|v| *v = v.max(0.0));
        self.residual.resize(n * k, 0.0);
        second.apply(&self.hidden, n, &mut self.residual);
        let loss = self.losses(&rows.aims.head);
        let scale = 1.0 / self.total().max(f64::MIN_POSITIVE) as f32;
        for (row, &weight) in self.residual.chunks_exact_mut(k).zip(&self.weights) {
            row.iter_mut().for_each(|r| *r *= weight * scale);
        }
        let residual = Strided::rows(&self.residual, n, k);
        let [inner, outer, vectors] = &mut self.gradients;
        layer_gradient(residual, Strided::rows(&self.hidden, n, h), outer);
        self.back.resize(n * h, 0.0);
        product(&mut self.back, (h, 1), 0.0, 1.0, residual, Strided::rows(&second.weight, k, h));
        self.back.iter_mut().zip(&self.hidden).for_each(|(b, &v)| *b = if v > 0.0 { *b } else { 0.0 });
        let back = Strided::rows(&self.back, n, h);
        let width = self.x.len() / n;
        layer_gradient(back, Strided::rows(&self.x, n, width), inner);
        if let Some(table) = &network.table {
            let e = width - rows.d;
            let tail = Strided { data: &first.weight[rows.d..], shape: (h, e), step: (width, 1) };
            let mut by_vectors = vec![0f32; n * e];
            product(&mut by_vectors, (e, 1), 0.0, 1.0, back, tail);
            vectors.weight.clear();
            vectors.weight.resize(table.weight.len(), 0.0);
            for (row, &offset) in by_vectors.chunks_exact(e).zip(&self.offsets) {
                vectors.weight[offset * e..(offset + 1) * e].iter_mut().zip(row).for_each(|(w, r)| *w += r);
            }
        }
        loss
    }

    /// Turns scores into the derivatives of each row's loss by them; returns the weighted sum of the losses.
    ///
    /// Log-loss (summed over classes where a row may have several), or half the squared error summed over outputs.
    fn losses(&mut self, head: &Head) -> f64 {
        let k = self.residual.len() / self.weights.len();
        let mut loss = 0f64;
        if matches!(head, Head::Softmax { .. }) {
            softmax_rows(&mut self.residual, self.weights.len(), k);
        }
        for ((row, aims), &weight) in self.residual.chunks_exact_mut(k).zip(self.aims.chunks_exact(k)).zip(&self.weights) {
            let each = |(r, &aim): (&mut f32, &f32)| -> f64 {
                let (loss, slope) = match head {
                    Head::Softmax { .. } => {
                        let p = if r.is_nan() { *r } else { r.max(1e-38) };
                        (-f64::from(aim) * f64::from(p).ln(), *r - aim)
                    }
                    Head::Sigmoid { .. } => {
                        let s = f64::from(*r);
                        (super::head::softplus(s) - f64::from(aim) * s, (sigmoid(s) - f64::from(aim)) as f32)
                    }
                    Head::Value | Head::Ordinal(_) => (f64::from(*r - aim).powi(2) / 2.0, *r - aim),
                };
                *r = slope;
                loss
            };
            loss += f64::from(weight) * row.iter_mut().zip(aims).map(each).sum::<f64>();
        }
        loss
    }
}

/// Gradient of a layer with inputs `[n, in]` whose outputs' gradient is `back`, `[n, out]`.
fn layer_gradient(back: Strided<'_, f32>, inputs: Strided<'_, f32>, gradient: &mut Linear) {
    let (outputs, width) = (back.shape.1, inputs.shape.1);
    gradient.weight.resize(outputs * width, 0.0);
    product(&mut gradient.weight, (width, 1), 0.0, 1.0, back.transposed(), inputs);
    gradient.bias.clear();
    gradient.bias.resize(outputs, 0.0);
    for row in back.data.chunks_exact(outputs).take(back.shape.0) {
        gradient.bias.iter_mut().zip(row).for_each(|(b, r)| *b += r);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        let (n, d, h, k, e) = (9, 5, 6, 3, 2);
        let mut rng = generator(3);
        let x = drawn(&mut rng, d, n).weight.iter().map(|v| v * 4.0).collect::<Vec<f32>>();
        let y: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let several: Vec<f32> = (0..n * k).map(|i| f32::from(u8::from(i % 4 == 0))).collect();
        let places: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.7).sin() * 3.0 + 2.0).collect();
        let weights: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 / 4.0).collect();
        let offsets: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
        let chosen: Vec<usize> = (0..n).collect();
        for labels in [Labels::Single(&y), Labels::Multi(&several), Labels::Continuous(&places)] {
            for offsets in [None, Some(offsets.as_slice())] {
                let aims = Aims::of(&Targets { labels, weights: Some(&weights) }, n, k);
                let rows = Rows { x: &x, d, offsets, aims: &aims };
                let (known, width) = if offsets.is_some() { (4, e) } else { (0, 0) };
                let mut batch = Batch::default();
                // No hidden unit may be so near to the bend of its ReLU that a step crosses it.
                let mut network = loop {
                    let network = Network::drawn(&mut rng, d, h, k, known, width);
                    batch.gather(&rows, &network, &chosen);
                    let mut inputs = vec![0f32; n * h];
                    network.layers[0].apply(&batch.x, n, &mut inputs);
                    if inputs.iter().all(|v| v.abs() > 0.01) {
                        break network;
                    }
                };
                batch.descend(&network, &rows);
                let gradients = batch.gradients.clone();
                for (l, gradient) in gradients.iter().enumerate().take(if network.table.is_some() { 3 } else { 2 }) {
                    for at in 0..gradient.weight.len() + gradient.bias.len() {
                        let inside = gradient.weight.len();
                        let exact = if at < inside { gradient.weight[at] } else { gradient.bias[at - inside] };
                        let mut moved = |by: f32| {
                            let layer = if l < 2 { &mut network.layers[l] } else { network.table.as_mut().unwrap() };
                            let number = if at < inside { &mut layer.weight[at] } else { &mut layer.bias[at - inside] };
                            let before = *number;
                            *number += by;
                            batch.gather(&rows, &network, &chosen);
                            let loss = batch.descend(&network, &rows) / batch.total();
                            let layer = if l < 2 { &mut network.layers[l] } else { network.table.as_mut().unwrap() };
                            *(if at < inside { &mut layer.weight[at] } else { &mut layer.bias[at - inside] }) = before;
                            loss
                        };
                        let step = 2e-3;
                        let numeric = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                        assert!((numeric - f64::from(exact)).abs() < 3e-3, "layer {l} element {at}: {numeric} for {exact}");
                    }
                }
            }
        }
    }
}
