//! The spec: one YAML file that says what a sweep measures. [`Spec::from_yaml`] reads it, [`Spec::check`] judges it.

mod check;
mod continuation;
mod corpus;
mod dataset;
mod extension;
mod facts;
mod judge;
mod model;
mod probe;
mod prompt;
mod question;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub use check::{CREDENTIALS, Finding, SpecError, meant, placeholders, secret, slip};
pub use continuation::Continuation;
pub use corpus::{Classify, Comments, CorpusSpec, Duplicates, EXAMPLES, Filters, How, Keep, LABEL, Rewrite, Synthesize, WordCount};
pub use dataset::{Balance, DatasetSpec, EmptyTexts, Format, MultipleLabels, NearDuplicates, SplitShares, UnknownLabels};
pub use facts::{AssumedModel, DatasetFacts, Facts};
pub use judge::{Judge, Judges};
pub use model::{Depth, Dtype, LayerSelector, ModelSpec};
pub use probe::{Baseline, Control, LdaSpec, LogisticSpec, MeanDifferenceSpec, MlpSpec, OffsetMlpSpec, ProbeSpec, RidgeSpec};
pub use prompt::{BadRows, Chat, Condition, Example, FewShot, LABELS, Prompt, Stimuli, StimulusPlace, TEXT, TooLong, Turn};
pub use question::{Writing, ZeroShot};
pub use source::Sources;

use crate::axis::{Pooling, ReadOut};
use crate::key::Digest;
use crate::rows::Scheme;

/// What a sweep measures: every (model, layer, condition, offset) that these axes span is one cell.
///
/// Only `dataset` and `models` are required. Relative paths are relative to the folder of the spec file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// A label for people; the sweep's id comes from the spec's content.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where results live: a folder or an object-store URL (`s3://bucket/prefix`, `gs://…`, `az://…`). The default is
    /// the folder `limbic-store` in the current directory; `--store` overrides both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The labelled utterances.
    pub dataset: DatasetSpec,
    /// The models to probe.
    pub models: Vec<ModelSpec>,
    /// Which taps into the residual stream: `all`, a list such as `[0, 4, final]`, `{every: 2}` or
    /// `{depth: [0, 0.5, 1, final]}`.
    #[serde(default)]
    pub layers: LayerSelector,
    /// How each utterance is put to the model. The default is the bare text.
    #[serde(default = "default_conditions")]
    pub conditions: Vec<Condition>,
    /// Which prompt positions are read at offset 0.
    #[serde(default = "default_pooling")]
    pub pooling: Vec<Pooling>,
    /// Which positions are read: 0 = in the prompt, k = the k-th continuation token.
    #[serde(default = "default_offsets")]
    pub offsets: Vec<u32>,
    /// What follows the prompt at offsets above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// What to do with a prompt (and its continuation) longer than the model's context.
    #[serde(default)]
    pub too_long: TooLong,
    /// What to do with a row whose text can't be tokenized, or whose states are NaN or infinite.
    #[serde(default, skip_serializing_if = "BadRows::is_default")]
    pub bad_rows: BadRows,
    /// The probes trained on every cell.
    #[serde(default = "default_probes")]
    pub probes: Vec<ProbeSpec>,
    /// What is fitted beside each probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// Which probes are also used where they were not fitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfer: Vec<Transfer>,
    /// Whether the geometry of every layer's states is described: principal components, class directions, similarities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub geometry: bool,
    /// What the probes are compared with.
    #[serde(default = "default_baselines")]
    pub baselines: Vec<Baseline>,
    /// How the zero-shot baselines ask.
    #[serde(default)]
    pub zero_shot: ZeroShot,
    /// Who judges the replies, and how; absent = nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// What models are asked to write about every row; absent = nothing. Corpora are built of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<Writing>,
    /// Seeds of everything random in probes; each probe is trained once per seed (deterministic ones once).
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// How the work is cut and run; changes no number.
    #[serde(default)]
    pub execution: Execution,
    /// How results are summed up.
    #[serde(default)]
    pub report: ReportSpec,
}

/// Where probes are used beside where they were fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// Those of each condition at offset 0 under every other condition.
    Conditions,
    /// Those of offset 0 at every further offset.
    Offsets,
}

