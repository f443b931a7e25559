//! Reading a layer's states from shards in a store that takes 50 ms for every answer: `cargo bench -p limbic-worker`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use limbic_proto::commit::{self, Commit, Done, Provenance};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use limbic_store::{Content, Store, create};
use limbic_worker::inputs::Shelf;
use limbic_worker::{Inputs, Progress, Timing};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use safetensors::tensor::{Dtype, TensorView};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// How long every answer to a read takes.
const ANSWER: Duration = Duration::from_millis(50);
const ROWS: usize = 64;
const WIDTH: usize = 256;

/// A shard's file and the digest of its header, unlike those of any other: what has the same digest is read once.
fn file(shard: usize) -> Content {
    let states: Vec<u8> = (0..ROWS * WIDTH).flat_map(|i| ((shard + i) as f32).to_le_bytes()).collect();
    let tokens: Vec<u8> = [1 + shard as i64; ROWS].iter().flat_map(|n| n.to_le_bytes()).collect();
    let notes: HashMap<String, String> =
        [("L1.k0", &states), ("prompt_tokens", &tokens)].map(|(name, bytes)| (format!("blake3.{name}"), Digest::of(bytes).hex())).into();
    let tensors = [
        ("L1.k0", TensorView::new(Dtype::F32, vec![ROWS, WIDTH], &states).expect("they fill the shape")),
        ("prompt_tokens", TensorView::new(Dtype::I64, vec![ROWS], &tokens).expect("they fill the shape")),
    ];
    let bytes = Bytes::from(safetensors::serialize(tensors, Some(notes)).expect("it can be written"));
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    Content::of_pieces(vec![bytes.clone()]).with_header(Digest::of(&bytes[..8 + length]))
}

/// A store with that many committed shards.
async fn committed(shards: usize) -> (Store, Vec<UnitKey>) {
    let config = ThrottleConfig { wait_get_per_call: ANSWER, ..ThrottleConfig::default() };
    let store = Store::over("memory://slow", Arc::new(ThrottledStore::new(InMemory::new(), config)));
    let mut units = Vec::with_capacity(shards);
    for shard in 0..shards {
        let unit = Digest::of(&shard.to_le_bytes());
        let artifact = store.put_artifact(&unit, "a", STATES, file(shard)).await.expect("it can be written");
        let (worker, software, device, counts) = ("w".into(), "limbic".into(), "cpu".into(), BTreeMap::new());
        let provenance = Provenance { worker, software, device, seconds: 0.0, tokens: 0, counts };
        let done = Commit::Done(Done { nonce: create::nonce(), attempt: "a".into(), artifacts: vec![artifact], provenance });
        let body = serde_json::to_vec(&done).expect("commits serialize");
        store.create(&layout::commit(&unit, commit::result(0)), done.nonce(), body.into()).await.expect("it can be created");
        units.push(unit);
    }
    (store, units)
}

/// Four reads for each shard: commit, header, lengths and states, as of shards that are too large to be read whole.
#[divan::bench(args = [32, 64, 128], sample_count = 3)]
fn reading(bencher: Bencher<'_, '_>, shards: usize) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let (store, units) = runtime.block_on(committed(shards));
    let names = ["L1.k0", "prompt_tokens"].map(|name| vec![name.to_owned()]);
    bencher.counter(ItemsCount::new(shards)).bench_local(|| {
        // Nothing is on the shelf yet.
        let shelf = Arc::new(Shelf::new(64 << 20).ranges_above(0));
        let inputs = Inputs::new(store.clone(), shelf, runtime.handle().clone(), Timing::default(), Arc::new(Progress::new()));
        let opened = inputs.shards(&units).expect("they are committed");
        opened.read_i64(&names[1]).for_each(|lengths| drop(black_box(lengths.expect("it can be read"))));
        opened.read_f32(&names[0]).for_each(|states| drop(black_box(states.expect("it can be read"))));
    });
}
