//! `summary.json`: the summaries with names instead of indices, for programs that don't read Parquet.

use serde_json::{Value, json};

use crate::results::Results;
use crate::study::{ReportError, Study};

/// The file's bytes: what was measured, then every summary of [`Results`]. Places carry names; `model`, `condition`
/// and `class` elsewhere are indices into the lists at the top.
pub fn summary(study: &Study, results: &Results) -> Result<Vec<u8>, ReportError> {
    let fail = |e: serde_json::Error| ReportError::Page { path: "summary.json", message: e.to_string() };
    let mut summaries = serde_json::to_value(results).map_err(fail)?;
    named(study, &mut summaries);
    let models: Vec<Value> = study
        .models
        .iter()
        .map(|m| {
            json!({
                "name": m.name, "source": m.source, "digest": m.digest, "parameters": m.parameters, "layers": m.layers,
                "hidden": m.hidden, "dtype": m.dtype, "random_weights": m.random_weights, "twin_of": m.twin_of,
            })
        })
        .collect();
    let conditions: Vec<Value> = study.conditions.iter().map(|c| json!({"name": c.name, "description": c.description})).collect();
    let value = json!({
        "sweep": study.sweep,
        "title": study.title,
        "software": study.software,
        "seed": study.seed,
        "resamples": study.options.resamples,
        "confidence": study.options.confidence,
        "scheme": study.scheme,
        "classes": study.classes,
        "dataset": study.dataset,
        "progress": study.progress,
        "models": models,
        "conditions": conditions,
        "quarantined": study.quarantined,
        "notes": study.notes,
        "results": summaries,
    });
    serde_json::to_vec_pretty(&value).map_err(fail)
}

/// Places, which are objects of a model's and a condition's index and nothing else, get names.
fn named(study: &Study, value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|v| named(study, v)),
        Value::Object(object) => {
            let index = |key: &str| object.get(key).and_then(Value::as_u64).map(|i| i as usize);
            match (object.len(), index("model"), index("condition")) {
                (2, Some(model), Some(condition)) => {
                    *value = json!({"model": study.models[model].name, "condition": study.conditions[condition].name});
                }
                _ => object.values_mut().for_each(|v| named(study, v)),
            }
        }
        _ => {}
    }
}
