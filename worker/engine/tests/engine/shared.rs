//! Weights that several processes map have the bits of private ones, whatever became of their file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use limbic_engine::{Extraction, Labels, LoadError, Model, Placement, Request, SharedFile, label_log_likelihoods};
use limbic_proto::axis::ReadOut;
use limbic_proto::key::Digest;

use crate::reference::{FAMILIES, Reference, all_layers, chats, fixture, greedy, prompts, raw, run};

fn file(folder: &Path) -> SharedFile {
    SharedFile { path: folder.join("ab").join("abcdef.weights"), identity: Digest::of(b"a model in a number format") }
}

/// A model, and how many tensors were loaded for it.
fn load(path: &Path, random: Option<u64>, placement: &Placement, shared: Option<&SharedFile>) -> (Model, usize) {
    let mut asked = 0;
    let mut count = || {
        asked += 1;
        ControlFlow::Continue(())
    };
    let model = Model::prepare(path, random, placement, shared, &mut count).unwrap();
    (model, asked)
}

/// Everything that a model computes: states of prompts and replies, a single row's among them, and likelihoods.
fn numbers(model: &Model) -> (Extraction, Extraction, Vec<Vec<f64>>) {
    let meta = Reference::read("llama-plain").meta;
    let texts = &meta.texts[..4];
    let request = Request {
        continuation: Some(greedy(3)),
        ..Request::new(all_layers(meta.layers), vec![ReadOut::LAST, ReadOut::at(1), ReadOut::at(3)])
    };
    let (bare, chats) = (prompts(model, &raw(), texts), chats(model, &texts[..1]));
    let scores = label_log_likelihoods(model, &bare, Labels::new(&[vec![5], vec![6, 7]]), &mut |_| ControlFlow::Continue(()));
    (run(model, &bare, &request), run(model, &chats, &request), scores.unwrap().rows)
}

