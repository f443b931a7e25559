//! Hidden states of prompts and of their continuations: what an extract unit computes.

mod batch;
mod contexts;
mod gather;
mod pairs;
mod prefix;
mod reply;
mod room;
mod run;
mod sampling;
mod tree;

use std::ops::ControlFlow;

use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::spec::BadRows;

use crate::model::Model;
use crate::prompt::Prompt;

pub(crate) use batch::{Alike, Queue, Verdict};
pub use pairs::partners;
pub(crate) use prefix::{Prefix, families, shared};
pub use run::extract;
pub(crate) use run::told;
pub(crate) use sampling::{Sampler, log_sum_exp};
pub(crate) use tree::{Leaf, Tokens, plant};

/// Tokens per pass where a request does not say.
pub(crate) const BATCH_TOKENS: usize = 1024;
/// While replies are decoded the rows under way have the tokens (prompts and replies) of so many passes: every step reads all
/// weights once, for however many rows.
pub const DECODING: usize = 4;

/// What follows every prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Continuation {
    /// The model's own reply.
    Generated {
        /// How many tokens at most.
        tokens: usize,
        /// 0 = the most likely token each time; else the softmax temperature.
        temperature: f64,
        /// One seed per row, for sampling; may be empty where the temperature is 0.
        seeds: Vec<u64>,
        /// Whether a reply ends before the model's end-of-sequence token.
        stop_at_eos: bool,
    },
    /// Given tokens, one list per row.
    Given(Vec<Vec<u32>>),
}

impl Continuation {
    /// How many tokens a reply has at most.
    pub fn longest(&self) -> usize {
        match self {
            Continuation::Generated { tokens, .. } => *tokens,
            Continuation::Given(replies) => replies.iter().map(Vec::len).max().unwrap_or(0),
        }
    }
}

/// Which states are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Which layers; only the blocks up to the last one run (all of them where a reply is generated).
    pub layers: Vec<Layer>,
    /// Which positions.
    pub read_outs: Vec<ReadOut>,
    /// What follows the prompts; needed for read-outs at offsets above 0.
    pub continuation: Option<Continuation>,
    /// For every prompt, the one whose reply follows it in the context `shuffled-reply`; see [`partners`]. May be empty where
    /// that context is not asked for. Prompts and their partners are run together, so few of them should hang together.
    pub partners: Vec<Option<usize>>,
    /// What follows every prompt in the context `filler`.
    pub filler: Vec<u32>,
    /// Tokens per pass; `None` = a default. Batches depend on this and on the prompts only; see [`Request::batches`].
    pub batch_tokens: Option<usize>,
    /// What to do with a row whose states can't be computed or are not finite.
    pub bad_rows: BadRows,
}

impl Request {
    /// States in the prompt only.
    pub fn new(layers: Vec<Layer>, read_outs: Vec<ReadOut>) -> Request {
        let (partners, filler) = (Vec::new(), Vec::new());
        Request { layers, read_outs, continuation: None, partners, filler, batch_tokens: None, bad_rows: BadRows::Stop }
    }

    /// How many tokens of the continuation are run at most.
    fn reply_tokens(&self) -> usize {
        let asked = self.read_outs.iter().map(|r| r.offset as usize).max().unwrap_or(0);
        match &self.continuation {
            None => 0,
            Some(Continuation::Generated { tokens, .. }) => asked.max(*tokens),
            Some(given @ Continuation::Given(_)) => asked.min(given.longest()),
        }
    }

    /// The batches in which an extraction begins with these prompts, each the indices of its rows, as far as the memory holds
    /// them. While replies are decoded, rows of the next batch take the places of those that end early.
    pub fn batches(&self, prompts: &[Prompt]) -> Vec<Vec<usize>> {
        let (shared, reply) = (self.shared(prompts), self.reply_tokens());
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.ids.len() - shared + reply).collect();
        let rows = self.own_of_all(prompts, shared);
        let mut queue = self.queue(&lengths, &rows, self.budget());
        std::iter::from_fn(|| queue.next()).collect()
    }

    /// How many tokens are run of a batch of these prompts' rows, behind the `shared` ones that all begin with and without continuations.
    pub fn tokens(&self, prompts: &[Prompt], batch: &[usize], shared: usize) -> usize {
        let rows: Vec<Tokens<'_>> = batch.iter().map(|&row| self.own(&prompts[row], shared)).collect();
        if self.continues() { rows.iter().map(|row| row.ids.len()).sum() } else { tree::size(&rows) }
    }

    /// All prompts' tokens behind `shared` ones that they begin with.
    fn own_of_all<'p>(&self, prompts: &'p [Prompt], shared: usize) -> Vec<Tokens<'p>> {
        prompts.iter().map(|prompt| self.own(prompt, shared)).collect()
    }

    /// The batches of rows with such tokens of their own: rows whose replies are exchanged together, else such as begin alike.
    fn queue<'q>(&self, lengths: &'q [usize], rows: &'q [Tokens<'q>], budget: usize) -> Queue<'q> {
        match self.continues() {
            true => Queue::of_groups(lengths, self.exchanging(rows.len()), budget),
            false => Queue::of_alike(lengths, Alike { rows, further: self.reply_tokens() }, budget),
        }
    }

    /// Tokens of all rows under way, of their prompts and continuations together.
    fn budget(&self) -> usize {
        self.batch_tokens.unwrap_or(BATCH_TOKENS).max(1).saturating_mul(self.passes())
    }

    /// How many passes the tokens of a batch make.
    fn passes(&self) -> usize {
        if self.generates() { DECODING } else { 1 }
    }
}

