//! Prompts and what follows them: replies are decoded token by token behind cached prompts, and rows whose reply is whole make
//! room for the next prompts (continuous batching, Yu et al. 2022, "Orca").

use std::ops::Range;

use candle_core::{Device, Tensor};
use limbic_proto::axis::Context;
use rayon::prelude::*;

use super::contexts::Behind;
use super::gather::{Wish, kept};
use super::room::Room;
use super::run::Run;
use super::sampling::likeliest;
use super::{Continuation, ExtractError, Leaf, Queue, Sampler};
use crate::kernel::{Steps, pick, read};
use crate::model::Plan;
use crate::pass::{Cache, Pass};

/// One row with its keys and values.
struct Slot {
    row: usize,
    /// Cache rows of the prompt's own tokens and of its reply.
    rows: Range<usize>,
    sampler: Sampler,
}

/// Prompts under way, and what follows them.
pub(super) struct Stream<'r, 'a> {
    run: &'r mut Run<'a>,
    cache: Cache,
    room: Room,
    /// Rows whose reply is being decoded.
    open: Vec<Slot>,
    /// Rows whose reply is known, and whose other contexts are not run yet.
    known: Vec<Slot>,
}

/// Runs a batch, and of the queue what finds room as its rows are done.
pub(super) fn stream(run: &mut Run<'_>, batch: &[usize], queue: &mut Queue<'_>) -> Result<(), ExtractError> {
    let first = queue.tokens(batch);
    let capacity = first.max(run.budget.min(first + queue.joining()));
    let shared = run.prefix.len();
    let cache = run.prefix.beginning(&run.model.decoder, capacity)?;
    let mut stream = Stream { run, cache, room: Room::new(shared..shared + capacity), open: Vec::new(), known: Vec::new() };
    let mut entering = stream.places(batch).expect("there is room for the batch that it was made for");
    // What the next tokens of the open rows are chosen from, in their order: `[rows, d]`, in pieces.
    let mut states = Vec::new();
    loop {
        states.extend(stream.enter(entering)?);
        while !stream.open.is_empty() && !stream.makes_room(queue) {
            let now = Tensor::cat(&states, 0)?;
            states = stream.step(&now)?.into_iter().collect();
        }
        stream.settle(queue)?;
        entering = Vec::new();
        queue.join(|rows| stream.places(rows).map(|slots| entering.extend(slots)).is_some());
        if entering.is_empty() && stream.open.is_empty() {
            return Ok(());
        }
        stream.run.begin(&entering.iter().map(|slot| slot.row).collect::<Vec<_>>());
    }
}

impl Stream<'_, '_> {
    /// Places for rows, all of them or none.
    fn places(&mut self, rows: &[usize]) -> Option<Vec<Slot>> {
        let mut slots = Vec::with_capacity(rows.len());
        for &row in rows {
            let Some(place) = self.room.take(self.run.length(row)) else {
                slots.into_iter().for_each(|slot: Slot| self.room.give(slot.rows));
                return None;
            };
            let sampler = match &self.run.sink.request.continuation {
                Some(Continuation::Generated { temperature, seeds, .. }) => {
                    Sampler::new(*temperature, seeds.get(row).copied().unwrap_or(0))
                }
                _ => Sampler::new(0.0, 0),
            };
            slots.push(Slot { row, rows: place, sampler });
        }
        Some(slots)
    }

    /// Runs prompts and keeps their keys and values. Returns the final states of their last tokens, where replies follow.
    fn enter(&mut self, slots: Vec<Slot>) -> Result<Vec<Tensor>, ExtractError> {
        let (mut lasts, mut rest) = (Vec::new(), slots.as_slice());
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|slot| {
                tokens += self.run.own(slot.row).len();
                tokens <= self.run.pass_tokens()
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            lasts.push(self.prompts(now)?);
            rest = later;
        }
        if self.run.sink.request.generates() {
            self.open.extend(slots);
            return Ok(lasts);
        }
        self.known.extend(slots);
        Ok(Vec::new())
    }

    /// Runs prompts in one pass, and stores their keys and values at their places. Returns the final states of their last
    /// tokens, `[rows, d]`.
    fn prompts(&mut self, slots: &[Slot]) -> Result<Tensor, ExtractError> {
        let (run, mut pass) = (&mut *self.run, Pass::default());
        let rows: Vec<usize> = slots.iter().map(|slot| slot.row).collect();
        let places: Vec<usize> = slots.iter().map(|slot| slot.rows.start).collect();
        let leaf = |&row: &usize| Leaf::alone(&mut pass, run.own(row), run.prefix.before());
        let leaves: Vec<Leaf> = rows.iter().map(leaf).collect();
        let wishes = run.prompt_wishes(&rows, &leaves)?;
        let lasts: Vec<usize> = leaves.iter().map(|leaf| leaf.own.end - 1).collect();
        let blocks = if run.sink.request.generates() { run.model.decoder.blocks.len() } else { run.blocks };
        let kept = kept(&wishes, lasts.iter().copied());
        let plan = Plan { cache: Some(&self.cache), store: Some(&places), blocks, kept: &kept };
        let states = run.run(&rows, &pass, &plan, &wishes)?;
        let at: Vec<u32> = lasts.iter().map(|last| kept.binary_search(&(*last as u32)).unwrap_or(0) as u32).collect();
        Ok(pick(&states, &at)?)
    }

