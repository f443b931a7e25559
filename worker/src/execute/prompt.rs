//! Prompt units: how likely the model finds each answer after the question.

use limbic_engine::Loaded;
use limbic_proto::rows::Row;
use limbic_proto::unit::{PromptUnit, SCORES};

use super::passes::{RowPrompts, follow};
use super::{Advice, ExecuteError, Output};
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// Computes the unit's scores.
pub(super) fn prompt(spec: &PromptUnit, model: &dyn Loaded, rows: &[Row], progress: &Progress) -> Result<Output, ExecuteError> {
    let labels = spec.answers.iter().map(|answer| ids(model, answer)).collect::<Result<Vec<_>, _>>()?;
    let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
    let prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, rows, longest, spec.too_long)?;
    let tokens = std::cell::Cell::new(0);
    let mut follow = follow(progress);
    let scores = model
        .score(&prompts.built.prompts, &labels, &mut |done| {
            tokens.set(done.tokens);
            follow(done)
        })
        .map_err(|e| prompts.error(e))?;
    let mut file = TensorFile::default();
    let values = prompts.scatter(scores.concat(), labels.len());
    file.f64("log_likelihood", vec![rows.len(), labels.len()], values);
    file.i64("label_tokens", vec![labels.len()], labels.iter().map(|l| l.len() as i64).collect());
    file.i64("prompt_tokens", vec![rows.len()], prompts.tokens());
    let counts = [
        ("rows", rows.len()),
        ("skipped_rows", prompts.built.skipped.len()),
        ("truncated_rows", prompts.built.truncated.len()),
        ("labels", labels.len()),
    ];
    Ok(Output { artifacts: vec![(SCORES, super::bytes(&file)?)], tokens: tokens.get(), counts: super::counts(counts) })
}

fn ids(model: &dyn Loaded, answer: &str) -> Result<Vec<u32>, ExecuteError> {
    let failed =
        |message: String| ExecuteError::Engine { what: format!("tokenizing the answer `{answer}`"), message, advice: Advice::Reject };
    let ids = model.ids(answer).map_err(|e| failed(e.to_string()))?;
    if ids.is_empty() { Err(failed("it has no tokens".to_owned())) } else { Ok(ids) }
}
