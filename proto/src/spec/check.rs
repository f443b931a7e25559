//! What a well-formed spec must also satisfy; everything that needs no file but the spec itself.

mod activations;
mod dataset;
mod offsets;
mod secret;
mod syntax;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub use self::secret::{FROM as CREDENTIALS, secret};
pub(super) use self::syntax::syntax;
pub use self::words::{meant, placeholders, slip};
use super::model::{LayerSelector, ModelSpec};
use super::probe::{Baseline, MlpSpec, ProbeSpec};
use super::{LABEL, LABELS, Spec, TEXT, Transfer};
use crate::axis::Pooling;
use crate::rows::Scheme;

/// Resamples below which a percentile interval says nothing.
const FEWEST_RESAMPLES: usize = 100;
/// Resamples above which intervals don't change any more; every one takes 8 bytes per fit while a report is made.
const MOST_RESAMPLES: usize = 20_000;

/// Why a spec was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not YAML, or not the spec's fields and types; the message carries line and column.
    #[error("{}, {message}", file.display())]
    Syntax {
        /// The spec file.
        file: PathBuf,
        /// What was found and where.
        message: String,
    },
    /// Well formed, but with a value that makes no sense.
    #[error("{}: {field}: {message}", file.display())]
    Invalid {
        /// The spec file.
        file: PathBuf,
        /// The field.
        field: String,
        /// What was found and what to do.
        message: String,
    },
}

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field, as a path such as `conditions[2].name`.
    pub field: String,
    /// What was found and what to do.
    pub message: String,
}

pub(super) fn finding<T>(field: impl Into<String>, message: impl Into<String>) -> Result<T, Finding> {
    Err(Finding { field: field.into(), message: message.into() })
}

