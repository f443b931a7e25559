//! The corpus spec: one YAML file that says how a labelled corpus is built from raw comments by a model.
//! [`CorpusSpec::from_yaml`] reads and checks it.

mod check;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Finding, syntax};
use super::{Execution, Format, ModelSpec, Sources, SpecError, resolve};

/// The mark of the class's word in questions that ask for writing.
pub const LABEL: &str = "{label}";
/// The mark of the shown comments in the question that asks for another one.
pub const EXAMPLES: &str = "{examples}";

/// How a corpus is built: comments are labelled by a model, those of one class rewritten toward others, further ones written
/// after examples; what was written is labelled again.
///
/// Only `dataset`, `model` and `classes` are required. Relative paths are relative to the folder of the spec file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorpusSpec {
    /// A label for people; the sweeps that build the corpus are named after it.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where the work is kept: a folder or an object-store URL. The default is the folder `limbic-store` in the current
    /// directory; `--store` overrides both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The raw texts.
    pub dataset: Comments,
    /// The model that writes, and labels unless `classify.model` does.
    pub model: ModelSpec,
    /// The classes, in the order of all score vectors.
    pub classes: Vec<String>,
    /// How texts are labelled.
    #[serde(default)]
    pub classify: Classify,
    /// Which texts are left out.
    #[serde(default)]
    pub filters: Filters,
    /// Comments of one class rewritten toward others; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Comments written after examples; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthesize: Option<Synthesize>,
    /// Which written texts are kept.
    #[serde(default)]
    pub keep: Keep,
    /// The seed of everything that is drawn: the limit, which comments are rewritten, which examples are shown.
    #[serde(default)]
    pub seed: u64,
    /// How the work is cut and run; changes no number.
    #[serde(default)]
    pub execution: Execution,
}

/// Raw texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comments {
    /// A local path, an object-store URL, or `hf://datasets/OWNER/NAME[@REVISION]/FILE`; or a list of them, which are read one
    /// after the other. A `*` in a file's name stands for whatever is there.
    pub source: Sources,
    /// The file format; `auto` goes by each file's ending. Text formats may be compressed, with gzip or zstd.
    #[serde(default)]
    pub format: Format,
    /// The column of the text.
    #[serde(default = "text")]
    pub text: String,
    /// The column of the id; the default is `id` where there is one, else the row number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The column of the group (an author, a thread), which the corpus keeps; the default is each comment's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A column of labels that somebody gave already. They change nothing: the card compares the model's labels with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Given label -> class; labels that are neither in it nor a class are not compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_map: BTreeMap<String, String>,
    /// At most this many comments, drawn with `seed` from those that pass the filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// How texts are labelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Classify {
    /// Another model that labels; the default is the one that writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// By the likelihood of each label, or by a written answer in JSON.
    pub how: How,
    /// The question, with `{text}` and `{labels}`; the default is that of the zero-shot baseline of the same kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Whether questions are put as chat messages where the model has a chat template.
    pub chat: bool,
    /// Class -> the word for it; the default is the class's own name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Texts without content, which calibrate likelihoods (Zhao et al. 2021); empty = they are not calibrated.
    pub content_free: Vec<String>,
    /// The longest JSON answer that is waited for, in tokens.
    pub tokens: u32,
    /// With `likelihood`: texts whose label has a lower probability than this, in 0..1, are left without one.
    pub confidence: f64,
}

/// How a label is had from a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The label that the model finds likeliest as an answer.
    #[default]
    Likelihood,
    /// The label that stands in the JSON that the model writes.
    Json,
}

/// Which texts are left out; written ones go through the same filters as comments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// How many words a text may have.
    pub words: WordCount,
    /// The languages that stay, by ISO 639-3 code such as `eng`; empty = all. Texts whose language can't be told reliably stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Which copies go: the first of equal or similar texts stays.
    pub duplicates: Duplicates,
}

/// How many words a text may have; words are what stands between white space, and each character of scripts without it (Chinese, Japanese, Thai and the like).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WordCount {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: usize,
}

/// Which copies of a text go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// Those that are equal but for case and punctuation, and those with a word 3-gram Jaccard similarity of at least 0.8.
    #[default]
    Near,
    /// Those that are equal but for white space.
    Exact,
    /// None.
    Keep,
}

