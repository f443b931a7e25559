//! What each label scheme makes of a file: several classes, intensities, numbers on scales.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int8Array, RecordBatch, StringArray};
use limbic::dataset::ingest;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::{error, file, ingested, spec, text};

fn row<'a>(rows: &'a Rows, id: &str) -> &'a Row {
    rows.rows.iter().find(|r| r.id == id).unwrap_or_else(|| panic!("no row `{id}`"))
}

/// Forty rows whose labels go round: joy; joy and fear; none; anger, joy and fear.
fn several() -> String {
    let labels = |i: usize| [json!(["joy"]), json!(["joy", "fear"]), json!([]), json!(["anger", "joy", "fear"])][i % 4].clone();
    (0..40).map(|i| json!({"id": format!("r{i}"), "text": text(i), "labels": labels(i)}).to_string() + "\n").collect()
}

#[test]
fn rows_of_several_classes_have_a_number_for_each() {
    let done = ingested(json!({"scheme": "multi"}), "d.jsonl", &several());
    assert_eq!((done.rows.scheme, done.rows.classes.as_slice()), (Scheme::Multi, ["anger", "fear", "joy"].map(str::to_owned).as_slice()));
    let values = |id| row(&done.rows, id).values.clone();
    assert_eq!([values("r0"), values("r1"), values("r2"), values("r3")], [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0; 3], [1.0; 3]]);
    // The rarest of several; 0 where there is none.
    assert_eq!(["r0", "r1", "r2", "r3"].map(|id| row(&done.rows, id).class), [2, 1, 0, 0]);
    assert_eq!(done.notes[0], "d.jsonl: 40 rows, 3 classes in column `labels`: anger, fear, joy");
    assert_eq!(done.notes[1], "labels: 1.50 classes a row on average; 10 rows have none");
}

#[test]
fn every_one_of_several_classes_and_none_has_its_share_of_every_split() {
    for seed in 0..10 {
        let done = ingested(
            json!({"scheme": "multi", "seed": seed, "shares": {"train": 0.6, "validation": 0.2, "test": 0.2}}),
            "d.jsonl",
            &several(),
        );
        let count = |split, has: &dyn Fn(&Row) -> bool| done.rows.rows.iter().filter(|r| r.split == split && has(r)).count() as f64;
        let marks: [&dyn Fn(&Row) -> bool; 4] =
            [&|r| r.values[0] > 0.0, &|r| r.values[1] > 0.0, &|r| r.values[2] > 0.0, &|r| r.values.iter().all(|v| *v == 0.0)];
        for (has, total) in marks.into_iter().zip([10.0, 20.0, 30.0, 10.0]) {
            for (split, share) in Split::ALL.into_iter().zip([0.6, 0.2, 0.2]) {
                let found = count(split, has);
                assert!((found - total * share).abs() <= 1.5, "seed {seed}, {split:?}: {found} of {total}");
            }
        }
    }
}

#[test]
fn maps_and_orders_apply_to_several_labels() {
    let fields = json!({"scheme": "multi", "label_map": {"joy": "good", "anger": "bad", "fear": "bad"}, "labels": ["good", "bad", "odd"]});
    let done = ingested(fields, "d.jsonl", &several());
    assert_eq!(done.rows.classes, ["good", "bad", "odd"]);
    assert_eq!(row(&done.rows, "r3").values, [1.0, 1.0, 0.0]);
    assert!(done.notes.contains(&"labels: no row has the class `odd`".to_owned()), "{:?}", done.notes);
}

#[test]
fn a_class_that_lacks_a_split_is_told_where_rows_have_several() {
    let words = ["train", "validation", "test"];
    let line = |i: usize| {
        let labels = if i == 0 { json!(["a", "rare"]) } else { json!([if i.is_multiple_of(2) { "a" } else { "b" }]) };
        json!({"text": text(i), "labels": labels, "split": words[i % 3]}).to_string() + "\n"
    };
    let file: String = (0..30).map(line).collect();
    let done = ingested(json!({"scheme": "multi"}), "d.jsonl", &file);
    assert!(done.notes.contains(&"labels: no row of class `rare` is in validation or test".to_owned()), "{:?}", done.notes);
}

