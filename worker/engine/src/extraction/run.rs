//! Running an extraction: batches, the prompt pass, and what follows it.

use std::ops::ControlFlow;
use std::rc::Rc;

use candle_core::Tensor;
use limbic_proto::axis::Pooling;

use super::gather::{Sink, Wish, kept, pooled};
use super::prefix::{Prefix, families, shared};
use super::reply::stream;
use super::{Continuation, ExtractError, Extraction, Leaf, OnProgress, Progress, Queue, Request, Tokens, Verdict, on_pool, plant};
use crate::kernel::Steps;
use crate::model::{Model, Plan};
use crate::pass::Pass;
use crate::prompt::Prompt;

/// Computes the states a request asks for.
///
/// Rows are grouped into batches: by length where replies follow, else such as begin alike, and what they begin with is run once. A row's
/// states are the same in every batch. A batch for which the memory does not suffice is run again in halves. `on_progress` is called
/// after every block of every pass.
///
/// # Errors
/// [`ExtractError`]; nothing is returned for a cancelled extraction.
pub fn extract(model: &Model, prompts: &[Prompt], request: &Request, on_progress: OnProgress<'_>) -> Result<Extraction, ExtractError> {
    on_pool(|| extracted(model, prompts, request, on_progress))
}

fn extracted(model: &Model, prompts: &[Prompt], request: &Request, on_progress: OnProgress<'_>) -> Result<Extraction, ExtractError> {
    request.check(model, prompts)?;
    let mut run = Run {
        model,
        prompts,
        sink: Sink::new(request, prompts.len(), model.architecture().hidden)?,
        on_progress,
        rows: 0,
        under_way: Vec::new(),
        reply: request.reply_tokens(),
        blocks: request.layers.iter().map(|l| l.blocks(model.architecture().layers as u32) as usize).max().unwrap_or(0),
        prefix: Rc::new(Prefix::default()),
        budget: request.budget(),
    };
    run.read_prefix()?;
    let lengths: Vec<usize> = (0..prompts.len()).map(|row| run.length(row)).collect();
    let own = request.own_of_all(prompts, run.prefix.len());
    let mut queue = request.queue(&lengths, &own, run.budget);
    while let Some(batch) = queue.next() {
        run.begin(&batch);
        if let Err(error) = run.batch(&batch, &mut queue) {
            let rows = std::mem::take(&mut run.under_way);
            run.sink.forget(&rows);
            if let Verdict::LeaveOut(row) = queue.judge(error, rows, request.bad_rows)? {
                run.sink.out.bad.push(row);
                run.rows += 1;
            }
        }
        run.budget = queue.budget();
        run.report()?;
    }
    run.sink.out.memory_retries = queue.memory_retries;
    run.late()?;
    run.sink.out.bad.sort_unstable();
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
    /// Rows begun and not done.
    under_way: Vec<usize>,
    /// How many tokens of a continuation are run at most.
    pub reply: usize,
    /// Blocks needed for the asked layers.
    pub blocks: usize,
    /// What all prompts begin with; it is run once.
    pub prefix: Rc<Prefix>,
    /// Tokens of all rows under way, as far as the memory has turned out to hold them.
    pub budget: usize,
}

impl Request {
    /// How many first tokens of all these prompts are the same and read by nothing: they are run once.
    pub fn shared(&self, prompts: &[Prompt]) -> usize {
        shared(prompts, |prompt| self.unread(prompt))
    }

    /// Prompts in families, each of which is best extracted on its own: its members share a beginning (see [`Request::shared`])
    /// that saves more tokens than are under way at a time. Both ascend. Where replies are exchanged all prompts are one family.
    pub fn families(&self, prompts: &[Prompt]) -> Vec<Vec<usize>> {
        let exchanged = !self.partners.is_empty();
        let own = |prompt: &Prompt| if exchanged { 0 } else { self.unread(prompt) };
        families(prompts, own, self.budget())
    }

    /// A prompt's tokens behind `shared` ones that it begins with as all do.
    pub(super) fn own<'p>(&self, prompt: &'p Prompt, shared: usize) -> Tokens<'p> {
        Tokens { ids: &prompt.ids[shared..], open: self.unread(prompt) - shared }
    }

    /// How many first tokens of a prompt no read-out reads; never all of them.
    fn unread(&self, prompt: &Prompt) -> usize {
        let poolings = self.read_outs.iter().filter(|r| r.offset == 0).map(|r| r.pooling);
        let spoken = &prompt.utterance_tokens;
        let first = |pooling| match pooling {
            Pooling::First | Pooling::PromptMean => 0,
            Pooling::UtteranceMean => spoken.start,
            Pooling::UtteranceLast => spoken.end.saturating_sub(1),
            Pooling::Last => prompt.last(),
        };
        poolings.map(first).min().unwrap_or(prompt.last()).min(prompt.last())
    }
}

