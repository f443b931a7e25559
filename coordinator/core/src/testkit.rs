//! Small specs, rows and models for the tests of this crate.

use std::path::Path;

use limbic_proto::architecture::{Architecture, Family};
use limbic_proto::key::Digest;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::{Dtype, Spec};

use crate::plan::{ModelFacts, Plan, plan};

/// A spec over models `names` with further fields.
pub fn spec(names: &[&str], fields: &str) -> Spec {
    let models: Vec<String> = names.iter().map(|name| format!("{{source: /models/{name}}}")).collect();
    let text = format!("dataset: {{source: rows.jsonl}}\nmodels: [{}]\n{fields}\n", models.join(", "));
    Spec::from_yaml(&text, Path::new("/specs/sweep.yaml")).unwrap()
}

/// A decoder of `layers` blocks, with weights of about 0.1 MB each.
pub fn architecture(layers: usize) -> Architecture {
    Architecture {
        family: Family::Llama,
        layers,
        hidden: 64,
        intermediate: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        vocab: 256,
        context: 512,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        sliding_window: None,
        sliding_layers: Vec::new(),
        tie_embeddings: true,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        eos: vec![0],
    }
}

/// A model without a chat template whose digest follows from its name.
pub fn facts(name: &str, layers: usize) -> ModelFacts {
    ModelFacts {
        name: name.to_owned(),
        source: format!("/models/{name}"),
        digest: Digest::of(name.as_bytes()),
        dtype: Dtype::F32,
        architecture: architecture(layers),
        chat_template: false,
        random_weights: None,
    }
}

/// `count` rows: of five in a row three are in train, one in validation, one in test, all of one class.
pub fn rows(count: usize, classes: &[&str]) -> Rows {
    use Split::{Test, Train, Validation};
    let row = |i: usize| Row {
        id: format!("r{i}"),
        text: format!("utterance number {i}"),
        class: ((i / 5) % classes.len()) as u32,
        group: format!("g{i}"),
        split: [Train, Train, Train, Validation, Test][i % 5],
        weight: 1,
        values: Vec::new(),
    };
    Rows { scheme: Scheme::Single, classes: classes.iter().map(|c| (*c).to_owned()).collect(), rows: (0..count).map(row).collect() }
}

/// A plan over models of two blocks each and twenty rows of two classes.
pub fn small_plan(names: &[&str], fields: &str) -> Plan {
    let models: Vec<ModelFacts> = names.iter().map(|name| facts(name, 2)).collect();
    plan(&spec(names, fields), &rows(20, &["joy", "anger"]), &models).unwrap()
}
