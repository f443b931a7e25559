//! Who judges replies, and what is asked.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Finding, finding, unique};

/// The judging of replies: models of the sweep are asked which label each reply expresses. Their likelihood of each answer is
/// the verdict. Words for the labels are those of `zero_shot.answers`. Without `model` and `models` the largest trained model
/// judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Judge {
    /// The name of a single judging model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Several judging models in its place: a list of names, or `all` that are trained. Those that a sweep is extended by judge
    /// what it has replied so far, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Judges>,
    /// The question, with `{text}` (the reply) and `{labels}`.
    pub question: String,
    /// Whether the question is put as a chat message where the judge has a chat template.
    pub chat: bool,
    /// Texts without content, by which likelihoods are calibrated as those of zero-shot are (Zhao et al. 2021: divided by the mean
    /// likelihood after the question about such texts); the default is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub content_free: Vec<String>,
    /// The conditions whose replies are judged; the default is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

impl Default for Judge {
    fn default() -> Self {
        let question = "Reply: {text}\n\nWhich emotion does this reply express: {labels}?".to_owned();
        Judge { model: None, models: None, question, chat: true, content_free: Vec::new(), conditions: Vec::new() }
    }
}

impl Judge {
    /// The same questions, whoever is asked them.
    pub(super) fn by_anybody(&self) -> Judge {
        Judge { model: None, models: None, ..self.clone() }
    }

    /// Who judges must be said in one way, and be of the sweep's models.
    pub(super) fn check_models(&self, models: &[String]) -> Result<(), Finding> {
        let (field, named) = match (&self.model, &self.models) {
            (Some(model), Some(_)) => {
                return finding(
                    "judge.models",
                    format!("can't stand beside `judge.model: {model}`: name every judge in `models`, and drop `model`"),
                );
            }
            (_, Some(Judges::Named(names))) if names.is_empty() => {
                return finding("judge.models", "is empty: name a model, or write `all`; without it the largest judges");
            }
            (_, Some(Judges::Named(names))) => ("judge.models", names.iter().collect()),
            (_, Some(Judges::All)) => return Ok(()),
            (model, None) => ("judge.model", model.iter().collect::<Vec<_>>()),
        };
        unique(field, "model", &named)?;
        match named.into_iter().find(|name| !models.contains(name)) {
            Some(unknown) => finding(field, format!("`{unknown}` is none of the sweep's models")),
            None => Ok(()),
        }
    }
}

/// Several judging models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judges {
    /// Every model of the sweep that is trained.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Serialize for Judges {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Judges::All => s.serialize_str("all"),
            Judges::Named(names) => names.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Judges {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Judges;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of models' names")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Judges, E> {
                if v == "all" { Ok(Judges::All) } else { Err(E::invalid_value(serde::de::Unexpected::Str(v), &self)) }
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Judges, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Judges::Named(names))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for Judges {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Judges".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Several judging models.",
            "anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Spec;
    use super::*;

    fn read(judge: &str) -> Result<Spec, String> {
        let text = format!(
            "dataset: {{source: rows.jsonl}}\nmodels: [{{source: a}}, {{source: b}}]\noffsets: [0, 2]\ncontinuation: {{}}\njudge: {judge}\n"
        );
        Spec::from_yaml(&text, Path::new("s.yaml")).map_err(|e| e.to_string())
    }

    #[test]
    fn one_judge_is_written_as_it_was_before_there_could_be_several() {
        let text = |judge: &str| serde_json::to_string(&read(judge).unwrap().judge).unwrap();
        let question = r#""question":"Reply: {text}\n\nWhich emotion does this reply express: {labels}?","chat":true}"#;
        assert_eq!(text("{}"), format!("{{{question}"));
        assert_eq!(text("{model: b}"), format!("{{\"model\":\"b\",{question}"));
        assert_eq!(text("{models: [b, a]}"), format!("{{\"models\":[\"b\",\"a\"],{question}"));
        for judge in ["{models: all}", "{models: [b]}", "{model: a, conditions: [raw]}", "{content_free: [N/A, '']}"] {
            let judge = read(judge).unwrap().judge;
            assert_eq!(serde_json::from_str::<Option<Judge>>(&serde_json::to_string(&judge).unwrap()).unwrap(), judge);
        }
    }

    #[test]
    fn who_judges_is_said_once_and_in_one_way() {
        let says = |judge: &str, words: &[&str]| {
            let message = read(judge).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{judge}: {message}");
        };
        says("{model: a, models: [a, b]}", &["judge.models: can't stand beside `judge.model: a`", "drop `model`"]);
        says("{model: a, models: all}", &["judge.models: can't stand beside"]);
        says("{models: []}", &["judge.models: is empty", "`all`"]);
        says("{models: [a, c]}", &["judge.models: `c` is none of the sweep's models"]);
        says("{model: c}", &["judge.model: `c` is none of the sweep's models"]);
        says("{models: [a, b, a]}", &["judge.models: model `a` occurs twice"]);
        says("{models: every}", &["line 5", "`all` or a list of models' names"]);
        says("{models: {a: 1}}", &["line 5", "`all` or a list of models' names"]);
    }

    #[test]
    fn a_sweep_is_extended_by_judges_that_are_named_and_by_no_other_question() {
        let changed = |before: &str, after: &str| read(before).unwrap().changed_by(&read(after).unwrap());
        for (before, after) in
            [("{}", "{models: [b]}"), ("{model: a}", "{models: [a, b]}"), ("{models: [a]}", "{models: all}"), ("{}", "{}")]
        {
            assert_eq!(changed(before, after), None, "{before} {after}");
        }
        for (before, after) in [
            ("{model: a}", "{model: b}"),
            ("{}", "{model: b}"),
            ("{models: [a]}", "{}"),
            ("{}", "{models: [a], question: 'What is {text}?'}"),
            ("{}", "{content_free: [N/A]}"),
        ] {
            assert_eq!(changed(before, after).as_deref(), Some("judge"), "{before} {after}");
        }
        let nobody = Spec { judge: None, ..read("{}").unwrap() };
        assert_eq!(nobody.changed_by(&read("{models: all}").unwrap()).as_deref(), Some("judge"));
    }
}
