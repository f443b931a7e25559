//! Continuations that are known, in every context that is asked for: behind their prompts' keys and values, or alone.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use limbic_proto::axis::Context;

use super::gather::{Wish, kept};
use super::prefix::Prefix;
use super::run::Run;
use super::{Continuation, ExtractError, Queue, Request, Verdict};
use crate::model::Plan;
use crate::pass::{Cache, Pass};

/// Keys and values of a batch's prompts.
pub(super) struct Behind<'a> {
    /// Where they are.
    pub cache: &'a Cache,
    /// The first cache row of each prompt's own tokens.
    pub places: &'a [usize],
}

/// Known tokens of one row in one context.
struct Strand {
    row: usize,
    context: Context,
    tokens: Vec<u32>,
    /// Cache rows in front of them.
    before: Vec<Range<usize>>,
    /// How many tokens of them stand before the continuation.
    skipped: usize,
}

impl Run<'_> {
    /// Runs what is known of a batch's continuations and was not decoded, packed into as few passes as the budget allows.
    pub(super) fn known(&mut self, rows: &[usize], behind: Option<&Behind<'_>>) -> Result<(), ExtractError> {
        let strands = self.strands(rows, behind);
        let strands: Vec<&Strand> = strands.iter().collect();
        let mut rest = strands.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|strand| {
                tokens += strand.tokens.len();
                tokens <= self.pass_tokens()
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            self.run_strands(now, behind.map(|behind| behind.cache))?;
            rest = later;
        }
        Ok(())
    }

    /// Everything that is asked of a batch's known continuations.
    fn strands(&mut self, rows: &[usize], behind: Option<&Behind<'_>>) -> Vec<Strand> {
        let request = self.sink.request;
        let here: BTreeSet<usize> = rows.iter().copied().collect();
        let mut strands = Vec::new();
        for (slot, &row) in rows.iter().enumerate() {
            let mut add = |context, tokens: &[u32], before| {
                let used = request.longest(context, tokens.len());
                if used > 0 {
                    strands.push(Strand { row, context, tokens: tokens[..used].to_vec(), before, skipped: 0 });
                }
            };
            let out = &mut self.sink.out;
            add(Context::MaskedPrompt, &out.replies[row], Vec::new());
            let Some(behind) = behind else { continue };
            let prompt = self.prefix.own(&self.prompts[row]).len();
            let mut before = self.prefix.before();
            before.push(behind.places[slot]..behind.places[slot] + prompt);
            if matches!(request.continuation, Some(Continuation::Given(_))) {
                add(Context::Full, &out.replies[row], before.clone());
            }
            out.fillers[row] = request.filler.len();
            add(Context::Filler, &request.filler, before.clone());
            if let Some(partner) = request.partner(row).filter(|partner| here.contains(partner)) {
                let other = &out.replies[partner];
                let both = other.len().min(out.replies[row].len());
                out.shuffled[row] = both;
                add(Context::ShuffledReply, &other[..both], before);
            }
        }
        strands
    }

    fn run_strands(&mut self, strands: &[&Strand], cache: Option<&Cache>) -> Result<(), ExtractError> {
        let read_outs = &self.sink.request.read_outs;
        let (mut pass, mut wishes) = (Pass::default(), Vec::new());
        for strand in strands {
            let start = pass.push(&strand.tokens, strand.before.clone()) + strand.skipped;
            let offsets = 1..=strand.tokens.len() - strand.skipped;
            let asked = read_outs.iter().enumerate().filter(|(_, r)| r.context == strand.context && offsets.contains(&(r.offset as usize)));
            wishes.extend(asked.map(|(read_out, r)| {
                let at = start + r.offset as usize - 1;
                Wish { read_out, row: strand.row, tokens: at..at + 1 }
            }));
        }
        let kept = kept(&wishes, []);
        let plan = Plan { cache, store: None, blocks: self.blocks, kept: &kept };
        let rows: Vec<usize> = strands.iter().map(|strand| strand.row).collect();
        self.run(&rows, &pass, &plan, &wishes).map(|_| ())
    }

    /// Reads what is left of the context `shuffled-reply`: rows whose partner was in another batch (partners are parted only
    /// where memory is short). Their prompts are run once more.
    pub(super) fn late(&mut self) -> Result<(), ExtractError> {
        let prefix = Rc::clone(&self.prefix);
        let strands = self.parted(&prefix);
        let lengths: Vec<usize> = strands.iter().map(|(strand, _)| strand.tokens.len()).collect();
        let mut queue = Queue::new(&lengths, self.pass_tokens());
        while let Some(batch) = queue.next() {
            let now: Vec<&Strand> = batch.iter().map(|&at| &strands[at].0).collect();
            match self.run_strands(&now, prefix.cache()) {
                Ok(()) => batch.iter().map(|&at| &strands[at]).for_each(|(strand, both)| self.sink.out.shuffled[strand.row] = *both),
                Err(error) => {
                    if let Verdict::LeaveOut(at) = queue.judge(error, batch, self.sink.request.bad_rows)? {
                        let row = strands[at].0.row;
                        self.sink.forget(&[row]);
                        self.sink.out.bad.push(row);
                    }
                }
            }
        }
        self.sink.out.memory_retries += queue.memory_retries;
        Ok(())
    }

    /// The rows that [`Run::late`] is about, with their prompts, and how many tokens both replies have.
    fn parted(&self, prefix: &Prefix) -> Vec<(Strand, usize)> {
        let (request, replies) = (self.sink.request, &self.sink.out.replies);
        let strand = |row: usize| {
            let reply = &replies[request.partner(row)?];
            let both = reply.len().min(replies[row].len());
            let used = request.longest(Context::ShuffledReply, both);
            let own = prefix.own(&self.prompts[row]);
            let tokens = [own, &reply[..used]].concat();
            let strand = Strand { row, context: Context::ShuffledReply, tokens, before: prefix.before(), skipped: own.len() };
            (used > 0 && self.sink.out.shuffled[row] == 0).then_some((strand, both))
        };
        (0..self.prompts.len()).filter_map(strand).collect()
    }
}

