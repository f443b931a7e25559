//! `limbic corpus build`: labels comments, has others written, and keeps what stands.

use std::path::PathBuf;
use std::time::Instant;

use limbic_core::plan::ModelFacts;
use limbic_proto::answer;
use limbic_proto::logs::{LogFormat, tell};
use limbic_proto::rows::Rows;
use limbic_proto::spec::{Baseline, CorpusSpec, How, Spec};
use limbic_proto::status::Status;
use limbic_store::Store;
use limbic_store::whole::write_whole;

use super::{Comments, models, read_spec};
use crate::chains::Chains;
use crate::cli::StoreArgs;
use crate::cli::computing::{Computed, Computing, DeviceArgs, Now};
use crate::cli::remote::{RemoteArgs, absolute};
use crate::cli::status::verdict;
use crate::collect::{CollectError, asked};
use crate::corpus::ask::{self, Asked};
use crate::corpus::card::{Account, Stage, card, caveats};
use crate::corpus::{Entry, answer, judge, judge_written, lines, stage};
use crate::failure::Failure;
use crate::progress::{counted, seconds};
use crate::sweep::{Sweep, accept, of_rows};
use tracing::Level;

/// Arguments of `limbic corpus build`.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// The corpus spec file.
    spec: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// The corpus's folder; default: limbic-out/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Has a coordinator's workers compute instead of this computer's; `--store` is that coordinator's. Models that are files
    /// or folders must lie at the same path there.
    #[arg(long, value_name = "URL", conflicts_with = "workers")]
    coordinator: Option<String>,
    /// Prints a JSON summary instead of words.
    #[arg(long)]
    json: bool,
}

/// A build under way.
struct Build {
    spec: CorpusSpec,
    store: Store,
    computing: Computing,
    writer: ModelFacts,
    classifier: ModelFacts,
    stages: Vec<Stage>,
    now: Now,
    quiet: bool,
}

/// Builds a corpus.
pub(super) async fn build(args: BuildArgs, log_format: LogFormat) -> Result<(), Failure> {
    let started = Instant::now();
    let spec = read_spec(&args.spec)?;
    args.device.check()?;
    let store = args.store.open_to_lead(spec.store.as_deref()).await?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("limbic-out").join(&spec.name));
    std::fs::create_dir_all(&out)
        .map_err(|e| Failure::user(format_args!("--out {}: can't be made ({e}): choose a writable folder", out.display())))?;
    let Comments { filter, mut entries, files, notes } = Comments::read(&spec, &args.spec).await?;
    let (writer, classifier) = models(&spec).await?;
    let computing = match &args.coordinator {
        None => Computing::new(&store, &args.device, log_format, [&writer, &classifier], None),
        Some(url) => Computing::elsewhere(&store, RemoteArgs::at(url)),
    };
    let mut build = Build { spec, store, computing, writer, classifier, stages: Vec::new(), now: Now::default(), quiet: args.json };

    build.label("label the comments", "label", &mut entries).await?;
    let comments = entries.len();
    entries.append(&mut build.write(&entries).await?);
    unique(&entries)?;
    // Before they are labelled: to find in a copy what its original was labelled is no agreement.
    filter.apply(&mut entries, comments);
    build.label("label what was written", "label-written", &mut entries[comments..]).await?;

    let Build { spec, writer, classifier, stages, now, .. } = &build;
    let account = Account { spec, entries: &entries, files, writer, classifier, stages, notes: &notes };
    let (kept, left_out) = lines(spec, &entries);
    for (name, text) in [("corpus.jsonl", kept), ("left-out.jsonl", left_out), ("card.md", card(&account))] {
        write_whole(&out.join(name), text.as_bytes())
            .map_err(|e| Failure::user(format_args!("--out {}: {name} can't be written ({e}): choose another folder", out.display())))?;
    }
    let rows = entries.iter().filter(|entry| entry.stands()).count();
    let units: usize = stages.iter().map(|stage| stage.units).sum();
    if args.json {
        let sweeps: Vec<&str> = stages.iter().map(|stage| stage.sweep.as_str()).collect();
        answer!(
            "{}",
            serde_json::json!({
                "name": spec.name, "rows": rows, "left_out": entries.len() - rows, "sweeps": sweeps, "units": units,
                "computed_units": now.committed, "granted_attempts": now.granted, "seconds": started.elapsed().as_secs_f64(),
                "out": out.to_string_lossy(), "corpus": out.join("corpus.jsonl").to_string_lossy(),
                "card": out.join("card.md").to_string_lossy(), "caveats": caveats(&account),
            })
        );
        return Ok(());
    }
    answer!("{rows} texts, {} left out; {}, {} of them computed now", entries.len() - rows, counted(units, "unit"), now.committed);
    answer!("took {}", seconds(started.elapsed().as_secs_f64()));
    caveats(&account).iter().for_each(|caveat| answer!("- {caveat}"));
    answer!("corpus: {}\ncard: {}", out.join("corpus.jsonl").display(), out.join("card.md").display());
    Ok(())
}

