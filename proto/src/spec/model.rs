//! The model part of a spec: which models, which layers of them.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::axis::Layer;

/// One model to probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// A folder in Hugging Face layout, a `.gguf` file, or `hf://OWNER/NAME[@REVISION][/FILE.gguf]`.
    pub source: String,
    /// The name in tables and figures; the default is the last part of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number format of weights and activations.
    #[serde(default)]
    pub dtype: Dtype,
    /// Weights drawn at random with this seed instead of the trained ones: the same architecture and tokenizer, without what
    /// training taught. The control `random-weights` adds such a twin of every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<u64>,
}

impl ModelSpec {
    /// The name in tables and figures.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let tail = self.source.trim_end_matches('/').rsplit('/').next().unwrap_or(&self.source);
        let name = tail.strip_suffix(".gguf").unwrap_or(tail).split('@').next().unwrap_or(tail).to_owned();
        if self.random_weights.is_some() { format!("{name}-random") } else { name }
    }

    /// The model's twin of random weights.
    #[must_use]
    pub fn twin(&self, seed: u64) -> ModelSpec {
        ModelSpec { name: Some(format!("{}-random", self.name())), random_weights: Some(seed), ..self.clone() }
    }
}

/// The number format of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats: the reference, and the default.
    #[default]
    F32,
    /// bfloat16: on GPUs weights and activations, on CPUs the factors of matrix products, whose sums and everything else are
    /// 32-bit floats. Faster where the device has instructions for it (on CPUs AVX512-BF16), and in half the memory.
    /// `docs/performance.md` says how far results are from f32.
    Bf16,
}

impl Dtype {
    /// The word used in specs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 => 2,
        }
    }
}

/// Which layers of each model.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum LayerSelector {
    /// 0..=L and `final`.
    #[default]
    All,
    /// These.
    List(Vec<Layer>),
    /// 0, n, 2n, … and L.
    Every(u32),
    /// The layers round(f*L), and `final` where it is named.
    Depth(Vec<Depth>),
}

/// A place in a model of any size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Depth {
    /// A share of the blocks, in 0..=1.
    Share(f64),
    /// After the final norm.
    Final,
}

impl Serialize for Depth {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Depth::Share(share) => s.serialize_f64(*share),
            Depth::Final => Layer::Final.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Depth;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share of the blocks in 0..1, or `final`")
            }
            fn visit_f64<E: serde::de::Error>(self, share: f64) -> Result<Depth, E> {
                Ok(Depth::Share(share))
            }
            fn visit_u64<E: serde::de::Error>(self, share: u64) -> Result<Depth, E> {
                Ok(Depth::Share(share as f64))
            }
            fn visit_i64<E: serde::de::Error>(self, share: i64) -> Result<Depth, E> {
                Ok(Depth::Share(share as f64))
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Depth, E> {
                match word {
                    "final" => Ok(Depth::Final),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl Depth {
    fn layer(self, layers: u32) -> Layer {
        match self {
            Depth::Share(share) => Layer::Block((share * f64::from(layers)).round() as u32),
            Depth::Final => Layer::Final,
        }
    }

    fn fits(&self) -> bool {
        matches!(self, Depth::Final) || matches!(self, Depth::Share(share) if (0.0..=1.0).contains(share))
    }
}

impl LayerSelector {
    /// The layers in a model of `layers` blocks, ascending, each once.
    ///
    /// # Errors
    /// The first listed layer that the model doesn't have.
    pub fn resolve(&self, layers: u32) -> Result<Vec<Layer>, Layer> {
        let set: BTreeSet<Layer> = match self {
            LayerSelector::All => (0..=layers).map(Layer::Block).chain([Layer::Final]).collect(),
            LayerSelector::List(list) => {
                if let Some(&bad) = list.iter().find(|l| matches!(l, Layer::Block(b) if *b > layers)) {
                    return Err(bad);
                }
                list.iter().copied().collect()
            }
            LayerSelector::Every(n) => (0..=layers).step_by(*n as usize).chain([layers]).map(Layer::Block).collect(),
            LayerSelector::Depth(depths) => depths.iter().map(|depth| depth.layer(layers)).collect(),
        };
        Ok(set.into_iter().collect())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
struct LayerRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<Vec<Depth>>,
}

impl Serialize for LayerSelector {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            LayerSelector::All => s.serialize_str("all"),
            LayerSelector::List(list) => list.serialize(s),
            LayerSelector::Every(n) => LayerRule { every: Some(*n), depth: None }.serialize(s),
            LayerSelector::Depth(f) => LayerRule { every: None, depth: Some(f.clone()) }.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for LayerSelector {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = LayerSelector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, a list of layers, {every: N} or {depth: [0, 0.5, 1]}")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<LayerSelector, E> {
                if v == "all" { Ok(LayerSelector::All) } else { Err(E::invalid_value(serde::de::Unexpected::Str(v), &self)) }
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<LayerSelector, A::Error> {
                let mut list = Vec::new();
                while let Some(layer) = seq.next_element()? {
                    list.push(layer);
                }
                Ok(LayerSelector::List(list))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<LayerSelector, A::Error> {
                let rule = LayerRule::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                match (rule.every, rule.depth) {
                    (Some(n), None) if n > 0 => Ok(LayerSelector::Every(n)),
                    (None, Some(f)) if !f.is_empty() && f.iter().all(Depth::fits) => Ok(LayerSelector::Depth(f)),
                    _ => Err(serde::de::Error::custom(
                        "layers: write either `every: N` with N >= 1 or `depth: [..]` with shares in 0..1, and `final` if you like",
                    )),
                }
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for LayerSelector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LayerSelector".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let layer = generator.subschema_for::<Layer>();
        schemars::json_schema!({
            "description": "Which layers of each model.",
            "anyOf": [
                {"const": "all"},
                {"type": "array", "items": layer, "minItems": 1},
                {"type": "object", "properties": {"every": {"type": "integer", "minimum": 1}}, "required": ["every"], "additionalProperties": false},
                {"type": "object", "properties": {"depth": {"type": "array", "items": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"const": "final"}]}, "minItems": 1}}, "required": ["depth"], "additionalProperties": false}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_choose_layers_in_models_of_any_size() {
        let read = |text: &str| serde_json::from_str::<LayerSelector>(text);
        let chosen = read(r#"{"depth":[0,0.25,0.5,0.75,1,"final"]}"#).unwrap();
        let blocks = |numbers: &[u32]| numbers.iter().map(|n| Layer::Block(*n)).chain([Layer::Final]).collect::<Vec<_>>();
        assert_eq!(chosen.resolve(36).unwrap(), blocks(&[0, 9, 18, 27, 36]), "the study's layers of Qwen3-4B, and what it calls its last");
        assert_eq!(chosen.resolve(2).unwrap(), blocks(&[0, 1, 2]));
        // What specs said before `final` could be among them is written as it was.
        assert_eq!(serde_json::to_string(&read(r#"{"depth":[0.0,0.5]}"#).unwrap()).unwrap(), r#"{"depth":[0.0,0.5]}"#);
        assert_eq!(read(&serde_json::to_string(&chosen).unwrap()).unwrap(), chosen);
        for bad in [r#"{"depth":[]}"#, r#"{"depth":[1.5]}"#, r#"{"depth":["last"]}"#, r#"{"depth":[0.5],"every":2}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
