//! The wire to the coordinator: one channel, every call repeated until it is answered or the patience is over.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use limbic_proto::key::Digest;
use limbic_proto::takes::Takes;
use limbic_proto::unit::{ENGINE_VERSION, REPEATED_VERSION};
use limbic_proto::wire::workers_client::WorkersClient;
use limbic_proto::wire::{
    Grant, HeartbeatRequest, HeartbeatResponse, LARGEST_MESSAGE, LeaseRequest, PROTOCOL, RegisterRequest, ReportRequest,
};
use limbic_store::pauses::Pauses;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::SessionError;
use super::holding::{Held, Holding, Outcome};
use crate::settings::{Settings, SettingsError, Timing};

/// The version of this software.
pub(super) const SOFTWARE: &str = env!("CARGO_PKG_VERSION");

/// What the coordinator said when this worker registered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    /// Counts registrations, so that two callers who both need a new one get the same.
    pub(super) turn: u64,
    pub(super) session: u64,
    pub(super) store: String,
    pub(super) heartbeat: Duration,
    /// Whether there was nothing to do.
    pub(super) idle: bool,
}

/// The answer to a lease request.
pub(super) enum Leased {
    Grant(Box<Grant>),
    Nothing,
    /// There is nothing to do before the next sweep comes.
    Finished,
    /// The coordinator ends: there is no next one.
    Dismissed,
}

/// How a worker with these settings reaches its coordinator.
///
/// # Errors
/// The coordinator's address means nothing.
pub fn endpoint(settings: &Settings) -> Result<Endpoint, SettingsError> {
    let url = settings.coordinator.clone();
    let bad = |message: String| SettingsError::Coordinator { url: url.clone(), message };
    if !url.starts_with("http://") {
        return Err(bad("write http://HOST:PORT".to_owned()));
    }
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|e| bad(format!("is not an address ({e}): write http://HOST:PORT")))?;
    // Keepalives are off by default, and a silent network drop would otherwise go unnoticed for hours.
    Ok(endpoint
        .connect_timeout(settings.timing.answer)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(20)))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

/// Whether the coordinator doesn't know this worker's registration.
fn stale(status: &Status) -> bool {
    matches!(status.code(), Code::FailedPrecondition | Code::NotFound | Code::Aborted)
}

/// How long nothing more is said of a call that is tried again and again.
const TOLD: Duration = Duration::from_secs(60);

/// The tries of one call.
struct Tries {
    pauses: Pauses,
    /// When a failure was said last.
    told: Option<Instant>,
}

impl Tries {
    fn new(timing: &Timing) -> Tries {
        Tries { pauses: timing.pauses(), told: None }
    }

    /// Whether a failure is to be said: the first one, and then one a minute.
    fn worth_telling(&mut self) -> bool {
        let telling = self.told.is_none_or(|told| told.elapsed() >= TOLD);
        if telling {
            self.told = Some(Instant::now());
        }
        telling
    }
}

/// The wire to one coordinator.
pub(super) struct Link {
    url: String,
    worker: String,
    device: String,
    takes: Takes,
    timing: Timing,
    client: WorkersClient<Channel>,
    holding: Arc<Holding>,
    registered: RwLock<Option<Registered>>,
    /// Held while registering, so that only one caller does.
    gate: Mutex<()>,
}

