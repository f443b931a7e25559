//! Only old artifacts that no commit names are removed, and activations that were released; and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use limbic_store::Store;
use limbic_store::garbage::Leftovers;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    folder: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_string_lossy()).unwrap();
        World { folder, store }
    }

    /// An attempt with two artifacts, written some days ago.
    async fn attempt(&self, unit: &UnitKey, attempt: &str, days: u32) {
        for name in [STATES, "rows.json"] {
            self.store.put_artifact(unit, attempt, name, Bytes::from_static(b"0123456789")).await.unwrap();
            let path = self.folder.path().join(layout::artifact(unit, attempt, name));
            std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
        }
    }

    /// A marker without the deed: whoever wrote it died.
    async fn marker(&self, unit: &UnitKey, generation: u32) {
        self.store.create(&layout::released(unit, generation), "n", Bytes::from_static(b"{\"nonce\":\"n\"}")).await.unwrap();
    }

    /// The log of an attempt, written some days ago.
    async fn log(&self, unit: &UnitKey, attempt: &str, days: u32) {
        self.store.put_log(unit, attempt, format!("said by {attempt}\n")).await.unwrap();
        let path = self.folder.path().join(layout::artifact(unit, attempt, layout::ATTEMPT_LOG));
        std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
    }

    async fn link(&self, unit: &UnitKey, link: u32, commit: &Commit) {
        self.store.create(&layout::commit(unit, link), commit.nonce(), serde_json::to_vec(commit).unwrap().into()).await.unwrap();
    }

    async fn found(&self) -> Leftovers {
        let mut all = Leftovers::default();
        for part in self.store.data_parts().await.unwrap() {
            let found = self.store.leftovers(&part, SystemTime::now() - DAY * 7).await.unwrap();
            all.garbage.extend(found.garbage);
            all.referenced += found.referenced;
            all.young += found.young;
            all.unclear += found.unclear;
        }
        all
    }

    /// Every file and its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &std::path::Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, into) } else { drop(into.insert(path.clone(), std::fs::read(&path).unwrap())) }
            }
        }
        let mut files = BTreeMap::new();
        walk(self.folder.path(), &mut files);
        files
    }
}

fn done(attempt: &str) -> Commit {
    let provenance = Provenance {
        worker: "w".to_owned(),
        software: "0".to_owned(),
        device: "cpu".to_owned(),
        seconds: 1.0,
        tokens: 1,
        counts: BTreeMap::new(),
    };
    Commit::Done(Done { nonce: limbic_store::create::nonce(), attempt: attempt.to_owned(), artifacts: vec![], provenance })
}

fn void() -> Commit {
    Commit::Void { nonce: limbic_store::create::nonce(), reason: "asked again".to_owned() }
}

#[tokio::test]
async fn only_what_is_old_and_named_by_nobody_goes() {
    let world = World::new();
    let [plain, voided, gap, never] = [b"1", b"2", b"3", b"4"].map(|b| Digest::of(b));
    world.link(&plain, 0, &done("1-1")).await;
    world.attempt(&plain, "1-1", 30).await;
    world.attempt(&plain, "1-2", 30).await;
    world.attempt(&plain, "1-3", 6).await;
    // The old generation's result stays addressable.
    world.link(&voided, 0, &done("2-1")).await;
    world.link(&voided, 1, &void()).await;
    world.attempt(&voided, "2-1", 30).await;
    world.attempt(&voided, "2-2", 1).await;
    // The void between two results may be missing; a link may have any number.
    world.link(&gap, 0, &done("3-1")).await;
    world.link(&gap, 2, &done("3-2")).await;
    world.link(&gap, 12, &done("3-3")).await;
    for attempt in ["3-1", "3-2", "3-3", "3-4"] {
        world.attempt(&gap, attempt, 30).await;
    }
    world.attempt(&never, "4-1", 8).await;
    // Nothing of the sort is ours to judge.
    let others = ["data/zz/notes/a/b", "data/readme", "sweeps/s/log/1", "rows/aa/x", "commit/zz/what.1"];
    for path in others {
        world.store.create(path, "n", Bytes::from_static(b"{\"nonce\":\"n\"}")).await.unwrap();
        let path = world.folder.path().join(path);
        std::fs::File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    let before = world.files();
    let found = world.found().await;
    let garbage: Vec<&str> = found.garbage.iter().map(|l| l.attempt.as_str()).collect();
    let mut sorted = garbage.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["1-2", "3-4", "4-1"]);
    assert!(found.garbage.iter().all(|l| l.bytes() == 20 && l.objects.len() == 2));
    assert_eq!((found.referenced, found.young, found.unclear), (5, 2, 1), "{found:?}");
    assert_eq!(world.files(), before, "looking removes nothing");

    for leftover in &found.garbage {
        assert!(world.store.discard(leftover).await.unwrap());
    }
    let after = world.files();
    let gone: Vec<_> = before.keys().filter(|p| !after.contains_key(*p)).collect();
    assert_eq!(gone.len(), 6);
    assert!(gone.iter().all(|p| ["1-2", "3-4", "4-1"].iter().any(|a| p.to_string_lossy().contains(&format!("/{a}/")))), "{gone:?}");
    assert!(after.iter().all(|(path, bytes)| before[path] == *bytes));
    assert!(world.found().await.garbage.is_empty());
}

