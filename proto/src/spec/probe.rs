//! The probing part of a spec: probes and baselines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A probe: what is trained on every cell's states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProbeSpec {
    /// Multinomial logistic regression with an L2 penalty, on standardised states.
    Logistic(LogisticSpec),
    /// A perceptron with one hidden ReLU layer, as in the study, on standardised states.
    Mlp(MlpSpec),
}

impl ProbeSpec {
    /// The name in tables and figures.
    pub fn name(&self) -> &'static str {
        match self {
            ProbeSpec::Logistic(_) => "logistic",
            ProbeSpec::Mlp(_) => "mlp",
        }
    }

    /// Whether the result depends on a seed.
    pub fn seeded(&self) -> bool {
        matches!(self, ProbeSpec::Mlp(_))
    }
}

/// Multinomial logistic regression: minimises C * sum of log-losses + ||W||^2 / 2 (scikit-learn's C).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticSpec {
    /// The strengths C that are tried; of several, the one with the lowest validation log-loss is kept.
    pub c: Vec<f64>,
}

impl Default for LogisticSpec {
    fn default() -> Self {
        LogisticSpec { c: vec![0.0001, 0.001, 0.01, 0.1, 1.0] }
    }
}

/// The study's probe: d -> hidden -> classes, ReLU, Adam, linear warm-up then cosine decay; on standardised states,
/// which the study doesn't state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpSpec {
    /// Hidden width (the study doesn't state its own).
    pub hidden: usize,
    /// Passes over train.
    pub epochs: usize,
    /// Rows per step (the study doesn't state its own).
    pub batch: usize,
    /// Adam's peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Stop after this many epochs without a lower validation log-loss, keeping the best epoch; 0 = never.
    pub patience: usize,
}

impl Default for MlpSpec {
    fn default() -> Self {
        MlpSpec { hidden: 256, epochs: 1, batch: 32, learning_rate: 1e-4, warmup: 0.1, patience: 0 }
    }
}

/// What the probes are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The class shares of train.
    Majority,
    /// TF-IDF of the utterance's words and logistic regression, its strength chosen on validation as the probes' is:
    /// what the words alone tell.
    BagOfWords,
    /// The model's own likelihood of each label's name after a question.
    ZeroShot,
}

impl Baseline {
    /// The name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Majority => "majority",
            Baseline::BagOfWords => "bag-of-words",
            Baseline::ZeroShot => "zero-shot",
        }
    }
}
