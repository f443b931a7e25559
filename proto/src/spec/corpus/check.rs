//! What a well-formed corpus spec must also satisfy, before any file is read.

use super::super::check::{Finding, finding, name, placeholders, unique};
use super::super::{LABELS, ModelSpec, Sources, TEXT};
use super::{CorpusSpec, EXAMPLES, LABEL, Rewrite, Synthesize};

impl CorpusSpec {
    pub(super) fn check(&self) -> Result<(), Finding> {
        name("name", &self.name)?;
        self.check_comments()?;
        self.check_classes()?;
        self.check_filters()?;
        model("model", &self.model)?;
        if let Some(other) = &self.classify.model {
            model("classify.model", other)?;
        }
        self.check_classify()?;
        if let Some(rewrite) = &self.rewrite {
            self.check_rewrite(rewrite)?;
        }
        if let Some(synthesize) = &self.synthesize {
            self.check_synthesize(synthesize)?;
        }
        if self.execution.rows_per_unit == Some(0) || self.execution.token_budget == 0 {
            return finding("execution", "rows_per_unit and token_budget must be at least 1");
        }
        Ok(())
    }

    fn check_comments(&self) -> Result<(), Finding> {
        let Sources::Files(files) = &self.dataset.source else {
            return finding("dataset.source", "names files of splits, which a corpus has none of: list the files");
        };
        if files.is_empty() {
            return finding("dataset.source", "is empty: name at least one file");
        }
        unique("dataset.source", "the file", files)?;
        if self.dataset.limit == Some(0) {
            return finding("dataset.limit", "must be at least 1");
        }
        if self.dataset.label.is_none() && !self.dataset.label_map.is_empty() {
            return finding("dataset.label_map", "maps labels, and dataset.label names no column of them: name it");
        }
        match self.dataset.label_map.iter().find(|(_, class)| !self.classes.contains(class)) {
            Some((from, to)) => {
                finding("dataset.label_map", format!("maps `{from}` to `{to}`, which is none of the classes ({})", self.classes.join(", ")))
            }
            None => Ok(()),
        }
    }

    fn check_classes(&self) -> Result<(), Finding> {
        unique("classes", "class", &self.classes)?;
        if self.classes.len() < 2 {
            let found = self.classes.join(", ");
            return finding("classes", format!("is [{found}]: there must be at least 2, or there is nothing to tell apart"));
        }
        let words: Vec<&str> = self.classes.iter().map(|class| self.word(class)).collect();
        if let Some(word) = words.iter().find(|word| word.is_empty() || word.trim() != **word) {
            return finding("classify.answers", format!("the word `{word}` must not be empty, nor have spaces around it"));
        }
        unique("classify.answers", "answer", &words)?;
        match self.classify.answers.keys().find(|class| !self.classes.contains(class)) {
            Some(class) => self.unknown("classify.answers", class),
            None => Ok(()),
        }
    }

    fn check_filters(&self) -> Result<(), Finding> {
        let words = self.filters.words;
        if words.min > words.max {
            return finding("filters.words", format!("min {} is above max {}: nothing would stay", words.min, words.max));
        }
        unique("filters.languages", "language", &self.filters.languages)
    }

    fn check_classify(&self) -> Result<(), Finding> {
        let classify = &self.classify;
        if let Some(question) = &classify.question {
            placeholders("classify.question", question, &[TEXT, LABELS])?;
            if question.matches(TEXT).count() != 1 {
                return finding("classify.question", "must contain `{text}` exactly once: it is where the comment goes");
            }
        }
        if classify.tokens == 0 {
            return finding("classify.tokens", "must be at least 1");
        }
        if !(0.0..1.0).contains(&classify.confidence) {
            return finding("classify.confidence", format!("is {}: it must lie in 0..1", classify.confidence));
        }
        Ok(())
    }

    fn check_rewrite(&self, rewrite: &Rewrite) -> Result<(), Finding> {
        if !self.classes.contains(&rewrite.from) {
            return self.unknown("rewrite.from", &rewrite.from);
        }
        self.check_targets("rewrite.to", &rewrite.to)?;
        if rewrite.to.contains(&rewrite.from) {
            return finding("rewrite.to", format!("names `{}`, which is what comments are rewritten from", rewrite.from));
        }
        asks("rewrite", &rewrite.question, &[TEXT, LABEL], rewrite.per_class, rewrite.tokens)
    }

