//! What a later revision of a sweep may say otherwise than the first one.

use std::collections::BTreeSet;

use super::{Continuation, Spec};

/// What can be added to, what is a label or a place, and how the work is run. (Rows are compared by their digest.)
const FREE: [&str; 10] = ["name", "store", "dataset", "models", "layers", "conditions", "offsets", "continuation", "execution", "report"];

impl Spec {
    /// The first field that `later` changes instead of adding to it: a sweep is extended by models, layers, conditions,
    /// offsets (and the continuation tokens that those need), seeds of sampling and judges, and by nothing else.
    pub fn changed_by(&self, later: &Spec) -> Option<String> {
        let fields = |spec: &Spec| match serde_json::to_value(spec).expect("a spec serializes") {
            serde_json::Value::Object(fields) => fields,
            _ => unreachable!("a spec is an object"),
        };
        // Judges that `judge.models` names leave the verdicts of all others as they are.
        let named = later.judge.as_ref().is_some_and(|judge| judge.models.is_some());
        let asked = |spec: &Spec| match &spec.judge {
            Some(judge) if named => fields(&Spec { judge: Some(judge.by_anybody()), ..spec.clone() }),
            _ => fields(spec),
        };
        let (before, after) = (asked(self), asked(later));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        if let Some(field) = names.into_iter().find(|name| !FREE.contains(&name.as_str()) && before.get(*name) != after.get(*name)) {
            return Some(field.clone());
        }
        // Further tokens leave those before them as they are, and other seeds draw replies of their own.
        let whatever_is_added =
            |spec: &Spec| spec.continuation.clone().map(|c| Continuation { tokens: None, seed: None, seeds: Vec::new(), ..c });
        match (whatever_is_added(self), whatever_is_added(later)) {
            (Some(before), Some(after)) if before != after => Some("continuation".to_owned()),
            _ => None,
        }
    }
}
