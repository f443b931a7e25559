//! The service that workers lease units from.

use std::time::Duration;

use limbic_core::machine::{Event, Held as HeldLease, Progress, SweepId, WorkerId};
use limbic_proto::key::UnitKey;
use limbic_proto::takes::Takes;
use limbic_proto::unit::{ENGINE_VERSION, REPEATED_VERSION};
use limbic_proto::wire::workers_server::Workers;
use limbic_proto::wire::{
    HeartbeatRequest, HeartbeatResponse, Held, LeaseRequest, LeaseResponse, RegisterRequest, RegisterResponse, ReportRequest,
    ReportResponse, report_request::Outcome,
};
use tonic::{Request, Response, Status};

use super::check_protocol;
use crate::coordinator::Handle;

/// The longest that a lease call waits for a unit.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The service that workers lease units from.
#[derive(Debug)]
pub struct WorkersService {
    coordinator: Handle,
}

impl WorkersService {
    /// In front of that coordinator.
    pub fn new(coordinator: Handle) -> Self {
        WorkersService { coordinator }
    }

    /// Those of a worker's attempts whose results go to this coordinator's store. One that was granted by a coordinator of another
    /// store, whose place this one took, goes on for that.
    fn ours<'a>(&self, held: &'a [Held]) -> impl Iterator<Item = &'a Held> {
        let store = self.coordinator.settings().store.clone();
        held.iter().filter(move |held| held.store == store)
    }

    /// Whether a unit whose commit a worker has found was split by another coordinator.
    async fn split(&self, unit: UnitKey, generation: u32) -> Result<bool, Status> {
        let found = self.coordinator.split_by_others(unit, generation).await?;
        found.ok_or_else(|| Status::unavailable("the store doesn't say what stands of the unit: report again"))
    }
}

#[allow(clippy::result_large_err)]
fn key(text: &str) -> Result<UnitKey, Status> {
    text.parse().map_err(Status::invalid_argument)
}

#[allow(clippy::result_large_err)]
fn lease(held: &Held) -> Result<HeldLease, Status> {
    let token = held.token.unwrap_or_default();
    Ok(HeldLease {
        sweep: SweepId(held.sweep.clone()),
        unit: key(&held.key)?,
        attempt: held.attempt.clone(),
        token: (token.epoch, token.counter),
        generation: held.generation,
    })
}

/// The longest error that is kept, in bytes: it goes into the journal and into every status.
const LONGEST_ERROR: usize = 16 << 10;

/// An error as it is kept.
fn cut(mut error: String) -> String {
    if error.len() > LONGEST_ERROR {
        error.truncate(error.floor_char_boundary(LONGEST_ERROR));
        error.push('…');
    }
    error
}

/// The longest name of a worker, its software or its device, in bytes.
const LONGEST_NAME: usize = 200;

/// Refuses names that would be more than a word in a log, or none.
#[allow(clippy::result_large_err)]
fn check_name(field: &str, name: &str) -> Result<(), Status> {
    match name.len() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!(
            "RegisterRequest.{field}: {} bytes, expected at most {LONGEST_NAME}, without line breaks and other control characters",
            name.len()
        ))),
    }
}

/// Refuses a worker whose results are of other versions than those that are planned: each unit would fail there.
#[allow(clippy::result_large_err)]
fn check_versions(engine: u32, fits: u32) -> Result<(), Status> {
    if (engine, fits) == (ENGINE_VERSION, REPEATED_VERSION) {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this coordinator plans results of version {ENGINE_VERSION} (hidden states) and {REPEATED_VERSION} (fits), you compute {engine} and \
         {fits}: run the same build on both sides",
    )))
}

