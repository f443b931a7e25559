//! What a spec may not ask of the rows and models it names.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::Layer;
use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Scheme, Split};
use limbic_proto::spec::{Baseline, Spec, TooLong};

use super::ModelFacts;

/// Why a sweep can't be planned: the field, what was found, what to do. All of them reject the spec; trying again
/// does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to probe.
    #[error("models: is empty: name at least one model")]
    NoModels,
    /// Facts and spec don't match.
    #[error("models: the spec names {named}, but the facts of {found} were read (a bug: there must be as many)")]
    ModelCount {
        /// How many models the spec names.
        named: usize,
        /// How many facts there are.
        found: usize,
    },
    /// One model under two names.
    #[error("models: `{first}` and `{second}` have the same weights, tokenizer and dtype: drop one")]
    SameModel {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
    },
    /// One prompt under two names.
    #[error("conditions: `{first}` and `{second}` put the same prompt to the model: drop one")]
    SameCondition {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
    },
    /// More than can be planned.
    #[error(
        "offsets: models, layers, conditions, offsets and sampling seeds make {cells} cells; ask for fewer offsets or layers, or make several sweeps of it"
    )]
    TooManyCells {
        /// How many they make.
        cells: usize,
    },
    /// A layer that a model doesn't have.
    #[error(
        "layers: model `{model}` has no layer {layer}: it has 0 (embeddings) to {layers}, and `final`; drop the layer, or \
         choose by `depth`, which fits models of any size"
    )]
    Layer {
        /// The model's name.
        model: String,
        /// The layer asked for.
        layer: Layer,
        /// How many blocks it has.
        layers: u32,
    },
    /// Chat messages for a model that has no template to render them with.
    #[error(
        "conditions[{index}].chat: model `{model}` has no chat template to render condition `{condition}`; use `template` \
         instead, or put the model into a sweep of its own"
    )]
    ChatTemplate {
        /// The condition's index.
        index: usize,
        /// The condition's name.
        condition: String,
        /// The model's name.
        model: String,
    },
    /// A reply that leaves no room for a prompt.
    #[error(
        "{}: {tokens} tokens of reply leave model `{model}` no room for a prompt, its context is {context} tokens: {}, or put the \
         model into a sweep of its own",
        if *.offset { "offsets" } else { "continuation.tokens" },
        if *.offset { "ask for smaller offsets" } else { "lower it" }
    )]
    NoRoom {
        /// The model's name.
        model: String,
        /// Its context, in tokens.
        context: usize,
        /// The reply, in tokens.
        tokens: u32,
        /// Whether the largest offset sets its length.
        offset: bool,
    },
    /// A later revision takes the name of another model.
    #[error("models: `{model}` has other weights, another tokenizer or dtype than the sweep's `{model}`: give it another name")]
    OtherModel {
        /// The model's name.
        model: String,
    },
    /// A later revision takes the name of another condition.
    #[error("conditions: `{condition}` puts another prompt than the sweep's `{condition}`: give it another name")]
    OtherCondition {
        /// The condition's name.
        condition: String,
    },
    /// A later revision changes what it may not.
    #[error(
        "{field}: differs from what the sweep was first asked; a sweep can be extended by models, layers, conditions, offsets, seeds of \
         sampling and (as `judge.models`) judges only: submit this as a sweep of its own (states that both need are shared)"
    )]
    Changed {
        /// The field.
        field: String,
    },
    /// There is nothing to tell apart.
    #[error("dataset.labels: there must be at least 2 classes, but there are {found}; check dataset.label and dataset.label_map")]
    Classes {
        /// How many classes there are.
        found: usize,
    },
    /// A class index out of range.
    #[error("dataset: row `{id}` has class number {class}, but there are {classes} classes (a bug in reading the dataset)")]
    UnknownClass {
        /// The row's id.
        id: String,
        /// Its class.
        class: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A split without rows.
    #[error("dataset.{}: no row is in `{}`; probes need rows in train, validation and test: add rows, or change the shares", if *.column { "split" } else { "shares" }, .split.as_str())]
    EmptySplit {
        /// The split.
        split: Split,
        /// Whether the spec names a split column.
        column: bool,
    },
    /// A class that a split doesn't have.
    #[error(
        "dataset.labels: no row of class `{class}` is in `{}` ({rows} rows); add rows of it, merge it into another class by \
         dataset.label_map, or leave its rows out of the dataset",
        .split.as_str()
    )]
    MissingClass {
        /// The split.
        split: Split,
        /// The class.
        class: String,
        /// How many rows the split has.
        rows: usize,
    },
    /// A coarser level that leaves a class out.
    #[error("report.levels: `{level}` doesn't say where the class `{class}` belongs: add it to its map")]
    LevelWithoutClass {
        /// The level.
        level: String,
        /// The class.
        class: String,
    },
    /// A question without the utterance, or with two.
    #[error("{field}: must contain `{{text}}` exactly once; with its labels it reads: {question}")]
    Question {
        /// The field.
        field: &'static str,
        /// The question with its labels.
        question: String,
    },
    /// An answer for a class that doesn't exist.
    #[error("zero_shot.answers: `{class}` is not a class; the classes are {classes}")]
    AnswerWithoutClass {
        /// What was named.
        class: String,
        /// The classes.
        classes: String,
    },
    /// An answer that is not a word.
    #[error(
        "zero_shot.answers: the answer `{answer}` of class `{class}` must be a word without spaces around it: name another one, or `dataset.label_map` a class of another name"
    )]
    Answer {
        /// The class.
        class: String,
        /// Its answer.
        answer: String,
    },
    /// Two classes with one answer.
    #[error("zero_shot.answers: classes `{first}` and `{second}` both have the answer `{answer}`: their likelihoods would be the same")]
    SameAnswer {
        /// The answer.
        answer: String,
        /// The first class.
        first: String,
        /// The second class.
        second: String,
    },
}

