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
        let mut all = Vec::new();
        for (of, done) in self.results(&[extract])? {
            let (unit, done) = (of.unit, &done);
            if done.artifact(TOKENS).is_none() {
                return Err(of.corrupt(format!("its commit names no {TOKENS}")));
            }
            let bytes = self.read(|store| async move { store.artifact(&unit, done, TOKENS).await }).map_err(|e| of.judge(e))?;
            let rows: Vec<RowTokens> = serde_json::from_slice(&bytes)
                .map_err(|e| InputError::Artifact { unit, message: format!("{TOKENS} can't be read: {e}") })?;
            all.extend(rows);
        }
        Ok(all)
    }
}
