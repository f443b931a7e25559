//! The states of one read-out, gathered from all shards and parted by the rows' splits.

use limbic_engine::probe::{Matrix, ProbeError};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::Split;

use super::Study;
use crate::execute::ExecuteError;
use crate::inputs::{Inputs, Shard};

/// The rows of one split that have a state.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    /// `[rows, d]`.
    pub(super) x: Vec<f32>,
    /// Their classes.
    pub(super) y: Vec<u32>,
    /// How often each counts.
    pub(super) weights: Vec<f32>,
    /// Which rows of the dataset they are.
    pub(super) rows: Vec<usize>,
}

impl Part {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn matrix(&self, width: usize) -> Result<Matrix<'_>, ProbeError> {
        Matrix::new(&self.x, self.rows.len(), width)
    }
}

/// All splits of one read-out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// The width of a state, d.
    pub(super) width: usize,
    pub(super) train: Part,
    pub(super) validation: Part,
    pub(super) test: Part,
}

impl Parts {
    pub(super) fn of(&mut self, split: Split) -> &mut Part {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

/// How long a row's prompt and reply are.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    prompt: i64,
    reply: i64,
}

/// The shards of one layer.
pub(super) struct States<'a> {
    study: &'a Study<'a>,
    layer: Layer,
    shards: Vec<(Shard<'a>, Vec<Lengths>)>,
}

impl<'a> States<'a> {
    /// Opens the shards; together they must hold exactly the dataset's rows.
    pub(super) fn open(study: &'a Study<'a>, extracts: &[UnitKey], layer: Layer, inputs: &'a Inputs) -> Result<States<'a>, ExecuteError> {
        let mut shards = Vec::new();
        for shard in inputs.shards(extracts)? {
            let (mut prompts, mut replies) = (Vec::new(), Vec::new());
            shard.read_i64("prompt_tokens", &mut prompts)?;
            shard.read_i64("reply_tokens", &mut replies)?;
            if prompts.len() != replies.len() {
                let message = format!("a shard has {} prompts and {} replies", prompts.len(), replies.len());
                return Err(study.mismatch("the states", message));
            }
            let lengths: Vec<Lengths> = prompts.into_iter().zip(replies).map(|(prompt, reply)| Lengths { prompt, reply }).collect();
            shards.push((shard, lengths));
        }
        let (found, expected) = (shards.iter().map(|(_, lengths)| lengths.len()).sum::<usize>(), study.rows().len());
        if found != expected {
            return Err(study.mismatch("the states", format!("the shards hold {found} rows, the dataset has {expected}")));
        }
        Ok(States { study, layer, shards })
    }

    /// Bytes of one read-out's states.
    pub(super) fn bytes_per_read_out(&self) -> usize {
        let width = |shard: &Shard<'_>| self.study.spec.read_outs.first().and_then(|r| shard.width(&r.tensor(self.layer)));
        self.shards.first().and_then(|(shard, _)| width(shard)).unwrap_or(0) * 4 * self.study.rows().len()
    }

    /// Reads the tensors of some read-outs from every shard. Rows that were skipped, or whose reply ended before the
    /// offset, are left out.
    pub(super) fn parts(&self, read_outs: &[ReadOut]) -> Result<Vec<Parts>, ExecuteError> {
        let names: Vec<String> = read_outs.iter().map(|read_out| read_out.tensor(self.layer)).collect();
        let mut all: Vec<Parts> = read_outs.iter().map(|_| Parts::default()).collect();
        let mut first = 0;
        for (shard, lengths) in &self.shards {
            let found = shard.read_f32(&names)?;
            for (((parts, read_out), name), tensor) in all.iter_mut().zip(read_outs).zip(&names).zip(found) {
                let (rows, width) = (tensor.rows, tensor.width);
                if rows != lengths.len() || (parts.width != 0 && width != parts.width) {
                    let message =
                        format!("tensor `{name}` is [{rows}, {width}] in a shard of {} rows and width {}", lengths.len(), parts.width);
                    return Err(self.study.mismatch("the states", message));
                }
                parts.width = width;
                for (at, lengths) in lengths.iter().enumerate() {
                    if lengths.prompt > 0 && lengths.reply >= i64::from(read_out.offset) {
                        let target = &self.study.rows()[first + at];
                        let part = parts.of(target.split);
                        tensor.row(at, &mut part.x);
                        part.y.push(target.class);
                        part.weights.push(target.weight as f32);
                        part.rows.push(first + at);
                    }
                }
            }
            first += lengths.len();
        }
        Ok(all)
    }
}
