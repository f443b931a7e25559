//! The coordinator: one task that owns the machine, and the [`Handle`] through which everybody else speaks to it.
//!
//! Decisions are the machine's. This task feeds it events with the time of day, hands its grants to the workers that
//! wait for one, and its records to each sweep's journal. It never waits for the store or the network itself.

mod chain;
mod clock;
mod ledger;
mod release;
mod start;
mod task;
mod told;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use limbic_core::machine::{Event, Progress, Settings, SweepId, WorkerId};
use limbic_proto::commit::Commit;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::status::{Status, UnitView};
use limbic_proto::unit::Versions;
use limbic_proto::wire::{HeartbeatResponse, LeaseResponse};
use limbic_store::{Store, chance};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::chains::Chains;
use crate::failure::Failure;
use crate::journal::Journal;
use crate::sweep::Sweep;
use task::{Command, Opening, Task};

/// How a coordinator is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Timers and budgets.
    pub machine: Settings,
    /// Whether workers are told to leave once every sweep is terminal.
    pub dismiss_workers: bool,
}

/// What workers are told when they register.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Drawn at random when the coordinator starts: a worker that knows another one registers again.
    pub session: u64,
    /// The store that results go to.
    pub store: String,
    /// How often to send heartbeats.
    pub heartbeat: Duration,
}

/// How long an answer of the store is waited for by what may be asked again, or can do without.
const LOOK: Duration = Duration::from_secs(2);

/// How long a wish may take to be written before whoever has it is told that it isn't yet.
const WRITE: Duration = Duration::from_secs(10);

/// Objects that are looked for at the same time.
const LOOKS: usize = 16;

/// The coordinator's task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator is shutting down")]
pub struct Gone;

/// Speaks to the coordinator's task.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    store: Store,
    settings: Arc<SessionSettings>,
    /// Sweeps are opened one after another, so that none is led twice by the same coordinator.
    opening: Arc<Mutex<()>>,
}

/// Starts a coordinator without sweeps. The second value resolves if it must stop (it was superseded).
pub fn start(store: Store, options: Options) -> (Handle, oneshot::Receiver<Failure>) {
    let settings = SessionSettings { session: chance::draw(), store: store.url().to_owned(), heartbeat: options.machine.heartbeat };
    let (commands, inbox) = mpsc::unbounded_channel();
    let (fatal, stopped) = oneshot::channel();
    let handle = Handle { commands, store, settings: Arc::new(settings), opening: Arc::default() };
    tokio::spawn(Task::new(handle.store.clone(), options, handle.settings.session).run(inbox, fatal));
    (handle, stopped)
}

