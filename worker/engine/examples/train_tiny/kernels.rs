//! Fused training operations: root-mean-square norm, rotary embedding, document softmax and weighted cross-entropy, with their gradients.
//!
//! `candle_nn` has fast forward kernels without gradients and slow ones with them. At these sizes the slow ones cost as much as the
//! matrix products, so the four that matter are written out here, row by row, in parallel over rows. Every sum has a fixed order.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// Rows that one task works through: enough to hide the cost of handing it out.
const ROWS_PER_TASK: usize = 64;

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a fused training operation needs contiguous input"),
    }
}

fn with_values<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => Ok(read(values(cpu, layout)?)),
        _ => bail!("the training example runs on the CPU"),
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight` over the last dimension.
pub(crate) struct RmsNorm {
    /// Added to the mean square.
    pub(crate) eps: f32,
}

impl RmsNorm {
    fn inverse_rms(&self, row: &[f32]) -> f32 {
        let square: f32 = row.iter().map(|value| value * value).sum();
        (square / row.len() as f32 + self.eps).sqrt().recip()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "train-rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, weight: &CpuStorage, weight_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values(x, x_layout)?, values(weight, weight_layout)?);
        let width = weight.len();
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(width * ROWS_PER_TASK).zip(x.par_chunks(width * ROWS_PER_TASK)).for_each(|(out, x)| {
            for (out, x) in out.chunks_mut(width).zip(x.chunks(width)) {
                let scale = self.inverse_rms(x);
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    *out = x * scale * weight;
                }
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let mut x_grad = vec![0f32; x.elem_count()];
        let partial = with_values(x, |x| {
            with_values(weight, |weight| {
                with_values(grad, |grad| {
                    let step = width * ROWS_PER_TASK;
                    x_grad
                        .par_chunks_mut(step)
                        .zip(x.par_chunks(step))
                        .zip(grad.par_chunks(step))
                        .map(|((x_grad, x), grad)| {
                            let mut weight_grad = vec![0f32; width];
                            for ((x_grad, x), grad) in x_grad.chunks_mut(width).zip(x.chunks(width)).zip(grad.chunks(width)) {
                                let scale = self.inverse_rms(x);
                                let dot: f32 = x.iter().zip(grad).zip(weight).map(|((x, grad), weight)| x * grad * weight).sum();
                                let pull = dot * scale * scale * scale / width as f32;
                                for i in 0..width {
                                    x_grad[i] = grad[i] * weight[i] * scale - x[i] * pull;
                                    weight_grad[i] += grad[i] * x[i] * scale;
                                }
                            }
                            weight_grad
                        })
                        .collect::<Vec<_>>()
                })
            })
        })???;
        let mut weight_grad = vec![0f32; width];
        for part in partial {
            for (total, part) in weight_grad.iter_mut().zip(part) {
                *total += part;
            }
        }
        let x_grad = Tensor::from_vec(x_grad, x.shape(), x.device())?;
        let weight_grad = Tensor::from_vec(weight_grad, weight.shape(), weight.device())?;
        Ok((Some(x_grad), Some(weight_grad)))
    }
}

/// Rotary embedding of `[batch, heads, time, head_dim]`, halves rotated against each other as in the Hugging Face models.
#[derive(Clone)]
pub(crate) struct Rotary {
    cos: Arc<Vec<f32>>,
    sin: Arc<Vec<f32>>,
    head_dim: usize,
    time: usize,
    inverse: bool,
}

impl Rotary {
    /// Angles for positions `0..time`.
    pub(crate) fn new(head_dim: usize, time: usize, theta: f64) -> Self {
        let half = head_dim / 2;
        let angle = |i: usize| (i / half) as f64 / theta.powf(2.0 * (i % half) as f64 / head_dim as f64);
        let cos = Arc::new((0..time * half).map(|i| angle(i).cos() as f32).collect());
        let sin = Arc::new((0..time * half).map(|i| angle(i).sin() as f32).collect());
        Self { cos, sin, head_dim, time, inverse: false }
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "train-rotary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let (width, half) = (self.head_dim, self.head_dim / 2);
        let sign = if self.inverse { -1f32 } else { 1f32 };
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(width * self.time).zip(x.par_chunks(width * self.time)).for_each(|(out, x)| {
            for (position, (out, x)) in out.chunks_mut(width).zip(x.chunks(width)).enumerate() {
                for i in 0..half {
                    let (cos, sin) = (self.cos[position * half + i], sign * self.sin[position * half + i]);
                    out[i] = x[i] * cos - x[i + half] * sin;
                    out[i + half] = x[i + half] * cos + x[i] * sin;
                }
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let inverse = Self { inverse: !self.inverse, ..self.clone() };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&inverse)?))
    }
}

/// Softmax of scaled attention scores `[batch, heads, time, time]` over the positions of the same document up to the query.
pub(crate) struct DocumentSoftmax {
    /// For each `[batch, time]`: where the document of that position starts in its block.
    pub(crate) starts: Arc<Vec<u32>>,
    /// Query heads.
    pub(crate) heads: usize,
    /// Positions in a block.
    pub(crate) time: usize,
    /// Multiplies the scores first.
    pub(crate) scale: f32,
}

impl DocumentSoftmax {
    fn span(&self, head_row: usize, position: usize) -> std::ops::RangeInclusive<usize> {
        self.starts[head_row / self.heads * self.time + position] as usize..=position
    }
}

impl CustomOp1 for DocumentSoftmax {
    fn name(&self) -> &'static str {
        "train-document-softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = values(scores, layout)?;
        let time = self.time;
        let mut out = vec![0f32; scores.len()];
        out.par_chunks_mut(time * time).zip(scores.par_chunks(time * time)).enumerate().for_each(|(head_row, (out, scores))| {
            for (position, (out, scores)) in out.chunks_mut(time).zip(scores.chunks(time)).enumerate() {
                let span = self.span(head_row, position);
                let (out, scores) = (&mut out[span.clone()], &scores[span]);
                let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (out, score) in out.iter_mut().zip(scores) {
                    *out = ((score - highest) * self.scale).exp();
                }
                let norm = out.iter().sum::<f32>().recip();
                out.iter_mut().for_each(|value| *value *= norm);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _scores: &Tensor, weights: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let time = self.time;
        let mut out = vec![0f32; weights.elem_count()];
        with_values(weights, |weights| {
            with_values(grad, |grad| {
                let step = time * time;
                out.par_chunks_mut(step).zip(weights.par_chunks(step)).zip(grad.par_chunks(step)).enumerate().for_each(
                    |(head_row, ((out, weights), grad))| {
                        for position in 0..time {
                            let row = position * time;
                            let span = self.span(head_row, position);
                            let span = row + span.start()..row + span.end() + 1;
                            let (out, weights, grad) = (&mut out[span.clone()], &weights[span.clone()], &grad[span]);
                            let mean: f32 = weights.iter().zip(grad).map(|(weight, grad)| weight * grad).sum();
                            for ((out, weight), grad) in out.iter_mut().zip(weights).zip(grad) {
                                *out = self.scale * weight * (grad - mean);
                            }
                        }
                    },
                );
            })
        })??;
        Ok(Some(Tensor::from_vec(out, weights.shape(), weights.device())?))
    }
}

/// `sum_i weights[i] * (log sum exp(logits[i]) - logits[i, targets[i]])`: a scalar; the weights are used as they are.
pub(crate) struct CrossEntropy {
    /// The token to predict, one per row.
    pub(crate) targets: Vec<u32>,
    /// The weight of the row's loss.
    pub(crate) weights: Vec<f32>,
}

/// The highest logit and the log of the sum of exponentials of a row.
pub(crate) fn log_sum_exp(row: &[f32]) -> f32 {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    highest + row.iter().map(|value| (value - highest).exp()).sum::<f32>().ln()
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "train-cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = values(logits, layout)?;
        let width = logits.len() / self.targets.len();
        let rows: Vec<f64> = logits
            .par_chunks(width)
            .zip(&self.targets)
            .zip(&self.weights)
            .map(|((row, &target), &weight)| f64::from(weight * (log_sum_exp(row) - row[target as usize])))
            .collect();
        Ok((CpuStorage::F32(vec![rows.iter().sum::<f64>() as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.to_scalar::<f32>()?;
        let width = logits.elem_count() / self.targets.len();
        let mut out = vec![0f32; logits.elem_count()];
        with_values(logits, |logits| {
            out.par_chunks_mut(width).zip(logits.par_chunks(width)).enumerate().for_each(|(i, (out, row))| {
                let (norm, weight) = (log_sum_exp(row), grad * self.weights[i]);
                for (out, value) in out.iter_mut().zip(row) {
                    *out = weight * (value - norm).exp();
                }
                out[self.targets[i] as usize] -= weight;
            });
        })?;
        Ok(Some(Tensor::from_vec(out, logits.shape(), logits.device())?))
    }
}

#[cfg(test)]
mod tests {
    //! Every gradient against central differences: `cargo test --release -p limbic-engine --example train_tiny`.

    use candle_core::{Device, Var};

    use super::*;

    fn ramp(shape: &[usize], step: f64) -> Var {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f64 * step).sin() as f32).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Weighs the output so that no direction is special, and moves every value of `var` in turn.
    fn check(var: &Var, run: impl Fn(&Tensor) -> Tensor) {
        let loss = |x: &Tensor| {
            let out = run(x);
            (&out * ramp(out.dims(), 1.7).as_tensor()).unwrap().sum_all().unwrap()
        };
        let gradient = loss(var.as_tensor()).backward().unwrap().get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, analytic) in gradient.iter().enumerate() {
            let at = |delta: f32| {
                let mut moved = values.clone();
                moved[i] += delta;
                let moved = Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap();
                loss(&moved).to_scalar::<f32>().unwrap()
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((analytic - numeric).abs() < 2e-3 + 1e-2 * numeric.abs(), "value {i}: {analytic} against {numeric}");
        }
    }

    #[test]
    fn norm() {
        let (x, weight) = (ramp(&[5, 6], 0.9), ramp(&[6], 0.4));
        check(&x, |x| x.apply_op2(weight.as_tensor(), RmsNorm { eps: 1e-6 }).unwrap());
        check(&weight, |weight| x.as_tensor().apply_op2(weight, RmsNorm { eps: 1e-6 }).unwrap());
    }

    #[test]
    fn rotary() {
        check(&ramp(&[1, 2, 3, 4], 0.9), |x| x.apply_op1(Rotary::new(4, 3, 100.0)).unwrap());
    }

    #[test]
    fn document_softmax() {
        let starts = Arc::new(vec![0, 0, 2, 2, 0, 1, 1, 1]);
        let softmax = || DocumentSoftmax { starts: starts.clone(), heads: 2, time: 4, scale: 0.7 };
        let scores = ramp(&[2, 2, 4, 4], 0.9);
        check(&scores, |x| x.apply_op1(softmax()).unwrap());
        let weights = scores.as_tensor().apply_op1(softmax()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(weights[8..10], [0.0, 0.0], "a token of the second document sees the first");
        assert_eq!(weights[10..12], [1.0, 0.0], "a token sees the one after it");
    }

    #[test]
    fn cross_entropy() {
        let loss = || CrossEntropy { targets: vec![2, 0, 1], weights: vec![0.5, 0.0, 2.0] };
        check(&ramp(&[3, 4], 0.9), |x| x.apply_op1(loss()).unwrap());
    }
}