/// How the work is cut and run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Rows per `extract` unit: smaller units lose less when a worker dies, larger ones have less overhead. The default
    /// is 512, or as many as have 1 GiB of states; with `activations: none` four times the width of a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_unit: Option<usize>,
    /// Tokens per forward pass.
    pub token_budget: usize,
    /// Sweeps of higher priority are served first, whatever the others wait for.
    pub priority: i32,
    /// The share of the workers' time among sweeps of equal priority: one of weight 2 gets twice that of one of weight 1.
    pub weight: f64,
    /// Which hidden states are stored, and what becomes of them once every unit that reads them is committed.
    #[serde(skip_serializing_if = "Activations::is_default")]
    pub activations: Activations,
}

/// Which hidden states are stored, and what becomes of them once every unit that reads them is committed. They are most of what a
/// sweep stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// They stay: further probes on them cost no forward pass.
    #[default]
    Keep,
    /// They are deleted. Commits, token ids and everything that was fitted stay; a unit that needs them later has them
    /// computed again.
    Release,
    /// Those of train rows are never stored: probes with closed forms (ridge, mean-difference, lda with a given shrinkage) are
    /// fitted to their moments. Moments and the states of validation and test rows are deleted as by `release`.
    None,
}

impl Activations {
    /// Whether it is the default, which is not written: what was accepted before there was a choice reads the same.
    pub fn is_default(&self) -> bool {
        *self == Activations::default()
    }

    /// Whether states are deleted once everything that reads them is committed.
    pub fn releases(self) -> bool {
        match self {
            Activations::Keep => false,
            Activations::Release | Activations::None => true,
        }
    }

    /// The word in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Activations::Keep => "keep",
            Activations::Release => "release",
            Activations::None => "none",
        }
    }
}

impl Default for Execution {
    fn default() -> Self {
        Execution { rows_per_unit: None, token_budget: 2048, priority: 0, weight: 1.0, activations: Activations::default() }
    }
}

/// How results are summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// The report's title; the default is the sweep's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Bootstrap resamples behind every interval.
    pub resamples: usize,
    /// Coverage of the intervals, in 0..1.
    pub confidence: f64,
    /// The main probe, which curves over layers, conditions and offsets are about; the default is `logistic` if there is one, else
    /// `ridge`, else the first. Whichever probe is best stands against the baselines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Coarser levels of the classes; metrics are computed at each beside the classes themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
}

/// A coarser level of a label hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The name in tables and figures.
    pub name: String,
    /// Class -> coarser class. All classes must be named.
    pub map: std::collections::BTreeMap<String, String>,
}

impl Default for ReportSpec {
    fn default() -> Self {
        ReportSpec { title: None, resamples: 1000, confidence: 0.95, probe: None, levels: Vec::new() }
    }
}

fn yes() -> bool {
    true
}

fn default_name() -> String {
    "sweep".to_owned()
}

fn default_conditions() -> Vec<Condition> {
    vec![Condition::raw("raw")]
}

fn default_pooling() -> Vec<Pooling> {
    vec![Pooling::Last]
}

fn default_offsets() -> Vec<u32> {
    vec![0]
}

fn default_probes() -> Vec<ProbeSpec> {
    vec![ProbeSpec::Logistic(LogisticSpec::default())]
}

fn default_baselines() -> Vec<Baseline> {
    vec![Baseline::Majority, Baseline::BagOfWords, Baseline::ZeroShot]
}

fn default_seeds() -> Vec<u64> {
    vec![0]
}

impl Spec {
    /// Reads and checks a spec. `file` is named in errors, and relative paths are resolved against its folder.
    ///
    /// # Errors
    /// Unknown or mistyped fields (with line and column) and everything [`Spec::check`] finds.
    pub fn from_yaml(text: &str, file: &Path) -> Result<Spec, SpecError> {
        let mut spec: Spec = serde_saphyr::from_str(text)
            .map_err(|e| SpecError::Syntax { file: file.to_path_buf(), message: check::syntax(text, &e, "`dataset` and `models`") })?;
        spec.suit(|field| {
            // Whatever was read as a spec is a map.
            serde_saphyr::from_str::<BTreeMap<String, IgnoredAny>>(text).map_or(true, |given| given.contains_key(field))
        });
        let base = file.parent().unwrap_or(Path::new(""));
        spec.relocate(|source| *source = resolve(base, source));
        spec.check().map_err(|e| SpecError::Invalid { file: file.to_path_buf(), field: e.field, message: e.message })?;
        Ok(spec)
    }

