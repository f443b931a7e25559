//! What a spec leaves to be carried out when it is accepted: few-shot examples are drawn, stimuli become conditions,
//! models get their twins, and one seed of sampling is written in one way. What is accepted says all of it, so that a sweep's id is over content.

use std::collections::HashMap;

use limbic_proto::rows::{Row, Rows};
use limbic_proto::spec::{Condition, Control, Example, FewShot, ModelSpec, Spec, Stimuli, TEXT, placeholders};
use serde::Deserialize;

use crate::dataset::{Drawn, folded};
use crate::failure::Failure;

/// The draws that conditions ask for, in their order.
pub(super) fn few_shot(spec: &Spec) -> Vec<FewShot> {
    spec.conditions.iter().filter_map(|condition| condition.few_shot.clone()).collect()
}

/// Carries everything out; `drawn` are the rows of [`few_shot`]. What was done, one sentence each.
///
/// # Errors
/// Stimuli can't be read, or the resolved spec is none.
pub(super) async fn all(spec: &mut Spec, drawn: &[Vec<Drawn>]) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    examples(spec, drawn, &mut notes);
    stimuli(spec, &mut notes).await?;
    single_twins(spec).map_err(|(field, message)| Failure::user(format_args!("{field}: {message}")))?;
    twins(spec, &mut notes);
    if let Some(continuation) = &mut spec.continuation {
        continuation.settle();
    }
    spec.check().map_err(|found| Failure::user(format_args!("{}: {}", found.field, found.message)))?;
    Ok(notes)
}

/// Writes the drawn rows into the conditions that asked for them.
fn examples(spec: &mut Spec, drawn: &[Vec<Drawn>], notes: &mut Vec<String>) {
    let asking = spec.conditions.iter_mut().filter(|condition| condition.few_shot.is_some());
    for (condition, drawn) in asking.zip(drawn) {
        let label = |class: &String| spec.zero_shot.answers.get(class).unwrap_or(class).clone();
        let seed = condition.few_shot.take().map_or(0, |asked| asked.seed);
        condition.examples = drawn.iter().map(|row| Example { text: row.text.clone(), label: label(&row.class) }).collect();
        let ids: Vec<&str> = drawn.iter().map(|row| row.id.as_str()).collect();
        notes.push(format!(
            "few_shot: condition `{}` shows {} examples, drawn by seed {seed}, which are rows of the dataset no longer: {}",
            condition.name,
            ids.len(),
            ids.join(", ")
        ));
    }
}

/// What is to be said of conditions that show rows of the dataset as examples: what is measured on such a row was answered before it was
/// asked. (Drawn examples are no rows any more.)
pub(super) fn shown(spec: &Spec, rows: &Rows) -> Vec<String> {
    let examples = || spec.conditions.iter().flat_map(|condition| condition.examples.iter().map(move |example| (condition, example)));
    if examples().next().is_none() {
        return Vec::new();
    }
    let ids: HashMap<String, &Row> = rows.rows.iter().map(|row| (folded(&row.text), row)).collect();
    let note = |(condition, example): (&Condition, &Example)| {
        let row = ids.get(&folded(&example.text))?;
        let (name, id, split) = (&condition.name, &row.id, row.split.as_str());
        Some(format!("conditions: `{name}` shows the text of row {id} ({split}) as an example: take another, or leave the row out"))
    };
    examples().filter_map(note).collect()
}

/// One line of a file of stimuli; it may say more.
#[derive(Deserialize)]
struct Stimulus {
    id: String,
    text: String,
}

