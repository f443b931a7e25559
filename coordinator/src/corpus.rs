//! Corpora: raw comments become labelled ones, those of one class are rewritten toward others, further ones are written after
//! examples, and what was written is labelled again.
//!
//! A build is a row of sweeps, each over canonical rows of its own, and what is asked in one follows from the results of those
//! before. All of it is `prompt` units: they are leased, committed and found done as every other. Here stands what needs no
//! store: [`stage`] makes the sweeps' specs and rows, [`expected`] says beforehand what they will be, [`ask`] draws what is
//! asked, [`answer`] takes what was written out of what was written around it, [`filter`] leaves texts out, [`card`] accounts
//! for everything. Everything random is a rank by digest, so the same comments, spec and model give the same corpus.

pub mod answer;
pub mod ask;
pub mod card;
pub mod expected;
pub mod filter;
pub mod stage;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use limbic_proto::spec::{CorpusSpec, How, Keep};
use limbic_report::answers::Words;
use serde_json::{Map, Value, json};

use crate::dataset::Comment;

/// Where a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provenance {
    /// Somebody wrote it.
    Natural,
    /// A model wrote it after a comment.
    Rewritten,
    /// A model wrote it after examples.
    Synthetic,
}

impl Provenance {
    /// All, in the order of tables.
    pub const ALL: [Provenance; 3] = [Provenance::Natural, Provenance::Rewritten, Provenance::Synthetic];

    /// The word in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Provenance::Natural => "natural",
            Provenance::Rewritten => "rewritten",
            Provenance::Synthetic => "synthetic",
        }
    }
}

/// Why a text is not in the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The model wrote nothing, or its prompt was too long.
    Empty,
    /// It has too few words.
    Short,
    /// It has too many words.
    Long,
    /// It is in another language.
    Language,
    /// It equals another one but for white space.
    Copy,
    /// It is almost another one.
    NearCopy,
    /// More comments passed the filters than were asked for.
    Limit,
    /// The model gave it no label, or none with enough confidence.
    Unlabelled,
    /// It was not found to be what was asked for.
    Disagrees,
}

impl Reason {
    /// All, in the order in which they are looked for.
    pub const ALL: [Reason; 9] = [
        Reason::Empty,
        Reason::Short,
        Reason::Long,
        Reason::Language,
        Reason::Copy,
        Reason::NearCopy,
        Reason::Limit,
        Reason::Unlabelled,
        Reason::Disagrees,
    ];

    /// The words in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::Short => "too few words",
            Reason::Long => "too many words",
            Reason::Language => "other language",
            Reason::Copy => "exact duplicate",
            Reason::NearCopy => "near-duplicate",
            Reason::Limit => "beyond the limit",
            Reason::Unlabelled => "no label",
            Reason::Disagrees => "not what was asked for",
        }
    }
}

/// What a text was found to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The class's index.
    pub class: usize,
    /// The probability of every class; empty where the label was written.
    pub probabilities: Vec<f32>,
}

impl Verdict {
    /// The probability of the class that it was found to be; none where the label was written.
    pub fn confidence(&self) -> Option<f32> {
        self.probabilities.get(self.class).copied()
    }
}

/// One text on its way into the corpus, or out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Unique in the corpus.
    pub id: String,
    /// The text; of one that is still to be written, nothing.
    pub text: String,
    /// Rows of one group belong together: a rewrite is of its original's.
    pub group: String,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The ids of the comments that it was made of: a rewrite's original, the examples that were shown.
    pub made_of: Vec<String>,
    /// The class that was asked for.
    pub target: Option<usize>,
    /// The class that somebody gave the comment.
    pub given: Option<usize>,
    /// What it was found to be.
    pub verdict: Option<Verdict>,
    /// Why it is left out, if it is.
    pub refused: Option<Reason>,
}

/// The class that a given label stands for, if any.
fn class_of(spec: &CorpusSpec, label: &str) -> Option<usize> {
    let mapped = spec.dataset.label_map.get(label).map_or(label, String::as_str);
    spec.classes.iter().position(|class| class == mapped)
}

/// What is to be said of given labels that are no class, and of a map that speaks of labels that nobody gave.
pub fn strange(spec: &CorpusSpec, comments: &[Comment]) -> Vec<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    comments.iter().flat_map(|comment| &comment.labels).for_each(|label| *counts.entry(label).or_default() += 1);
    let unmet: Vec<&String> = spec.dataset.label_map.keys().filter(|label| !counts.contains_key(label)).collect();
    let mut strange: Vec<(&String, usize)> = counts.into_iter().filter(|(label, _)| class_of(spec, label).is_none()).collect();
    strange.sort_by_key(|(_, count)| Reverse(*count));
    let first: Vec<String> = strange.iter().take(5).map(|(label, count)| format!("`{label}` ({count})")).collect();
    let more = if strange.len() > first.len() { format!(" and {} more", strange.len() - first.len()) } else { String::new() };
    let mut notes = Vec::new();
    if !first.is_empty() {
        let (first, classes) = (first.join(", "), spec.classes.join(", "));
        notes.push(format!(
            "given labels: {first}{more} are none of the classes ({classes}) and aren't compared; `dataset.label_map` says which class a label is"
        ));
    }
    if !unmet.is_empty() {
        let all: Vec<String> = unmet.iter().map(|label| format!("`{label}`")).collect();
        notes.push(format!("dataset.label_map: no comment has the label {}", all.join(" or ")));
    }
    notes
}