    /// Puts defaults that the labels' scheme allows in the place of those that it doesn't, in fields that were not given: numbers on
    /// scales are predicted by `ridge`, and no model can be asked which of them a text has.
    fn suit(&mut self, given: impl Fn(&str) -> bool) {
        let scheme = self.dataset.scheme;
        if !self.probes.iter().all(|probe| probe.fits(scheme)) && !given("probes") {
            self.probes = vec![ProbeSpec::Ridge(RidgeSpec::default())];
        }
        if scheme == Scheme::Continuous && !given("baselines") {
            self.baselines.retain(|baseline| *baseline != Baseline::ZeroShot);
        }
    }

    /// Changes every path and URL in it, for instance from a relative to an absolute one.
    pub fn relocate(&mut self, mut change: impl FnMut(&mut String)) {
        self.dataset.source.relocate(&mut change);
        self.models.iter_mut().for_each(|model| change(&mut model.source));
        self.conditions.iter_mut().filter_map(|condition| condition.stimuli.as_mut()).for_each(|stimuli| change(&mut stimuli.source));
        self.store.as_mut().map(change);
    }

    /// The axes that determine results: the spec without labels (name, report), places (store, sources) and how the
    /// work is run. Dataset and models count by their content, not by where they lie; see [`sweep_id`].
    fn axes(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("a spec serializes to JSON");
        let object = value.as_object_mut().expect("a spec is an object");
        for field in ["name", "store", "execution", "report", "dataset", "models"] {
            object.remove(field);
        }
        value
    }

    /// The read-outs of one condition: every pooling at offset 0, every further offset, and the controls.
    pub fn read_outs(&self) -> Vec<ReadOut> {
        let mut read_outs = Vec::new();
        let controls = self.continuation.as_ref().map(|c| c.controls.as_slice()).unwrap_or_default();
        for &offset in &self.offsets {
            if offset == 0 {
                read_outs.extend(self.pooling.iter().map(|&pooling| ReadOut { pooling, ..ReadOut::LAST }));
            } else {
                read_outs.push(ReadOut::at(offset));
                read_outs.extend(controls.iter().map(|&context| ReadOut { context, ..ReadOut::at(offset) }));
            }
        }
        read_outs
    }

    /// The JSON Schema of the spec file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Spec).to_value()
    }
}

/// The sweep's id: 16 hexadecimal digits over the axes and the content they are applied to (rows; each model's name,
/// digest and number format), so that the same file over changed data is another sweep, and the same data elsewhere is
/// the same one.
pub fn sweep_id(spec: &Spec, rows: &Digest, models: &[(String, Digest, Dtype)]) -> String {
    Digest::of_json(&(spec.axes(), rows, models)).hex()[..16].to_owned()
}

/// A local relative path made relative to `base`; URLs and absolute paths stay as they are.
fn resolve(base: &Path, source: &str) -> String {
    if source.contains("://") || Path::new(source).is_absolute() {
        source.to_owned()
    } else {
        base.join(source).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_suits_the_labels() {
        let read = |scheme: &str, more: &str| {
            let text = format!("dataset: {{source: rows.jsonl, scheme: {scheme}, values: [v, a]}}\nmodels: [{{source: m}}]\n{more}");
            Spec::from_yaml(&text, Path::new("s.yaml"))
        };
        let spec = read("continuous", "").unwrap();
        assert_eq!((spec.probes.len(), spec.probes[0].name()), (1, "ridge"));
        assert_eq!(spec.baselines, [Baseline::Majority, Baseline::BagOfWords]);
        let spec = read("intensity", "").unwrap();
        assert_eq!((spec.probes[0].name(), spec.baselines), ("logistic", default_baselines()));
        // What is asked for stands, and is refused.
        for asked in ["probes: [{kind: logistic}]", "baselines: [zero-shot]"] {
            let field = asked.split(':').next().unwrap();
            assert!(read("continuous", asked).unwrap_err().to_string().contains(field), "{asked}");
        }
    }
}