/// The states of all rows at one layer and read-out.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// The layer.
    pub layer: Layer,
    /// The read-out.
    pub read_out: ReadOut,
    /// `[rows, d]`, row-major, in the order of the prompts; rows whose continuation is shorter than the offset are zeros.
    pub values: Vec<f32>,
}

/// What an extraction yields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extraction {
    /// Width of a state, d.
    pub width: usize,
    /// One entry per layer and read-out: all read-outs of the first layer, then of the next.
    pub states: Vec<States>,
    /// The continuation tokens of every row (empty lists without a continuation). A generated reply that ended at the
    /// end-of-sequence token is shorter than asked and does not hold that token: at later offsets the row is absent.
    pub replies: Vec<Vec<u32>>,
    /// How many tokens of another row's reply stand behind every row's prompt in the context `shuffled-reply`: as many as both
    /// replies have, 0 where the row has no partner.
    pub shuffled: Vec<usize>,
    /// How many tokens of the filler stand behind every row's prompt.
    pub fillers: Vec<usize>,
    /// Tokens that were run through the model, without passes that failed.
    pub tokens: u64,
    /// Rows that were left out, ascending: their states are zeros and their replies empty.
    pub bad: Vec<usize>,
    /// How often the token budget was halved for lack of memory.
    pub memory_retries: u64,
}

impl Extraction {
    /// The states at a layer and read-out.
    pub fn get(&self, layer: Layer, read_out: ReadOut) -> Option<&States> {
        self.states.iter().find(|s| s.layer == layer && s.read_out == read_out)
    }

    /// Whether a row has a state at a read-out.
    pub fn has(&self, row: usize, read_out: ReadOut) -> bool {
        let tokens = match read_out.context {
            Context::Full | Context::MaskedPrompt => self.replies[row].len(),
            Context::ShuffledReply => self.shuffled[row],
            Context::Filler => self.fillers[row],
        };
        tokens >= read_out.offset as usize
    }
}

/// How far an extraction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows whose states are all there.
    pub rows: usize,
    /// Tokens that were run through the model.
    pub tokens: u64,
}

/// Is told the progress after every block of every pass; `Break` cancels.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) -> ControlFlow<()> + Send);

/// Runs something as a task of the thread pool: such a one begins others at once, hundreds in a pass, where any other thread wakes the
/// pool for each and is woken by it. What it logs stays in the caller's span.
pub(crate) fn on_pool<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    let span = tracing::Span::current();
    rayon::scope(|_| span.in_scope(run))
}

/// Why an extraction stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The callback said so.
    #[error("cancelled after {tokens} tokens")]
    Cancelled {
        /// Tokens done.
        tokens: u64,
    },
    /// A state is NaN or infinite: the weights or the number format are at fault.
    #[error("row {row} has a NaN or an infinity at layer {layer}, read-out {}", read_out.name())]
    NotFinite {
        /// Index of the prompt.
        row: usize,
        /// The layer.
        layer: Layer,
        /// The read-out.
        read_out: ReadOut,
    },
    /// The model does not have a layer.
    #[error("layer {layer} does not exist: the model has {layers} blocks")]
    Layer {
        /// What was asked.
        layer: Layer,
        /// L.
        layers: usize,
    },
    /// The request contradicts itself.
    #[error("bad request: {what}")]
    Request {
        /// What is wrong.
        what: String,
    },
    /// A prompt with its continuation does not fit the context.
    #[error("row {row}: {tokens} tokens of prompt and continuation exceed the context of {context}")]
    TooLong {
        /// Index of the prompt.
        row: usize,
        /// Its tokens.
        tokens: usize,
        /// The model's context.
        context: usize,
    },
    /// Next-token scores are NaN or infinite.
    #[error("row {row} has next-token scores that are not finite")]
    ScoresNotFinite {
        /// Index of the prompt.
        row: usize,
    },
    /// A row without utterance tokens was asked for the utterance's state.
    #[error("row {row} has no utterance tokens to read ({pooling})")]
    NoUtterance {
        /// Index of the prompt.
        row: usize,
        /// The pooling.
        pooling: &'static str,
    },
    /// The memory does not even suffice for one row; another attempt elsewhere may work.
    #[error("out of memory {what}: {message}")]
    OutOfMemory {
        /// What it was asked for.
        what: String,
        /// What the device or the system said.
        message: String,
    },
    /// The device failed; another attempt elsewhere may work.
    #[error("computing on the device: {0}")]
    Device(#[from] candle_core::Error),
}

