//! Extract units: hidden states of some rows.

use serde::{Deserialize, Serialize};

use super::{ModelIdentity, RowsIdentity};
use crate::axis::{Layer, ReadOut};
use crate::spec::{BadRows, Continuation, Prompt, TooLong};

/// The artifact name of an extract unit's states.
pub const STATES: &str = "states.safetensors";
/// The artifact name of an extract unit's tokens.
pub const TOKENS: &str = "tokens.json";

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
    /// [`super::ENGINE_VERSION`].
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
