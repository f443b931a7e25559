//! What follows the prompt: replies, or a text in their place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::axis::Context;

/// What follows the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// How many tokens; the default is the largest asked offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// Sampling temperature; 0 = greedy (the default).
    #[serde(default)]
    pub temperature: f64,
    /// Seed of sampling, by default 0; each row's own seed is derived from it, the row's id and the condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Seeds of sampling instead of one `seed`: every prompt gets as many replies, and what is read of a reply is computed
    /// for each. A unit has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub seeds: Vec<u64>,
    /// A fixed text. With `filler` among the controls it follows every prompt in that control; without, it follows every
    /// prompt instead of a generated reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filler: Option<String>,
    /// Whether a reply ends at the model's end-of-sequence token; rows that ended before offset k are left out at k.
    #[serde(default = "super::yes")]
    pub stop_at_eos: bool,
    /// Further contexts in which the same continuation is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Context>,
}

/// Seeds, of which a list that is written down has at least one.
fn one_or_more<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<u64>, D::Error> {
    let seeds = Vec::deserialize(d)?;
    if seeds.is_empty() {
        return Err(serde::de::Error::custom("`seeds` is empty: leave it out for `seed: 0`"));
    }
    Ok(seeds)
}

impl Continuation {
    /// Whether the model writes replies that depend on a seed.
    pub fn sampled(&self) -> bool {
        self.instead().is_none() && self.temperature > 0.0
    }

    /// The seeds of sampling, in the spec's order; at least one.
    pub fn sampling_seeds(&self) -> Vec<u64> {
        if self.seeds.is_empty() { vec![self.seed.unwrap_or_default()] } else { self.seeds.clone() }
    }

    /// Writes one seed, said or not, in the one way in which sweep ids have it: as `seed`.
    pub fn settle(&mut self) {
        if let [seed] = self.sampling_seeds()[..] {
            (self.seed, self.seeds) = (Some(seed), Vec::new());
        }
    }

    /// The text that takes the place of a reply; none where the model replies.
    pub fn instead(&self) -> Option<&str> {
        if self.controls.contains(&Context::Filler) { None } else { self.filler.as_deref() }
    }
}
