//! What extracting, asking and judging share: prompts of texts, progress and cancels, errors that name rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use limbic_engine::{ExtractError, Loaded, PromptError, Prompts, RowPolicy, TokenizerError};
use limbic_proto::rows::Row;
use limbic_proto::spec::{Dtype, Prompt};

use super::{Advice, ExecuteError};
use crate::log::seconds;
use crate::progress::Progress;

/// A text that is put to a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    /// The row's id, for messages.
    pub(super) id: &'a str,
    /// What takes the place of the utterance.
    pub(super) text: &'a str,
}

impl<'a> Text<'a> {
    /// The utterances of rows.
    pub(super) fn of(rows: &'a [Row]) -> Vec<Text<'a>> {
        rows.iter().map(|row| Text { id: &row.id, text: &row.text }).collect()
    }
}

/// The prompts of a unit's rows.
pub(super) struct RowPrompts<'a> {
    rows: Vec<Text<'a>>,
    dtype: Dtype,
    pub(super) built: Prompts,
    /// Prompts that the model gives no finite numbers for, and that are treated as rows without a prompt.
    pub(super) bad: BTreeSet<usize>,
}

/// What can be done about a row that can't be computed.
const SKIP: &str = "set `bad_rows: skip` in the spec to leave such rows out";

impl<'a> RowPrompts<'a> {
    pub(super) fn new(
        model: &dyn Loaded,
        dtype: Dtype,
        prompt: &Prompt,
        rows: Vec<Text<'a>>,
        reserve: usize,
        policy: RowPolicy,
    ) -> Result<RowPrompts<'a>, ExecuteError> {
        let texts: Vec<&str> = rows.iter().map(|row| row.text).collect();
        let built = model.prompts(prompt, &texts, reserve, policy).map_err(|error| {
            let (row, hint) = match &error {
                PromptError::TooLong { row, .. } => {
                    (Some(*row), "; set `too_long` in the spec to `skip` or `truncate`, or shorten the continuation".to_owned())
                }
                PromptError::Empty { row } | PromptError::TokenOutOfRange { row, .. } | PromptError::Unreadable { row, .. } => {
                    (Some(*row), format!("; {SKIP}"))
                }
                PromptError::Template(_) | PromptError::Tokenizer(_) | PromptError::Dropped { .. } => (None, String::new()),
            };
            let id = row.and_then(|row| rows.get(row)).map_or(String::new(), |row| format!(" (id `{}`)", row.id));
            ExecuteError::Engine { what: "building prompts".to_owned(), message: format!("{error}{id}{hint}"), advice: Advice::Reject }
        })?;
        tracing::info!(
            rows = rows.len(),
            prompts = built.prompts.len(),
            tokens = built.prompts.iter().map(|p| p.ids.len()).sum::<usize>(),
            skipped = built.skipped.len(),
            truncated = built.truncated.len(),
            "prompts built"
        );
        if !built.bad.is_empty() {
            let ids: Vec<&str> = built.bad.iter().map(|row| rows[*row].id).collect();
            tracing::warn!(rows = %ids.join(", "), "left out: no tokens that the model knows");
        }
        Ok(RowPrompts { rows, dtype, built, bad: BTreeSet::new() })
    }

    /// Treats prompts as if their rows had none.
    pub(super) fn leave_out(&mut self, prompts: &[usize]) {
        if !prompts.is_empty() {
            let ids: Vec<String> = prompts.iter().map(|prompt| self.id(*prompt)).collect();
            tracing::warn!(rows = %ids.join(", "), "left out: the model gives no finite numbers for them");
        }
        self.bad.extend(prompts);
    }

    /// The counts for the provenance: those of the rows, and further ones.
    pub(super) fn counts<const N: usize>(&self, further: [(&str, u64); N]) -> BTreeMap<String, u64> {
        let bad = self.built.bad.len() + self.bad.len();
        let rows = [
            ("rows", self.rows.len()),
            ("skipped_rows", self.built.skipped.len() + bad),
            ("bad_rows", bad),
            ("truncated_rows", self.built.truncated.len()),
        ];
        let rows = rows.into_iter().map(|(name, count)| (name, count as u64));
        rows.chain(further).map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// The id of a prompt's row.
    fn id(&self, prompt: usize) -> String {
        self.built.rows.get(prompt).and_then(|row| self.rows.get(*row)).map_or_else(|| format!("#{prompt}"), |row| row.id.to_owned())
    }

    /// The ids of the rows that have a prompt.
    pub(super) fn ids(&self) -> Vec<&'a str> {
        self.built.rows.iter().map(|row| self.rows[*row].id).collect()
    }

    /// An engine's error in terms of the unit.
    pub(super) fn error(&self, error: ExtractError) -> ExecuteError {
        let hint = match self.dtype {
            Dtype::F32 => {
                "the model's weights are at fault: compare their digest with the publisher's, or set `bad_rows: skip` in the spec to leave such rows out"
            }
            _ => "the weights or the number format are at fault: try dtype f32, or set `bad_rows: skip` in the spec to leave such rows out",
        };
        let (row, message) = match &error {
            ExtractError::Cancelled { .. } => return ExecuteError::Cancelled,
            ExtractError::NotFinite { row, layer, read_out } => {
                return ExecuteError::NotFinite {
                    what: format!("the state {} (layer {layer})", read_out.tensor(*layer)),
                    row: self.id(*row),
                    hint,
                };
            }
            ExtractError::ScoresNotFinite { row } => {
                return ExecuteError::NotFinite { what: "a next-token score".to_owned(), row: self.id(*row), hint };
            }
            ExtractError::TooLong { row, .. } | ExtractError::NoUtterance { row, .. } => (Some(*row), error.to_string()),
            ExtractError::Layer { .. } | ExtractError::Request { .. } | ExtractError::Device(_) | ExtractError::OutOfMemory { .. } => {
                (None, error.to_string())
            }
        };
        let what = "running the model".to_owned();
        if matches!(error, ExtractError::Device(_) | ExtractError::OutOfMemory { .. }) {
            return ExecuteError::Device { what, message, lost: false };
        }
        let id = row.map_or(String::new(), |row| format!(" (id `{}`)", self.id(row)));
        ExecuteError::Engine { what, message: format!("{message}{id}"), advice: Advice::Reject }
    }

    /// Scatters values of prompts, `[prompts, width]`, to their rows, `[rows, width]`; rows without a prompt are zeros.
    pub(super) fn scatter<T: Copy + Default>(&self, values: Vec<T>, width: usize) -> Vec<T> {
        if self.built.rows.len() == self.rows.len() {
            return values;
        }
        let mut out = vec![T::default(); self.rows.len() * width];
        for (value, row) in values.chunks_exact(width.max(1)).zip(&self.built.rows) {
            out[row * width..][..width].copy_from_slice(value);
        }
        out
    }

    /// The number of tokens of every row's prompt; 0 = skipped.
    pub(super) fn tokens(&self) -> Vec<i64> {
        let tokens = |(at, prompt): (usize, &limbic_engine::Prompt)| if self.bad.contains(&at) { 0 } else { prompt.ids.len() as i64 };
        self.scatter(self.built.prompts.iter().enumerate().map(tokens).collect(), 1)
    }
}

