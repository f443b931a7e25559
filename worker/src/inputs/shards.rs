//! The states of a cell: those of all its shards, several of which are read at once.

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
