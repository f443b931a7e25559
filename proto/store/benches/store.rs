//! Creates, commits and listings in memory and in a local folder: `cargo bench -p limbic-store`.

use std::collections::BTreeMap;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use futures::StreamExt;
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_store::{Store, create};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// A kind of store.
#[derive(Debug, Clone, Copy)]
enum Place {
    Memory,
    Folder,
}

const PLACES: [Place; 2] = [Place::Memory, Place::Folder];

/// A new store, and the folder that it lies in.
fn open(place: Place) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let address = match place {
        Place::Memory => "memory:///".to_owned(),
        Place::Folder => folder.path().to_string_lossy().into_owned(),
    };
    (Store::open(&address).expect("the store opens"), folder)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made")
}

fn unit(number: usize) -> UnitKey {
    Digest::of(&number.to_le_bytes())
}

/// An artifact and a commit, as of a unit that computed nothing.
async fn publish(store: &Store, unit: &UnitKey) {
    let artifact = store.put_artifact(unit, "a", "nothing", Bytes::from_static(b"nothing")).await.expect("it can be written");
    let (worker, software, device) = ("w".into(), "limbic".into(), "cpu".into());
    let provenance = Provenance { worker, software, device, seconds: 0.0, tokens: 0, counts: BTreeMap::new() };
    let nonce = create::nonce();
    let commit = Commit::Done(Done { nonce: nonce.clone(), attempt: "a".into(), artifacts: vec![artifact], provenance });
    let body = serde_json::to_vec(&commit).expect("commits serialize");
    store.create(&layout::commit(unit, 0), &nonce, body.into()).await.expect("it can be created");
}

/// One create after another, as a journal's appends are.
#[divan::bench(args = PLACES, sample_count = 10)]
fn creates(bencher: Bencher<'_, '_>, place: Place) {
    const CREATES: usize = 20;
    let ((store, _folder), runtime, mut next) = (open(place), runtime(), 0);
    bencher.counter(ItemsCount::new(CREATES)).bench_local(|| {
        for _ in 0..CREATES {
            next += 1;
            let nonce = create::nonce();
            let body = format!(r#"{{"nonce":"{nonce}"}}"#);
            runtime.block_on(store.create(&layout::log("bench", next), &nonce, body.into())).expect("it can be created");
        }
    });
}

#[divan::bench(args = PLACES, sample_count = 10)]
fn commits(bencher: Bencher<'_, '_>, place: Place) {
    const COMMITS: usize = 20;
    let ((store, _folder), runtime, mut next) = (open(place), runtime(), 0);
    bencher.counter(ItemsCount::new(COMMITS)).bench_local(|| {
        for _ in 0..COMMITS {
            next += 1;
            runtime.block_on(publish(&store, &unit(next)));
        }
    });
}

/// Finding out which units are committed, as every start of a coordinator does.
fn list(bencher: Bencher<'_, '_>, place: Place, units: usize) {
    let ((store, _folder), runtime) = (open(place), runtime());
    let numbers = futures::stream::iter(0..units);
    runtime.block_on(numbers.for_each_concurrent(64, |number| {
        let store = store.clone();
        async move { publish(&store, &unit(number)).await }
    }));
    let list = || assert_eq!(runtime.block_on(store.committed()).expect("it can be listed").len(), units);
    bencher.counter(ItemsCount::new(units)).bench_local(list);
}

#[divan::bench(args = [1_000, 2_000, 4_000], sample_count = 10)]
fn listing_memory(bencher: Bencher<'_, '_>, units: usize) {
    list(bencher, Place::Memory, units);
}

#[divan::bench(args = [250, 500, 1_000], sample_count = 10)]
fn listing_folder(bencher: Bencher<'_, '_>, units: usize) {
    list(bencher, Place::Folder, units);
}
