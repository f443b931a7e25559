//! What every error says: file, line or row, column, what was found, what to do.

use limbic::dataset::ingest;
use serde_json::json;

use crate::{error, file, lines, spec};

#[test]
fn the_format_must_be_known_and_the_file_hold_rows() {
    assert_eq!(
        error(json!({}), "d.txt", "x"),
        "d.txt: the ending tells no format (.jsonl, .ndjson, .json, .csv, .tsv, .parquet do, all but the last also with .gz or .zst behind them); set `dataset.format` to jsonl, csv, tsv or parquet"
    );
    assert_eq!(error(json!({}), "d.jsonl", " \n\n"), "d.jsonl: holds no rows");
    assert_eq!(error(json!({}), "d.csv", "text,label\n"), "d.csv: holds no rows");
    assert!(error(json!({}), "d.parquet", "PAR").starts_with("d.parquet: can't be read as Parquet: "));
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let bytes = b"text,label\nfine,a\ncaf\xe9,b\n".to_vec();
    let e = ingest(&spec(json!({})), vec![file("d.csv", bytes)], &[]).unwrap_err();
    assert_eq!(e.to_string(), "d.csv, line 3: is not UTF-8 (byte 0xe9 at position 4 of the line); save the file as UTF-8");
}

#[test]
fn broken_syntax_is_located() {
    assert_eq!(
        error(json!({}), "d.jsonl", "{\"text\":\"a\",\"label\":\"b\"}\n\n{\"text\":\"a\",}\n"),
        "d.jsonl, line 3: is not JSON (column 13): trailing comma"
    );
    assert_eq!(
        error(json!({}), "d.jsonl", "[1]"),
        "d.jsonl, row 1: is not a JSON object (column 1): invalid type: integer `1`, expected a map"
    );
    assert_eq!(
        error(json!({}), "d.jsonl", "{\"text\":\"a\",\"label\":\"b\",\"text\":\"c\"}"),
        "d.jsonl, line 1: has the key `text` twice; keep one"
    );
    assert_eq!(error(json!({}), "d.csv", "text,label\r\na,b\r\n\r\na,b,c\r\n"), "d.csv, line 4: has 3 fields where the header has 2");
    assert_eq!(
        error(json!({}), "d.csv", "label,text\na,b\nc,\"d\ne,f\n"),
        "d.csv, line 3: a quote is opened here and never closed; quotes inside a quoted field are doubled"
    );
    // Two strays that pair up: the lines between them would be one text.
    assert_eq!(
        error(json!({}), "d.csv", "text,label\na,b\n\"oh no,b\nc,d\nhe said\" and went,b\n"),
        "d.csv, line 3: the field that is quoted from here on is closed before ` and went,b`, on line 5; quotes inside a quoted field are doubled"
    );
}

#[test]
fn missing_columns_list_those_there_are() {
    assert_eq!(
        error(json!({}), "d.csv", "Texts,labels\na,b\n"),
        "d.csv: has no column `text` (`dataset.text`); it has `Texts`, `labels`; did you mean `Texts`?"
    );
    assert_eq!(
        error(json!({"label": "emotion"}), "d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"a\",\"mood\":\"b\"}\n"),
        "d.jsonl: has no column `emotion` (`dataset.label`); it has `mood`, `text`"
    );
    assert_eq!(
        error(json!({"group": "author"}), "d.csv", "text,label,auhtor\n"),
        "d.csv: has no column `author` (`dataset.group`); it has `text`, `label`, `auhtor`; did you mean `auhtor`?"
    );
    assert_eq!(
        error(json!({}), "d.csv", "text,label,text\n"),
        "d.csv: has several columns named `text` (`dataset.text`); rename all but one"
    );
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    let cases = [
        (r#"{"text":3,"label":"a"}"#, "column `text`: expected a string, found the number 3"),
        (r#"{"text":null,"label":"a"}"#, "column `text`: the text is empty; leave the row out, or set `dataset.empty_texts: skip`"),
        (r#"{"text":" ","label":"a"}"#, "column `text`: the text is empty; leave the row out, or set `dataset.empty_texts: skip`"),
        (r#"{"text":"t","label":0.5}"#, "column `label`: expected a string, a whole number or a list of them, found the number 0.5"),
        (r#"{"text":"t","label":["a",{}]}"#, "column `label`: expected a string, a whole number or a list of them, found an object"),
        (r#"{"text":"t","label":""}"#, "column `label`: the row has no label; leave it out, or set `multiple_labels: skip`"),
        (r#"{"text":"t","label":[]}"#, "column `label`: the row has no label; leave it out, or set `multiple_labels: skip`"),
        (r#"{"text":"t","label":"a","id":true}"#, "column `id`: expected a string or a whole number, found `true`"),
    ];
    for (line, message) in cases {
        let good = r#"{"id":"x","text":"t","label":"a"}"#;
        let bad = if line.contains("id") { line.to_owned() } else { line.replacen('{', r#"{"id":"y","#, 1) };
        let found = error(json!({"id": "id"}), "d.jsonl", &format!("{good}\n{bad}\n"));
        assert_eq!(found, format!("d.jsonl, line 2, {message}"));
    }
}

#[test]
fn unknown_labels_name_the_classes() {
    assert_eq!(
        error(json!({"labels": ["joy", "anger"]}), "d.csv", "text,label\na,joy\nb,angr\n"),
        "d.csv, line 3, column `label`: unknown label `angr`: add it to `label_map` or `labels`, or set `unknown_labels: skip` to leave such rows out; the classes are `joy`, `anger`; did you mean `anger`?"
    );
    assert_eq!(
        error(json!({"label_map": {"love": "joy", "rage": "anger"}}), "d.csv", "text,label\na,anger\nb,grief\n"),
        "d.csv, line 3, column `label`: unknown label `grief`: add it to `label_map` or `labels`, or set `unknown_labels: skip` to leave such rows out; the classes are `anger`, `joy`"
    );
}

#[test]
fn rows_of_several_labels_are_refused_unless_skipped() {
    let line = r#"{"text":"t","labels":["a","b"]}"#;
    assert_eq!(
        error(json!({}), "d.jsonl", line),
        "d.jsonl, line 1, column `labels`: the row has several labels (a, b); set `multiple_labels: skip` to leave such rows out"
    );
    assert_eq!(
        error(json!({"multiple_labels": "skip"}), "d.jsonl", line),
        "d.jsonl: all 1 rows have several labels or none, and `multiple_labels: skip` leaves such rows out"
    );
}

#[test]
fn ids_are_unique_and_classes_several() {
    assert_eq!(
        error(json!({"id": "id"}), "d.csv", "id,text,label\n1,a,x\n2,b,y\n1,c,x\n"),
        "d.csv, line 4: the id `1` is already that of line 2; ids must be unique"
    );
    assert_eq!(error(json!({}), "d.csv", "text,label\na,x\nb,x\n"), "d.csv: has one class only (`x`); a probe needs at least two");
}

#[test]
fn a_column_of_texts_is_no_column_of_labels() {
    let lines: String = (0..150).map(|i| format!("{{\"text\":\"text {i} of its own\",\"label\":\"{i}\"}}\n")).collect();
    assert!(error(json!({}), "d.jsonl", &lines).contains("column `label` has 150 classes in 150 rows"));
}

#[test]
fn a_split_must_have_rows_of_every_class() {
    assert_eq!(
        error(json!({}), "d.jsonl", &lines(&[20, 2])),
        "d.jsonl: `train` would have no row of class `c1`, which has 2 rows in 2 groups; add rows, or merge the class into another with `label_map`"
    );
}
