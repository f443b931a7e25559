//! What models are asked to write: which comments are rewritten toward which class, and which examples are shown.
//!
//! Greedy answers to the same question are the same, so every question for a class shows other examples, or the same ones in
//! another order. A synthetic text is a group of its own: it is made of texts of several groups, and joining them all would make
//! one group of the whole corpus.

use std::collections::BTreeSet;

use limbic_proto::spec::{CorpusSpec, EXAMPLES, LABEL, Rewrite, Synthesize, TEXT};

use super::{Entry, Provenance};
use crate::dataset::rank;

/// A text that is still to be written, and the question for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The text to be.
    pub entry: Entry,
    /// The whole question.
    pub question: String,
}

impl Asked {
    fn new(id: String, group: String, provenance: Provenance, made_of: Vec<String>, target: usize, question: String) -> Asked {
        let (text, given, verdict, refused) = (String::new(), None, None, None);
        Asked { entry: Entry { id, text, group, provenance, made_of, target: Some(target), given, verdict, refused }, question }
    }
}

/// The standing comments that were found to be of a class, by their rank for a purpose.
fn ranked<'a>(spec: &CorpusSpec, comments: &'a [Entry], class: usize, purpose: &str) -> Vec<&'a Entry> {
    let of_class = |entry: &&Entry| entry.stands() && entry.verdict.as_ref().is_some_and(|verdict| verdict.class == class);
    let mut drawn: Vec<&Entry> = comments.iter().filter(of_class).collect();
    drawn.sort_by_cached_key(|entry| (rank(purpose, spec.seed, &entry.id), entry.id.clone()));
    drawn
}

/// The rewrites: for each class so many comments, drawn for each class anew.
pub fn rewrites(spec: &CorpusSpec, rewrite: &Rewrite, comments: &[Entry]) -> Vec<Asked> {
    let from = spec.class(&rewrite.from);
    let toward = |target: usize| {
        let class = &spec.classes[target];
        let drawn = ranked(spec, comments, from, &format!("rewrite {class}")).into_iter().take(rewrite.per_class);
        drawn.map(move |original| {
            let question = rewrite.question.replace(LABEL, spec.word(class)).replace(TEXT, &original.text);
            let (id, group) = (format!("{}.to-{class}", original.id), original.group.clone());
            Asked::new(id, group, Provenance::Rewritten, vec![original.id.clone()], target, question)
        })
    };
    spec.targets(&rewrite.to, Some(&rewrite.from)).into_iter().flat_map(toward).collect()
}

/// Rounds without a question that is new, after which there is taken to be no other one.
const IDLE: usize = 20;

/// The comments that are written after examples. Those of a class take turns: each is shown once before any is shown again,
/// beside others or in another order. Where there are too few to ask so many different questions, fewer are asked; of a class
/// without comments none.
pub fn syntheses(spec: &CorpusSpec, synthesize: &Synthesize, comments: &[Entry]) -> Vec<Asked> {
    let of_class = |target: usize| {
        let class = &spec.classes[target];
        let (mut asked, mut questions) = (Vec::new(), BTreeSet::new());
        let (mut round, mut idle) = (0, 0);
        while asked.len() < synthesize.per_class && idle < IDLE {
            let drawn = ranked(spec, comments, target, &format!("examples {class} {round}"));
            let before = asked.len();
            for shown in handfuls(&drawn, synthesize.examples) {
                let listed: Vec<String> = shown.iter().map(|entry| format!("- {}", one_line(&entry.text))).collect();
                let question = synthesize.question.replace(LABEL, spec.word(class)).replace(EXAMPLES, &listed.join("\n"));
                if asked.len() < synthesize.per_class && questions.insert(question.clone()) {
                    let id = format!("synthetic-{class}-{:04}", asked.len());
                    let made_of = shown.iter().map(|entry| entry.id.clone()).collect();
                    asked.push(Asked::new(id.clone(), id, Provenance::Synthetic, made_of, target, question));
                }
            }
            idle = if asked.len() == before { idle + 1 } else { 0 };
            round += 1;
        }
        asked
    };
    spec.targets(&synthesize.classes, None).into_iter().flat_map(of_class).collect()
}

/// So many at a time, without a rest; where there are fewer, all of them.
fn handfuls<'a, 'b>(drawn: &'b [&'a Entry], size: usize) -> std::slice::ChunksExact<'b, &'a Entry> {
    drawn.chunks_exact(size.min(drawn.len()).max(1))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
