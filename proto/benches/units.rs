//! Keys and wire forms of units by the number of shards that they name: `cargo bench -p limbic-proto`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::spec::{Control, LogisticSpec, ProbeSpec};
use limbic_proto::unit::{Features, FitUnit, Hints, PROBE_VERSION, Unit, UnitSpec};

fn main() {
    divan::main();
}

const SHARDS: [usize; 4] = [1, 100, 200, 400];

/// A fit unit on the states of so many extract units.
fn unit(shards: usize) -> Unit {
    let extracts: Vec<UnitKey> = (0..shards).map(|shard| Digest::of(&shard.to_le_bytes())).collect();
    let spec = UnitSpec::Fit(FitUnit {
        version: PROBE_VERSION,
        features: Features::States { extracts, layer: Layer::Block(7) },
        targets: Digest::of(b"targets"),
        read_outs: (0..11).map(ReadOut::at).collect(),
        probes: vec![ProbeSpec::Logistic(LogisticSpec::default())],
        seeds: vec![0, 1, 2],
        controls: vec![Control::ShuffledLabels],
        transfer: true,
        geometry: true,
    });
    let (dataset, title) = (Digest::of(b"rows"), "fit m raw layer 7".to_owned());
    Unit { spec, hints: Hints { model: None, dataset, rows: (0, 1000), token_budget: 1, flops: 12.0, title } }
}

/// A planner asks for the key of every unit, and a coordinator for each one that it grants.
#[divan::bench(args = SHARDS)]
fn keys(bencher: Bencher<'_, '_>, shards: usize) {
    let unit = unit(shards);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| black_box(&unit).spec.key());
}

/// What a coordinator does for each grant.
#[divan::bench(args = SHARDS)]
fn writing(bencher: Bencher<'_, '_>, shards: usize) {
    let unit = unit(shards);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| serde_json::to_vec(black_box(&unit)).expect("units serialize"));
}

/// What a worker does for each grant.
#[divan::bench(args = SHARDS)]
fn parsing(bencher: Bencher<'_, '_>, shards: usize) {
    let bytes = serde_json::to_vec(&unit(shards)).expect("units serialize");
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| serde_json::from_slice::<Unit>(black_box(&bytes)).expect("it is a unit"));
}