impl Run<'_> {
    fn progress(&self) -> Progress {
        Progress { rows: self.rows, tokens: self.sink.out.tokens }
    }

    fn report(&mut self) -> Result<(), ExtractError> {
        let progress = self.progress();
        told(self.on_progress, progress)
    }

    /// Runs the shared beginning of all prompts.
    fn read_prefix(&mut self) -> Result<(), ExtractError> {
        let mut prefix = Prefix::new(self.sink.request.shared(self.prompts));
        if let Some((pass, cache)) = prefix.pass(&self.model.decoder, self.prompts)? {
            let blocks = if self.sink.request.generates() { self.model.decoder.blocks.len() } else { self.blocks };
            let plan = Plan { cache: Some(&cache), store: Some(&[0]), blocks, kept: &[0] };
            self.run(&[], &pass, &plan, &[])?;
            prefix.ran(cache);
        }
        self.prefix = Rc::new(prefix);
        Ok(())
    }

    /// The tokens of a row's prompt that are not shared.
    pub(super) fn own(&self, row: usize) -> &[u32] {
        self.prefix.own(&self.prompts[row])
    }

    /// The tokens of a row that are run, its prompt's own and its continuation's.
    pub(super) fn length(&self, row: usize) -> usize {
        self.own(row).len() + self.reply
    }

    /// Takes note that rows are begun.
    pub(super) fn begin(&mut self, rows: &[usize]) {
        self.under_way.extend(rows);
        if let Some(Continuation::Given(replies)) = &self.sink.request.continuation {
            rows.iter().for_each(|&row| self.sink.out.replies[row].clone_from(&replies[row]));
        }
    }

    /// Takes note that rows are done.
    pub(super) fn done(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        self.under_way.retain(|row| !rows.contains(row));
        self.rows += rows.len();
        self.report()
    }

    fn batch(&mut self, rows: &[usize], queue: &mut Queue<'_>) -> Result<(), ExtractError> {
        let request = self.sink.request;
        if request.continues() {
            return stream(self, rows, queue);
        }
        if request.read_outs.iter().any(|r| r.offset == 0) {
            self.prompts_alone(rows)?;
        }
        self.known(rows, None)?;
        self.done(rows)
    }

    /// What offset 0 reads of the batch's prompts, given where each is in the pass.
    pub(super) fn prompt_wishes(&self, rows: &[usize], leaves: &[Leaf]) -> Result<Vec<Wish>, ExtractError> {
        let (mut wishes, shared) = (Vec::new(), self.prefix.len());
        for (read_out, asked) in self.sink.request.read_outs.iter().enumerate().filter(|(_, r)| r.offset == 0) {
            for (&row, leaf) in rows.iter().zip(leaves) {
                let tokens = pooled(&self.prompts[row], asked.pooling, row)?;
                wishes.push(Wish { read_out, row, tokens: leaf.at(tokens.start - shared..tokens.end - shared) });
            }
        }
        Ok(wishes)
    }

    fn prompts_alone(&mut self, rows: &[usize]) -> Result<(), ExtractError> {
        let (mut pass, prefix) = (Pass::default(), Rc::clone(&self.prefix));
        let tokens: Vec<Tokens<'_>> = rows.iter().map(|&row| self.sink.request.own(&self.prompts[row], prefix.len())).collect();
        let planted = plant(&mut pass, &tokens, &prefix.before());
        let wishes = self.prompt_wishes(rows, &planted.leaves)?;
        let kept = kept(&wishes, []);
        let plan = Plan { cache: prefix.cache(), store: None, blocks: self.blocks, kept: &kept };
        let of: Vec<usize> = planted.rows.iter().map(|&at| rows[at]).collect();
        self.run(&of, &pass, &plan, &wishes).map(|_| ())
    }

    /// Tokens per pass, as far as the memory has turned out to hold them.
    pub(super) fn pass_tokens(&self) -> usize {
        (self.budget / self.sink.request.passes()).max(1)
    }

    /// Runs one pass over sequences of these rows, reads the wished states and reports. Returns the last states shown.
    ///
    /// Where replies are decoded, a state's tokens are the pass's own.
    pub(super) fn run(&mut self, rows: &[usize], pass: &Pass, plan: &Plan<'_>, wishes: &[Wish]) -> Result<Tensor, ExtractError> {
        let progress = self.progress();
        let (sink, on_progress) = (&mut self.sink, &mut *self.on_progress);
        let (later, mut failed) = (self.model.decoder.steps == Steps::Composed, None);
        let states = self.model.decoder.forward(pass, plan, |tap| {
            sink.read(&tap, wishes, plan.kept, later).and_then(|()| told(on_progress, progress)).map_err(|error| {
                failed = Some(error);
                candle_core::Error::Msg("the pass was given up".to_owned())
            })
        });
        if failed.is_some() || states.is_err() {
            sink.drop_waiting();
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let states = states?;
        self.sink.fetch(wishes)?;
        self.sink.count(rows, pass);
        self.report()?;
        Ok(states)
    }
}

