//! The short form of chaos among real processes.

use std::time::Duration;

use limbic_tests::chaos::{Options, Place, run};

#[test]
fn nothing_is_lost_in_half_a_minute_of_chaos() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        limbic: env!("CARGO_BIN_EXE_limbic-under-test").into(),
        worker: env!("CARGO_BIN_EXE_limbic-worker-under-test").into(),
        length: Duration::from_secs(25),
        seed: std::env::var("LIMBIC_CHAOS_SEED").map_or(7, |seed| seed.parse().expect("LIMBIC_CHAOS_SEED is a number")),
        units: 96,
        workers: 4,
        unit: Some(Duration::from_millis(600)),
        place: Place::named(None, folder.path()).unwrap(),
        folder: folder.path().to_owned(),
    };
    let found = run(&options).unwrap();
    println!("{found}");
    assert!(found.violations.is_empty(), "{found}\nlogs: {}", folder.keep().display());
    assert!(found.done.values().sum::<usize>() >= 10, "too little was done to prove anything: {found}");
}
