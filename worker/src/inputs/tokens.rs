//! The tokens that an extract unit has written down: prompts, replies, and what they say.

use limbic_proto::key::UnitKey;
use limbic_proto::unit::{RowTokens, TOKENS};

use super::{InputError, Inputs};

impl Inputs {
    /// The tokens of all rows of an extract unit, verified, in row order; a unit that was split stands for its children.
    ///
    /// # Errors
    /// The unit (or a child) has no result, or its artifact can't be read or is not what was written.
    pub fn tokens(&self, extract: UnitKey) -> Result<Vec<RowTokens>, InputError> {
        let results = self.results(&[extract])?;
        let largest = results.iter().filter_map(|(_, done)| done.artifact(TOKENS)).map(|artifact| artifact.len).max();
        let artifacts = self.in_order(results.iter().map(|(of, done)| self.artifact(*of, done, TOKENS)), largest.unwrap_or(0));
        let mut all = Vec::new();
        for (bytes, (of, _)) in artifacts.zip(&results) {
            let rows: Vec<RowTokens> = serde_json::from_slice(&bytes?)
                .map_err(|e| InputError::Artifact { unit: of.unit, message: format!("{TOKENS} can't be read: {e}") })?;
            all.extend(rows);
        }
        Ok(all)
    }
}
