//! A unit's replies and states in blocks of rows, so that what was finished outlives a worker that is killed.
//!
//! Which rows make a block depends on the prompts and the token budget alone. Prompts that are the same are run once. Blocks
//! that took long enough are kept as `data/{hh}/{unit}/parts/{block}`; the next attempt takes those whose bytes have the digest that stands before
//! them, and computes the others. Nothing but the time depends on them. A unit that stores moments in place of the states of
//! train rows keeps no blocks, which would hold those states: it starts again.

mod copies;
mod part;

use std::time::{Duration, Instant};

use limbic_engine::{Continuation, ExtractError, Extraction, Loaded, Prompt, Request, States};
use limbic_proto::key::Digest;

use crate::execute::ExecuteError;
use crate::execute::moments::Gathered;
use crate::execute::passes::{Follower, RowPrompts};
use crate::inputs::Parts;
use crate::progress::Progress;
use copies::Copies;

/// Batches in a block.
const BATCHES: usize = 2;

/// A block has at least so many times the tokens that its family of prompts begins with: those are run once in each block.
const HEADERS: usize = 16;

/// Blocks on their way into the store.
struct Keeper<'a> {
    parts: &'a Parts<'a>,
    /// Finished and not kept yet: names and bytes.
    pending: Vec<(String, limbic_store::Content)>,
    took: Duration,
    bytes: usize,
}

impl Keeper<'_> {
    /// Takes note of a block, and writes what is worth it.
    fn add(&mut self, name: String, found: &Extraction, took: Duration) {
        self.took += took;
        self.bytes += found.states.iter().map(|s| 4 * s.values.len()).sum::<usize>();
        if !Parts::worth(self.bytes, self.took) {
            (self.took, self.bytes) = (Duration::ZERO, 0);
            self.pending.clear();
            return;
        }
        // What can't be written down is computed again.
        self.pending.extend(part::content(found).ok().map(|content| (name, content)));
        if self.took >= self.parts.after() {
            (self.took, self.bytes) = (Duration::ZERO, 0);
            self.pending.drain(..).for_each(|(name, content)| self.parts.put(&name, &content));
        }
    }
}

/// What came of all blocks.
pub(super) struct Found {
    /// As if all rows had been extracted at once; the tokens are those that this attempt has run.
    pub(super) whole: Extraction,
    /// Rows that an earlier attempt had finished.
    pub(super) resumed: usize,
}

/// Why there is no result.
pub(super) enum Stopped {
    /// The passes were stopped, or failed.
    Passes(ExtractError),
    /// Something is wrong with the rows that moments are of.
    Moments(ExecuteError),
}

impl Stopped {
    /// The same in terms of the unit.
    pub(super) fn of(self, prompts: &RowPrompts<'_>) -> ExecuteError {
        match self {
            Stopped::Passes(error) => prompts.error(error),
            Stopped::Moments(error) => error,
        }
    }
}

impl From<ExtractError> for Stopped {
    fn from(error: ExtractError) -> Stopped {
        Stopped::Passes(error)
    }
}