impl Entry {
    /// A comment as it was read. Of given labels the one is kept that is a class, if it is only one.
    pub fn natural(spec: &CorpusSpec, comment: Comment) -> Entry {
        let mut given: Vec<usize> = comment.labels.iter().filter_map(|label| class_of(spec, label)).collect();
        given.dedup();
        let given = if let [one] = given[..] { Some(one) } else { None };
        let Comment { id, text, group, .. } = comment;
        let (made_of, target, verdict, refused) = (Vec::new(), None, None, None);
        Entry { id, text, group, provenance: Provenance::Natural, made_of, target, given, verdict, refused }
    }

    /// Whether nothing speaks against it so far.
    pub fn stands(&self) -> bool {
        self.refused.is_none()
    }

    /// Its line in the corpus, or among what was left out.
    fn line(&self, spec: &CorpusSpec) -> Value {
        let name = |class: usize| Value::from(spec.classes[class].as_str());
        let mut line = Map::new();
        line.insert("id".to_owned(), json!(self.id));
        line.insert("text".to_owned(), json!(self.text));
        line.insert("label".to_owned(), self.verdict.as_ref().map_or(Value::Null, |verdict| name(verdict.class)));
        line.insert("group".to_owned(), json!(self.group));
        line.insert("provenance".to_owned(), json!(self.provenance.as_str()));
        line.insert("made_of".to_owned(), json!(self.made_of));
        line.insert("target".to_owned(), self.target.map_or(Value::Null, name));
        line.insert("given_label".to_owned(), self.given.map_or(Value::Null, name));
        line.insert("confidence".to_owned(), json!(self.verdict.as_ref().and_then(Verdict::confidence)));
        let scores =
            self.verdict.iter().flat_map(|verdict| spec.classes.iter().cloned().zip(verdict.probabilities.iter().map(|p| json!(p))));
        line.insert("scores".to_owned(), Value::Object(scores.collect()));
        if let Some(reason) = self.refused {
            line.insert("left_out".to_owned(), json!(reason.as_str()));
        }
        Value::Object(line)
    }
}

/// Labels some texts by the probabilities of the classes; those without a likely enough one are left out.
pub fn judge(spec: &CorpusSpec, entries: Vec<&mut Entry>, probabilities: Vec<Option<Vec<f32>>>) {
    for (entry, probabilities) in entries.into_iter().zip(probabilities) {
        let verdict = probabilities.and_then(|probabilities| {
            let class = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]).then(b.cmp(&a)))?;
            Some(Verdict { class, probabilities })
        });
        let enough = |verdict: &Verdict| verdict.confidence().is_some_and(|p| f64::from(p) >= spec.classify.confidence);
        settle(spec, entry, verdict.filter(enough));
    }
}

/// The same by what the model wrote.
pub fn judge_written(spec: &CorpusSpec, entries: Vec<&mut Entry>, answers: Vec<Option<String>>) {
    assert_eq!(spec.classify.how, How::Json, "labels are written where they are asked for in JSON");
    let words = Words::new(spec.classes.iter().map(|class| vec![class.clone(), spec.word(class).to_owned()]).collect());
    for (entry, answer) in entries.into_iter().zip(answers) {
        let class = answer.and_then(|answer| words.label(&answer));
        settle(spec, entry, class.map(|class| Verdict { class, probabilities: Vec::new() }));
    }
}

fn settle(spec: &CorpusSpec, entry: &mut Entry, verdict: Option<Verdict>) {
    entry.refused = match &verdict {
        None => Some(Reason::Unlabelled),
        Some(verdict) if spec.keep == Keep::Agreeing && entry.target.is_some_and(|target| target != verdict.class) => {
            Some(Reason::Disagrees)
        }
        Some(_) => None,
    };
    entry.verdict = verdict;
}

/// The corpus, one JSON object a line; and what was left out, with the reason.
pub fn lines(spec: &CorpusSpec, entries: &[Entry]) -> (String, String) {
    let (mut kept, mut left_out) = (String::new(), String::new());
    for entry in entries {
        let into = if entry.stands() { &mut kept } else { &mut left_out };
        *into += &entry.line(spec).to_string();
        into.push('\n');
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests;
