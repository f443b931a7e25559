//! Many shards behind a store that takes its time, counts what is under way, and fails where it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use limbic_proto::commit::{self, Commit, Done, Provenance};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use limbic_store::{Store, StoreError, create};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::execute::Advice;
use crate::inputs::watched::{Fault, Watched};
use crate::inputs::{AT_ONCE, InputError, Inputs, Shelf, WINDOW};
use crate::progress::Progress;
use crate::settings::Timing;
use crate::tensors::TensorFile;

const SHARDS: usize = 3 * AT_ONCE;
const ROWS: usize = 4;
const WIDTH: usize = 3;

/// A store of committed shards: `f32`, `f64` and `i64` hold numbers that say which shard they are of.
struct World {
    runtime: tokio::runtime::Runtime,
    watched: Arc<Watched>,
    progress: Arc<Progress>,
}

fn unit(shard: usize) -> UnitKey {
    Digest::of(format!("shard {shard}").as_bytes())
}

fn units() -> Vec<UnitKey> {
    (0..SHARDS).map(unit).collect()
}

fn tensor(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

impl World {
    fn new(fault: impl FnOnce(&Arc<Progress>) -> Fault) -> World {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let progress = Arc::new(Progress::new());
        let world = World { runtime, watched: Watched::new(fault(&progress)), progress };
        (0..SHARDS).for_each(|shard| world.commit(shard, 0));
        world
    }

    fn store(&self) -> Store {
        self.watched.store()
    }

    fn commit(&self, shard: usize, generation: u32) {
        let mut file = TensorFile::default();
        let first = (1000 * generation as usize + shard) * ROWS;
        file.f32("f32", vec![ROWS, WIDTH], (0..ROWS * WIDTH).map(|i| (first + i / WIDTH) as f32).collect());
        file.f64("f64", vec![ROWS], (first..first + ROWS).map(|row| row as f64).collect());
        file.i64("i64", vec![ROWS], (first..first + ROWS).map(|row| row as i64).collect());
        let attempt = format!("a{generation}");
        let artifact = self.runtime.block_on(self.store().put_artifact(&unit(shard), &attempt, STATES, file.content().unwrap())).unwrap();
        let counts = BTreeMap::new();
        let provenance = Provenance { worker: "w".into(), software: "s".into(), device: "cpu".into(), seconds: 1.0, tokens: 1, counts };
        let done = Done { nonce: create::nonce(), attempt, artifacts: vec![artifact], provenance };
        self.put(&unit(shard), generation, Commit::Done(done));
    }

    fn put(&self, unit: &UnitKey, generation: u32, commit: Commit) {
        let path = Path::from(layout::commit(unit, commit::result(generation)));
        self.runtime.block_on(self.watched.inner.put(&path, serde_json::to_vec(&commit).unwrap().into())).unwrap();
    }

    fn states(shard: usize) -> Path {
        Path::from(layout::artifact(&unit(shard), "a0", STATES))
    }

    fn delete(&self, path: &Path) {
        self.runtime.block_on(self.watched.inner.delete(path)).unwrap();
    }

    /// Inputs that read artifacts longer than `small` bytes by byte range.
    fn inputs(&self, small: u64) -> Inputs {
        self.patient(small, Timing::default().patience)
    }

    fn patient(&self, small: u64, patience: Duration) -> Inputs {
        let (first_pause, longest_pause) = (Duration::from_millis(1), Duration::from_millis(4));
        let timing = Timing { first_pause, longest_pause, patience, ..Timing::default() };
        let shelf = Arc::new(Shelf::new(512 << 20).ranges_above(small));
        Inputs::new(self.store(), shelf, self.runtime.handle().clone(), timing, self.progress.clone())
    }

    /// How many reads there were, and the most of them at once.
    fn reads(&self) -> (usize, usize) {
        (self.watched.begun.swap(0, Ordering::SeqCst), self.watched.most.swap(0, Ordering::SeqCst))
    }
}

/// The numbers of all shards, one after another.
fn read(inputs: &Inputs, units: &[UnitKey]) -> Result<Vec<usize>, InputError> {
    let shards = inputs.shards(units)?;
    let numbers = shards.read_i64(&tensor("i64")).collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<f32> = Vec::new();
    for matrices in shards.read_f32(&tensor("f32")) {
        let matrices = matrices?;
        (0..ROWS).for_each(|row| matrices[0].row(row, &mut all));
    }
    let doubles = shards.read_f64(&tensor("f64")).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<usize> = numbers.into_iter().flatten().flatten().map(|n| n as usize).collect();
    assert!(all.chunks(WIDTH).zip(&numbers).all(|(row, n)| row == [*n as f32; WIDTH]));
    assert!(doubles.into_iter().flatten().flatten().zip(&numbers).all(|(x, n)| x == *n as f64));
    assert_eq!(all.len(), WIDTH * numbers.len());
    Ok(numbers)
}

#[test]
fn several_shards_are_read_at_once_and_come_in_order() {
    let world = World::new(|_| Fault::None);
    let rows: Vec<usize> = (0..SHARDS * ROWS).collect();
    for small in [0, u64::MAX] {
        let inputs = world.inputs(small);
        assert_eq!(read(&inputs, &units()).unwrap(), rows);
        // Commits, headers and three tensors; or commits and artifacts.
        let kinds = if small == 0 { 5 } else { 2 };
        assert_eq!(world.reads(), (kinds * SHARDS, AT_ONCE));
        let one = inputs.shards(&units()[..1]).unwrap();
        assert_eq!(world.reads(), (1, 1), "what is on the shelf is not read again");
        assert_eq!((one.len(), one.having("f32"), one.having("f31"), one.width("f32")), (1, 1, 0, Some(WIDTH)));
    }
}

#[test]
fn nothing_is_begun_that_is_not_asked_for() {
    let world = World::new(|_| Fault::None);
    let inputs = world.inputs(0);
    let shards = inputs.shards(&units()).unwrap();
    world.reads();
    let names = tensor("f32");
    let mut matrices = shards.read_f32(&names);
    assert_eq!(world.reads(), (0, 0));
    matrices.next().unwrap().unwrap();
    drop(matrices);
    let (begun, _) = world.reads();
    assert!((1..=AT_ONCE + 1).contains(&begun), "{begun}");
}

#[test]
fn what_is_under_way_fits_into_the_window() {
    let world = World::new(|_| Fault::None);
    let inputs = world.inputs(0);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let thing = |at: usize| {
        let (now, most) = (&now, &most);
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // The later ones are ready first.
            tokio::time::sleep(Duration::from_micros(50 * (SHARDS - at) as u64)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(at)
        }
    };
    for (largest, at_once) in [(0, AT_ONCE), (WINDOW / 3, 3), (WINDOW / 2 + 1, 1), (u64::MAX, 1)] {
        let found: Vec<usize> = inputs.in_order((0..SHARDS).map(thing), largest).collect::<Result<_, _>>().unwrap();
        assert_eq!(found, (0..SHARDS).collect::<Vec<_>>());
        assert_eq!(most.swap(0, Ordering::SeqCst), at_once, "things of {largest} bytes");
    }
    // What is told of shards are the bytes of the tensors that are read, and nothing where the whole is in memory.
    let names = ["f32", "i64", "not there"].map(str::to_owned);
    assert_eq!(inputs.shards(&units()).unwrap().largest(&names), (ROWS * WIDTH * 4 + ROWS * 8) as u64);
    assert_eq!(world.inputs(u64::MAX).shards(&units()).unwrap().largest(&names), 0);
}

#[test]
fn children_stand_where_the_unit_stood_that_was_split() {
    let world = World::new(|_| Fault::None);
    let (whole, half) = (Digest::of(b"whole"), Digest::of(b"half"));
    world.put(&half, 0, Commit::Split { nonce: create::nonce(), children: vec![unit(5), unit(6)] });
    world.put(&whole, 0, Commit::Split { nonce: create::nonce(), children: vec![unit(4), half, unit(7)] });
    let asked: Vec<UnitKey> = (0..4).map(unit).chain([whole]).chain((8..SHARDS).map(unit)).collect();
    assert_eq!(read(&world.inputs(0), &asked).unwrap(), (0..SHARDS * ROWS).collect::<Vec<_>>());
}

#[test]
fn each_shard_is_read_in_its_generation() {
    let world = World::new(|_| Fault::None);
    world.commit(17, 2);
    let numbers = read(&world.inputs(0).in_generations(0, BTreeMap::from([(unit(17), 2)])), &units()).unwrap();
    let again: BTreeSet<usize> = numbers.iter().filter(|n| **n >= SHARDS * ROWS).map(|n| n % (1000 * ROWS) / ROWS).collect();
    assert_eq!((again, numbers[17 * ROWS]), (BTreeSet::from([17]), (2000 + 17) * ROWS));
}

#[test]
fn what_is_missing_or_corrupt_is_told_of_its_own_unit() {
    let corrupt = |world: &World, small: u64, generation: u32| -> (UnitKey, u32, String) {
        let inputs = world.inputs(small).in_generations(0, BTreeMap::from([(unit(23), generation)]));
        match read(&inputs, &units()) {
            Err(InputError::Corrupt { unit, generation, message }) => (unit, generation, message),
            other => panic!("{other:?}"),
        }
    };
    let rot = |world: &World, shard: usize, at_end: usize| {
        let path = World::states(shard);
        let bytes = world.runtime.block_on(async { world.watched.inner.get(&path).await.unwrap().bytes().await.unwrap() });
        let mut bytes = bytes.to_vec();
        let at = bytes.len() - 1 - at_end;
        bytes[at] ^= 1;
        world.runtime.block_on(world.watched.inner.put(&path, Bytes::from(bytes).into())).unwrap();
    };
    for small in [0, u64::MAX] {
        let world = World::new(|_| Fault::None);
        let (of, generation, message) = corrupt(&world, small, 3);
        assert_eq!((of, generation), (unit(23), 3));
        assert!(message.contains("its commit is missing"), "{message}");
        // The F32 tensor lies last, the header first. The earliest shard is told of, whichever is found first.
        rot(&world, 40, 0);
        assert_eq!(corrupt(&world, small, 0).0, unit(40));
        rot(&world, 31, usize::try_from(world.runtime.block_on(world.watched.inner.head(&World::states(31))).unwrap().size).unwrap() - 20);
        assert_eq!(corrupt(&world, small, 0).0, unit(31));
        world.delete(&World::states(30));
        let (of, _, message) = corrupt(&world, small, 0);
        assert!(of == unit(30) && message.contains("not found"), "{of:?} {message}");
        world.put(&unit(29), 0, Commit::Void { nonce: create::nonce(), reason: "rot".into() });
        assert_eq!(corrupt(&world, small, 0).0, unit(29));
        world.reads();
        world.delete(&Path::from(layout::commit(&unit(2), 0)));
        assert_eq!(corrupt(&world, small, 0).0, unit(2));
        let (begun, _) = world.reads();
        assert!(begun <= 3 + AT_ONCE, "{begun} reads, although the third is all that counts");
    }
}

#[test]
fn a_store_that_is_away_is_waited_for_by_each_read_and_is_no_units_fault() {
    let world = World::new(|_| Fault::Away(2 * AT_ONCE));
    assert_eq!(read(&world.inputs(0), &units()).unwrap().len(), SHARDS * ROWS);
    let world = World::new(|_| Fault::Away(usize::MAX));
    let error = read(&world.patient(0, Duration::from_millis(10)), &units()).unwrap_err();
    assert!(matches!(error, InputError::Store(StoreError::Io { .. })) && error.advice() == Advice::Leave, "{error:?}");
}

#[test]
fn what_is_refused_after_it_was_read_is_waited_for_and_is_no_units_fault() {
    // When headers are read all commits have been.
    let headers = SHARDS + 1;
    let world = World::new(|_| Fault::Refused(headers..headers + 2 * AT_ONCE));
    assert_eq!(read(&world.inputs(0), &units()).unwrap().len(), SHARDS * ROWS);
    for from in [0, headers] {
        let world = World::new(|_| Fault::Refused(from..usize::MAX));
        let error = read(&world.patient(0, Duration::from_millis(10)), &units()).unwrap_err();
        assert!(matches!(error, InputError::Store(StoreError::Io { .. })) && error.advice() == Advice::Leave, "{error:?}");
    }
}

#[test]
fn a_cancelled_attempt_begins_no_further_read() {
    // While commits are read, while headers are, while tensors are.
    for at in [SHARDS / 2, SHARDS + SHARDS / 2, 2 * SHARDS + SHARDS / 2] {
        let world = World::new(|progress| Fault::Cancels(at, progress.clone()));
        assert!(matches!(read(&world.inputs(0), &units()), Err(InputError::Cancelled)));
        let (begun, _) = world.reads();
        assert!((at + 1..=at + AT_ONCE).contains(&begun), "{begun} reads, cancelled at {at}");
        assert!(matches!(world.inputs(0).shards(&units()), Err(InputError::Cancelled)));
        assert_eq!(world.reads(), (0, 0));
    }
}
