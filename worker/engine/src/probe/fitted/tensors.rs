//! A probe as named tensors, and back.

use std::collections::BTreeMap;

use limbic_proto::rows::Scheme;

use super::{Fitted, Linear};
use crate::probe::error::ProbeError;
use crate::probe::head::{Head, Levels};
use crate::probe::standardizer::Standardizer;

/// Which probe a [`Fitted`] is, as stored beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Logistic regression.
    Logistic,
    /// The two-layer ReLU network.
    Mlp,
    /// Least squares with an L2 penalty.
    Ridge,
    /// Linear discriminant analysis.
    Lda,
    /// Differences of class means.
    MeanDifference,
    /// The network that knows the offset it reads at.
    OffsetMlp,
    /// Class frequencies (or means) of the training rows.
    Majority,
}

impl ProbeKind {
    /// The kind of that name, as specs and artifacts have it.
    pub fn named(name: &str) -> Option<ProbeKind> {
        serde_json::from_value(name.into()).ok()
    }

    fn layers(self) -> usize {
        if matches!(self, ProbeKind::Mlp | ProbeKind::OffsetMlp) { 2 } else { 1 }
    }
}

/// One named tensor of a stored probe, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Name, unique within the probe.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

impl NamedTensor {
    pub(crate) fn new(name: &str, shape: &[usize], data: Vec<f32>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data }
    }
}

impl Fitted {
    /// The probe as named tensors: `mean` and `scale` `[d]` where standardised; `embedding` `[e]` of an offset-aware probe;
    /// `temperature` `[1]` of probabilities, or `levels` `[K, levels]` and `thresholds` `[K, levels - 1]` of cumulative
    /// logits (classes with fewer levels are filled up with NaN); then `0.weight`, `0.bias`, `1.weight`, ...
    pub fn to_tensors(&self) -> Vec<NamedTensor> {
        let mut out = Vec::new();
        if let Some(s) = &self.standardizer {
            out.push(NamedTensor::new("mean", &[self.columns], s.mean.clone()));
            out.push(NamedTensor::new("scale", &[self.columns], s.scale.clone()));
        }
        if let Some(embedding) = &self.embedding {
            out.push(NamedTensor::new("embedding", &[embedding.len()], embedding.clone()));
        }
        match &self.head {
            Head::Softmax { temperature } | Head::Sigmoid { temperature } => {
                out.push(NamedTensor::new("temperature", &[1], vec![*temperature]));
            }
            Head::Ordinal(levels) => {
                let longest = levels.iter().map(|l| l.values.len()).max().unwrap_or(1);
                let filled = |rows: Vec<&Vec<f32>>, width: usize| -> Vec<f32> {
                    rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(f32::NAN, width - row.len()))).collect()
                };
                let values = filled(levels.iter().map(|l| &l.values).collect(), longest);
                let thresholds = filled(levels.iter().map(|l| &l.thresholds).collect(), longest - 1);
                out.push(NamedTensor::new("levels", &[levels.len(), longest], values));
                out.push(NamedTensor::new("thresholds", &[levels.len(), longest - 1], thresholds));
            }
            Head::Value => {}
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let shape = [layer.bias.len(), layer.inputs()];
            out.push(NamedTensor::new(&format!("{i}.weight"), &shape, layer.weight.clone()));
            out.push(NamedTensor::new(&format!("{i}.bias"), &shape[..1], layer.bias.clone()));
        }
        out
    }

    /// Rebuilds a probe of `kind`, fitted to labels of `scheme`, from [`Fitted::to_tensors`]; every shape is checked.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn from_tensors(kind: ProbeKind, scheme: Scheme, tensors: &[NamedTensor]) -> Result<Self, ProbeError> {
        let named: BTreeMap<&str, &NamedTensor> = tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        let stored = Stored(named);
        let embedding = stored.has("embedding").then(|| stored.take("embedding", 1)).transpose()?.map(|t| t.data.clone());
        let depth = kind.layers();
        let mut layers: Vec<Linear> = Vec::new();
        for i in 0..depth {
            let (weight_name, bias_name) = (format!("{i}.weight"), format!("{i}.bias"));
            let (weight, bias) = (stored.take(&weight_name, 2)?, stored.take(&bias_name, 1)?);
            let inputs = layers.last().map_or(weight.shape[1], |l| l.bias.len());
            if weight.shape != [bias.data.len(), inputs] || weight.data.is_empty() {
                return Err(wrong(&weight_name, format!("shape {:?} does not fit", weight.shape)));
            }
            layers.push(Linear { weight: weight.data.clone(), bias: bias.data.clone() });
        }
        let appended = embedding.as_ref().map_or(0, Vec::len);
        let columns = layers[0].inputs().checked_sub(appended).filter(|columns| *columns > 0);
        let columns = columns.ok_or_else(|| wrong("embedding", format!("{appended} of {} inputs", layers[0].inputs())))?;
        let outputs = layers[depth - 1].bias.len();
        let standardizer = if stored.has("mean") {
            let (mean, scale) = (stored.take("mean", 1)?, stored.take("scale", 1)?);
            for tensor in [mean, scale] {
                if tensor.data.len() != columns {
                    return Err(wrong(&tensor.name, format!("{} columns for {columns}", tensor.data.len())));
                }
            }
            Some(Standardizer { mean: mean.data.clone(), scale: scale.data.clone() })
        } else {
            None
        };
        let head = match scheme {
            Scheme::Single => Head::Softmax { temperature: stored.temperature()? },
            Scheme::Multi => Head::Sigmoid { temperature: stored.temperature()? },
            Scheme::Intensity if stored.has("levels") => Head::Ordinal(stored.levels(outputs)?),
            Scheme::Intensity | Scheme::Continuous => Head::Value,
        };
        Ok(Self { kind, columns, outputs, standardizer, embedding, layers, head })
    }
}

