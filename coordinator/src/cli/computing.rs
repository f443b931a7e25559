//! Sweeps computed for a command: on this computer, the coordinator in this process and workers as its children; or by a
//! coordinator elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use limbic_core::machine::{Action, Event, Settings};
use limbic_core::plan::ModelFacts;
use limbic_proto::journal::Record;
use limbic_proto::logs::{LogFormat, tell};
use limbic_proto::status::{Status, SweepState};
use limbic_proto::wire::Change;
use limbic_store::model::Need;
use limbic_store::{ModelFiles, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::change::ask_of;
use super::remote::RemoteArgs;
use super::serve::stop_signal;
use super::status::{stored_machine, stored_status};
use crate::chains::Chains;
use crate::collect::{CollectError, Corrupt};
use crate::coordinator::{Handle, Options, start};
use crate::failure::Failure;
use crate::journal::Journal;
use crate::local::{Crew, default_workers};
use crate::progress::{SweepBar, units_are};
use crate::server;
use crate::sweep::Sweep;
use tracing::Level;

/// How often results that are found corrupt are computed again; a store that corrupts them each time is no store.
const ROUNDS: u32 = 3;

/// What computes.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// Worker processes; default: one per core, at most four, as memory and the number of units allow; on a GPU one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// `cpu` or `cuda:N`.
    #[arg(long, env = "LIMBIC_DEVICE", default_value = "cpu")]
    device: String,
}

impl DeviceArgs {
    /// Refuses what is no device.
    pub fn check(&self) -> Result<(), Failure> {
        if self.device != "cpu" && self.device.strip_prefix("cuda:").and_then(|n| n.parse::<u32>().ok()).is_none() {
            return Err(Failure::user(format_args!("--device {}: write cpu, or cuda:N such as cuda:0", self.device)));
        }
        Ok(())
    }
}

/// Computes sweeps, one after another.
pub struct Computing {
    store: Store,
    by: By,
}

/// Who computes.
enum By {
    Here(Here),
    /// A coordinator of the same store, with workers of its own.
    Elsewhere(RemoteArgs),
}

/// This computer. Workers are started for the first unit that is missing, and stay, with the models that they have loaded,
/// until this is dropped.
struct Here {
    device: String,
    workers: usize,
    log_format: LogFormat,
    running: Option<Running>,
}

/// A coordinator and its workers.
struct Running {
    handle: Handle,
    superseded: oneshot::Receiver<Failure>,
    crew: JoinHandle<Result<(), Failure>>,
    served: JoinHandle<Result<(), Failure>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.crew.abort();
        self.served.abort();
    }
}

/// What computing a sweep came to.
pub struct Computed<T> {
    /// Where the sweep stands.
    pub status: Status,
    /// What was read of its results.
    pub results: T,
    /// What this very command did.
    pub now: Now,
}

/// What this very command did, by the attempts that its machine granted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Attempts that a worker was given.
    pub granted: u64,
    /// Attempts that became a unit's result.
    pub committed: u64,
}

