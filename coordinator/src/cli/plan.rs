//! `limbic plan`, `limbic validate` and `limbic schema`: what a spec means, before anything runs.

pub mod cost;

use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use limbic_core::plan::Estimate;
use limbic_proto::answer;
use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::{Activations, CorpusSpec, Facts, Spec};
use limbic_report::parameters;
use limbic_store::{Store, source};
use serde_json::json;

use cost::RateArgs;

use super::StoreArgs;
use crate::catalogue;
use crate::chains::Chains;
use crate::failure::Failure;
use crate::progress::{count, counted};
use crate::sweep::{self, Sweep, prepare, prepare_assuming, read_spec};

/// Arguments of `limbic plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The spec file.
    spec: PathBuf,
    /// Plans without the rows and models, by what this file says of them, whatever a store holds; the spec itself can't be run on it.
    #[arg(long, value_name = "FILE")]
    assume: Option<PathBuf>,
    /// Plans this sweep of the store with what the spec asks beyond it: an id, a unique prefix of one, or a name.
    #[arg(long, value_name = "SWEEP", conflicts_with = "assume", value_parser = NonEmptyStringValueParser::new())]
    extend: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rates: RateArgs,
}

/// Arguments of `limbic validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// The spec file.
    spec: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// That of corpus specs instead of sweep specs.
    #[arg(long)]
    corpus: bool,
}

/// Prints the JSON Schema of spec files.
pub fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    let schema = if args.corpus { CorpusSpec::schema() } else { Spec::schema() };
    answer!("{}", serde_json::to_string_pretty(&schema).expect("a schema serializes"));
    Ok(())
}

/// Checks a spec, its dataset and its models.
pub async fn validate(args: ValidateArgs) -> Result<(), Failure> {
    let spec = read_spec(&args.spec)?;
    spec.store.as_deref().map_or(Ok(()), Store::check_address)?;
    let sweep = prepare(spec).await?;
    if args.json {
        let names: Vec<&str> = sweep.plan.models.iter().map(|model| model.name.as_str()).collect();
        answer!(
            "{}",
            json!({
                "sweep": sweep.id, "name": sweep.name(), "rows": sweep.rows.rows.len(), "models": names,
                "conditions": sweep.plan.conditions, "sampling_seeds": sweep.plan.sampling_seeds(), "cells": sweep.plan.estimate.cells,
                "units": sweep.plan.units.len(), "notes": sweep.notes(),
            })
        );
        return Ok(());
    }
    answer!("{}: fine", args.spec.display());
    describe(&sweep);
    Ok(())
}

/// Rows, models and conditions in a few lines, with what was noticed and resolved.
pub fn describe(sweep: &Sweep) {
    let of = |split| sweep.rows.rows.iter().filter(|r| r.split == split).count();
    let classes = if sweep.rows.scheme == Scheme::Continuous { "scales" } else { "classes" };
    answer!(
        "rows    {} ({} train, {} validation, {} test), {} {classes}: {}",
        sweep.rows.rows.len(),
        of(Split::Train),
        of(Split::Validation),
        of(Split::Test),
        sweep.rows.classes.len(),
        sweep.rows.classes.join(", ")
    );
    for (model, layers) in sweep.plan.models.iter().zip(&sweep.plan.layers) {
        let a = &model.architecture;
        answer!(
            "model   {}: {} parameters, {} blocks of width {}, {} layers probed",
            model.name,
            parameters(a.parameters()),
            a.layers,
            a.hidden,
            layers.len()
        );
    }
    let conditions: Vec<&str> = sweep.plan.conditions.iter().map(|condition| condition.name.as_str()).collect();
    answer!("prompts {}: {}", counted(conditions.len(), "condition"), conditions.join(", "));
    let seeds = sweep.plan.sampling_seeds();
    if seeds.len() > 1 {
        let named: Vec<String> = seeds.iter().map(u64::to_string).collect();
        answer!("replies {} to every prompt, one for each sampling seed: {}", seeds.len(), named.join(", "));
    }
    for note in sweep.notes() {
        answer!("note    {note}");
    }
}

