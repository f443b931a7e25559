//! `limbic corpus`: labelled corpora out of raw comments.

mod build;
mod plan;

use std::path::Path;

use limbic_core::plan::ModelFacts;
use limbic_proto::key::Digest;
use limbic_proto::logs::LogFormat;
use limbic_proto::spec::{CorpusSpec, Spec};

use self::build::BuildArgs;
use self::plan::CorpusPlanArgs;
use crate::corpus::filter::Filter;
use crate::corpus::{Entry, Reason, strange};
use crate::dataset::{comments, rank};
use crate::failure::Failure;
use crate::sweep::{described, fetched};

/// What is done with corpora.
#[derive(Debug, clap::Subcommand)]
pub enum CorpusCommand {
    /// Shows what building a corpus would ask and cost, at most.
    Plan(CorpusPlanArgs),
    /// Builds a corpus, on this computer or by a coordinator; run again after an interruption, it goes on.
    Build(BuildArgs),
}

/// Carries out `limbic corpus`.
pub async fn corpus(command: CorpusCommand, log_format: LogFormat) -> Result<(), Failure> {
    match command {
        CorpusCommand::Plan(args) => Box::pin(plan::plan(args)).await,
        CorpusCommand::Build(args) => Box::pin(build::build(args, log_format)).await,
    }
}

/// A spec's comments, those that its filters and its limit leave out marked so.
struct Comments {
    filter: Filter,
    entries: Vec<Entry>,
    /// The digest of the files that they were read from.
    files: Digest,
    notes: Vec<String>,
}

impl Comments {
    async fn read(spec: &CorpusSpec, file: &Path) -> Result<Comments, Failure> {
        let filter = Filter::new(&spec.filters).map_err(|message| Failure::user(format_args!("{}: {message}", file.display())))?;
        let mut notes = Vec::new();
        let (mut entries, files) = read_comments(spec, &mut notes).await?;
        choose(spec, &filter, &mut entries)?;
        Ok(Comments { filter, entries, files, notes })
    }
}

/// The models of a spec: the one that writes, and the one that labels.
async fn models(spec: &CorpusSpec) -> Result<(ModelFacts, ModelFacts), Failure> {
    let writer = described(&spec.model).await?;
    let classifier = if spec.classify.model.is_some() { described(spec.classifier()).await? } else { writer.clone() };
    Ok((writer, classifier))
}

fn read_spec(file: &Path) -> Result<CorpusSpec, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::user(format_args!("{}: can't be read: {e}; name a corpus spec file", file.display())))?;
    CorpusSpec::from_yaml(&text, file).map_err(|error| match Spec::from_yaml(&text, file) {
        Ok(_) => Failure::user(format_args!("{}: is the spec of a sweep, not of a corpus: `limbic run` takes it", file.display())),
        Err(_) => Failure::user(error),
    })
}

/// The comments of the spec's files, and the digest of those.
async fn read_comments(spec: &CorpusSpec, notes: &mut Vec<String>) -> Result<(Vec<Entry>, Digest), Failure> {
    let files = fetched(&spec.dataset.source).await?;
    let digest = match files.as_slice() {
        [one] => Digest::of(&one.bytes),
        several => Digest::of_json(&several.iter().map(|file| Digest::of(&file.bytes)).collect::<Vec<_>>()),
    };
    let read = comments(&spec.dataset, files, notes).map_err(Failure::user)?;
    notes.extend(strange(spec, &read));
    Ok((read.into_iter().map(|comment| Entry::natural(spec, comment)).collect(), digest))
}

/// Leaves out the comments that the filters refuse, and those beyond the limit.
fn choose(spec: &CorpusSpec, filter: &Filter, entries: &mut [Entry]) -> Result<(), Failure> {
    filter.apply(entries, 0);
    let mut standing: Vec<&mut Entry> = entries.iter_mut().filter(|entry| entry.stands()).collect();
    standing.sort_by_cached_key(|entry| (rank("limit", spec.seed, &entry.id), entry.id.clone()));
    for entry in standing.into_iter().skip(spec.dataset.limit.unwrap_or(usize::MAX)) {
        entry.refused = Some(Reason::Limit);
    }
    if entries.iter().any(Entry::stands) {
        return Ok(());
    }
    let of = |reason: Reason| (reason, entries.iter().filter(|entry| entry.refused == Some(reason)).count());
    let refused = Reason::ALL.map(of).into_iter().filter(|(_, count)| *count > 0);
    let refused: Vec<String> = refused.map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
    Err(Failure::user(format_args!("filters: none of the {} comments passes ({}): loosen them", entries.len(), refused.join(", "))))
}
