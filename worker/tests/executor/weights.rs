//! Weights that workers share through their cache folder.

use std::path::{Path, PathBuf};

use limbic_proto::axis::ReadOut;
use limbic_proto::spec::{Dtype, Prompt, TooLong};
use limbic_proto::unit::{STATES, Unit};
use limbic_worker::inputs::Shelf;

use crate::artifact;
use crate::bench::Bench;

fn unit(bench: &mut Bench, dtype: Dtype, seed: Option<u64>) -> Unit {
    (bench.dtype, bench.random_weights) = (dtype, seed);
    bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error)
}

/// The files of prepared weights in a cache folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = list(folder.to_path_buf()).flat_map(list).collect();
    assert!(all.iter().all(|file| file.extension().is_some_and(|ending| ending == "weights")), "{all:?}");
    all.sort();
    all
}

#[test]
fn workers_that_share_a_folder_share_each_models_weights_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new("llama-plain", 12);
    let kinds = [(Dtype::F32, None), (Dtype::Bf16, None), (Dtype::F32, Some(1))];
    let units = kinds.map(|(dtype, seed)| unit(&mut bench, dtype, seed));
    let expected = units.each_ref().map(|unit| artifact(&bench.execute(unit).unwrap(), STATES));
    let mut there = Vec::new();
    for worker in 0..3 {
        bench.relieve();
        bench.shelve(Shelf::new(1 << 20).cached_in(folder.path().to_path_buf(), 1 << 30));
        for (unit, expected) in units.iter().zip(expected) {
            assert!(artifact(&bench.execute(unit).unwrap(), STATES) == expected, "worker {worker}");
        }
        let found = files(folder.path());
        match worker {
            0 => there = found.iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect(),
            _ => assert!(found.iter().zip(&there).all(|(file, (before, bytes))| file == before && std::fs::read(file).unwrap() == *bytes)),
        }
        assert_eq!(found.len(), 3);
        if worker == 1 {
            // The next one mends what somebody has damaged.
            std::fs::write(&found[0], b"damaged").unwrap();
        }
    }
}

#[test]
fn a_folder_that_is_too_small_or_not_there_is_done_without() {
    let (folder, file) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut bench = Bench::new("llama-plain", 12);
    let unit = unit(&mut bench, Dtype::F32, None);
    let expected = artifact(&bench.execute(&unit).unwrap(), STATES);
    for (folder, limit) in [(folder.path(), 1000), (file.path(), 1 << 30)] {
        bench.relieve();
        bench.shelve(Shelf::new(1 << 20).cached_in(folder.to_path_buf(), limit));
        assert_eq!(artifact(&bench.execute(&unit).unwrap(), STATES), expected);
    }
    assert!(files(folder.path()).is_empty());
}
