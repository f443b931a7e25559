//! `summary.json`: the summaries with names instead of indices, for programs that don't read Parquet.

use serde_json::{Value, json};

use crate::results::{Place, Results};
use crate::study::{ReportError, Study};

/// The file's bytes: what was measured, then every summary of [`Results`]. Places carry names; `model`, `condition`
/// and `class` elsewhere are indices into the lists at the top.
pub fn summary(study: &Study, results: &Results) -> Result<Vec<u8>, ReportError> {
    let fail = |e: serde_json::Error| ReportError::Page { path: "summary.json", message: e.to_string() };
    let place = |p: Place| json!({"model": study.models[p.model].name, "condition": study.conditions[p.condition].name});
    let mut summaries = serde_json::to_value(results).map_err(fail)?;
    for (key, places) in [
        ("depth", results.depth.iter().map(|c| c.place).collect::<Vec<_>>()),
        ("scale", results.scale.iter().map(|r| r.place).collect()),
        ("persistence", results.persistence.iter().map(|p| p.place).collect()),
        ("conditions", results.conditions.iter().map(|c| c.place).collect()),
    ] {
        if let Some(list) = summaries.get_mut(key).and_then(Value::as_array_mut) {
            for (entry, at) in list.iter_mut().zip(places) {
                entry["place"] = place(at);
            }
        }
    }
    let models: Vec<Value> = study
        .models
        .iter()
        .map(|m| json!({"name": m.name, "source": m.source, "digest": m.digest, "parameters": m.parameters, "layers": m.layers, "hidden": m.hidden, "dtype": m.dtype}))
        .collect();
    let conditions: Vec<Value> = study.conditions.iter().map(|c| json!({"name": c.name, "description": c.description})).collect();
    let value = json!({
        "sweep": study.sweep,
        "title": study.title,
        "software": study.software,
        "seed": study.seed,
        "resamples": study.options.resamples,
        "confidence": study.options.confidence,
        "classes": study.classes,
        "models": models,
        "conditions": conditions,
        "quarantined": study.quarantined,
        "notes": study.notes,
        "results": summaries,
    });
    serde_json::to_vec_pretty(&value).map_err(fail)
}
