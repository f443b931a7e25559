//! The service that people and scripts submit sweeps through.

use std::pin::Pin;
use std::time::Duration;

use limbic_core::machine::{Event, SweepId};
use limbic_proto::key::UnitKey;
use limbic_proto::spec::Spec;
use limbic_proto::status::{Status as SweepStatus, SweepState};
use limbic_proto::wire::control_server::Control;
use limbic_proto::wire::{
    Change, ChangeRequest, ChangeResponse, ListRequest, ListResponse, ShowRequest, ShowResponse, StatusRequest, StatusResponse,
    SubmitRequest, SubmitResponse,
};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::check_protocol;
use crate::catalogue::Entry;
use crate::coordinator::Handle;
use crate::failure::Failure;
use crate::progress::units_are;
use crate::sweep::Sweep;
use crate::{catalogue, show, sweep};

/// How often a watched status is looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(500);

/// The service that people and scripts submit sweeps through.
#[derive(Debug)]
pub struct ControlService {
    coordinator: Handle,
}

impl ControlService {
    /// In front of that coordinator.
    pub fn new(coordinator: Handle) -> Self {
        ControlService { coordinator }
    }

    async fn find(&self, wanted: &str) -> Result<SweepStatus, Status> {
        let mut all = self.coordinator.list().await?;
        let known: Vec<Entry> = all.iter().map(Entry::of).collect();
        let id = catalogue::find(&known, wanted).map_err(|e| Status::not_found(e.to_string()))?;
        let at = all.iter().position(|s| s.sweep == id).expect("found among these");
        Ok(all.swap_remove(at))
    }

    /// Accepts what a spec asks, with what is worth saying of it.
    async fn accept(&self, request: &SubmitRequest) -> Result<(Sweep, Vec<String>), Status> {
        let spec: Spec = serde_json::from_slice(&request.spec).map_err(|e| Status::invalid_argument(format!("spec: {e}")))?;
        spec.check().map_err(|f| Status::invalid_argument(format!("{}: {}", f.field, f.message)))?;
        let elsewhere = spec.store.clone().filter(|asked| !same_store(asked, self.coordinator.store().url()));
        let prepared = sweep::prepare(spec).await.map_err(refused)?;
        let store = self.coordinator.store();
        let beyond = if request.extend.is_empty() { None } else { Some(self.find(&request.extend).await?.sweep) };
        if beyond.is_none() {
            sweep::keep_rows(store, &prepared).await.map_err(refused)?;
        }
        let (accepted, more) = catalogue::take_in(store, prepared, beyond.as_deref()).await.map_err(refused)?;
        let mut notes = accepted.notes();
        notes.extend(more);
        notes.extend(
            elsewhere.map(|asked| format!("the spec's store {asked} is not used: results go to this coordinator's store, {}", store.url())),
        );
        Ok((accepted, notes))
    }

    /// A sweep that its submitter has written into the store.
    async fn standing(&self, id: &str) -> Result<Sweep, Status> {
        let store = self.coordinator.store();
        catalogue::known(store, id).await.map_err(refused)?.ok_or_else(|| {
            let url = store.url();
            Status::not_found(format!("sweep {id} doesn't stand in this coordinator's store, {url}: is it the one of --store?"))
        })
    }

    async fn meant(&self, sweep: &str, wanted: &str) -> Result<Vec<UnitKey>, Status> {
        self.coordinator.meant(sweep, wanted).await?.map_err(refused)
    }
}

fn refused(failure: Failure) -> Status {
    match failure {
        Failure::User(message) => Status::invalid_argument(message),
        Failure::Again(message) => Status::unavailable(message),
    }
}

/// Whether a spec's store is the one at `url`; a folder may be written in several ways.
fn same_store(asked: &str, url: &str) -> bool {
    let plain = |s: &str| s.strip_prefix("file://").unwrap_or(s).trim_end_matches('/').to_owned();
    let real = |s: &str| {
        if s.contains("://") { s.to_owned() } else { std::fs::canonicalize(s).map_or(s.to_owned(), |p| p.to_string_lossy().into_owned()) }
    };
    real(&plain(asked)) == real(&plain(url))
}