/// Extracts all prompts, block by block. With moments to gather, train rows go into these, and the states are those of the
/// other rows of the unit alone, zeros for a row without a prompt. Errors hold indices into `prompts`.
pub(super) fn extract(
    model: &dyn Loaded,
    prompts: &[Prompt],
    request: &Request,
    parts: &Parts<'_>,
    mut moments: Option<&mut Gathered<'_>>,
    progress: &Progress,
) -> Result<Found, Stopped> {
    let copies = Copies::among(prompts, request);
    let blocks = copies.cut(prompts, request);
    let keeping = blocks.len() > 1 && moments.is_none();
    let known = if keeping { parts.list() } else { Vec::new() };
    let width = model.architecture().hidden;
    let (replies, none) = (vec![Vec::new(); prompts.len()], vec![0; prompts.len()]);
    let mut whole = Extraction { width, replies, shuffled: none.clone(), fillers: none, ..Extraction::default() };
    let (mut resumed, mut halved) = (0, 0);
    let mut follower = Follower::new(progress, prompts.len());
    let mut keeper = Keeper { parts, pending: Vec::new(), took: Duration::ZERO, bytes: 0 };
    for (index, rows) in blocks.iter().enumerate() {
        if progress.cancelled() {
            return Err(ExtractError::Cancelled { tokens: whole.tokens }.into());
        }
        let name = format!("{index:04}-{}", Digest::of_json(&(rows, request.batch_tokens)).short());
        let kept = known.contains(&name).then(|| part::read(&parts.get(&name)?, request, rows.len(), width)).flatten();
        let found = match kept {
            Some(found) => {
                resumed += copies.of(rows);
                found
            }
            None => {
                let block: Vec<Prompt> = rows.iter().map(|&row| prompts[row].clone()).collect();
                let began = Instant::now();
                let mut asked = part_of(request, rows);
                // What the memory didn't hold before, it won't hold now.
                asked.batch_tokens = asked.batch_tokens.map(|tokens| tokens.checked_shr(halved).unwrap_or(0).max(1));
                let found = model.extract(&block, &asked, &mut |now| follower.pass(now)).map_err(|e| e.renumbered(rows))?;
                halved += found.memory_retries as u32;
                if keeping {
                    keeper.add(name, &found, began.elapsed());
                }
                found
            }
        };
        let (found, rows) = copies.spread(found, rows)?;
        let rows = rows.as_ref();
        follower.done(rows.len(), found.tokens);
        if let Some(moments) = moments.as_deref_mut() {
            moments.add(&found, rows).map_err(Stopped::Moments)?;
            merge(&mut whole, found, rows, moments.held(), |row| moments.place(row))?;
            continue;
        }
        if blocks.len() == 1 && rows.iter().enumerate().all(|(i, row)| i == *row) {
            follower.end(resumed, found.memory_retries);
            return Ok(Found { whole: found, resumed });
        }
        merge(&mut whole, found, rows, prompts.len(), Some)?;
    }
    follower.end(resumed, whole.memory_retries);
    whole.bad.sort_unstable();
    Ok(Found { whole, resumed })
}

/// The rows of each block, ascending, of one family of prompts that share a beginning after the other.
fn cut(prompts: &[Prompt], request: &Request) -> Vec<Vec<usize>> {
    let families = request.families(prompts);
    if families.len() < 2 {
        return cut_family(prompts, request);
    }
    let of_family = |rows: &Vec<usize>| {
        let members: Vec<Prompt> = rows.iter().map(|&row| prompts[row].clone()).collect();
        let blocks = cut_family(&members, &part_of(request, rows));
        blocks.into_iter().map(|block| block.into_iter().map(|at| rows[at]).collect()).collect::<Vec<_>>()
    };
    families.iter().flat_map(of_family).collect()
}

/// The same of one family: each block has some of the batches in their order, and rows that read one another's replies stay together. A
/// single block has all rows in order.
fn cut_family(prompts: &[Prompt], request: &Request) -> Vec<Vec<usize>> {
    let shared = request.shared(prompts);
    let reply = request.continuation.as_ref().map_or(0, Continuation::longest);
    let mut blocks: Vec<Vec<usize>> = vec![Vec::new()];
    let (mut batches, mut tokens) = (0, 0);
    for batch in request.batches(prompts) {
        if batches >= BATCHES && tokens >= HEADERS * shared {
            blocks.push(Vec::new());
            (batches, tokens) = (0, 0);
        }
        batches += 1;
        tokens += request.tokens(prompts, &batch, shared) + reply * batch.len();
        blocks.last_mut().expect("there is always one").extend(batch);
    }
    blocks.iter_mut().for_each(|block| block.sort_unstable());
    blocks
}

/// The request for some of its rows.
fn part_of(request: &Request, rows: &[usize]) -> Request {
    let continuation = match &request.continuation {
        Some(Continuation::Given(replies)) => Some(Continuation::Given(rows.iter().map(|&row| replies[row].clone()).collect())),
        Some(Continuation::Generated { tokens, temperature, seeds, stop_at_eos }) => Some(Continuation::Generated {
            tokens: *tokens,
            temperature: *temperature,
            seeds: if seeds.is_empty() { Vec::new() } else { rows.iter().map(|&row| seeds[row]).collect() },
            stop_at_eos: *stop_at_eos,
        }),
        None => None,
    };
    let partner = |row: &usize| request.partners[*row].and_then(|partner| rows.binary_search(&partner).ok());
    let partners = if request.partners.is_empty() { Vec::new() } else { rows.iter().map(partner).collect() };
    Request { continuation, partners, ..request.clone() }
}

