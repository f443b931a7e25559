//! How likely a model finds given answers after a prompt.

use std::ops::ControlFlow;

use candle_core::Tensor;
use limbic_proto::spec::BadRows;

use crate::extraction::{BATCH_TOKENS, ExtractError, OnProgress, Progress, Queue, Verdict, log_sum_exp};
use crate::model::{Model, Plan};
use crate::pass::{Cache, Pass};
use crate::prompt::Prompt;

/// What scoring yields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Likelihoods {
    /// The log-probability of every label after every prompt, `[rows][labels]`: the sum over the label's tokens, natural
    /// logarithm.
    pub rows: Vec<Vec<f64>>,
    /// Rows that were left out, ascending: their numbers are zeros.
    pub bad: Vec<usize>,
    /// Tokens that were run through the model, without passes that failed.
    pub tokens: u64,
    /// How often the token budget was halved for lack of memory.
    pub memory_retries: u64,
}

/// Measures how likely every label is after every prompt. A prompt's keys and values are computed once and reused by all labels, which run packed in
/// one pass behind it.
///
/// # Errors
/// [`ExtractError`]; an empty label or one that does not fit the context is a bad request.
pub fn label_log_likelihoods(
    model: &Model,
    prompts: &[Prompt],
    labels: &[Vec<u32>],
    bad_rows: BadRows,
    on_progress: OnProgress<'_>,
) -> Result<Likelihoods, ExtractError> {
    let a = model.architecture();
    let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
    let bad = |what: String| Err(ExtractError::Request { what });
    if labels.iter().any(Vec::is_empty) {
        return bad("a label without tokens has no likelihood".to_owned());
    }
    if let Some(id) = labels.iter().flatten().find(|id| **id as usize >= a.vocab) {
        return bad(format!("a label has token id {id}, but the model embeds only {} tokens", a.vocab));
    }
    for (row, prompt) in prompts.iter().enumerate() {
        let tokens = prompt.ids.len() + longest;
        if tokens > a.context {
            return Err(ExtractError::TooLong { row, tokens, context: a.context });
        }
    }
    let behind: usize = labels.iter().map(|l| l.len() - 1).sum();
    let lengths: Vec<usize> = prompts.iter().map(|p| p.ids.len() + behind).collect();
    let mut out = Likelihoods { rows: vec![vec![0.0; labels.len()]; prompts.len()], ..Likelihoods::default() };
    let mut queue = Queue::new(&lengths, BATCH_TOKENS);
    let mut done = 0;
    while let Some(rows) = queue.next() {
        match batch(model, prompts, labels, &rows) {
            Ok((scored, tokens)) => {
                for (&row, scores) in rows.iter().zip(scored) {
                    out.rows[row] = scores;
                }
                out.tokens += tokens;
                done += rows.len();
            }
            Err(error) => {
                if let Verdict::LeaveOut(row) = queue.judge(error, rows, bad_rows)? {
                    out.bad.push(row);
                    done += 1;
                }
            }
        }
        if let ControlFlow::Break(()) = on_progress(Progress { rows: done, total_rows: prompts.len(), tokens: out.tokens }) {
            return Err(ExtractError::Cancelled { tokens: out.tokens });
        }
    }
    out.bad.sort_unstable();
    out.memory_retries = queue.memory_retries;
    Ok(out)
}

/// The likelihoods of one batch's rows, and how many tokens were run.
fn batch(model: &Model, prompts: &[Prompt], labels: &[Vec<u32>], rows: &[usize]) -> Result<(Vec<Vec<f64>>, u64), ExtractError> {
    let decoder = &model.decoder;
    let blocks = decoder.blocks.len();
    let (mut first, mut lasts, mut places) = (Pass::default(), Vec::new(), Vec::new());
    for &row in rows {
        let ids = &prompts[row].ids;
        let start = first.push(ids, Vec::new());
        places.push(start);
        lasts.push((start + ids.len() - 1) as u32);
    }
    let cache = Cache::new(&decoder.architecture, first.tokens.len(), decoder.dtype, &decoder.device)?;
    let plan = Plan { cache: Some(&cache), store: Some(&places), blocks, kept: &lasts };
    let states = decoder.forward(&first, &plan, |_| Ok(()))?;
    // The state before a label's first token is the prompt's last one, whichever the label.
    let opening = Scores::new(model, &states)?;

    let mut second = Pass::default();
    for (&row, &place) in rows.iter().zip(&places) {
        for label in labels.iter().filter(|l| l.len() > 1) {
            second.push(&label[..label.len() - 1], vec![place..place + prompts[row].ids.len()]);
        }
    }
    let following = match second.tokens.is_empty() {
        true => None,
        false => {
            let plan = Plan { cache: Some(&cache), store: None, blocks, kept: &[] };
            Some(decoder.forward(&second, &plan, |_| Ok(()))?)
        }
    };
    let mut at = 0;
    let mut out = Vec::with_capacity(rows.len());
    for (slot, &row) in rows.iter().enumerate() {
        let inner: usize = labels.iter().map(|l| l.len() - 1).sum();
        let later = match &following {
            Some(states) => Some(Scores::new(model, &states.narrow(0, at, inner)?.contiguous()?)?),
            None => None,
        };
        let mut place = 0;
        let mut scores = Vec::with_capacity(labels.len());
        for label in labels {
            let mut sum = opening.log_probability(slot, label[0]);
            for &token in &label[1..] {
                sum += later.as_ref().map_or(f64::NAN, |l| l.log_probability(place, token));
                place += 1;
            }
            if !sum.is_finite() {
                return Err(ExtractError::ScoresNotFinite { row });
            }
            scores.push(sum);
        }
        at += inner;
        out.push(scores);
    }
    Ok((out, (first.tokens.len() + second.tokens.len()) as u64))
}

/// Next-token scores of some states.
struct Scores {
    vocab: usize,
    scores: Vec<f32>,
    /// log-sum-exp of each row.
    totals: Vec<f64>,
}

impl Scores {
    fn new(model: &Model, states: &Tensor) -> Result<Scores, ExtractError> {
        let scores = model.decoder.logits(states)?;
        let vocab = scores.dim(1)?;
        let scores = scores.flatten_all()?.to_vec1::<f32>()?;
        let totals = scores.chunks_exact(vocab).map(log_sum_exp).collect();
        Ok(Scores { vocab, scores, totals })
    }

    fn log_probability(&self, row: usize, token: u32) -> f64 {
        f64::from(self.scores[row * self.vocab + token as usize]) - self.totals[row]
    }
}
