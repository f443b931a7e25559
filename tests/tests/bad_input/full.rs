//! Disks without room, which a limit on the size of files stands for.

use std::os::unix::process::CommandExt;
use std::process::Command;

use insta::assert_snapshot;
use limbic_tests::Sandbox;

use crate::{LIMBIC, command, said, sandbox};

/// `limbic run` into a folder, where no file can have more bytes than so many.
fn limited(sandbox: &Sandbox, bytes: u64, out: &str) -> Command {
    let mut command = command(sandbox, LIMBIC, &["run", "small.yaml", "--store", "store", "--out", out]);
    let limit = move || {
        let most = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: both calls are allowed between fork and exec, and have no pointers but to `most`. A signal that is ignored stays so in
        // the program.
        let failed = unsafe {
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const most) != 0 || libc::signal(libc::SIGXFSZ, libc::SIG_IGN) == libc::SIG_ERR
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `limit` neither allocates nor takes a lock.
    unsafe { command.pre_exec(limit) };
    command
}

#[test]
fn no_room_for_the_report() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let run = |out| sandbox.json(&["run", "small.yaml", "--store", "store", "--out", out, "--json"]);
    run("elsewhere");
    // Of the files up to the summary, which is written before the pages, only that has more.
    assert_snapshot!(said(&sandbox, limited(&sandbox, 107_000, "out")), @r#"
    exit 2
    error: --out out: summary.json can't be written (File too large (os error 27)): the disk is full: free some space and run again; everything computed is kept in the store
    "#);
    let left: Vec<_> = std::fs::read_dir(sandbox.path("out")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial") && name != "summary.json"), "{left:?}");
    assert_eq!(run("out")["computed_units"], 0, "everything computed was kept");
    assert!(sandbox.path("out/report.html").exists());
}

#[test]
fn no_room_for_the_store() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    // Less than the rows take.
    assert_snapshot!(said(&sandbox, limited(&sandbox, 2000, "out")), @r#"
    exit 2
    error: store `[sandbox]/store`: writing [id] the disk is full: free some space, or choose another store; everything committed is kept
    "#);
    assert_eq!(sandbox.objects("").len(), 0, "no half of an object stands");
    assert_eq!(sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"])["state"], "complete");
}
