//! The axes of a cell: layer, read-out (pooling, offset, context).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One tap into the residual stream.
///
/// `Block(0)` is the embedding output, `Block(l)` the residual stream after block `l` (1..=L), before the final norm;
/// `Final` is the residual stream after block L *after* the final norm. Hugging Face's `hidden_states[l]` equals
/// `Block(l)` for `l < L`, and its last entry equals `Final`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The embedding output (0) or the residual stream after that many blocks.
    Block(u32),
    /// After the final norm.
    Final,
}

impl Layer {
    /// Relative depth in 0..=1 in a model of `layers` blocks; `Final` is at 1.
    pub fn depth(self, layers: u32) -> f64 {
        match self {
            Layer::Block(l) => f64::from(l) / f64::from(layers.max(1)),
            Layer::Final => 1.0,
        }
    }

    /// How many blocks must run before this tap can be read, in a model of `layers` blocks.
    pub fn blocks(self, layers: u32) -> u32 {
        match self {
            Layer::Block(l) => l,
            Layer::Final => layers,
        }
    }

    /// The name of the place that is read: `embedding`, `residual` or `final-norm`.
    pub fn site(self) -> &'static str {
        match self {
            Layer::Block(0) => "embedding",
            Layer::Block(_) => "residual",
            Layer::Final => "final-norm",
        }
    }

    /// Whether the final norm has been applied.
    pub fn normed(self) -> bool {
        self == Layer::Final
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Block(l) => write!(f, "{l}"),
            Layer::Final => f.write_str("final"),
        }
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "final" {
            return Ok(Layer::Final);
        }
        s.parse().map(Layer::Block).map_err(|_| format!("`{s}` is not a layer: write a number (0 = embeddings) or `final`"))
    }
}

impl Serialize for Layer {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Layer::Block(l) => s.serialize_u32(*l),
            Layer::Final => s.serialize_str("final"),
        }
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Layer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a layer number (0 = embeddings) or `final`")
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Layer, E> {
                u32::try_from(v).map(Layer::Block).map_err(|_| E::custom(format!("layer {v} is out of range")))
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Layer, E> {
                u32::try_from(v).map(Layer::Block).map_err(|_| E::custom(format!("layer {v} is out of range")))
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Layer, E> {
                v.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for Layer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Layer".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "0 = embedding output, l = residual stream after block l, `final` = after the final norm.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"const": "final"}]
        })
    }
}

/// Which positions of the prompt a state is read from, at offset 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The last prompt token.
    Last,
    /// The first prompt token.
    First,
    /// The last token of the utterance inside the prompt.
    UtteranceLast,
    /// The mean over the utterance's tokens.
    UtteranceMean,
    /// The mean over all prompt tokens.
    PromptMean,
}

impl Pooling {
    /// The word used in specs, tables and artifact names.
    pub fn as_str(self) -> &'static str {
        match self {
            Pooling::Last => "last",
            Pooling::First => "first",
            Pooling::UtteranceLast => "utterance-last",
            Pooling::UtteranceMean => "utterance-mean",
            Pooling::PromptMean => "prompt-mean",
        }
    }
}

/// What the model sees before the continuation token whose state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// The prompt and the continuation so far.
    Full,
    /// The continuation alone, re-encoded without the prompt: what is left when the prompt can't be attended to.
    MaskedPrompt,
    /// The prompt, followed by the continuation of another row of the same unit: what is left when the reply says nothing
    /// of the utterance.
    ShuffledReply,
    /// The prompt, followed by a fixed text: what the prompt alone carries forward.
    Filler,
}

impl Context {
    /// The word used in specs, tables and artifact names.
    pub fn as_str(self) -> &'static str {
        match self {
            Context::Full => "full",
            Context::MaskedPrompt => "masked-prompt",
            Context::ShuffledReply => "shuffled-reply",
            Context::Filler => "filler",
        }
    }

    /// The artifact tensor that says how many tokens follow each row's prompt in this context. A row has a state at offset k
    /// where they are k or more.
    pub fn lengths(self) -> &'static str {
        match self {
            Context::Full | Context::MaskedPrompt => "reply_tokens",
            Context::ShuffledReply => "reply_tokens.shuffled-reply",
            Context::Filler => "reply_tokens.filler",
        }
    }
}

/// Where, along prompt and continuation, one state per row is read.
///
/// Offset 0 lies in the prompt and is refined by `pooling`; offset k > 0 is the k-th continuation token, where pooling
/// is always [`Pooling::Last`]. Offset 0 has only the full context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOut {
    /// 0 = in the prompt; k = the k-th continuation token.
    pub offset: u32,
    /// Which prompt positions, at offset 0.
    pub pooling: Pooling,
    /// What precedes the token.
    pub context: Context,
}

impl ReadOut {
    /// The state at the last prompt token.
    pub const LAST: ReadOut = ReadOut { offset: 0, pooling: Pooling::Last, context: Context::Full };

    /// The state at the `offset`-th token with nothing masked.
    pub fn at(offset: u32) -> ReadOut {
        ReadOut { offset, ..ReadOut::LAST }
    }

    /// The suffix of this read-out in artifact names, such as `k0`, `k0.utterance-mean`, `k8`, `k8.masked-prompt`.
    pub fn name(self) -> String {
        let mut name = format!("k{}", self.offset);
        if self.pooling != Pooling::Last {
            name = format!("{name}.{}", self.pooling.as_str());
        }
        if self.context != Context::Full {
            name = format!("{name}.{}", self.context.as_str());
        }
        name
    }

    /// The artifact tensor's name at one layer, such as `L12.k8` or `Lfinal.k0`.
    pub fn tensor(self, layer: Layer) -> String {
        format!("L{layer}.{}", self.name())
    }
}
