//! 64 writers race for each of 200 keys: exactly one wins each, and every loser learns the winner's body. On S3 it is 25
//! keys, unless `LIMBIC_LONG` is set: moto takes minutes for 200.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use limbic_store::{Created, Store};
use limbic_tests::Moto;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use tokio::sync::Barrier;

const WRITERS: usize = 64;
const KEYS: usize = 200;

/// What one writer was told of every key: its own body if it won, the winner's if it lost; and how often it won.
async fn writer(store: Store, number: usize, keys: usize, gate: Arc<Barrier>) -> (Vec<Bytes>, usize) {
    let mut told = Vec::new();
    let mut won = 0;
    for key in 0..keys {
        let nonce = format!("{number}");
        let body = Bytes::from(format!(r#"{{"nonce":"{nonce}","key":{key}}}"#));
        gate.wait().await;
        match store.create(&format!("race/{key}"), &nonce, body.clone()).await.unwrap() {
            Created::Won => {
                won += 1;
                told.push(body);
            }
            Created::Lost { winner } => told.push(winner),
        }
    }
    (told, won)
}

async fn race(name: &str, keys: usize, open: impl Fn() -> Store) {
    let began = Instant::now();
    let gate = Arc::new(Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(writer(open(), number, keys, gate.clone()))).collect();
    let mut all = Vec::new();
    let mut won = 0;
    for writer in writers {
        let (told, wins) = writer.await.unwrap();
        all.push(told);
        won += wins;
    }
    assert_eq!(won, keys, "{name}: exactly one winner for each key");
    let store = open();
    for key in 0..keys {
        let stands = store.get(&format!("race/{key}")).await.unwrap();
        for told in &all {
            assert_eq!(told[key], stands, "{name}: everybody knows the winner of key {key}");
        }
    }
    println!("{name}: {WRITERS} writers x {keys} keys, one winner each, in {:.1} s", began.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory() {
    let inner = Arc::new(InMemory::new());
    race("memory", KEYS, || Store::over("memory", inner.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    race("folder", KEYS, || Store::open(&folder.path().to_string_lossy()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_s3() {
    let Some(moto) = Moto::start("the race on S3") else { return };
    limbic_store::source::use_ring();
    let open = || {
        let s3 = moto.env().into_iter().fold(AmazonS3Builder::new().with_url(moto.store("x")), |builder, (name, value)| {
            match name.to_lowercase().parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            }
        });
        let s3: Arc<dyn ObjectStore> = Arc::new(s3.build().unwrap());
        Store::over("s3", Arc::new(PrefixStore::new(s3, "race")))
    };
    let keys = if std::env::var_os("LIMBIC_LONG").is_some() { KEYS } else { KEYS / 8 };
    race("S3 over HTTP (moto)", keys, open).await;
}
