//! The data card: what a corpus holds, what was left out and why, how often the classifier finds what was asked for, and what
//! follows for whoever uses it. Every sentence that judges rests on numbers of this very corpus.

mod caveats;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use limbic_core::plan::ModelFacts;
use limbic_proto::key::Digest;
use limbic_proto::spec::{CorpusSpec, How, Keep, ZeroShot};
use limbic_proto::unit::ENGINE_VERSION;

use super::{Entry, Provenance, Reason};
pub use caveats::caveats;
use share::Share;

/// A sweep that helped to build a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What was asked for.
    pub what: &'static str,
    /// The sweep's id.
    pub sweep: String,
    /// Its name.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// Rows that were asked about.
    pub rows: usize,
    /// Units.
    pub units: usize,
}

/// All that a card tells.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// What was asked.
    pub spec: &'a CorpusSpec,
    /// Every text, those that were left out too.
    pub entries: &'a [Entry],
    /// The digest of the files that were read.
    pub files: Digest,
    /// The model that wrote.
    pub writer: &'a ModelFacts,
    /// The model that labelled.
    pub classifier: &'a ModelFacts,
    /// The sweeps, in their order.
    pub stages: &'a [Stage],
    /// What was noticed on the way.
    pub notes: &'a [String],
}

impl Account<'_> {
    fn of(&self, provenance: Provenance) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.provenance == provenance)
    }

    /// The texts that are in the corpus.
    fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.stands())
    }

    /// How many of the written texts that could be classified were found to be what was asked for.
    fn agreement(&self, provenance: Provenance, target: Option<usize>) -> Share {
        let classified = self.of(provenance).filter(|entry| {
            let asked = entry.target.is_some() && target.is_none_or(|target| entry.target == Some(target));
            asked && (entry.verdict.is_some() || entry.refused == Some(Reason::Unlabelled))
        });
        Share::of(classified.map(|entry| entry.verdict.as_ref().is_some_and(|verdict| Some(verdict.class) == entry.target)))
    }

    /// How many comments with a given label of a class (or any) got the same from the model. One without any counts as another.
    fn given(&self, class: Option<usize>) -> Share {
        let compared = self.of(Provenance::Natural).filter(|entry| {
            let given = entry.given.is_some() && class.is_none_or(|class| entry.given == Some(class));
            given && (entry.verdict.is_some() || entry.refused == Some(Reason::Unlabelled))
        });
        Share::of(compared.map(|entry| entry.verdict.as_ref().is_some_and(|verdict| Some(verdict.class) == entry.given)))
    }
}

/// The card, in Markdown.
pub fn card(account: &Account<'_>) -> String {
    let spec = account.spec;
    let groups: BTreeSet<&str> = account.kept().map(|entry| entry.group.as_str()).collect();
    let of = |provenance: Provenance| account.kept().filter(|entry| entry.provenance == provenance).count();
    let [natural, rewritten, synthetic] = Provenance::ALL.map(of);
    let mut text = format!(
        "# Corpus {}\n\n{} texts of {} classes in {} groups: {natural} natural, {rewritten} rewritten, {synthetic} synthetic. \
         All labels are {}'s.\n\n## Before you use it\n\n",
        spec.name,
        natural + rewritten + synthetic,
        spec.classes.len(),
        groups.len(),
        account.classifier.name,
    );
    for caveat in caveats(account) {
        let _ = writeln!(text, "- {caveat}");
    }
    text += "\n## What it holds\n\n";
    let counted = |class: usize, provenance: Provenance| {
        let fits = |entry: &&Entry| entry.provenance == provenance && entry.verdict.as_ref().is_some_and(|v| v.class == class);
        account.kept().filter(fits).count()
    };
    text +=
        &tally("class", spec.classes.iter().enumerate().map(|(class, name)| (name.clone(), Provenance::ALL.map(|p| counted(class, p)))));
    text += "\n## What was left out\n\n";
    let mut refused: BTreeMap<(Reason, Provenance), usize> = BTreeMap::new();
    for entry in account.entries {
        if let Some(reason) = entry.refused {
            *refused.entry((reason, entry.provenance)).or_default() += 1;
        }
    }
    let began = Provenance::ALL.map(|provenance| account.of(provenance).count());
    let rows = Reason::ALL.into_iter().map(|reason| {
        let name = reason.as_str().to_owned();
        (name, Provenance::ALL.map(|provenance| refused.get(&(reason, provenance)).copied().unwrap_or(0)))
    });
    let all = [("read, or asked for".to_owned(), began)].into_iter().chain(rows.filter(|(_, counts)| counts.iter().sum::<usize>() > 0));
    text += &tally("", all.chain([("in the corpus".to_owned(), [natural, rewritten, synthetic])]));
    text += "\n## How often the labels agree\n\n";
    text += &agreement(account);
    text += "\n## How it was made\n\n";
    text += &making(account);
    text += COLUMNS;
    text
}

/// A table of counts by provenance.
fn tally(head: &str, rows: impl Iterator<Item = (String, [usize; 3])>) -> String {
    let mut text = format!("| {head} | natural | rewritten | synthetic |\n|---|---:|---:|---:|\n");
    for (name, [natural, rewritten, synthetic]) in rows {
        let _ = writeln!(text, "| {name} | {natural} | {rewritten} | {synthetic} |");
    }
    text
}

