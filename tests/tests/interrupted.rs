//! `limbic run` killed at different moments and run again.

use std::collections::{BTreeMap, BTreeSet};

use limbic_tests::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// The attempts of those units whose commit stands.
fn of_committed(sandbox: &Sandbox) -> BTreeMap<String, BTreeSet<String>> {
    let committed = sandbox.committed();
    sandbox.attempts().into_iter().filter(|(unit, _)| committed.contains(unit)).collect()
}

#[test]
fn killed_five_times_it_goes_on_and_the_results_are_the_same() {
    let undisturbed = sandbox();
    undisturbed.small(&[]);
    let whole = undisturbed.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let units = whole["units"]["total"].as_u64().unwrap() as usize;

    let sandbox = sandbox();
    sandbox.small(&[]);
    let run = ["run", "small.yaml", "--store", "store", "--out", "out", "--json"];
    let mut stood: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut had: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for moment in 1..=5 {
        // Killed when a sixth, two sixths, … of the units are committed; the first time before anything is.
        let wanted = units * (moment - 1) / 6;
        let running = sandbox.spawn(&run);
        sandbox.until("enough is committed", || sandbox.objects("sweeps").len() > 1 && sandbox.objects("commit").len() >= wanted);
        running.kill();
        let attempts = sandbox.attempts();
        for (unit, before) in &had {
            assert_eq!(attempts.get(unit), Some(before), "{unit} was committed, and yet it was attempted again");
        }
        had = of_committed(&sandbox);
        for (name, body) in &stood {
            assert_eq!(Some(body), sandbox.objects("commit").iter().find(|(n, _)| n == name).map(|(_, b)| b), "{name} was written again");
        }
        stood = sandbox.objects("commit").into_iter().collect();
        assert!(stood.len() < units, "killed too late to prove anything");
    }
    let before = stood.len() as u64;
    // A report of what there is says at its head how much that is.
    assert_eq!(sandbox.limbic(&["report", "small", "--store", "store", "--out", "between"]).code, Some(0));
    let report = |folder: &str| std::fs::read_to_string(sandbox.path(folder).join("report.md")).unwrap();
    let between = report("between");
    let head = between.split("\n## ").next().unwrap();
    let said = format!(" of {} cells and {before} of {units} units are computed", whole["cells"]["total"]);
    assert!(head.contains("Unfinished: ") && head.contains(&said), "{head}");
    let last = sandbox.json(&run);
    let attempts = sandbox.attempts();
    for (unit, before) in &had {
        assert_eq!(attempts.get(unit), Some(before), "{unit} was committed, and yet it was attempted again");
    }
    assert_eq!(last["granted_attempts"], last["computed_units"], "the last run grants nothing but what is missing");
    assert_eq!(last["computed_units"].as_u64().unwrap() + before, units as u64, "only what was missing is computed");
    assert!(!report("out").contains("Unfinished"));
    let commits: BTreeMap<_, _> = sandbox.objects("commit").into_iter().collect();
    assert!(stood.iter().all(|(name, body)| commits[name] == *body), "what was committed stands unchanged");
    for name in ["results.parquet", "predictions.parquet"] {
        let read = |of: &Sandbox| std::fs::read(of.path("out").join(name)).unwrap();
        assert!(read(&undisturbed) == read(&sandbox), "{name} equals that of the undisturbed run");
    }
}
