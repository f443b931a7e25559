//! The probing part of a spec: probes, the controls beside them, and baselines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rows::Scheme;

/// A probe: what is trained on every cell's states. Inputs are standardised on the rows that it is fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProbeSpec {
    /// Logistic regression with an L2 penalty: multinomial for one class a row, one class against the rest for several, and
    /// of proportional odds (McCullagh 1980) for intensities.
    Logistic(LogisticSpec),
    /// A perceptron with one hidden ReLU layer, as in the study.
    Mlp(MlpSpec),
    /// Least squares with an L2 penalty: on class indicators, intensities or scales.
    Ridge(RidgeSpec),
    /// Linear discriminant analysis with a shrunken covariance.
    Lda(LdaSpec),
    /// The difference of class means as a direction, for each class against the rest.
    MeanDifference(MeanDifferenceSpec),
    /// The study's offset-aware probe: a perceptron on the state at offset k and a learned embedding of k, trained on all
    /// asked offsets at random and evaluated at each.
    OffsetMlp(OffsetMlpSpec),
}

impl ProbeSpec {
    /// The name in tables and figures.
    pub fn name(&self) -> &'static str {
        match self {
            ProbeSpec::Logistic(_) => "logistic",
            ProbeSpec::Mlp(_) => "mlp",
            ProbeSpec::Ridge(_) => "ridge",
            ProbeSpec::Lda(_) => "lda",
            ProbeSpec::MeanDifference(_) => "mean-difference",
            ProbeSpec::OffsetMlp(_) => "offset-mlp",
        }
    }

    /// Whether the result depends on a seed.
    pub fn seeded(&self) -> bool {
        matches!(self, ProbeSpec::Mlp(_) | ProbeSpec::OffsetMlp(_))
    }

    /// Whether a description length is measured beside it, in an order that the smallest seed draws.
    pub fn coded(&self) -> bool {
        matches!(self, ProbeSpec::Logistic(LogisticSpec { mdl: true, .. }))
    }

    /// Whether the probe can be fitted to such labels.
    pub fn fits(&self, scheme: Scheme) -> bool {
        match self {
            ProbeSpec::Ridge(_) | ProbeSpec::Mlp(_) | ProbeSpec::OffsetMlp(_) => true,
            ProbeSpec::Logistic(_) => scheme != Scheme::Continuous,
            ProbeSpec::Lda(_) => scheme == Scheme::Single,
            ProbeSpec::MeanDifference(_) => matches!(scheme, Scheme::Single | Scheme::Multi),
        }
    }

    /// Whether it is fitted to the moments of its train rows alone. (What shrinkage an `lda` should have isn't in them.)
    pub fn of_moments(&self) -> bool {
        match self {
            ProbeSpec::Ridge(_) | ProbeSpec::MeanDifference(_) => true,
            ProbeSpec::Lda(p) => p.shrinkage.is_some(),
            ProbeSpec::Logistic(_) | ProbeSpec::Mlp(_) | ProbeSpec::OffsetMlp(_) => false,
        }
    }

    /// Whether something about it is chosen on validation rows.
    pub fn chooses(&self) -> bool {
        match self {
            ProbeSpec::Logistic(p) => p.c.len() > 1,
            ProbeSpec::Ridge(p) => p.alpha.len() > 1,
            ProbeSpec::Mlp(p) => p.patience > 0,
            ProbeSpec::OffsetMlp(p) => p.mlp.patience > 0,
            ProbeSpec::Lda(_) | ProbeSpec::MeanDifference(_) => false,
        }
    }
}

/// Logistic regression: minimises C * sum of log-losses + ||W||^2 / 2 (scikit-learn's C).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticSpec {
    /// The strengths C that are tried; of several, the one with the lowest validation log-loss is kept.
    pub c: Vec<f64>,
    /// Whether the minimum description length of the labels is measured as well, by the online code (Voita and Titov 2020) at
    /// the chosen strength. One class a row only.
    #[serde(skip_serializing_if = "is_false")]
    pub mdl: bool,
}

