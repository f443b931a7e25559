//! Where the specs of two studies differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A field that two studies' specs don't say alike, with what each says, in words.
#[derive(Debug, PartialEq, Eq)]
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
