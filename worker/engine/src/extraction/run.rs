//! Running an extraction: batches, the prompt pass, and what follows it.

use std::ops::{ControlFlow, Range};

use limbic_proto::axis::{Context, Pooling};

use super::gather::{Sink, Wish, kept, pooled};
use super::reply::Replies;
use super::{Continuation, ExtractError, Extraction, OnProgress, Progress, Queue, Request, Verdict};
use crate::model::{Model, Plan};
use crate::pass::{Cache, Pass};
use crate::prompt::Prompt;

/// Computes the states a request asks for.
///
/// Rows are grouped into batches by length; a row's states are the same in every batch. A batch for which the memory does
/// not suffice is run again in halves. `on_progress` is called after every pass.
///
/// # Errors
/// [`ExtractError`]; nothing is returned for a cancelled extraction.
pub fn extract(model: &Model, prompts: &[Prompt], request: &Request, on_progress: OnProgress<'_>) -> Result<Extraction, ExtractError> {
    request.check(model, prompts)?;
    let reply = request.reply_tokens();
    let shared = shared(prompts, request);
    let lengths: Vec<usize> = prompts.iter().map(|p| p.ids.len() - shared + reply).collect();
    let mut run = Run {
        model,
        prompts,
        sink: Sink::new(request, prompts.len(), model.architecture().hidden)?,
        on_progress,
        rows: 0,
        blocks: request.layers.iter().map(|l| l.blocks(model.architecture().layers as u32) as usize).max().unwrap_or(0),
        shared,
        prefix: None,
    };
    run.read_prefix()?;
    let mut queue = Queue::new(&lengths, request.budget());
    while let Some(batch) = queue.next() {
        let tokens = run.sink.out.tokens;
        match run.batch(&batch) {
            Ok(()) => run.rows += batch.len(),
            Err(error) => {
                run.sink.forget(&batch, tokens);
                if let Verdict::LeaveOut(row) = queue.judge(error, batch, request.bad_rows)? {
                    run.sink.out.bad.push(row);
                    run.rows += 1;
                }
            }
        }
        run.report()?;
    }
    run.sink.out.bad.sort_unstable();
    run.sink.out.memory_retries = queue.memory_retries;
    Ok(run.sink.out)
}

/// One extraction under way.
pub(super) struct Run<'a> {
    pub model: &'a Model,
    pub prompts: &'a [Prompt],
    pub sink: Sink<'a>,
    on_progress: OnProgress<'a>,
    /// Rows done.
    rows: usize,
    /// Blocks needed for the asked layers.
    pub blocks: usize,
    /// How many first tokens all prompts share; they are run once.
    pub shared: usize,
    /// Their keys and values.
    prefix: Option<Cache>,
}

/// The shortest shared beginning that is worth a pass of its own.
const SHORTEST_SHARED: usize = 8;

/// How many first tokens of all prompts are the same and read by nothing.
fn shared(prompts: &[Prompt], request: &Request) -> usize {
    let poolings = || request.read_outs.iter().filter(|r| r.offset == 0).map(|r| r.pooling);
    let Some((first, others)) = prompts.split_first().filter(|(_, others)| !others.is_empty()) else { return 0 };
    if poolings().any(|p| matches!(p, Pooling::First | Pooling::PromptMean)) {
        return 0;
    }
    let utterance = poolings().any(|p| matches!(p, Pooling::UtteranceLast | Pooling::UtteranceMean));
    let own = |p: &Prompt| if utterance { p.utterance_tokens.start.min(p.last()) } else { p.last() };
    let same = |p: &Prompt| p.ids.iter().zip(&first.ids).take_while(|(a, b)| a == b).count().min(own(p));
    let shared = others.iter().map(same).min().unwrap_or(0).min(own(first));
    if shared >= SHORTEST_SHARED { shared } else { 0 }
}

