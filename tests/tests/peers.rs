//! The program that runs peers beside us: its own side on the smallest shipped model, and what it says of wrong flags.

use std::process::{Command, Output};

use limbic_tests::Sandbox;
use serde_json::{Value, json};

fn peers(data: &std::path::Path, flags: &[&str]) -> Output {
    let model = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.arg("--model").arg(model).arg("--data").arg(data).args(flags);
    command.output().expect("peers starts")
}

/// Ninety rows of three classes, in all splits.
fn rows(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let row = |i: usize| {
        let (label, split) = (["joy", "fear", "calm"][i % 3], ["train", "train", "validation", "test", "train"][i / 3 % 5]);
        format!("{}\n", json!({"text": format!("On day {i} there was {label}."), "labels": [label], "split": split}))
    };
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, (0..90).map(row).collect::<String>()).unwrap();
    path
}

#[test]
fn our_side_of_a_case_runs_alone_and_its_medians_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let cases = ["extract", "naive", "fit", "whole", "growth", "continuation", "prefix", "memory"];
    let (only, small) = (cases.join(","), ["--continuation-rows", "4", "--prefix-rows", "4", "--memory-rows", "6"]);
    let flags = [&["--rounds", "2", "--json", "--only", &only], small.as_slice()].concat();
    let output = peers(&rows(&folder), &flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = found["cases"].as_array().unwrap().iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &found["about"]["rows"]), (cases.as_slice(), &json!(90)));
    for case in found["cases"].as_array().unwrap() {
        let rounds = if case["case"] == "memory" { 1 } else { 2 };
        for line in case["lines"].as_array().unwrap() {
            assert!(line["samples"].as_array().unwrap().len() == rounds && line["median"].as_f64().unwrap() > 0.0, "{line}");
        }
    }
}

#[test]
fn wrong_flags_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(&folder);
    let odd = folder.path().join("odd.jsonl");
    std::fs::write(&odd, "{\"text\": \"Oh!\", \"label\": \"joy\"}\n").unwrap();
    for (data, flags, words) in [
        (&data, ["--python", "/no/python"], ["--python /no/python", "pip install"]),
        (&odd, ["--only", "fit"], ["odd.jsonl: line 1", "`split`"]),
        (&data, ["--limit", "0"], ["--limit 0", "no rows"]),
    ] {
        let output = peers(data, &flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && words.iter().all(|word| said.contains(word)), "{flags:?}: {said}");
    }
}
