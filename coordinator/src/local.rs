//! Workers as child processes of `limbic run`.

use std::io::Read;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use limbic_core::machine::{Event, WorkerId};
use limbic_proto::logs::LogFormat;
use limbic_proto::takes::Takes;
use tokio::process::{Child, Command};

use crate::coordinator::Handle;
use crate::failure::{Failure, exit};

/// How often a worker that crashed is started again.
const RESTARTS: u32 = 20;

/// What workers log by default: not the attempts that failed, which the command names at its end.
const LOG: &str = "warn,limbic_worker::session::attempt=error";

/// What a group of workers is started with.
#[derive(Debug, Clone)]
pub struct Crew {
    /// The coordinator.
    pub handle: Handle,
    /// Its address.
    pub coordinator: String,
    /// How many.
    pub workers: usize,
    /// Threads of computation of all together; each has one at least.
    pub cores: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// How they log.
    pub log_format: LogFormat,
}

impl Crew {
    /// Keeps the workers running until every one has left by itself (the sweep is finished).
    ///
    /// # Errors
    /// A worker can't be started, refuses its settings, or keeps crashing.
    pub async fn run(self) -> Result<(), Failure> {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..self.workers {
            tasks.spawn(keep(self.clone(), number));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("watching a child doesn't panic")?;
        }
        Ok(())
    }

    /// A child ends when its standard input closes, that is when this process ends, however it ends.
    fn spawn(&self, number: usize, start: u32) -> std::io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .args([WORKER, "--exit-when-finished", "--coordinator", &self.coordinator, "--device", &self.device])
            // Whatever the surroundings say: these are all the workers that the sweep has.
            .args(["--takes", Takes::All.as_str()])
            .args(["--threads", &share(self.cores, self.workers, number).to_string(), "--log-format", self.log_format.as_str()])
            .args(["--id", &name(number, start)])
            .env("LIMBIC_LOG", std::env::var("LIMBIC_LOG").unwrap_or_else(|_| LOG.to_owned()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}

/// The name of a worker that was started so often before.
fn name(number: usize, start: u32) -> String {
    format!("local-{}-{number}-{start}", std::process::id())
}

/// The cores of one of several workers.
fn share(cores: usize, workers: usize, number: usize) -> usize {
    (cores / workers + usize::from(number < cores % workers)).max(1)
}

/// Keeps one worker running.
async fn keep(crew: Crew, number: usize) -> Result<(), Failure> {
    let mut last = None;
    for start in 0..RESTARTS {
        let mut child = crew.spawn(number, start).map_err(|e| Failure::again(format_args!("a worker can't be started: {e}")))?;
        // Waiting for a child closes its standard input, which would end it; so that is held apart.
        let _lifeline = child.stdin.take();
        let status = child.wait().await.map_err(|e| Failure::again(format_args!("a worker can't be watched: {e}")))?;
        match status.code() {
            Some(0) => return Ok(()),
            Some(code) if code == i32::from(exit::USER) => {
                return Err(Failure::user("a worker can't go on; its message stands above"));
            }
            _ => tracing::warn!(number, %status, "a worker ended; starting another"),
        }
        last = Some(status);
        // Else what it held would wait until its leases run out. On a GPU it was two workers.
        for worker in [name(number, start), name(number, start) + limbic_worker::FITS] {
            crew.handle.event(Event::Gone { worker: WorkerId(worker) }).await.map_err(Failure::again)?;
        }
        tokio::time::sleep(Duration::from_millis(200 * u64::from(start + 1))).await;
    }
    let last = last.map_or_else(String::new, |status| format!(", the last time with {status}"));
    Err(Failure::again(format_args!("worker {number} crashed {RESTARTS} times{last}: is there enough memory? try --workers 1")))
}

/// The first argument that makes this program a worker.
pub const WORKER: &str = "worker";

/// A worker's command line, as [`Crew`] writes it.
#[derive(Debug, clap::Parser)]
#[command(name = "limbic worker")]
struct WorkerCli {
    #[command(flatten)]
    args: limbic_worker::Args,
}

/// `limbic worker`: a worker that ends when its parent does.
pub fn worker() -> ExitCode {
    let WorkerCli { args } = WorkerCli::parse_from(std::env::args().skip(1));
    std::thread::spawn(|| {
        // Standard input carries nothing; it closes when the parent ends.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(i32::from(exit::AGAIN));
    });
    limbic_worker::main(args)
}

/// How many workers this computer takes, the cores shared among them. On the CPU: one per core up to four, as long as half the
/// memory holds their weights; where it is known that `at_once` long units can be begun, as many as are soonest done with these. On a
/// GPU: one, which keeps it busy; each further one would hold the weights once more.
pub fn default_workers(device: &str, largest_model_bytes: u64, at_once: Option<usize>) -> usize {
    if device != "cpu" {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = match limbic_worker::memory_bytes() {
        0 => u64::MAX,
        known => known,
    };
    let fitting = memory / 2 / largest_model_bytes.max(1);
    let most = cores.min(4).min(usize::try_from(fitting).unwrap_or(usize::MAX)).max(1);
    at_once.map_or(most, |units| soonest(cores, most, units))
}

/// Of up to `most` workers on these cores as many as are soonest done with some units of one length. Of three units on two cores two
/// workers would do the third with one of them idle, so one worker with both cores is sooner.
fn soonest(cores: usize, most: usize, units: usize) -> usize {
    let time = |workers: usize| {
        // The slowest worker has the fewest.
        let cores = (cores / workers) as f64;
        units.div_ceil(workers) as f64 / cores * (1.0 + TOGETHER * cores.log2())
    };
    (1..=most.min(cores)).rev().min_by(|a, b| time(*a).total_cmp(&time(*b))).unwrap_or(1)
}

/// What a unit takes more of all its cores together for each doubling of them: a cautious guess.
const TOGETHER: f64 = 0.15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_one_worker_and_a_cpu_as_many_as_its_memory_holds_and_the_work_keeps_busy() {
        assert_eq!((default_workers("cuda:0", 1, Some(9)), default_workers("cuda:1", u64::MAX, None)), (1, 1));
        assert_eq!(default_workers("cpu", u64::MAX, Some(9)), 1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!((default_workers("cpu", 1, Some(9)), default_workers("cpu", 1, None)), (cores.min(4), cores.min(4)));
        assert_eq!(default_workers("cpu", 1, Some(1)), 1);
    }

    #[test]
    fn as_many_workers_as_are_soonest_done() {
        let of = |cores, most| (1..=9).map(|units| soonest(cores, most, units)).collect::<Vec<_>>();
        assert_eq!(of(1, 1), [1; 9]);
        // Three or five units are 2 or 3 rounds of two workers; one worker is done after 1.7 or 2.9 of these.
        assert_eq!(of(2, 2), [1, 2, 1, 2, 1, 2, 2, 2, 2]);
        assert_eq!(of(4, 4), [1, 2, 1, 4, 1, 2, 4, 4, 2]);
        assert_eq!(of(64, 4), [1, 2, 3, 4, 1, 3, 4, 4, 3]);
        assert_eq!((soonest(2, 2, 101), soonest(2, 1, 2)), (2, 1));
    }

    #[test]
    fn workers_share_all_cores() {
        let shares = |cores, workers| (0..workers).map(|number| share(cores, workers, number)).collect::<Vec<_>>();
        assert_eq!((shares(4, 4), shares(4, 3), shares(7, 2)), (vec![1; 4], vec![2, 1, 1], vec![4, 3]));
        assert_eq!(shares(2, 3), [1, 1, 1], "more workers than cores were asked for");
    }
}
