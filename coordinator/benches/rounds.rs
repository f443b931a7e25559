//! Units that compute nothing, leased, committed and reported over gRPC: `cargo bench -p limbic`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use limbic::coordinator::{Options, start};
use limbic::{server, sweep};
use limbic_core::machine::Settings;
use limbic_core::plan;
use limbic_proto::commit::{self, Commit, Done, Provenance};
use limbic_proto::layout;
use limbic_proto::unit::{ENGINE_VERSION, REPEATED_VERSION};
use limbic_proto::wire::report_request::Outcome;
use limbic_proto::wire::workers_client::WorkersClient;
use limbic_proto::wire::{Committed, Grant, Held, LeaseRequest, PROTOCOL, RegisterRequest, RegisterResponse, ReportRequest};
use limbic_store::{Store, create};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

#[expect(dead_code, reason = "the crate that it is of uses all of it")]
#[path = "../core/src/testkit.rs"]
mod testkit;

fn main() {
    divan::main();
}

/// Workers that lease at the same time.
const WORKERS: usize = 16;
/// Rows of the dataset; every unit has one.
const ROWS: usize = 250;

/// A coordinator that leads a sweep of so many units, none of which waits for another, and its address.
async fn lead(store: &Store, units: usize) -> String {
    let conditions: Vec<String> = (0..units / ROWS).map(|i| format!("{{name: c{i}, template: 'Case {i}. {{text}}'}}")).collect();
    let fields = format!("conditions: [{}]\nprobes: []\nbaselines: []\nexecution: {{rows_per_unit: 1}}", conditions.join(", "));
    let (spec, rows) = (testkit::spec(&["a"], &fields), testkit::rows(ROWS, &["joy", "anger"]));
    let sweep = sweep::of_rows(spec, rows, vec![testkit::facts("a", 2)]).expect("the spec is sound");
    let sweep = sweep::accept(store, sweep).await.expect("it can be written");
    assert_eq!(sweep.plan.units.len(), units);
    let machine = Settings { adoption_window: Duration::ZERO, ..Settings::default() };
    let (handle, _stopped) = start(store.clone(), Options { machine, dismiss_workers: false });
    handle.open(sweep).await.expect("nobody else leads it");
    handle.all_open().await.expect("it has not ended");
    let listener = server::bind(([127, 0, 0, 1], 0).into(), false).await.expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(server::serve(listener, handle, Box::pin(std::future::pending())));
    address
}

/// An artifact and a commit.
async fn publish(store: &Store, grant: &Grant) {
    let unit = grant.key.parse().expect("a key");
    let artifact = store.put_artifact(&unit, &grant.attempt, "nothing", Bytes::from_static(b"nothing")).await.expect("it can be written");
    let (worker, software, device, counts) = ("w".into(), "limbic".into(), "cpu".into(), BTreeMap::new());
    let provenance = Provenance { worker, software, device, seconds: 0.0, tokens: 0, counts };
    let done = Commit::Done(Done { nonce: create::nonce(), attempt: grant.attempt.clone(), artifacts: vec![artifact], provenance });
    let (path, body) = (layout::commit(&unit, commit::result(0)), serde_json::to_vec(&done).expect("commits serialize"));
    store.create(&path, done.nonce(), body.into()).await.expect("it can be created");
}

/// Leases, commits and reports until nothing is left.
async fn work(mut client: WorkersClient<Channel>, store: Store, worker: String, left: Arc<AtomicUsize>) {
    let device = "cpu".to_owned();
    let introduction = RegisterRequest {
        protocol: PROTOCOL,
        worker: worker.clone(),
        device,
        engine_version: ENGINE_VERSION,
        fit_version: REPEATED_VERSION,
        ..RegisterRequest::default()
    };
    let RegisterResponse { session, store: named, .. } = client.register(introduction).await.expect("it is taken").into_inner();
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        let request = LeaseRequest { worker: worker.clone(), session, loaded_models: Vec::new(), wait_ms: 20_000 };
        let grant = client.lease(request).await.expect("the worker is known").into_inner().grant.expect("there is a unit for each");
        publish(&store, &grant).await;
        let Grant { sweep, key, attempt, token, generation, .. } = grant;
        let held = Some(Held { sweep, key, attempt, token, generation, store: named.clone(), ..Held::default() });
        let outcome = Some(Outcome::Committed(Committed { mine: true, ..Committed::default() }));
        client.report(ReportRequest { worker: worker.clone(), session, held, outcome }).await.expect("it is taken");
    }
}

#[divan::bench(args = [500, 1_000, 2_000], sample_count = 3)]
fn rounds(bencher: Bencher<'_, '_>, units: usize) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let opened = || {
        let store = Store::open("memory:///").expect("it opens");
        let address = runtime.block_on(lead(&store, units));
        let channel = runtime.block_on(Channel::from_shared(address).expect("an address").connect()).expect("it listens");
        (store, WorkersClient::new(channel), Arc::new(AtomicUsize::new(units)))
    };
    bencher.counter(ItemsCount::new(units)).with_inputs(opened).bench_local_values(|(store, client, left)| {
        let workers = (0..WORKERS).map(|i| runtime.spawn(work(client.clone(), store.clone(), format!("w{i}"), left.clone())));
        let workers: Vec<_> = workers.collect();
        workers.into_iter().for_each(|worker| runtime.block_on(worker).expect("no worker panics"));
    });
}
