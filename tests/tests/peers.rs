//! The program that runs peers beside us: its own side on the smallest shipped model, and what it says of wrong flags.

use std::process::{Command, Output};

use limbic_proto::architecture::Architecture;
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
    let cases = ["extract", "naive", "fit", "whole", "growth", "continuation", "prefix", "memory", "device"];
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
fn a_shape_has_the_tokenizer_of_the_model_and_weights_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let shape = folder.path().join("wide.json");
    let config = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    config["hidden_size"] = json!(96);
    std::fs::write(&shape, config.to_string()).unwrap();
    let shape = shape.to_str().unwrap();
    let output = peers(&rows(&folder), &["--device", "cpu", "--shape", shape, "--rounds", "1", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["about"]["model"], found["cases"].as_array().unwrap().len()), (&json!("wide"), 1));
    let facts = &found["cases"][0]["facts"];
    assert!(facts["distance of ours from that, at most"].as_f64().is_some_and(|off| off > 0.0 && off < 0.1), "{facts}");
    assert_eq!(facts["rows compared with f32 on the processor"], 16);
}

#[test]
fn shapes_are_as_large_as_they_say() {
    for (name, parameters) in [("qwen3-0.6b", 0.596e9), ("qwen3-4b", 4.022e9), ("qwen3-8b", 8.191e9)] {
        let path = Sandbox::repository().join(format!("tests/shapes/{name}.json"));
        let shape = Architecture::from_config(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!((shape.parameters() as f64 / parameters - 1.0).abs() < 1e-3, "{name}: {}", shape.parameters());
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
        (&data, ["--device", "gpu"], ["--device gpu", "cuda:0"]),
        (&data, ["--shape", "/no/shape.json"], ["--shape", "--only device"]),
    ] {
        let output = peers(data, &flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && words.iter().all(|word| said.contains(word)), "{flags:?}: {said}");
    }
}
