//! Datasets.

use insta::assert_snapshot;

use crate::{limbic, sandbox, validate};

/// What `limbic validate` says of a dataset of that text.
fn of(name: &str, bytes: &[u8]) -> String {
    let sandbox = sandbox();
    sandbox.small(&[("{group: group, limit: 210, source: CORPUS}", &format!("{{source: {name}}}"))]);
    std::fs::write(sandbox.path(name), bytes).unwrap();
    limbic(&sandbox, &["validate", "small.yaml"])
}

#[test]
fn a_file_that_is_not_there() {
    assert_snapshot!(validate(&[("CORPUS", "rows.jsonl")]), @r#"
    exit 2
    error: dataset.source: `rows.jsonl` can't be read: No such file or directory (os error 2) (relative paths start at the spec's folder)
    "#);
    assert_snapshot!(validate(&[("CORPUS", "ftp://host/rows.jsonl")]), @r#"
    exit 2
    error: dataset.source: source `ftp://host/rows.jsonl`: Generic URL error: Unable to recognise URL "ftp://host/rows.jsonl": write a path, s3://…, gs://…, az://… or hf://datasets/OWNER/NAME/FILE
    "#);
}

#[test]
fn a_file_that_is_meant_twice() {
    let sandbox = sandbox();
    let source = "source: {train: 'd-*.jsonl', test: d-test.jsonl}";
    sandbox.small(&[("{group: group, limit: 210, source: CORPUS}", &format!("{{{source}}}"))]);
    for name in ["d-1.jsonl", "d-test.jsonl"] {
        sandbox.write(name, "{\"text\": \"Oh!\", \"label\": \"joy\"}\n");
    }
    assert_snapshot!(limbic(&sandbox, &["validate", "small.yaml"]), @r#"
    exit 2
    error: dataset.source: `d-test.jsonl` is meant twice, by `d-*.jsonl` and by `d-test.jsonl`; name it once
    "#);
}

#[test]
fn a_file_that_is_not_a_dataset() {
    assert_snapshot!(of("rows.jsonl", b""), @r#"
    exit 2
    error: rows.jsonl: holds no rows
    "#);
    assert_snapshot!(of("rows.jsonl", b"{\"text\": \"caf\xe9\", \"label\": \"joy\"}\n"), @r#"
    exit 2
    error: rows.jsonl, line 1: is not UTF-8 (byte 0xe9 at position 14 of the line); save the file as UTF-8
    "#);
    assert_snapshot!(of("rows.jsonl", b"{\"text\": \"coffee\", \"label\": \"joy\"}\n{\"text\": \"tea\",\n"), @r#"
    exit 2
    error: rows.jsonl, line 2: is not JSON (column 15): EOF while parsing a value
    "#);
    assert_snapshot!(of("rows.csv", b"text,label\ncoffee,joy\ntea,\n"), @r#"
    exit 2
    error: rows.csv, line 3, column `label`: the row has no label; leave it out, or set `multiple_labels: skip`
    "#);
    assert_snapshot!(of("rows.parquet", b"text,label\n"), @r#"
    exit 2
    error: rows.parquet: can't be read as Parquet: Parquet error: Invalid Parquet file. Corrupt footer
    "#);
    assert_snapshot!(of("rows.txt", b"coffee\n"), @r#"
    exit 2
    error: rows.txt: the ending tells no format (.jsonl, .ndjson, .json, .csv, .tsv, .parquet do, all but the last also with .gz or .zst behind them); set `dataset.format` to jsonl, csv, tsv or parquet
    "#);
}

#[test]
fn a_column_that_is_not_there() {
    assert_snapshot!(validate(&[("group: group", "group: groop")]), @r#"
    exit 2
    error: [repository]/configs/quickstart/corpus.jsonl: has no column `groop` (`dataset.group`); it has `group`, `id`, `label`, `text`; did you mean `group`?
    "#);
}

#[test]
fn a_label_that_is_not_known() {
    assert_snapshot!(validate(&[("group: group", "group: group, labels: [anger, disgust, fear, happy]")]), @r#"
    exit 2
    error: [repository]/configs/quickstart/corpus.jsonl, line 4, column `label`: unknown label `happiness`: add it to `label_map` or `labels`, or set `unknown_labels: skip` to leave such rows out; the classes are `anger`, `disgust`, `fear`, `happy`
    "#);
}

#[test]
fn one_of_several_files_that_is_wrong() {
    let sandbox = sandbox();
    sandbox.small(&[("{group: group, limit: 210, source: CORPUS}", "{source: [good.csv, bad.csv]}")]);
    sandbox.write("good.csv", "text,label\ncoffee,joy\n");
    assert_snapshot!(limbic(&sandbox, &["validate", "small.yaml"]), @r#"
    exit 2
    error: dataset.source: `bad.csv` can't be read: No such file or directory (os error 2) (relative paths start at the spec's folder)
    "#);
    sandbox.write("bad.csv", "text,label\ntea,joy\n,fear\n");
    assert_snapshot!(limbic(&sandbox, &["validate", "small.yaml"]), @r#"
    exit 2
    error: bad.csv, line 3, column `text`: the text is empty; leave the row out, or set `dataset.empty_texts: skip`
    "#);
}

#[test]
fn levels_that_are_none() {
    let sandbox = sandbox();
    sandbox.small(&[("{group: group, limit: 210, source: CORPUS}", "{source: rows.jsonl, scheme: intensity, label: intensity}")]);
    sandbox
        .write("rows.jsonl", "{\"text\": \"coffee\", \"intensity\": {\"joy\": 2}}\n{\"text\": \"tea\", \"intensity\": {\"joy\": 2.5}}\n");
    assert_snapshot!(limbic(&sandbox, &["validate", "small.yaml"]), @r#"
    exit 2
    error: rows.jsonl, line 2, column `intensity`: expected a whole number in 0..100, found the number 2.5 for `joy`
    "#);
}

#[test]
fn examples_and_stimuli_that_are_not_there() {
    let conditions = |with: &str| validate(&[("{name: raw}", &format!("{{name: raw, {with}}}"))]);
    assert_snapshot!(conditions("few_shot: {per_class: 25}"), @r#"
    exit 2
    error: conditions: `few_shot` draws 25 examples of each class from train, which has 21 usable rows of class `anger`, and one must stay: lower `per_class`, or add rows
    "#);
    assert_snapshot!(conditions("stimuli: {source: none.jsonl}"), @r#"
    exit 2
    error: conditions[0].stimuli.source: `none.jsonl` can't be read: No such file or directory (os error 2) (relative paths start at the spec's folder)
    "#);
}

#[test]
fn a_split_without_a_class() {
    let few = |class: &str, n: usize| {
        (0..n).map(|i| format!("{{\"text\": \"{class} number {i}\", \"label\": \"{class}\"}}\n")).collect::<String>()
    };
    assert_snapshot!(of("rows.jsonl", (few("joy", 40) + &few("fear", 2)).as_bytes()), @r#"
    exit 2
    error: rows.jsonl: `train` would have no row of class `fear`, which has 2 rows in 2 groups; add rows, or merge the class into another with `label_map`
    "#);
    let given = |class: &str, split: &str| format!("{class} in {split},{class},{split}\n");
    let sandbox = sandbox();
    sandbox.small(&[("{group: group, limit: 210, source: CORPUS}", "{source: rows.csv, split: split}")]);
    let rows = [("joy", "train"), ("fear", "train"), ("joy", "validation"), ("fear", "validation"), ("joy", "test")];
    sandbox.write("rows.csv", &("text,label,split\n".to_owned() + &rows.map(|(class, split)| given(class, split)).concat()));
    assert_snapshot!(limbic(&sandbox, &["validate", "small.yaml"]), @r#"
    exit 2
    error: rows.csv: `test` would have no row of class `fear`, which has 2 rows in 2 groups; add rows, or merge the class into another with `label_map`
    "#);
}
