//! Rows and models that are not there: [`Facts`] say of them what planning must know.
//!
//! Rows are made up as texts of the stated length, so many of each class, and go through ingestion as real ones do: limit,
//! shares, few-shot draws and balancing count alike. Groups and near-duplicates are not known, and not made up.

use limbic_core::plan::ModelFacts;
use limbic_proto::architecture::Architecture;
use limbic_proto::key::Digest;
use limbic_proto::rows::Scheme;
use limbic_proto::spec::{DatasetSpec, Facts, Format, ModelSpec, NearDuplicates, Sources, Spec};

use super::resolve;
use crate::dataset::{File, Ingested, ingest};
use crate::failure::Failure;

/// The name of the made-up file.
const NAME: &str = "assumed rows";

/// Rows as the facts describe them.
pub(super) fn rows(spec: &Spec, facts: &Facts) -> Result<Ingested, Failure> {
    if spec.dataset.scheme != Scheme::Single {
        return Err(Failure::user("--assume: rows are assumed for `dataset.scheme: single` only"));
    }
    let known = &facts.dataset.classes;
    if let Some(class) = spec.dataset.labels.iter().find(|class| !known.contains_key(*class)) {
        return Err(Failure::user(format_args!("--assume: `dataset.classes` doesn't say how many rows the class `{class}` has")));
    }
    let dataset = DatasetSpec {
        source: Sources::from(NAME),
        format: Format::Jsonl,
        text: "text".to_owned(),
        label: "label".to_owned(),
        id: None,
        group: None,
        split: None,
        label_map: Default::default(),
        label_separator: None,
        near_duplicates: NearDuplicates::Ignore,
        ..spec.dataset.clone()
    };
    let text: String = "word ".chars().cycle().take(facts.dataset.characters.max(1)).collect();
    let mut lines = String::new();
    // Classes take turns, as in a corpus that is in no order.
    for round in 0..known.values().copied().max().unwrap_or(0) {
        for class in known.iter().filter(|(_, rows)| **rows > round).map(|(class, _)| class) {
            lines += &serde_json::json!({"text": text, "label": class}).to_string();
            lines.push('\n');
        }
    }
    let file = File { name: NAME.to_owned(), split: None, bytes: lines.into() };
    ingest(&dataset, vec![file], &resolve::few_shot(spec)).map_err(Failure::user)
}

/// A model as the facts describe it.
pub(super) fn model(model: &ModelSpec, facts: &Facts) -> Result<ModelFacts, Failure> {
    let Some(of) = facts.models.iter().find(|of| of.source == model.source) else {
        return Err(Failure::user(format_args!("--assume: says nothing of the model `{}`: add its source and config", model.source)));
    };
    let architecture = Architecture::from_config(&of.config.to_string())
        .map_err(|e| Failure::user(format_args!("--assume: the config of model `{}`: {e}", model.source)))?;
    Ok(ModelFacts {
        name: model.name(),
        source: model.source.clone(),
        digest: Digest::of_json(&("assumed", &model.source, model.random_weights)),
        dtype: model.dtype,
        architecture,
        chat_template: of.chat_template,
        random_weights: model.random_weights,
    })
}
