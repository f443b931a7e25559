//! The files of a dataset: one, several in a row, or those of each split.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rows::Split;

/// Where the rows lie. In a spec: a string, a list of strings, or a map such as `{train: a.parquet, test: b.parquet}` whose
/// values are strings or lists of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// Files that are read one after the other, as if they were one.
    Files(Vec<String>),
    /// Files whose rows are all of one split.
    Splits(BTreeMap<Split, Vec<String>>),
}

impl Sources {
    /// All files in the order in which they are read, each with the split that its rows belong to, if that is said.
    pub fn files(&self) -> Vec<(Option<Split>, &str)> {
        match self {
            Sources::Files(files) => files.iter().map(|file| (None, file.as_str())).collect(),
            Sources::Splits(splits) => {
                splits.iter().flat_map(|(split, files)| files.iter().map(|file| (Some(*split), file.as_str()))).collect()
            }
        }
    }

    /// Changes every address, for instance from a relative to an absolute one.
    pub fn relocate(&mut self, change: impl FnMut(&mut String)) {
        match self {
            Sources::Files(files) => files.iter_mut().for_each(change),
            Sources::Splits(splits) => splits.values_mut().flatten().for_each(change),
        }
    }
}

impl From<&str> for Sources {
    fn from(file: &str) -> Sources {
        Sources::Files(vec![file.to_owned()])
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&str> = self.files().into_iter().map(|(_, file)| file).collect();
        f.write_str(&files.join(", "))
    }
}

/// A string, or a list of them.
struct Several(Vec<String>);

impl Serialize for Several {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // One file is written as it always was.
        if let [one] = self.0.as_slice() { s.serialize_str(one) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Several;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or URL, or a list of them")
            }
            fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<Several, E> {
                Ok(Several(vec![file.to_owned()]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Several, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Several)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl Serialize for Sources {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Sources::Files(files) => Several(files.clone()).serialize(s),
            Sources::Splits(splits) => s.collect_map(splits.iter().map(|(split, files)| (split, Several(files.clone())))),
        }
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Sources;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or URL, a list of them, or {train: …, validation: …, test: …}")
            }
            fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<Sources, E> {
                Ok(Sources::from(file))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Sources, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Sources::Files)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Sources, A::Error> {
                let mut splits = BTreeMap::new();
                while let Some((split, Several(files))) = map.next_entry::<Split, Several>()? {
                    splits.insert(split, files);
                }
                Ok(Sources::Splits(splits))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for Sources {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sources".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let files = serde_json::json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]});
        schemars::json_schema!({
            "description": "One file, several that are read one after the other, or those of each split.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {
                    "type": "object",
                    "properties": {"train": files, "validation": files, "test": files},
                    "required": ["train", "test"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_written_as_it_always_was_and_every_form_survives_its_text() {
        let read = |text: &str| serde_json::from_str::<Sources>(text).unwrap();
        assert_eq!(read(r#""a.csv""#), Sources::from("a.csv"));
        for text in [r#""a.csv""#, r#"["a.csv","b.csv"]"#, r#"{"train":["a","b"],"test":"c"}"#] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
        assert_eq!(
            read(r#"{"test":"c","train":["a","b"]}"#).files(),
            [(Some(Split::Train), "a"), (Some(Split::Train), "b"), (Some(Split::Test), "c")]
        );
        assert!(serde_json::from_str::<Sources>("3").unwrap_err().to_string().contains("a path or URL, a list of them"));
        assert!(serde_json::from_str::<Sources>(r#"{"dev":"x"}"#).unwrap_err().to_string().contains("train"));
    }
}
