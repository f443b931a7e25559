//! What plans cost, in tables and as JSON: units, tokens, operations, bytes, and time at stated rates.

use std::path::Path;

use limbic_core::plan::{Estimate, ModelEstimate, ModelFacts, Plan, UnitsEstimate};
use limbic_proto::answer;
use limbic_proto::spec::Dtype;
use serde_json::json;

use crate::progress::{bytes, count, counted, seconds};
use crate::sweep::Sweep;

/// GFLOP/s that one core of a computer is assumed to do: whole sweeps took as long as they would at 72 (tiny models) and 94
/// (SmolLM2-135M) on a processor whose f32 products reach 115.
const CORE_GFLOPS: f64 = 80.0;
/// TFLOP/s that one GPU is assumed to do: 40 % of what an H100 does in bf16 at best, 990.
const GPU_TFLOPS: f64 = 396.0;

/// Seconds beyond which one worker is told of others: a day.
const LONG: f64 = 86_400.0;

/// What estimates of time rest on.
#[derive(Debug, clap::Args)]
pub struct RateArgs {
    /// GFLOP/s of one worker's processor, for the estimate of time: it computes probes, and models in f32. The default
    /// assumes 80 per core of this computer.
    #[arg(long, value_name = "N", value_parser = speed)]
    gflops: Option<f64>,
    /// TFLOP/s of one worker's GPU, for the estimate of time: it is taken to compute the models in bf16. The default is 40 % of an H100's
    /// 990.
    #[arg(long, value_name = "N", default_value_t = GPU_TFLOPS, value_parser = speed)]
    gpu_tflops: f64,
    /// How many workers, for the estimate of time, each with such a processor (and GPU) to itself.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
}

/// A speed that something can be computed at.
fn speed(said: &str) -> Result<f64, String> {
    said.parse().ok().filter(|speed| (1e-3..=1e12).contains(speed)).ok_or_else(|| "must be a number from 0.001 to 1e12".to_owned())
}

impl RateArgs {
    /// The rates.
    pub fn rates(&self) -> Rates {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let gflops = self.gflops.unwrap_or(CORE_GFLOPS * cores as f64);
        Rates { gflops, gpu_tflops: self.gpu_tflops, workers: self.workers }
    }
}

/// How fast workers are taken to be, and how many there are.
pub struct Rates {
    /// GFLOP/s of one worker's processor, which fits probes, and runs models in f32.
    gflops: f64,
    /// TFLOP/s of one worker's GPU, which is taken to run the models in bf16.
    gpu_tflops: f64,
    /// How many workers.
    workers: u32,
}

impl Rates {
    /// Seconds of a processor.
    fn processor(&self, flops: f64) -> f64 {
        flops / (self.gflops * 1e9)
    }

    /// Seconds of running a model, on whatever runs it.
    fn passes(&self, model: &ModelFacts, of: &ModelEstimate) -> f64 {
        match model.dtype {
            Dtype::Bf16 => of.passes.flops / (self.gpu_tflops * 1e12),
            Dtype::F32 => self.processor(of.passes.flops),
        }
    }

    /// Seconds that all workers together take for all of a plan.
    pub fn seconds(&self, plan: &Plan) -> f64 {
        self.together(self.all(&plan.models, &plan.estimate))
    }

    fn together(&self, (processor, gpu): (f64, f64)) -> f64 {
        (processor + gpu) / f64::from(self.workers)
    }

    /// Seconds of one worker's processor, and of its GPU.
    fn all(&self, models: &[ModelFacts], estimate: &Estimate) -> (f64, f64) {
        let (mut processor, mut gpu) = (self.processor(estimate.words.flops), 0.0);
        for (model, of) in models.iter().zip(&estimate.models) {
            processor += self.processor(of.fits.flops);
            *(if model.dtype == Dtype::Bf16 { &mut gpu } else { &mut processor }) += self.passes(model, of);
        }
        (processor, gpu)
    }

    /// Prints what units of these models cost, by kind of unit and by model.
    pub fn print(&self, models: &[ModelFacts], estimate: &Estimate) {
        let width = models.iter().map(|model| model.name.len() + 6).max().unwrap_or(0).max(20);
        let head =
            |name: &str, last: &str| answer!("{name:<width$}{:>9}{:>11}{:>11}{:>12}{last:>17}", "number", "tokens", "FLOPs", "stored");
        let line = |name: &str, of: &UnitsEstimate, time: &str| {
            let (tokens, flops, stored) = (count(of.tokens as f64), count(of.flops), bytes(of.bytes_stored));
            answer!("{}", format!("{name:<width$}{:>9}{tokens:>11}{flops:>11}{stored:>12}{time:>17}", of.units).trim_end());
        };
        head("units", "");
        for (kind, of) in &estimate.units {
            line(kind.as_str(), of, "");
        }
        line("all", &estimate.all(), "");
        answer!("");
        head("of them", "1 worker's time");
        let asked = |of: &ModelEstimate| of.passes.units + of.fits.units > 0;
        for (model, of) in models.iter().zip(&estimate.models).filter(|(_, of)| asked(of)) {
            let on = if model.dtype == Dtype::Bf16 { "gpu" } else { "cpu" };
            let passes = format!("{} {on}", seconds(self.passes(model, of)));
            line(&format!("{} {}", model.name, model.dtype.as_str()), &of.passes, &passes);
            if of.fits.units > 0 {
                line("  its probes", &of.fits, &format!("{} cpu", seconds(self.processor(of.fits.flops))));
            }
        }
        if estimate.words.units > 0 {
            line("on the words alone", &estimate.words, &format!("{} cpu", seconds(self.processor(estimate.words.flops))));
        }
        answer!("");
        answer!("stored  {}, {} of it hidden states", bytes(estimate.bytes_stored), bytes(estimate.state_bytes));
        self.print_time(self.all(models, estimate));
    }

