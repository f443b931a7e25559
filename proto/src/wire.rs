//! The services on the wire, generated from `limbic/v1/*.proto`, and the one place where their bytes are judged.

#[allow(missing_docs, clippy::all, rust_2018_idioms)]
mod generated {
    tonic::include_proto!("limbic.v1");
}

pub use generated::*;

use std::collections::BTreeMap;

use crate::key::UnitKey;
use crate::unit::Unit;

/// The file descriptors of all services, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("limbic");

/// Both sides of a session must have the same one; raised with every incompatible change.
pub const PROTOCOL: u32 = 3;

/// The largest message between a worker and its coordinator: a unit of a sweep with very many shards names each of them.
pub const LARGEST_MESSAGE: usize = 64 << 20;

/// A message that doesn't mean anything to us.
#[derive(Debug, thiserror::Error)]
#[error("{message}: {what} (is the other side another version of Limbic?)")]
pub struct WireError {
    /// The message and field.
    message: &'static str,
    /// What was found.
    what: String,
}

impl Grant {
    /// A grant of that unit in a generation; `inputs` are its dependencies whose generation is not 0.
    pub fn of(unit: &Unit, sweep: &str, attempt: &str, token: Token, generation: u32, inputs: &[(UnitKey, u32)]) -> Grant {
        let input = |(key, generation): &(UnitKey, u32)| Input { key: key.hex(), generation: *generation };
        Grant {
            generation,
            inputs: inputs.iter().map(input).collect(),
            sweep: sweep.to_owned(),
            attempt: attempt.to_owned(),
            token: Some(token),
            unit: serde_json::to_vec(unit).expect("a unit serializes"),
            key: unit.spec.key().hex(),
        }
    }

    /// The unit, judged: its key must be the one that was sent.
    ///
    /// # Errors
    /// Bytes that are not a unit, or not the unit that the key names.
    pub fn unit(&self) -> Result<Unit, WireError> {
        let unit: Unit = serde_json::from_slice(&self.unit).map_err(|e| WireError { message: "Grant.unit", what: e.to_string() })?;
        let key = unit.spec.key().hex();
        if key != self.key {
            return Err(WireError { message: "Grant.key", what: format!("is {}, but the unit's content gives {key}", self.key) });
        }
        Ok(unit)
    }

    /// The generation of each dependency that is not in generation 0.
    ///
    /// # Errors
    /// A key that is none.
    pub fn generations(&self) -> Result<BTreeMap<UnitKey, u32>, WireError> {
        let of = |input: &Input| match input.key.parse() {
            Ok(key) => Ok((key, input.generation)),
            Err(what) => Err(WireError { message: "Grant.inputs", what }),
        };
        self.inputs.iter().map(of).collect()
    }
}