impl Spec {
    /// Checks what needs nothing but the spec: names, ranges, offsets against the continuation.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), Finding> {
        name("name", &self.name)?;
        if self.models.is_empty() {
            return finding("models", "is empty: name at least one model");
        }
        let names: Vec<String> = self.models.iter().map(|m| m.name()).collect();
        if let Err(twice) = unique("models", "name", &names) {
            return finding(twice.field, format!("{} with `name` (otherwise it is the last part of `source`)", twice.message));
        }
        for (i, (n, model)) in names.iter().zip(&self.models).enumerate() {
            secret::no_secret(format!("models[{i}].source"), &model.source)?;
            name(&format!("models[{i}].name"), n)?;
        }
        self.store.iter().try_for_each(|store| secret::no_secret("store", store))?;
        if let LayerSelector::List(list) = &self.layers
            && list.is_empty()
            && !self.probes.is_empty()
        {
            return finding("layers", "is empty: name at least one layer, or `all`; without `probes` there may be none");
        }
        self.check_conditions()?;
        self.check_offsets()?;
        self.check_probes()?;
        self.check_questions()?;
        self.check_dataset()?;
        self.check_levels()?;
        self.check_main_probe()?;
        self.check_activations()?;
        if self.execution.rows_per_unit == Some(0) || self.execution.token_budget == 0 {
            return finding("execution", "rows_per_unit and token_budget must be at least 1");
        }
        if !(0.001..=1000.0).contains(&self.execution.weight) {
            return finding("execution.weight", format!("is {}: it must lie in 0.001..1000; 1 is usual", self.execution.weight));
        }
        if !(0.5..1.0).contains(&self.report.confidence) {
            return finding("report.confidence", format!("is {}: it must lie in 0.5..1, such as 0.95", self.report.confidence));
        }
        if !(FEWEST_RESAMPLES..=MOST_RESAMPLES).contains(&self.report.resamples) {
            return finding(
                "report.resamples",
                format!(
                    "is {}: it must lie in {FEWEST_RESAMPLES}..{MOST_RESAMPLES} (fewer give no interval, more fill the memory and tell nothing new)",
                    self.report.resamples
                ),
            );
        }
        Ok(())
    }

    fn check_conditions(&self) -> Result<(), Finding> {
        if self.conditions.is_empty() {
            return finding("conditions", "is empty: leave it out for the bare text, or name at least one");
        }
        let names: Vec<String> = self.conditions.iter().map(|c| c.name.clone()).collect();
        unique("conditions", "name", &names)?;
        for (i, condition) in self.conditions.iter().enumerate() {
            name(&format!("conditions[{i}].name"), &condition.name)?;
            let text = match (&condition.template, &condition.chat) {
                (Some(_), Some(_)) => return finding(format!("conditions[{i}]"), "has both `template` and `chat`: keep one"),
                (Some(template), None) => Some(("template", template)),
                (None, Some(chat)) => Some(("chat.user", &chat.user)),
                (None, None) => None,
            };
            if let Some((field, text)) = text {
                let field = format!("conditions[{i}].{field}");
                placeholders(&field, text, &[TEXT])?;
                if text.matches(TEXT).count() != 1 {
                    return finding(field, "must contain `{text}` exactly once: it is where the utterance goes");
                }
            }
            if condition.chat.as_ref().and_then(|chat| chat.system.as_ref()).is_some_and(|system| system.contains(TEXT)) {
                let message = "contains `{text}`, and is sent as it is: the utterance goes into `chat.user`";
                return finding(format!("conditions[{i}].chat.system"), message);
            }
            placeholders(&format!("conditions[{i}].example"), &condition.example, &[TEXT, LABEL])?;
            for mark in [TEXT, LABEL] {
                if condition.example.matches(mark).count() != 1 {
                    return finding(format!("conditions[{i}].example"), format!("must contain `{mark}` exactly once"));
                }
            }
            if let Some(example) = condition.examples.iter().find(|e| e.text.contains(TEXT) || e.label.contains(TEXT)) {
                let message = format!("the example `{}` contains `{{text}}`, which marks the utterance: leave it out", example.text);
                return finding(format!("conditions[{i}].examples"), message);
            }
            if condition.few_shot.is_some() && !condition.examples.is_empty() {
                return finding(format!("conditions[{i}]"), "has both `examples` and `few_shot`: write them or have them drawn");
            }
            if condition.few_shot.as_ref().is_some_and(|draw| draw.per_class == 0) {
                return finding(format!("conditions[{i}].few_shot.per_class"), "must be at least 1");
            }
            if condition.few_shot.is_some() && self.dataset.scheme != Scheme::Single {
                return finding(
                    format!("conditions[{i}].few_shot"),
                    "draws an example of each class, which needs `dataset.scheme: single`",
                );
            }
        }
        Ok(())
    }

    fn check_probes(&self) -> Result<(), Finding> {
        unique("probes", "kind", &self.probes.iter().map(ProbeSpec::name).collect::<Vec<_>>())?;
        unique("baselines", "baseline", &self.baselines.iter().map(|b| b.name()).collect::<Vec<_>>())?;
        unique("controls", "control", &self.controls.iter().map(|c| c.name()).collect::<Vec<_>>())?;
        unique("seeds", "seed", &self.seeds)?;
        if self.seeds.is_empty() {
            return finding("seeds", "is empty: leave it out for [0]");
        }
        let scheme = self.dataset.scheme;
        let at_last = self.pooling.contains(&Pooling::Last) && self.offsets.contains(&0);
        if self.transfer.contains(&Transfer::Offsets) && !at_last {
            return finding("transfer", "`offsets` uses probes of offset 0, pooling `last`: ask for those");
        }
        for (i, probe) in self.probes.iter().enumerate() {
            if !probe.fits(scheme) {
                return finding(
                    format!("probes[{i}]"),
                    format!("`{}` can't be fitted to labels of dataset.scheme `{}`: ridge and mlp can", probe.name(), scheme.as_str()),
                );
            }
            match probe {
                ProbeSpec::Logistic(p) if p.mdl && scheme != Scheme::Single => {
                    return finding(format!("probes[{i}].mdl"), "needs `dataset.scheme: single`");
                }
                ProbeSpec::Ridge(p) if p.alpha.is_empty() || p.alpha.iter().any(|a| !STRENGTHS.contains(a)) => {
                    return finding(format!("probes[{i}].alpha"), "needs at least one penalty, all above 0 (1e-12 to 1e12)");
                }
                ProbeSpec::Lda(p) if p.shrinkage.is_some_and(|s| !(0.0..=1.0).contains(&s)) => {
                    return finding(format!("probes[{i}].shrinkage"), "must lie in 0..1; leave it out to have it estimated");
                }
                ProbeSpec::OffsetMlp(p) if !(1..=1 << 16).contains(&p.embedding) => {
                    return finding(format!("probes[{i}].embedding"), "must lie in 1..65536");
                }
                ProbeSpec::Logistic(p) if p.c.is_empty() || p.c.iter().any(|c| !STRENGTHS.contains(c)) => {
                    return finding(format!("probes[{i}].c"), "needs at least one strength, all above 0 (1e-12 to 1e12)");
                }
                ProbeSpec::Mlp(p) => perceptron(&format!("probes[{i}]"), p)?,
                ProbeSpec::OffsetMlp(p) => perceptron(&format!("probes[{i}].mlp"), &p.mlp)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_questions(&self) -> Result<(), Finding> {
        let both = [TEXT, LABELS].as_slice();
        let asks = [
            ("zero_shot.question", Some(&self.zero_shot.question), both),
            ("zero_shot.json_question", Some(&self.zero_shot.json_question), both),
            ("judge.question", self.judge.as_ref().map(|judge| &judge.question), both),
            ("writing.question", self.writing.as_ref().map(|writing| &writing.question), &[TEXT]),
        ];
        for (field, question, known) in asks.into_iter().filter_map(|(field, question, known)| Some((field, question?, known))) {
            placeholders(field, question, known)?;
            if !question.contains(TEXT) {
                return finding(field, "must contain `{text}`: it is where the utterance goes");
            }
        }
        if self.zero_shot.json_tokens == 0 {
            return finding("zero_shot.json_tokens", "must be at least 1");
        }
        if self.writing.as_ref().is_some_and(|writing| writing.tokens == 0) {
            return finding("writing.tokens", "must be at least 1");
        }
        let asked = self.baselines.iter().find(|b| matches!(b, Baseline::ZeroShot | Baseline::ZeroShotJson));
        if let Some(asked) = asked
            && self.dataset.scheme == Scheme::Continuous
        {
            return finding(
                "baselines",
                format!("`{}` asks for a class, and dataset.scheme `continuous` has none: leave it out", asked.name()),
            );
        }
        let Some(judge) = &self.judge else { return Ok(()) };
        if self.continuation.is_none() || self.dataset.scheme != Scheme::Single {
            return finding("judge", "judges replies to utterances of one class: it needs a `continuation` and `dataset.scheme: single`");
        }
        let length = self.continuation.as_ref().and_then(|c| c.tokens).or(self.offsets.iter().copied().max());
        if length.unwrap_or(0) == 0 {
            return finding("continuation.tokens", "is missing: a judge needs replies of some length");
        }
        if self.continuation.as_ref().is_some_and(|c| c.instead().is_some()) {
            return finding(
                "judge",
                "judges what models write, and continuation.filler follows the prompt instead: drop one, or make it a control",
            );
        }
        judge.check_models(&self.models.iter().map(ModelSpec::name).collect::<Vec<_>>())?;
        match judge.conditions.iter().find(|name| !self.conditions.iter().any(|c| c.name == **name)) {
            Some(unknown) => finding("judge.conditions", format!("`{unknown}` is none of the sweep's conditions")),
            None => Ok(()),
        }
    }

    fn check_main_probe(&self) -> Result<(), Finding> {
        let names: Vec<&str> = self.probes.iter().map(ProbeSpec::name).collect();
        match self.report.probe.as_deref().filter(|probe| !names.contains(probe)) {
            Some(unknown) => finding("report.probe", format!("`{unknown}` is none of the sweep's probes ({})", names.join(", "))),
            None => Ok(()),
        }
    }

    fn check_levels(&self) -> Result<(), Finding> {
        unique("report.levels", "name", &self.report.levels.iter().map(|level| &level.name).collect::<Vec<_>>())?;
        for (i, level) in self.report.levels.iter().enumerate() {
            name(&format!("report.levels[{i}].name"), &level.name)?;
            if level.name == "classes" {
                return finding(format!("report.levels[{i}].name"), "`classes` is what the dataset's own classes go by: give it another");
            }
            if let Some(class) = self.dataset.labels.iter().find(|class| !level.map.contains_key(*class)) {
                return finding(format!("report.levels[{i}].map"), format!("doesn't say where the class `{class}` belongs"));
            }
        }
        Ok(())
    }
}

/// Strengths and penalties: beyond these the numbers of a fit are none.
const STRENGTHS: std::ops::RangeInclusive<f64> = 1e-12..=1e12;

/// Characters of a name: file systems take 255, and a report's folder adds some.
const LONGEST_NAME: usize = 128;

pub(super) fn name(field: &str, value: &str) -> Result<(), Finding> {
    if value.is_empty() || !value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return finding(field, format!("`{value}` must consist of letters, digits, `-`, `_` and `.`"));
    }
    // Reports and figures are written by it.
    if value.starts_with(['.', '-']) {
        return finding(field, format!("`{value}` must begin with a letter, a digit or `_`"));
    }
    if value.len() > LONGEST_NAME {
        return finding(field, format!("`{}…` has {} characters; {LONGEST_NAME} are the most", &value[..20], value.len()));
    }
    Ok(())
}

fn perceptron(field: &str, p: &MlpSpec) -> Result<(), Finding> {
    if p.hidden == 0 || p.epochs == 0 || p.batch == 0 {
        return finding(field, "hidden, epochs and batch must be at least 1");
    }
    if p.hidden > 1 << 16 || p.epochs > 10_000_000 {
        return finding(field, "hidden may be 65536 and epochs 10000000 at most");
    }
    if !(p.learning_rate.is_finite() && p.learning_rate > 0.0 && (0.0..=1.0).contains(&p.warmup)) {
        return finding(field, "learning_rate must be above 0 and warmup in 0..1");
    }
    Ok(())
}

pub(super) fn unique<T: Ord + std::fmt::Display>(field: &str, what: &str, values: &[T]) -> Result<(), Finding> {
    let mut seen = BTreeSet::new();
    match values.iter().find(|v| !seen.insert(*v)) {
        Some(twice) => finding(field, format!("{what} `{twice}` occurs twice: give each its own")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Spec;

    /// What is said of a minimal spec with a line added.
    fn said(line: &str) -> String {
        let (of_dataset, rest) = if line.starts_with("shares") { (format!(", {line}"), "") } else { (String::new(), line) };
        let text = format!("dataset: {{source: rows.jsonl{of_dataset}}}\nmodels: [{{source: m}}]\n{rest}\n");
        Spec::from_yaml(&text, Path::new("s.yaml")).map_or_else(|e| e.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn misspelt_placeholders_are_refused_where_they_stand() {
        for (line, field, meant) in [
            ("conditions: [{name: a, template: 'Say {txt}'}]", "conditions[0].template", "did you mean `{text}`?"),
            ("conditions: [{name: a, template: '{text} {label}'}]", "conditions[0].template", "what is filled in here is `{text}`"),
            ("conditions: [{name: a, chat: {user: '{texts}'}}]", "conditions[0].chat.user", "did you mean `{text}`?"),
            ("conditions: [{name: a, chat: {system: 'Be {text}'}}]", "conditions[0].chat.system", "is sent as it is"),
            ("conditions: [{name: a, example: '{text} {lable}'}]", "conditions[0].example", "did you mean `{label}`?"),
            ("zero_shot: {question: '{text} {lables}'}", "zero_shot.question", "did you mean `{labels}`?"),
            ("zero_shot: {json_question: '{Text}: {\"a\": 1}'}", "zero_shot.json_question", "did you mean `{text}`?"),
            ("writing: {question: '{text} {labels}', tokens: 3}", "writing.question", "what is filled in here is `{text}`"),
            ("zero_shot: {question: 'Which?'}", "zero_shot.question", "must contain `{text}`"),
        ] {
            let said = said(line);
            assert!(said.starts_with(&format!("s.yaml: {field}: ")) && said.contains(meant), "{line}: {said}");
        }
        for line in [
            "conditions: [{name: a, template: '{ name }: {text} {\"a\": 1}'}]",
            "conditions: [{name: a, chat: {system: 'Answer as {name}'}}]",
            "zero_shot: {json_question: '{text} {\"a\": \"{labels}\"}'}",
        ] {
            assert_eq!(said(line), "fine", "{line}");
        }
    }

    #[test]
    fn a_field_that_is_nearly_known_is_named() {
        assert!(
            said("layer: all").contains("unknown field `layer`; did you mean `layers`? the fields here are name,"),
            "{}",
            said("layer: all")
        );
        assert!(said("execution: {rows_per_units: 3}").contains("did you mean `rows_per_unit`?"));
        assert!(said("colour: red").contains("unknown field `colour`; the fields here are name,"));
    }

    #[test]
    fn names_that_no_file_can_have_are_refused() {
        let longest = "a".repeat(128);
        for (name, message) in [
            (format!("{longest}a"), "`aaaaaaaaaaaaaaaaaaaa…` has 129 characters; 128 are the most"),
            (".hidden".to_owned(), "`.hidden` must begin with a letter, a digit or `_`"),
            ("-rf".to_owned(), "`-rf` must begin with a letter, a digit or `_`"),
            ("a/b".to_owned(), "`a/b` must consist of letters"),
            ("é".to_owned(), "`é` must consist of letters"),
        ] {
            for field in ["name: NAME", "conditions: [{name: NAME}]"] {
                let said = said(&field.replace("NAME", &format!("'{name}'")));
                assert!(said.starts_with("s.yaml: ") && said.contains(message), "{said}");
            }
        }
        assert_eq!(said(&format!("name: {longest}")), "fine");
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for (line, field) in [
            ("shares: {train: .nan, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("shares: {train: .inf, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("shares: {train: 0.9, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("report: {confidence: .nan}", "report.confidence"),
            ("report: {resamples: 2000000000}", "report.resamples"),
            ("report: {resamples: 99}", "report.resamples"),
            ("report: {probe: mlp}", "report.probe"),
        ] {
            assert!(said(line).starts_with(&format!("s.yaml: {field}: ")), "{line}: {}", said(line));
        }
        for line in ["probes: [{kind: mlp, learning_rate: .inf}]", "probes: [{kind: logistic, c: [.nan]}]"] {
            let said = said(line);
            assert!(said.starts_with("s.yaml") && (said.contains("not a finite number") || said.contains("probes[0]")), "{line}: {said}");
        }
        for line in ["shares: {train: 0.6, validation: 0.2, test: 0.2}", "report: {resamples: 20000}", ""] {
            assert_eq!(said(line), "fine", "{line}");
        }
    }
}