/// Puts a block's rows to their places among all; their states to those among `stored` that `place` says, or nowhere.
fn merge(
    whole: &mut Extraction,
    found: Extraction,
    rows: &[usize],
    stored: usize,
    place: impl Fn(usize) -> Option<usize>,
) -> Result<(), ExtractError> {
    let width = whole.width;
    if whole.states.is_empty() {
        for states in &found.states {
            let mut values = Vec::new();
            values.try_reserve_exact(stored * width).map_err(|e| ExtractError::OutOfMemory {
                what: format!("for the states of {stored} rows at {} layers and read-outs", found.states.len()),
                message: e.to_string(),
            })?;
            values.resize(stored * width, 0.0);
            whole.states.push(States { layer: states.layer, read_out: states.read_out, values });
        }
    }
    for (into, from) in whole.states.iter_mut().zip(found.states) {
        for (state, &row) in from.values.chunks_exact(width.max(1)).zip(rows) {
            if let Some(at) = place(row) {
                into.values[at * width..][..width].copy_from_slice(state);
            }
        }
    }
    for (at, (reply, &row)) in found.replies.into_iter().zip(rows).enumerate() {
        whole.replies[row] = reply;
        (whole.shuffled[row], whole.fillers[row]) = (found.shuffled[at], found.fillers[at]);
    }
    whole.bad.extend(found.bad.into_iter().map(|at| rows[at]));
    whole.tokens += found.tokens;
    whole.memory_retries += found.memory_retries;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::axis::{Context, Layer, ReadOut};

    fn prompts(lengths: &[usize], header: usize) -> Vec<Prompt> {
        let prompt = |(at, n): (usize, &usize)| Prompt::of_tokens([vec![1; header], vec![2 + at as u32; *n]].concat());
        lengths.iter().enumerate().map(prompt).collect()
    }

    fn request(budget: Option<usize>) -> Request {
        Request { batch_tokens: budget, ..Request::new(vec![Layer::Final], vec![ReadOut::LAST]) }
    }

    #[test]
    fn blocks_hold_every_row_once_in_two_batches_each() {
        let lengths = [9, 3, 30, 4, 8, 8, 50, 1];
        assert_eq!(cut(&prompts(&lengths, 0), &request(Some(10))), [vec![2, 6], vec![0, 4, 7], vec![1, 3, 5]]);
        assert_eq!(cut(&prompts(&lengths, 0), &request(None)), [(0..8).collect::<Vec<_>>()]);
        assert_eq!(cut(&[], &request(Some(1))), [Vec::<usize>::new()]);
        // A header of nine tokens makes a block of 144 worth while: it holds all others' own tokens.
        assert_eq!(cut(&prompts(&lengths, 9), &request(Some(10))), [(0..8).collect::<Vec<_>>()]);
    }

    #[test]
    fn rows_that_exchange_replies_are_in_one_block() {
        let lengths = [9, 3, 30, 4, 8, 8, 50, 1];
        let mut request = request(Some(10));
        request.read_outs.push(ReadOut { context: Context::ShuffledReply, ..ReadOut::at(1) });
        request.partners = [3, 2, 1, 0, 5, 6, 4, 7].map(|row| Some(row).filter(|row| *row < 7)).to_vec();
        let blocks = cut(&prompts(&lengths, 0), &request);
        assert_eq!(blocks, [vec![1, 2, 4, 5, 6], vec![0, 3, 7]]);
        let partners: Vec<_> = blocks.iter().map(|rows| part_of(&request, rows).partners).collect();
        assert_eq!(partners, [vec![Some(1), Some(0), Some(3), Some(4), Some(2)], vec![Some(1), Some(0), None]]);
    }
}