/// Comments of one class rewritten toward others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// The class whose comments are rewritten.
    pub from: String,
    /// The classes that they are rewritten toward; the default is all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// How many rewrites each of these gets. Comments are drawn for each class anew, so one may be rewritten toward several.
    pub per_class: usize,
    /// The question, with `{text}` and `{label}`.
    pub question: String,
    /// The longest rewrite, in tokens; what is longer ends there.
    pub tokens: u32,
}

/// Comments written after examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Synthesize {
    /// The classes that comments are written for; the default is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How many comments each of these gets.
    pub per_class: usize,
    /// How many labelled comments of the class are shown; each question shows others, which is what makes greedy answers differ.
    pub examples: usize,
    /// The question, with `{label}` and `{examples}`.
    pub question: String,
    /// The longest comment, in tokens; what is longer ends there.
    pub tokens: u32,
}

/// Which written texts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those that the second classification finds to be what was asked for.
    #[default]
    Agreeing,
    /// All, under the label that the second classification finds. (One without any label can't be kept.)
    Labelled,
}

fn default_name() -> String {
    "corpus".to_owned()
}

fn text() -> String {
    "text".to_owned()
}

impl Default for Classify {
    fn default() -> Self {
        Classify {
            model: None,
            how: How::default(),
            question: None,
            chat: true,
            answers: BTreeMap::new(),
            content_free: ["N/A", "", "[MASK]"].map(str::to_owned).to_vec(),
            tokens: 32,
            confidence: 0.0,
        }
    }
}

impl Default for WordCount {
    fn default() -> Self {
        WordCount { min: 2, max: 100 }
    }
}

impl Default for Rewrite {
    fn default() -> Self {
        let question = "Rewrite this comment so that it clearly expresses {label}. Keep its topic, don't name the emotion, and \
                        answer with the rewritten comment alone.\n\nComment: {text}";
        Rewrite { from: "neutral".to_owned(), to: Vec::new(), per_class: 20, question: question.to_owned(), tokens: 64 }
    }
}

impl Default for Synthesize {
    fn default() -> Self {
        let question = "Here are comments that express {label}:\n\n{examples}\n\nWrite one more comment that expresses {label}, \
                        about something else. Don't name the emotion, and answer with the comment alone.";
        Synthesize { classes: Vec::new(), per_class: 20, examples: 4, question: question.to_owned(), tokens: 64 }
    }
}

impl CorpusSpec {
    /// Reads and checks a corpus spec. `file` is named in errors, and relative paths are resolved against its folder.
    ///
    /// # Errors
    /// Unknown or mistyped fields (with line and column), and values that make no sense.
    pub fn from_yaml(text: &str, file: &Path) -> Result<CorpusSpec, SpecError> {
        let mut spec: CorpusSpec = serde_saphyr::from_str(text)
            .map_err(|e| SpecError::Syntax { file: file.to_path_buf(), message: syntax(text, &e, "`dataset`, `model` and `classes`") })?;
        let base = file.parent().unwrap_or(Path::new(""));
        let place = |source: &mut String| *source = resolve(base, source);
        spec.dataset.source.relocate(place);
        [Some(&mut spec.model), spec.classify.model.as_mut()].into_iter().flatten().for_each(|model| place(&mut model.source));
        spec.store.as_mut().map(place);
        spec.check().map_err(|Finding { field, message }| SpecError::Invalid { file: file.to_path_buf(), field, message })?;
        Ok(spec)
    }

    /// The JSON Schema of corpus spec files.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(CorpusSpec).to_value()
    }

    /// The model that labels.
    pub fn classifier(&self) -> &ModelSpec {
        self.classify.model.as_ref().unwrap_or(&self.model)
    }

    /// The word for a class.
    pub fn word<'a>(&'a self, class: &'a str) -> &'a str {
        self.classify.answers.get(class).map_or(class, String::as_str)
    }

    /// A class's index.
    ///
    /// # Panics
    /// If it is none of the classes, which [`CorpusSpec::from_yaml`] refuses.
    pub fn class(&self, name: &str) -> usize {
        self.classes.iter().position(|class| class == name).expect("the spec was checked to name classes only")
    }

    /// The classes that are written toward: those that are named, else all but `except`.
    pub fn targets(&self, named: &[String], except: Option<&str>) -> Vec<usize> {
        let all = || (0..self.classes.len()).filter(|class| Some(self.classes[*class].as_str()) != except).collect();
        if named.is_empty() { all() } else { named.iter().map(|name| self.class(name)).collect() }
    }
}
