//! Commits: the immutable objects that say what became of a unit. Done-ness is the commit and nothing else.
//!
//! A unit's commits form a chain of links, each created once and never overwritten or deleted. Link 2g is the result of
//! generation g ([`Commit::Done`] or [`Commit::Split`]); link 2g + 1 voids it ([`Commit::Void`]): its artifacts were found
//! corrupt, or somebody asked for it again. The highest link decides: even, the unit is committed; odd (or no link at
//! all), it is to be computed in [`generation`] of it. Old results stay addressable, and a missing link below the highest
//! means nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::key::{Digest, UnitKey};

/// The body of one link: `commit/{hh}/{unit}` or `commit/{hh}/{unit}.{link}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Commit {
    /// The attempt whose artifacts are the unit's result.
    Done(Done),
    /// The unit was split; its result is its children's.
    Split {
        /// Drawn at random: whose create won.
        nonce: String,
        /// The units that replace it, in row order.
        children: Vec<UnitKey>,
    },
    /// The result of the link before is not to be used any more.
    Void {
        /// Drawn at random: whose create won.
        nonce: String,
        /// Why.
        reason: String,
    },
}

/// A result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Drawn at random: whose create won.
    pub nonce: String,
    /// The attempt.
    pub attempt: String,
    /// Its artifacts.
    pub artifacts: Vec<Artifact>,
    /// Where and how it was computed.
    pub provenance: Provenance,
}

/// One immutable object under `data/{hh}/{unit}/{attempt}/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// The digest of its bytes.
    pub blake3: Digest,
    /// Of a safetensors file: the digest of its header with the length before it. The header holds the digest of every
    /// tensor, so that each can be read alone and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Digest>,
}

/// Where and how a result was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The worker's id.
    pub worker: String,
    /// Version of the software.
    pub software: String,
    /// `cpu`, `cuda:0`, …
    pub device: String,
    /// Seconds of work, without waiting and uploading.
    pub seconds: f64,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Further counts: `skipped_rows`, …
    pub counts: BTreeMap<String, u64>,
}

/// The link of a generation's result.
pub fn result(generation: u32) -> u32 {
    2 * generation
}

/// The link that voids a generation's result.
pub fn void(generation: u32) -> u32 {
    2 * generation + 1
}

/// Whether a unit is committed whose highest link this is.
pub fn stands(highest: u32) -> bool {
    highest.is_multiple_of(2)
}

/// The generation that a unit is in whose highest link this is: of the result that stands, or of the next attempt.
pub fn generation(highest: u32) -> u32 {
    highest.div_ceil(2)
}

impl Commit {
    /// The nonce of whoever created the object.
    pub fn nonce(&self) -> &str {
        match self {
            Commit::Done(done) => &done.nonce,
            Commit::Split { nonce, .. } | Commit::Void { nonce, .. } => nonce,
        }
    }
}

impl Done {
    /// The artifact of that name.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|a| a.name == name)
    }
}
