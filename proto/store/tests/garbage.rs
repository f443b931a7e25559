//! Only old artifacts that no commit names are removed, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::layout;
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
        for name in ["states.safetensors", "rows.json"] {
            self.store.put_artifact(unit, attempt, name, Bytes::from_static(b"0123456789")).await.unwrap();
            let path = self.folder.path().join(layout::artifact(unit, attempt, name));
            std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
        }
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
    assert!(found.garbage.iter().all(|l| l.bytes == 20 && l.objects.len() == 2));
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
