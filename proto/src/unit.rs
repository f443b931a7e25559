//! Units: what a worker leases. A unit's identity holds everything that determines its result and nothing else; how
//! to get at the bytes (paths, names, cost) travels beside it as [`Hints`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::axis::{Layer, ReadOut};
use crate::key::{Digest, UnitKey};
use crate::rows::Scheme;
use crate::spec::{BadRows, Continuation, Control, Dtype, LogisticSpec, ProbeSpec, Prompt, RidgeSpec, TooLong};

mod split;

/// Raised whenever hidden states, likelihoods or what is read of their artifacts change for the same input.
pub const ENGINE_VERSION: u32 = 2;
/// Raised whenever fits or their artifacts change for the same input.
pub const PROBE_VERSION: u32 = 2;

/// What determines a unit's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum UnitSpec {
    /// Hidden states of some rows under one condition: one tensor per (layer, read-out).
    Extract(ExtractUnit),
    /// Probes on the states of one layer, or a baseline on the words.
    Fit(FitUnit),
    /// Label likelihoods of some rows, or written answers: zero-shot.
    Prompt(PromptUnit),
    /// Fitted probes on states that they were not fitted on.
    Transfer(TransferUnit),
    /// Label likelihoods of replies.
    Judge(JudgeUnit),
}

/// The kinds of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitKind {
    /// See [`UnitSpec::Extract`].
    Extract,
    /// See [`UnitSpec::Fit`].
    Fit,
    /// See [`UnitSpec::Prompt`].
    Prompt,
    /// See [`UnitSpec::Transfer`].
    Transfer,
    /// See [`UnitSpec::Judge`].
    Judge,
}

impl UnitKind {
    /// All kinds, in the order of tables.
    pub const ALL: [UnitKind; 5] = [UnitKind::Extract, UnitKind::Fit, UnitKind::Transfer, UnitKind::Prompt, UnitKind::Judge];

    /// The word used in logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitKind::Extract => "extract",
            UnitKind::Fit => "fit",
            UnitKind::Prompt => "prompt",
            UnitKind::Transfer => "transfer",
            UnitKind::Judge => "judge",
        }
    }
}

/// A model as a result depends on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Digest of weights, config, tokenizer and chat template.
    pub digest: Digest,
    /// The number format it is computed in.
    pub dtype: Dtype,
}

/// Some consecutive rows of a dataset, by what the model sees of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsIdentity {
    /// [`crate::rows::Rows::texts_digest`]; of a part's, of the rows that it is a part of.
    pub texts: Digest,
    /// How many.
    pub count: usize,
    /// Where a unit was split: which part of those rows these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<RowsPart>,
}

/// A part of some consecutive rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsPart {
    /// The first row, counted from the first of them all.
    pub first: usize,
    /// How many they all are.
    pub of: usize,
}

/// Hidden states of some rows under one condition.
///
/// Artifacts: `states.safetensors` with one f32 tensor `[rows, d]` per (layer, read-out) named by [`ReadOut::tensor`],
/// and I64 `[rows]` tensors `prompt_tokens` (0 = the row was skipped) and, for every context that is read,
/// [`crate::axis::Context::lengths`] (a row without a state at an offset is zeros there); `tokens.json` with [`RowTokens`] per row.
///
/// In the context `shuffled-reply` rows of the unit exchange their replies, in pairs that their ids determine, and go as far
/// as both replies do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractUnit {
    /// [`ENGINE_VERSION`].
    pub version: u32,
    /// The model.
    pub model: ModelIdentity,
    /// How utterances become prompts.
    pub prompt: Prompt,
    /// The rows.
    pub rows: RowsIdentity,
    /// The taps, ascending.
    pub layers: Vec<Layer>,
    /// The read-outs.
    pub read_outs: Vec<ReadOut>,
    /// What follows the prompt, with `tokens` filled in.
    pub continuation: Option<Continuation>,
    /// The policy for prompts longer than the context.
    pub too_long: TooLong,
    /// The policy for rows that can't be computed.
    #[serde(default, skip_serializing_if = "BadRows::is_default")]
    pub bad_rows: BadRows,
}