    /// Chooses the next token of every open row from the states `[rows, d]` and runs it; rows whose reply is whole are open no
    /// longer. Returns the states of those that are, if any.
    fn step(&mut self, states: &Tensor) -> Result<Option<Tensor>, ExtractError> {
        let tokens = self.choose(states)?;
        let Some(Continuation::Generated { stop_at_eos, .. }) = &self.run.sink.request.continuation else { return Ok(None) };
        let ends = if *stop_at_eos { self.run.model.architecture().eos.as_slice() } else { &[] };
        let (mut pass, mut wishes, mut rows, mut to) = (Pass::default(), Vec::new(), Vec::new(), Vec::new());
        let (mut on, mut whole) = (Vec::new(), Vec::new());
        for (slot, token) in std::mem::take(&mut self.open).into_iter().zip(tokens) {
            if ends.contains(&token) {
                self.known.push(slot);
                continue;
            }
            let reply = &mut self.run.sink.out.replies[slot.row];
            reply.push(token);
            let offset = reply.len();
            let last = offset == self.run.reply;
            let at = slot.rows.start + self.run.own(slot.row).len() + offset - 1;
            let wished = self.wishes(slot.row, offset, pass.tokens.len());
            if last && wished.is_empty() {
                self.known.push(slot);
                continue;
            }
            let mut before = self.run.prefix.before();
            before.push(slot.rows.start..at);
            let token = pass.push(&[token], before);
            wishes.extend(wished);
            rows.push(slot.row);
            to.push(at);
            if last {
                whole.push(slot);
            } else {
                on.push(token as u32);
                self.open.push(slot);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let blocks = self.run.model.decoder.blocks.len();
        let plan = Plan { cache: Some(&self.cache), store: Some(&to), blocks, kept: &[] };
        let states = self.run.run(&rows, &pass, &plan, &wishes)?;
        self.known.extend(whole);
        Ok(match on.len() {
            0 => None,
            all if all == rows.len() => Some(states),
            _ => Some(pick(&states, &on)?),
        })
    }

    /// What the read-outs want of token `offset` (1-based) of a row's reply that is at `token` of a pass.
    fn wishes(&self, row: usize, offset: usize, token: usize) -> Vec<Wish> {
        let read_outs = self.run.sink.request.read_outs.iter().enumerate();
        let wanted = read_outs.filter(|(_, r)| r.offset as usize == offset && r.context == Context::Full);
        wanted.map(|(read_out, _)| Wish { read_out, row, tokens: token..token + 1 }).collect()
    }

    /// The next token of every open row.
    fn choose(&mut self, states: &Tensor) -> Result<Vec<u32>, ExtractError> {
        let scores = self.run.model.decoder.logits(states)?;
        // On a GPU the scores of all tokens stay there, where nothing is drawn.
        if self.run.model.decoder.steps == Steps::Composed && self.open.iter().all(|slot| slot.sampler.greedy()) {
            let chosen = self.open.iter().zip(likeliest(&scores)?);
            return chosen.map(|(slot, token)| token.ok_or(ExtractError::ScoresNotFinite { row: slot.row })).collect();
        }
        let (vocab, open) = (scores.dim(1)?, &mut self.open);
        let next = |(slot, scores): (&mut Slot, &[f32])| slot.sampler.choose(scores).ok_or(ExtractError::ScoresNotFinite { row: slot.row });
        let choose = |scores: &[f32]| open.par_iter_mut().zip(scores.par_chunks_exact(vocab)).map(next).collect();
        let chosen: Vec<Result<u32, ExtractError>> = read(&scores.to_device(&Device::Cpu)?.contiguous()?, choose)?;
        // Of several errors the first row's is told.
        chosen.into_iter().collect()
    }

    /// Whether a row whose reply is known can do without its place: nobody whose reply it reads, or that reads its, is open.
    fn is_done(&self, slot: &Slot, queue: &Queue<'_>) -> bool {
        self.open.iter().all(|open| queue.group(open.row) != queue.group(slot.row))
    }

    /// Whether rows that are done have a pass's worth of room for such as wait.
    fn makes_room(&self, queue: &Queue<'_>) -> bool {
        let known = || self.known.iter().map(|slot| slot.rows.len());
        let enough = |tokens: usize| tokens >= self.run.pass_tokens();
        queue.joining() > 0 && enough(known().sum()) && {
            let done = self.known.iter().filter(|slot| self.is_done(slot, queue));
            enough(done.map(|slot| slot.rows.len()).sum())
        }
    }

    /// Reads the other contexts of rows that are done, and gives their places back.
    fn settle(&mut self, queue: &Queue<'_>) -> Result<(), ExtractError> {
        let known = std::mem::take(&mut self.known);
        let (done, waiting): (Vec<Slot>, Vec<Slot>) = known.into_iter().partition(|slot| self.is_done(slot, queue));
        self.known = waiting;
        let rows: Vec<usize> = done.iter().map(|slot| slot.row).collect();
        let places: Vec<usize> = done.iter().map(|slot| slot.rows.start).collect();
        self.run.known(&rows, Some(&Behind { cache: &self.cache, places: &places }))?;
        done.into_iter().for_each(|slot| self.room.give(slot.rows));
        self.run.done(&rows)
    }
}
