//! Disks without room: /dev/full for the report, a limit on the size of files for the store.

use insta::assert_snapshot;

use crate::{LIMBIC, command, run, said, sandbox};

#[test]
fn no_room_for_the_report() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    std::fs::create_dir(sandbox.path("out")).unwrap();
    // A report's file is written under this name first.
    std::os::unix::fs::symlink("/dev/full", sandbox.path("out/results.partial")).unwrap();
    assert_snapshot!(run(&sandbox), @r#"
    exit 2
    error: --out out: results.parquet can't be written (No space left on device (os error 28)): the disk is full: free some space and run again; everything computed is kept in the store
    "#);
    let done = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!(done["computed_units"], 0, "everything computed was kept");
    assert!(sandbox.path("out/report.html").exists());
}

#[test]
fn no_room_for_the_store() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    // In blocks of 512 or 1024 bytes: less than the rows take. A signal that is ignored stays so in the program.
    let script = r#"trap '' XFSZ; ulimit -f 4; exec "$0" "$@""#;
    let args = ["-c", script, LIMBIC, "run", "small.yaml", "--store", "store", "--out", "out"];
    assert_snapshot!(said(&sandbox, command(&sandbox, "sh", &args)), @r#"
    exit 2
    error: store `[sandbox]/store`: writing [id] the disk is full: free some space, or choose another store; everything committed is kept
    "#);
    assert_eq!(sandbox.objects("").len(), 0, "no half of an object stands");
    assert_eq!(sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"])["state"], "complete");
}
