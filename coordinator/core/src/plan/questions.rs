//! What models are asked about utterances and replies: the question, and the answers whose likelihood is measured.
//!
//! Put as a chat message, the answer is the beginning of the model's reply: it follows the rendered prompt at once, and
//! `enable_thinking: false` asks templates with a thinking mode for an immediate answer (others ignore it). Put as plain
//! text, the prompt ends in `\nAnswer:` and the answer follows after a space. The space belongs to the answer, because
//! tokenizers join it to the word: `Answer: ` and `joy` are other tokens than `Answer:` and ` joy`, which is what models
//! have seen in training.

use std::collections::BTreeMap;

use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, Chat, Judge, LABELS, Prompt, Spec, TEXT, Writing};
use limbic_proto::unit::{Asking, JudgeUnit, PromptUnit, RowsIdentity, Versions};

use super::axes::ranges;
use super::{ModelFacts, PlanError};

/// The row ranges that are asked: between the first and the last test row, without ranges that hold no test row.
/// (Ingestion orders rows by split, so these are the test rows and no others.)
pub(super) fn shards(rows: &Rows, size: usize) -> Vec<(usize, usize)> {
    let test = |i: &usize| rows.rows[*i].split == Split::Test;
    let first = (0..rows.rows.len()).find(test).unwrap_or(0);
    let end = (0..rows.rows.len()).rev().find(test).map_or(0, |last| last + 1);
    ranges((first, end), size).filter(|(from, to)| (*from..*to).any(|i| test(&i))).collect()
}

/// The unit that asks about some rows.
pub(super) fn zero_shot(
    spec: &Spec,
    classes: &[String],
    model: &ModelFacts,
    baseline: Baseline,
    texts: Digest,
    rows: (usize, usize),
    versions: &Versions,
) -> Result<PromptUnit, PlanError> {
    let asked = &spec.zero_shot;
    let rows = RowsIdentity { texts, count: rows.1 - rows.0, part: None };
    let unit = |Question { prompt, answers }: Question, asking, content_free| PromptUnit {
        version: versions.engine,
        model: model.identity(),
        prompt,
        asking,
        answers,
        content_free,
        rows,
        too_long: spec.too_long,
        bad_rows: spec.bad_rows,
    };
    let words = answers(spec, classes)?;
    if baseline == Baseline::ZeroShotJson {
        let question = question("zero_shot.json_question", &asked.json_question, asked.chat, words, model)?;
        let asking = Asking::Answer { tokens: asked.json_tokens };
        return Ok(unit(Question { answers: Vec::new(), ..question }, asking, Vec::new()));
    }
    let question = question("zero_shot.question", &asked.question, asked.chat, words, model)?;
    Ok(unit(question, Asking::Likelihood, asked.content_free.clone()))
}

/// The unit that writes about some rows.
pub(super) fn writing(
    spec: &Spec,
    writing: &Writing,
    model: &ModelFacts,
    rows: RowsIdentity,
    versions: &Versions,
) -> Result<PromptUnit, PlanError> {
    let Question { prompt, .. } = question("writing.question", &writing.question, writing.chat, Vec::new(), model)?;
    Ok(PromptUnit {
        version: versions.engine,
        model: model.identity(),
        prompt,
        asking: Asking::Answer { tokens: writing.tokens },
        answers: Vec::new(),
        content_free: Vec::new(),
        rows,
        too_long: spec.too_long,
        bad_rows: spec.bad_rows,
    })
}

/// The unit that judges the replies of an extract unit.
pub(super) fn judge(
    spec: &Spec,
    judge: &Judge,
    classes: &[String],
    model: &ModelFacts,
    replies: UnitKey,
    versions: &Versions,
) -> Result<JudgeUnit, PlanError> {
    let Question { prompt, answers } = question("judge.question", &judge.question, judge.chat, answers(spec, classes)?, model)?;
    Ok(JudgeUnit {
        version: versions.engine,
        model: model.identity(),
        prompt,
        answers,
        content_free: judge.content_free.clone(),
        replies,
        too_long: spec.too_long,
        bad_rows: spec.bad_rows,
    })
}

/// A question as it is put, and the answers as they follow it.
struct Question {
    prompt: Prompt,
    answers: Vec<String>,
}

fn question(field: &'static str, asked: &str, chat: bool, words: Vec<String>, model: &ModelFacts) -> Result<Question, PlanError> {
    let question = asked.replace(LABELS, &natural_list(&words));
    if question.matches(TEXT).count() != 1 {
        return Err(PlanError::Question { field, question });
    }
    Ok(if chat && model.chat_template {
        let variables = BTreeMap::from([("enable_thinking".to_owned(), false.into())]);
        Question { prompt: Prompt::Chat(Chat { user: question, variables, ..Chat::default() }), answers: words }
    } else {
        let answers = words.iter().map(|w| format!(" {w}")).collect();
        Question { prompt: Prompt::Template(format!("{question}\nAnswer:")), answers }
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
