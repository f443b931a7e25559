//! Fine labels become coarse classes.

use serde_json::json;

use crate::{error, ingested, lines};

const FINE: &str = r#"{"text":"t1","labels":["joy"]}
{"text":"t2","labels":["amusement","joy"]}
{"text":"t3","labels":["annoyance"]}
{"text":"t4","labels":["anger","annoyance"]}
{"text":"t5","labels":["love"]}
{"text":"t6","labels":["anger"]}
{"text":"t7","labels":["anger","love"]}
{"text":"t8","labels":[]}
"#;

fn map() -> serde_json::Value {
    json!({"joy": "happiness", "amusement": "happiness", "love": "happiness", "annoyance": "anger"})
}

#[test]
fn lists_of_fine_labels_are_mapped_and_rows_of_several_classes_skipped() {
    let done = ingested(json!({"label_map": map(), "multiple_labels": "skip"}), "d.jsonl", FINE);
    assert_eq!(done.rows.classes, ["anger", "happiness"]);
    let mut rows: Vec<_> = done.rows.rows.iter().map(|r| (r.text.as_str(), r.class)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [("t1", 1), ("t2", 1), ("t3", 0), ("t4", 0), ("t5", 1), ("t6", 0)]);
    let told = "multiple_labels skip: 1 rows of several labels and 1 without a label were left out".to_owned();
    assert!(done.notes.contains(&told), "{:?}", done.notes);
}

#[test]
fn labels_that_are_no_class_are_refused_skipped_with_their_rows_or_ignored() {
    let fields = |unknown: &str| json!({"labels": ["joy", "anger"], "unknown_labels": unknown, "multiple_labels": "skip", "near_duplicates": "ignore"});
    let row = |label: &str, i: usize| format!("{{\"text\":\"{label} {i}\",\"labels\":[\"{label}\"]}}\n");
    let more: String = ["joy", "anger"].iter().flat_map(|label| (0..3).map(move |i| row(label, i))).collect::<String>() + FINE;
    let kept = |unknown: &str| {
        let done = ingested(fields(unknown), "d.jsonl", &more);
        let mut rows: Vec<(String, String)> = done.rows.rows.iter().map(|r| (r.id.clone(), r.text.clone())).collect();
        rows.sort_by_key(|(id, _)| id.parse::<usize>().unwrap());
        // The id is the row's number in the file, whatever was left out before it.
        assert!(rows.iter().all(|(id, text)| more.lines().nth(id.parse::<usize>().unwrap() - 1).unwrap().contains(&format!("\"{text}\""))));
        (rows.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), done.notes)
    };
    assert!(error(fields("error"), "d.jsonl", &more).contains("unknown label `amusement`"));
    let (rows, notes) = kept("skip");
    assert_eq!(rows, ["joy 0", "joy 1", "joy 2", "anger 0", "anger 1", "anger 2", "t1", "t6"]);
    let told = "unknown_labels skip: 5 rows with labels that are no class were left out: `annoyance` (2), `love` (2), `amusement` (1)";
    assert!(notes.contains(&told.to_owned()), "{notes:?}");
    let (rows, notes) = kept("ignore");
    assert_eq!(rows, ["joy 0", "joy 1", "joy 2", "anger 0", "anger 1", "anger 2", "t1", "t2", "t4", "t6", "t7"]);
    let told = "unknown_labels ignore: labels of 5 rows that are no class were left out: `annoyance` (2), `love` (2), `amusement` (1)";
    assert!(notes.contains(&told.to_owned()), "{notes:?}");
    assert!(notes.contains(&"multiple_labels skip: 0 rows of several labels and 3 without a label were left out".to_owned()), "{notes:?}");
    let none = json!({"labels": ["grief"], "unknown_labels": "skip"});
    let said = error(none, "d.jsonl", "{\"text\":\"t\",\"label\":\"joy\"}\n");
    assert!(said.contains("every row has a label that is no class"), "{said}");
}

