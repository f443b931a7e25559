//! The zero-shot baseline: the question, and the answers whose likelihood is measured.
//!
//! Put as a chat message, the answer is the beginning of the model's reply: it follows the rendered prompt at once, and
//! `enable_thinking: false` asks templates with a thinking mode for an immediate answer (others ignore it). Put as plain
//! text, the prompt ends in `\nAnswer:` and the answer follows after a space. The space belongs to the answer, because
//! tokenizers join it to the word: `Answer: ` and `joy` are other tokens than `Answer:` and ` joy`, which is what models
//! have seen in training.

use std::collections::BTreeMap;

use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Chat, Prompt, Spec};
use limbic_proto::unit::{ENGINE_VERSION, PromptUnit, RowsIdentity};

use super::axes::ranges;
use super::{ModelFacts, PlanError};

/// The row ranges that are asked: between the first and the last test row, without ranges that hold no test row.
/// (Where rows are ordered by split these are the test rows and no others.)
pub(super) fn shards(rows: &Rows, size: usize) -> Vec<(usize, usize)> {
    let test = |i: &usize| rows.rows[*i].split == Split::Test;
    let first = (0..rows.rows.len()).find(test).unwrap_or(0);
    let end = (0..rows.rows.len()).rev().find(test).map_or(0, |last| last + 1);
    ranges((first, end), size).filter(|(from, to)| (*from..*to).any(|i| test(&i))).collect()
}

/// The unit that asks about some rows.
pub(super) fn unit(
    spec: &Spec,
    classes: &[String],
    model: &ModelFacts,
    texts: Digest,
    rows: (usize, usize),
) -> Result<PromptUnit, PlanError> {
    let words = answers(spec, classes)?;
    let question = spec.zero_shot.question.replace("{labels}", &natural_list(&words));
    if question.matches("{text}").count() != 1 {
        return Err(PlanError::Question { question });
    }
    let (prompt, answers) = if spec.zero_shot.chat && model.chat_template {
        let variables = BTreeMap::from([("enable_thinking".to_owned(), false.into())]);
        (Prompt::Chat(Chat { system: None, user: question, variables }), words)
    } else {
        (Prompt::Template(format!("{question}\nAnswer:")), words.iter().map(|w| format!(" {w}")).collect())
    };
    Ok(PromptUnit {
        version: ENGINE_VERSION,
        model: model.identity(),
        prompt,
        answers,
        rows: RowsIdentity { texts, count: rows.1 - rows.0, part: None },
        too_long: spec.too_long,
        bad_rows: spec.bad_rows,
    })
}

/// The word for each class, in class order.
fn answers(spec: &Spec, classes: &[String]) -> Result<Vec<String>, PlanError> {
    if let Some(class) = spec.zero_shot.answers.keys().find(|class| !classes.contains(class)) {
        return Err(PlanError::AnswerWithoutClass { class: class.clone(), classes: classes.join(", ") });
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for class in classes {
        let word = spec.zero_shot.answers.get(class).unwrap_or(class);
        if word.trim().is_empty() || word.trim() != word {
            return Err(PlanError::Answer { class: class.clone(), answer: word.clone() });
        }
        if let Some(other) = owners.insert(word, class) {
            return Err(PlanError::SameAnswer { answer: word.clone(), first: other.to_owned(), second: class.clone() });
        }
    }
    Ok(classes.iter().map(|class| spec.zero_shot.answers.get(class).unwrap_or(class).clone()).collect())
}

/// `anger, disgust or joy`.
pub(super) fn natural_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}
