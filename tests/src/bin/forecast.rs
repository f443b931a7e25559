//! How long a sweep takes, what it costs and what first becomes scarce, against the number of workers, and preemptions:
//! `cargo run --release -p limbic-tests --bin forecast -- configs/paper.yaml --assume configs/paper.facts.yaml`.

use std::path::PathBuf;

use clap::Parser;
use limbic_proto::unit::UnitKind;
use limbic_tests::forecast::{Fleet, Forecast, Measured, Rates, Room, Total, above_zero, json, markdown, peak_memory, planned, simulate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans a sweep, runs it in virtual time by the real machine over simulated workers, and prints what that took.
#[derive(Debug, Parser)]
struct Args {
    /// The spec file.
    spec: PathBuf,
    /// Plans without the rows and models, by what this file says of them.
    #[arg(long, value_name = "FILE")]
    assume: Option<PathBuf>,
    /// So many workers; one run for each.
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [8, 32, 128, 512], value_parser = clap::value_parser!(u32).range(1..))]
    workers: Vec<u32>,
    /// So many further workers without a GPU, which take fits alone.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fit_workers: u32,
    /// How often a worker is preempted in an hour, on average; 0 for never.
    #[arg(long, value_name = "N", default_value_t = 0.05, value_parser = not_negative)]
    preempted_per_hour: f64,
    /// Seconds until another worker comes in the place of one that was preempted.
    #[arg(long, value_name = "N", default_value_t = 180.0, value_parser = not_negative)]
    replaced_after: f64,
    /// So many times the rows that the facts say. What doesn't fit into --memory is planned once and multiplied.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// GiB of the coordinator's memory.
    #[arg(long, value_name = "N", default_value_t = 16.0, value_parser = above_zero)]
    memory: f64,
    /// GiB of a worker's memory, beside that of its GPU.
    #[arg(long, value_name = "N", default_value_t = 128.0, value_parser = above_zero)]
    worker_memory: f64,
    /// Dollars for an hour of a worker. Assumed.
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = not_negative)]
    price: f64,
    /// Dollars for an hour of a worker that takes fits alone. Assumed.
    #[arg(long, value_name = "N", default_value_t = 1.4, value_parser = not_negative)]
    fit_price: f64,
    /// Draws preemptions and the jitter of heartbeats.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Takes the speed of processors (--gflops) from the fit units of this store, which a processor computed.
    #[arg(long, value_name = "STORE", conflicts_with = "gflops")]
    measured: Option<String>,
    /// Prints JSON instead of Markdown.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rates: Rates,
}

fn not_negative(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| format!("`{text}` is no number of 0 or more"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut rates = args.rates.clone();
    if let Some(address) = &args.measured {
        let measured = Measured::read(address).await?;
        for (kind, (units, flops, seconds)) in &measured.kinds {
            eprintln!("{kind:<9} {units:>7} units, {:.1} GFLOP/s by the plan's count over {seconds:.1} s", flops / seconds / 1e9);
        }
        let Some(gflops) = measured.gflops(UnitKind::Fit) else {
            anyhow::bail!("--measured {address}: holds no fit unit that a processor computed; run a sweep with probes there first");
        };
        rates.gflops = gflops;
    }
    let room = Room { coordinator: args.memory * (1u64 << 30) as f64, worker: args.worker_memory * (1u64 << 30) as f64 };
    let times = args.times as usize;
    let mut sweep = planned(&args.spec, args.assume.as_deref(), 1).await?;
    let (mut memory, mut multiple) = (peak_memory(), 1);
    // A run holds the plan once more.
    if times > 1 && 2.0 * memory * times as f64 <= room.coordinator {
        sweep = planned(&args.spec, args.assume.as_deref(), times).await?;
        (memory, multiple) = (peak_memory(), times);
    }
    let total = Total::of(&sweep.plan, &rates);
    let mut runs = Vec::new();
    for workers in args.workers.iter().map(|workers| *workers as usize) {
        let Args { preempted_per_hour, replaced_after, seed, .. } = args;
        // Workers on GPUs compute fits beside passes.
        let (apart, fit_workers) = (total.gpu_seconds > 0.0, args.fit_workers as usize);
        let fleet = Fleet { workers, apart, fit_workers, preempted_per_hour, replaced_after, seed };
        let began = std::time::Instant::now();
        let run = simulate(&sweep.plan, &rates, fleet);
        eprintln!("{workers} workers: {:.0} h simulated in {:.1} s", run.wall_seconds / 3600.0, began.elapsed().as_secs_f64());
        runs.push((fleet, run));
    }
    let Args { price, fit_price, .. } = args;
    let forecast = Forecast { sweep: &sweep, rates: &rates, total, planned: multiple, times, memory, room, price, fit_price, runs };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&forecast))?);
    } else {
        print!("{}", markdown(&forecast));
    }
    Ok(())
}
