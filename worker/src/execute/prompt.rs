//! Prompt units: how likely the model finds each answer after the question.

use limbic_engine::{Loaded, RowPolicy};
use limbic_proto::rows::Row;
use limbic_proto::unit::{PromptUnit, SCORES};

use super::passes::{Follower, RowPrompts};
use super::{Advice, ExecuteError, Output};
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// Computes the unit's scores.
pub(super) fn prompt(spec: &PromptUnit, model: &dyn Loaded, rows: &[Row], progress: &Progress) -> Result<Output, ExecuteError> {
    let labels = spec.answers.iter().map(|answer| ids(model, answer)).collect::<Result<Vec<_>, _>>()?;
    let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, rows, longest, policy)?;
    let mut follower = Follower::new(progress, prompts.built.prompts.len());
    let scored = model.score(&prompts.built.prompts, &labels, spec.bad_rows, &mut |now| follower.pass(now));
    let scored = scored.map_err(|e| prompts.error(e))?;
    follower.done(prompts.built.prompts.len(), scored.tokens);
    follower.end(0, scored.memory_retries);
    prompts.leave_out(&scored.bad);
    let mut file = TensorFile::default();
    let values = prompts.scatter(scored.rows.concat(), labels.len());
    file.f64("log_likelihood", vec![rows.len(), labels.len()], values);
    file.i64("label_tokens", vec![labels.len()], labels.iter().map(|l| l.len() as i64).collect());
    file.i64("prompt_tokens", vec![rows.len()], prompts.tokens());
    let counts = prompts.counts([("labels", labels.len() as u64), ("memory_retries", scored.memory_retries)]);
    Ok(Output { artifacts: vec![(SCORES, file.content()?)], tokens: scored.tokens, counts })
}

fn ids(model: &dyn Loaded, answer: &str) -> Result<Vec<u32>, ExecuteError> {
    let failed =
        |message: String| ExecuteError::Engine { what: format!("tokenizing the answer `{answer}`"), message, advice: Advice::Reject };
    let ids = model.ids(answer).map_err(|e| failed(e.to_string()))?;
    if ids.is_empty() { Err(failed("it has no tokens".to_owned())) } else { Ok(ids) }
}
