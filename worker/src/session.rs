//! The session with the coordinator: register, lease, execute, upload, commit, report, until there is no more to do.
//!
//! One unit executes at a time; while its artifacts are uploaded the next one is leased and begun. Commits need no
//! coordinator: when it is away, the worker finishes what it holds, and introduces itself again once it is back.

mod attempt;
mod drain;
mod heartbeat;
mod holding;
mod link;
mod publish;

use std::sync::Arc;

use limbic_proto::wire::Grant;
use limbic_store::pauses::jittered;
use limbic_store::{Store, StoreError};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;
use tracing::Instrument;

use crate::device::Device;
use crate::inputs::Shelf;
use crate::pause::Proven;
use crate::run::ExitKind;
use crate::settings::Settings;
use attempt::Attempt;
use drain::{Drain, LAST_ANSWER};
use holding::{Held, Holding, Outcome};
use link::{Leased, Link};

pub use link::endpoint;

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The coordinator is of another release, or doesn't want this worker.
    #[error("the coordinator at {url} refused this worker: {message} (this worker is limbic {software}, protocol {protocol})")]
    Refused {
        /// The coordinator.
        url: String,
        /// What it said.
        message: String,
        /// Our version.
        software: &'static str,
        /// Our protocol.
        protocol: u32,
    },
    /// The coordinator was away for longer than the patience.
    #[error("the coordinator at {url} can't be reached for {seconds} s ({message}); start it, or check --coordinator")]
    Lost {
        /// The coordinator.
        url: String,
        /// For how long.
        seconds: u64,
        /// What the last try gave.
        message: String,
    },
    /// The coordinator's store can't be opened here, refuses to be read or written, or was out of reach for longer than the patience.
    #[error("{error}; this worker ends, its unit is another's now, and everything committed is kept")]
    Store {
        /// What the store said.
        #[source]
        error: Box<StoreError>,
        /// Whether it may do later what it doesn't now, since it was out of reach or did such for this worker before.
        passing: bool,
    },
    /// A model doesn't come, and another process has to ask for it.
    #[error("{message}; this worker ends, and its unit is another's now")]
    Model {
        /// What happened.
        message: String,
    },
    /// The device can't compute any more.
    #[error("the device is of no more use: {message}")]
    Device {
        /// What happened.
        message: String,
    },
}

impl SessionError {
    /// Whether the user must change something before another try makes sense.
    pub fn is_users(&self) -> bool {
        match self {
            SessionError::Refused { .. } => true,
            SessionError::Store { passing, .. } => !passing,
            SessionError::Lost { .. } | SessionError::Model { .. } | SessionError::Device { .. } => false,
        }
    }
}

impl From<StoreError> for SessionError {
    /// What a store says that has done nothing yet.
    fn from(error: StoreError) -> SessionError {
        SessionError::Store { passing: error.out_of_reach(), error: Box::new(error) }
    }
}

/// What all parts of a session share.
pub(crate) struct Shared {
    settings: Settings,
    device: Device,
    shelf: Arc<Shelf>,
    link: Link,
    holding: Arc<Holding>,
    drain: Drain,
    /// What the store has done so far.
    proven: Arc<Proven>,
}

/// A session that has not begun yet.
pub(crate) struct Session {
    settings: Settings,
    device: Device,
    shelf: Arc<Shelf>,
    holding: Arc<Holding>,
    link: Link,
    store: Option<Store>,
    proven: Arc<Proven>,
}

impl Session {
    pub(crate) fn new(settings: Settings, device: Device, shelf: Arc<Shelf>, store: Option<Store>, channel: Channel) -> Session {
        let holding = Arc::new(Holding::default());
        let link = Link::new(&settings, holding.clone(), channel);
        Session { settings, device, shelf, holding, link, store, proven: Arc::default() }
    }

    /// The session of a process whose other one sees, too, what the store does.
    pub(crate) fn beside(self, other: &Session) -> Session {
        Session { proven: other.proven.clone(), ..self }
    }

    pub(crate) async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<ExitKind, SessionError> {
        let Session { settings, device, shelf, holding, link, store: given, proven } = self;
        let drain = Drain::watch(shutdown, settings.timing.drain, holding.clone());
        let shared = Arc::new(Shared { settings, device, shelf, link, holding, drain, proven });
        let registered = tokio::select! {
            biased;
            registered = shared.link.register(None) => registered?,
            () = shared.drain.begun() => return Ok(ExitKind::Drained),
        };
        let mut heartbeat = JoinSet::new();
        let (stays, leaves) = oneshot::channel();
        heartbeat.spawn(heartbeat::beat(shared.clone(), leaves));
        let mut work = Work { shared: shared.clone(), given, opened: None, finishing: JoinSet::new() };
        let ended = match work.store(&registered.store) {
            Ok(_) => work.until_done(registered.idle).await,
            Err(error) => Err(error),
        };
        // What is computed is published even if the coordinator is gone.
        let finished = work.finish().await;
        drop(stays);
        tokio::select! {
            biased;
            _ = tokio::time::timeout(LAST_ANSWER, heartbeat.join_next()) => {}
            () = shared.drain.gone() => {}
        }
        finished.and(ended)
    }
}

/// Lets go of an attempt however publishing it ends: heartbeats would keep the lease of one that panicked for ever.
struct LetGo(Arc<Holding>, Arc<Held>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go(&self.1);
    }
}

