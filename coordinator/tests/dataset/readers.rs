//! Every format gives the same rows.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray,
};
use limbic::dataset::ingest;
use limbic_proto::rows::{Row, Split};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::{error, file, ingested, spec};

/// Six rows: the smallest dataset with two classes in three splits.
const ROWS: [(&str, &str, &str, &str); 6] = [
    ("a1", "I am glad, \"truly\" glad.", "joy", "train"),
    ("a2", "Who took my chair?", "anger", "train"),
    ("b1", "What a lovely day", "joy", "dev"),
    ("b2", "Get out of my sight", "anger", "val"),
    ("c1", "Best news in weeks ☀️", "joy", "test"),
    ("c2", "They lied to us again", "anger", "TEST"),
];

fn assert_rows(rows: &[Row]) {
    let ids: Vec<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["a1", "a2", "b1", "b2", "c1", "c2"]);
    let texts: Vec<&str> = rows.iter().map(|r| r.text.as_str()).collect();
    assert_eq!(texts, ROWS.map(|r| r.1));
    assert_eq!(rows.iter().map(|r| r.class).collect::<Vec<_>>(), [1, 0, 1, 0, 1, 0]);
    let splits = [Split::Train, Split::Train, Split::Validation, Split::Validation, Split::Test, Split::Test];
    assert_eq!(rows.iter().map(|r| r.split).collect::<Vec<_>>(), splits);
    assert!(rows.iter().all(|r| r.weight == 1 && r.group == r.id));
}

#[test]
fn json_lines_with_a_byte_order_mark_blank_lines_and_carriage_returns() {
    let lines = ROWS.map(|(id, text, label, split)| json!({"id": id, "text": text, "labels": [label], "split": split}).to_string());
    let done = ingested(json!({}), "d.jsonl", &format!("\u{feff}{}\r\n\r\n", lines.join("\r\n")));
    assert_eq!(done.rows.classes, ["anger", "joy"]);
    assert_rows(&done.rows.rows);
    assert!(done.notes.contains(&"the splits are those of column `split`".to_owned()), "{:?}", done.notes);
}

#[test]
fn comma_separated_values_with_quoted_fields() {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let lines = ROWS.map(|(id, text, label, split)| format!("{split},{},{id},{label}", quoted(text)));
    for (end, name) in [("\n", "d.csv"), ("\r\n", "https://host/D.CSV?download=1")] {
        assert_rows(&ingested(json!({}), name, &format!("split,text,id,label{end}{}", lines.join(end))).rows.rows);
    }
}

#[test]
fn semicolons_separate_where_the_header_has_no_comma() {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let lines = ROWS.map(|(id, text, label, split)| format!("{id};{};{label};{split}", quoted(text)));
    assert_rows(&ingested(json!({}), "d.csv", &format!("id;text;label;split\n{}\n", lines.join("\n"))).rows.rows);
    let named = format!("id;\"text, raw\";label;split\n{}\n", lines.join("\n"));
    assert_rows(&ingested(json!({"text": "text, raw"}), "d.csv", &named).rows.rows);
    let fields = json!({"scheme": "continuous", "values": ["valence"]});
    let said = error(fields, "d.csv", "text;valence\nOh!;0,5\n");
    assert_eq!(said, "d.csv, line 2, column `valence`: expected a number, found `0,5`: decimals are written with a point");
}

