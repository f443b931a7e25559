//! `limbic apply`: a fitted probe reads new texts as it read the sweep's own rows.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use limbic_proto::rows::{Rows, Split};
use limbic_tests::Sandbox;
use limbic_tests::tables::words;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// What the logistic probe of layer 4 on raw text predicted for a row at its last prompt token.
fn predicted(sandbox: &Sandbox, row: &str) -> Vec<f32> {
    let file = std::fs::File::open(sandbox.path("out/predictions.parquet")).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut found = Vec::new();
    for batch in batches.map(Result::unwrap) {
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<UInt32Type>();
        for at in 0..batch.num_rows() {
            let cell = [("probe", "logistic"), ("layer", "4"), ("condition", "raw"), ("pooling", "last"), ("row_id", row)];
            let meant = offsets.is_valid(at) && offsets.value(at) == 0 && words(&batch, "control", at).is_none();
            if meant && cell.iter().all(|(column, value)| words(&batch, column, at).as_deref() == Some(value)) {
                let values = batch.column_by_name("values").unwrap().as_list::<i32>().value(at);
                found.push(values.as_primitive::<Float32Type>().values().to_vec());
            }
        }
    }
    assert_eq!(found.len(), 1, "one prediction of row {row}");
    found.remove(0)
}

#[test]
fn a_kept_probe_says_of_a_text_what_the_sweep_said_of_it() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let rows = Rows::from_bytes(&sandbox.objects("rows")[0].1).unwrap();
    let row = rows.rows.iter().find(|row| row.split == Split::Test).unwrap();

    let unit = "model=tiny-0.3m condition=raw layer=4";
    let read = sandbox.json(&["apply", unit, "--store", "store", "--text", &row.text, "--json", "--save", "probe.safetensors"]);
    assert!(read["layer"].is_u64() && read.get("id").is_none(), "{read}");
    let saved = sandbox.json(&["apply", unit, "--store", "store", "--json", "--save", "another.safetensors"]);
    assert!(saved["saved"] == "another.safetensors" && sandbox.path("another.safetensors").exists(), "{saved}");
    sandbox.write("texts.jsonl", "{\"id\": 7, \"text\": \"Oh!\", \"label\": \"joy\"}\n");
    assert_eq!(sandbox.json(&["apply", unit, "--store", "store", "--texts", "texts.jsonl", "--json"])["id"], 7);
    sandbox.write("texts.jsonl", "\n");
    let none = sandbox.limbic(&["apply", unit, "--store", "store", "--texts", "texts.jsonl"]);
    assert!(none.code == Some(2) && none.stderr.contains("texts.jsonl: holds no text"), "{none:?}");
    let tokens = read["tokens"].as_array().unwrap();
    let values = |token: &Value| token["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect::<Vec<f32>>();
    let (last, expected) = (values(tokens.last().unwrap()), predicted(&sandbox, &row.id));
    assert_eq!(last.len(), rows.classes.len());
    assert!(last.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{last:?} and in the sweep {expected:?}");
    assert!(tokens.iter().any(|token| values(token) != last), "other tokens are read for themselves");

    let later = sandbox.json(&["apply", &format!("{unit} offset=3"), "--store", "store", "--text", &row.text, "--json"]);
    assert_eq!((&read["fit"], &later["fit"]), (&"logistic.k0.s0".into(), &"logistic.k3.s0".into()), "an offset means its probe");

    let model = Sandbox::repository().join("configs/quickstart/models");
    let elsewhere = |name: &str| {
        let model = model.join(name).to_string_lossy().into_owned();
        sandbox.worker(&["apply", "probe.safetensors", "--model", &model, "--text", &row.text, "--json"])
    };
    let (same, other) = (elsewhere("tiny-0.3m"), elsewhere("tiny-1m"));
    assert_eq!((same.code, serde_json::from_str::<Value>(&same.stdout).unwrap()), (Some(0), read), "the file alone says the same");
    assert!(other.code == Some(2) && other.stderr.contains("tiny-1m"), "another model is refused: {}", other.stderr);

    let unknown = sandbox.limbic(&["apply", unit, "--store", "store", "--text", "x", "--fit", "nothing"]);
    assert!(unknown.code == Some(2) && unknown.stderr.contains("logistic.k0.s0"), "{}", unknown.stderr);
    let several = sandbox.limbic(&["apply", "layer=4", "--store", "store", "--text", "x"]);
    assert!(several.code == Some(2) && several.stderr.contains("means 2 units"), "{}", several.stderr);
}
