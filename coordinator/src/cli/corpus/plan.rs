//! `limbic corpus plan`: what building a corpus would ask and cost, at most.

use std::path::PathBuf;

use limbic_proto::answer;

use super::{Comments, models, read_spec};
use crate::cli::plan::cost::RateArgs;
use crate::corpus::expected::expected;
use crate::failure::Failure;
use crate::progress::{count, seconds};
use crate::sweep::{Sweep, of_rows};

/// Arguments of `limbic corpus plan`.
#[derive(Debug, clap::Args)]
pub struct CorpusPlanArgs {
    /// The corpus spec file.
    spec: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rates: RateArgs,
}

/// Says what a build would ask and cost.
pub(super) async fn plan(args: CorpusPlanArgs) -> Result<(), Failure> {
    let spec = read_spec(&args.spec)?;
    let comments = Comments::read(&spec, &args.spec).await?;
    let (writer, classifier) = models(&spec).await?;
    let rates = args.rates.rates();
    let mut stages = Vec::new();
    for stage in expected(&spec, &comments.entries) {
        let model = if stage.labels { &classifier } else { &writer };
        let (what, texts) = (stage.what, stage.rows.rows.len());
        let sweep = of_rows(stage.spec, stage.rows, vec![model.clone()])?;
        stages.push((what, model.name.clone(), texts, rates.seconds(&sweep.plan), sweep));
    }
    let total: f64 = stages.iter().map(|(.., time, _)| time).sum();
    let passed = comments.entries.iter().filter(|entry| entry.stands()).count();
    if args.json {
        let stage = |(what, model, texts, time, sweep): &(&str, String, usize, f64, Sweep)| {
            let e = &sweep.plan.estimate;
            serde_json::json!({
                "stage": what, "model": model, "texts": texts, "units": sweep.plan.units.len(), "tokens": e.tokens, "flops": e.flops,
                "seconds": time,
            })
        };
        let stages: Vec<_> = stages.iter().map(stage).collect();
        let comments = serde_json::json!({"read": comments.entries.len(), "used": passed, "notes": comments.notes});
        answer!("{}", serde_json::json!({"name": spec.name, "comments": comments, "stages": stages, "seconds": total}));
        return Ok(());
    }
    answer!("corpus    {}: {passed} of {} comments pass the filters", spec.name, count(comments.entries.len() as f64));
    for note in &comments.notes {
        answer!("note      {note}");
    }
    answer!("");
    answer!("{:<26}{:>9}{:>8}{:>11}{:>11}{:>12}  by", "stage", "texts", "units", "tokens", "FLOPs", "time");
    for (what, model, texts, time, sweep) in &stages {
        let (units, e) = (sweep.plan.units.len(), &sweep.plan.estimate);
        let (tokens, flops, time) = (count(e.tokens as f64), count(e.flops), seconds(*time));
        answer!("{what:<26}{texts:>9}{units:>8}{tokens:>11}{flops:>11}{time:>12}  {model}");
    }
    answer!("");
    answer!("time      {} at these rates (--gflops, --gpu-tflops, --workers)", seconds(total));
    if stages.len() > 1 {
        answer!("after the first stage it is at most so much: what is written depends on what the comments are found to be");
    }
    Ok(())
}
