//! `limbic export`: what lies in the store, as tables and arrays that other programs read.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, RecordBatch};
use limbic_proto::rows::Rows;
use limbic_proto::unit::{Answer, RowTokens};
use limbic_tests::Sandbox;
use limbic_tests::tables::words;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use safetensors::SafeTensors;
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

const RUN: [&str; 7] = ["run", "small.yaml", "--store", "store", "--out", "out", "--json"];
/// Replies that end before the last offset, in part; answers that are written.
const SPEC: [(&str, &str); 3] = [
    (", stop_at_eos: false", ""),
    ("offsets: [0, 1, 3]", "offsets: [0, 1, 24]\nlayers: [0, 4]\nbaselines: [zero-shot-json]\nzero_shot: {json_tokens: 4}"),
    ("probes: [{kind: logistic, c: [0.01]}, {kind: mlp, hidden: 8}]", "probes: [{kind: mean-difference}]"),
];

fn export(sandbox: &Sandbox, further: &[&str]) -> Value {
    sandbox.json(&[&["export", "small", "--store", "store", "--out", "to", "--json"], further].concat())
}

fn table(sandbox: &Sandbox, name: &str) -> Vec<RecordBatch> {
    let file = std::fs::File::open(sandbox.path("to").join(name)).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// The artifacts of that name of the units that a selector means, unit by unit.
fn artifacts(sandbox: &Sandbox, selector: &str, name: &str) -> Vec<Vec<u8>> {
    let shown = sandbox.limbic(&["show", selector, "--store", "store", "--json"]).stdout;
    let objects: BTreeMap<String, Vec<u8>> = sandbox.objects("data").into_iter().collect();
    let of = |line: &str| {
        let unit: Value = serde_json::from_str(line).unwrap();
        let (key, attempt) = (unit["unit"].as_str().unwrap(), unit["commit"]["attempt"].as_str().unwrap());
        let found = objects.iter().find(|(path, _)| path.contains(key) && path.contains(attempt) && path.ends_with(name));
        found.unwrap_or_else(|| panic!("{key} has no {name}")).1.clone()
    };
    shown.lines().map(of).collect()
}

/// An array's shape, and its numbers row by row; read as NumPy reads it.
fn array(sandbox: &Sandbox, file: &str) -> (usize, usize, Vec<Vec<f32>>) {
    let bytes = std::fs::read(sandbox.path("to").join(file)).unwrap();
    let head = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..10 + head]).unwrap();
    let shape: Vec<usize> = text.split(['(', ')']).nth(1).unwrap().split(", ").map(|n| n.parse().unwrap()).collect();
    let numbers = bytes[10 + head..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    let numbers: Vec<f32> = numbers.collect();
    assert_eq!(numbers.len(), shape[0] * shape[1], "{file}: {text}");
    (shape[0], shape[1], numbers.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect())
}

fn list(batch: &RecordBatch, column: &str, row: usize) -> Vec<u32> {
    let lists = batch.column_by_name(column).unwrap().as_list::<i32>().value(row);
    lists.as_primitive::<UInt32Type>().values().to_vec()
}