/// The artifact name of an extract unit's states.
pub const STATES: &str = "states.safetensors";
/// The artifact name of an extract unit's tokens.
pub const TOKENS: &str = "tokens.json";
/// The artifact name of a fit unit's predictions.
pub const PREDICTIONS: &str = "predictions.safetensors";
/// The artifact name of a fit unit's reports.
pub const FITS: &str = "fits.json";
/// The artifact name of a fit unit's weights.
pub const WEIGHTS: &str = "weights.safetensors";
/// The artifact name of a prompt or judge unit's scores.
pub const SCORES: &str = "scores.safetensors";
/// The artifact name of a prompt unit's written answers.
pub const ANSWERS: &str = "answers.json";
/// The artifact name of a fit unit's geometry.
///
/// It holds f32 tensors for every read-out r at offset 0, of states that were standardised on train; what lacks a state is
/// NaN:
/// - `{r}.coordinates` `[test rows, 3]`: test rows along the first three principal components of train;
/// - `{r}.explained` `[components]`: the share of train's variance along each of the first ten;
/// - `{r}.directions` `[outputs, d]`: for each class the mean of its train rows minus that of all others; under
///   [`Scheme::Intensity`] and [`Scheme::Continuous`] the slope of the states on the value;
/// - `{r}.similarity` `[s, s]`: inner products of s test rows, centred (the matrix that CKA and RSA start from). The rows
///   are [`similarity_rows`], the same for every layer, condition and model;
/// - `{r}.separation` `[2]`: mean silhouette of the classes, and Fisher's ratio (trace of the scatter between classes over
///   that within), both over test rows; NaN where rows have no single class.
pub const GEOMETRY: &str = "geometry.safetensors";

/// How many test rows similarity matrices are about, at most: enough to compare representations, few enough to keep.
const SIMILARITY_ROWS: usize = 256;

/// Which test rows the similarity matrices are about, of so many: at most 256, evenly spaced.
pub fn similarity_rows(test: usize) -> Vec<usize> {
    let count = test.min(SIMILARITY_ROWS);
    (0..count).map(|i| i * test / count).collect()
}

/// The tokens of one row in an extract unit's `tokens.json`, a list in row order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowTokens {
    /// The row's id.
    pub id: String,
    /// The prompt's token ids; empty if the row was skipped.
    pub prompt: Vec<u32>,
    /// The utterance's first token and the one after its last, in `prompt`.
    pub utterance: (usize, usize),
    /// The utterance's character span in the rendered prompt (byte offsets).
    pub utterance_bytes: (usize, usize),
    /// The continuation's token ids.
    pub reply: Vec<u32>,
    /// The reply in words, where the model wrote one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply_text: String,
}

/// One row's written answer in a prompt unit's `answers.json`, a list in row order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The row's id.
    pub id: String,
    /// What the model wrote; empty if the row was skipped.
    pub text: String,
}

/// What probes are fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The states of one layer, from these extract units; their rows, concatenated, are the dataset.
    States {
        /// The extract units, in row order.
        extracts: Vec<UnitKey>,
        /// The layer.
        layer: Layer,
    },
    /// TF-IDF of the utterances.
    BagOfWords {
        /// [`crate::rows::Rows::texts_digest`] of all rows.
        texts: Digest,
    },
    /// Nothing but the class shares of train.
    Majority,
}