impl Handle {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What workers are told when they register.
    pub fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(command(sender)).map_err(|_| Gone)?;
        receiver.await.map_err(|_| Gone)
    }

    /// Tells the machine.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn event(&self, event: Event) -> Result<(), Gone> {
        self.ask(|done| Command::Event { event, done }).await
    }

    /// Tells the machine of a user's wish, and waits until it stands in the sweep's journal, if that doesn't take long. How many
    /// units it reached: see [`Machine::reach`](limbic_core::machine::Machine::reach); and whether it stands there.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn change(&self, sweep: &str, wish: Event) -> Result<(usize, bool), Gone> {
        let reached = self.ask(|reply| Command::Wish { wish, reply }).await?;
        let written = self.ask(|done| Command::Written { sweep: SweepId(sweep.to_owned()), done });
        match tokio::time::timeout(WRITE, written).await {
            Ok(written) => written.map(|()| (reached, true)),
            Err(_) => Ok((reached, false)),
        }
    }

    /// Whether there are sweeps, and nothing to compute for any of them.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn finished(&self) -> Result<bool, Gone> {
        self.ask(|reply| Command::Finished { reply }).await
    }

    /// The versions of an open sweep's units.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn versions(&self, sweep: &str) -> Result<Option<Versions>, Gone> {
        let sweep = SweepId(sweep.to_owned());
        self.ask(|reply| Command::Versions { sweep, reply }).await
    }

    /// Waits for a unit, at most that long. Whether the worker is of this session, [`Handle::knows`].
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn lease(&self, worker: String, loaded: Vec<Digest>, wait: Duration) -> Result<LeaseResponse, Gone> {
        let (reply, mut granted) = oneshot::channel();
        let worker = WorkerId(worker);
        self.commands.send(Command::Lease { worker: worker.clone(), loaded, reply }).map_err(|_| Gone)?;
        if let Ok(answer) = tokio::time::timeout(wait, &mut granted).await {
            return answer.map_err(|_| Gone);
        }
        // The task answers every lease: with a grant that was just made, or with nothing.
        self.commands.send(Command::LeaseOver { worker }).map_err(|_| Gone)?;
        granted.await.map_err(|_| Gone)
    }

    /// Whether the worker registered with this very coordinator and still lives.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn knows(&self, worker: &str, session: u64) -> Result<bool, Gone> {
        if session != self.settings.session {
            return Ok(false);
        }
        self.ask(|reply| Command::Knows { worker: WorkerId(worker.to_owned()), reply }).await
    }

    /// Renews a worker's leases.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn heartbeat(&self, worker: String, session: u64, held: Vec<Progress>, draining: bool) -> Result<HeartbeatResponse, Gone> {
        if !self.knows(&worker, session).await? {
            return Ok(HeartbeatResponse { cancel: Vec::new(), unknown: true });
        }
        let cancel = self.ask(|reply| Command::Heartbeat { worker: WorkerId(worker), held, draining, reply }).await?;
        Ok(HeartbeatResponse { cancel, unknown: false })
    }

    /// Where a sweep stands.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn status(&self, sweep: &str) -> Result<Option<Status>, Gone> {
        let sweep = sweep.to_owned();
        self.ask(|reply| Command::Status { sweep, reply }).await
    }

    /// Gives every unit of a sweep that failed for good fresh budgets, and says how many there were.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn retry_quarantined(&self, sweep: &str) -> Result<usize, Gone> {
        let quarantined = self.status(sweep).await?.map(|status| status.quarantined).unwrap_or_default();
        let units: Vec<UnitKey> = quarantined.iter().filter_map(|unit| unit.unit.parse().ok()).collect();
        let count = units.len();
        if count > 0 {
            self.event(Event::Retry { sweep: sweep.into(), units }).await?;
        }
        Ok(count)
    }

    /// The units of a sweep that somebody means; see [`crate::show::meant`]. The inner error says that none fits.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn meant(&self, sweep: &str, wanted: &str) -> Result<Result<Vec<UnitKey>, Failure>, Gone> {
        let (sweep, wanted) = (SweepId(sweep.to_owned()), wanted.to_owned());
        self.ask(|reply| Command::Meant { sweep, wanted, reply }).await
    }

    /// What is known of one unit of a sweep.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn show(&self, sweep: &str, unit: UnitKey) -> Result<Option<UnitView>, Gone> {
        let sweep = SweepId(sweep.to_owned());
        self.ask(|reply| Command::Show { sweep, unit, reply }).await
    }

    /// Where every sweep stands.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn list(&self) -> Result<Vec<Status>, Gone> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// Whether there are sweeps, every one of them is terminal, and every worker was told so.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn dismissed(&self) -> Result<bool, Gone> {
        self.ask(|reply| Command::Dismissed { reply }).await
    }

    /// Says that every sweep of the start is open: see [`Event::AllOpen`].
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn all_open(&self) -> Result<(), Gone> {
        self.event(Event::AllOpen).await
    }

    /// Resolves once all activations that nobody needs so far have been released. A store that is out of reach is waited for.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn released(&self) -> Result<(), Gone> {
        self.ask(|done| Command::Releases { done }).await
    }

    /// Whether the commit that an attempt has found is no result, but says that the unit was split; the machine is told.
    /// None where the store, which isn't asked for long, gives no answer: what was split must not be taken for a result.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn split_by_others(&self, unit: UnitKey, generation: u32) -> Result<Option<bool>, Gone> {
        match tokio::time::timeout(LOOK, self.store.commit(&unit, generation)).await {
            Ok(Ok(Some(Commit::Split { .. }))) => {
                self.event(Event::Divided { unit, generation, stands: true }).await?;
                Ok(Some(true))
            }
            Err(_) => Ok(None),
            Ok(Err(error)) if error.out_of_reach() => Ok(None),
            // What can't be read is found corrupt by whoever reads it.
            Ok(_) => Ok(Some(false)),
        }
    }

    /// Tells the machine first, before it is told that an attempt could not read a generation of `bad`, what of the unit's
    /// inputs another coordinator has released: that is no corruption. The store is asked, but not for long.
    ///
    /// # Errors
    /// The coordinator has ended.
    pub async fn released_by_others(&self, sweep: &SweepId, unit: UnitKey, (bad, generation): (UnitKey, u32)) -> Result<(), Gone> {
        let marked = async |(unit, generation): (UnitKey, u32)| {
            let found = tokio::time::timeout(LOOK, self.store.is_released(&unit, generation)).await;
            matches!(found, Ok(Ok(true))).then_some((unit, generation))
        };
        if marked((bad, generation)).await.is_none() {
            return Ok(());
        }
        // Where one is gone, others are likely to be.
        let sweep = sweep.clone();
        let inputs = self.ask(|reply| Command::Inputs { sweep, unit, reply }).await?;
        let found: Vec<_> = stream::iter(inputs).map(marked).buffered(LOOKS).collect().await;
        for (unit, generation) in found.into_iter().flatten() {
            self.event(Event::ActivationsReleased { unit, generation }).await?;
        }
        Ok(())
    }

    /// Takes the lead of an accepted sweep and starts granting its units, if they are of this release's versions. A sweep that is open goes on; if it has been
    /// extended meanwhile, by all its units.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn open(&self, sweep: Sweep) -> Result<(), Failure> {
        let _one_at_a_time = self.opening.lock().await;
        if self.status(&sweep.id).await.map_err(Failure::again)?.is_some() {
            let chains = Chains::read(&self.store, &sweep).await?;
            return self.ask(|done| Command::Extend { sweep: Box::new(sweep), chains, done }).await.map_err(Failure::again);
        }
        let journal = Box::pin(self.lead(&sweep)).await?;
        let chains = Box::pin(Chains::read(&self.store, &sweep)).await?;
        Box::pin(self.take_up(sweep, journal, chains)).await
    }

    /// Takes the lead of a sweep.
    async fn lead(&self, sweep: &Sweep) -> Result<Journal, Failure> {
        let holder = format!("{}@{}", std::process::id(), self.settings.session);
        Ok(Journal::lead(&self.store, &sweep.id, &holder).await?)
    }

    /// Starts granting the units of a sweep that is led. Its chains were read after the lead was taken.
    async fn take_up(&self, sweep: Sweep, journal: Journal, chains: Chains) -> Result<(), Failure> {
        let (epoch, units, committed) = (journal.epoch(), sweep.plan.units.len(), chains.committed(&sweep));
        tracing::info!(sweep = %sweep.id, epoch, units, committed, "leading");
        let history = journal.history().clone();
        let opening = Opening { sweep, journal, chains, history };
        self.ask(|done| Command::Open { opening: Box::new(opening), done }).await.map_err(Failure::again)
    }
}