impl ExtractError {
    /// The same error where the prompts were `rows` of others: it names the row among those.
    #[must_use]
    pub fn renumbered(mut self, rows: &[usize]) -> ExtractError {
        match &mut self {
            ExtractError::NotFinite { row, .. }
            | ExtractError::TooLong { row, .. }
            | ExtractError::ScoresNotFinite { row }
            | ExtractError::NoUtterance { row, .. } => *row = rows.get(*row).copied().unwrap_or(*row),
            ExtractError::Cancelled { .. }
            | ExtractError::Layer { .. }
            | ExtractError::Request { .. }
            | ExtractError::OutOfMemory { .. }
            | ExtractError::Device(_) => {}
        }
        self
    }

    /// Whether a single row is at fault, so that the others can be computed without it.
    pub(crate) fn names_a_row(&self) -> bool {
        matches!(self, ExtractError::NotFinite { .. } | ExtractError::ScoresNotFinite { .. } | ExtractError::NoUtterance { .. })
    }
}

impl Request {
    /// Refuses requests that the model can't answer, before any work.
    fn check(&self, model: &Model, prompts: &[Prompt]) -> Result<(), ExtractError> {
        let (layers, context) = (model.architecture().layers, model.architecture().context);
        let bad = |what: String| Err(ExtractError::Request { what });
        if let Some(&layer) = self.layers.iter().find(|l| l.blocks(layers as u32) as usize > layers) {
            return Err(ExtractError::Layer { layer, layers });
        }
        for read_out in &self.read_outs {
            let there = match read_out.context {
                Context::Full | Context::MaskedPrompt => self.continuation.is_some(),
                Context::ShuffledReply => self.continuation.is_some() && self.partners.len() == prompts.len(),
                Context::Filler => !self.filler.is_empty(),
            };
            if read_out.offset > 0 && !there {
                return bad(format!("{} is read in a continuation, and there is none", read_out.name()));
            }
            if read_out.offset == 0 && read_out.context != Context::Full {
                return bad("offset 0 has only the full context".to_owned());
            }
        }
        match &self.continuation {
            Some(Continuation::Generated { temperature, seeds, .. }) if *temperature > 0.0 && seeds.len() != prompts.len() => {
                return bad(format!("{} seeds for {} prompts", seeds.len(), prompts.len()));
            }
            Some(Continuation::Given(replies)) if replies.len() != prompts.len() => {
                return bad(format!("{} given continuations for {} prompts", replies.len(), prompts.len()));
            }
            _ => {}
        }
        if let Some((row, partner)) = self.partners.iter().enumerate().find(|(row, p)| p.is_some_and(|p| p == *row || p >= prompts.len())) {
            return bad(format!("row {row} of {} has the partner {partner:?}", prompts.len()));
        }
        let reply = self.reply_tokens().max(self.longest(Context::Filler, self.filler.len()));
        for (row, prompt) in prompts.iter().enumerate() {
            if prompt.ids.is_empty() {
                return bad(format!("row {row} has an empty prompt"));
            }
            let tokens = prompt.ids.len() + reply;
            if tokens > context {
                return Err(ExtractError::TooLong { row, tokens, context });
            }
            let vocab = model.architecture().vocab;
            let given = match &self.continuation {
                Some(Continuation::Given(replies)) => replies[row].as_slice(),
                _ => &[],
            };
            if let Some(id) = prompt.ids.iter().chain(given).chain(&self.filler).find(|id| **id as usize >= vocab) {
                return bad(format!("row {row} has token id {id}, but the model embeds only {vocab} tokens"));
            }
        }
        Ok(())
    }
}
