//! What planning must know of rows and models that are not there yet: a file beside the spec says it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SpecError;
use super::check::syntax;

/// What is assumed of a sweep's rows and models, to plan it without them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The rows.
    pub dataset: DatasetFacts,
    /// The models, named by the sources that the spec names.
    #[serde(default)]
    pub models: Vec<AssumedModel>,
}

/// What is assumed of a dataset of one class a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetFacts {
    /// Rows of each class.
    pub classes: BTreeMap<String, usize>,
    /// Characters of a text, on average.
    pub characters: usize,
}

/// What is assumed of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumedModel {
    /// Its source, as the spec writes it.
    pub source: String,
    /// Whether it has a chat template.
    #[serde(default)]
    pub chat_template: bool,
    /// What its `config.json` says of its shape.
    pub config: serde_json::Value,
}

impl Facts {
    /// Reads a file of facts; `file` is named in errors.
    ///
    /// # Errors
    /// Not YAML, or unknown or mistyped fields (with line and column).
    pub fn from_yaml(text: &str, file: &Path) -> Result<Facts, SpecError> {
        serde_saphyr::from_str(text).map_err(|e| SpecError::Syntax { file: file.to_path_buf(), message: syntax(text, &e, "`dataset`") })
    }
}