/// Probes on one layer's states (every read-out, every probe, every seed), or a baseline.
///
/// Artifacts: `predictions.safetensors` with one f32 tensor `[test rows, outputs]` per fit, named by [`FitName`] (test
/// rows in dataset order; a row without a state at that read-out is all NaN; see [`Scheme`] for what the numbers are);
/// `fits.json`, a list of [`FitRecord`]; `weights.safetensors` with the weights and standardiser of each fit that is no
/// control, tensors named `{FitName}.{tensor}`; with `geometry` also `geometry.safetensors` (see [`GEOMETRY`]).
///
/// A probe that draws nothing is fitted once and has the seed 0; controls draw from every seed. Labels are shuffled with their
/// rows' weights, so that classes count as before. An `offset-mlp` is one network for all offsets of a pooling and context,
/// kept once for each read-out, as it reads there. What is carried on from offset 0 (see `transfer`) are the other probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitUnit {
    /// [`PROBE_VERSION`].
    pub version: u32,
    /// What is fitted on.
    pub features: Features,
    /// [`crate::rows::Rows::targets_digest`].
    pub targets: Digest,
    /// The read-outs; empty for baselines.
    pub read_outs: Vec<ReadOut>,
    /// The probes; for bag-of-words one logistic or ridge probe, for majority none.
    pub probes: Vec<ProbeSpec>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What is fitted beside each probe, of what needs the same states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// Whether probes of offset 0 (pooling `last`) are used at every further read-out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transfer: bool,
    /// Whether the geometry of the read-outs at offset 0 is described.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub geometry: bool,
}

/// Probes of some fit units on the states of one layer under another condition, at the read-out that each was fitted at.
///
/// Artifacts: `predictions.safetensors` as a fit unit's, tensors named `{index of the fit unit}.{FitName}`; `fits.json`, a
/// list of [`TransferRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferUnit {
    /// [`PROBE_VERSION`].
    pub version: u32,
    /// The fit units whose probes are used.
    pub fits: Vec<UnitKey>,
    /// The extract units whose states they are used on, in row order.
    pub extracts: Vec<UnitKey>,
    /// The layer.
    pub layer: Layer,
    /// [`crate::rows::Rows::targets_digest`].
    pub targets: Digest,
    /// The read-outs; probes that were fitted at others are left out.
    pub read_outs: Vec<ReadOut>,
}

/// One probe of a transfer unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRecord {
    /// Index into [`TransferUnit::fits`].
    pub fit: usize,
    /// The probe's name in that unit.
    pub name: FitName,
    /// Test rows predicted.
    pub test: usize,
}

impl TransferRecord {
    /// The tensor's name, such as `1.logistic.k0.s0`.
    pub fn tensor(&self) -> String {
        format!("{}.{}", self.fit, self.name.tensor())
    }
}

/// The name of one fit inside a fit unit's artifacts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitName {
    /// [`ProbeSpec::name`], or a baseline's name.
    pub probe: String,
    /// The control that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// The read-out that it predicts from; none for baselines on the words.
    pub read_out: Option<ReadOut>,
    /// The read-out that it was fitted at, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_at: Option<ReadOut>,
    /// The seed.
    pub seed: u64,
}

impl FitName {
    /// A probe at a read-out.
    pub fn new(probe: &str, read_out: Option<ReadOut>, seed: u64) -> FitName {
        FitName { probe: probe.to_owned(), control: None, read_out, fitted_at: None, seed }
    }

    /// The tensor's name, such as `logistic.k8.s0`, `logistic.shuffled-labels.k8.s0` or `logistic.k8.from.k0.s0`.
    pub fn tensor(&self) -> String {
        let mut name = self.probe.clone();
        if let Some(control) = self.control {
            name = format!("{name}.{}", control.name());
        }
        if let Some(read_out) = self.read_out {
            name = format!("{name}.{}", read_out.name());
        }
        if let Some(from) = self.fitted_at {
            name = format!("{name}.from.{}", from.name());
        }
        format!("{name}.s{}", self.seed)
    }
}

/// How one fit went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRecord {
    /// Which fit.
    pub name: FitName,
    /// Train rows used.
    pub train: usize,
    /// Validation rows used.
    pub validation: usize,
    /// Test rows predicted.
    pub test: usize,
    /// The chosen strength C of a logistic fit, or penalty alpha of a ridge fit.
    pub strength: Option<f64>,
    /// Mean loss on validation: log-loss in nats (summed over classes under [`Scheme::Multi`] and [`Scheme::Intensity`]), or
    /// squared error in units of the targets' variance where predictions are no probabilities.
    pub validation_log_loss: Option<f64>,
    /// Steps (MLP) or iterations (logistic).
    pub iterations: usize,
    /// Whether the optimum was reached (always true of an MLP, which stops by plan).
    pub converged: bool,
    /// Why there is no fit at this read-out (for instance too few rows reach this offset), if there is none.
    pub absent: Option<String>,
    /// The minimum description length of the labels, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mdl: Option<Mdl>,
}

