//! What a well-formed spec must also satisfy; everything that needs no file but the spec itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Spec;
use super::model::LayerSelector;
use super::probe::ProbeSpec;
use crate::axis::Context;

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

/// What a parser found, after the place where it found it, in the words of the file.
pub(super) fn syntax(text: &str, error: &serde_saphyr::Error) -> String {
    use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};
    let error = error.without_snippet();
    let Some(place) = error.location() else { return UserMessageFormatter.format_message(error).into_owned() };
    let line = text.lines().nth((place.line() as usize).saturating_sub(1)).unwrap_or("");
    let rest: String = line.chars().skip((place.column() as usize).saturating_sub(1)).collect();
    let found = rest.split([',', ']', '}', '#']).next().unwrap_or("").trim();
    let message = match error {
        Error::Eof { .. } => "the file ends here; a spec needs at least `dataset` and `models`".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is there twice: keep one"),
        Error::SerdeUnknownField { field, expected, .. } => format!("unknown field `{field}`; the fields here are {}", expected.join(", ")),
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is not known here; write one of {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        Error::InvalidScalar { ty, .. } => {
            let expected = match *ty {
                "boolean" => "true or false",
                ty if ty.starts_with('u') => "a whole number, 0 or above",
                ty if ty.starts_with('i') => "a whole number",
                _ => "a number",
            };
            format!("expected {expected}, found `{found}`")
        }
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    let shown = if line.trim().is_empty() { String::new() } else { format!("\n  {} | {}", place.line(), line.trim_end()) };
    format!("line {}, column {}: {message}{shown}", place.line(), place.column())
}

fn finding<T>(field: impl Into<String>, message: impl Into<String>) -> Result<T, Finding> {
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
        for (i, n) in names.iter().enumerate() {
            name(&format!("models[{i}].name"), n)?;
        }
        if let LayerSelector::List(list) = &self.layers
            && list.is_empty()
        {
            return finding("layers", "is empty: name at least one layer, or `all`");
        }
        self.check_conditions()?;
        self.check_offsets()?;
        self.check_probes()?;
        self.check_dataset()?;
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
            if let Some((field, text)) = text
                && text.matches("{text}").count() != 1
            {
                return finding(format!("conditions[{i}].{field}"), "must contain `{text}` exactly once: it is where the utterance goes");
            }
        }
        Ok(())
    }

    fn check_offsets(&self) -> Result<(), Finding> {
        if self.offsets.is_empty() {
            return finding("offsets", "is empty: write [0] for the prompt alone");
        }
        unique("offsets", "offset", &self.offsets)?;
        if self.pooling.is_empty() {
            return finding("pooling", "is empty: leave it out for `last`");
        }
        unique("pooling", "pooling", &self.pooling.iter().map(|p| p.as_str()).collect::<Vec<_>>())?;
        let largest = self.offsets.iter().copied().max().unwrap_or(0);
        match &self.continuation {
            None if largest > 0 => finding(
                "offsets",
                format!("offset {largest} lies beyond the prompt, but there is no `continuation`: add one, or keep only offset 0"),
            ),
            Some(c) if c.tokens.is_some_and(|t| t < largest) => finding(
                "offsets",
                format!(
                    "offset {largest} lies beyond the continuation of {} tokens: raise continuation.tokens or drop the offset",
                    c.tokens.unwrap_or(0)
                ),
            ),
            Some(c) if !(0.0..=10.0).contains(&c.temperature) => {
                finding("continuation.temperature", format!("is {}: it must lie in 0..10 (0 = greedy)", c.temperature))
            }
            Some(c) if c.filler.is_some() && c.temperature > 0.0 => {
                finding("continuation", "has both a filler text and a temperature: a filler is fixed, keep one")
            }
            Some(c) if c.controls.contains(&Context::Full) => {
                finding("continuation.controls", "holds `full`, which is what the controls are compared with: leave it out")
            }
            Some(c) if c.filler.as_ref().is_some_and(String::is_empty) => finding("continuation.filler", "is empty"),
            _ => Ok(()),
        }
    }

    fn check_probes(&self) -> Result<(), Finding> {
        unique("probes", "kind", &self.probes.iter().map(ProbeSpec::name).collect::<Vec<_>>())?;
        unique("baselines", "baseline", &self.baselines.iter().map(|b| b.name()).collect::<Vec<_>>())?;
        unique("seeds", "seed", &self.seeds)?;
        if self.seeds.is_empty() {
            return finding("seeds", "is empty: leave it out for [0]");
        }
        for (i, probe) in self.probes.iter().enumerate() {
            match probe {
                ProbeSpec::Logistic(p) if p.c.is_empty() || p.c.iter().any(|c| !(c.is_finite() && *c > 0.0)) => {
                    return finding(format!("probes[{i}].c"), "needs at least one strength, all above 0");
                }
                ProbeSpec::Mlp(p) if p.hidden == 0 || p.epochs == 0 || p.batch == 0 => {
                    return finding(format!("probes[{i}]"), "hidden, epochs and batch must be at least 1");
                }
                ProbeSpec::Mlp(p) if !(p.learning_rate.is_finite() && p.learning_rate > 0.0 && (0.0..=1.0).contains(&p.warmup)) => {
                    return finding(format!("probes[{i}]"), "learning_rate must be above 0 and warmup in 0..1");
                }
                _ => {}
            }
        }
        if !self.zero_shot.question.contains("{text}") {
            return finding("zero_shot.question", "must contain `{text}`: it is where the utterance goes");
        }
        Ok(())
    }

    fn check_dataset(&self) -> Result<(), Finding> {
        unique("dataset.labels", "label", &self.dataset.labels)?;
        if !self.dataset.labels.is_empty()
            && let Some((from, to)) = self.dataset.label_map.iter().find(|(_, to)| !self.dataset.labels.contains(to))
        {
            return finding(
                "dataset.label_map",
                format!("maps `{from}` to `{to}`, which is not in dataset.labels ({})", self.dataset.labels.join(", ")),
            );
        }
        let s = self.dataset.shares;
        // Asked positively, so that not-a-number is refused too.
        let fine = [s.train, s.validation, s.test].iter().all(|x| *x > 0.0) && (s.train + s.validation + s.test - 1.0).abs() <= 1e-6;
        if !fine {
            return finding("dataset.shares", format!("are {} + {} + {}: all must be above 0 and sum to 1", s.train, s.validation, s.test));
        }
        Ok(())
    }
}

fn name(field: &str, value: &str) -> Result<(), Finding> {
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(());
    }
    finding(field, format!("`{value}` must consist of letters, digits, `-`, `_` and `.`"))
}

fn unique<T: Ord + std::fmt::Display>(field: &str, what: &str, values: &[T]) -> Result<(), Finding> {
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
    fn numbers_that_are_none_are_refused() {
        for (line, field) in [
            ("shares: {train: .nan, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("shares: {train: .inf, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("shares: {train: 0.9, validation: 0.1, test: 0.2}", "dataset.shares"),
            ("report: {confidence: .nan}", "report.confidence"),
            ("report: {resamples: 2000000000}", "report.resamples"),
            ("report: {resamples: 99}", "report.resamples"),
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