#[tonic::async_trait]
impl Workers for WorkersService {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        check_protocol(request.protocol)?;
        check_versions(request.engine_version, request.fit_version)?;
        for (field, name) in [("worker", &request.worker), ("software", &request.software), ("device", &request.device)] {
            check_name(field, name)?;
        }
        let held = self.ours(&request.held).map(lease).collect::<Result<Vec<_>, _>>()?;
        let takes = match request.takes.as_str() {
            "" => Takes::All,
            word => word.parse().map_err(|message| Status::invalid_argument(format!("RegisterRequest.takes: {message}")))?,
        };
        tracing::info!(worker = %request.worker, software = %request.software, device = %request.device, %takes, held = held.len(), "worker registered");
        self.coordinator
            .event(Event::Register { worker: WorkerId(request.worker), device: request.device, takes, memory: request.memory_bytes, held })
            .await?;
        let settings = self.coordinator.settings();
        Ok(Response::new(RegisterResponse {
            session: settings.session,
            store: settings.store.clone(),
            heartbeat_ms: settings.heartbeat.as_millis() as u32,
            finished: self.coordinator.finished().await?,
        }))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        let request = request.into_inner();
        let loaded = request.loaded_models.iter().map(|d| key(d)).collect::<Result<Vec<_>, _>>()?;
        let wait = Duration::from_millis(u64::from(request.wait_ms)).min(LONGEST_WAIT);
        if !self.coordinator.knows(&request.worker, request.session).await? {
            return Err(Status::not_found(
                "this coordinator doesn't know the worker (it restarted, or the worker was silent for too long): register again",
            ));
        }
        Ok(Response::new(self.coordinator.lease(request.worker, loaded, wait).await?))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let held = self
            .ours(&request.held)
            .map(|h| Ok(Progress { held: lease(h)?, share: h.progress, tokens: h.tokens }))
            .collect::<Result<Vec<_>, Status>>()?;
        Ok(Response::new(self.coordinator.heartbeat(request.worker, request.session, held, request.draining).await?))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let request = request.into_inner();
        let held = request.held.as_ref().ok_or_else(|| Status::invalid_argument("ReportRequest.held is missing"))?;
        if self.ours(std::slice::from_ref(held)).next().is_none() {
            tracing::info!(worker = %request.worker, attempt = %held.attempt, store = %held.store, "an attempt for another store has ended");
            return Ok(Response::new(ReportResponse {}));
        }
        let HeldLease { sweep, unit, attempt, generation, .. } = lease(held)?;
        let worker = WorkerId(request.worker);
        let event = match request.outcome {
            Some(Outcome::Committed(c)) if !c.mine && self.split(unit, generation).await? => Event::Released { worker, unit, attempt },
            Some(Outcome::Committed(c)) => Event::Committed { worker, sweep, unit, attempt, generation, mine: c.mine, tokens: c.tokens },
            Some(Outcome::Failed(f)) => {
                let error = cut(f.error);
                // What counts is logged where it is decided.
                tracing::debug!(%worker, unit = %unit.short(), %attempt, %error, "told that an attempt failed");
                Event::Failed { worker, unit, attempt, error, permanent: f.permanent }
            }
            Some(Outcome::Corrupt(c)) => {
                tracing::warn!(%worker, unit = %unit.short(), %attempt, bad = %c.key, error = %c.error, "a dependency is corrupt");
                let (bad, generation) = (key(&c.key)?, c.generation);
                self.coordinator.released_by_others(&sweep, unit, (bad, generation)).await?;
                Event::Corrupt { worker, unit, attempt, bad, generation, error: cut(c.error) }
            }
            Some(Outcome::Released(_)) => Event::Released { worker, unit, attempt },
            None => return Err(Status::invalid_argument("ReportRequest.outcome is missing")),
        };
        self.coordinator.event(event).await?;
        Ok(Response::new(ReportResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_are_cut_between_characters() {
        let fits = "é".repeat(LONGEST_ERROR / 2);
        assert_eq!(cut(fits.clone()), fits);
        let kept = cut(format!("x{fits}"));
        assert_eq!(kept, format!("x{}…", "é".repeat(LONGEST_ERROR / 2 - 1)));
    }
}
