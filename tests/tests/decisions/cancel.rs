//! A cancel reaches a worker with its next heartbeat: coordinator and worker as they are, over pipes in memory, on a clock
//! that moves only when there is nothing else to do.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use hyper_util::rt::TokioIo;
use limbic::coordinator::{Handle, Options, start};
use limbic::{server, sweep};
use limbic_core::machine::{Event, Settings as Machine, SweepId};
use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptState, AttemptView};
use limbic_store::Store;
use limbic_tests::Sandbox;
use limbic_worker::fake::FakeExecutor;
use limbic_worker::{Components, Settings, Simulated, attempt_logs};
use object_store::memory::InMemory;
use tokio::time::Instant;
use tonic::transport::Uri;
use tracing_subscriber::prelude::*;

/// The attempts that hold a lease.
async fn running(handle: &Handle, sweep: &str) -> Vec<(UnitKey, AttemptView)> {
    let mut running = Vec::new();
    for unit in handle.meant(sweep, "kind=extract").await.unwrap().unwrap() {
        let view = handle.show(sweep, unit).await.unwrap().unwrap();
        running.extend(view.attempts.into_iter().filter(|a| a.state == AttemptState::Running).map(|attempt| (unit, attempt)));
    }
    running
}

#[tokio::test(start_paused = true)]
async fn what_runs_stops_with_the_next_heartbeat() {
    let _logs = tracing_subscriber::registry().with(attempt_logs()).set_default();
    let (sandbox, store) = (Sandbox::new("", ""), Store::over("memory://", Arc::new(InMemory::new())));
    let spec = sweep::read_spec(&sandbox.small(&[])).unwrap();
    let accepted = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
    let id = accepted.id.clone();
    let heartbeat = Machine::default().heartbeat;
    let (handle, _superseded) = start(store.clone(), Options { machine: Machine::default(), dismiss_workers: false });
    handle.open(accepted).await.unwrap();
    handle.all_open().await.unwrap();

    let (dial, dialled) = mpsc::unbounded();
    tokio::spawn(server::serve_on(dialled, handle.clone(), std::future::pending()));
    let connector = tower::service_fn(move |_: Uri| {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let taken = dial.unbounded_send(Ok(theirs)).map_err(std::io::Error::other);
        async move { taken.map(|()| TokioIo::new(ours)) }
    });
    let settings = Settings::new("http://coordinator:7447");
    let channel = limbic_worker::endpoint(&settings).unwrap().connect_with_connector_lazy(connector);
    // Units that would go on for a day.
    let simulated = Simulated { channel, time: Box::new(|_| Duration::from_secs(86_400)) };
    let components =
        Components { executor: Box::new(FakeExecutor::default()), fits: None, store: Some(store.clone()), simulated: Some(simulated) };
    tokio::spawn(limbic_worker::run(settings, components, Box::pin(std::future::pending())));

    while running(&handle, &id).await.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    let held = running(&handle, &id).await;
    assert!(!held.is_empty(), "heartbeats keep the leases");
    handle.change(&id, Event::Cancel { sweep: SweepId(id.clone()) }).await.unwrap();
    let cancelled = Instant::now();
    for (unit, attempt) in held {
        // The worker writes an attempt's log when it has stopped it.
        let log = loop {
            if let Some(log) = store.logs(&unit).await.unwrap().into_iter().find(|log| log.attempt == attempt.attempt) {
                break log.text;
            }
            assert!(cancelled.elapsed() <= 2 * heartbeat, "{unit} still runs {:?} after the cancel", cancelled.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(log.contains("outcome=\"given back\""), "{log}");
    }
}
