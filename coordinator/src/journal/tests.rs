//! Leading, losing the lead, unknown outcomes, snapshots.

use std::path::PathBuf;

use limbic_proto::key::Digest;

use super::*;

struct World {
    folder: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        World { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn lead(&self, holder: &str) -> Journal {
        Journal::lead(&self.store, "s", holder).await.unwrap()
    }
}

async fn append(journal: &mut Journal, record: Record) -> Result<(), JournalError> {
    let entry = journal.entry(vec![record]);
    journal.append(&entry).await
}

fn fail(n: u64) -> Record {
    Record::Fail { unit: Digest::of(b"unit"), attempt: format!("a{n}"), worker: "w".to_owned(), error: format!("error {n}") }
}

#[tokio::test]
async fn a_second_leader_supersedes_the_first() {
    let world = World::new();
    let mut first = world.lead("a").await;
    append(&mut first, Record::Pause { by: String::new() }).await.unwrap();
    first.check().await.unwrap();
    let second = world.lead("b").await;
    assert_eq!((first.epoch(), second.epoch()), (1, 2));
    assert!(second.history().paused);
    assert!(matches!(first.check().await, Err(JournalError::Superseded { .. })));
    assert!(matches!(append(&mut first, Record::Resume).await, Err(JournalError::Superseded { .. })));
    let replayed = read(&world.store, "s").await.unwrap();
    assert_eq!((replayed.next, &replayed.history), (3, second.history()), "the superseded append left nothing");
}

#[tokio::test]
async fn an_entry_that_took_effect_unnoticed_may_be_appended_again() {
    let world = World::new();
    let mut journal = world.lead("a").await;
    let entry = journal.entry(vec![fail(1)]);
    // The first try took effect, but its answer was lost.
    std::fs::write(world.path(&layout::log("s", 1)), serde_json::to_vec(&entry).unwrap()).unwrap();
    journal.append(&entry).await.unwrap();
    append(&mut journal, fail(2)).await.unwrap();
    let replayed = read(&world.store, "s").await.unwrap();
    assert_eq!((replayed.next, replayed.history.fails(&Digest::of(b"unit"))), (3, 2));
}

#[tokio::test]
async fn snapshots_say_what_the_entries_say() {
    let world = World::new();
    let mut journal = world.lead("a").await;
    for n in 0..2 * SNAPSHOT_EVERY + 7 {
        append(&mut journal, fail(n)).await.unwrap();
    }
    let short = read(&world.store, "s").await.unwrap();
    assert_eq!((short.snapshot, short.next), (2 * SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY + 8));
    assert_eq!(&short.history, journal.history());

    // One that is damaged is passed over for an earlier one, and without any the entries alone say the same.
    std::fs::write(world.path(&layout::snap("s", 2 * SNAPSHOT_EVERY)), "{").unwrap();
    assert_eq!(read(&world.store, "s").await.unwrap(), Replayed { snapshot: SNAPSHOT_EVERY, ..short.clone() });
    std::fs::remove_dir_all(world.path("sweeps/s/snap")).unwrap();
    assert_eq!(read(&world.store, "s").await.unwrap(), Replayed { snapshot: 0, ..short });

    // An entry that went missing is not passed over in silence.
    std::fs::remove_file(world.path(&layout::log("s", 5))).unwrap();
    assert!(read(&world.store, "s").await.unwrap_err().to_string().contains("00005 can't be read: it is missing"));
}