/// Ids of what was written are made of comments' ids and classes' names, so they could be those of comments.
fn unique(entries: &[Entry]) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    match entries.iter().find(|entry| !seen.insert(entry.id.as_str())) {
        Some(twice) => Err(Failure::user(format_args!(
            "dataset.id: the comment `{}` is named as a {} text would be: give it another id",
            twice.id,
            twice.provenance.as_str()
        ))),
        None => Ok(()),
    }
}

impl Build {
    /// Labels the texts that stand; those that get no label, or another than was asked for, are left out.
    async fn label(&mut self, what: &'static str, name: &str, entries: &mut [Entry]) -> Result<(), Failure> {
        let standing: Vec<&mut Entry> = entries.iter_mut().filter(|entry| entry.stands()).collect();
        let (spec, rows) = stage::labelling(&self.spec, name, &standing);
        let model = self.classifier.clone();
        let store = self.store.clone();
        match self.spec.classify.how {
            How::Likelihood => {
                let read = async |sweep: &_, chains: &_| asked::probabilities(&store, sweep, chains).await;
                let found = self.ask(what, (spec, rows), model, read).await?;
                judge(&self.spec, standing, found);
            }
            How::Json => {
                let read = async |sweep: &_, chains: &_| asked::written(&store, sweep, chains, Some(Baseline::ZeroShotJson)).await;
                let found = self.ask(what, (spec, rows), model, read).await?;
                judge_written(&self.spec, standing, found);
            }
        }
        Ok(())
    }

    /// Has the model rewrite comments, and write others after examples.
    async fn write(&mut self, comments: &[Entry]) -> Result<Vec<Entry>, Failure> {
        let mut written = Vec::new();
        if let Some(rewrite) = self.spec.rewrite.clone() {
            let asked = ask::rewrites(&self.spec, &rewrite, comments);
            written.extend(self.written("rewrite", "rewrite", asked, rewrite.tokens).await?);
        }
        if let Some(synthesize) = self.spec.synthesize.clone() {
            let asked = ask::syntheses(&self.spec, &synthesize, comments);
            written.extend(self.written("write after examples", "synthesize", asked, synthesize.tokens).await?);
        }
        Ok(written)
    }

    async fn written(&mut self, what: &'static str, name: &str, asked: Vec<Asked>, tokens: u32) -> Result<Vec<Entry>, Failure> {
        let stage = stage::writing(&self.spec, name, &asked, tokens);
        let (model, store) = (self.writer.clone(), self.store.clone());
        let read = async |sweep: &_, chains: &_| asked::written(&store, sweep, chains, None).await;
        let answers = self.ask(what, stage, model, read).await?;
        let text = |(asked, answer): (Asked, Option<String>)| Entry { text: answer::text(&answer.unwrap_or_default()), ..asked.entry };
        Ok(asked.into_iter().zip(answers).map(text).collect())
    }

    /// Runs one sweep and reads every row's result.
    async fn ask<T>(
        &mut self,
        what: &'static str,
        (spec, rows): (Spec, Rows),
        mut model: ModelFacts,
        read: impl AsyncFn(&Sweep, &Chains) -> Result<Vec<Option<T>>, CollectError>,
    ) -> Result<Vec<Option<T>>, Failure> {
        if rows.rows.is_empty() {
            return Ok(Vec::new());
        }
        let (count, name) = (rows.rows.len(), model.name.clone());
        // Workers have other current directories. The card names the model as the spec does.
        absolute(&mut model.source);
        let sweep = accept(&self.store, of_rows(spec, rows, vec![model])?).await?;
        if !self.quiet {
            let units = counted(sweep.plan.units.len(), "unit");
            tell(Level::INFO, &format_args!("{what}: {count} texts, sweep {} ({}) of {units}", sweep.id, sweep.name()));
        }
        let results = async |chains: &Chains, _: &Status| read(&sweep, chains).await;
        let Computed { status, results, now } = self.computing.sound(&sweep, results).await?;
        self.now.granted += now.granted;
        self.now.committed += now.committed;
        verdict(&status, "nothing else is lost; mend the cause and run the same command again")?;
        let units = sweep.plan.units.len();
        self.stages.push(Stage { what, sweep: sweep.id.clone(), name: sweep.name().to_owned(), model: name, rows: count, units });
        Ok(results)
    }
}
