//! What a build is expected to ask, before any model is asked. Which comments a model finds to be of which class is not known
//! then, nor what it will write: so there are at most as many texts, of about the comments' length.

use limbic_proto::rows::Rows;
use limbic_proto::spec::Spec;

use super::ask::{self, Asked};
use super::{CorpusSpec, Entry, Verdict, stage};

/// A stage of a build to come.
#[derive(Debug)]
pub struct Expected {
    /// What it does.
    pub what: &'static str,
    /// Whether the model that labels is asked, or the one that writes.
    pub labels: bool,
    /// Its sweep.
    pub spec: Spec,
    /// The texts or questions.
    pub rows: Rows,
}

/// The stages, in order, those without a text left out. `comments` are those that passed the filters, and others.
pub fn expected(spec: &CorpusSpec, comments: &[Entry]) -> Vec<Expected> {
    let mut standing: Vec<Entry> = comments.iter().filter(|entry| entry.stands()).cloned().collect();
    let label = |what, name, entries: &mut [Entry]| {
        let (stage, rows) = stage::labelling(spec, name, &entries.iter_mut().collect::<Vec<_>>());
        Expected { what, labels: true, spec: stage, rows }
    };
    let mut stages = vec![label("label the comments", "label", &mut standing)];
    let mut written: Vec<Asked> = Vec::new();
    let mut write = |what, name, asked: Vec<Asked>, tokens| {
        let (stage, rows) = stage::writing(spec, name, &asked, tokens);
        written.extend(asked);
        stages.push(Expected { what, labels: false, spec: stage, rows });
    };
    let found = |entry: &Entry, class| Entry { verdict: Some(Verdict { class, probabilities: Vec::new() }), ..entry.clone() };
    if let Some(rewrite) = &spec.rewrite {
        let from: Vec<Entry> = standing.iter().map(|entry| found(entry, spec.class(&rewrite.from))).collect();
        write("rewrite", "rewrite", ask::rewrites(spec, rewrite, &from), rewrite.tokens);
    }
    if let Some(synthesize) = &spec.synthesize {
        let classes = (0..spec.classes.len()).cycle();
        let shared: Vec<Entry> = standing.iter().zip(classes).map(|(entry, class)| found(entry, class)).collect();
        write("write after examples", "synthesize", ask::syntheses(spec, synthesize, &shared), synthesize.tokens);
    }
    let texts = standing.iter().cycle();
    let mut written: Vec<Entry> =
        written.into_iter().zip(texts).map(|(asked, like)| Entry { text: like.text.clone(), ..asked.entry }).collect();
    stages.push(label("label what was written", "label-written", &mut written));
    stages.retain(|stage| !stage.rows.rows.is_empty());
    stages
}