#[test]
fn an_array_of_objects_is_read_as_their_lines_are() {
    let rows = ROWS.map(|(id, text, label, split)| json!({"id": id, "text": text, "labels": [label], "split": split}));
    for text in [serde_json::to_string(&rows).unwrap(), serde_json::to_string_pretty(&rows).unwrap()] {
        assert_rows(&ingested(json!({}), "d.json", &text).rows.rows);
    }
    assert_rows(&ingested(json!({}), "d.json", &rows.map(|row| row.to_string()).join("\n")).rows.rows);
    let wrong = error(json!({}), "d.json", r#"[{"id":"a","text":"t","label":"x"},{"id":"b","text":3,"label":"x"}]"#);
    assert_eq!(wrong, "d.json, row 2, column `text`: expected a string, found the number 3");
    let twice = error(json!({}), "d.json", r#"[{"text":"t","label":"x","text":"u"}]"#);
    assert_eq!(twice, "d.json, row 1: has the key `text` twice; keep one");
    let cut = error(json!({}), "d.json", "[{\"text\":\n\"t\"");
    assert!(cut.starts_with("d.json, line 2: is not an array in JSON: "), "{cut}");
    assert_eq!(error(json!({}), "d.json", "[]"), "d.json: holds no rows");
}

#[test]
fn files_of_other_programs_are_named() {
    let said = |bytes: &[u8]| ingest(&spec(json!({"format": "csv"})), vec![file("d", bytes.to_vec())], &[]).unwrap_err().to_string();
    assert_eq!(said(b"PK\x03\x04 and more"), "d: is a spreadsheet or a zip archive: export the sheet as CSV, or unpack the file");
    assert_eq!(said(b"ARROW1 and more"), "d: is an Arrow or Feather file: write it as Parquet");
    let shouted = ROWS.map(|(id, text, label, _)| format!("{label},{id},\"{}\"\n", text.replace('"', "\"\""))).concat();
    let fields = json!({"text": "TEXT", "label": "ARROGANCE", "id": "ID"});
    assert_eq!(ingested(fields, "d.csv", &format!("ARROGANCE,ID,TEXT\n{shouted}")).rows.rows.len(), ROWS.len());
}

#[test]
fn ids_of_a_column_that_is_merely_called_id_are_used_where_they_are_ids() {
    let line = |i: usize, id: &str| format!("{{\"id\":{id},\"text\":\"{}\",\"label\":\"c{}\"}}\n", crate::text(i), i % 2);
    let rows = |id: &dyn Fn(usize) -> String| (0..20).map(|i| line(i, &id(i))).collect::<String>();
    for (ids, why) in [
        (rows(&|i| (i % 10).to_string()), "`0` is the id of rows 1 and 11"),
        (rows(&|i| if i == 4 { "null".to_owned() } else { i.to_string() }), "row 5 has none"),
    ] {
        let done = ingested(json!({}), "d.jsonl", &ids);
        let told = format!("column `id` is not followed (name it in `dataset.id` to insist); rows are numbered: {why}");
        assert!(done.notes.contains(&told), "{:?}", done.notes);
        assert!((1..=20).all(|n| done.rows.rows.iter().any(|row| row.id == n.to_string())));
        assert!(!error(json!({"id": "id"}), "d.jsonl", &ids).is_empty());
    }
    // Rows that are left out may have any id.
    let unclear = rows(&|i| i.to_string()) + "{\"id\":0,\"text\":\"who knows\",\"label\":\"unclear\"}\n";
    let done = ingested(json!({"labels": ["c0", "c1"], "unknown_labels": "skip"}), "d.jsonl", &unclear);
    assert!(done.rows.rows.iter().any(|row| row.id == "0") && !done.notes.iter().any(|n| n.contains("numbered")), "{:?}", done.notes);
    // Some files have none: numbers could be ids of the others.
    let without = (20..40).map(|i| line(i, "0").replace("\"id\":0,", "")).collect::<String>();
    let files = [("a.jsonl", rows(&|i| (i + 21).to_string())), ("b.jsonl", without)].map(|(name, text)| file(name, text.into_bytes()));
    let done = ingest(&spec(json!({"source": ["a.jsonl", "b.jsonl"]})), files.to_vec(), &[]).unwrap();
    assert!(done.notes.iter().any(|n| n.ends_with("rows are numbered: b.jsonl has no column `id`")), "{:?}", done.notes);
    assert_eq!(done.rows.rows.iter().map(|row| row.id.as_str()).collect::<std::collections::BTreeSet<_>>().len(), 40);
    let declined = ingested(json!({"id": ""}), "d.jsonl", &rows(&|i| format!("\"r{i}\"")));
    assert!(declined.rows.rows.iter().all(|row| !row.id.starts_with('r')));
}

#[test]
fn whole_numbers_that_are_written_as_floats_are_whole() {
    let line = |i: usize| format!("{{\"text\":\"{}\",\"label\":{}.0}}\n", crate::text(i), i % 2 * 10);
    let text: String = (0..20).map(line).collect();
    assert_eq!(ingested(json!({}), "d.jsonl", &text).rows.classes, ["0", "10"]);
}

#[test]
fn other_separators_are_named() {
    let refused = |separator: &str| {
        let lines = ROWS.map(|(id, text, label, _)| [id, text, label].join(separator));
        let text = format!("{}\n{}\n", ["id", "text", "label"].join(separator), lines.join("\n"));
        error(json!({}), "d.csv", &text)
    };
    let said = refused("\t");
    assert!(said.ends_with("columns that tabs separate are read with `dataset.format: tsv`"), "{said}");
}

#[test]
fn tab_separated_values_take_stray_quotes_as_text() {
    let mut lines = ROWS.map(|(id, text, label, split)| format!("{id}\t{text}\t{label}\t{split}")).to_vec();
    lines[3] = "b2\t\"Get out of my sight\"\tanger\tval".to_owned();
    assert_rows(&ingested(json!({}), "d.tsv", &format!("id\ttext\tlabel\tsplit\n{}\n", lines.join("\n"))).rows.rows);
    lines[3] = "b2\t\"Get out\" she said\tanger\tval".to_owned();
    let rows = ingested(json!({}), "d.tsv", &format!("id\ttext\tlabel\tsplit\n{}\n", lines.join("\n"))).rows.rows;
    assert_eq!(rows[3].text, "\"Get out\" she said");
}

#[test]
fn other_column_names_and_whole_numbers() {
    let csv = "n,utterance,emotion,part\n7,one,1,train\n8,two,2,train\n9,three,1,val\n10,four,2,val\n11,five,1,test\n12,six,2,test\n";
    let fields = json!({"text": "utterance", "label": "emotion", "id": "n", "split": "part", "label_map": {"1": "joy", "2": "anger"}});
    let done = ingested(fields, "d.csv", csv);
    assert_eq!(done.rows.classes, ["anger", "joy"]);
    assert_eq!(done.rows.rows[3].id, "10");
    let jsonl: String = (0..6)
        .map(|i| format!("{{\"id\":{i},\"text\":\"t{i}\",\"label\":{},\"split\":\"{}\"}}\n", i % 2, ["train", "val", "test"][i / 2]))
        .collect();
    assert_eq!(ingested(json!({}), "d.jsonl", &jsonl).rows.classes, ["0", "1"]);
}

#[test]
fn text_formats_may_be_compressed() {
    let lines = ROWS.map(|(id, text, label, split)| json!({"id": id, "text": text, "labels": [label], "split": split}).to_string() + "\n");
    let gzipped = |text: &str| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let read = |fields, name: &str, bytes: Vec<u8>| ingest(&spec(fields), vec![file(name, bytes)], &[]);
    let whole = gzipped(&lines.concat());
    // As `cat a.gz b.gz` and parallel compressors write it.
    let members = lines.iter().flat_map(|line| gzipped(line)).collect();
    let zstd = zstd::encode_all(lines.concat().as_bytes(), 3).unwrap();
    for (fields, name, bytes) in [
        (json!({}), "d.jsonl.gz", whole.clone()),
        (json!({}), "https://host/d.jsonl.gz?download=1", members),
        (json!({}), "D.JSONL.ZST", zstd),
        (json!({"format": "jsonl"}), "rows", whole.clone()),
    ] {
        assert_rows(&read(fields, name, bytes).unwrap().rows.rows);
    }
    let csv = ROWS.map(|(id, text, label, split)| format!("{id},{label},{split},\"{}\"\n", text.replace('"', "\"\""))).concat();
    assert_rows(&read(json!({}), "d.CSV.gz", gzipped(&format!("id,label,split,text\n{csv}"))).unwrap().rows.rows);
    let cut = read(json!({}), "d.jsonl.gz", whole[..whole.len() / 2].to_vec()).unwrap_err().to_string();
    assert!(cut.starts_with("d.jsonl.gz: can't be unpacked with gzip (") && cut.ends_with("): is the file whole?"), "{cut}");
}

#[test]
fn rows_without_a_text_are_left_out_where_that_is_asked_for() {
    let line = |text: &str, i: usize| format!("{{\"text\":{text},\"label\":\"c{}\"}}\n", i % 2);
    let texts = |i: usize| match i {
        1 => "\" \\n\"".to_owned(),
        4 => "null".to_owned(),
        i => format!("\"{}\"", crate::text(i)),
    };
    let rows: String = (0..20).map(|i| line(&texts(i), i)).collect();
    let refused = error(json!({}), "d.jsonl", &rows);
    assert_eq!(refused, "d.jsonl, line 2, column `text`: the text is empty; leave the row out, or set `dataset.empty_texts: skip`");
    let done = ingested(json!({"empty_texts": "skip"}), "d.jsonl", &rows);
    assert!(done.notes.contains(&"2 rows without a text were left out".to_owned()), "{:?}", done.notes);
    let ids: Vec<usize> = crate::by_id(done.rows.rows).iter().map(|r| r.id.parse().unwrap()).collect();
    let expected: Vec<usize> = (0..20).filter(|i| *i != 1 && *i != 4).map(|i| i + 1).collect();
    assert_eq!(ids.iter().copied().collect::<std::collections::BTreeSet<_>>(), expected.into_iter().collect(), "numbered as in the file");
    let none: String = (0..3).map(|i| line("\"\"", i)).collect();
    let said = error(json!({"empty_texts": "skip"}), "d.jsonl", &none);
    assert_eq!(said, "d.jsonl: column `text` is empty in all 3 rows; check `dataset.text`");
}

#[test]
fn rows_without_ids_are_numbered_as_in_the_file() {
    let text = "{\"text\":\"a\",\"label\":[\"x\",\"y\"]}\n".to_owned() + &crate::lines(&[3, 3]);
    let done = ingested(json!({"multiple_labels": "skip"}), "d.jsonl", &text);
    let rows = crate::by_id(done.rows.rows);
    assert_eq!(rows.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["2", "3", "4", "5", "6", "7"]);
}

fn parquet(columns: Vec<(&str, ArrayRef)>, huggingface: Option<&str>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    if let Some(value) = huggingface {
        writer.append_key_value_metadata(KeyValue::new("huggingface".to_owned(), value.to_owned()));
    }
    writer.into_inner().unwrap()
}

#[test]
fn parquet_may_be_compressed_with_snappy_zstd_and_gzip() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.1)))),
        ("label", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.2)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    for compression in [Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default()), Compression::GZIP(GzipLevel::default())] {
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        assert_eq!(ingest(&spec(json!({})), vec![file("d.parquet", bytes)], &[]).unwrap().rows.rows.len(), ROWS.len(), "{compression}");
    }
}