/// How long the labels of train are when they are sent with a probe's help (Voita and Titov 2020, online code).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mdl {
    /// Bits of the online code.
    pub bits: f64,
    /// Bits of the uniform code: rows times log2 of the classes.
    pub uniform_bits: f64,
}

/// What a prompt unit asks the model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asking {
    /// How likely it finds each answer.
    #[default]
    Likelihood,
    /// A written answer of at most so many tokens, greedily.
    Answer {
        /// Tokens at most.
        tokens: u32,
    },
}

impl Asking {
    /// Whether it is the default, which is not written: keys of units are older than this field.
    pub fn is_default(&self) -> bool {
        *self == Asking::default()
    }
}

/// Label likelihoods of some rows, or written answers.
///
/// Artifact of likelihoods: `scores.safetensors` with one f64 tensor `log_likelihood` `[rows, labels]` of summed
/// log-probabilities, another `content_free` `[texts, labels]` of texts without content, and I64 tensors `label_tokens`
/// `[labels]` and `prompt_tokens` `[rows]` (0 = skipped). Of written answers: `answers.json`, a list of [`Answer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptUnit {
    /// [`ENGINE_VERSION`].
    pub version: u32,
    /// The model.
    pub model: ModelIdentity,
    /// How utterances become questions.
    pub prompt: Prompt,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Asking::is_default")]
    pub asking: Asking,
    /// The answers whose likelihood is measured, in class order, as they follow the prompt; none where it is to be written.
    pub answers: Vec<String>,
    /// Texts without content whose likelihoods calibrate the others'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_free: Vec<String>,
    /// The rows.
    pub rows: RowsIdentity,
    /// The policy for prompts longer than the context.
    pub too_long: TooLong,
    /// The policy for rows that can't be computed.
    #[serde(default, skip_serializing_if = "BadRows::is_default")]
    pub bad_rows: BadRows,
}

/// How likely a model finds each label after a question about a reply.
///
/// Artifact: `scores.safetensors` as a prompt unit's; rows whose reply is empty or was skipped have 0 `prompt_tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeUnit {
    /// [`ENGINE_VERSION`].
    pub version: u32,
    /// The judging model.
    pub model: ModelIdentity,
    /// How replies become questions.
    pub prompt: Prompt,
    /// The answers whose likelihood is measured, in class order, as they follow the prompt.
    pub answers: Vec<String>,
    /// The extract unit whose replies are judged.
    pub replies: UnitKey,
    /// The policy for prompts longer than the context.
    pub too_long: TooLong,
    /// The policy for rows that can't be computed.
    #[serde(default, skip_serializing_if = "BadRows::is_default")]
    pub bad_rows: BadRows,
}

impl UnitSpec {
    /// The unit's key.
    pub fn key(&self) -> UnitKey {
        Digest::of_json(self)
    }

    /// The unit's kind.
    pub fn kind(&self) -> UnitKind {
        match self {
            UnitSpec::Extract(_) => UnitKind::Extract,
            UnitSpec::Fit(_) => UnitKind::Fit,
            UnitSpec::Prompt(_) => UnitKind::Prompt,
            UnitSpec::Transfer(_) => UnitKind::Transfer,
            UnitSpec::Judge(_) => UnitKind::Judge,
        }
    }

    /// The model that must be loaded, if any.
    pub fn model(&self) -> Option<&ModelIdentity> {
        match self {
            UnitSpec::Extract(u) => Some(&u.model),
            UnitSpec::Prompt(u) => Some(&u.model),
            UnitSpec::Judge(u) => Some(&u.model),
            UnitSpec::Fit(_) | UnitSpec::Transfer(_) => None,
        }
    }