/// Tells the progress; a cancel is an error.
pub(crate) fn told(on_progress: OnProgress<'_>, progress: Progress) -> Result<(), ExtractError> {
    match on_progress(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ExtractError::Cancelled { tokens: progress.tokens }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{Device, Tensor};
    use limbic_proto::axis::{Layer, ReadOut};
    use limbic_proto::spec::{self, BadRows, TooLong};

    use super::*;
    use crate::kernel::matrix::Matrix;
    use crate::likelihood::{Labels, label_log_likelihoods};
    use crate::model::Placement;
    use crate::prompt::Prompts;

    /// Two of them twice, one of which is made bad.
    const TEXTS: [&str; 9] =
        ["Oh!", "I miss her.", "What a day", "The meeting is at three.", "I miss the sun", "Why?", "It rains.", "I miss her.", "Why?"];

    fn model(placement: &Placement) -> Model {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-plain");
        Model::load(&fixture, placement).unwrap()
    }

    /// The model with an embedding that is not a number.
    fn poisoned(mut model: Model, token: u32) -> Model {
        let a = &model.decoder.architecture;
        let every: Vec<u32> = (0..a.vocab as u32).collect();
        let mut numbers = model.decoder.embeddings.columns(&every).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        numbers[token as usize * a.hidden..][..a.hidden].fill(f32::NAN);
        model.decoder.embeddings = Matrix::Plain(Tensor::from_vec(numbers, (a.vocab, a.hidden), &Device::Cpu).unwrap().t().unwrap());
        model
    }

    fn run(model: &Model, prompts: &[Prompt], request: &Request) -> Result<Extraction, ExtractError> {
        extract(model, prompts, request, &mut |_| ControlFlow::Continue(()))
    }

    #[test]
    fn poisoned_rows_are_named_or_left_out_and_their_neighbours_stay_as_they_are() {
        // On the CPU a row is alone with its poison; where attention is composed of tensor operations its batch shares it.
        for placement in [Placement::cpu(), Placement::cpu_bf16(), Placement::cpu_composed()] {
            let healthy = model(&placement);
            let prompts = Prompts::new(&healthy, &spec::Prompt::Template("{text}".into()), &TEXTS, 0, TooLong::Error).unwrap().prompts;
            let miss = *prompts[1].ids.iter().find(|id| prompts[4].ids.contains(id) && !prompts[0].ids.contains(id)).unwrap();
            let bad: Vec<usize> = (0..TEXTS.len()).filter(|row| prompts[*row].ids.contains(&miss)).collect();
            assert!([1, 4, 7].iter().all(|row| bad.contains(row)) && bad.len() < 6, "{bad:?}");
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
            let labels = [vec![5]];
            let score = |bad_rows| {
                let asked = Labels { bad_rows, ..Labels::new(&labels) };
                label_log_likelihoods(&poisoned, &prompts, asked, &mut |_| ControlFlow::Continue(()))
            };
            assert!(matches!(score(BadRows::Stop), Err(ExtractError::ScoresNotFinite { row }) if bad.contains(&row)));
            let scored = score(BadRows::Skip).unwrap();
            assert_eq!(scored.bad, bad);
            assert!((0..TEXTS.len()).all(|row| (scored.rows[row] == [0.0]) == bad.contains(&row)));
        }
    }
}