impl Run<'_> {
    fn report(&mut self) -> Result<(), ExtractError> {
        let progress = Progress { rows: self.rows, total_rows: self.prompts.len(), tokens: self.sink.out.tokens };
        match (self.on_progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ExtractError::Cancelled { tokens: progress.tokens }),
        }
    }

    /// Runs the shared beginning of all prompts.
    fn read_prefix(&mut self) -> Result<(), ExtractError> {
        if self.shared == 0 {
            return Ok(());
        }
        let mut pass = Pass::default();
        pass.push(&self.prompts[0].ids[..self.shared], Vec::new());
        let cache = self.cache(self.shared)?;
        let generated = matches!(self.sink.request.continuation, Some(Continuation::Generated { .. }));
        let blocks = if generated { self.model.decoder.blocks.len() } else { self.blocks };
        let plan = Plan { cache: Some(&cache), store: Some(&[0]), blocks, kept: &[] };
        self.run(&pass, &plan, &[])?;
        self.prefix = Some(cache);
        Ok(())
    }

    fn cache(&self, capacity: usize) -> Result<Cache, ExtractError> {
        let decoder = &self.model.decoder;
        Ok(Cache::new(&decoder.architecture, capacity, decoder.dtype, &decoder.device)?)
    }

    /// Cache rows in front of a row's own tokens.
    pub(super) fn before(&self) -> Vec<Range<usize>> {
        if self.shared > 0 { vec![0..self.shared] } else { Vec::new() }
    }

    /// The tokens of a prompt that are not shared.
    pub(super) fn own(&self, row: usize) -> &[u32] {
        &self.prompts[row].ids[self.shared..]
    }

    fn batch(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        let request = self.sink.request;
        let full = |offset: bool| request.read_outs.iter().any(|r| (r.offset > 0) == offset && r.context == Context::Full);
        let generated = matches!(request.continuation, Some(Continuation::Generated { .. })) && request.reply_tokens() > 0;
        if generated || full(true) {
            self.prompts_and_replies(rows)?;
        } else {
            if let Some(Continuation::Given(replies)) = &request.continuation {
                rows.iter().for_each(|&row| self.sink.out.replies[row].clone_from(&replies[row]));
            }
            if full(false) {
                self.prompts_alone(rows)?;
            }
        }
        self.masked(rows)
    }

    /// What offset 0 reads of the batch's prompts, given where each starts in the pass.
    fn prompt_wishes(&self, rows: &[usize], starts: &[usize]) -> Result<Vec<Wish>, ExtractError> {
        let (mut wishes, shared) = (Vec::new(), self.shared);
        for (read_out, asked) in self.sink.request.read_outs.iter().enumerate().filter(|(_, r)| r.offset == 0) {
            for (&row, start) in rows.iter().zip(starts) {
                let tokens = pooled(&self.prompts[row], asked.pooling, row)?;
                wishes.push(Wish { read_out, row, tokens: start + tokens.start - shared..start + tokens.end - shared });
            }
        }
        Ok(wishes)
    }

    fn prompts_alone(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        let mut pass = Pass::default();
        let starts: Vec<usize> = rows.iter().map(|&row| pass.push(self.own(row), self.before())).collect();
        let wishes = self.prompt_wishes(rows, &starts)?;
        let kept = kept(&wishes, []);
        let prefix = self.prefix.take();
        let plan = Plan { cache: prefix.as_ref(), store: None, blocks: self.blocks, kept: &kept };
        let ran = self.run(&pass, &plan, &wishes).map(|_| ());
        // Whatever came of it: a batch that failed is run again.
        self.prefix = prefix;
        ran
    }

    fn prompts_and_replies(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        let request = self.sink.request;
        let given = matches!(request.continuation, Some(Continuation::Given(_)));
        let room = if given { 0 } else { request.reply_tokens() };
        let (mut pass, mut places, mut capacity) = (Pass::default(), Vec::new(), self.shared);
        let mut starts = Vec::new();
        for &row in rows {
            starts.push(pass.push(self.own(row), self.before()));
            places.push(capacity);
            capacity += self.own(row).len() + room;
        }
        let cache = self.cache(capacity)?;
        if let Some(prefix) = &self.prefix {
            cache.begin_with(prefix, self.shared)?;
        }
        let wishes = self.prompt_wishes(rows, &starts)?;
        let lasts: Vec<usize> = rows.iter().zip(&starts).map(|(&row, start)| start + self.own(row).len() - 1).collect();
        let blocks = if given { self.blocks } else { self.model.decoder.blocks.len() };
        let kept = kept(&wishes, lasts.iter().copied());
        let plan = Plan { cache: Some(&cache), store: Some(&places), blocks, kept: &kept };
        let last = self.run(&pass, &plan, &wishes)?;
        let mut replies = Replies { run: self, rows, cache: &cache, places };
        if given {
            return replies.given();
        }
        let at: Vec<u32> = lasts.iter().map(|l| kept.binary_search(&(*l as u32)).unwrap_or(0) as u32).collect();
        replies.generated(&crate::kernel::pick(&last, &at)?)
    }

    /// Replies encoded again without their prompts, where that is asked.
    fn masked(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        let request = self.sink.request;
        let asked = |r: &limbic_proto::axis::ReadOut| r.offset > 0 && r.context == Context::MaskedPrompt;
        let Some(longest) = request.read_outs.iter().filter(|r| asked(r)).map(|r| r.offset as usize).max() else { return Ok(()) };
        let (mut pass, mut wishes) = (Pass::default(), Vec::new());
        for &row in rows {
            let reply = &self.sink.out.replies[row];
            let reply = &reply[..reply.len().min(longest)];
            if reply.is_empty() {
                continue;
            }
            let start = pass.push(reply, Vec::new());
            for (read_out, r) in request.read_outs.iter().enumerate().filter(|(_, r)| asked(r)) {
                let at = start + r.offset as usize - 1;
                if (r.offset as usize) <= reply.len() {
                    wishes.push(Wish { read_out, row, tokens: at..at + 1 });
                }
            }
        }
        if wishes.is_empty() {
            return Ok(());
        }
        let kept = kept(&wishes, []);
        let plan = Plan { blocks: self.blocks, kept: &kept, ..Plan::default() };
        self.run(&pass, &plan, &wishes).map(|_| ())
    }

    /// Runs one pass, reads the wished states and reports. Returns the last states shown.
    ///
    /// Where replies are decoded, a state's tokens are the pass's own.
    pub(super) fn run(&mut self, pass: &Pass, plan: &Plan<'_>, wishes: &[Wish]) -> Result<candle_core::Tensor, ExtractError> {
        let mut failed = None;
        let sink = &mut self.sink;
        let states = self.model.decoder.forward(pass, plan, |tap| match sink.read(&tap, wishes, plan.kept) {
            Ok(()) => Ok(()),
            Err(error) => {
                failed = Some(error);
                candle_core::bail!("a state could not be read")
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let states = states?;
        self.sink.out.tokens += pass.tokens.len() as u64;
        self.report()?;
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{Device, Tensor};
    use limbic_proto::axis::{Layer, ReadOut};
    use limbic_proto::spec::{self, BadRows, TooLong};

    use super::*;
    use crate::likelihood::label_log_likelihoods;
    use crate::model::Placement;
    use crate::prompt::Prompts;

    const TEXTS: [&str; 7] = ["Oh!", "I miss her.", "What a day", "The meeting is at three.", "I miss the sun", "Why?", "It rains."];

    fn model(placement: &Placement) -> Model {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-plain");
        Model::load(&fixture, placement).unwrap()
    }

    /// The model with an embedding that is not a number.
    fn poisoned(mut model: Model, token: u32) -> Model {
        let (vocab, width) = model.decoder.embeddings.dims2().unwrap();
        let mut numbers = model.decoder.embeddings.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        numbers[token as usize * width..][..width].fill(f32::NAN);
        model.decoder.embeddings = Tensor::from_vec(numbers, (vocab, width), &Device::Cpu).unwrap();
        model
    }

    fn run(model: &Model, prompts: &[Prompt], request: &Request) -> Result<Extraction, ExtractError> {
        extract(model, prompts, request, &mut |_| ControlFlow::Continue(()))
    }

    #[test]
    fn poisoned_rows_are_named_or_left_out_and_their_neighbours_stay_as_they_are() {
        // On the CPU a row is alone with its poison; where attention is composed of tensor operations its batch shares it.
        for placement in [Placement::cpu(), Placement::cpu_composed()] {
            let healthy = model(&placement);
            let prompts = Prompts::new(&healthy, &spec::Prompt::Template("{text}".into()), &TEXTS, 0, TooLong::Error).unwrap().prompts;
            let miss = *prompts[1].ids.iter().find(|id| prompts[4].ids.contains(id) && !prompts[0].ids.contains(id)).unwrap();
            let bad: Vec<usize> = (0..TEXTS.len()).filter(|row| prompts[*row].ids.contains(&miss)).collect();
            assert!(bad.contains(&1) && bad.contains(&4) && bad.len() < 5, "{bad:?}");
            let poisoned = poisoned(model(&placement), miss);
            for continuation in [None, Some(Continuation::Given(vec![vec![5, 6]; TEXTS.len()]))] {
                let mut request = Request::new(vec![Layer::Block(2), Layer::Final], vec![ReadOut::LAST]);
                request.read_outs.extend(continuation.is_some().then_some(ReadOut::at(2)));
                request.continuation = continuation;
                let error = run(&poisoned, &prompts, &request).unwrap_err();
                assert!(matches!(error, ExtractError::NotFinite { row, .. } if bad.contains(&row)), "{error}");
                request.bad_rows = BadRows::Skip;
                let (found, expected) = (run(&poisoned, &prompts, &request).unwrap(), run(&healthy, &prompts, &request).unwrap());
                assert_eq!((&found.bad, &expected.bad), (&bad, &Vec::new()));
                let width = found.width;
                for (ours, theirs) in found.states.iter().zip(&expected.states) {
                    for row in 0..TEXTS.len() {
                        let (ours, theirs) = (&ours.values[row * width..][..width], &theirs.values[row * width..][..width]);
                        let off = ours.iter().zip(theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                        match bad.contains(&row) {
                            true => assert!(ours.iter().all(|x| *x == 0.0) && found.replies[row].is_empty()),
                            false => assert!(off < 1e-4 && found.replies[row] == expected.replies[row], "row {row} is off by {off}"),
                        }
                    }
                }
            }
            let score = |policy| label_log_likelihoods(&poisoned, &prompts, &[vec![5]], policy, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(score(BadRows::Stop), Err(ExtractError::ScoresNotFinite { row }) if bad.contains(&row)));
            let scored = score(BadRows::Skip).unwrap();
            assert_eq!(scored.bad, bad);
            assert!((0..TEXTS.len()).all(|row| (scored.rows[row] == [0.0]) == bad.contains(&row)));
        }
    }
}