#[test]
fn columns_of_ones_and_zeros_are_several_labels() {
    let line = |i: usize| format!("{},{},{},{}\n", text(i), i % 2, u8::from(i.is_multiple_of(3)), "0");
    let csv = "text,joy,fear,odd\n".to_owned() + &(0..30).map(line).collect::<String>();
    let done = ingested(json!({"scheme": "multi", "values": ["joy", "fear", "odd"]}), "d.csv", &csv);
    assert_eq!(done.rows.classes, ["joy", "fear", "odd"], "in the spec's order");
    assert_eq!([row(&done.rows, "1"), row(&done.rows, "4")].map(|r| r.values.clone()), [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]);
    let bad = csv.replacen(",0,1,0\n", ",0,2,0\n", 1);
    assert_eq!(
        error(json!({"scheme": "multi", "values": ["joy", "fear"]}), "d.csv", &bad),
        "d.csv, line 2, column `fear`: expected 0 or 1, found `2`"
    );
}

/// Thirty rows of intensities as the published corpora write them: absent = 0, and no map at all where nothing is felt.
fn intense() -> String {
    let line = |i: usize| {
        let map = [json!({"fear": 3.0, "joy": 1.0}), json!({"joy": 2}), json!({"fear": 0, "joy": 0}), json!(null)][i % 4].clone();
        let mut row = json!({"id": format!("r{i}"), "text": text(i)});
        if !map.is_null() {
            row["intensity"] = map;
        }
        row.to_string() + "\n"
    };
    (0..32).map(line).collect()
}

#[test]
fn a_map_of_levels_is_an_intensity_for_every_class() {
    let done = ingested(json!({"scheme": "intensity", "label": "intensity"}), "d.jsonl", &intense());
    assert_eq!(done.rows.classes, ["fear", "joy"]);
    assert_eq!(["r0", "r1", "r2", "r3"].map(|id| row(&done.rows, id).values.clone()), [[3.0, 1.0], [0.0, 2.0], [0.0; 2], [0.0; 2]]);
    assert_eq!(["r0", "r1", "r2"].map(|id| row(&done.rows, id).class), [0, 1, 0], "the class of the highest level");
    assert_eq!(done.notes[0], "d.jsonl: 32 rows, 2 classes at levels 0 to 3 in column `intensity`: fear, joy");
    assert_eq!(done.notes[1], "labels: 0.75 classes a row on average; 16 rows have none");
    let mapped = json!({"scheme": "intensity", "label": "intensity", "label_map": {"fear": "any", "joy": "any"}});
    assert_eq!(row(&ingested(mapped, "d.jsonl", &intense()).rows, "r0").values, [3.0], "the highest of those that are one");
}

#[test]
fn levels_are_whole_numbers() {
    let says = |map: &str, words: &str| {
        let lines = format!("{}{{\"text\":\"t\",\"intensity\":{map}}}\n", intense());
        assert_eq!(
            error(json!({"scheme": "intensity", "label": "intensity"}), "d.jsonl", &lines),
            format!("d.jsonl, line 33, column `intensity`: {words}")
        );
    };
    says(r#"{"fear":1.5}"#, "expected a whole number in 0..100, found the number 1.5 for `fear`");
    says(r#"{"fear":-1}"#, "expected a whole number in 0..100, found the number -1 for `fear`");
    says(r#"{"fear":"much"}"#, "expected a whole number in 0..100, found `much` for `fear`");
    says(r#"[["fear",1]]"#, "expected a map from class to level (columns of numbers are named in `values`), found a list");
    let unknown = error(json!({"scheme": "intensity", "label": "intensity", "labels": ["fear", "anger"]}), "d.jsonl", &intense());
    assert!(unknown.starts_with("d.jsonl, line 1, column `intensity`: unknown label `joy`"), "{unknown}");
    assert_eq!(
        error(json!({"scheme": "multi"}), "d.jsonl", "{\"text\":\"t\",\"labels\":[]}\n"),
        "d.jsonl: none of its 1 rows has a label; check `dataset.label` and `dataset.values`"
    );
}

#[test]
fn columns_of_levels_are_intensities_in_every_format() {
    let fields = || json!({"scheme": "intensity", "values": ["joy", "fear"], "id": "n"});
    let tsv =
        "n\ttext\tjoy\tfear\n".to_owned() + &(0..30).map(|i| format!("r{i}\t{}\t{}\t{}\n", text(i), i % 4, 3 - i % 4)).collect::<String>();
    let expected = ingested(fields(), "d.tsv", &tsv);
    assert_eq!(row(&expected.rows, "r1").values, [1.0, 2.0]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(StringArray::from_iter_values((0..30).map(|i| format!("r{i}"))))),
        ("text", Arc::new(StringArray::from_iter_values((0..30).map(text)))),
        ("joy", Arc::new(Int8Array::from_iter_values((0..30).map(|i| i % 4)))),
        ("fear", Arc::new(Float32Array::from_iter_values((0..30u8).map(|i| f32::from(3 - i % 4))))),
    ];
    let done = ingest(&spec(fields()), vec![file("d.parquet", parquet(columns))], &[]).unwrap();
    assert_eq!(done.rows, expected.rows);
}

#[test]
fn truth_values_are_ones_and_zeros() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from_iter_values((0..30).map(text)))),
        ("joy", Arc::new(BooleanArray::from_iter((0..30).map(|i| Some(i % 2 == 0))))),
    ];
    let fields = json!({"scheme": "multi", "values": ["joy"]});
    let done = ingest(&spec(fields.clone()), vec![file("d.parquet", parquet(columns))], &[]).unwrap();
    assert_eq!(done.rows.rows.iter().map(|r| r.values[0]).sum::<f32>(), 15.0);
    let lines: String = (0..30).map(|i| json!({"text": text(i), "joy": i.is_multiple_of(2)}).to_string() + "\n").collect();
    assert_eq!(ingested(fields, "d.jsonl", &lines).rows.rows, done.rows.rows);
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Rows on two scales, the first from 1 to 5.
fn scaled(rows: usize) -> String {
    (0..rows)
        .map(|i| json!({"text": text(i), "valence": 1.0 + 4.0 * i as f64 / (rows - 1) as f64, "arousal": 3}).to_string() + "\n")
        .collect()
}

