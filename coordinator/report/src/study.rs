//! What a finished (or unfinished) sweep hands to the report: rows, models, conditions, predictions, verdicts, geometry,
//! runs.

mod deferred;
mod evidence;
mod extent;
mod prediction;

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::rows::Scheme;
use limbic_proto::spec::{ReportSpec, Spec};
use limbic_proto::status::Quarantined;
use limbic_proto::unit::UnitKind;
use serde::Deserialize;

pub use deferred::Deferred;
pub use evidence::{Geometry, GeometryEntry, Verdicts};
pub use extent::{DatasetEntry, Progress, SplitEntry};
pub use prediction::{Fit, Prediction};

/// One row of the test split, in the order of all prediction tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct TestRow {
    /// Unique in the dataset.
    pub id: String,
    /// The utterance.
    pub text: String,
    /// Index into [`Study::classes`]; under a scheme other than [`Scheme::Single`] the class of the highest value.
    pub class: u32,
    /// Rows of one group are resampled together.
    pub group: String,
    /// One number per class or scale; empty under [`Scheme::Single`].
    pub values: Vec<f32>,
}

/// One probed model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name in tables and figures.
    pub name: String,
    /// Where its files came from.
    pub source: String,
    /// Digest of weights, config, tokenizer and chat template.
    pub digest: String,
    /// How many parameters; 0 = not known, which keeps the model out of the scale trend.
    pub parameters: u64,
    /// The family of its architecture, as `model_type` in its config: `llama`, `qwen3`, …; empty = not known.
    pub family: String,
    /// How many blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// The number format it was computed in.
    pub dtype: String,
    /// The seed of random weights that took the place of its own.
    pub random_weights: Option<u64>,
    /// Index into [`Study::models`]: the trained model whose twin of random weights it is.
    pub twin_of: Option<usize>,
}

/// One prompt condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionEntry {
    /// The name in tables and figures.
    pub name: String,
    /// What it does, in words.
    pub description: String,
}

/// One committed attempt: what it cost, and what it left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The unit's key.
    pub unit: String,
    /// The unit's kind.
    pub kind: UnitKind,
    /// Index into [`Study::models`]; none for baselines on the words.
    pub model: Option<usize>,
    /// Index into [`Study::conditions`]; none for baselines and zero-shot.
    pub condition: Option<usize>,
    /// The judging model, of verdicts; index into [`Study::models`].
    pub judge: Option<usize>,
    /// The seed of the replies that it is about; none where nothing was drawn.
    pub sampling_seed: Option<u64>,
    /// What it is, in words.
    pub title: String,
    /// The attempt's id.
    pub attempt: String,
    /// The worker's id.
    pub worker: String,
    /// Version of the worker's software.
    pub software: String,
    /// `cpu`, `cuda:0`, …
    pub device: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Bytes of artifacts written.
    pub bytes: u64,
    /// What its worker counted: `rows`, `skipped_rows`, `truncated_rows`, `fits`, `absent_fits`, `unconverged_fits`, …
    pub counts: BTreeMap<String, u64>,
}

/// Everything a report is made of.
#[derive(Debug, Clone)]
pub struct Study {
    /// The sweep's id.
    pub sweep: String,
    /// The report's title.
    pub title: String,
    /// What the labels are, and so what predictions mean.
    pub scheme: Scheme,
    /// The classes or scales, in the order of all score vectors.
    pub classes: Vec<String>,
    /// The dataset that the test rows are of.
    pub dataset: DatasetEntry,
    /// How much of the sweep is computed.
    pub progress: Progress,
    /// The test rows.
    pub test: Vec<TestRow>,
    /// The models, in the spec's order.
    pub models: Vec<ModelEntry>,
    /// The conditions, in the spec's order; where they are many, the others are compared with the first.
    pub conditions: Vec<ConditionEntry>,
    /// One entry per fit, transfer and baseline; those of one unit stand together.
    pub predictions: Vec<Prediction>,
    /// What judges say of replies.
    pub verdicts: Vec<Verdicts>,
    /// The geometry of states; the layers of one model and condition stand together.
    pub geometry: Vec<GeometryEntry>,
    /// One entry per committed attempt.
    pub runs: Vec<Run>,
    /// How results are summed up.
    pub options: ReportSpec,
    /// What the reader should know, one sentence each.
    pub notes: Vec<String>,
    /// Units that failed for good.
    pub quarantined: Vec<Quarantined>,
    /// The spec as it was accepted; of a sweep that was extended a list of them, oldest first.
    pub spec: serde_json::Value,
    /// Program and version, such as `limbic 0.1.0`.
    pub software: String,
    /// The seed of the resampling.
    pub seed: u64,
}

impl Study {
    /// The model's name, or an empty string for baselines on the words.
    pub fn model_name(&self, model: Option<usize>) -> &str {
        model.and_then(|m| self.models.get(m)).map_or("", |m| &m.name)
    }

