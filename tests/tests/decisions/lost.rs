//! Attempts whose workers say nothing: they are lost, which is logged; but not where it was the coordinator that did not
//! listen.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limbic::coordinator::{Handle, Options, start};
use limbic::sweep;
use limbic_core::machine::{Event, Held, Progress, Settings as Machine, SweepId, WorkerId};
use limbic_proto::status::Status;
use limbic_proto::takes::Takes;
use limbic_proto::wire::Grant;
use limbic_store::Store;
use limbic_tests::Sandbox;
use object_store::memory::InMemory;
use tracing_subscriber::util::SubscriberInitExt;

/// A coordinator of the small sweep, with a worker that was granted a unit, on a clock that moves only when there is nothing
/// else to do.
async fn granted() -> (Handle, Grant) {
    let (sandbox, store) = (Sandbox::new("", ""), Store::over("memory://", Arc::new(InMemory::new())));
    let spec = sweep::read_spec(&sandbox.small(&[])).unwrap();
    let accepted = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
    let (handle, _superseded) = start(store, Options { machine: Machine::default(), dismiss_workers: false });
    handle.open(accepted).await.unwrap();
    handle.all_open().await.unwrap();
    let register = Event::Register { worker: "w".into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() };
    handle.event(register).await.unwrap();
    let grant = handle.lease("w".into(), Vec::new(), Duration::from_secs(5)).await.unwrap().grant.expect("there is something to do");
    (handle, grant)
}

/// The worker says that it still runs its unit.
async fn heartbeat(handle: &Handle, grant: &Grant) {
    let token = grant.token.unwrap();
    let held = Held {
        sweep: SweepId(grant.sweep.clone()),
        unit: grant.key.parse().unwrap(),
        attempt: grant.attempt.clone(),
        token: (token.epoch, token.counter),
        generation: grant.generation,
    };
    let held = vec![Progress { held, share: 0.5, tokens: 0 }];
    let answer = handle.heartbeat("w".into(), handle.settings().session, held, false).await.unwrap();
    assert!(!answer.unknown && answer.cancel.is_empty(), "{answer:?}");
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn status(handle: &Handle) -> Status {
    handle.list().await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_stopped_takes_nobody_for_lost() {
    let (handle, grant) = granted().await;
    let ttl = Machine::default().lease_ttl;
    for _ in 0..3 {
        // As after a SIGSTOP: time has passed, and nothing ran.
        tokio::time::advance(ttl + Duration::from_secs(6)).await;
        heartbeat(&handle, &grant).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let status = status(&handle).await;
    assert_eq!((status.units.running, status.attempts.lost, status.workers.len()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_and_its_worker_are_named_in_the_log() {
    let log = Log::default();
    let written = log.clone();
    let _logs = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).set_default();
    let (handle, grant) = granted().await;
    let sweep = SweepId(grant.sweep.clone());
    tokio::time::sleep(Machine::default().lease_ttl + Duration::from_secs(1)).await;
    assert_eq!(status(&handle).await.attempts.lost, 1);

    let register = Event::Register { worker: "v".into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() };
    handle.event(register).await.unwrap();
    let grant = handle.lease("v".into(), Vec::new(), Duration::from_secs(5)).await.unwrap().grant.unwrap();
    let (unit, attempt) = (grant.key.parse().unwrap(), grant.attempt.clone());
    let error = "the row is too long".to_owned();
    handle.event(Event::Failed { worker: WorkerId::from("v"), unit, attempt, error, permanent: true }).await.unwrap();
    let view = handle.show(&sweep.0, unit).await.unwrap().unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = |said: &str| log.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{said}: {log}"));
    for (said, budget) in
        [("attempt lost", "lost=\"1 of 8\""), ("attempt failed", "failed=\"1 of 3\""), ("quarantined: ", "lost=\"1 of 8\"")]
    {
        let line = line(said);
        assert!(line.contains(" WARN ") && line.contains(budget), "{line}");
        assert!(line.contains(&format!("unit={} title=\"{}\"", unit.short(), view.title)), "{line}");
    }
    assert!(line("attempt lost").contains("worker=\"w\"") && line("quarantined: ").contains("too long"), "{log}");
    assert!(line("nothing was heard of the worker").contains(" WARN ") && log.contains("worker=w"), "{log}");
}