#[test]
fn tables_and_arrays_hold_what_lies_in_the_store() {
    let sandbox = sandbox();
    sandbox.small(&SPEC);
    sandbox.json(&RUN);
    let rows = Rows::from_bytes(&sandbox.objects("rows")[0].1).unwrap();
    let done = export(&sandbox, &["--states", "condition=calm layer=4 offset=0,24"]);
    let files = ["rows.parquet", "tokens.parquet", "answers.parquet", "L4.k0.npy", "L4.k24.npy", "L4.k24.masked-prompt.npy", "export.json"];
    let at = |name: &str| if name.ends_with("npy") { format!("states/tiny-0.3m/calm/{name}") } else { name.to_owned() };
    assert_eq!(done["files"], serde_json::json!(files.map(at)), "{done}");
    assert_eq!(done["notes"], serde_json::json!([]));

    let mut count = 0;
    for batch in table(&sandbox, "rows.parquet") {
        for at in 0..batch.num_rows() {
            let row = &rows.rows[count];
            let class = rows.classes[row.class as usize].as_str();
            let expected = [&row.id, &row.text, row.split.as_str(), &row.group, class, &count.to_string()];
            let found = ["row_id", "text", "split", "group", "class", "row"].map(|column| words(&batch, column, at).unwrap());
            assert_eq!(found.each_ref().map(String::as_str), expected);
            assert!(batch.column_by_name("values").unwrap().is_null(at), "single classes have no values");
            count += 1;
        }
    }
    assert_eq!(count, rows.rows.len());

    let mut written: BTreeMap<(String, String), RowTokens> = BTreeMap::new();
    for condition in ["raw", "calm"] {
        for bytes in artifacts(&sandbox, &format!("kind=extract condition={condition}"), "tokens.json") {
            let all: Vec<RowTokens> = serde_json::from_slice(&bytes).unwrap();
            written.extend(all.into_iter().map(|row| ((condition.to_owned(), row.id.clone()), row)));
        }
    }
    for batch in table(&sandbox, "tokens.parquet") {
        for at in 0..batch.num_rows() {
            let cell = |column: &str| words(&batch, column, at);
            let row = written.remove(&(cell("condition").unwrap(), cell("row_id").unwrap())).expect("each row once");
            assert_eq!((list(&batch, "prompt_tokens", at), list(&batch, "reply_tokens", at)), (row.prompt, row.reply));
            assert_eq!((cell("reply").as_ref(), cell("sampling_seed")), (Some(&row.reply_text), None));
            let utterance = [row.utterance.0, row.utterance.1].map(|token| Some(token.to_string()));
            assert_eq!([cell("utterance_from"), cell("utterance_to")], utterance);
        }
    }
    assert!(written.is_empty(), "{} rows are not in the table", written.len());

    let asked = artifacts(&sandbox, "kind=prompt", "answers.json");
    let mut answers = asked.iter().flat_map(|bytes| serde_json::from_slice::<Vec<Answer>>(bytes).unwrap());
    for batch in table(&sandbox, "answers.parquet") {
        for at in 0..batch.num_rows() {
            let answer = answers.next().expect("no more rows than answers");
            assert_eq!(["row_id", "answer"].map(|column| words(&batch, column, at)), [Some(answer.id), Some(answer.text)]);
            assert_eq!(words(&batch, "asked", at).as_deref(), Some("zero-shot-json"));
        }
    }
    assert!(answers.next().is_none());

    let index: Value = serde_json::from_slice(&std::fs::read(sandbox.path("to/export.json")).unwrap()).unwrap();
    for (name, read_out) in [("L4.k0.npy", "L4.k0"), ("L4.k24.npy", "L4.k24"), ("L4.k24.masked-prompt.npy", "L4.k24.masked-prompt")] {
        let (count, width, found) = array(&sandbox, &at(name));
        let mut expected: BTreeMap<String, Option<Vec<f32>>> = BTreeMap::new();
        for (states, tokens) in artifacts(&sandbox, "kind=extract condition=calm", "states.safetensors").iter().zip(artifacts(
            &sandbox,
            "kind=extract condition=calm",
            "tokens.json",
        )) {
            let tokens: Vec<RowTokens> = serde_json::from_slice(&tokens).unwrap();
            let file = SafeTensors::deserialize(states).unwrap();
            let numbers: Vec<f32> =
                file.tensor(read_out).unwrap().data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            for (row, state) in tokens.iter().zip(numbers.chunks_exact(width)) {
                let reached = !read_out.contains("k24") || row.reply.len() >= 24;
                expected.insert(row.id.clone(), reached.then(|| state.to_vec()));
            }
        }
        assert_eq!(count, rows.rows.len());
        let reached = expected.values().filter(|state| state.is_some()).count();
        assert_eq!(reached < count, read_out.contains("k24"), "{reached} replies of {count} are that long");
        for (row, state) in rows.rows.iter().zip(&found) {
            match &expected[&row.id] {
                Some(stored) => assert!(stored == state, "{read_out}, row {}", row.id),
                None => assert!(state.iter().all(|number| number.is_nan()), "{read_out}, row {}: there is no state", row.id),
            }
        }
        let entry = index["states"].as_array().unwrap().iter().find(|entry| entry["file"] == at(name)).unwrap();
        assert_eq!((&entry["states"], &entry["width"], &entry["layer"]), (&reached.into(), &width.into(), &4.into()));
    }

    // Further arrays come beside those that are there; the same ones again change nothing.
    let before = std::fs::read(sandbox.path("to").join(at("L4.k0.npy"))).unwrap();
    export(&sandbox, &["--states", "condition=raw layer=0 offset=0"]);
    export(&sandbox, &["--states", "condition=calm layer=4 offset=0"]);
    let index: Value = serde_json::from_slice(&std::fs::read(sandbox.path("to/export.json")).unwrap()).unwrap();
    assert_eq!(index["states"].as_array().unwrap().len(), 4, "{index}");
    assert!(before == std::fs::read(sandbox.path("to").join(at("L4.k0.npy"))).unwrap());
}