fn wrong(name: &str, reason: String) -> ProbeError {
    ProbeError::Tensor { name: name.into(), reason }
}

/// Tensors by name.
struct Stored<'a>(BTreeMap<&'a str, &'a NamedTensor>);

impl Stored<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A tensor with so many axes that has as many elements as its shape says.
    fn take(&self, name: &str, rank: usize) -> Result<&NamedTensor, ProbeError> {
        let tensor = *self.0.get(name).ok_or_else(|| wrong(name, "is missing".into()))?;
        if tensor.shape.len() != rank || tensor.shape.iter().product::<usize>() != tensor.data.len() {
            return Err(wrong(name, format!("shape {:?} for {} elements", tensor.shape, tensor.data.len())));
        }
        Ok(tensor)
    }

    fn temperature(&self) -> Result<f32, ProbeError> {
        match self.take("temperature", 1)?.data.as_slice() {
            [temperature] if temperature.is_finite() && *temperature > 0.0 => Ok(*temperature),
            other => Err(wrong("temperature", format!("{other:?} is not one positive number"))),
        }
    }

    fn levels(&self, outputs: usize) -> Result<Vec<Levels>, ProbeError> {
        let (values, thresholds) = (self.take("levels", 2)?, self.take("thresholds", 2)?);
        let width = values.shape[1];
        if values.shape[0] != outputs || width == 0 || thresholds.shape != [outputs, width - 1] {
            return Err(wrong("thresholds", format!("shape {:?} for levels {:?} of {outputs} classes", thresholds.shape, values.shape)));
        }
        let known = |row: &[f32]| row.iter().copied().take_while(|v| !v.is_nan()).collect::<Vec<f32>>();
        let class = |(output, row): (usize, &[f32])| {
            let (values, thresholds) = (known(row), known(&thresholds.data[output * (width - 1)..(output + 1) * (width - 1)]));
            match values.len() == thresholds.len() + 1 {
                true => Ok(Levels { values, thresholds }),
                false => Err(wrong("thresholds", format!("class {output} has {} for {} levels", thresholds.len(), values.len()))),
            }
        };
        values.data.chunks_exact(width).enumerate().map(class).collect()
    }
}
