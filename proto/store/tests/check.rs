//! The check finds every kind of store that breaks a promise, and nothing wrong with those that keep them.

#[path = "check/faulty.rs"]
mod faulty;

use std::sync::Arc;

use faulty::{Fault, Faulty};
use limbic_store::check::{Depth, Property};
use limbic_store::{Store, StoreError};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

fn memory(fault: Fault) -> (Store, Arc<dyn ObjectStore>) {
    let inner: Arc<dyn ObjectStore> = Arc::new(Faulty { inner: Arc::new(InMemory::new()), fault });
    (Store::over("memory", inner.clone()), inner)
}

/// The names of the promises that are not kept.
async fn broken(store: &Store, depth: Depth) -> Vec<Property> {
    let findings = store.check(depth).await.unwrap();
    findings.into_iter().filter(|f| f.failed.is_some()).map(|f| f.property).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_broken_promise_is_found_and_named() {
    for (fault, expected) in [
        (Fault::None, vec![]),
        (Fault::CreateOverwrites, vec![Property::Create]),
        (Fault::CreateLooksThenWrites, vec![Property::Create]),
        (Fault::NoCreate, vec![Property::Create]),
        (Fault::NotFoundAtFirst, vec![Property::Read]),
        (Fault::FindsEverything, vec![Property::Read]),
        (Fault::ListsLate, vec![Property::List]),
        (Fault::IgnoresRanges, vec![Property::Range]),
    ] {
        for depth in [Depth::Short, Depth::Full] {
            let (store, _) = memory(fault);
            let mut found = broken(&store, depth).await;
            // Ranges can't be right where objects aren't found, nor large objects where ranges aren't right.
            found.truncate(1);
            assert_eq!(found, expected, "{fault:?}, {depth:?}");
        }
    }
    for depth in [Depth::Short, Depth::Full] {
        assert_eq!(broken(&memory(Fault::CreateOverwrites).0, depth).await, [Property::Create], "one fault, one finding");
    }
    let (store, _) = memory(Fault::SwapsParts);
    assert_eq!(broken(&store, Depth::Full).await, [Property::Multipart]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_overwrites_is_refused_in_words() {
    let error = memory(Fault::CreateOverwrites).0.demand().await.unwrap_err();
    let StoreError::Unfit { failed, .. } = &error else { panic!("{error}") };
    assert!(failed.starts_with("conditional create is not honoured ("), "{failed}");
    assert!(failed.contains("two workers could both commit a unit"), "{failed}");
    assert!(!error.out_of_reach(), "trying again doesn't help");
    memory(Fault::None).0.demand().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_check_leaves_nothing_behind() {
    use futures::TryStreamExt;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().to_string_lossy()).unwrap();
    assert_eq!(broken(&store, Depth::Full).await, []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    for fault in [Fault::None, Fault::CreateOverwrites] {
        let (store, inner) = memory(fault);
        inner.put(&"sweeps/mine".into(), "kept".into()).await.unwrap();
        broken(&store, Depth::Full).await;
        let left: Vec<_> = inner.list(None).try_collect().await.unwrap();
        assert_eq!(left.iter().map(|o| o.location.as_ref()).collect::<Vec<_>>(), ["sweeps/mine"]);
    }
}

#[tokio::test]
async fn the_short_check_is_cheap_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().to_string_lossy()).unwrap();
    let began = std::time::Instant::now();
    store.demand().await.unwrap();
    let took = began.elapsed();
    println!("short check of a folder: {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");
}