#[test]
fn parquet_with_strings_of_every_encoding() {
    let texts = ROWS.map(|r| r.1);
    let encodings: [ArrayRef; 4] = [
        Arc::new(StringArray::from_iter_values(texts)),
        Arc::new(LargeStringArray::from_iter_values(texts)),
        Arc::new(StringViewArray::from_iter_values(texts)),
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    let labels: ArrayRef = Arc::new(ROWS.map(|r| r.2).into_iter().collect::<DictionaryArray<Int32Type>>());
    for text in encodings {
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.0)));
        let splits: ArrayRef = Arc::new(StringViewArray::from_iter_values(ROWS.map(|r| r.3)));
        let bytes = parquet(vec![("text", text), ("label", labels.clone()), ("id", ids), ("split", splits)], None);
        assert_rows(&ingest(&spec(json!({})), vec![file("d.parquet", bytes)], &[]).unwrap().rows.rows);
    }
}

#[test]
fn parquet_with_lists_and_numbered_ids() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in ROWS {
        lists.append_value([Some(row.2)]);
    }
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.1)));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(10..16));
    let bytes = parquet(vec![("text", texts), ("labels", Arc::new(lists.finish())), ("id", ids)], None);
    let done = ingest(&spec(json!({})), vec![file("d.parquet", bytes)], &[]).unwrap();
    assert_eq!(done.rows.classes, ["anger", "joy"]);
    let mut ids: Vec<&str> = done.rows.rows.iter().map(|r| r.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["10", "11", "12", "13", "14", "15"]);
}

