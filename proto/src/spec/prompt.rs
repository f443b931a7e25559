//! How the utterance is put to a model: conditions, and what is done with prompts that are too long or bad.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One way of putting the utterance to the model: `template`, `chat`, or neither for the bare text.
///
/// `few_shot` and `stimuli` are carried out when the spec is accepted: examples are drawn and written into `examples`, and
/// a condition with stimuli becomes one condition for each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Solved examples in front of the utterance: earlier turns of a chat, or before a template as `example` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// How one example is written before a template, with `{text}` and `{label}`.
    #[serde(default = "example", skip_serializing_if = "is_example")]
    pub example: String,
    /// Draws the examples from train. Rows that become examples are taken out of the dataset, under every condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_shot: Option<FewShot>,
    /// Sentences that are put before or behind the utterance, one condition for each, named `NAME.ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stimuli: Option<Stimuli>,
}

/// A solved example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The utterance.
    pub text: String,
    /// Its label, as the answer words it.
    pub label: String,
}

/// Which examples are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FewShot {
    /// Examples of each class.
    #[serde(default = "one")]
    pub per_class: usize,
    /// The seed of the draw and of the order.
    #[serde(default)]
    pub seed: u64,
}

/// Sentences put beside the utterance (EmotionPrompt, Li et al. 2023; NegativePrompt, Wang et al. 2024).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stimuli {
    /// A JSONL file with the columns `id` and `text`.
    pub source: String,
    /// Where they go.
    #[serde(default)]
    pub place: StimulusPlace,
}

/// Where a stimulus goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StimulusPlace {
    /// Before the utterance, with a space between.
    Before,
    /// Behind the utterance, with a space between.
    #[default]
    After,
}

/// The mark of the utterance in templates.
pub const TEXT: &str = "{text}";
/// The mark of all answers, as a list, in questions.
pub const LABELS: &str = "{labels}";

fn example() -> String {
    "{text}\n{label}\n\n".to_owned()
}

fn is_example(format: &String) -> bool {
    *format == example()
}

fn one() -> usize {
    1
}

impl Condition {
    /// The bare utterance.
    pub fn raw(name: &str) -> Condition {
        Condition { name: name.to_owned(), example: example(), ..Condition::default() }
    }

    /// What is put to the model, without the name.
    ///
    /// # Panics
    /// If both `template` and `chat` are set, which [`super::Spec::check`] refuses; or if examples or stimuli are still to be
    /// drawn.
    pub fn prompt(&self) -> Prompt {
        assert!(self.few_shot.is_none() && self.stimuli.is_none(), "condition `{}` is resolved before it is used", self.name);
        let shown = |e: &Example| self.example.replace("{label}", &e.label).replace(TEXT, &e.text);
        let before: String = self.examples.iter().map(shown).collect();
        match (&self.template, &self.chat) {
            (None, None) => Prompt::Template(before + TEXT),
            (Some(template), None) => Prompt::Template(before + template),
            (None, Some(chat)) => {
                let turns = self.examples.iter().map(|e| Turn { user: chat.user.replace(TEXT, &e.text), assistant: e.label.clone() });
                Prompt::Chat(Chat { turns: turns.collect(), ..chat.clone() })
            }
            (Some(_), Some(_)) => panic!("condition `{}` was checked to have one of template and chat", self.name),
        }
    }

    /// The condition with a sentence beside the utterance.
    #[must_use]
    pub fn with_stimulus(&self, id: &str, text: &str, place: StimulusPlace) -> Condition {
        let beside = match place {
            StimulusPlace::Before => format!("{text} {TEXT}"),
            StimulusPlace::After => format!("{TEXT} {text}"),
        };
        let put = |into: &str| into.replace(TEXT, &beside);
        let chat = self.chat.as_ref().map(|chat| Chat { user: put(&chat.user), ..chat.clone() });
        let template = if chat.is_some() { None } else { Some(put(self.template.as_deref().unwrap_or(TEXT))) };
        Condition { name: format!("{}.{id}", self.name), template, chat, stimuli: None, ..self.clone() }
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
    /// Earlier turns of the chat; those of a condition are written into its `examples`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub turns: Vec<Turn>,
    /// The user message, with `{text}` where the utterance goes.
    #[serde(default = "text")]
    pub user: String,
    /// Variables passed to the chat template, such as `enable_thinking: false`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// An earlier turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// What the user said.
    pub user: String,
    /// What the assistant answered.
    pub assistant: String,
}

/// The default of what a message says.
pub(super) fn text() -> String {
    TEXT.to_owned()
}

impl Default for Chat {
    fn default() -> Self {
        Chat { system: None, turns: Vec::new(), user: text(), variables: BTreeMap::new() }
    }
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