/// The classifier against given labels and against what was asked for, class by class.
fn agreement(account: &Account<'_>) -> String {
    let mut text = "Shares with 95 % intervals (Wilson), texts taken as independent. Only texts that passed the filters before the \
                    classifier are counted; one that it gave no label counts as another.\n\n\
                    | class | given label found again | rewrites found to be it | synthetic texts found to be it |\n|---|---|---|---|\n"
        .to_owned();
    let classes = account.spec.classes.iter().enumerate().map(|(class, name)| (Some(class), name.as_str()));
    for (class, name) in classes.chain([(None, "all")]) {
        let written = [Provenance::Rewritten, Provenance::Synthetic].map(|provenance| account.agreement(provenance, class));
        let _ = writeln!(text, "| {name} | {} | {} | {} |", account.given(class), written[0], written[1]);
    }
    text
}

/// Models, sweeps, filters, questions and seeds.
fn making(account: &Account<'_>) -> String {
    let spec = account.spec;
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "- {what}: {value}");
    };
    line("comments", format!("{} (BLAKE3 of the files {})", spec.dataset.source, account.files.hex()));
    let model = |facts: &ModelFacts| {
        format!(
            "`{}`, {} parameters, {}, digest {}",
            facts.source,
            facts.architecture.parameters(),
            facts.dtype.as_str(),
            facts.digest.hex()
        )
    };
    line("writes", model(account.writer));
    line("labels", model(account.classifier));
    let words = spec.filters.words;
    let languages = if spec.filters.languages.is_empty() { "any language".to_owned() } else { spec.filters.languages.join(", ") };
    let copies = format!("{:?}", spec.filters.duplicates).to_lowercase();
    line("filters", format!("{} to {} words; {languages}; duplicates: {copies}", words.min, words.max));
    let kept = match spec.keep {
        Keep::Agreeing => "those that are found to be what was asked for",
        Keep::Labelled => "all that get a label, under that label",
    };
    line("written texts that are kept", kept.to_owned());
    line("seed", spec.seed.to_string());
    line("made by", format!("{}, engine {ENGINE_VERSION}; answers are greedy", crate::SOFTWARE));
    text += "\n| stage | sweep | model | texts | units |\n|---|---|---|---:|---:|\n";
    for Stage { what, sweep, name, model, rows, units } in account.stages {
        let _ = writeln!(text, "| {what} | {sweep} ({name}) | {model} | {rows} | {units} |");
    }
    text += "\nQuestions, as they are put (through the model's chat template where it has one):\n\n";
    let asked = ZeroShot::default();
    let labelling = match spec.classify.how {
        How::Likelihood => spec.classify.question.clone().unwrap_or(asked.question),
        How::Json => spec.classify.question.clone().unwrap_or(asked.json_question),
    };
    let words: Vec<&str> = spec.classes.iter().map(|class| spec.word(class)).collect();
    let how = match spec.classify.how {
        How::Likelihood if spec.classify.content_free.is_empty() => "by the likelihood of each answer".to_owned(),
        How::Likelihood => format!("by the likelihood of each answer, calibrated on {:?}", spec.classify.content_free),
        How::Json => format!("by a written answer of at most {} tokens", spec.classify.tokens),
    };
    quoted(&mut text, &format!("label, {how}; {{labels}} are {}", words.join(", ")), &labelling);
    if let Some(rewrite) = &spec.rewrite {
        quoted(&mut text, &format!("rewrite a comment of `{}`, at most {} tokens", rewrite.from, rewrite.tokens), &rewrite.question);
    }
    if let Some(s) = &spec.synthesize {
        quoted(&mut text, &format!("write one after {} examples, at most {} tokens", s.examples, s.tokens), &s.question);
    }
    if !account.notes.is_empty() {
        text += "\nNoticed on the way:\n\n";
        account.notes.iter().for_each(|note| text += &format!("- {note}\n"));
    }
    text
}

fn quoted(text: &mut String, what: &str, question: &str) {
    let _ = write!(text, "{what}\n\n```text\n{question}\n```\n\n");
}

/// What the lines of the files hold.
const COLUMNS: &str = "
## Columns

`corpus.jsonl` has one text a line, and can be the dataset of a sweep as it is (`group: group`); `left-out.jsonl` has the others.

| column | holds |
|---|---|
| id, text | of a rewrite `ORIGINAL.to-CLASS`, of a synthetic text `synthetic-CLASS-NUMBER` |
| label | what the classifier finds |
| group | what must stay in one split: a rewrite has its original's group; a synthetic text is its own |
| provenance | natural, rewritten or synthetic |
| made_of | ids: a rewrite's original, the examples that a synthetic text was written after |
| target | the class that was asked for; null of natural texts |
| given_label | the class that the source gives; null where it gives none |
| confidence, scores | probabilities of the label and of every class; null and empty where labels are written answers |
| left_out | only in `left-out.jsonl`: why |
";

#[cfg(test)]
mod tests;