/// Puts a condition for each stimulus in the place of every condition that has some, and of its name where judges are told
/// whom to judge.
async fn stimuli(spec: &mut Spec, notes: &mut Vec<String>) -> Result<(), Failure> {
    let mut conditions = Vec::new();
    for (at, condition) in std::mem::take(&mut spec.conditions).into_iter().enumerate() {
        let Some(Stimuli { source, place }) = condition.stimuli.clone() else {
            conditions.push(condition);
            continue;
        };
        let field = format!("conditions[{at}].stimuli");
        let bytes = limbic_store::source::fetch(&source).await.map_err(|e| Failure::user(format_args!("{field}.source: {e}")))?;
        let read = read(&bytes).map_err(|message| Failure::user(format_args!("{field}: {source}{message}")))?;
        let each: Vec<Condition> = read.iter().map(|s| condition.with_stimulus(&s.id, &s.text, place)).collect();
        let names: Vec<String> = each.iter().map(|c| c.name.clone()).collect();
        notes.push(format!("stimuli: condition `{}` became {}: {}", condition.name, names.len(), names.join(", ")));
        if let Some(judge) = &mut spec.judge {
            let judged = std::mem::take(&mut judge.conditions);
            let stands_for = |name: String| if name == condition.name { names.clone() } else { vec![name] };
            judge.conditions = judged.into_iter().flat_map(stands_for).collect();
        }
        conditions.extend(each);
    }
    spec.conditions = conditions;
    Ok(())
}

/// The stimuli of a file, at least one; an error continues the file's name.
fn read(bytes: &[u8]) -> Result<Vec<Stimulus>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| ": is not UTF-8; save the file as UTF-8".to_owned())?;
    let mut read: Vec<Stimulus> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fail = |message: String| Err(format!(", line {}: {message}", number + 1));
        let stimulus: Stimulus = match serde_json::from_str(line) {
            Ok(stimulus) => stimulus,
            Err(e) => return fail(format!("expected an object with the strings `id` and `text`: {e}")),
        };
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if stimulus.id.is_empty() || !stimulus.id.chars().all(named) {
            return fail(format!(
                "the id `{}` must consist of letters, digits, `-`, `_` and `.`: it becomes part of a condition's name",
                stimulus.id
            ));
        }
        if stimulus.text.trim().is_empty() || stimulus.text.contains(TEXT) {
            return fail("the text must not be empty, nor contain `{text}`, which marks the utterance".to_owned());
        }
        if let Err(found) = placeholders("text", &stimulus.text, &[]) {
            return fail(found.message);
        }
        if read.iter().any(|before| before.id == stimulus.id) {
            return fail(format!("the id `{}` stands there twice: give each stimulus its own", stimulus.id));
        }
        read.push(stimulus);
    }
    if read.is_empty() { Err(": holds no stimuli: write one JSON object with `id` and `text` a line".to_owned()) } else { Ok(read) }
}

/// Refuses a second twin of a model: only one would be the control, and the other tell nothing that anybody reads.
///
/// # Errors
/// The twin's field, and what to do.
fn single_twins(spec: &Spec) -> Result<(), (String, String)> {
    let same = |a: &ModelSpec, b: &ModelSpec| a.source == b.source && a.dtype == b.dtype;
    for (at, twin) in spec.models.iter().enumerate().filter(|(_, model)| model.random_weights.is_some()) {
        let trained = spec.models.iter().find(|model| model.random_weights.is_none() && same(model, twin));
        let first = spec.models[..at].iter().find(|model| model.random_weights.is_some() && same(model, twin));
        if let (Some(trained), Some(first)) = (trained, first) {
            let (trained, first, twin) = (trained.name(), first.name(), twin.name());
            let message = format!(
                "`{twin}` is a second twin of `{trained}`, which is compared with `{first}` alone: keep one, and put the other seed into a sweep of its own"
            );
            return Err((format!("models[{at}].random_weights"), message));
        }
    }
    Ok(())
}