/// What replies say.
pub(super) fn words(model: &dyn Loaded, replies: &[Vec<u32>]) -> Result<Vec<String>, ExecuteError> {
    let failed = |e: TokenizerError| ExecuteError::Engine {
        what: "putting a reply into words".to_owned(),
        message: e.to_string(),
        advice: Advice::Reject,
    };
    replies.iter().map(|reply| model.decode(reply).map_err(failed)).collect()
}

/// The engine's callback for what is too little to be told: stops where that was asked for.
pub(super) fn heed(progress: &Progress) -> impl FnMut(limbic_engine::Progress) -> ControlFlow<()> + '_ {
    |_| if progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// How often it is said how far the passes are.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Follows the passes over a unit's rows, through one call of the engine or several: passes progress on, stops where that
/// was asked for, says now and then how fast they are.
pub(super) struct Follower<'a> {
    progress: &'a Progress,
    /// Rows in all, and those that earlier calls have done, or that were done before.
    total: usize,
    rows: usize,
    /// Tokens of earlier calls.
    tokens: u64,
    began: Instant,
    /// When it was last said how far it is, and how many tokens that were.
    told: (Instant, u64),
}

impl<'a> Follower<'a> {
    /// Nothing done yet of so many rows.
    pub(super) fn new(progress: &'a Progress, total: usize) -> Follower<'a> {
        let now = Instant::now();
        Follower { progress, total, rows: 0, tokens: 0, began: now, told: (now, 0) }
    }

    /// The engine's callback.
    pub(super) fn pass(&mut self, now: limbic_engine::Progress) -> ControlFlow<()> {
        let (rows, tokens) = (self.rows + now.rows, self.tokens + now.tokens);
        self.progress.set(rows as f64 / self.total.max(1) as f64, tokens);
        let since = self.told.0.elapsed();
        if since >= TOLD_EVERY {
            tracing::info!(rows, of = self.total, tokens, tokens_per_second = rate(tokens - self.told.1, since), "passes go on");
            self.told = (Instant::now(), tokens);
        }
        if self.progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A call is over that has done so many rows with so many tokens, or their states were there already.
    pub(super) fn done(&mut self, rows: usize, tokens: u64) {
        self.rows += rows;
        self.tokens += tokens;
        self.progress.set(self.rows as f64 / self.total.max(1) as f64, self.tokens);
    }

    /// All is done.
    pub(super) fn end(self, resumed: usize, memory_retries: u64) {
        let (Follower { rows, tokens, .. }, took) = (&self, self.began.elapsed());
        let tokens_per_second = rate(*tokens, took);
        tracing::info!(rows, tokens, seconds = seconds(took), tokens_per_second, resumed, memory_retries, "passes done");
    }
}

/// Tokens per second, whole.
fn rate(tokens: u64, time: Duration) -> u64 {
    (tokens as f64 / time.as_secs_f64().max(1e-9)).round() as u64
}