impl Computing {
    /// On this computer, sweeps over these models; nothing is started yet. At first `at_once` long units can be begun, if that is known.
    pub fn new<'a>(
        store: &Store,
        device: &DeviceArgs,
        log_format: LogFormat,
        models: impl IntoIterator<Item = &'a ModelFacts>,
        at_once: Option<usize>,
    ) -> Computing {
        // Every worker may hold a copy of the largest model's weights.
        let largest = models.into_iter().map(|m| m.architecture.parameters() * m.dtype.bytes()).max().unwrap_or(0);
        let DeviceArgs { workers, device } = device.clone();
        let workers = workers.map_or_else(|| default_workers(&device, largest, at_once), usize::from);
        let here = Here { device, workers, log_format, running: None };
        Computing { store: store.clone(), by: By::Here(here) }
    }

    /// By that coordinator, which leads the sweeps of the same store.
    pub fn elsewhere(store: &Store, coordinator: RemoteArgs) -> Computing {
        Computing { store: store.clone(), by: By::Elsewhere(coordinator) }
    }

    /// Computes what is missing and reads the results with `read`. Results that it finds corrupt are voided and computed again.
    ///
    /// # Errors
    /// The store is out of reach, another coordinator leads, workers can't go on, or the user wants to stop.
    pub async fn sound<T>(
        &mut self,
        sweep: &Sweep,
        read: impl AsyncFn(&Chains, &Status) -> Result<T, CollectError>,
    ) -> Result<Computed<T>, Failure> {
        let (mut now, mut round) = (Now::default(), 0);
        // The attempts before a coordinator elsewhere was asked to compute something again, at which it goes to work at once.
        let mut before_again = None;
        loop {
            let whole = Chains::read(&self.store, sweep).await?.committed(sweep) == sweep.plan.units.len();
            let stands = match &self.by {
                // No worker is started, so nothing can be granted.
                By::Here(_) if whole => release(&self.store, sweep).await?,
                // What was voided may stand a moment longer.
                By::Elsewhere(_) if whole && round == 0 => Some(stored_status(&self.store, sweep).await?),
                _ => None,
            };
            let status = match stands {
                Some(status) => status,
                None => {
                    // Before it is opened: workers that wait for units are granted some at once.
                    let before = match before_again.take() {
                        Some(before) => before,
                        None => stored_status(&self.store, sweep).await?.attempts,
                    };
                    let status = match &mut self.by {
                        By::Here(here) => here.compute(&self.store, sweep, round == 0).await?,
                        By::Elsewhere(coordinator) => handed_over(coordinator, sweep).await?,
                    };
                    now.granted += status.attempts.started - before.started;
                    now.committed += status.attempts.committed - before.committed;
                    status
                }
            };
            let chains = Chains::read(&self.store, sweep).await?;
            let here = chains.committed(sweep);
            if matches!(self.by, By::Elsewhere(_)) && (here as u64) < status.units.committed {
                return Err(Failure::user(format_args!(
                    "store `{}`: holds {here} of the {} units of sweep {} that the coordinator has computed, so its store is another one: name that with --store",
                    self.store.url(),
                    status.units.committed,
                    sweep.id
                )));
            }
            match read(&chains, &status).await {
                Ok(results) => return Ok(Computed { status, results, now }),
                Err(CollectError::Corrupt(all)) if round < ROUNDS && status.state == SweepState::Complete => {
                    // Whoever voids leads, and one that leads already isn't ended for it.
                    let (usual, mut attempts) = (RemoteArgs::usual(), status.attempts);
                    if matches!(self.by, By::Here(_))
                        && let Some(theirs) = usual.leads(&self.store, sweep).await?
                    {
                        tell(
                            Level::INFO,
                            &"note: a coordinator leads the sweep: its workers compute again what is corrupt, and are waited for",
                        );
                        (self.by, attempts) = (By::Elsewhere(usual), theirs.attempts);
                    }
                    match &mut self.by {
                        By::Here(here) => {
                            // Workers start anew with the next coordinator.
                            here.running = None;
                            void(&self.store, sweep, &all).await?;
                        }
                        By::Elsewhere(coordinator) => {
                            before_again = Some(attempts);
                            again(coordinator, sweep, &all).await?;
                        }
                    }
                    round += 1;
                }
                Err(e) => return Err(e.explain(sweep)),
            }
        }
    }
}

impl Here {
    /// Computes what is missing: where the sweep stands then.
    ///
    /// With `retry`, what failed for good is tried again: whoever runs a sweep again has mended the cause, or hopes so.
    async fn compute(&mut self, store: &Store, sweep: &Sweep, retry: bool) -> Result<Status, Failure> {
        if let Some(note) = RemoteArgs::usual().spare(store, sweep).await? {
            tell(Level::INFO, &format_args!("note: {note}"));
        }
        for model in sweep.plan.models.iter().filter(|model| model.source.starts_with("hf://")) {
            // Once: else every worker would fetch the same weights.
            ModelFiles::resolve(&model.source, Need::Weights).await.map_err(Failure::user)?;
        }
        let Running { handle, superseded, crew, .. } = match &mut self.running {
            Some(running) => {
                running.handle.open(sweep.clone()).await?;
                running
            }
            idle => idle.insert(Running::start(store, sweep, self.workers, &self.device, self.log_format).await?),
        };
        if retry && let count @ 1.. = handle.retry_quarantined(&sweep.id).await.map_err(Failure::again)? {
            tell(Level::INFO, &format_args!("note: {} tried again, which had failed", units_are(count as u64)));
        }
        let bar = SweepBar::new(sweep.name());
        let outcome = tokio::select! {
            status = until_terminal(handle, &sweep.id, &bar) => status,
            left = crew => match left.expect("watching workers doesn't panic") {
                Ok(()) => Err(Failure::again("the workers were told to leave; everything computed is kept: run the same command to go on")),
                Err(failure) => Err(failure),
            },
            failure = superseded => Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
            () = stop_signal() => Err(Failure::again("stopped; everything computed is kept: run the same command to go on")),
        };
        bar.finish();
        outcome
    }
}

