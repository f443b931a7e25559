//! Two coordinators that both believe that they lead.

use std::time::Duration;

use limbic::coordinator::{Handle, Options, start};
use limbic::sweep;
use limbic_core::machine::{Event, Settings};
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::layout;
use limbic_proto::takes::Takes;
use limbic_store::{Created, Store};
use limbic_tests::Sandbox;

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
