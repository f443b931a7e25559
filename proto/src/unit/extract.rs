//! Extract units: hidden states of some rows.

use serde::{Deserialize, Serialize};

use super::{ModelIdentity, RowsIdentity};
use crate::axis::{Layer, ReadOut};
use crate::key::Digest;
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
/// With `moments`, states of train rows are not stored: the f32 tensors are `[held rows, d]`, of the rows of validation and test
/// in their order. Beside each, named `{tensor}.{part}`, are f64 tensors of what is known of the train rows that have a state there:
/// `counts` `[2 + 2 K]` (rows, their weight, and for each of K classes or scales the weighted sum of the targets, then of their
/// squares around the mean; a target is 0 or 1, or the value), `moments` `[3 + K, d]` (means and squares around them of rows that
/// count once; weighted means; for each target the sum of its products with the states, both around their means) and `second`
/// `[d (d + 1) / 2]` (the same of the states with themselves: the columns of the lower triangle one after another).
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
    /// Of units that store moments in place of the states of train rows, what these depend on: [`crate::rows::Rows::moments_digest`]
    /// of the rows (of a part's, of the rows that it is a part of).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<Digest>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Dtype;
    use crate::unit::UnitSpec;

    #[test]
    fn a_unit_that_stores_all_states_has_the_key_that_it_had_before_there_were_moments() {
        let (model, texts) = (Digest::of(b"model"), Digest::of(b"texts"));
        let unit = |moments| {
            UnitSpec::Extract(ExtractUnit {
                version: 2,
                model: ModelIdentity { digest: model, dtype: Dtype::F32 },
                prompt: Prompt::Template("{text}".to_owned()),
                rows: RowsIdentity { texts, count: 3, part: None },
                layers: vec![Layer::Block(0)],
                read_outs: vec![ReadOut::LAST],
                continuation: None,
                too_long: TooLong::Error,
                bad_rows: BadRows::Stop,
                moments,
            })
        };
        let (whole, lean) = (unit(None), unit(Some(Digest::of(b"labels"))));
        let before = format!(
            r#"{{"continuation":null,"kind":"extract","layers":[0],"model":{{"digest":"{model}","dtype":"f32"}},"prompt":{{"template":"{{text}}"}},"read_outs":[{{"context":"full","offset":0,"pooling":"last"}}],"rows":{{"count":3,"texts":"{texts}"}},"too_long":"error","version":2}}"#
        );
        assert_eq!(crate::key::canonical_json(&whole), before);
        assert_eq!(serde_json::from_str::<UnitSpec>(&before).unwrap(), whole, "units from before there were moments");
        assert_ne!(whole.key(), lean.key());
    }
}