/// The loop that leases and executes.
struct Work {
    shared: Arc<Shared>,
    /// The injected store, if there is one.
    given: Option<Store>,
    /// The store that the coordinator named last.
    opened: Option<(String, Store)>,
    /// The attempt whose artifacts are being uploaded; the task ends with its owner.
    finishing: JoinSet<Result<(), SessionError>>,
}

impl Work {
    /// `idle` is whether there was nothing to do at first: a worker may well be started before a sweep is submitted to a coordinator
    /// whose other sweeps are all finished, so it waits for that as long as its patience lasts.
    async fn until_done(&mut self, mut idle: bool) -> Result<ExitKind, SessionError> {
        let began = Instant::now();
        let Settings { exit_when_finished, timing, .. } = self.shared.settings.clone();
        loop {
            if self.shared.drain.has_begun() {
                return Ok(ExitKind::Drained);
            }
            let asked = Instant::now();
            match self.shared.lease().await? {
                Leased::Grant(grant) => {
                    idle = false;
                    self.execute(*grant).await?;
                }
                Leased::Dismissed if exit_when_finished => return Ok(ExitKind::Finished),
                Leased::Finished if exit_when_finished && (!idle || began.elapsed() >= timing.patience) => {
                    return Ok(ExitKind::Finished);
                }
                Leased::Dismissed => self.shared.rest().await,
                nothing @ (Leased::Finished | Leased::Nothing) => {
                    idle &= matches!(nothing, Leased::Finished);
                    // An answer without a wait means that somebody else has asked in this worker's name.
                    if asked.elapsed() < timing.poll / 10 {
                        self.shared.rest().await;
                    }
                }
            }
        }
    }

    /// Executes a granted unit, and begins to publish what came out.
    async fn execute(&mut self, grant: Grant) -> Result<(), SessionError> {
        let shared = self.shared.clone();
        let named = shared.link.registered().map(|r| r.store).unwrap_or_default();
        let held = shared.holding.take(&grant, &named);
        if shared.drain.has_begun() {
            return shared.give_back(&held).await;
        }
        let store = match self.store(&named) {
            Ok(store) => store,
            Err(error) => {
                shared.give_back(&held).await?;
                return Err(error);
            }
        };
        let span = held.log.span().clone();
        let attempt = Attempt { shared: shared.clone(), store, held, grant };
        let computed = tokio::select! {
            biased;
            computed = attempt.compute().instrument(span.clone()) => computed,
            () = shared.drain.over() => attempt::Computed::Ended(Outcome::Released),
        };
        if let Err(error) = self.finish().await {
            // This worker ends. Where the store took nothing of the unit before, it takes nothing of this one: it is given back.
            // Else it is published; that the coordinator is gone is no reason not to.
            let computed = match error {
                SessionError::Store { .. } => attempt::Computed::Ended(Outcome::Released),
                _ => computed,
            };
            if let Err(error) = attempt.publish(computed).instrument(span).await {
                tracing::warn!(%error, "the unit begun meanwhile can't be reported either");
            }
            return Err(error);
        }
        if matches!(computed, attempt::Computed::Leave { .. }) {
            return attempt.publish(computed).instrument(span).await;
        }
        let let_go = LetGo(shared.holding.clone(), attempt.held.clone());
        let publish = async move {
            let ended = attempt.publish(computed).await;
            drop(let_go);
            ended
        };
        self.finishing.spawn(publish.instrument(span));
        Ok(())
    }

    /// Waits for the attempt that is being published.
    async fn finish(&mut self) -> Result<(), SessionError> {
        match self.finishing.join_next().await {
            None => Ok(()),
            Some(ended) => ended.unwrap_or_else(|e| {
                tracing::error!(error = %e, "publishing an attempt panicked; its lease will run out");
                Ok(())
            }),
        }
    }

    fn store(&mut self, named: &str) -> Result<Store, SessionError> {
        if let Some(store) = &self.given {
            return Ok(store.clone());
        }
        if let Some((_, store)) = self.opened.as_ref().filter(|(url, _)| url == named) {
            return Ok(store.clone());
        }
        let store = Store::open_existing(named)?;
        self.opened = Some((named.to_owned(), store.clone()));
        Ok(store)
    }
}

impl Shared {
    /// Asks for a unit. A draining worker still takes an answer that is on its way, to give the unit back at once.
    async fn lease(&self) -> Result<Leased, SessionError> {
        let asked = self.link.lease(self.device.loaded());
        tokio::pin!(asked);
        tokio::select! {
            biased;
            leased = &mut asked => leased,
            () = self.drain.begun() => match tokio::time::timeout(drain::LAST_ANSWER, asked).await {
                Ok(leased) => leased,
                Err(_) => Ok(Leased::Nothing),
            },
        }
    }

    /// Pauses where every sweep is finished: the next one may come at any time, but asking at once again and again helps
    /// nobody.
    async fn rest(&self) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(jittered(self.settings.timing.poll)) => {}
            () = self.drain.begun() => {}
        }
    }

    /// Gives back an attempt that was not begun.
    async fn give_back(&self, held: &Held) -> Result<(), SessionError> {
        held.say(&Outcome::Released);
        self.report(held, Outcome::Released).await
    }

    /// Reports an attempt's outcome. A leaving worker doesn't wait for a coordinator that is away: its lease will run out.
    async fn report(&self, held: &Held, outcome: Outcome) -> Result<(), SessionError> {
        tokio::select! {
            biased;
            reported = self.link.report(held, outcome) => reported,
            () = self.drain.gone() => Ok(()),
        }
    }
}
