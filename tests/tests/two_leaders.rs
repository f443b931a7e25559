//! Two coordinators that both believe that they lead, and workers and sweeps that are not what a coordinator believes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use limbic::catalogue;
use limbic::coordinator::{Handle, Options, start};
use limbic::patience::Patience;
use limbic::service::WorkersService;
use limbic::sweep;
use limbic_core::machine::{Event, Settings};
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::status::SweepState;
use limbic_proto::takes::Takes;
use limbic_proto::unit::{ENGINE_VERSION, REPEATED_VERSION, Versions};
use limbic_proto::wire::report_request::Outcome;
use limbic_proto::wire::workers_server::Workers;
use limbic_proto::wire::{Committed, Held, PROTOCOL, RegisterRequest, ReportRequest};
use limbic_store::{Created, Store};
use limbic_tests::{FaultyStore, Sandbox, Script};
use object_store::memory::InMemory;
use tonic::Request;

fn lead(store: &Store) -> Handle {
    let machine = Settings { adoption_window: Duration::ZERO, ..Settings::default() };
    start(store.clone(), Options { machine, dismiss_workers: false }).0
}

async fn register(coordinator: &Handle, worker: &str) {
    let register = Event::Register { worker: worker.into(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() };
    coordinator.event(register).await.unwrap();
}

/// Commits a unit as a worker would, with artifacts that nobody reads here.
async fn commit(store: &Store, key: &str) {
    let provenance = Provenance {
        worker: "w".into(),
        software: "limbic 0".into(),
        device: "cpu".into(),
        seconds: 1.0,
        tokens: 1,
        counts: Default::default(),
    };
    let commit = Commit::Done(Done { nonce: "n".into(), attempt: "a".into(), artifacts: Vec::new(), provenance });
    let body = serde_json::to_vec(&commit).unwrap().into();
    assert_eq!(store.create(&layout::commit(&key.parse().unwrap(), 0), "n", body).await.unwrap(), Created::Won);
}

/// Two leaders of the small sweep, which both know it to be without a commit.
async fn both(sandbox: &Sandbox) -> (Store, Handle, Handle) {
    let spec = sweep::read_spec(&sandbox.small(&[])).unwrap();
    let store = Store::open(sandbox.path("store").to_str().unwrap()).unwrap();
    let sweep = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
    let (older, newer) = (lead(&store), lead(&store));
    older.open(sweep.clone()).await.unwrap();
    newer.open(sweep).await.unwrap();
    (store, older, newer)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_granted_while_the_store_does_not_say_what_is_committed() {
    let sandbox = Sandbox::new("", "");
    let (store, older, newer) = both(&sandbox).await;
    register(&older, "of the older").await;
    let answer = older.lease("of the older".into(), Vec::new(), Duration::from_secs(5)).await.unwrap();
    let committed = answer.grant.expect("the store says that nothing is committed").key;
    commit(&store, &committed).await;

    register(&newer, "of the newer").await;
    std::fs::rename(sandbox.path("store"), sandbox.path("away")).unwrap();
    let answer = newer.lease("of the newer".into(), Vec::new(), Duration::from_secs(3)).await.unwrap();
    assert_eq!(answer.grant, None, "the store was asked in vain");
    let asked = Instant::now();
    while newer.list().await.unwrap()[0].attempts.started > 0 {
        assert!(asked.elapsed() < Duration::from_secs(10), "what reached nobody was no attempt");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::rename(sandbox.path("away"), sandbox.path("store")).unwrap();
    let mut granted = 0;
    while let Some(grant) = newer.lease("of the newer".into(), Vec::new(), Duration::from_secs(1)).await.unwrap().grant {
        assert_ne!(grant.key, committed, "a committed unit is leased again");
        granted += 1;
    }
    assert!(granted >= 10, "the store is there again: {granted}");
    let status = &newer.list().await.unwrap()[0];
    assert_eq!((status.units.committed, status.attempts.failed, status.attempts.lost), (1, 0, 0), "no budget has paid for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_older_leaders_workers_commit_is_not_leased_again_by_the_newer() {
    let sandbox = Sandbox::new("", "");
    let (store, older, newer) = both(&sandbox).await;

    // The older one doesn't know yet that it is superseded, and its worker works on.
    register(&older, "of the older").await;
    let mut committed = Vec::new();
    for _ in 0..3 {
        let answer = older.lease("of the older".into(), Vec::new(), Duration::from_secs(5)).await.unwrap();
        let key = answer.grant.expect("the older one still grants").key;
        commit(&store, &key).await;
        committed.push(key);
    }

    register(&newer, "of the newer").await;
    let mut granted = Vec::new();
    while let Some(grant) = newer.lease("of the newer".into(), Vec::new(), Duration::from_secs(1)).await.unwrap().grant {
        assert!(!committed.contains(&grant.key), "a committed unit is leased again");
        granted.push(grant.key);
    }
    assert!(granted.len() >= 10, "everything else that waits for nothing is granted: {}", granted.len());
    let status = &newer.list().await.unwrap()[0];
    assert_eq!(status.units.committed, 3, "what was found committed counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_for_another_store_is_none_of_a_coordinators_business() {
    let sandbox = Sandbox::new("", "");
    let (store, _older, newer) = both(&sandbox).await;
    register(&newer, "w").await;
    let grant = newer.lease("w".into(), Vec::new(), Duration::from_secs(5)).await.unwrap().grant.unwrap();
    let held = |store: &str| Held {
        sweep: grant.sweep.clone(),
        key: grant.key.clone(),
        attempt: grant.attempt.clone(),
        token: grant.token,
        store: store.to_owned(),
        ..Held::default()
    };
    let service = WorkersService::new(newer.clone());
    let report = |store: &str| ReportRequest {
        worker: "w".into(),
        session: 0,
        held: Some(held(store)),
        outcome: Some(Outcome::Committed(Committed { mine: true, tokens: 1 })),
    };
    service.report(Request::new(report("s3://elsewhere"))).await.expect("the worker lets go of it");
    let done = async || newer.list().await.unwrap()[0].units.committed;
    assert_eq!(done().await, 0, "what was committed there is nothing here");
    service.report(Request::new(report(store.url()))).await.unwrap();
    assert_eq!(done().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_computes_other_versions_is_refused() {
    let sandbox = Sandbox::new("", "");
    let (_, _, newer) = both(&sandbox).await;
    let service = WorkersService::new(newer);
    let request = |engine_version, fit_version| RegisterRequest {
        protocol: PROTOCOL,
        worker: "w".into(),
        engine_version,
        fit_version,
        ..RegisterRequest::default()
    };
    service.register(Request::new(request(ENGINE_VERSION, REPEATED_VERSION))).await.unwrap();
    for (engine, fits) in [(ENGINE_VERSION - 1, REPEATED_VERSION), (ENGINE_VERSION, REPEATED_VERSION + 1), (0, 0)] {
        let refused = service.register(Request::new(request(engine, fits))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains("run the same build on both sides"), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_with_an_earlier_revision_takes_nothing_back() {
    let sandbox = Sandbox::new("", "");
    let store = Store::open(sandbox.path("store").to_str().unwrap()).unwrap();
    let prepare = async |replace: &[(&str, &str)]| sweep::prepare(sweep::read_spec(&sandbox.small(replace)).unwrap()).await.unwrap();
    let first = sweep::accept(&store, prepare(&[]).await).await.unwrap();
    let coordinator = lead(&store);
    coordinator.open(first.clone()).await.unwrap();
    let total = async || coordinator.list().await.unwrap()[0].units.total;
    let before = total().await;
    let more = prepare(&[("offsets: [0, 1, 3]", "offsets: [0, 1, 2, 3]")]).await;
    let second = sweep::extend(&store, &first.id, more).await.unwrap();
    coordinator.open(second).await.unwrap();
    let extended = total().await;
    assert!(extended > before);
    coordinator.open(first).await.unwrap();
    assert_eq!(total().await, extended);
}

/// A sweep that an earlier release accepted keeps its units, and so its results; what is missing of it is computed anew once it is
/// submitted again.
#[tokio::test(flavor = "multi_thread")]
async fn results_of_an_earlier_release_stay_what_they_are() {
    let sandbox = Sandbox::new("", "");
    let store = Store::open(sandbox.path("store").to_str().unwrap()).unwrap();
    let prepared = sweep::prepare(sweep::read_spec(&sandbox.small(&[])).unwrap()).await.unwrap();
    let older = Versions { engine: ENGINE_VERSION - 1, ..Versions::CURRENT };
    let mut accepted = prepared.accepted.clone();
    (accepted.versions, accepted.nonce) = (older, "of an earlier release".to_owned());
    store.put_content(&layout::rows(&accepted.rows), prepared.rows.to_bytes().into()).await.unwrap();
    let body = serde_json::to_vec(&accepted).unwrap().into();
    store.create(&layout::spec(&prepared.id, 0), &accepted.nonce, body).await.unwrap();

    let standing = sweep::open(&store, &prepared.id).await.unwrap();
    assert_eq!(standing.plan.units.len(), prepared.plan.units.len());
    assert!(standing.plan.units.keys().all(|unit| !prepared.plan.units.contains_key(unit) || unit_reads_no_model(&standing, unit)));
    // Unfinished, it is shown, and nothing of it is computed.
    let coordinator = lead(&store);
    coordinator.open(standing.clone()).await.unwrap();
    register(&coordinator, "w").await;
    assert_eq!(coordinator.lease("w".into(), Vec::new(), Duration::from_millis(200)).await.unwrap().grant, None);
    let status = &coordinator.list().await.unwrap()[0];
    assert!(status.waiting.iter().any(|w| w.reason.contains("submit its spec again")), "{:?}", status.waiting);
    assert!(coordinator.finished().await.unwrap(), "there is nothing for workers to wait for");

    for unit in standing.plan.units.keys() {
        commit(&store, &unit.hex()).await;
    }
    let coordinator = lead(&store);
    coordinator.open(standing.clone()).await.unwrap();
    assert_eq!(coordinator.list().await.unwrap()[0].state, SweepState::Complete, "its results stand");
    let why = sweep::foreign(&standing.id, "small", &coordinator.versions(&standing.id).await.unwrap().unwrap()).unwrap();
    assert!(why.to_string().contains("submit or run its spec again"), "{why}");

    let again = sweep::accept(&store, prepared.clone()).await.unwrap();
    coordinator.open(again.clone()).await.unwrap();
    register(&coordinator, "w").await;
    let granted = coordinator.lease("w".into(), Vec::new(), Duration::from_secs(5)).await.unwrap().grant.expect("it goes on");
    assert!(prepared.plan.units.contains_key(&granted.key.parse().unwrap()));
    assert_eq!((again.plan.versions, again.earlier.len()), (Versions::CURRENT, 1));
    assert_eq!(again.plan.order, prepared.plan.order, "all of it in this release's versions");
    assert!(again.standing("small", prepared.plan.units.len()).iter().any(|note| note.contains("computed anew")));
    assert_eq!(sweep::accept(&store, prepared).await.unwrap().earlier.len(), 1, "and once is enough");
}

/// Baselines on words are the same in both.
fn unit_reads_no_model(sweep: &sweep::Sweep, unit: &UnitKey) -> bool {
    let spec = &sweep.plan.units[unit].unit.spec;
    spec.model().is_none() && spec.dependencies().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_sweeps_a_store_has_it_is_listed_once_at_a_start() {
    let (sandbox, script) = (Sandbox::new("", ""), Script::none());
    let store = Store::over("memory://", Arc::new(FaultyStore::new(Arc::new(InMemory::new()), script.clone(), "coordinator")));
    let mut units = Vec::new();
    for limit in ["limit: 210", "limit: 140", "limit: 70"] {
        let spec = sweep::read_spec(&sandbox.small(&[("limit: 210", limit)])).unwrap();
        let sweep = sweep::accept(&store, sweep::prepare(spec).await.unwrap()).await.unwrap();
        units.push(sweep.plan.order[0]);
    }
    for unit in &units[..2] {
        commit(&store, &unit.to_string()).await;
    }
    let handle = lead(&store);
    let sweeps = catalogue::open_all(&store).await.unwrap();
    assert!(handle.open_all(sweeps, Patience::of(Duration::ZERO)).await.unwrap().is_none());
    for folder in [layout::commits(), layout::splits(), layout::releases()] {
        assert_eq!(script.listings(folder), 1, "{folder}");
    }
    let statuses = handle.list().await.unwrap();
    assert_eq!((statuses.len(), statuses.iter().map(|status| status.units.committed).sum::<u64>()), (3, 2));

    // A sweep that is submitted later is looked for anew.
    handle.open(catalogue::open(&store, &statuses[0].sweep).await.unwrap()).await.unwrap();
    assert_eq!(script.listings(layout::commits()), 2);
}
