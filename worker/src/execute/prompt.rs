//! Prompt units: how likely the model finds each answer after the question, or what it answers.

use bytes::Bytes;
use limbic_engine::{Continuation, Labels, Likelihoods, Loaded, Request, RowPolicy};
use limbic_proto::rows::Row;
use limbic_proto::spec::{Dtype, Prompt};
use limbic_proto::unit::{ANSWERS, Answer, Asking, PromptUnit, SCORES, Unit};

use super::passes::{Follower, RowPrompts, Text, heed, words};
use super::{Advice, ExecuteError, Output, blocks};
use crate::inputs::Parts;
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// Computes the unit's scores or answers.
pub(super) fn prompt(
    spec: &PromptUnit,
    unit: &Unit,
    model: &dyn Loaded,
    rows: &[Row],
    parts: &Parts<'_>,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    match spec.asking {
        Asking::Likelihood => scored(spec, unit.hints.token_budget, model, rows, progress),
        Asking::Answer { tokens } => written(spec, tokens as usize, unit.hints.token_budget, model, rows, parts, progress),
    }
}

fn scored(spec: &PromptUnit, budget: usize, model: &dyn Loaded, rows: &[Row], progress: &Progress) -> Result<Output, ExecuteError> {
    let labels = labels(model, &spec.prompt, &spec.answers)?;
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, Text::of(rows), longest(&labels), policy)?;
    let calibration = calibration(model, spec.model.dtype, &spec.prompt, &spec.content_free, &labels, progress)?;
    let mut follower = Follower::new(progress, prompts.built.prompts.len());
    let asked = Labels { ids: &labels, batch_tokens: Some(budget), bad_rows: spec.bad_rows };
    let scored = model.score(&prompts.built.prompts, asked, &mut |now| follower.pass(now));
    let scored = scored.map_err(|e| prompts.error(e))?;
    follower.done(prompts.built.prompts.len(), scored.tokens);
    follower.end(0, scored.memory_retries);
    prompts.leave_out(&scored.bad);
    let mut file = TensorFile::default();
    let values = prompts.scatter(scored.rows.concat(), labels.len());
    file.f64("log_likelihood", vec![rows.len(), labels.len()], values);
    if !spec.content_free.is_empty() {
        file.f64("content_free", vec![spec.content_free.len(), labels.len()], calibration.rows.concat());
    }
    file.i64("label_tokens", vec![labels.len()], labels.iter().map(|l| l.len() as i64).collect());
    file.i64("prompt_tokens", vec![rows.len()], prompts.tokens());
    let retries = scored.memory_retries + calibration.memory_retries;
    let counts = prompts.counts([("labels", labels.len() as u64), ("memory_retries", retries)]);
    Ok(Output { artifacts: vec![(SCORES, file.content()?)], tokens: scored.tokens + calibration.tokens, counts, ..Output::default() })
}

/// How likely the labels are after texts without content. These are no rows: what calibrates the others must be there.
pub(super) fn calibration(
    model: &dyn Loaded,
    dtype: Dtype,
    prompt: &Prompt,
    content_free: &[String],
    labels: &[Vec<u32>],
    progress: &Progress,
) -> Result<Likelihoods, ExecuteError> {
    let texts = content_free.iter().map(|text| Text { id: text, text }).collect();
    let texts = RowPrompts::new(model, dtype, prompt, texts, longest(labels), RowPolicy::default())?;
    model.score(&texts.built.prompts, Labels::new(labels), &mut heed(progress)).map_err(|e| texts.error(e))
}

/// Answers of at most so many tokens, each the likeliest; they end where the model ends them.
fn written(
    spec: &PromptUnit,
    tokens: usize,
    budget: usize,
    model: &dyn Loaded,
    rows: &[Row],
    parts: &Parts<'_>,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, Text::of(rows), tokens, policy)?;
    let request = Request {
        continuation: Some(Continuation::Generated { tokens, temperature: 0.0, seeds: Vec::new(), stop_at_eos: true }),
        batch_tokens: Some(budget),
        bad_rows: spec.bad_rows,
        ..Request::new(Vec::new(), Vec::new())
    };
    let found = blocks::extract(model, &prompts.built.prompts, &request, parts, None, progress).map_err(|stopped| stopped.of(&prompts))?;
    prompts.leave_out(&found.whole.bad);
    // A row without a prompt was skipped; one that was answered with nothing was not.
    let mut answers: Vec<Answer> = rows.iter().map(|row| Answer { id: row.id.clone(), text: String::new(), skipped: true }).collect();
    let asked = prompts.built.rows.iter().enumerate();
    for ((_, row), text) in asked.zip(words(model, &found.whole.replies)?).filter(|((at, _), _)| !prompts.bad.contains(at)) {
        (answers[*row].text, answers[*row].skipped) = (text, false);
    }
    let counts = prompts.counts([
        ("reply_tokens", found.whole.replies.iter().map(Vec::len).sum::<usize>() as u64),
        ("memory_retries", found.whole.memory_retries),
        ("resumed_rows", found.resumed as u64),
    ]);
    let json = Bytes::from(serde_json::to_vec(&answers).expect("answers serialize"));
    Ok(Output { artifacts: vec![(ANSWERS, json.into())], tokens: found.whole.tokens, counts, ..Output::default() })
}

/// The tokens of answers to a prompt.
pub(super) fn labels(model: &dyn Loaded, prompt: &Prompt, answers: &[String]) -> Result<Vec<Vec<u32>>, ExecuteError> {
    let ids = |answer: &String| {
        let failed =
            |message: String| ExecuteError::Engine { what: format!("tokenizing the answer `{answer}`"), message, advice: Advice::Reject };
        let ids = model.following(prompt, answer).map_err(|e| failed(e.to_string()))?;
        if ids.is_empty() { Err(failed("it has no tokens".to_owned())) } else { Ok(ids) }
    };
    answers.iter().map(ids).collect()
}

/// How many tokens the longest answer has.
pub(super) fn longest(labels: &[Vec<u32>]) -> usize {
    labels.iter().map(Vec::len).max().unwrap_or(0)
}
