//! The device thread: the one place where units are computed, so that the session never waits for a tensor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use limbic_proto::key::Digest;
use limbic_proto::unit::Unit;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::execute::{ExecuteError, Executor, Output};
use crate::inputs::Inputs;
use crate::log::seconds;
use crate::progress::Progress;

/// A unit on its way through the device thread.
struct Job {
    unit: Arc<Unit>,
    inputs: Inputs,
    progress: Arc<Progress>,
    /// Of whoever asked.
    span: Span,
    reply: oneshot::Sender<Result<Computed, ExecuteError>>,
}

/// What came out, and how long it took without waiting for inputs.
#[derive(Debug)]
pub(crate) struct Computed {
    pub(crate) output: Output,
    pub(crate) seconds: f64,
}

/// A handle to the device thread; the thread ends after its last job when every handle is gone.
#[derive(Clone)]
pub(crate) struct Device {
    jobs: mpsc::UnboundedSender<Job>,
    loaded: Arc<Mutex<Vec<Digest>>>,
}

impl Device {
    /// Starts the thread that owns the executor, which computes in so many threads of its own, or in those that the whole process
    /// shares.
    pub(crate) fn start(mut executor: Box<dyn Executor>, threads: Option<usize>) -> std::io::Result<Device> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let loaded = Arc::new(Mutex::new(executor.loaded()));
        let shared = loaded.clone();
        let name = if threads.is_some() { "processor" } else { "device" };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Whatever is spread over threads from here on is spread over these.
            let pool = threads.map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build());
            if let Some(Err(error)) = pool {
                tracing::warn!(%error, "threads of fits can't be started; they share those of passes");
            }
            while let Some(job) = queue.blocking_recv() {
                let result = job.span.in_scope(|| compute(&mut *executor, &job));
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = executor.loaded();
                // Nobody waits any more if the worker gave the unit back meanwhile.
                let _ = job.reply.send(result);
            }
        })?;
        Ok(Device { jobs, loaded })
    }

    /// A device without a thread, whose units take as long as `time` says, on the runtime's clock.
    pub(crate) fn simulated(mut executor: Box<dyn Executor>, mut time: Box<dyn FnMut(&Unit) -> Duration + Send>) -> Device {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let loaded = Arc::new(Mutex::new(executor.loaded()));
        let shared = loaded.clone();
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                let time = time(&job.unit);
                tokio::select! {
                    biased;
                    () = job.progress.cancellation() => {}
                    () = tokio::time::sleep(time) => {}
                }
                let result = job
                    .span
                    .in_scope(|| compute(&mut *executor, &job))
                    .map(|computed| Computed { seconds: time.as_secs_f64(), ..computed });
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = executor.loaded();
                // Nobody waits any more if the worker gave the unit back meanwhile.
                let _ = job.reply.send(result);
            }
        });
        Device { jobs, loaded }
    }

    /// Computes a unit.
    pub(crate) async fn execute(&self, unit: Arc<Unit>, inputs: Inputs, progress: Arc<Progress>) -> Result<Computed, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { unit, inputs, progress, span: Span::current(), reply }).map_err(|_| ExecuteError::Gone)?;
        answer.await.map_err(|_| ExecuteError::Gone)?
    }

    /// Digests of the models in memory, most recently used first.
    pub(crate) fn loaded(&self) -> Vec<Digest> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs one job; a panic is the job's failure, not the worker's.
fn compute(executor: &mut dyn Executor, job: &Job) -> Result<Computed, ExecuteError> {
    if job.progress.cancelled() {
        return Err(ExecuteError::Cancelled);
    }
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| executor.execute(&job.unit, &job.inputs, &job.progress)));
    let spent = started.elapsed().saturating_sub(job.inputs.waited()).max(Duration::from_micros(1));
    let output = result.unwrap_or_else(|panic| Err(ExecuteError::Panicked { message: message(&*panic) }))?;
    tracing::info!(seconds = seconds(spent), waited = seconds(job.inputs.waited()), tokens = output.tokens, "computed");
    Ok(Computed { output, seconds: spent.as_secs_f64() })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
