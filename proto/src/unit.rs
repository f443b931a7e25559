//! Units: what a worker leases. A unit's identity holds everything that determines its result and nothing else; how
//! to get at the bytes (paths, names, cost) travels beside it as [`Hints`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::key::{Digest, UnitKey};
use crate::spec::{Dtype, ProbeSpec};

mod extract;
mod fit;
mod prompt;
mod split;

pub use extract::{ExtractUnit, RowTokens, STATES, TOKENS};
pub use fit::{
    FITS, Features, FitName, FitRecord, FitUnit, GEOMETRY, Mdl, PREDICTIONS, TransferRecord, TransferUnit, WEIGHTS, bag_of_words_probe,
    similarity_rows, some_rows,
};
pub use prompt::{ANSWERS, Answer, Asking, JudgeUnit, PromptUnit, SCORES};

/// Raised whenever hidden states, likelihoods or what is read of their artifacts change for the same input, but for how GPUs round.
pub const ENGINE_VERSION: u32 = 4;
/// Raised whenever fits or their artifacts change for the same input, but for what records tell beside them; by three, as two
/// more versions follow it.
pub const PROBE_VERSION: u32 = 8;
/// The version of fits that measure description lengths; raised with [`PROBE_VERSION`], and when only those lengths change.
pub const MDL_VERSION: u32 = PROBE_VERSION + 1;
/// The version of fits to repeated rows that train networks or measure description lengths; raised with [`PROBE_VERSION`] and
/// [`MDL_VERSION`], and when only those fits change.
pub const REPEATED_VERSION: u32 = MDL_VERSION + 1;

/// The versions of everything that units compute. A sweep keeps those it was accepted with, so that its results are found by later
/// releases, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// [`ENGINE_VERSION`].
    pub engine: u32,
    /// [`PROBE_VERSION`].
    pub probe: u32,
    /// [`MDL_VERSION`].
    pub mdl: u32,
    /// [`REPEATED_VERSION`].
    pub repeated: u32,
}

impl Versions {
    /// What this release computes.
    pub const CURRENT: Versions = Versions { engine: ENGINE_VERSION, probe: PROBE_VERSION, mdl: MDL_VERSION, repeated: REPEATED_VERSION };

    /// The version of fit units with these probes, on rows that [repeat](crate::rows::Rows::repeat) or don't.
    pub fn fit(&self, probes: &[ProbeSpec], repeated: bool) -> u32 {
        let measured = probes.iter().any(ProbeSpec::coded);
        let trained = probes.iter().any(|probe| matches!(probe, ProbeSpec::Mlp(_) | ProbeSpec::OffsetMlp(_)));
        match (measured, trained) {
            (true, _) | (_, true) if repeated => self.repeated,
            (true, _) => self.mdl,
            (false, _) => self.probe,
        }
    }
}

impl Default for Versions {
    fn default() -> Versions {
        Versions::CURRENT
    }
}

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

    /// Whether such units run a model (on a GPU where there is one); the others need a processor alone.
    pub fn runs_model(self) -> bool {
        match self {
            UnitKind::Extract | UnitKind::Prompt | UnitKind::Judge => true,
            UnitKind::Fit | UnitKind::Transfer => false,
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
    use crate::spec::{BadRows, Prompt, TooLong};

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
