//! What models are asked about a text: zero-shot questions, and what they are to write.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the zero-shot baselines ask.
///
/// `zero-shot` measures the model's likelihood of each answer after the question: summed over the answer's tokens, per
/// token, and calibrated (Zhao et al. 2021: divided by the mean likelihood after the question about texts without content).
/// `zero-shot-json` lets the model write an answer and reads the label from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZeroShot {
    /// The question, with `{text}` and `{labels}`.
    pub question: String,
    /// Whether the question is put as a chat message where the model has a chat template.
    pub chat: bool,
    /// Class -> the word whose likelihood is measured; the default is the class's own name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Texts without content, for calibration.
    pub content_free: Vec<String>,
    /// The question that asks for JSON, with `{text}` and `{labels}`.
    pub json_question: String,
    /// The longest JSON answer that is waited for, in tokens.
    pub json_tokens: u32,
}

impl Default for ZeroShot {
    fn default() -> Self {
        ZeroShot {
            question: "{text}\n\nWhich emotion is this: {labels}?".to_owned(),
            chat: true,
            answers: BTreeMap::new(),
            content_free: ["N/A", "", "[MASK]"].map(str::to_owned).to_vec(),
            json_question: "{text}\n\nWhich emotion is this: {labels}? Answer with JSON such as {\"emotion\": \"...\"} and nothing else."
                .to_owned(),
            json_tokens: 32,
        }
    }
}

/// What models are asked to write about every row, greedily. The answers stay in the store, in the `answers.json` of the
/// sweep's prompt units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Writing {
    /// The question, with `{text}`.
    #[serde(default = "super::prompt::text")]
    pub question: String,
    /// Whether it is put as a chat message where the model has a chat template.
    #[serde(default = "super::yes")]
    pub chat: bool,
    /// The longest answer that is waited for, in tokens.
    pub tokens: u32,
}