#[test]
fn the_spec_orders_the_classes() {
    let fields = json!({"label_map": map(), "multiple_labels": "skip", "labels": ["happiness", "anger"]});
    let done = ingested(fields, "d.jsonl", FINE);
    assert_eq!(done.rows.classes, ["happiness", "anger"]);
    assert_eq!(done.rows.rows[0].class, 0);
    assert_eq!(ingested(json!({}), "d.jsonl", &lines(&[4, 3, 5])).rows.classes, ["c0", "c1", "c2"]);
}

#[test]
fn labels_that_are_mapped_and_that_no_row_has_are_told() {
    let told = |map: serde_json::Value| {
        let notes = ingested(json!({"label_map": map, "multiple_labels": "skip"}), "d.jsonl", FINE).notes;
        notes.into_iter().find(|note| note.starts_with("dataset.label_map"))
    };
    assert_eq!(told(map()), None);
    let mut misspelt = map();
    misspelt["joys"] = misspelt["joy"].clone();
    assert_eq!(told(misspelt.clone()).unwrap(), "dataset.label_map: no row has the label `joys`");
    misspelt["angr"] = "anger".into();
    let said = told(misspelt).unwrap();
    assert_eq!(said, "dataset.label_map: no row has the label `angr` or `joys`; did you mean `anger` by `angr`?");
}