#[tokio::test]
async fn a_log_stays_as_long_as_its_attempt_is_named_or_young() {
    let world = World::new();
    let [unit, failed] = [b"1", b"2"].map(|b| Digest::of(b));
    world.link(&unit, 0, &done("1-1")).await;
    world.attempt(&unit, "1-1", 30).await;
    world.log(&unit, "1-1", 30).await;
    // A unit without a commit: attempts that failed have left nothing but what they said.
    world.log(&failed, "2-1", 8).await;
    world.log(&failed, "2-2", 6).await;
    let found = world.found().await;
    assert_eq!(found.garbage.iter().map(|l| l.attempt.as_str()).collect::<Vec<_>>(), ["2-1"]);
    assert_eq!((found.referenced, found.young, found.unclear), (1, 1, 0), "{found:?}");
    assert!(world.store.discard(&found.garbage[0]).await.unwrap());
    let left = async |of| world.store.logs(of).await.unwrap().into_iter().map(|log| log.attempt).collect::<Vec<_>>();
    assert_eq!((left(&unit).await, left(&failed).await), (vec!["1-1".to_owned()], vec!["2-2".to_owned()]));
}

#[tokio::test]
async fn an_attempt_that_is_committed_meanwhile_stays() {
    let world = World::new();
    let unit = Digest::of(b"unit");
    world.attempt(&unit, "1-1", 30).await;
    let found = world.found().await;
    world.link(&unit, 0, &done("1-1")).await;
    let before = world.files();
    assert!(!world.store.discard(&found.garbage[0]).await.unwrap());
    assert_eq!(world.files(), before);
}

#[tokio::test]
async fn a_unit_whose_commit_is_not_understood_is_left_alone() {
    let world = World::new();
    let unit = Digest::of(b"unit");
    world.attempt(&unit, "1-1", 30).await;
    let garbage = world.found().await.garbage;
    world
        .store
        .create(&layout::commit(&unit, 0), "n", Bytes::from_static(b"{\"nonce\":\"n\",\"state\":\"of a later release\"}"))
        .await
        .unwrap();
    let found = world.found().await;
    assert_eq!((found.garbage.len(), found.unclear), (0, 2));
    assert!(!world.store.discard(&garbage[0]).await.unwrap());
}

/// The files that are not there any more, each with the name of its folder.
fn gone(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let short = |path: &PathBuf| path.strip_prefix(path.ancestors().nth(2).unwrap()).unwrap().to_string_lossy().into_owned();
    let mut names: Vec<String> = before.keys().filter(|path| !after.contains_key(*path)).map(short).collect();
    names.sort();
    names
}

#[tokio::test]
async fn blocks_of_a_later_generation_stay() {
    let world = World::new();
    let unit = Digest::of(b"1");
    for (name, generation) in [("0000-a", 0), ("0000-a", 1), ("0001-b", 1), ("0000-a", 2)] {
        let path = layout::part(&unit, &layout::part_file(name, generation));
        world.store.put_content(&path, Bytes::from_static(b"block")).await.unwrap();
    }
    world.store.remove_parts(&unit, 1).await.unwrap();
    assert_eq!(world.store.list(&layout::parts(&unit)).await.unwrap(), ["0000-a.2"]);
    world.store.remove_parts(&unit, 1).await.unwrap();
}