/// With the control `random-weights`, adds a twin of every model that has none yet.
fn twins(spec: &mut Spec, notes: &mut Vec<String>) {
    if !spec.controls.contains(&Control::RandomWeights) {
        return;
    }
    let has_twin = |model: &&ModelSpec| {
        let twin = |other: &ModelSpec| other.random_weights.is_some() && other.source == model.source && other.dtype == model.dtype;
        model.random_weights.is_some() || spec.models.iter().any(twin)
    };
    let twins: Vec<ModelSpec> = spec.models.iter().filter(|model| !has_twin(model)).map(|model| model.twin(0)).collect();
    if !twins.is_empty() {
        let names: Vec<String> = twins.iter().map(ModelSpec::name).collect();
        let twins = if names.len() == 1 { "1 twin was".to_owned() } else { format!("{} twins were", names.len()) };
        notes.push(format!("random-weights: {twins} added: {}", names.join(", ")));
    }
    spec.models.extend(twins);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use limbic_proto::rows::{Scheme, Split};
    use limbic_proto::spec::StimulusPlace;

    use super::*;

    fn spec(fields: &str) -> Spec {
        let text = format!("dataset: {{source: rows.jsonl}}\n{fields}\n");
        Spec::from_yaml(&text, Path::new("/specs/sweep.yaml")).unwrap()
    }

    #[tokio::test]
    async fn a_condition_with_stimuli_becomes_one_for_each() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"id\":\"P1\",\"text\":\"You can do it.\",\"more\":1}\n\n{\"id\":\"P2\",\"text\":\"Go on!\"}\n")
            .unwrap();
        let path = file.path().display();
        let mut spec = spec(&format!(
            "models: [{{source: m}}]\nconditions: [{{name: raw}}, {{name: up, template: 'Say: {{text}}', stimuli: {{source: {path}}}}}, \
             {{name: front, chat: {{}}, stimuli: {{source: {path}, place: before}}}}]\noffsets: [0, 2]\ncontinuation: {{}}\n\
             judge: {{conditions: [front, raw]}}"
        ));
        let notes = all(&mut spec, &[]).await.unwrap();
        let names: Vec<&str> = spec.conditions.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["raw", "up.P1", "up.P2", "front.P1", "front.P2"]);
        assert_eq!(spec.conditions[1].template.as_deref(), Some("Say: {text} You can do it."));
        assert_eq!(spec.conditions[4].chat.as_ref().unwrap().user, "Go on! {text}");
        assert!(spec.conditions.iter().all(|c| c.stimuli.is_none()));
        assert_eq!(spec.judge.unwrap().conditions, ["front.P1", "front.P2", "raw"]);
        assert_eq!(notes[0], "stimuli: condition `up` became 2: up.P1, up.P2");
        assert_eq!(StimulusPlace::default(), StimulusPlace::After);
    }

    #[test]
    fn what_is_wrong_with_a_file_of_stimuli_is_told_with_its_line() {
        let says = |text: &str, words: &[&str]| {
            let message = read(text.as_bytes()).err().unwrap();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        says("", &["holds no stimuli"]);
        says("{\"id\":\"a\",\"text\":\"b\"}\n{\"id\":\"c\"}", &["line 2", "`id` and `text`"]);
        says("{\"id\":\"a b\",\"text\":\"c\"}", &["line 1", "`a b`", "letters"]);
        says("{\"id\":\"a\",\"text\":\" \"}", &["line 1", "empty"]);
        says("{\"id\":\"a\",\"text\":\"x {text}\"}", &["`{text}`"]);
        says("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\",\"text\":\"x {txt}\"}", &["line 2", "`{txt}`", "did you mean `{ txt }`"]);
        says("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"y\"}", &["line 2", "twice"]);
    }

    #[tokio::test]
    async fn twins_are_added_once() {
        let mut spec =
            spec("models: [{source: a}, {source: b, name: x}, {source: b, name: mine, random_weights: 7}]\ncontrols: [random-weights]");
        let notes = all(&mut spec, &[]).await.unwrap();
        let models: Vec<_> = spec.models.iter().map(|m| (m.name(), m.random_weights)).collect();
        let named = |name: &str, seed| (name.to_owned(), seed);
        assert_eq!(models, [named("a", None), named("x", None), named("mine", Some(7)), named("a-random", Some(0))]);
        assert_eq!(notes, ["random-weights: 1 twin was added: a-random"]);
        assert_eq!(all(&mut spec, &[]).await.unwrap(), Vec::<String>::new(), "a resolved spec stays as it is");
    }

    #[tokio::test]
    async fn a_second_twin_is_refused() {
        let models = "{source: a, random_weights: 0}, {source: a, name: b, random_weights: 1}";
        let said = all(&mut spec(&format!("models: [{{source: a, name: mine}}, {models}]")), &[]).await.unwrap_err().to_string();
        assert!(["models[2].random_weights", "`b`", "`mine`", "`a-random`", "keep one"].iter().all(|w| said.contains(w)), "{said}");
        // Nobody's twins are models like any others, and so are those in another number format.
        assert!(all(&mut spec(&format!("models: [{models}]")), &[]).await.is_ok());
        let other = "models: [{source: a}, {source: a, random_weights: 0}, {source: a, name: b, dtype: bf16, random_weights: 0}]";
        assert!(all(&mut spec(other), &[]).await.is_ok());
    }

    #[tokio::test]
    async fn one_seed_of_sampling_is_one_sweep_however_it_is_written() {
        let id = async |continuation: &str| {
            let mut spec = spec(&format!("models: [{{source: m}}]\noffsets: [0, 2]\ncontinuation: {continuation}"));
            all(&mut spec, &[]).await.unwrap();
            (limbic_proto::spec::sweep_id(&spec, &limbic_proto::key::Digest::of(b"rows"), &[]), spec)
        };
        let (bare, spec) = id("{temperature: 1}").await;
        let written = limbic_proto::key::canonical_json(&spec.continuation);
        assert_eq!(written, r#"{"seed":0,"stop_at_eos":true,"temperature":1.0}"#, "as it was before there could be several");
        assert_eq!(id("{temperature: 1, seed: 0}").await.0, bare);
        assert_eq!(id("{temperature: 1, seeds: [0]}").await.0, bare);
        let others = [id("{temperature: 1, seed: 1}").await.0, id("{temperature: 1, seeds: [0, 1]}").await.0];
        assert!(!others.contains(&bare) && others[0] != others[1]);
    }

    #[tokio::test]
    async fn drawn_rows_are_worded_as_answers_are() {
        let mut spec = spec(
            "models: [{source: m}]\nconditions: [{name: few, few_shot: {per_class: 1, seed: 3}}]\nzero_shot: {answers: {joy: happiness}}",
        );
        let row = |id: &str, class: &str| Drawn { id: id.into(), text: format!("text {id}"), class: class.into() };
        assert_eq!(few_shot(&spec), [FewShot { per_class: 1, seed: 3 }]);
        let notes = all(&mut spec, &[vec![row("r1", "joy"), row("r2", "anger")]]).await.unwrap();
        let example = |text: &str, label: &str| Example { text: text.into(), label: label.into() };
        assert_eq!(spec.conditions[0].examples, [example("text r1", "happiness"), example("text r2", "anger")]);
        assert!(spec.conditions[0].few_shot.is_none() && notes[0].contains(" drawn by seed 3, ") && notes[0].ends_with("r1, r2"));
    }

    #[test]
    fn examples_that_are_rows_are_told() {
        let examples = "[{text: Something else, label: joy}, {text: 'Utterance number 4!', label: anger}]";
        let spec = spec(&format!("models: [{{source: m}}]\nconditions: [{{name: few, examples: {examples}}}]"));
        let row = |i: usize| Row {
            id: format!("r{i}"),
            text: format!("utterance number {i}"),
            class: 0,
            group: format!("r{i}"),
            split: Split::Test,
            weight: 1,
            values: Vec::new(),
        };
        let rows = Rows { scheme: Scheme::Single, classes: vec!["joy".into(), "anger".into()], rows: (0..6).map(row).collect() };
        let said = "conditions: `few` shows the text of row r4 (test) as an example: take another, or leave the row out";
        assert_eq!(shown(&spec, &rows), [said]);
    }
}