/// Every split that something is fitted or measured on must have rows, and of every class where a row has one.
pub(super) fn rows(spec: &Spec, rows: &Rows) -> Result<(), PlanError> {
    if rows.classes.len() < 2 && rows.scheme == Scheme::Single {
        return Err(PlanError::Classes { found: rows.classes.len() });
    }
    for level in &spec.report.levels {
        if let Some(class) = rows.classes.iter().find(|class| !level.map.contains_key(*class)) {
            return Err(PlanError::LevelWithoutClass { level: level.name.clone(), class: class.clone() });
        }
    }
    let mut found: BTreeMap<Split, (usize, BTreeSet<u32>)> = BTreeMap::new();
    for row in &rows.rows {
        if row.class as usize >= rows.classes.len() {
            return Err(PlanError::UnknownClass { id: row.id.clone(), class: row.class, classes: rows.classes.len() });
        }
        let (count, classes) = found.entry(row.split).or_default();
        *count += 1;
        classes.insert(row.class);
    }
    let fitted = |b: &Baseline| matches!(b, Baseline::Majority | Baseline::BagOfWords | Baseline::MeanEmbedding);
    let needed: &[Split] = if !spec.probes.is_empty() || spec.baselines.iter().any(fitted) {
        &Split::ALL
    } else if spec.baselines.is_empty() {
        &[]
    } else {
        &[Split::Test]
    };
    for &split in needed {
        let Some((count, present)) = found.get(&split) else {
            return Err(PlanError::EmptySplit { split, column: spec.dataset.split.is_some() });
        };
        if rows.scheme != Scheme::Single || needed.len() < Split::ALL.len() {
            continue;
        }
        if let Some(absent) = (0..rows.classes.len()).find(|class| !present.contains(&(*class as u32))) {
            return Err(PlanError::MissingClass { split, class: rows.classes[absent].clone(), rows: *count });
        }
    }
    Ok(())
}

/// A later revision may add, but not change. (That the rows are the same is seen by their digest, not here.)
pub(super) fn only_adds(first: &Spec, later: &Spec) -> Result<(), PlanError> {
    match first.changed_by(later) {
        Some(field) => Err(PlanError::Changed { field }),
        None => Ok(()),
    }
}

/// Models and conditions must differ from one another, and chat needs a template.
pub(super) fn models(spec: &Spec, models: &[ModelFacts]) -> Result<(), PlanError> {
    if spec.models.is_empty() {
        return Err(PlanError::NoModels);
    }
    if spec.models.len() != models.len() {
        return Err(PlanError::ModelCount { named: spec.models.len(), found: models.len() });
    }
    let mut identities = BTreeMap::new();
    for model in models {
        if let Some(first) = identities.insert(model.identity(), &model.name) {
            return Err(PlanError::SameModel { first: first.clone(), second: model.name.clone() });
        }
    }
    let mut prompts = BTreeMap::new();
    for condition in &spec.conditions {
        if let Some(first) = prompts.insert(Digest::of_json(&condition.prompt()), &condition.name) {
            return Err(PlanError::SameCondition { first: first.clone(), second: condition.name.clone() });
        }
    }
    for (index, condition) in spec.conditions.iter().enumerate().filter(|(_, c)| c.chat.is_some()) {
        if let Some(model) = models.iter().find(|m| !m.chat_template) {
            return Err(PlanError::ChatTemplate { index, condition: condition.name.clone(), model: model.name.clone() });
        }
    }
    Ok(())
}

/// Prompts need room before the replies that are asked for. What is asked of a new spec only: a sweep that stands already is
/// planned as it was, and its units say what they lack.
///
/// # Errors
/// [`PlanError::NoRoom`] for the first model that has none, unless rows that don't fit are left out.
pub fn room(spec: &Spec, models: &[ModelFacts]) -> Result<(), PlanError> {
    let largest = spec.offsets.iter().copied().max().unwrap_or(0);
    let replies = spec.continuation.as_ref().filter(|c| c.instead().is_none() && (largest > 0 || spec.judge.is_some()));
    let Some(replies) = replies.filter(|_| spec.too_long != TooLong::Skip) else { return Ok(()) };
    let tokens = replies.tokens.unwrap_or(largest);
    match models.iter().find(|model| model.architecture.context <= tokens as usize) {
        None => Ok(()),
        Some(model) => {
            let (model, context) = (model.name.clone(), model.architecture.context);
            Err(PlanError::NoRoom { model, context, tokens, offset: replies.tokens.is_none() })
        }
    }
}
