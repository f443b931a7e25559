//! Results that rot in the store: whoever reads them finds out, and they are computed again.

use limbic::journal::Journal;
use limbic_proto::journal::Record;
use limbic_store::Store;
use limbic_tests::Sandbox;
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

const RUN: [&str; 7] = ["run", "small.yaml", "--store", "store", "--out", "out", "--json"];

/// A finished small sweep, and what its report says.
fn finished() -> (Sandbox, Vec<u8>) {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.json(&RUN);
    let results = std::fs::read(sandbox.path("out/results.parquet")).unwrap();
    (sandbox, results)
}

/// Flips one bit in the middle of an object.
fn flip(sandbox: &Sandbox, name: &str) {
    let path = sandbox.path("store").join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// All artifacts of that name.
fn artifacts(sandbox: &Sandbox, name: &str) -> Vec<String> {
    sandbox.objects("data").into_iter().map(|(path, _)| path).filter(|path| path.ends_with(name)).collect()
}

fn unit(artifact: &str) -> &str {
    artifact.split('/').nth(2).unwrap()
}

/// Removes the commit of a fit on states, which no run would ever do.
fn forget_a_fit(sandbox: &Sandbox) {
    let on_states = |path: &String| {
        let records: Value = serde_json::from_slice(&std::fs::read(sandbox.path("store").join(path)).unwrap()).unwrap();
        records[0]["name"]["read_out"].is_object()
    };
    let fit = artifacts(sandbox, "fits.json").into_iter().find(on_states).unwrap();
    std::fs::remove_file(sandbox.path(&format!("store/commit/{}/{}", &unit(&fit)[..2], unit(&fit)))).unwrap();
}

/// The names of a unit's links, as `0`, `1`, `2`.
fn links(sandbox: &Sandbox, unit: &str) -> Vec<String> {
    let names = sandbox.objects(&format!("commit/{}", &unit[..2]));
    let of = |name: &str| name.rsplit('/').next().unwrap().strip_prefix(unit).map(|rest| rest.trim_start_matches('.').to_owned());
    names.iter().filter_map(|(name, _)| of(name)).map(|link| if link.is_empty() { "0".to_owned() } else { link }).collect()
}

#[test]
fn rotten_states_are_computed_again_when_a_fit_needs_them() {
    let (sandbox, results) = finished();
    // One fit is missing, all states have rotted: what was fitted from them is still good.
    forget_a_fit(&sandbox);
    let states = artifacts(&sandbox, "states.safetensors");
    states.iter().for_each(|path| flip(&sandbox, path));
    let commits = sandbox.objects("commit");

    let again = sandbox.json(&RUN);
    assert_eq!((&again["state"], &again["units"]["quarantined"]), (&Value::from("complete"), &Value::from(0)), "{again}");
    // A fit reads the shards of one condition: half of all.
    assert_eq!(again["computed_units"], states.len() / 2 + 1, "{again}");
    let voided: Vec<&String> = states.iter().filter(|path| links(&sandbox, unit(path)) == ["0", "1", "2"]).collect();
    assert_eq!(voided.len(), states.len() / 2, "link 0 rotted, link 1 says so, link 2 is the new result");
    assert!(commits.iter().all(|(name, body)| sandbox.objects("commit").contains(&(name.clone(), body.clone()))), "nothing is overwritten");
    assert_eq!(std::fs::read(sandbox.path("out/results.parquet")).unwrap(), results, "the numbers are the same");
    let status = sandbox.json(&["status", "small", "--store", "store", "--json"]);
    assert_eq!((&status["attempts"]["failed"], &status["units"]["committed"]), (&Value::from(0), &status["units"]["total"]));
}

#[test]
fn what_was_to_be_computed_again_when_a_run_was_killed_is_so_by_the_next() {
    let (sandbox, results) = finished();
    let path = artifacts(&sandbox, "fits.json").remove(0);
    flip(&sandbox, &path);
    let unit = unit(&path).parse().unwrap();
    let status = sandbox.json(&["status", "small", "--store", "store", "--json"]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(sandbox.path("store").to_str().unwrap()).unwrap();
        let mut journal = Journal::lead(&store, status["sweep"].as_str().unwrap(), "killed").await.unwrap();
        let entry = journal.entry(vec![Record::Void { unit, generation: 0, reason: "it rotted".into(), asked: false }]);
        // It comes to nothing more.
        journal.append(&entry).await.unwrap();
    });
    let again = sandbox.json(&RUN);
    assert_eq!((&again["state"], &again["computed_units"]), (&Value::from("complete"), &Value::from(1)), "{again}");
    assert_eq!(std::fs::read(sandbox.path("out/results.parquet")).unwrap(), results, "the numbers are the same");

    // What is computed again isn't counted among what was found.
    flip(&sandbox, &artifacts(&sandbox, "fits.json").pop().unwrap());
    let said = sandbox.limbic(&RUN[..RUN.len() - 1]);
    let found = format!("1 computed now, {} found done", again["units"]["total"].as_u64().unwrap() - 1);
    assert!(said.stdout.contains(&found), "{}", said.stdout);
}

#[test]
fn a_missing_artifact_is_as_good_as_a_rotten_one() {
    let (sandbox, results) = finished();
    forget_a_fit(&sandbox);
    for states in artifacts(&sandbox, "states.safetensors") {
        std::fs::remove_file(sandbox.path("store").join(states)).unwrap();
    }
    assert_eq!(sandbox.json(&RUN)["units"]["quarantined"], 0);
    assert_eq!(std::fs::read(sandbox.path("out/results.parquet")).unwrap(), results);
}

#[test]
fn a_rotten_fit_is_named_by_report_and_computed_again_by_run() {
    let (sandbox, results) = finished();
    let predictions = artifacts(&sandbox, "predictions.safetensors").remove(1);
    flip(&sandbox, &predictions);
    let ended = sandbox.limbic(&["report", "small", "--store", "store", "--out", "later"]);
    assert_eq!(ended.code, Some(2));
    for words in ["fit ", "predictions.safetensors is corrupt", "limbic run SPEC"] {
        assert!(ended.stderr.contains(words), "`{words}` in {}", ended.stderr);
    }
    assert_eq!(links(&sandbox, unit(&predictions)), ["0"], "a report changes nothing");
    assert_eq!(sandbox.json(&RUN)["computed_units"], 1);
    assert_eq!(links(&sandbox, unit(&predictions)), ["0", "1", "2"]);
    assert_eq!(std::fs::read(sandbox.path("out/results.parquet")).unwrap(), results);
    assert_eq!(sandbox.json(&RUN)["computed_units"], 0);
    assert_eq!(sandbox.limbic(&["report", "small", "--store", "store", "--out", "later"]).code, Some(0));
}