/// Shows what a sweep would compute and cost.
pub async fn plan(args: PlanArgs) -> Result<(), Failure> {
    let spec = read_spec(&args.spec)?;
    let named = spec.store.clone();
    let address = args.store.address(named.as_deref());
    let mut sweep = match &args.assume {
        None => {
            let absent = absent(&spec).await;
            prepare(spec).await.map_err(|failure| if absent { without_rows(&failure) } else { failure })?
        }
        Some(file) => prepare_assuming(spec, &read_facts(file)?).await?,
    };
    // Of assumed rows and models no store holds anything; elsewhere one is looked into if it is meant.
    let meant = args.assume.is_none() && (args.extend.is_some() || args.store.store.is_some());
    let mut notes = Vec::new();
    let left = if meant { Some(left(&args, named.as_deref(), &mut sweep, &mut notes).await?) } else { None };
    let rates = args.rates.rates();
    if args.json {
        answer!("{}", rates.json(&sweep, args.assume.as_deref(), left.as_ref(), &notes));
        return Ok(());
    }
    match &args.assume {
        None => answer!("sweep   {} ({})", sweep.id, sweep.name()),
        Some(file) => answer!("sweep   {}, over rows and models as {} assumes them: it can't be run so", sweep.name(), file.display()),
    }
    describe(&sweep);
    let seeds = if sweep.plan.sampling_seeds().len() > 1 { ", beyond the prompt x sampling seed" } else { "" };
    for note in &notes {
        answer!("note    {note}");
    }
    answer!("cells   {} (model x layer x condition x offset{seeds})", count(sweep.plan.estimate.cells as f64));
    let all = sweep.plan.units.len() as u64;
    match left.as_ref().map(|left| left.all().units) {
        None => {}
        Some(0) => answer!("left    nothing: {address} holds the results of all {}", counted(all as usize, "unit")),
        Some(n) if n == all => answer!("left    everything: {address} holds no result of it"),
        Some(n) => answer!("left    {n} of {all} units: {address} holds the results of the others, and what follows is without them"),
    }
    answer!("");
    rates.print(&sweep.plan.models, left.as_ref().unwrap_or(&sweep.plan.estimate));
    match sweep.plan.activations {
        Activations::Keep => {}
        Activations::Release => answer!("states  are released once everything that reads them is committed"),
        Activations::None => {
            answer!(
                "states  of train rows are not stored, but their moments; all of it is released once everything that reads it is committed"
            )
        }
    }
    answer!("tokens are estimated from the length of the texts");
    Ok(())
}

/// What is left to compute beside what a store holds already, of the sweep or of the one of the store that it extends, which takes
/// its place.
async fn left(args: &PlanArgs, spec: Option<&str>, sweep: &mut Sweep, notes: &mut Vec<String>) -> Result<Estimate, Failure> {
    let address = args.store.address(spec);
    if args.extend.is_none() && !address.contains("://") && !Path::new(&address).is_dir() {
        return Ok(sweep.plan.estimate.clone());
    }
    let store = args.store.open_existing(spec).await?;
    if let Some(wanted) = &args.extend {
        let id = catalogue::id(&store, wanted).await?;
        let asked = std::mem::replace(sweep, sweep::foresee(&store, &id, sweep).await?);
        notes.extend(sweep.added(&asked.accepted));
    }
    let chains = Chains::read(&store, sweep).await?;
    Ok(sweep.plan.left(|unit| chains.done(unit)))
}

/// Whether one of the dataset's local files isn't there.
async fn absent(spec: &Spec) -> bool {
    for (_, name) in spec.dataset.source.files().into_iter().filter(|(_, name)| !name.contains("://")) {
        let there = source::files(name).await.is_ok_and(|files| files.iter().all(|file| Path::new(file).exists()));
        if !there {
            return true;
        }
    }
    false
}

/// What can be done without the rows.
fn without_rows(failure: &Failure) -> Failure {
    Failure::user(format_args!(
        "{failure}; without rows, `--assume FILE` plans by what a file says of them (configs/paper.facts.yaml is one), and \
         `limbic corpus build` makes labelled rows of raw comments (configs/paper-corpus.yaml)"
    ))
}

fn read_facts(file: &Path) -> Result<Facts, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::user(format_args!("--assume {}: can't be read: {e}; name a file of facts", file.display())))?;
    Facts::from_yaml(&text, file).map_err(Failure::user)
}