impl Link {
    pub(super) fn new(settings: &Settings, holding: Arc<Holding>, channel: Channel) -> Link {
        let url = settings.coordinator.clone();
        let client = WorkersClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE).max_encoding_message_size(LARGEST_MESSAGE);
        let Settings { id: worker, device, takes, timing, .. } = settings.clone();
        Link { url, worker, device, takes, timing, client, holding, registered: RwLock::new(None), gate: Mutex::new(()) }
    }

    /// The last registration.
    pub(super) fn registered(&self) -> Option<Registered> {
        self.registered.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn session(&self) -> u64 {
        self.registered().map_or(0, |r| r.session)
    }

    /// Registers, unless somebody else has since the turn that the caller found to be stale.
    pub(super) async fn register(&self, stale: Option<u64>) -> Result<Registered, SessionError> {
        let newer = || self.registered().filter(|r| stale.is_none_or(|turn| r.turn > turn));
        if let Some(newer) = newer() {
            return Ok(newer);
        }
        let _one = self.gate.lock().await;
        if let Some(newer) = newer() {
            return Ok(newer);
        }
        let mut tries = Tries::new(&self.timing);
        let answer = loop {
            let request = RegisterRequest {
                protocol: PROTOCOL,
                software: SOFTWARE.to_owned(),
                worker: self.worker.clone(),
                device: self.device.clone(),
                memory_bytes: crate::machine::memory_for_models(&self.device),
                held: self.holding.to_wire(),
                takes: self.takes.to_string(),
                engine_version: ENGINE_VERSION,
                fit_version: REPEATED_VERSION,
            };
            match self.within(self.timing.answer, self.client.clone().register(request)).await {
                Ok(answer) => break answer,
                Err(status)
                    if matches!(
                        status.code(),
                        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied
                    ) =>
                {
                    let (url, message) = (self.url.clone(), status.message().to_owned());
                    return Err(SessionError::Refused { url, message, software: SOFTWARE, protocol: PROTOCOL });
                }
                Err(status) => self.again(&mut tries, "register", &status).await?,
            }
        };
        let turn = self.registered().map_or(0, |r| r.turn + 1);
        let heartbeat = Duration::from_millis(u64::from(answer.heartbeat_ms.max(10)));
        tracing::info!(coordinator = %self.url, worker = %self.worker, session = answer.session, store = %answer.store, "registered");
        let now = Registered { turn, session: answer.session, store: answer.store, heartbeat, idle: answer.finished };
        *self.registered.write().unwrap_or_else(PoisonError::into_inner) = Some(now.clone());
        Ok(now)
    }

    /// Asks for a unit until there is an answer.
    pub(super) async fn lease(&self, loaded: Vec<Digest>) -> Result<Leased, SessionError> {
        let loaded_models: Vec<String> = loaded.iter().map(Digest::hex).collect();
        let mut tries = Tries::new(&self.timing);
        loop {
            let registered = self.register(None).await?;
            let wait_ms = u32::try_from(self.timing.poll.as_millis()).unwrap_or(u32::MAX);
            let request =
                LeaseRequest { worker: self.worker.clone(), session: registered.session, loaded_models: loaded_models.clone(), wait_ms };
            match self.within(self.timing.poll + self.timing.answer, self.client.clone().lease(request)).await {
                Ok(answer) => {
                    return Ok(match answer.grant {
                        Some(grant) => Leased::Grant(Box::new(grant)),
                        None if answer.dismissed => Leased::Dismissed,
                        None if answer.finished => Leased::Finished,
                        None => Leased::Nothing,
                    });
                }
                Err(status) => {
                    self.again(&mut tries, "lease", &status).await?;
                    self.renew_if_stale(&status, registered.turn).await?;
                }
            }
        }
    }

    /// One heartbeat; it is not repeated, the next one comes anyway.
    pub(super) async fn heartbeat(&self, draining: bool) -> Result<HeartbeatResponse, Status> {
        let request = HeartbeatRequest { worker: self.worker.clone(), session: self.session(), held: self.holding.to_wire(), draining };
        self.within(self.timing.answer, self.client.clone().heartbeat(request)).await
    }

    /// Says how an attempt ended, and lets go of it.
    ///
    /// A coordinator that stays away is no error here: a commit stands in the store all the same.
    pub(super) async fn report(&self, held: &Held, outcome: Outcome) -> Result<(), SessionError> {
        let mut tries = Tries::new(&self.timing);
        let result = loop {
            let turn = self.registered().map_or(0, |r| r.turn);
            let request = ReportRequest {
                worker: self.worker.clone(),
                session: self.session(),
                held: Some(held.to_wire()),
                outcome: Some(outcome.to_wire()),
            };
            match self.within(self.timing.answer, self.client.clone().report(request)).await {
                Ok(_) => break Ok(()),
                Err(status) if status.code() == Code::InvalidArgument => {
                    tracing::error!(unit = held.key, error = %status.message(), "the coordinator doesn't take the report; going on");
                    break Ok(());
                }
                Err(status) => {
                    if let Err(error) = self.again(&mut tries, "report", &status).await {
                        break Err(error);
                    }
                    if let Err(error) = self.renew_if_stale(&status, turn).await {
                        break Err(error);
                    }
                }
            }
        };
        self.holding.let_go(held);
        result
    }

    /// A coordinator that doesn't know us (it was restarted) is told who we are and what we hold.
    async fn renew_if_stale(&self, status: &Status, turn: u64) -> Result<(), SessionError> {
        if stale(status) {
            self.register(Some(turn)).await?;
        }
        Ok(())
    }

    /// Waits before another try, or gives up. What is tried again for minutes is said, but not at every try.
    async fn again(&self, tries: &mut Tries, what: &str, status: &Status) -> Result<(), SessionError> {
        let (url, code, error) = (&self.url, status.code(), status.message());
        // One that was restarted has answered, and is introduced to at once.
        if !stale(status) && tries.worth_telling() {
            let patience = self.timing.patience.as_secs();
            tracing::warn!(
                what,
                ?code,
                error,
                "the coordinator at {url} doesn't answer; trying again for up to {patience} s (--coordinator, --patience)"
            );
        } else {
            tracing::debug!(what, ?code, error, "no answer; trying again");
        }
        if tries.pauses.wait().await {
            return Ok(());
        }
        Err(SessionError::Lost { url: url.clone(), seconds: tries.pauses.seconds(), message: format!("{what}: {error}") })
    }

    async fn within<T>(&self, time: Duration, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
        match tokio::time::timeout(time, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", time.as_secs()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_call_that_fails_for_long_the_first_failure_is_told_and_one_a_minute() {
        let timing = Timing::default();
        let mut tries = Tries::new(&timing);
        let mut told = Vec::new();
        let began = Instant::now();
        loop {
            if tries.worth_telling() {
                told.push(began.elapsed().as_secs());
            }
            if !tries.pauses.wait().await {
                break;
            }
        }
        assert_eq!(told[0], 0, "who has mistyped --coordinator sees it at once");
        assert!((8..=11).contains(&told.len()), "{told:?}");
        assert!(told.windows(2).all(|pair| (60..=80).contains(&(pair[1] - pair[0]))), "{told:?}");
    }
}
