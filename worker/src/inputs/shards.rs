//! The states of a cell: those of all its shards, several of which are read at once.

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::unit::STATES;

use super::{InputError, Inputs, Matrix, Shard};

/// The committed states of consecutive rows, shard after shard.
///
/// Tensors come shard by shard, in the order of the rows, while those of the next shards are on their way. Beside the
/// tensors that are taken, a window of 64 MiB is in memory at most, or one shard's tensors where these are larger.
#[derive(Debug)]
pub struct Shards<'a> {
    inputs: &'a Inputs,
    shards: Vec<Shard<'a>>,
}

/// How long the prompts of a shard's rows are, and what follows them.
#[derive(Debug, Clone)]
pub struct Lengths {
    prompts: Vec<i64>,
    replies: Vec<(Context, Vec<i64>)>,
}

impl Lengths {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.prompts.len()
    }

    /// Whether a row has a state at a read-out: it was not skipped, and what follows its prompt goes as far as the offset.
    pub fn reach(&self, row: usize, read_out: ReadOut) -> bool {
        let follows = |(context, lengths): &(Context, Vec<i64>)| *context == read_out.context && lengths[row] >= i64::from(read_out.offset);
        self.prompts[row] > 0 && (read_out.offset == 0 || self.replies.iter().any(follows))
    }
}

impl Inputs {
    /// The committed states of these units, in order; a unit that was split stands for its children.
    ///
    /// # Errors
    /// One of them has no result, or its artifact can't be read.
    pub fn shards(&self, extracts: &[UnitKey]) -> Result<Shards<'_>, InputError> {
        let results = self.results(extracts)?;
        let artifacts = results.iter().filter_map(|(_, done)| done.artifact(STATES));
        let largest = artifacts.map(|artifact| Shard::bytes_to_open(self, artifact)).max().unwrap_or(0);
        let opened = self.in_order(results.into_iter().map(|(of, done)| Shard::open(self, of, done, STATES)), largest);
        Ok(Shards { inputs: self, shards: opened.collect::<Result<_, _>>()? })
    }
}

impl Shards<'_> {
    /// How many shards there are.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// How many shards have a tensor of that name.
    pub fn having(&self, name: &str) -> usize {
        self.shards.iter().filter(|shard| shard.has(name)).count()
    }

    /// The second axis of a tensor in the first shard, if that has such a tensor with two axes.
    pub fn width(&self, name: &str) -> Option<usize> {
        self.shards.first()?.width(name)
    }

    /// Bytes that reading these tensors of one shard takes at most.
    fn largest(&self, names: &[String]) -> u64 {
        self.shards.iter().map(|shard| shard.bytes_to_read(names)).max().unwrap_or(0)
    }

    /// Of each shard, which of its rows have a state at these read-outs.
    ///
    /// # Errors
    /// The shards don't say, or it can't be read.
    pub fn lengths(&self, read_outs: &[ReadOut]) -> Result<Vec<Lengths>, InputError> {
        let contexts: BTreeSet<Context> = read_outs.iter().filter(|r| r.offset > 0).map(|r| r.context).collect();
        let names: Vec<String> = ["prompt_tokens"].into_iter().chain(contexts.iter().map(|c| c.lengths())).map(str::to_owned).collect();
        let of_shard = |(numbers, shard): (Result<Vec<Vec<i64>>, InputError>, &Shard<'_>)| {
            let mut numbers = numbers?.into_iter();
            let prompts = numbers.next().expect("a tensor for each name");
            let replies: Vec<(Context, Vec<i64>)> = contexts.iter().copied().zip(numbers).collect();
            match replies.iter().find(|(_, lengths)| lengths.len() != prompts.len()) {
                None => Ok(Lengths { prompts, replies }),
                Some((context, lengths)) => {
                    Err(shard.malformed(format!("it has {} prompts and {} `{}`", prompts.len(), lengths.len(), context.lengths())))
                }
            }
        };
        self.read_i64(&names).zip(&self.shards).map(of_shard).collect()
    }

    /// Of each shard F32 tensors `[rows, d]`, in the order of their names.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_f32(&self, names: &[String]) -> impl Iterator<Item = Result<Vec<Matrix>, InputError>> {
        self.inputs.in_order(self.shards.iter().map(|shard| shard.read_f32(names)), self.largest(names))
    }

    /// Of each shard F64 tensors, in the order of their names.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_f64(&self, names: &[String]) -> impl Iterator<Item = Result<Vec<Vec<f64>>, InputError>> {
        self.inputs.in_order(self.shards.iter().map(|shard| shard.read_f64(names)), self.largest(names))
    }

    /// Of each shard I64 tensors, in the order of their names.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn read_i64(&self, names: &[String]) -> impl Iterator<Item = Result<Vec<Vec<i64>>, InputError>> {
        self.inputs.in_order(self.shards.iter().map(|shard| shard.read_i64(names)), self.largest(names))
    }
}

#[cfg(test)]
mod tests;