#[test]
fn numbers_on_scales_take_the_place_of_classes() {
    let fields = || json!({"scheme": "continuous", "values": ["valence", "arousal"]});
    let done = ingested(fields(), "d.jsonl", &scaled(101));
    assert_eq!(done.rows.classes, ["valence", "arousal"]);
    assert_eq!(row(&done.rows, "26").values, [2.0, 3.0]);
    assert!(done.rows.rows.iter().all(|r| r.class == 0));
    assert_eq!(done.notes[0], "d.jsonl: 101 rows, 2 scales: valence 1 to 5 (mean 3.00), arousal 3 to 3 (mean 3.00)");
    // Every fifth of the first scale has its share of every split.
    for (split, share) in Split::ALL.into_iter().zip([0.7, 0.15, 0.15]) {
        for fifth in 0..5 {
            let (from, to) = (1.0 + 0.8 * fifth as f32, 1.8 + 0.8 * fifth as f32);
            let found = done.rows.rows.iter().filter(|r| r.split == split && (from..to).contains(&r.values[0])).count();
            assert!((found as f64 - 20.0 * share).abs() <= 1.5, "{split:?}, fifth {fifth}: {found}");
        }
    }
    let limited = json!({"scheme": "continuous", "values": ["valence", "arousal"], "limit": 50});
    let done = ingested(limited, "d.jsonl", &scaled(101));
    assert_eq!(done.rows.rows.len(), 50);
    assert_eq!(done.rows.rows.iter().filter(|r| r.values[0] < 1.8).count(), 10, "each fifth gives as much");
    let bad = scaled(101).replacen("\"arousal\":3", "\"arousal\":\"high\"", 1);
    assert_eq!(error(fields(), "d.jsonl", &bad), "d.jsonl, line 1, column `arousal`: expected a number, found `high`");
    let lacking = scaled(101).replacen(",\"arousal\":3", "", 1).replacen("\"arousal\":3,", "", 1);
    assert_eq!(error(fields(), "d.jsonl", &lacking), "d.jsonl, line 1, column `arousal`: expected a number, found nothing");
}

#[test]
fn equal_numbers_are_stratified_together() {
    let lines: String = (0..60).map(|i| json!({"text": text(i), "v": i32::from(i >= 50)}).to_string() + "\n").collect();
    let done = ingested(json!({"scheme": "continuous", "values": ["v"]}), "d.jsonl", &lines);
    for (split, share) in Split::ALL.into_iter().zip([0.7, 0.15, 0.15]) {
        let found = done.rows.rows.iter().filter(|r| r.split == split && r.values[0] == 1.0).count() as f64;
        assert!((found - 10.0 * share).abs() <= 1.0, "{split:?}: {found}");
    }
}
