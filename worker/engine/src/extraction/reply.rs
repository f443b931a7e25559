//! Replies that the model writes: decoded token by token behind cached prompts.

use std::ops::Range;

use candle_core::Tensor;
use limbic_proto::axis::Context;

use super::contexts::Behind;
use super::gather::Wish;
use super::run::Run;
use super::{Continuation, ExtractError, Sampler};
use crate::model::Plan;
use crate::pass::Pass;

/// The continuations of one batch.
pub(super) struct Replies<'r, 'a> {
    pub run: &'r mut Run<'a>,
    /// The batch's rows.
    pub rows: &'r [usize],
    /// Keys and values of their prompts, with room for their replies.
    pub behind: &'r Behind<'r>,
}

impl Replies<'_, '_> {
    /// What the read-outs want of token `offset` (1-based) of a row's reply that is at `token` of a pass.
    fn wishes(&self, row: usize, offset: usize, token: usize) -> impl Iterator<Item = Wish> {
        let read_outs = &self.run.sink.request.read_outs;
        let wanted = move |r: &limbic_proto::axis::ReadOut| r.offset as usize == offset && r.context == Context::Full;
        let found: Vec<usize> = (0..read_outs.len()).filter(|i| wanted(&read_outs[*i])).collect();
        found.into_iter().map(move |read_out| Wish { read_out, row, tokens: token..token + 1 })
    }

    /// Cache rows of a row's prompt and of the first `decoded` tokens of its reply.
    fn before(&self, row: usize, place: usize, decoded: usize) -> Vec<Range<usize>> {
        let mut rows = self.run.prefix.before();
        rows.push(place..place + self.run.own(row).len() + decoded);
        rows
    }

    /// Decodes replies from the final states of the prompts' last tokens, `[rows, d]`.
    pub(super) fn generated(&mut self, last: &Tensor) -> Result<(), ExtractError> {
        let request = self.run.sink.request;
        let Some(Continuation::Generated { temperature, seeds, stop_at_eos, .. }) = &request.continuation else { return Ok(()) };
        let model = self.run.model;
        let blocks = model.decoder.blocks.len();
        let seed = |row: usize| seeds.get(row).copied().unwrap_or(0);
        let mut samplers: Vec<Sampler> = self.rows.iter().map(|&row| Sampler::new(*temperature, seed(row))).collect();
        let ends = if *stop_at_eos { model.architecture().eos.as_slice() } else { &[] };
        // Rows that still go on, as indices into the batch.
        let mut open: Vec<usize> = (0..self.rows.len()).collect();
        let mut states = last.clone();
        for step in 1..=request.reply_tokens() {
            let tokens = self.choose(&open, &states, &mut samplers)?;
            let going: Vec<(usize, u32)> = open.iter().copied().zip(tokens).filter(|(_, token)| !ends.contains(token)).collect();
            if going.is_empty() {
                break;
            }
            let (mut pass, mut wishes, mut to) = (Pass::default(), Vec::new(), Vec::new());
            for &(slot, token) in &going {
                let row = self.rows[slot];
                let before = self.before(row, self.behind.places[slot], step - 1);
                to.push(self.behind.places[slot] + self.run.own(row).len() + step - 1);
                let at = pass.push(&[token], before);
                wishes.extend(self.wishes(row, step, at));
                self.run.sink.out.replies[row].push(token);
            }
            if step == request.reply_tokens() && wishes.is_empty() {
                break;
            }
            let plan = Plan { cache: Some(self.behind.cache), store: Some(&to), blocks, kept: &[] };
            states = self.run.run(&pass, &plan, &wishes)?;
            open = going.into_iter().map(|(slot, _)| slot).collect();
        }
        Ok(())
    }

    /// The next token of every open row.
    fn choose(&self, open: &[usize], states: &Tensor, samplers: &mut [Sampler]) -> Result<Vec<u32>, ExtractError> {
        let scores = self.run.model.decoder.logits(states)?;
        let vocab = scores.dim(1)?;
        let scores = scores.flatten_all()?.to_vec1::<f32>()?;
        let choice =
            |(&slot, scores): (&usize, &[f32])| samplers[slot].choose(scores).ok_or(ExtractError::ScoresNotFinite { row: self.rows[slot] });
        open.iter().zip(scores.chunks_exact(vocab)).map(choice).collect()
    }
}
