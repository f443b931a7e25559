//! `limbic plan`, `limbic validate` and `limbic schema`: what a spec means, before anything runs.

use std::path::PathBuf;

use limbic_core::plan::Estimate;
use limbic_proto::spec::{Activations, Spec};
use serde_json::json;

use crate::failure::Failure;
use crate::progress::{bytes, count, seconds};
use crate::sweep::{Sweep, prepare, read_spec};

/// Arguments of `limbic plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The spec file.
    spec: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// GFLOP/s of one worker, for the estimate of time; the default assumes 40 per core of this computer.
    #[arg(long, value_name = "N")]
    gflops: Option<f64>,
    /// How many workers, for the estimate of time.
    #[arg(long, default_value_t = 1)]
    workers: u32,
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

/// Prints the JSON Schema of spec files.
pub fn schema() -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(&Spec::schema()).expect("a schema serializes"));
    Ok(())
}

/// Checks a spec, its dataset and its models.
pub async fn validate(args: ValidateArgs) -> Result<(), Failure> {
    let sweep = prepare(read_spec(&args.spec)?).await?;
    if args.json {
        println!("{}", json!({"sweep": sweep.id, "name": sweep.name(), "rows": sweep.rows.rows.len(), "notes": sweep.accepted.notes}));
        return Ok(());
    }
    println!("{}: fine", args.spec.display());
    describe(&sweep);
    Ok(())
}

/// Rows and models in a few lines, with what ingestion noticed.
pub fn describe(sweep: &Sweep) {
    use limbic_proto::rows::Split;
    let of = |split| sweep.rows.rows.iter().filter(|r| r.split == split).count();
    println!(
        "rows    {} ({} train, {} validation, {} test), {} classes: {}",
        sweep.rows.rows.len(),
        of(Split::Train),
        of(Split::Validation),
        of(Split::Test),
        sweep.rows.classes.len(),
        sweep.rows.classes.join(", ")
    );
    for (model, layers) in sweep.plan.models.iter().zip(&sweep.plan.layers) {
        let a = &model.architecture;
        println!(
            "model   {}: {} parameters, {} blocks of width {}, {} layers probed",
            model.name,
            count(a.parameters() as f64),
            a.layers,
            a.hidden,
            layers.len()
        );
    }
    for note in &sweep.accepted.notes {
        println!("note    {note}");
    }
}

/// Shows what a sweep would compute and cost.
pub async fn plan(args: PlanArgs) -> Result<(), Failure> {
    let sweep = prepare(read_spec(&args.spec)?).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gflops = args.gflops.unwrap_or(40.0 * cores as f64);
    let estimate = &sweep.plan.estimate;
    let time = estimate.flops / (gflops * 1e9 * f64::from(args.workers.max(1)));
    if args.json {
        println!("{}", to_json(&sweep, estimate, gflops, time));
        return Ok(());
    }
    println!("sweep   {} ({})", sweep.id, sweep.name());
    describe(&sweep);
    println!("cells   {} (model x layer x condition x offset)", count(estimate.cells as f64));
    println!();
    println!("{:<10}{:>10}{:>14}{:>14}{:>14}", "units", "number", "tokens", "FLOPs", "stored");
    for (kind, of) in &estimate.units {
        println!(
            "{:<10}{:>10}{:>14}{:>14}{:>14}",
            kind.as_str(),
            of.units,
            count(of.tokens as f64),
            count(of.flops),
            bytes(of.bytes_stored)
        );
    }
    println!(
        "{:<10}{:>10}{:>14}{:>14}{:>14}",
        "all",
        sweep.plan.units.len(),
        count(estimate.tokens as f64),
        count(estimate.flops),
        bytes(estimate.bytes_stored)
    );
    println!();
    println!(
        "time    about {} at {gflops:.0} GFLOP/s on {} worker(s); say --gflops and --workers for your machines",
        seconds(time),
        args.workers
    );
    if sweep.plan.activations == Activations::Release {
        println!("states  are released once everything that reads them is committed");
    }
    println!("tokens are estimated from the length of the texts");
    Ok(())
}

fn to_json(sweep: &Sweep, estimate: &Estimate, gflops: f64, time: f64) -> serde_json::Value {
    let kinds: serde_json::Map<_, _> = estimate
        .units
        .iter()
        .map(|(kind, of)| {
            (kind.as_str().to_owned(), json!({"units": of.units, "tokens": of.tokens, "flops": of.flops, "bytes": of.bytes_stored}))
        })
        .collect();
    json!({
        "sweep": sweep.id,
        "name": sweep.name(),
        "rows": sweep.rows.rows.len(),
        "cells": estimate.cells,
        "units": sweep.plan.units.len(),
        "kinds": kinds,
        "tokens": estimate.tokens,
        "flops": estimate.flops,
        "bytes": estimate.bytes_stored,
        "activations": sweep.plan.activations,
        "gflops_assumed": gflops,
        "seconds": time,
        "models": sweep.plan.models.iter().map(|m| json!({"name": m.name, "digest": m.digest, "parameters": m.architecture.parameters()})).collect::<Vec<_>>(),
        "notes": sweep.accepted.notes,
    })
}
