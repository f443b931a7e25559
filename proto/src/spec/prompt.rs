//! The prompting part of a spec: conditions, continuations and the zero-shot question.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::axis::Context;

/// One way of putting the utterance to the model: `template`, `chat`, or neither for the bare text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The name in tables and figures.
    pub name: String,
    /// A text with `{text}` where the utterance goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Messages that the model's own chat template renders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

impl Condition {
    /// The bare utterance.
    pub fn raw(name: &str) -> Condition {
        Condition { name: name.to_owned(), template: None, chat: None }
    }

    /// What is put to the model, without the name.
    ///
    /// # Panics
    /// If both `template` and `chat` are set, which [`super::Spec::check`] refuses.
    pub fn prompt(&self) -> Prompt {
        match (&self.template, &self.chat) {
            (None, None) => Prompt::Template("{text}".to_owned()),
            (Some(template), None) => Prompt::Template(template.clone()),
            (None, Some(chat)) => Prompt::Chat(chat.clone()),
            (Some(_), Some(_)) => panic!("condition `{}` was checked to have one of template and chat", self.name),
        }
    }
}

/// How an utterance becomes a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Prompt {
    /// A text with `{text}` where the utterance goes, tokenized with the tokenizer's own special tokens.
    Template(String),
    /// Chat messages rendered by the model's chat template, tokenized without further special tokens.
    Chat(Chat),
}

/// Chat messages around the utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// The system message; absent = none is sent (a template may then add its own), empty = an empty one is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The user message, with `{text}` where the utterance goes.
    #[serde(default = "text")]
    pub user: String,
    /// Variables passed to the chat template, such as `enable_thinking: false`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
}

fn text() -> String {
    "{text}".to_owned()
}

impl Default for Chat {
    fn default() -> Self {
        Chat { system: None, user: text(), variables: BTreeMap::new() }
    }
}

/// What follows the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// How many tokens; the default is the largest asked offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// Sampling temperature; 0 = greedy (the default).
    #[serde(default)]
    pub temperature: f64,
    /// Seed of sampling; each row's own seed is derived from it, the row's id and the condition.
    #[serde(default)]
    pub seed: u64,
    /// A fixed text that follows every prompt instead of a generated reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filler: Option<String>,
    /// Whether a reply ends at the model's end-of-sequence token; rows that ended before offset k are left out at k.
    #[serde(default = "yes")]
    pub stop_at_eos: bool,
    /// Further contexts in which the same continuation is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Context>,
}

fn yes() -> bool {
    true
}

/// What to do with a prompt longer than the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// Stop, naming the row, its length and the context.
    #[default]
    Error,
    /// Leave the row out (their number is told).
    Skip,
    /// Keep the last tokens that fit.
    Truncate,
}

/// What to do with a row whose text can't be tokenized, or whose states are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    /// Stop, naming the row.
    #[default]
    Stop,
    /// Leave the row out (their number is told).
    Skip,
}

impl BadRows {
    /// Whether it is the default, which is not written: keys of units are older than this field.
    pub fn is_default(&self) -> bool {
        *self == BadRows::default()
    }
}

/// How the zero-shot baseline asks: the model's likelihood of each answer after the question is the score.
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
}

impl Default for ZeroShot {
    fn default() -> Self {
        ZeroShot { question: "{text}\n\nWhich emotion is this: {labels}?".to_owned(), chat: true, answers: BTreeMap::new() }
    }
}
