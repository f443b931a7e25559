//! Bad input ends with an error that names the place, what was found and what to do; what was computed stays.

#[path = "bad_input/addresses.rs"]
mod addresses;
#[path = "bad_input/corpus.rs"]
mod corpus;
#[path = "bad_input/damage.rs"]
mod damage;
#[path = "bad_input/dataset.rs"]
mod dataset;
#[path = "bad_input/full.rs"]
mod full;
#[path = "bad_input/model.rs"]
mod model;
#[path = "bad_input/spec.rs"]
mod spec;
#[path = "bad_input/store.rs"]
mod store;
#[path = "bad_input/versions.rs"]
mod versions;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use limbic_tests::Sandbox;

const LIMBIC: &str = env!("CARGO_BIN_EXE_limbic-under-test");
const WORKER: &str = env!("CARGO_BIN_EXE_limbic-worker-under-test");

fn sandbox() -> Sandbox {
    Sandbox::new(LIMBIC, WORKER)
}

/// A command in the sandbox's folder that logs as it does by default.
fn command(sandbox: &Sandbox, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(sandbox.path("")).stdin(Stdio::null());
    for variable in ["LIMBIC_LOG", "LIMBIC_STORE", "LIMBIC_COORDINATOR", "LIMBIC_LISTEN", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

/// What a command says that must fail: its exit code, then its complaint with paths, ports and ids made the same.
fn said(sandbox: &Sandbox, mut command: Command) -> String {
    let start = Instant::now();
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?} to say {stderr}", start.elapsed());
    for noise in ["panicked", "RUST_BACKTRACE", "Custom {", "Os {", " WARN", "\u{1b}"] {
        assert!(!stderr.contains(noise), "`{noise}` in {stderr}");
    }
    // What a run says of its sweep before it fails.
    let lines = stderr.lines().filter(|line| !line.starts_with("note: ") && !line.starts_with("sweep "));
    let code = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
    format!("exit {code}\n{}", plain(sandbox, &lines.collect::<Vec<_>>().join("\n")))
}

/// Paths, ports and ids made the same everywhere.
fn plain(sandbox: &Sandbox, text: &str) -> String {
    let folder = sandbox.path("").canonicalize().expect("the sandbox is there");
    let text =
        text.replace(&format!("{}/", folder.display()), "[sandbox]/").replace(&Sandbox::repository().display().to_string(), "[repository]");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        out += before;
        out += "[port]";
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out += rest;
    let id = |part: &str| part.len() >= 12 && part.chars().all(|c| c.is_ascii_hexdigit());
    let has_id = |word: &&str| word.split(|c: char| !c.is_ascii_alphanumeric()).any(id);
    let words: Vec<&str> = out.split(' ').map(|word| if has_id(&word) { "[id]" } else { word }).collect();
    words.join(" ")
}

/// What `limbic ARGS` says.
fn limbic(sandbox: &Sandbox, args: &[&str]) -> String {
    said(sandbox, command(sandbox, LIMBIC, args))
}

/// What `limbic validate` says of the small spec with some text replaced.
fn validate(replace: &[(&str, &str)]) -> String {
    let sandbox = sandbox();
    sandbox.small(replace);
    limbic(&sandbox, &["validate", "small.yaml"])
}

/// What `limbic run` says.
fn run(sandbox: &Sandbox) -> String {
    limbic(sandbox, &["run", "small.yaml", "--store", "store", "--out", "out"])
}

/// A free port: bound once and given back.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has an address").port()
}