    /// The condition's name, or an empty string where there is none.
    pub fn condition_name(&self, condition: Option<usize>) -> &str {
        condition.and_then(|c| self.conditions.get(c)).map_or("", |c| &c.name)
    }

    /// What was asked: the spec as it was accepted, behind it those that the sweep was extended by. None of a study whose spec is
    /// none of a sweep's.
    pub fn asked(&self) -> Vec<Spec> {
        let all = self.spec.as_array().map_or(std::slice::from_ref(&self.spec), Vec::as_slice);
        all.iter().map(|spec| Spec::deserialize(spec).ok()).collect::<Option<_>>().unwrap_or_default()
    }

    /// The seeds of all replies, ascending; none where nothing was drawn.
    pub fn sampling_seeds(&self) -> Vec<u64> {
        let read = self.predictions.iter().filter_map(|p| p.sampling_seed);
        read.chain(self.verdicts.iter().filter_map(|v| v.sampling_seed)).collect::<BTreeSet<u64>>().into_iter().collect()
    }

    /// Why the study can't be reported on, if it can't: the first row, prediction or index that doesn't fit.
    ///
    /// # Errors
    /// [`ReportError::Class`], [`ReportError::Shape`], [`ReportError::Values`] or [`ReportError::Index`]; all reject the study.
    pub fn check(&self) -> Result<(), ReportError> {
        let classes = self.classes.len();
        if let Some(row) = self.test.iter().find(|r| r.class as usize >= classes) {
            return Err(ReportError::Class { row: row.id.clone(), class: row.class, classes });
        }
        let values = if self.scheme == Scheme::Single { 0 } else { classes };
        if let Some(row) = self.test.iter().find(|r| r.values.len() != values) {
            return Err(ReportError::Values { row: row.id.clone(), found: row.values.len(), classes: values });
        }
        let models = self.models.len();
        let conditions = self.conditions.len();
        for (prediction, p) in self.predictions.iter().enumerate() {
            let named = [("model", p.model, models), ("condition", p.condition, conditions), ("condition", p.fitted_condition, conditions)];
            for (axis, index, len) in named {
                if let Some(index) = index.filter(|i| *i >= len) {
                    return Err(ReportError::Index { prediction, axis, index, len });
                }
            }
        }
        for (at, v) in self.verdicts.iter().enumerate() {
            for (axis, index, len) in [("model", v.judge, models), ("model", v.model, models), ("condition", v.condition, conditions)] {
                if index >= len {
                    return Err(ReportError::Index { prediction: at, axis, index, len });
                }
            }
            if v.values.len() != self.test.len() * classes {
                return Err(ReportError::Shape { prediction: at, rows: self.test.len(), classes, len: v.values.len() });
            }
        }
        match self.geometry.iter().position(|g| g.model >= models || g.condition >= conditions) {
            Some(at) => Err(ReportError::Index { prediction: at, axis: "geometry", index: self.geometry[at].model, len: models }),
            None => Ok(()),
        }
    }
}

/// Why a report can't be made. All but `Table` and `Page` (our bugs) reject the study.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A test row names a class that isn't there.
    #[error("test row {row}: class {class} of {classes}")]
    Class {
        /// The row's id.
        row: String,
        /// Its class.
        class: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A test row has another number of values than there are classes.
    #[error("test row {row}: {found} values where there must be {classes}")]
    Values {
        /// The row's id.
        row: String,
        /// Its values.
        found: usize,
        /// How many there must be.
        classes: usize,
    },
    /// A prediction (or a judge's verdicts) has another shape than [test, classes].
    #[error("prediction {prediction}: {len} values for {rows} rows of {classes} classes")]
    Shape {
        /// Index into [`Study::predictions`].
        prediction: usize,
        /// Test rows.
        rows: usize,
        /// Classes.
        classes: usize,
        /// Values found.
        len: usize,
    },
    /// A prediction or a geometry can't be read.
    #[error("{what}: {message}")]
    Read {
        /// What it is, in words.
        what: String,
        /// What the reader says.
        message: String,
    },
    /// A prediction names a model or condition that isn't there.
    #[error("prediction {prediction}: {axis} {index} of {len}")]
    Index {
        /// Index into [`Study::predictions`].
        prediction: usize,
        /// `model` or `condition`.
        axis: &'static str,
        /// What it names.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The study and the results don't belong together.
    #[error("the results have {scores} score lists for {predictions} predictions: evaluate this study first")]
    Mismatch {
        /// Predictions of the study.
        predictions: usize,
        /// Scores of the results.
        scores: usize,
    },
    /// A table can't be written.
    #[error("table {path}: {message}")]
    Table {
        /// The file.
        path: &'static str,
        /// What arrow or parquet says.
        message: String,
    },
    /// A page can't be rendered.
    #[error("page {path}: {message}")]
    Page {
        /// The file.
        path: &'static str,
        /// What minijinja says.
        message: String,
    },
}