#[test]
fn parquet_label_numbers_get_the_names_the_file_carries() {
    let columns = || -> Vec<(&str, ArrayRef)> {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..6).map(|i| Some([Some(i % 2)])));
        vec![("text", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.1)))), ("labels", Arc::new(lists))]
    };
    let names = r#"{"info":{"features":{"labels":{"feature":{"names":["joy","anger"],"_type":"ClassLabel"},"_type":"Sequence"}}}}"#;
    let bytes = parquet(columns(), Some(names));
    let done = ingest(&spec(json!({})), vec![file("d.parquet", bytes.clone())], &[]).unwrap();
    assert_eq!(done.rows.classes, ["anger", "joy"]);
    assert_eq!(done.rows.rows[0].class, 1);
    assert_eq!(done.notes[0], "the numbers in column `labels` were replaced by the 2 label names the file carries");
    // Hugging Face has -1 for no label; no other number may be without a name.
    let numbered = |numbers: [i32; 6]| {
        let labels = Int32Array::from_iter_values(numbers);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("text", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.1)))), ("label", Arc::new(labels))];
        let names = r#"{"info":{"features":{"label":{"names":["joy","anger"],"_type":"ClassLabel"}}}}"#;
        ingest(&spec(json!({"multiple_labels": "skip"})), vec![file("d.parquet", parquet(columns, Some(names)))], &[])
    };
    assert_eq!(numbered([0, 1, 0, 1, 0, 1]).unwrap().rows.classes, ["anger", "joy"]);
    let unlabelled = numbered([0, 1, -1, 0, -1, 1]).unwrap_err().to_string();
    assert!(unlabelled.contains("would have no row of class"), "two rows of each are left: {unlabelled}");
    let said = "found the number 2, which is none of the 2 labels that the file has names for";
    assert!(numbered([0, 1, 0, 1, 2, 1]).unwrap_err().to_string().ends_with(said));
    let mapped = spec(json!({"label_map": {"0": "good", "1": "bad"}}));
    assert_eq!(ingest(&mapped, vec![file("d.parquet", bytes)], &[]).unwrap().rows.classes, ["bad", "good"]);
    let plain = ingest(&spec(json!({})), vec![file("d.parquet", parquet(columns(), None))], &[]).unwrap();
    assert_eq!(plain.rows.classes, ["0", "1"]);
}