    /// How many tokens a row's reply has at most; 0 of units without one.
    pub fn reply_tokens(&self) -> u32 {
        match self {
            UnitSpec::Extract(u) => u.continuation.as_ref().and_then(|c| c.tokens).unwrap_or(0),
            UnitSpec::Prompt(PromptUnit { asking: Asking::Answer { tokens }, .. }) => *tokens,
            _ => 0,
        }
    }

    /// The units whose artifacts this one reads.
    pub fn dependencies(&self) -> Vec<UnitKey> {
        match self {
            UnitSpec::Fit(FitUnit { features: Features::States { extracts, .. }, .. }) => extracts.clone(),
            UnitSpec::Transfer(u) => u.extracts.iter().chain(&u.fits).copied().collect(),
            UnitSpec::Judge(u) => vec![u.replies],
            UnitSpec::Fit(_) | UnitSpec::Extract(_) | UnitSpec::Prompt(_) => Vec::new(),
        }
    }
}

/// How the bag-of-words baseline is fitted: as the logistic (or, to numbers, the ridge) probe is, with the strength that
/// validation chooses; on rows of unit length the useful ones lie higher than on standardised states. They are part of the
/// unit's identity.
pub fn bag_of_words_probe(scheme: Scheme) -> ProbeSpec {
    match scheme {
        Scheme::Single | Scheme::Multi => {
            ProbeSpec::Logistic(LogisticSpec { c: vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0], ..LogisticSpec::default() })
        }
        Scheme::Intensity | Scheme::Continuous => ProbeSpec::Ridge(RidgeSpec { alpha: vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0] }),
    }
}

/// How to get at a unit's input, and what it is worth. Changes no number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hints {
    /// The model's source, for units that need one. A plan's units share it.
    #[serde(default, with = "shared")]
    pub model: Option<Arc<ModelHint>>,
    /// The dataset's rows artifact.
    pub dataset: Digest,
    /// The unit's rows in it: first, and one past the last.
    pub rows: (usize, usize),
    /// Tokens per forward pass.
    pub token_budget: usize,
    /// Estimated floating-point operations.
    pub flops: f64,
    /// What a person reads: `extract tiny-1m calm rows 0..512`.
    pub title: String,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelHint {
    /// The name in tables and figures.
    pub name: String,
    /// A folder, a `.gguf` file or an `hf://` id with its revision pinned.
    pub source: String,
    /// What is built from them.
    pub architecture: Architecture,
    /// The seed of random weights that take the place of those in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<u64>,
}

/// What is shared in memory is written out each time.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(shared: &Option<Arc<T>>, serializer: S) -> Result<S::Ok, S::Error> {
        shared.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<T>>, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map(Arc::new))
    }
}

/// A unit as it is leased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// What determines its result.
    pub spec: UnitSpec,
    /// How to get at its input.
    pub hints: Hints,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_the_default_is_not_in_the_key() {
        let unit = |bad_rows| {
            let model = ModelIdentity { digest: Digest::of(b"model"), dtype: Dtype::F32 };
            let rows = RowsIdentity { texts: Digest::of(b"texts"), count: 3, part: None };
            let prompt = Prompt::Template("{text}".into());
            UnitSpec::Prompt(PromptUnit {
                version: 1,
                model,
                prompt,
                asking: Asking::default(),
                answers: vec![" joy".into()],
                content_free: Vec::new(),
                rows,
                too_long: TooLong::Error,
                bad_rows,
            })
        };
        let (stop, skip) = (unit(BadRows::Stop), unit(BadRows::Skip));
        let text = crate::key::canonical_json(&stop);
        let (model, texts) = (Digest::of(b"model"), Digest::of(b"texts"));
        // As it was before the field came to be.
        let before = format!(
            r#"{{"answers":[" joy"],"kind":"prompt","model":{{"digest":"{model}","dtype":"f32"}},"prompt":{{"template":"{{text}}"}},"rows":{{"count":3,"texts":"{texts}"}},"too_long":"error","version":1}}"#
        );
        assert_eq!(text, before);
        assert_ne!(stop.key(), skip.key());
        assert_eq!(serde_json::from_str::<UnitSpec>(&text).unwrap(), stop, "units from before there was such a policy");
    }
}
