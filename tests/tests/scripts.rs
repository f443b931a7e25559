//! What `docs/scripts.md` says of each command's JSON is what the command prints.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use limbic_tests::{Running, Sandbox};
use serde_json::Value;

const LIMBIC: &str = env!("CARGO_BIN_EXE_limbic-under-test");

fn sandbox() -> Sandbox {
    Sandbox::new(LIMBIC, env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// A coordinator that was given the small sweep, and its address.
fn led(sandbox: &Sandbox, flags: &[&str]) -> (Running, String) {
    sandbox.small(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let coordinator = sandbox.spawn(&[&["coordinator", "--store", "store", "--listen", &listen], flags].concat());
    sandbox.until("the coordinator answers", || sandbox.limbic(&["list", "--coordinator", &url]).code == Some(0));
    (coordinator, url)
}

/// `limbic watch --json`, whose lines are read as they come.
fn watch(sandbox: &Sandbox, url: &str) -> (Child, impl Iterator<Item = Value>) {
    let mut watch = Command::new(LIMBIC);
    watch.args(["watch", "small", "--coordinator", url, "--json"]).current_dir(sandbox.path("")).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    (watch, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

/// The keys of each section, and whether they may be missing.
fn documented() -> BTreeMap<String, BTreeMap<String, bool>> {
    let text = std::fs::read_to_string(Sandbox::repository().join("docs/scripts.md")).unwrap();
    let mut sections = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap();
        let mut keys = BTreeMap::new();
        for line in rest.lines().filter(|line| line.starts_with("| `")) {
            let (names, says) = line.trim_matches('|').split_once(" | ").unwrap();
            for key in names.split(',').map(|name| name.trim().trim_matches('`')) {
                assert!(keys.insert(key.to_owned(), says.contains("where ")).is_none(), "{name} has {key} twice");
            }
        }
        sections.insert(name.to_owned(), keys);
    }
    sections
}

/// The paths of what is no object in some JSON; of what is not described further, its own.
fn paths(value: &Value, at: &str, whole: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !members.is_empty() && !whole.contains(at) => {
            for (name, member) in members {
                // Kinds of units are keys.
                let name = if at == "kinds" { "KIND" } else { name };
                paths(member, &if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }, whole, found);
            }
        }
        Value::Array(members) if !whole.contains(at) => {
            let at = format!("{at}[]");
            match members.is_empty() {
                true => drop(found.insert(at)),
                false => members.iter().for_each(|member| paths(member, &at, whole, found)),
            }
        }
        _ => drop(found.insert(at.to_owned())),
    }
}

/// Checks what a command printed against a section: no key is untold, and none that always stands is missing.
fn compare(section: &str, printed: &Value) {
    let sections = documented();
    let keys = &sections[section];
    // What is told as a whole.
    let whole: BTreeSet<&str> = ["commit", "conditions[]", "quarantined[]"].into_iter().filter(|key| keys.contains_key(*key)).collect();
    let mut found = BTreeSet::new();
    paths(printed, "", &whole, &mut found);
    // An empty list, or nothing in place of an object, may stand for what it would hold.
    let holds = |short: &str, key: &str| key.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    let untold: Vec<_> = found.iter().filter(|path| !keys.keys().any(|key| key == *path || holds(path, key))).collect();
    assert!(untold.is_empty(), "docs/scripts.md, {section}, doesn't have {untold:?} of {printed}");
    let missing = keys.iter().filter(|(key, maybe)| !**maybe && !found.iter().any(|path| path == *key || holds(path, key)));
    let missing: Vec<_> = missing.map(|(key, _)| key).collect();
    assert!(missing.is_empty(), "docs/scripts.md, {section}, has {missing:?}, which {printed} hasn't");
}

#[test]
fn the_json_of_commands_is_as_it_is_documented() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let stored = ["--store", "store", "--json"];
    let json = |args: &[&str]| sandbox.json(&[args, &stored].concat());
    compare("validate", &sandbox.json(&["validate", "small.yaml", "--json"]));
    compare("plan", &sandbox.json(&["plan", "small.yaml", "--json"]));
    compare("run", &json(&["run", "small.yaml", "--out", "out"]));
    compare("plan", &json(&["plan", "small.yaml"]));
    compare("status", &json(&["status"]));
    let list = json(&["list"]);
    let sweeps = list.as_array().unwrap();
    assert_eq!(sweeps.len(), 1);
    compare("status", &sweeps[0]);
    compare("report", &json(&["report", "--out", "again"]));
    compare("export", &json(&["export", "--out", "exported"]));
    compare("gc", &json(&["gc", "--dry-run"]));
    compare("doctor", &json(&["doctor"]));
    let shown = sandbox.limbic(&[&["show", "kind=fit"], stored.as_slice()].concat());
    assert_eq!(shown.code, Some(0), "{shown:?}");
    shown.stdout.lines().for_each(|line| compare("show", &serde_json::from_str(line).unwrap()));
}

#[test]
fn the_json_of_a_coordinator_is_as_it_is_documented() {
    let sandbox = sandbox();
    let (coordinator, url) = led(&sandbox, &[]);
    let json = |args: &[&str]| sandbox.json(&[args, &["--coordinator", &url, "--json"]].concat());
    let submitted = json(&["submit", "small.yaml"]);
    compare("submit", &submitted);
    let status = json(&["status", "small"]);
    compare("status", &status);
    assert_eq!((&submitted["units"], &submitted["cells"]), (&status["units"]["total"], &status["cells"]["total"]));
    for change in ["pause", "resume", "retry"] {
        compare("status", &json(&[change, "small"]));
    }
    let worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--takes", "passes"]);
    sandbox.until("the worker is known", || json(&["status", "small"])["workers"].as_array().is_some_and(|known| !known.is_empty()));
    compare("status", &json(&["status", "small"]));
    worker.kill();
    coordinator.kill();
}

#[test]
fn a_watch_ends_with_its_reader_and_hears_of_the_end_from_a_coordinator_that_leaves() {
    let sandbox = sandbox();
    let (mut coordinator, url) = led(&sandbox, &["--exit-when-complete"]);
    assert_eq!(sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code, Some(0));
    // Nothing runs yet, so nothing but its reader can end this one.
    let (mut first, mut lines) = watch(&sandbox, &url);
    assert_eq!(lines.next().unwrap()["state"], "running");
    drop(lines);
    sandbox.until("the watch without a reader ends", || first.try_wait().unwrap().is_some());
    assert_eq!(first.wait().unwrap().code(), Some(0));

    let (mut second, lines) = watch(&sandbox, &url);
    let mut worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--exit-when-finished"]);
    let last = lines.last().unwrap();
    compare("status", &last);
    assert_eq!((&last["state"], &last["units"]["total"]), (&"complete".into(), &last["units"]["committed"]));
    assert_eq!((second.wait().unwrap().code(), coordinator.wait(), worker.wait()), (Some(0), Some(0), Some(0)));
}