    fn check_synthesize(&self, synthesize: &Synthesize) -> Result<(), Finding> {
        self.check_targets("synthesize.classes", &synthesize.classes)?;
        if synthesize.examples == 0 {
            return finding("synthesize.examples", "must be at least 1: without examples all answers would be the same");
        }
        asks("synthesize", &synthesize.question, &[EXAMPLES, LABEL], synthesize.per_class, synthesize.tokens)
    }

    fn check_targets(&self, field: &str, named: &[String]) -> Result<(), Finding> {
        unique(field, "class", named)?;
        match named.iter().find(|class| !self.classes.contains(class)) {
            Some(class) => self.unknown(field, class),
            None => Ok(()),
        }
    }

    fn unknown(&self, field: &str, class: &str) -> Result<(), Finding> {
        finding(field, format!("`{class}` is none of the classes ({})", self.classes.join(", ")))
    }
}

/// What a question that asks for writing needs.
fn asks(field: &str, question: &str, marks: &[&str], per_class: usize, tokens: u32) -> Result<(), Finding> {
    placeholders(&format!("{field}.question"), question, marks)?;
    if let Some(mark) = marks.iter().find(|mark| !question.contains(**mark)) {
        return finding(format!("{field}.question"), format!("must contain `{mark}`"));
    }
    if per_class == 0 || tokens == 0 {
        return finding(field, "per_class and tokens must be at least 1");
    }
    Ok(())
}

fn model(field: &str, model: &ModelSpec) -> Result<(), Finding> {
    if model.random_weights.is_some() {
        return finding(format!("{field}.random_weights"), "a model of random weights can neither label nor write: leave it out");
    }
    name(&format!("{field}.name"), &model.name())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::spec::CorpusSpec;

    const LEAST: &str = "dataset: {source: a.jsonl}\nmodel: {source: m}\nclasses: [joy, neutral]\n";

    fn read(fields: &str) -> Result<CorpusSpec, String> {
        let (text, file) = (format!("{LEAST}{fields}\n"), Path::new("/specs/c.yaml"));
        CorpusSpec::from_yaml(&text, file).map_err(|e| e.to_string())
    }

    #[test]
    fn the_least_spec_is_read_and_paths_are_its_folders() {
        let spec = read("store: here\nclassify: {model: {source: hf://a/b}, answers: {joy: happiness}}\nrewrite: {}").unwrap();
        assert_eq!((spec.dataset.source.to_string(), spec.model.source.as_str()), ("/specs/a.jsonl".into(), "/specs/m"));
        assert_eq!((spec.store.as_deref(), spec.classifier().source.as_str()), (Some("/specs/here"), "hf://a/b"));
        assert_eq!((spec.word("joy"), spec.word("neutral"), spec.class("neutral")), ("happiness", "neutral", 1));
        assert_eq!((spec.targets(&[], Some("neutral")), spec.targets(&["neutral".into()], None)), (vec![0], vec![1]));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_field() {
        for (fields, field) in [
            ("name: a b", "name"),
            ("rewrite: {from: anger}", "rewrite.from"),
            ("rewrite: {to: [neutral]}", "rewrite.to"),
            ("rewrite: {to: [joy, joy]}", "rewrite.to"),
            ("rewrite: {per_class: 0}", "rewrite"),
            ("rewrite: {question: '{text}'}", "rewrite.question"),
            ("synthesize: {examples: 0}", "synthesize.examples"),
            ("synthesize: {classes: [fear]}", "synthesize.classes"),
            ("synthesize: {question: '{examples}'}", "synthesize.question"),
            ("classify: {answers: {fear: x}}", "classify.answers"),
            ("classify: {answers: {joy: neutral}}", "classify.answers"),
            ("classify: {answers: {joy: ' x'}}", "classify.answers"),
            ("classify: {confidence: 1.5}", "classify.confidence"),
            ("classify: {tokens: 0}", "classify.tokens"),
            ("classify: {model: {source: m, random_weights: 1}}", "classify.model.random_weights"),
            ("filters: {words: {min: 3, max: 2}}", "filters.words"),
            ("execution: {rows_per_unit: 0}", "execution"),
        ] {
            let said = read(fields).unwrap_err();
            assert!(said.starts_with(&format!("/specs/c.yaml: {field}: ")), "{fields}: {said}");
        }
    }
}
