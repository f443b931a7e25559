//! A sweep that stores no states of train rows: the numbers of one that keeps all, in fewer bytes.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use limbic_tests::Sandbox;
use limbic_tests::tables::words;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

const RUN: [&str; 7] = ["run", "small.yaml", "--store", "store", "--out", "out", "--json"];
/// How far numbers of carried probes may be apart: states that no probe was fitted to have scores so large that computing them in f32
/// is off by some millionths, whatever the probe was fitted from.
const CARRIED: f64 = 1e-5;
/// Probes with closed forms, each carried on to further offsets and the other condition.
const PROBES: (&str, &str) = (
    "probes: [{kind: logistic, c: [0.01]}, {kind: mlp, hidden: 8}]",
    "probes: [{kind: ridge}, {kind: lda, shrinkage: 0.1}, {kind: mean-difference}]\ntransfer: [offsets, conditions]\n\
     baselines: [majority, bag-of-words, mean-embedding, zero-shot]",
);

fn sandbox(execution: &str) -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
    sandbox.small(&[PROBES, ("{rows_per_unit: 30}", execution)]);
    sandbox
}

fn batches(sandbox: &Sandbox, name: &str) -> Vec<RecordBatch> {
    let file = std::fs::File::open(sandbox.path("out").join(name)).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// A table's numbers by everything else that its rows say, and by whether a probe reads what it was not fitted at.
fn numbers(sandbox: &Sandbox, table: &str) -> BTreeMap<(String, bool), Vec<f64>> {
    let mut all = BTreeMap::new();
    for batch in batches(sandbox, table) {
        let measured = ["value", "lo", "hi", "p_true", "values"];
        let schema = batch.schema();
        let (values, names): (Vec<_>, Vec<_>) = schema.fields().iter().map(|f| f.name().as_str()).partition(|name| measured.contains(name));
        for row in 0..batch.num_rows() {
            let name: Vec<String> = names.iter().map(|name| words(&batch, name, row).unwrap_or_default()).collect();
            let of = |name: &&str| -> Vec<f64> {
                let column = batch.column_by_name(name).unwrap();
                if column.is_null(row) {
                    return vec![f64::NAN];
                }
                match (column.as_primitive_opt::<Float64Type>(), column.as_primitive_opt::<Float32Type>()) {
                    (Some(numbers), _) => vec![numbers.value(row)],
                    (_, Some(numbers)) => vec![f64::from(numbers.value(row))],
                    _ => column.as_list::<i32>().value(row).as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect(),
                }
            };
            let carried = ["fitted_offset", "fitted_condition"].iter().any(|name| batch.column_by_name(name).unwrap().is_valid(row));
            let before = all.insert((name.join(" "), carried), values.iter().flat_map(of).collect());
            assert!(before.is_none(), "{name:?} twice");
        }
    }
    all
}

/// Bytes of all states that were written, and of all artifacts, as the commits have them.
fn written(sandbox: &Sandbox) -> (u64, u64) {
    let (mut states, mut all) = (0, 0);
    for (_, body) in sandbox.objects("commit") {
        let commit: Value = serde_json::from_slice(&body).unwrap();
        for artifact in commit["artifacts"].as_array().unwrap() {
            let length = artifact["len"].as_u64().unwrap();
            all += length;
            states += if artifact["name"] == "states.safetensors" { length } else { 0 };
        }
    }
    (states, all)
}

fn stored(sandbox: &Sandbox) -> usize {
    sandbox.objects("data").iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn moments_give_the_numbers_of_states_in_fewer_bytes() {
    let (keeping, lean) = (sandbox("{activations: keep}"), sandbox("{activations: none}"));
    let planned = lean.limbic(&["plan", "small.yaml"]);
    assert!(planned.stdout.contains("states  of train rows are not stored, but their moments"), "{}", planned.stdout);
    let [by_states, by_moments] = [&keeping, &lean].map(|sandbox| sandbox.json(&RUN));
    assert_eq!(by_states["sweep"], by_moments["sweep"], "what is stored is no part of what is asked");
    assert_eq!((&by_states["state"], &by_moments["state"]), (&"complete".into(), &"complete".into()));
    for table in ["results.parquet", "predictions.parquet"] {
        let (expected, found) = (numbers(&keeping, table), numbers(&lean, table));
        assert!(expected.len() > 1000 && expected.keys().eq(found.keys()), "{table}: {} and {} rows", expected.len(), found.len());
        for ((row, carried), numbers) in &expected {
            let found = &found[&(row.clone(), *carried)];
            let bound = if *carried { CARRIED } else { 1e-6 };
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= bound || a.is_nan() && b.is_nan();
            assert!(numbers.len() == found.len() && numbers.iter().zip(found).all(near), "{table}: {row}: {numbers:?}, {found:?}");
        }
    }
    let ((states, all), (moments, less)) = (written(&keeping), written(&lean));
    assert!(moments < states && less < all, "{moments} of {states} bytes of states, {less} of {all} in all");
    // What is planned is what is written, but for the headers of files.
    for (sandbox, written) in [(&keeping, states), (&lean, moments)] {
        let planned = sandbox.json(&["plan", "small.yaml", "--json"])["state_bytes"].as_u64().unwrap();
        assert!(planned < written && written < planned + planned / 4, "{planned} planned, {written} written");
    }
    let there = |sandbox: &Sandbox| sandbox.objects("data").iter().filter(|(path, _)| path.ends_with("states.safetensors")).count();
    assert!(there(&keeping) > 0 && there(&lean) == 0 && stored(&lean) < stored(&keeping), "they are released in the end");
    assert_eq!(lean.json(&RUN)["computed_units"], 0, "which is still done");
}

#[test]
fn a_probe_that_needs_train_rows_is_refused_before_anything_is_computed() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
    sandbox.small(&[("{rows_per_unit: 30}", "{activations: none}")]);
    let refused = sandbox.limbic(&RUN);
    let said = "probes[0]: `logistic` needs the states of train rows, which `execution.activations: none` doesn't store";
    assert!(refused.code == Some(2) && refused.stderr.contains(said), "{refused:?}");
    assert!(sandbox.objects("").is_empty());
}