#[tokio::test]
async fn released_activations_are_gone_and_everything_else_is_kept() {
    let world = World::new();
    let [unit, never] = [b"1", b"2"].map(|b| Digest::of(b));
    world.link(&unit, 0, &done("1-1")).await;
    for attempt in ["1-1", "1-2", layout::PARTS] {
        world.attempt(&unit, attempt, 0).await;
    }
    world.attempt(&never, "2-1", 0).await;
    let before = world.files();
    assert!(!world.store.is_released(&unit, 0).await.unwrap());
    for _ in 0..2 {
        world.store.release(&unit, 0).await.unwrap();
        assert_eq!(gone(&before, &world.files()), [format!("1-1/{STATES}"), "parts/rows.json".into(), format!("parts/{STATES}")]);
    }
    assert!(world.store.is_released(&unit, 0).await.unwrap() && !world.store.is_released(&unit, 1).await.unwrap());
    assert_eq!(world.store.releases().await.unwrap(), BTreeMap::from([(unit, 0)]));
    let all = world.files();
    assert!(before.iter().all(|(path, bytes)| all.get(path).is_none_or(|now| now == bytes)));

    // What has no result of its own has nothing to be released.
    world.store.release(&never, 0).await.unwrap();
    world.link(&never, 0, &Commit::Split { nonce: "s".into(), children: vec![unit] }).await;
    world.store.release(&never, 0).await.unwrap();
    assert_eq!(world.store.releases().await.unwrap().len(), 1);

    // The next generation's are there until they are released themselves.
    world.link(&unit, 1, &void()).await;
    world.link(&unit, 2, &done("1-2")).await;
    assert!(world.found().await.garbage.is_empty());
    world.store.release(&unit, 1).await.unwrap();
    assert_eq!(gone(&all, &world.files()), [format!("1-2/{STATES}")]);
    assert_eq!(world.store.releases().await.unwrap(), BTreeMap::from([(unit, 1)]));
}

#[tokio::test]
async fn what_a_marker_calls_released_is_garbage_however_young() {
    let world = World::new();
    let [died, later, under_way] = [b"1", b"2", b"3"].map(|b| Digest::of(b));
    world.link(&died, 0, &done("1-1")).await;
    // A new generation stands, another is being computed: its blocks are its own.
    world.link(&later, 0, &done("2-1")).await;
    world.link(&later, 1, &void()).await;
    world.link(&later, 2, &done("2-2")).await;
    world.link(&under_way, 0, &done("3-1")).await;
    world.link(&under_way, 1, &void()).await;
    for unit in [&died, &later, &under_way] {
        world.marker(unit, 0).await;
        world.attempt(unit, layout::PARTS, 0).await;
    }
    world.attempt(&died, "1-1", 0).await;
    world.attempt(&died, "1-2", 0).await;
    world.attempt(&later, "2-1", 30).await;
    world.attempt(&later, "2-2", 30).await;
    world.attempt(&under_way, "3-1", 0).await;
    let before = world.files();
    let found = world.found().await;
    assert!(found.garbage.iter().all(|leftover| leftover.released));
    assert_eq!((found.referenced, found.young, found.unclear), (2, 5, 0), "{found:?}");
    for leftover in &found.garbage {
        assert!(world.store.discard(leftover).await.unwrap());
    }
    let states = |attempt: &str| format!("{attempt}/{STATES}");
    let expected = [states("1-1"), states("2-1"), states("3-1"), "parts/rows.json".into(), states("parts")];
    assert_eq!(gone(&before, &world.files()), expected);
    assert!(world.found().await.garbage.is_empty());
}

#[tokio::test]
async fn verdicts_stay_as_long_as_somebody_adds_to_them() {
    let world = World::new();
    let [often, once] = [b"asked often", b"asked once."].map(|b| Digest::of(b));
    let keep = async |asked: &Digest, name: &str, days: u32| {
        world.store.keep_verdicts(asked, name, Bytes::from_static(b"0123456789").into()).await.unwrap();
        let path = world.folder.path().join(layout::verdicts_named(asked, name));
        std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
    };
    for (asked, name, days) in [(&often, "a", 30), (&often, "b", 6), (&often, "c", 8), (&once, "a", 8), (&once, "b", 9)] {
        keep(asked, name, days).await;
    }
    assert_eq!(world.store.kept_verdicts(&often).await.unwrap(), ["b", "c", "a"], "the last written first");
    assert_eq!(world.store.kept_verdicts(&Digest::of(b"never")).await.unwrap(), Vec::<String>::new());
    let found = world.found().await;
    assert_eq!((found.garbage.len(), found.young, found.referenced, found.unclear), (1, 1, 0, 0), "{found:?}");
    let before = world.files();
    assert!(world.store.discard(&found.garbage[0]).await.unwrap());
    assert_eq!(gone(&before, &world.files()), ["verdicts/a", "verdicts/b"]);
    let read = async |asked: &Digest| world.store.verdicts(asked, &["b".into(), "x".into(), "a".into()]).await.unwrap();
    let names: Vec<String> = read(&often).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!((names, read(&once).await.len()), (vec!["b".to_owned(), "a".to_owned()], 0), "what is gone is left out");
}