/// Who somebody says to be: one line, of a length that a table bears.
fn said_by(by: &str) -> String {
    by.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn encode(status: &SweepStatus) -> StatusResponse {
    StatusResponse { status: serde_json::to_vec(status).expect("a status serializes") }
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let request = request.into_inner();
        check_protocol(request.protocol)?;
        let (accepted, notes) = if request.accepted.is_empty() {
            Box::pin(self.accept(&request)).await?
        } else {
            (self.standing(&request.accepted).await?, Vec::new())
        };
        let mut response = SubmitResponse {
            sweep: accepted.id.clone(),
            name: accepted.name().to_owned(),
            size: accepted.in_words(),
            rows: accepted.rows.rows.len() as u64,
            cells: accepted.plan.estimate.cells,
            units: accepted.plan.units.len() as u64,
            notes,
            ..Default::default()
        };
        self.coordinator.open(accepted).await.map_err(refused)?;
        response.committed = self.coordinator.status(&response.sweep).await?.map_or(0, |status| status.units.committed);
        // Who submits a sweep again that could not be completed wants it to be tried again.
        match self.coordinator.retry_quarantined(&response.sweep).await? {
            0 => {}
            count => response.notes.push(format!("{} tried again, which had failed", units_are(count as u64))),
        }
        Ok(Response::new(response))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(encode(&self.find(&request.into_inner().sweep).await?)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<StatusResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<StatusRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut status = self.find(&request.into_inner().sweep).await?;
        let versions = self.coordinator.versions(&status.sweep).await?.filter(|_| !status.state.terminal());
        // It would never end.
        if let Some(foreign) = versions.and_then(|versions| sweep::foreign(&status.sweep, &status.name, &versions)) {
            return Err(refused(foreign));
        }
        let coordinator = self.coordinator.clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                if sender.send(Ok(encode(&status))).await.is_err() || status.state.terminal() {
                    return;
                }
                let sent = status.timeless();
                while status.timeless() == sent {
                    tokio::select! {
                        () = tokio::time::sleep(WATCH_PERIOD) => {}
                        () = sender.closed() => return,
                    }
                    match coordinator.status(&status.sweep).await {
                        Ok(Some(next)) => status = next,
                        _ => return,
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn change(&self, request: Request<ChangeRequest>) -> Result<Response<ChangeResponse>, Status> {
        let request = request.into_inner();
        let status = self.find(&request.sweep).await?;
        let (id, sweep) = (status.sweep.clone(), SweepId(status.sweep.clone()));
        let change = request.change();
        if status.state == SweepState::Cancelled && matches!(change, Change::Retry | Change::Again) {
            return Err(refused(sweep::cancelled(&id, &status.name)));
        }
        // It would take results away that nobody here can compute again.
        if matches!(change, Change::Retry | Change::Again)
            && let Some(versions) = self.coordinator.versions(&id).await?
            && let Some(foreign) = sweep::foreign(&id, &status.name, &versions)
        {
            return Err(refused(foreign));
        }
        let wish = match change {
            Change::Pause => Event::Pause { sweep, by: said_by(&request.by) },
            Change::Resume => Event::Resume { sweep },
            Change::Cancel => Event::Cancel { sweep },
            Change::Retry if request.select.is_empty() => {
                Event::Retry { sweep, units: status.quarantined.iter().filter_map(|unit| unit.unit.parse().ok()).collect() }
            }
            Change::Retry => Event::Retry { sweep, units: self.meant(&id, &request.select).await? },
            Change::Again => Event::Again { sweep, units: self.meant(&id, &request.select).await? },
            Change::Unspecified => return Err(Status::invalid_argument("ChangeRequest.change is missing")),
        };
        let (units, written) = self.coordinator.change(&id, wish).await?;
        if !written {
            return Err(Status::unavailable(format!(
                "the coordinator does as you wish with sweep {id} from now on, but its store {} doesn't take it down: a coordinator that is \
                 started again before it does won't know of it",
                self.coordinator.settings().store
            )));
        }
        Ok(Response::new(ChangeResponse { status: encode(&self.find(&id).await?).status, units: units as u64 }))
    }

    async fn show(&self, request: Request<ShowRequest>) -> Result<Response<ShowResponse>, Status> {
        let request = request.into_inner();
        let id = self.find(&request.sweep).await?.sweep;
        let mut views = Vec::new();
        for key in self.meant(&id, &request.unit).await? {
            views.extend(self.coordinator.show(&id, key).await?.map(|view| (key, view)));
        }
        let shown = show::with_objects(self.coordinator.store(), views, request.log_lines).await.map_err(|e| refused(e.into()))?;
        Ok(Response::new(ShowResponse { units: shown.iter().map(|unit| serde_json::to_vec(unit).expect("a unit serializes")).collect() }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let all = self.coordinator.list().await?;
        Ok(Response::new(ListResponse { statuses: all.iter().map(|s| encode(s).status).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::same_store;

    #[test]
    fn a_store_is_the_same_however_it_is_written() {
        let here = std::env::current_dir().unwrap();
        let url = here.to_string_lossy();
        for asked in [
            url.to_string(),
            format!("{url}/"),
            format!("file://{url}"),
            format!("{url}/../{}", here.file_name().unwrap().to_string_lossy()),
        ] {
            assert!(same_store(&asked, &url), "{asked}");
        }
        assert!(same_store("s3://bucket/limbic/", "s3://bucket/limbic"));
        assert!(!same_store("s3://bucket/other", "s3://bucket/limbic") && !same_store("/nowhere", &url));
    }
}
