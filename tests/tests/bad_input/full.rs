//! Disks without room: a limit on the size of files, for the report and for the store.

use insta::assert_snapshot;

use limbic_tests::Sandbox;
use std::process::Command;

use crate::{LIMBIC, command, said, sandbox};

/// `limbic` where a file has at most so many blocks of 512 or 1024 bytes.
fn limited(sandbox: &Sandbox, blocks: usize, args: &[&str]) -> Command {
    // A signal that is ignored stays so in the program.
    let script = format!(r#"trap '' XFSZ; ulimit -f {blocks}; exec "$0" "$@""#);
    command(sandbox, "sh", &[&["-c", &script, LIMBIC], args].concat())
}

#[test]
fn no_room_for_the_report() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let run = |out| ["run", "small.yaml", "--store", "store", "--out", out];
    sandbox.json(&[&run("elsewhere")[..], &["--json"]].concat());
    assert_snapshot!(said(&sandbox, limited(&sandbox, 1, &run("out"))), @r#"
    exit 2
    error: --out out: results.parquet can't be written (File too large (os error 27)): the disk is full: free some space and run again; everything computed is kept in the store
    "#);
    assert_eq!(std::fs::read_dir(sandbox.path("out")).unwrap().count(), 0, "no half of a file stands");
    let done = sandbox.json(&[&run("out")[..], &["--json"]].concat());
    assert_eq!(done["computed_units"], 0, "everything computed was kept");
    assert!(sandbox.path("out/report.html").exists());
}

#[test]
fn no_room_for_the_store() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    // Less than the rows take.
    let args = ["run", "small.yaml", "--store", "store", "--out", "out"];
    assert_snapshot!(said(&sandbox, limited(&sandbox, 4, &args)), @r#"
    exit 2
    error: store `[sandbox]/store`: writing [id] the disk is full: free some space, or choose another store; everything committed is kept
    "#);
    assert_eq!(sandbox.objects("").len(), 0, "no half of an object stands");
    assert_eq!(sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"])["state"], "complete");
}