#[test]
fn what_is_not_there_is_said_and_the_rest_is_written() {
    let sandbox = sandbox();
    sandbox.small(&SPEC);
    sandbox.json(&RUN);
    let said = |arguments: &[&str]| {
        let ended = sandbox.limbic(&[&["export", "small", "--store", "store", "--out", "to"], arguments].concat());
        (ended.code, ended.stderr)
    };
    let (code, message) = said(&["--states", "layer=3"]);
    assert!(code == Some(2) && message.contains("--states: selector `layer=3`: the sweep has no such layer; it has 0, 4"), "{message}");
    let (code, message) = said(&["--states", "layers=4"]);
    assert!(code == Some(2) && message.contains("--states: selector `layers=4`: there is no key"), "{message}");
    let (code, message) = said(&["--states", "layer=4 kind=fit"]);
    assert!(code == Some(2) && message.contains("nothing that is done has all of these values"), "{message}");
    assert!(!sandbox.path("to").exists(), "nothing is written before all is known to be there");

    // A folder has the export of one sweep.
    export(&sandbox, &[]);
    let other = [&SPEC[..], &[("name: small", "name: other"), ("limit: 210", "limit: 140")]].concat();
    sandbox.small(&other);
    sandbox.json(&RUN);
    let ended = sandbox.limbic(&["export", "other", "--store", "store", "--out", "to"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("the export of another sweep") && ended.stderr.contains("(small)"), "{ended:?}");

    // States that were removed once they had been read; whoever wants them keeps them.
    let released = [&other[..], &[("rows_per_unit: 30", "rows_per_unit: 30, activations: release")]].concat();
    sandbox.small(&released);
    sandbox.json(&RUN);
    let done = sandbox.json(&["export", "other", "--store", "store", "--out", "gone", "--json", "--states", "condition=raw"]);
    let expected = "tiny-0.3m under raw: its states were removed once they had been read (execution.activations: release)";
    assert_eq!(done["notes"], serde_json::json!([expected]));
    assert!(sandbox.path("gone/tokens.parquet").exists() && !sandbox.path("gone/states").exists());

    // Of units that are not there yet nothing is said.
    for (path, _) in sandbox.objects("commit") {
        std::fs::remove_file(sandbox.path("store").join(path)).unwrap();
    }
    let done = sandbox.json(&["export", "small", "--store", "store", "--out", "empty", "--json", "--states", "all"]);
    let notes: Vec<&str> = done["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0] == "tiny-0.3m under raw: 7 of 7 extract units are not done yet, so it is left out", "{notes:?}");
    assert!(notes[2].starts_with("answers: ") && notes[2].ends_with("so theirs are left out"), "{notes:?}");
    assert_eq!(table(&sandbox, "rows.parquet").iter().map(RecordBatch::num_rows).sum::<usize>(), 210);
}
