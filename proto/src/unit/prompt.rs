//! Prompt and judge units: what a model says of rows and of replies, as likelihoods or in words.

use serde::{Deserialize, Serialize};

use super::{ModelIdentity, RowsIdentity};
use crate::key::UnitKey;
use crate::spec::{BadRows, Prompt, TooLong};

/// The artifact name of a prompt or judge unit's scores.
pub const SCORES: &str = "scores.safetensors";
/// The artifact name of a prompt unit's written answers.
pub const ANSWERS: &str = "answers.json";

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
    /// [`super::ENGINE_VERSION`].
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
/// Artifact: `scores.safetensors` as a prompt unit's, `content_free` only where there are such texts; rows whose reply is empty
/// or was skipped have 0 `prompt_tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeUnit {
    /// [`super::ENGINE_VERSION`].
    pub version: u32,
    /// The judging model.
    pub model: ModelIdentity,
    /// How replies become questions.
    pub prompt: Prompt,
    /// The answers whose likelihood is measured, in class order, as they follow the prompt.
    pub answers: Vec<String>,
    /// Texts without content whose likelihoods calibrate the others'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_free: Vec<String>,
    /// The extract unit whose replies are judged.
    pub replies: UnitKey,
    /// The policy for prompts longer than the context.
    pub too_long: TooLong,
    /// The policy for rows that can't be computed.
    #[serde(default, skip_serializing_if = "BadRows::is_default")]
    pub bad_rows: BadRows,
}

/// One row's written answer in a prompt unit's `answers.json`, a list in row order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The row's id.
    pub id: String,
    /// What the model wrote, which can be nothing.
    pub text: String,
    /// Whether the row was skipped, so that the model wasn't asked; not written where it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}
