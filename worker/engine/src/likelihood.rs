//! How likely a model finds given answers after a prompt.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{D, DType, Tensor};
use limbic_proto::spec::BadRows;
use rayon::prelude::*;

use crate::extraction::{
    Alike, BATCH_TOKENS, ExtractError, OnProgress, Prefix, Progress, Queue, Tokens, Verdict, families, log_sum_exp, on_pool, plant, shared,
    told,
};
use crate::kernel::{Steps, pick, read};
use crate::model::{Model, Plan};
use crate::pass::Pass;
use crate::prompt::Prompt;

/// Positions whose next-token scores are computed at a time: their scores of 50,000 to 250,000 tokens take 25 to 130 MB.
const SCORED: usize = 128;

/// Whose likelihoods are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Token ids of each label, none of them empty.
    pub ids: &'a [Vec<u32>],
    /// Tokens of a pass, of prompts and labels together; none for the default, 1,024. It changes no number on a CPU.
    pub batch_tokens: Option<usize>,
    /// What becomes of a row that can't be computed.
    pub bad_rows: BadRows,
}

impl<'a> Labels<'a> {
    /// These, in passes of the default size; a row that can't be computed ends it.
    pub fn new(ids: &'a [Vec<u32>]) -> Labels<'a> {
        Labels { ids, batch_tokens: None, bad_rows: BadRows::Stop }
    }
}

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

/// Measures how likely every label is after every prompt. Prompts with the same tokens are run once, and so is what prompts begin
/// with, in families and passes that share it; a prompt's keys and values are computed once and reused by all labels, which run packed in
/// one pass behind it.
///
/// # Errors
/// [`ExtractError`]; an empty label or one that does not fit the context is a bad request.
pub fn label_log_likelihoods(
    model: &Model,
    prompts: &[Prompt],
    asked: Labels<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Likelihoods, ExtractError> {
    on_pool(|| scored(model, prompts, asked, on_progress))
}

fn scored(model: &Model, prompts: &[Prompt], asked: Labels<'_>, on_progress: OnProgress<'_>) -> Result<Likelihoods, ExtractError> {
    let labels = asked.ids;
    check(model, prompts, labels)?;
    let mut budget = asked.batch_tokens.unwrap_or(BATCH_TOKENS).max(1);
    let mut copies: BTreeMap<&[u32], Vec<usize>> = BTreeMap::new();
    prompts.iter().enumerate().for_each(|(row, prompt)| copies.entry(&prompt.ids).or_default().push(row));
    let copies: Vec<Vec<usize>> = copies.into_values().collect();
    let distinct: Vec<Prompt> = copies.iter().map(|rows| prompts[rows[0]].clone()).collect();
    let mut out = Likelihoods { rows: vec![vec![0.0; labels.len()]; prompts.len()], ..Likelihoods::default() };
    let progress = Progress { rows: 0, tokens: 0 };
    let mut scoring = Scoring { model, prompts: Rc::default(), labels, prefix: Prefix::default(), on_progress, progress };
    for family in families(&distinct, Prompt::last, budget) {
        let copies: Vec<&[usize]> = family.iter().map(|&at| copies[at].as_slice()).collect();
        scoring.prompts = family.iter().map(|&at| distinct[at].clone()).collect();
        budget = scoring.family(&copies, asked.bad_rows, budget, &mut out)?;
    }
    out.bad.sort_unstable();
    out.tokens = scoring.progress.tokens;
    Ok(out)
}

/// Refuses what can't be scored, before any work.
fn check(model: &Model, prompts: &[Prompt], labels: &[Vec<u32>]) -> Result<(), ExtractError> {
    let a = model.architecture();
    let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
    let bad = |what: String| Err(ExtractError::Request { what });
    if labels.iter().any(Vec::is_empty) {
        return bad("a label without tokens has no likelihood".to_owned());
    }
    if let Some(id) = labels.iter().flatten().find(|id| **id as usize >= a.vocab) {
        return bad(format!("a label has token id {id}, but the model embeds only {} tokens", a.vocab));
    }
    match prompts.iter().map(|prompt| prompt.ids.len() + longest).enumerate().find(|(_, tokens)| *tokens > a.context) {
        Some((row, tokens)) => Err(ExtractError::TooLong { row, tokens, context: a.context }),
        None => Ok(()),
    }
}

/// A prompt's tokens behind `shared` ones that it begins with as all do; only the last one is read.
fn own(prompt: &Prompt, shared: usize) -> Tokens<'_> {
    Tokens { ids: &prompt.ids[shared..], open: prompt.last() - shared }
}

/// One scoring under way.
struct Scoring<'a> {
    model: &'a Model,
    /// Prompts of one family, each once.
    prompts: Rc<[Prompt]>,
    labels: &'a [Vec<u32>],
    /// What these begin with; it is run once.
    prefix: Prefix,
    on_progress: OnProgress<'a>,
    progress: Progress,
}