/// Has a coordinator elsewhere compute what is missing: where the sweep stands then. It tries again what failed for good.
async fn handed_over(coordinator: &RemoteArgs, sweep: &Sweep) -> Result<Status, Failure> {
    coordinator.lead(&sweep.id).await?;
    let bar = SweepBar::new(sweep.name());
    let followed = tokio::select! {
        status = coordinator.follow(sweep.id.clone(), |status| bar.show(status)) => status,
        () = stop_signal() => {
            Err(Failure::again("stopped waiting; the coordinator goes on: run the same command to wait again"))
        }
    };
    bar.finish();
    let status = followed?;
    if !status.state.terminal() {
        return Err(Failure::again("the coordinator went away before the sweep was complete: run the same command to go on"));
    }
    Ok(status)
}

/// Has a coordinator elsewhere void corrupt results and compute them again.
async fn again(coordinator: &RemoteArgs, sweep: &Sweep, all: &[Corrupt]) -> Result<(), Failure> {
    for bad in all {
        tell(Level::INFO, &format_args!("note: a result is computed again: {}", bad.reason));
        ask_of(coordinator, sweep.id.clone(), Change::Again, bad.unit.hex()).await?;
    }
    Ok(())
}

impl Running {
    /// Takes the lead of a first sweep and starts workers.
    async fn start(store: &Store, sweep: &Sweep, workers: usize, device: &str, log_format: LogFormat) -> Result<Running, Failure> {
        let listener = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).await?;
        let address = listener.local_addr().map_err(Failure::again)?;
        // Workers of an earlier command ended with it, so there is nobody to wait for.
        let machine = Settings { adoption_window: Duration::ZERO, ..Default::default() };
        let (handle, superseded) = start(store.clone(), Options { machine, dismiss_workers: false });
        handle.open(sweep.clone()).await?;
        handle.all_open().await.map_err(Failure::again)?;
        let served = tokio::spawn(server::serve(listener, handle.clone(), Box::pin(std::future::pending())));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let crew = Crew {
            handle: handle.clone(),
            coordinator: format!("http://{address}"),
            workers,
            cores,
            device: device.to_owned(),
            log_format,
        };
        Ok(Running { handle, superseded, crew: tokio::spawn(crew.run()), served })
    }
}

/// Voids corrupt results, in the journal first, as wherever something is voided: a coordinator that takes the lead in between
/// must hear of it.
async fn void(store: &Store, sweep: &Sweep, all: &[Corrupt]) -> Result<(), Failure> {
    let mut journal = Journal::lead(store, &sweep.id, &std::process::id().to_string()).await?;
    let record = |bad: &Corrupt| Record::Void { unit: bad.unit, generation: bad.generation, reason: bad.reason.clone(), asked: false };
    let entry = journal.entry(all.iter().map(record).collect());
    journal.append(&entry).await?;
    for bad in all {
        tell(Level::INFO, &format_args!("note: a result is computed again: {}", bad.reason));
        store.void(&bad.unit, bad.generation, &bad.reason).await?;
    }
    Ok(())
}

/// Where a sweep stands that is committed as a whole; none if the journal holds a void that was never carried out, for its coordinator
/// was killed. Activations that are still to be released (the policy is new, or the
/// last run was killed before it came to that) are released first; only for that the sweep is led, and where a coordinator leads it
/// that is its task.
async fn release(store: &Store, sweep: &Sweep) -> Result<Option<Status>, Failure> {
    let mut machine = stored_machine(store, sweep).await?;
    machine.handle(Duration::ZERO, Event::AllOpen);
    let actions: Vec<Action> = std::iter::from_fn(|| machine.poll_action()).collect();
    if actions.iter().any(|action| matches!(action, Action::Void { .. })) {
        return Ok(None);
    }
    if actions.iter().any(|action| matches!(action, Action::Release { .. })) && RemoteArgs::usual().leads(store, sweep).await?.is_none() {
        let (handle, superseded) = start(store.clone(), Options { machine: Settings::default(), dismiss_workers: true });
        handle.open(sweep.clone()).await?;
        handle.all_open().await.map_err(Failure::again)?;
        tokio::select! {
            released = handle.released() => released.map_err(Failure::again)?,
            failure = superseded => return Err(failure.unwrap_or_else(|_| Failure::again("the coordinator's task ended"))),
            () = stop_signal() => return Err(Failure::again("stopped; everything computed is kept: run the same command to go on")),
        }
    }
    stored_status(store, sweep).await.map(Some)
}

async fn until_terminal(handle: &Handle, sweep: &str, bar: &SweepBar) -> Result<Status, Failure> {
    loop {
        let status = handle.status(sweep).await.map_err(Failure::again)?.expect("the sweep is open");
        bar.show(&status);
        if status.state.terminal() {
            handle.released().await.map_err(Failure::again)?;
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