impl Default for LogisticSpec {
    fn default() -> Self {
        LogisticSpec { c: vec![0.0001, 0.001, 0.01, 0.1, 1.0], mdl: false }
    }
}

/// The study's probe: d -> hidden -> outputs, ReLU, Adam, linear warm-up then cosine decay.
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
    /// Stop after this many epochs without a lower validation loss, keeping the best epoch; 0 = never.
    pub patience: usize,
    /// Whether inputs are standardised (the study doesn't state it).
    #[serde(skip_serializing_if = "is_true")]
    pub standardise: bool,
}

impl Default for MlpSpec {
    fn default() -> Self {
        MlpSpec { hidden: 256, epochs: 1, batch: 32, learning_rate: 1e-4, warmup: 0.1, patience: 0, standardise: true }
    }
}

/// Ridge regression: minimises the sum of squared errors + alpha * ||W||^2 (scikit-learn's alpha) with a free intercept.
/// Class indicators are -1 and 1; probabilities are the softmax of the scores at a temperature fitted on validation (on
/// train where there is no validation row), which changes no predicted class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RidgeSpec {
    /// The penalties that are tried; of several, the one with the lowest squared error on validation is kept.
    pub alpha: Vec<f64>,
}

impl Default for RidgeSpec {
    fn default() -> Self {
        RidgeSpec { alpha: vec![1.0, 10.0, 100.0, 1000.0, 10000.0] }
    }
}

/// Linear discriminant analysis (scikit-learn's solver `lsqr` with the same shrinkage).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdaSpec {
    /// How far the covariance is shrunk towards a multiple of the identity, in 0..=1; absent = as Ledoit and Wolf (2004)
    /// estimate it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrinkage: Option<f64>,
}

#[expect(clippy::derivable_impls, reason = "beside the other probes' defaults")]
impl Default for LdaSpec {
    fn default() -> Self {
        LdaSpec { shrinkage: None }
    }
}

/// Differences of class means. Probabilities are those of the projections at a temperature fitted as for ridge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MeanDifferenceSpec {}

/// The study's offset-aware probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OffsetMlpSpec {
    /// The perceptron.
    pub mlp: MlpSpec,
    /// Width of the embedding of the offset, which is appended to the state (the study doesn't state its own).
    pub embedding: usize,
}

impl Default for OffsetMlpSpec {
    fn default() -> Self {
        OffsetMlpSpec { mlp: MlpSpec::default(), embedding: 32 }
    }
}

/// What is fitted beside each probe to say how much of its accuracy is the probe's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// The same probe fitted to labels that were shuffled among the groups of train and of validation, and within them: what
    /// it can do without any signal.
    ShuffledLabels,
    /// The same probe on as many random directions of the standardised states as there are outputs: what any projection
    /// keeps.
    RandomDirection,
    /// The same cell of the model's twin: its architecture and tokenizer with weights drawn at random.
    RandomWeights,
}

impl Control {
    /// The name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Control::ShuffledLabels => "shuffled-labels",
            Control::RandomDirection => "random-direction",
            Control::RandomWeights => "random-weights",
        }
    }
}

/// What the probes are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The class shares of train; of intensities and scales, their means.
    Majority,
    /// TF-IDF of the utterance's words and logistic (or ridge) regression, its strength chosen on validation as the probes'
    /// is: what the words alone tell.
    BagOfWords,
    /// The logistic (or ridge) probe on the mean of the utterance's token embeddings: what the model's own word vectors tell.
    MeanEmbedding,
    /// The model's own likelihood of each label's name after a question.
    ZeroShot,
    /// The model's own answer to a question that asks for JSON.
    ZeroShotJson,
}

impl Baseline {
    /// The name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Majority => "majority",
            Baseline::BagOfWords => "bag-of-words",
            Baseline::MeanEmbedding => "mean-embedding",
            Baseline::ZeroShot => "zero-shot",
            Baseline::ZeroShotJson => "zero-shot-json",
        }
    }
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !*value
}