#[test]
fn lists_in_a_text_are_split_where_their_separator_is_said() {
    let rows = ["2,27", "2", "27", "3", "3,2", "27", "3", "2"];
    let text: String = rows.iter().enumerate().map(|(i, labels)| format!("word {i} of its own\t{labels}\n")).collect();
    let text = format!("text\tlabel\n{text}");
    let fields = |more: serde_json::Value| {
        let mut fields =
            json!({"scheme": "multi", "near_duplicates": "ignore", "shares": {"train": 0.5, "validation": 0.25, "test": 0.25}});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let told = "labels: `2,27` and 1 other look like lists of labels; `label_separator: \",\"` splits them";
    let whole = ingested(fields(json!({})), "d.tsv", &text);
    assert_eq!(whole.rows.classes, ["2", "2,27", "27", "3", "3,2"]);
    assert!(whole.notes.iter().any(|note| note == told), "{:?}", whole.notes);
    let split = ingested(fields(json!({"label_separator": ","})), "d.tsv", &text);
    assert_eq!(split.rows.classes, ["2", "27", "3"]);
    assert!(!split.notes.iter().any(|note| note.contains("look like lists")));
    // As Python writes a list.
    let python = "text,label\na one,\"['joy', 'love']\"\nb two,['joy']\nc three,['love']\nd four,[]\n";
    let python = ingested(fields(json!({"label_separator": ","})), "d.csv", python);
    assert_eq!(python.rows.classes, ["joy", "love"]);
}

#[test]
fn a_class_that_is_another_but_for_a_slip_is_told() {
    let told = |target: &str| {
        let map = json!({"c0": "anger", "c1": target, "c2": "fear"});
        let notes = ingested(json!({"label_map": map}), "d.jsonl", &lines(&[4, 3, 5])).notes;
        notes.into_iter().find(|note| note.contains("differ in a slip"))
    };
    let expected = "dataset.label_map: `agner` and `anger` are two classes, though they differ in a slip of one letter; is one misspelt?";
    assert_eq!(told("agner").as_deref(), Some(expected));
    assert_eq!([told("danger2"), told("anguish"), told("ander")], [None, None, None]);
}

#[test]
fn classes_that_are_one_in_two_spellings_are_told() {
    let with = |class: &str, other: &str| {
        let more = lines(&[0, 3]).replace("c1", other).replace("word", "other");
        ingested(json!({}), "d.jsonl", &(lines(&[9, 9]).replace("c1", class) + &more))
    };
    let told = |class: &str, other: &str| with(class, other).notes.iter().any(|note| note.contains("are two classes"));
    // Accents composed or not, a zero-width space, decimals of a whole number.
    for (class, other) in [("c1", "C1"), ("fureur\u{e9}", "fureure\u{301}"), ("joy", "jo\u{200b}y"), ("1", "1.0")] {
        assert!(told(class, other), "{class} {other}");
    }
    assert!(!told("1", "2") && !told("nan", "inf"));
    assert_eq!(with("c1", " c1 ").rows.classes, ["c0", "c1"], "spaces around a label are no part of it");
}

#[test]
fn vectors_of_zeros_and_ones_are_no_lists_of_labels() {
    let lines = |vectors: &[&str]| -> String {
        vectors.iter().enumerate().map(|(i, vector)| format!("{{\"text\":\"text {i} of its own\",\"label\":{vector}}}\n")).collect()
    };
    let vectors = lines(&["[0,1,0]", "[1,0,0]", "[]", "[0,0,1]"]);
    let said = "d.jsonl, line 1, column `label`: lists of 3 zeros and ones are no lists of labels; give each class a column of its own and \
                name those in `dataset.values`, or write the labels' names; where they are labels that are called so, say `dataset.labels: ['0', '1']`";
    assert_eq!(error(json!({"scheme": "multi"}), "d.jsonl", &vectors), said);
    assert_eq!(error(json!({}), "d.jsonl", &lines(&["[0,1,0]", "[1,0,0]"])), said);
    // Two labels that are called so, and ones that the spec speaks of.
    let pairs = lines(&["[0,1]", "[1]", "[0]", "[0,1]"]);
    assert_eq!(ingested(json!({"scheme": "multi"}), "d.jsonl", &pairs).rows.classes, ["0", "1"]);
    let named = json!({"scheme": "multi", "label_map": {"0": "no", "1": "yes"}});
    assert_eq!(ingested(named, "d.jsonl", &vectors).rows.classes, ["no", "yes"]);
}

#[test]
fn a_row_without_a_label_is_one_of_none_or_skipped() {
    let rows: String = ["\"a\"", "null", "\"b\"", "\"\"", "\"a\"", "\"b\"", "\"a\"", "\"b\""]
        .iter()
        .enumerate()
        .map(|(i, label)| format!("{{\"text\":\"text {i} of its own\",\"label\":{label}}}\n"))
        .collect();
    let said = "d.jsonl, line 2, column `label`: the row has no label; leave it out, or set `multiple_labels: skip`";
    assert_eq!(error(json!({}), "d.jsonl", &rows), said);
    let skipped = ingested(json!({"multiple_labels": "skip"}), "d.jsonl", &rows);
    assert_eq!(skipped.rows.rows.len(), 6);
    assert!(skipped.notes.contains(&"multiple_labels skip: 0 rows of several labels and 2 without a label were left out".to_owned()));
    assert_eq!(ingested(json!({"scheme": "multi"}), "d.jsonl", &rows).rows.rows.len(), 8);
}

#[test]
fn classes_that_may_not_be_meant_are_told() {
    let notes = |labels: [&str; 2]| {
        let line = |i: usize| serde_json::json!({"text": crate::text(i), "label": labels[i % 2]}).to_string() + "\n";
        let lines: String = (0..20).map(line).collect();
        ingested(json!({}), "d.jsonl", &lines).notes.into_iter().find(|note| note.starts_with("labels: ")).unwrap_or_default()
    };
    assert!(notes(["joy", "NA"]).starts_with("labels: `NA` is a class, though it may stand for a missing label"));
    let lines = lines(&[9, 9]).replace("\"c1\"", "\"none\"");
    let listed = ingested(json!({"labels": ["c0", "none"]}), "d.jsonl", &lines).notes;
    assert!(!listed.iter().any(|note| note.contains("missing label")), "whoever lists it means it: {listed:?}");
    assert!(notes(["['joy']", "['fear']"]).contains("look like lists of labels; `label_separator: \",\"` splits them"));
    assert!(
        notes(["[0 1]", "[0]"]).contains("look like lists of labels; `label_separator: \" \"` splits them"),
        "{}",
        notes(["[0 1]", "[0]"])
    );
    assert_eq!(notes(["joy", "fear"]), "");
}
