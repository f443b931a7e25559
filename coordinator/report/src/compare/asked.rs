//! Where the specs of two studies differ, and what goes by one name in both and isn't the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::spec::{Prompt, Spec};
use serde::Serialize;
use serde_json::Value;

use crate::study::Study;

/// A field that two studies' specs don't say alike, with what each says, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// The path of the field: `dataset.limit`.
    pub field: String,
    /// What each says; none where it is silent.
    pub said: [Option<String>; 2],
}

/// The fields that differ, by name. A sweep that was extended has several specs, and asks what all of them ask: lists are
/// joined, and of other values all stand there, the oldest first.
pub fn differing(first: &Value, second: &Value) -> Vec<Differing> {
    let [a, b] = [first, second].map(fields);
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let apart = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    apart.map(|name| Differing { field: name.clone(), said: [&a, &b].map(|of| of.get(name).map(|said| words(said))) }).collect()
}

/// What goes by one name in two studies and isn't the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Models whose weights or tokenizers have other bytes.
    pub models: Vec<String>,
    /// Conditions that put another prompt.
    pub conditions: Vec<String>,
    /// Probes that are fitted in another way.
    pub probes: Vec<String>,
}

/// What of the first study goes by the same name in the second and isn't the same.
pub fn changed(first: &Study, second: &Study) -> Changed {
    let models = |s: &Study| s.models.iter().map(|m| (m.name.clone(), m.digest.clone())).collect::<Vec<_>>();
    let [ours, theirs] = [first, second].map(Study::asked);
    let conditions = |of: &[Spec]| of.iter().flat_map(|s| &s.conditions).map(|c| (c.name.clone(), c.clone())).collect::<Vec<_>>();
    let probes = |of: &[Spec]| of.iter().flat_map(|s| &s.probes).map(|p| (p.name().to_owned(), p.clone())).collect::<Vec<_>>();
    Changed {
        models: apart(&models(first), &models(second)),
        conditions: apart(&conditions(&ours), &conditions(&theirs)),
        probes: apart(&probes(&ours), &probes(&theirs)),
    }
}

/// A condition that goes by two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// That in the first study, under which it stands.
    pub name: String,
    /// That in the second.
    pub second: String,
}

/// The second study with those of its conditions that the first has by another name under that name: prompts are compared, whatever
/// they are called. A name that both have stays what it is.
pub fn under_names<'a>(first: &Study, second: &'a Study) -> (Cow<'a, Study>, Vec<Renamed>) {
    let prompts = |s: &Study| -> Vec<(String, Prompt)> {
        s.asked().iter().flat_map(|spec| &spec.conditions).map(|c| (c.name.clone(), c.prompt())).collect()
    };
    let (ours, theirs) = (prompts(first), prompts(second));
    let free = |name: &str, other: &[(String, Prompt)]| other.iter().all(|o| o.0 != name);
    let mut study = Cow::Borrowed(second);
    let mut renamed: Vec<Renamed> = Vec::new();
    for (name, prompt) in theirs.iter().filter(|(name, _)| free(name, &ours)) {
        let known = ours.iter().find(|(known, put)| put == prompt && free(known, &theirs) && renamed.iter().all(|r| r.name != *known));
        let at = second.conditions.iter().position(|c| c.name == *name);
        if let (Some((known, _)), Some(at)) = (known, at) {
            study.to_mut().conditions[at].name.clone_from(known);
            renamed.push(Renamed { name: known.clone(), second: name.clone() });
        }
    }
    (study, renamed)
}

/// Names that both have, and never for the same.
fn apart<T: PartialEq>(ours: &[(String, T)], theirs: &[(String, T)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in ours {
        let known = theirs.iter().any(|t| t.0 == *name);
        let same = ours.iter().filter(|o| o.0 == *name).any(|o| theirs.contains(o));
        if known && !same && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What a sweep asks, by the paths of fields.
fn fields(asked: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut fields = BTreeMap::new();
    match asked {
        Value::Array(revisions) => revisions.iter().for_each(|spec| gather("", spec, &mut fields)),
        spec => gather("", spec, &mut fields),
    }
    fields
}

fn gather(path: &str, value: &Value, out: &mut BTreeMap<String, Vec<Value>>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                gather(&path, value, out);
            }
        }
        value => add(out.entry(path.to_owned()).or_default(), value),
    }
}

fn add(said: &mut Vec<Value>, value: &Value) {
    if let (Some(Value::Array(all)), Value::Array(more)) = (said.last_mut(), value) {
        for one in more {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
    } else if !said.contains(value) {
        said.push(value.clone());
    }
}

fn words(said: &[Value]) -> String {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    said.iter().map(one).collect::<Vec<_>>().join(", later ")
}
