//! Reading the wanted states out of a pass, layer by layer.

use std::ops::Range;

use candle_core::{DType, Tensor};
use limbic_proto::axis::{Layer, Pooling, ReadOut};

use super::{ExtractError, Extraction, Request, States};
use crate::kernel::{pick, rows};
use crate::model::Tap;
use crate::pass::Pass;
use crate::prompt::Prompt;

/// One state to read: the mean over a range of a pass's tokens (a single token is its own mean).
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Index among the request's read-outs.
    pub read_out: usize,
    /// Index among the prompts.
    pub row: usize,
    /// Tokens of the pass.
    pub tokens: Range<usize>,
}

/// Where the states go.
pub(super) struct Sink<'a> {
    pub request: &'a Request,
    pub out: Extraction,
    /// How many tokens of every row were run.
    ran: Vec<u64>,
    /// States of the pass under way that are still on the device, by the number of their layer.
    waiting: Vec<(usize, Tensor)>,
}

/// Numbers that wait on a device before they are copied together; in f32 they are 128 MiB.
const WAITING: usize = 1 << 25;

impl<'a> Sink<'a> {
    pub(super) fn new(request: &'a Request, rows: usize, width: usize) -> Result<Sink<'a>, ExtractError> {
        let empty = |(layer, read_out): (Layer, ReadOut)| {
            let mut values = Vec::new();
            values.try_reserve_exact(rows * width).map_err(|e| ExtractError::OutOfMemory {
                what: format!("for the states of {rows} rows at {} layers and read-outs", request.layers.len() * request.read_outs.len()),
                message: e.to_string(),
            })?;
            values.resize(rows * width, 0.0);
            Ok(States { layer, read_out, values })
        };
        let all = request.layers.iter().flat_map(|&l| request.read_outs.iter().map(move |&r| (l, r)));
        let states = all.map(empty).collect::<Result<_, ExtractError>>()?;
        let (replies, none) = (vec![Vec::new(); rows], vec![0; rows]);
        let out = Extraction { width, states, replies, shuffled: none.clone(), fillers: none, ..Extraction::default() };
        Ok(Sink { request, out, ran: vec![0; rows], waiting: Vec::new() })
    }

    /// Counts a pass's tokens. Its sequences are of these rows; without rows it was run for all.
    pub(super) fn count(&mut self, rows: &[usize], pass: &Pass) {
        self.out.tokens += pass.tokens.len() as u64;
        for (&row, sequence) in rows.iter().zip(&pass.sequences) {
            self.ran[row] += sequence.len as u64;
        }
    }

    /// Takes back what rows that are not done have left.
    pub(super) fn forget(&mut self, rows: &[usize]) {
        let width = self.out.width;
        for &row in rows {
            self.out.tokens -= std::mem::take(&mut self.ran[row]);
            self.out.replies[row].clear();
            (self.out.shuffled[row], self.out.fillers[row]) = (0, 0);
            self.out.states.iter_mut().for_each(|states| states.values[row * width..][..width].fill(0.0));
        }
    }

    /// Copies what `wishes` name out of one layer's states; where it is `later`, they wait on the device for [`Sink::fetch`], for a GPU
    /// stands still while it is asked for numbers.
    ///
    /// `kept` are the token indices that are left where the tap has only those.
    pub(super) fn read(&mut self, tap: &Tap<'_>, wishes: &[Wish], kept: &[u32], later: bool) -> Result<(), ExtractError> {
        let Some(layer) = self.request.layers.iter().position(|l| *l == tap.layer) else { return Ok(()) };
        if wishes.is_empty() {
            return Ok(());
        }
        let tokens = self::kept(wishes, []);
        let at = |t: u32| if tap.kept_only { kept.binary_search(&t).unwrap_or(0) as u32 } else { t };
        let places: Vec<u32> = tokens.iter().map(|&t| at(t)).collect();
        if !later {
            return self.take(layer, wishes, &tokens, &rows(tap.states, &places)?);
        }
        self.waiting.push((layer, pick(tap.states, &places)?));
        if self.waiting.len() * tokens.len() * self.out.width < WAITING { Ok(()) } else { self.fetch(wishes) }
    }

    /// Copies the states that wait.
    pub(super) fn fetch(&mut self, wishes: &[Wish]) -> Result<(), ExtractError> {
        let (layers, states): (Vec<usize>, Vec<Tensor>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        if states.is_empty() {
            return Ok(());
        }
        let tokens = kept(wishes, []);
        let numbers = Tensor::cat(&states, 0)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let of_layers = numbers.chunks_exact(tokens.len() * self.out.width);
        layers.into_iter().zip(of_layers).try_for_each(|(layer, numbers)| self.take(layer, wishes, &tokens, numbers))
    }

    /// Forgets the states that wait: their pass failed.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Puts one layer's states of these tokens, `[tokens, d]`, to where the wishes want them.
    fn take(&mut self, layer: usize, wishes: &[Wish], tokens: &[u32], numbers: &[f32]) -> Result<(), ExtractError> {
        let width = self.out.width;
        for wish in wishes {
            let states = &mut self.out.states[layer * self.request.read_outs.len() + wish.read_out];
            let target = &mut states.values[wish.row * width..][..width];
            let first = tokens.binary_search(&(wish.tokens.start as u32)).unwrap_or(0);
            mean(&numbers[first * width..][..wish.tokens.len() * width], target);
            if !target.iter().all(|x| x.is_finite()) {
                return Err(ExtractError::NotFinite { row: wish.row, layer: states.layer, read_out: states.read_out });
            }
        }
        Ok(())
    }
}

/// The mean of the rows of `numbers` [n, d], summed in f64.
fn mean(numbers: &[f32], target: &mut [f32]) {
    let width = target.len();
    if numbers.len() == width {
        target.copy_from_slice(numbers);
        return;
    }
    let mut sums = vec![0f64; width];
    for row in numbers.chunks_exact(width) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += f64::from(*x);
        }
    }
    let count = (numbers.len() / width) as f64;
    for (target, sum) in target.iter_mut().zip(sums) {
        *target = (sum / count) as f32;
    }
}

/// The tokens of a prompt that a pooling reads.
pub(super) fn pooled(prompt: &Prompt, pooling: Pooling, row: usize) -> Result<Range<usize>, ExtractError> {
    let (last, spoken) = (prompt.last(), prompt.utterance_tokens.clone());
    let needs_utterance = matches!(pooling, Pooling::UtteranceLast | Pooling::UtteranceMean);
    if needs_utterance && spoken.is_empty() {
        return Err(ExtractError::NoUtterance { row, pooling: pooling.as_str() });
    }
    Ok(match pooling {
        Pooling::Last => last..last + 1,
        Pooling::First => 0..1,
        Pooling::UtteranceLast => spoken.end - 1..spoken.end,
        Pooling::UtteranceMean => spoken,
        Pooling::PromptMean => 0..last + 1,
    })
}

/// All tokens that wishes read and `extra` ones, ascending, each once.
pub(super) fn kept(wishes: &[Wish], extra: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let mut all: Vec<u32> = wishes.iter().flat_map(|w| w.tokens.clone()).chain(extra).map(|t| t as u32).collect();
    all.sort_unstable();
    all.dedup();
    all
}