    fn print_time(&self, (processor, gpu): (f64, f64)) {
        let Rates { gflops, gpu_tflops, workers } = self;
        let each = |time: f64| seconds(time / f64::from(*workers));
        let crew = counted(*workers as usize, "worker");
        if gpu > 0.0 {
            answer!(
                "gpu     {} GPU hours at {gpu_tflops:.0} TFLOP/s (--gpu-tflops), for models in bf16: {} on {crew}",
                hours(gpu),
                each(gpu)
            );
            let cores = hours(gpu * gpu_tflops * 1e3 / CORE_GFLOPS);
            answer!("        (processors compute bf16, too: {cores} core hours at f32's rate, less where they have AVX512-BF16)");
            answer!("        (replies are written token by token, which reaches such a rate only where many rows are run at once)");
        }
        let (cores, what) = (hours(processor * gflops / CORE_GFLOPS), if gpu > 0.0 { "probes" } else { "everything" });
        answer!(
            "cpu     {cores} core hours at {CORE_GFLOPS:.0} GFLOP/s, for {what}: {} on {crew} with {gflops:.0} GFLOP/s{} (--gflops, --workers)",
            each(processor),
            if *workers > 1 { " each" } else { "" },
        );
        if *workers == 1 && processor.max(gpu) > LONG {
            answer!("        (--workers N shows the time of a cluster)");
        }
        answer!("k, M, G, T, P and E are 10^3, 10^6, 10^9, 10^12, 10^15 and 10^18; FLOPs are operations, not a rate");
    }

    /// The same for programs; `assumed` is the file of facts that it rests on, and `left` what of it is to be computed, where a store
    /// was looked into.
    pub fn json(&self, sweep: &Sweep, assumed: Option<&Path>, left: Option<&Estimate>, notes: &[String]) -> serde_json::Value {
        let estimate = &sweep.plan.estimate;
        let units = |of: &UnitsEstimate| json!({"units": of.units, "tokens": of.tokens, "flops": of.flops, "bytes": of.bytes_stored});
        let kinds: serde_json::Map<_, _> = estimate.units.iter().map(|(kind, of)| (kind.as_str().to_owned(), units(of))).collect();
        let model = |(model, of): (&ModelFacts, &ModelEstimate)| {
            json!({
                "name": model.name, "digest": model.digest, "parameters": model.architecture.parameters(), "dtype": model.dtype,
                "random_weights": model.random_weights, "passes": units(&of.passes), "fits": units(&of.fits),
                "pass_seconds": self.passes(model, of), "fit_seconds": self.processor(of.fits.flops),
            })
        };
        let models = &sweep.plan.models;
        let left = left.map(|estimate| {
            let ((processor, gpu), all) = (self.all(models, estimate), estimate.all());
            json!({
                "units": all.units, "tokens": all.tokens, "flops": all.flops, "bytes": all.bytes_stored,
                "processor_seconds": processor, "gpu_seconds": gpu, "seconds": self.together((processor, gpu)),
            })
        });
        let (processor, gpu) = self.all(models, estimate);
        json!({
            "sweep": if assumed.is_some() { None } else { Some(&sweep.id) },
            "assumed": assumed,
            "name": sweep.name(),
            "rows": sweep.rows.rows.len(),
            "cells": estimate.cells,
            "units": sweep.plan.units.len(),
            "kinds": kinds,
            "tokens": estimate.tokens,
            "flops": estimate.flops,
            "bytes": estimate.bytes_stored,
            "state_bytes": estimate.state_bytes,
            "activations": sweep.plan.activations,
            "gflops_assumed": self.gflops,
            "gpu_tflops_assumed": self.gpu_tflops,
            "processor_seconds": processor,
            "gpu_seconds": gpu,
            "seconds": self.together((processor, gpu)),
            "left": left,
            "models": models.iter().zip(&estimate.models).map(model).collect::<Vec<_>>(),
            "words": units(&estimate.words),
            "conditions": sweep.plan.conditions,
            "sampling_seeds": sweep.plan.sampling_seeds(),
            "notes": sweep.notes().iter().chain(notes).collect::<Vec<_>>(),
        })
    }
}

/// Hours of so many seconds, in words: `0.4`, `12`, `3.2k`.
fn hours(seconds: f64) -> String {
    match seconds / 3600.0 {
        few if few < 10.0 => format!("{few:.1}"),
        many => count(many),
    }
}