fn formats() -> [(&'static str, Placement); 3] {
    [("f32", Placement::cpu()), ("bf16", Placement::cpu_bf16()), ("portable bf16", Placement::cpu_bf16_portable())]
}

/// What lies in the folder of a file.
fn beside(shared: &SharedFile) -> Vec<PathBuf> {
    std::fs::read_dir(shared.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Whether this process maps the file, where the system tells.
fn mapped(shared: &SharedFile) -> bool {
    let path = shared.path.canonicalize().unwrap();
    std::fs::read_to_string("/proc/self/maps").map_or(true, |maps| maps.contains(path.to_str().unwrap()))
}

/// Loads a model privately, then with a file that isn't there, then with the one that is there now.
fn same(what: &str, path: &Path, random: Option<u64>, placement: &Placement) {
    let folder = tempfile::tempdir().unwrap();
    let shared = file(folder.path());
    let (private, tensors) = load(path, random, placement, None);
    let expected = numbers(&private);
    let (first, loaded) = load(path, random, placement, Some(&shared));
    assert!(
        loaded == tensors + 1 && mapped(&shared) && numbers(&first) == expected,
        "{what}: whoever makes the file is asked before it counts"
    );
    drop(first);
    let bytes = std::fs::read(&shared.path).unwrap();
    let (second, loaded) = load(path, random, placement, Some(&shared));
    assert!(loaded == 0 && mapped(&shared) && numbers(&second) == expected, "{what}: whoever finds the file");
    assert!(std::fs::read(&shared.path).unwrap() == bytes && beside(&shared).len() == 1, "{what}");
}

#[test]
fn shared_weights_have_the_bits_of_private_ones() {
    for (format, placement) in formats() {
        for name in FAMILIES {
            same(&format!("{name}, {format}"), &fixture(name), None, &placement);
        }
        same(&format!("twin, {format}"), &fixture("qwen3-qk-norm"), Some(7), &placement);
        let gguf = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
        crate::gguf::write("llama3-rope-scaled", gguf.path());
        same(&format!("GGUF, {format}"), gguf.path(), None, &placement);
    }
}

#[test]
fn a_file_that_is_damaged_or_holds_something_else_is_made_again() {
    let path = fixture("qwen2-qkv-bias");
    for (format, placement) in formats().into_iter().take(2) {
        let folder = tempfile::tempdir().unwrap();
        let shared = file(folder.path());
        let (model, tensors) = load(&path, None, &placement, Some(&shared));
        let expected = numbers(&model);
        drop(model);
        let good = std::fs::read(&shared.path).unwrap();
        // Between two parts there are bytes that belong to nobody; this one belongs to a weight.
        let middle = (good.len() / 2..).find(|at| good[*at] != 0).unwrap();
        let other = SharedFile { path: folder.path().join("other"), identity: Digest::of(b"another") };
        load(&path, None, &placement, Some(&other));
        // The same identity, but not what it stands for: a layout that somebody has changed without saying so.
        let strange = SharedFile { path: folder.path().join("strange"), ..shared.clone() };
        load(&fixture("llama-plain"), None, &placement, Some(&strange));
        let mut bad: Vec<(String, Vec<u8>)> = [0, 20, 64, 5000, good.len() / 2, good.len() - 1]
            .map(|len| (format!("cut to {len} bytes"), good[..len].to_vec()))
            .into_iter()
            .chain([0, 17, 25, 40, 4096, middle, good.len() - 9].map(|at| {
                let mut bytes = good.clone();
                bytes[at] ^= 4;
                (format!("with another bit at {at}"), bytes)
            }))
            .collect();
        bad.push(("another model's".to_owned(), std::fs::read(&other.path).unwrap()));
        bad.push(("of another shape".to_owned(), std::fs::read(&strange.path).unwrap()));
        bad.push(("a text".to_owned(), b"nothing that we know".repeat(1000)));
        for (what, bytes) in bad {
            std::fs::write(&shared.path, &bytes).unwrap();
            let (model, loaded) = load(&path, None, &placement, Some(&shared));
            assert!(loaded == tensors, "{format}, {what}: used");
            assert!(numbers(&model) == expected, "{format}, {what}: other numbers");
            assert!(std::fs::read(&shared.path).unwrap() == good, "{format}, {what}: not mended");
        }
        assert_eq!(beside(&shared).len(), 1);
    }
}

#[test]
fn whoever_comes_at_the_same_time_gets_the_same_file() {
    for (format, placement) in formats().into_iter().take(2) {
        let folder = tempfile::tempdir().unwrap();
        let shared = file(folder.path());
        let expected = numbers(&load(&fixture("mistral-window"), None, &placement, None).0);
        let start = Barrier::new(6);
        let found: Vec<(Model, usize)> = std::thread::scope(|scope| {
            let one = || {
                start.wait();
                load(&fixture("mistral-window"), None, &placement, Some(&shared))
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|(model, _)| numbers(model) == expected), "{format}");
        assert!(mapped(&shared) && beside(&shared).len() == 1, "{format}: {:?}", beside(&shared));
        // One inode for all: what lies under the name is what everybody maps.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        assert!(!maps.lines().any(|line| line.contains(shared.path.to_str().unwrap()) && line.ends_with("(deleted)")), "{maps}");
    }
}

#[test]
fn where_the_file_cannot_be_written_weights_are_private() {
    let (path, placement) = (fixture("llama-plain"), Placement::cpu());
    let (private, tensors) = load(&path, None, &placement, None);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ab"), "no folder").unwrap();
    let no_folder = file(folder.path());
    let taken = SharedFile { path: folder.path().join("taken"), ..no_folder.clone() };
    std::fs::create_dir_all(taken.path.join("by a folder")).unwrap();
    // Of what was written, but can't be put in its place, it was asked whether it may count.
    for (shared, asked) in [(&no_folder, tensors), (&taken, tensors + 1)] {
        let (model, loaded) = load(&path, None, &placement, Some(shared));
        assert!(loaded == asked && numbers(&model) == numbers(&private));
    }
    assert_eq!(beside(&taken).len(), 2, "nothing is left behind");
}

/// Runs itself again where a file may not grow beyond 64 KiB, which a write is told as it is told that a disk is full.
#[cfg(unix)]
#[test]
fn where_the_disk_is_full_weights_are_private() {
    const INSIDE: &str = "LIMBIC_TEST_FULL_DISK";
    if std::env::var_os(INSIDE).is_none() {
        let command = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact shared::where_the_disk_is_full_weights_are_private --nocapture";
        let mut again = std::process::Command::new("sh");
        again.args(["-c", command]).arg(std::env::current_exe().unwrap()).env(INSIDE, "yes");
        // Through pipes: the limit is on every file, and the output of a run of all tests may well be a longer one.
        let ended = again.output().unwrap();
        assert!(ended.status.success(), "{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shared = file(folder.path());
    assert!(std::fs::write(folder.path().join("large"), vec![0; 100_000]).is_err(), "the limit holds");
    for (_, placement) in formats() {
        let path = fixture("llama-plain");
        let (model, _) = load(&path, None, &placement, Some(&shared));
        assert!(numbers(&model) == numbers(&load(&path, None, &placement, None).0));
        assert!(beside(&shared).is_empty(), "{:?}", beside(&shared));
    }
}

#[test]
fn loading_that_is_given_up_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let shared = file(folder.path());
    let mut asked = 0;
    let mut stop = || {
        asked += 1;
        if asked > 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let given_up = Model::prepare(&fixture("llama-plain"), None, &Placement::cpu(), Some(&shared), &mut stop);
    assert!(matches!(given_up, Err(LoadError::Cancelled)) && beside(&shared).is_empty());
    // Nor does whoever waits for somebody else to make the file.
    let lock = std::fs::File::create(shared.path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let waiting = Model::prepare(&fixture("llama-plain"), None, &Placement::cpu(), Some(&shared), &mut || ControlFlow::Break(()));
    assert!(matches!(waiting, Err(LoadError::Cancelled)) && !shared.path.exists());
    lock.unlock().unwrap();
    load(&fixture("llama-plain"), None, &Placement::cpu(), Some(&shared));
    assert_eq!(beside(&shared), std::slice::from_ref(&shared.path));
}

#[test]
fn a_device_that_maps_nothing_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let shared = file(folder.path());
    load(&fixture("llama-plain"), None, &Placement::cpu_composed(), Some(&shared));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}