impl Request {
    /// The largest offset that is read in a context of a continuation of `tokens`; 0 where none is.
    pub(super) fn longest(&self, context: Context, tokens: usize) -> usize {
        let offsets = self.read_outs.iter().filter(|r| r.context == context).map(|r| r.offset as usize);
        offsets.filter(|offset| *offset <= tokens).max().unwrap_or(0)
    }

    /// Whether anything is read of the continuation in a context.
    pub(super) fn reads(&self, context: Context) -> bool {
        self.longest(context, usize::MAX) > 0
    }

    /// Whether the model writes replies.
    pub(super) fn generates(&self) -> bool {
        matches!(self.continuation, Some(Continuation::Generated { .. })) && self.reply_tokens() > 0
    }

    /// The prompt whose reply follows a prompt in the context `shuffled-reply`, where that is asked.
    fn partner(&self, row: usize) -> Option<usize> {
        self.partners.get(row).copied().flatten().filter(|_| self.reads(Context::ShuffledReply))
    }

    /// Whether anything follows prompts that reads them.
    pub(super) fn continues(&self) -> bool {
        self.generates() || [Context::Full, Context::ShuffledReply, Context::Filler].into_iter().any(|context| self.reads(context))
    }

    /// For every prompt, the first of those that read its reply, and whose reply it reads.
    pub(super) fn exchanging(&self, prompts: usize) -> Vec<usize> {
        let mut groups: Vec<usize> = (0..prompts).collect();
        loop {
            let mut changed = false;
            for row in 0..prompts {
                let Some(partner) = self.partner(row) else { continue };
                let first = groups[row].min(groups[partner]);
                changed |= groups[row] != first || groups[partner] != first;
                (groups[row], groups[partner]) = (first, first);
            }
            if !changed {
                return groups;
            }
        }
    }
}
