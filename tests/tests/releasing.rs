//! Activations that are released once everything that reads them is committed: the disk is free, the numbers are the same, and
//! whatever reads them later has them computed again.

use limbic_tests::{Running, Sandbox};
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

const RUN: [&str; 7] = ["run", "small.yaml", "--store", "store", "--out", "out", "--json"];
const RELEASE: (&str, &str) = ("rows_per_unit: 30", "rows_per_unit: 30, activations: release");
/// 210 rows in shards of 30, under two conditions.
const EXTRACTS: usize = 14;

/// The artifacts of that name.
fn artifacts(sandbox: &Sandbox, name: &str) -> usize {
    sandbox.objects("data").iter().filter(|(path, _)| path.ends_with(name)).count()
}

/// The names of the markers that say that activations were released, without their folders.
fn markers(sandbox: &Sandbox) -> Vec<String> {
    sandbox.objects("released").iter().map(|(path, _)| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// The tables of a report that hold numbers alone, and nothing of attempts and times.
fn numbers(sandbox: &Sandbox) -> [Vec<u8>; 2] {
    ["results.parquet", "predictions.parquet"].map(|name| std::fs::read(sandbox.path("out").join(name)).unwrap())
}

#[test]
fn a_sweep_that_releases_leaves_no_states_and_the_numbers_of_one_that_keeps() {
    let keeping = sandbox();
    keeping.small(&[]);
    keeping.json(&RUN);
    assert_eq!((artifacts(&keeping, "states.safetensors"), markers(&keeping).len()), (EXTRACTS, 0));

    let releasing = sandbox();
    releasing.small(&[RELEASE]);
    let planned = releasing.limbic(&["plan", "small.yaml"]);
    assert!(planned.stdout.contains("states  are released once everything that reads them is committed"), "{}", planned.stdout);
    let done = releasing.json(&RUN);
    assert_eq!((artifacts(&releasing, "states.safetensors"), artifacts(&releasing, "tokens.json")), (0, EXTRACTS));
    assert_eq!(markers(&releasing).len(), EXTRACTS);
    assert!(numbers(&keeping) == numbers(&releasing));
    assert_eq!(done["sweep"], releasing.json(&["status", "small", "--store", "store", "--json"])["sweep"]);
    let commits = releasing.objects("commit");
    assert_eq!(releasing.json(&RUN)["computed_units"], 0, "released is still done");
    assert!(releasing.objects("commit") == commits && numbers(&keeping) == numbers(&releasing));
    let shown = releasing.limbic(&["show", "kind=extract condition=calm", "--store", "store"]);
    assert_eq!(shown.stdout.matches("; released, so not there any more)").count(), EXTRACTS / 2, "{}", shown.stdout);

    // What was kept is released as soon as somebody says so; nothing is computed for it.
    keeping.small(&[RELEASE]);
    let later = keeping.json(&RUN);
    assert_eq!((&later["sweep"], &later["granted_attempts"]), (&done["sweep"], &Value::from(0)));
    assert_eq!((artifacts(&keeping, "states.safetensors"), markers(&keeping).len()), (0, EXTRACTS));
    assert!(numbers(&keeping) == numbers(&releasing));
}

#[test]
fn a_later_layer_and_a_later_probe_get_what_they_read() {
    let sandbox = sandbox();
    let layers = |all: &'static str| ("offsets:", all);
    sandbox.small(&[RELEASE, layers("layers: [0, 2]\noffsets:")]);
    sandbox.json(&RUN);
    // One layer more reads states of its own, so nothing is computed twice.
    sandbox.small(&[RELEASE, layers("layers: [0, 1, 2]\noffsets:")]);
    let extended = sandbox.json(&[&RUN[..], &["--extend", "small"]].concat());
    assert_eq!(&extended["state"], "complete");
    let first = markers(&sandbox);
    assert_eq!((artifacts(&sandbox, "states.safetensors"), first.len()), (0, 2 * EXTRACTS));
    assert!(first.iter().all(|name| !name.contains('.')), "all of generation 0: {first:?}");

    // Another sweep with another probe reads the same states of layers 0 and 2: generation 1.
    let other = [("name: small", "name: other"), ("{kind: mlp, hidden: 8}", "{kind: mlp, hidden: 4}")];
    sandbox.small(&[&[RELEASE, layers("layers: [0, 2]\noffsets:")], &other[..]].concat());
    let done = sandbox.json(&RUN);
    assert_eq!((&done["state"], &done["units"]["quarantined"]), (&Value::from("complete"), &Value::from(0)));
    // The extracts again, and the fits of two layers under two conditions. Baselines and prompts are the first sweep's.
    assert_eq!(done["computed_units"], EXTRACTS + 4, "{done}");
    let again: Vec<String> = markers(&sandbox).into_iter().filter(|name| name.ends_with(".2")).collect();
    assert_eq!((artifacts(&sandbox, "states.safetensors"), again.len()), (0, EXTRACTS));
    let status = sandbox.json(&["status", "other", "--store", "store", "--json"]);
    assert_eq!((&status["attempts"]["failed"], &status["units"]["committed"]), (&Value::from(0), &status["units"]["total"]));

    // The numbers are those of a sweep that never released anything.
    let keeping = self::sandbox();
    keeping.small(&[&[layers("layers: [0, 2]\noffsets:")], &other[..]].concat());
    keeping.json(&RUN);
    assert!(numbers(&keeping) == numbers(&sandbox));
}

#[test]
fn what_was_released_behind_a_coordinators_back_is_computed_again() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let args = ["coordinator", "--store", "store", "--listen", &listen, "--heartbeat", "0.5", "--lease-ttl", "2"];
    let _coordinator: Running = sandbox.spawn(&args);
    let asked = |command: &[&str]| sandbox.limbic(&[command, &["--coordinator", &url]].concat());
    sandbox.until("the sweep is accepted", || asked(&["submit", "small.yaml"]).code == Some(0));
    let status = || sandbox.json(&["status", "small", "--coordinator", &url, "--json"]);
    let worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("the sweep is complete", || status()["state"] == "complete");
    // The next worker has nothing in memory.
    worker.kill();
    sandbox.until("the worker is gone", || status()["workers"].as_array().unwrap().is_empty());
    let generation = |name: &str| sandbox.objects("commit").iter().filter(|(path, _)| path.ends_with(name)).count();

    // Somebody releases everything while this coordinator doesn't look, and one fit is wanted anew.
    let extracts: Vec<_> = sandbox.objects("data").into_iter().filter(|(path, _)| path.ends_with("states.safetensors")).collect();
    for (path, _) in &extracts {
        let unit = path.split('/').nth(2).unwrap();
        sandbox.write(&format!("store/released/{}/{unit}", &unit[..2]), "{\"nonce\":\"n\",\"generation\":0}");
        std::fs::remove_file(sandbox.path("store").join(path)).unwrap();
    }
    let ended = asked(&["again", "small", "--select", "kind=fit layer=1 condition=calm"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let _worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("the sweep is complete again", || status()["state"] == "complete");
    // The states of one condition, and the fit.
    assert_eq!((generation(".1"), generation(".2")), (EXTRACTS / 2 + 1, EXTRACTS / 2 + 1));
    let shown = asked(&["show", "kind=extract condition=calm", "--json"]);
    for line in shown.stdout.lines() {
        let unit: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&unit["generation"], &unit["voids"], &unit["released"]), (&1.into(), &0.into(), &false.into()), "{unit}");
    }
    let done = status();
    assert_eq!((&done["attempts"]["failed"], &done["units"]["quarantined"]), (&0.into(), &0.into()));
    assert_eq!(done["attempts"]["released"], 1, "where one is gone, the others are looked for");
}

#[test]
fn a_run_that_was_killed_before_the_marker_or_behind_it_leaves_nothing() {
    let sandbox = sandbox();
    sandbox.small(&[RELEASE]);
    sandbox.json(&RUN);
    let states = |(path, bytes): &(String, Vec<u8>)| std::fs::write(sandbox.path("store").join(path), bytes).unwrap();
    // As it would be: a coordinator that died behind the markers, and another that died before one of them.
    let tokens: Vec<_> = sandbox.objects("data").into_iter().filter(|(path, _)| path.ends_with("tokens.json")).collect();
    let left: Vec<_> = tokens.iter().map(|(path, _)| (path.replace("tokens.json", "states.safetensors"), b"states".to_vec())).collect();
    left.iter().for_each(states);
    let marker = sandbox.objects("released").remove(0).0;
    std::fs::remove_file(sandbox.path("store").join(&marker)).unwrap();

    let done = sandbox.json(&RUN);
    assert_eq!((&done["granted_attempts"], markers(&sandbox).len()), (&Value::from(0), EXTRACTS));
    assert_eq!(artifacts(&sandbox, "states.safetensors"), EXTRACTS - 1);
    let seen = sandbox.json(&["gc", "--store", "store", "--dry-run", "--json"]);
    assert_eq!(seen["released"], serde_json::json!({"objects": EXTRACTS - 1, "bytes": 6 * (EXTRACTS - 1)}));
    let words = sandbox.limbic(&["gc", "--store", "store"]);
    assert!(words.stdout.contains("removed 13 objects (78 B) of activations that were released"), "{}", words.stdout);
    assert_eq!((artifacts(&sandbox, "states.safetensors"), artifacts(&sandbox, "tokens.json")), (0, EXTRACTS));
    assert_eq!(sandbox.json(&RUN)["computed_units"], 0);
}
