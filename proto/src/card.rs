//! What the file of a saved probe says of it: everything that is needed to read new texts with it.

use serde::{Deserialize, Serialize};

use crate::axis::{Layer, ReadOut};
use crate::key::Digest;
use crate::rows::Scheme;
use crate::spec::{Dtype, Prompt};

/// The key under which a probe's file (safetensors) has its [`ProbeCard`] as JSON, in the metadata. The file's tensors are
/// those of the fit's weights, without the fit's name before theirs.
pub const CARD: &str = "limbic.probe";

/// A saved probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeCard {
    /// What kind of probe it is: `logistic`, `mlp`, …
    pub probe: String,
    /// The fit's name in its unit, such as `logistic.k0.s0`.
    pub fit: String,
    /// The sweep it comes from.
    pub sweep: String,
    /// The unit that fitted it.
    pub unit: String,
    /// What its labels are.
    pub scheme: Scheme,
    /// The classes or scales, in the order of its outputs.
    pub classes: Vec<String>,
    /// The model's name in tables.
    pub model: String,
    /// Where the model's files are.
    pub source: String,
    /// The model's digest; states of other weights mean nothing to the probe.
    pub digest: Digest,
    /// The number format that the states were computed in.
    pub dtype: Dtype,
    /// The seed of random weights that take the place of those in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<u64>,
    /// The condition's name.
    pub condition: String,
    /// How texts become prompts.
    pub prompt: Prompt,
    /// The layer whose states it reads.
    pub layer: Layer,
    /// Where in prompt and reply it was fitted.
    pub read_out: ReadOut,
}
