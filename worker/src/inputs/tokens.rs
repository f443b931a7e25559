//! What an extract or prompt unit has written down in words: prompts, replies, answers.

use limbic_proto::key::UnitKey;
use limbic_proto::unit::{ANSWERS, Answer, RowTokens, TOKENS};
use serde::de::DeserializeOwned;

use super::{InputError, Inputs};

impl Inputs {
    /// The tokens of all rows of an extract unit, verified, in row order; a unit that was split stands for its children.
    ///
    /// # Errors
    /// The unit (or a child) has no result, or its artifact can't be read or is not what was written.
    pub fn tokens(&self, extract: UnitKey) -> Result<Vec<RowTokens>, InputError> {
        self.of_rows(extract, TOKENS)
    }

    /// The written answers of all rows of a prompt unit; as [`Inputs::tokens`].
    ///
    /// # Errors
    /// As [`Inputs::tokens`].
    pub fn answers(&self, prompt: UnitKey) -> Result<Vec<Answer>, InputError> {
        self.of_rows(prompt, ANSWERS)
    }

    /// What an artifact says of each row.
    fn of_rows<T: DeserializeOwned>(&self, unit: UnitKey, name: &'static str) -> Result<Vec<T>, InputError> {
        let results = self.results(&[unit])?;
        let largest = results.iter().filter_map(|(_, done)| done.artifact(name)).map(|artifact| artifact.len).max();
        let artifacts = self.in_order(results.iter().map(|(of, done)| self.artifact(*of, done, name)), largest.unwrap_or(0));
        let mut all = Vec::new();
        for (bytes, (of, _)) in artifacts.zip(&results) {
            let rows: Vec<T> = serde_json::from_slice(&bytes?)
                .map_err(|e| InputError::Artifact { unit: of.unit, message: format!("{name} can't be read: {e}") })?;
            all.extend(rows);
        }
        Ok(all)
    }
}