impl Scoring<'_> {
    /// Scores the prompts of a family for the rows that have each of them. Returns the tokens of a pass, as far as the memory has turned
    /// out to hold them.
    fn family(&mut self, copies: &[&[usize]], bad_rows: BadRows, budget: usize, out: &mut Likelihoods) -> Result<usize, ExtractError> {
        self.read_prefix()?;
        let behind: usize = self.labels.iter().map(|l| l.len() - 1).sum();
        let lengths: Vec<usize> = self.prompts.iter().map(|p| self.prefix.own(p).len() + behind).collect();
        let prompts = Rc::clone(&self.prompts);
        let rows: Vec<Tokens<'_>> = prompts.iter().map(|prompt| own(prompt, self.prefix.len())).collect();
        let mut queue = Queue::of_alike(&lengths, Alike { rows: &rows, further: behind }, budget);
        while let Some(batch) = queue.next() {
            let tokens = self.progress.tokens;
            match self.batch(&batch) {
                Ok(scored) => {
                    for (&at, scores) in batch.iter().zip(scored) {
                        copies[at].iter().for_each(|&row| out.rows[row].clone_from(&scores));
                        self.progress.rows += copies[at].len();
                    }
                }
                Err(error) => {
                    self.progress.tokens = tokens;
                    let named = |error: ExtractError| error.renumbered(&copies.iter().map(|rows| rows[0]).collect::<Vec<_>>());
                    if let Verdict::LeaveOut(at) = queue.judge(error, batch, bad_rows).map_err(named)? {
                        out.bad.extend(copies[at]);
                        self.progress.rows += copies[at].len();
                    }
                }
            }
            told(self.on_progress, self.progress)?;
        }
        out.memory_retries += queue.memory_retries;
        Ok(queue.budget())
    }

    /// Runs the shared beginning of the prompts.
    fn read_prefix(&mut self) -> Result<(), ExtractError> {
        self.prefix = Prefix::new(shared(&self.prompts, Prompt::last));
        if let Some((pass, cache)) = self.prefix.pass(&self.model.decoder, &self.prompts)? {
            self.run(&pass, &Plan { cache: Some(&cache), store: Some(&[0]), kept: &[0], ..Plan::default() })?;
            self.prefix.ran(cache);
        }
        Ok(())
    }

    /// Runs one pass through all blocks. Returns the final states of the kept tokens.
    fn run(&mut self, pass: &Pass, plan: &Plan<'_>) -> Result<Tensor, ExtractError> {
        let decoder = &self.model.decoder;
        let mut failed = None;
        let states = decoder.forward(pass, &Plan { blocks: decoder.blocks.len(), ..*plan }, |_| {
            told(self.on_progress, self.progress).map_err(|error| {
                failed = Some(error);
                candle_core::Error::Msg("the pass was given up".to_owned())
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.progress.tokens += pass.tokens.len() as u64;
        Ok(states?)
    }

    /// The likelihoods of one batch's rows.
    fn batch(&mut self, rows: &[usize]) -> Result<Vec<Vec<f64>>, ExtractError> {
        let (mut first, shared) = (Pass::default(), self.prefix.len());
        let tokens: Vec<Tokens<'_>> = rows.iter().map(|&row| own(&self.prompts[row], shared)).collect();
        let leaves = plant(&mut first, &tokens, &self.prefix.before()).leaves;
        // They lie in the cache as in the pass.
        let places: Vec<usize> = first.sequences.iter().map(|sequence| shared + sequence.start).collect();
        let lasts: Vec<usize> = leaves.iter().map(|leaf| leaf.own.end - 1).collect();
        let mut kept: Vec<u32> = lasts.iter().map(|last| *last as u32).collect();
        kept.sort_unstable();
        let cache = self.prefix.beginning(&self.model.decoder, first.tokens.len())?;
        let states = self.run(&first, &Plan { cache: Some(&cache), store: Some(&places), kept: &kept, ..Plan::default() })?;
        let states = pick(&states, &lasts.iter().map(|last| kept.partition_point(|at| (*at as usize) < *last) as u32).collect::<Vec<_>>())?;
        let mut second = Pass::default();
        for leaf in &leaves {
            let mut before = self.prefix.before();
            before.extend(leaf.stem.iter().chain([&leaf.own]).map(|at| shared + at.start..shared + at.end));
            for label in self.labels.iter().filter(|l| l.len() > 1) {
                second.push(&label[..label.len() - 1], before.clone());
            }
        }
        let following = match second.tokens.is_empty() {
            true => None,
            false => Some(self.run(&second, &Plan { cache: Some(&cache), ..Plan::default() })?),
        };
        let inner: usize = self.labels.iter().map(|l| l.len() - 1).sum();
        let (openings, laters): (Vec<u32>, Vec<&[u32]>) = self.labels.iter().map(|label| (label[0], &label[1..])).unzip();
        let laters = laters.concat();
        // Of `count` states the log-probabilities of the same tokens, `columns` of them at each.
        let scores = |of: &Tensor, from: usize, count: usize, tokens: &[u32], columns: usize| {
            let asked = tokens.repeat(count * columns / tokens.len());
            log_probabilities(self.model, &of.narrow(0, from, count)?.contiguous()?, &asked)
        };
        let mut out = Vec::with_capacity(rows.len());
        // So many rows at a time that a product with the LM head reads it once for many positions.
        let together = (SCORED / inner.max(1)).max(1);
        for (block, rows) in rows.chunks(SCORED).enumerate() {
            let first = block * SCORED;
            // The state before a label's first token is the prompt's last one, whichever the label.
            let opening = scores(&states, first, rows.len(), &openings, openings.len())?;
            for (chunk, rows) in rows.chunks(together).enumerate() {
                let slots = chunk * together;
                let later = following.as_ref().map(|of| scores(of, (first + slots) * inner, rows.len() * inner, &laters, 1)).transpose()?;
                let mut later = later.unwrap_or_default().into_iter();
                for (opening, &row) in opening.chunks_exact(openings.len()).skip(slots).zip(rows) {
                    let whole =
                        opening.iter().zip(self.labels).map(|(first, label)| first + later.by_ref().take(label.len() - 1).sum::<f64>());
                    let whole: Vec<f64> = whole.collect();
                    if !whole.iter().all(|sum| sum.is_finite()) {
                        return Err(ExtractError::ScoresNotFinite { row });
                    }
                    out.push(whole);
                }
            }
        }
        Ok(out)
    }
}

/// Log-probabilities of tokens that may come next, as many after each state: of states `[n, d]` and tokens `[n, k]`, `[n, k]`.
///
/// On a GPU they are reckoned where the scores lie, in f32: copying the scores of all tokens would take longer than the passes.
fn log_probabilities(model: &Model, states: &Tensor, tokens: &[u32]) -> Result<Vec<f64>, ExtractError> {
    let scores = model.decoder.logits(states)?;
    let (rows, vocab) = scores.dims2()?;
    let columns = tokens.len() / rows;
    if model.decoder.steps == Steps::Composed {
        let scores = scores.to_dtype(DType::F32)?;
        let most = scores.max_keepdim(D::Minus1)?;
        let totals = scores.broadcast_sub(&most)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
        let asked = scores.gather(&Tensor::from_slice(tokens, (rows, columns), scores.device())?, D::Minus1)?;
        let found = asked.broadcast_sub(&most)?.broadcast_sub(&totals)?.flatten_all()?.to_vec1::<f32>()?;
        return Ok(found.into_iter().map(f64::from).collect());
    }
    let of = |(scores, tokens): (&[f32], &[u32])| {
        let total = log_sum_exp(scores);
        tokens.iter().map(|&token| f64::from(scores[token as usize]) - total).collect::<Vec<f64>>()
    };
    Ok(read(&scores, |scores| scores.par_chunks_exact(vocab).zip(tokens.par_chunks_exact(columns)).flat_map_iter(of).collect())?)
}
