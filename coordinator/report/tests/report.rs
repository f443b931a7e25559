//! The whole report on a synthetic study with a planted signal.

#[path = "support/synthetic.rs"]
mod synthetic;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, UInt64Type};
use bytes::Bytes;
use limbic_proto::axis::{Context, Layer};
use limbic_proto::spec::ReportSpec;
use limbic_proto::unit::UnitKind;
use limbic_report::{HalfLife, ReportError, Results, Study, evaluate, files};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use synthetic::{DEMO, Size, study};

const SMALL: Size = Size { models: 3, layers: 4, conditions: 2, offsets: 7, rows: 280, masked: true, mlp: true };

fn small() -> (Study, Results) {
    let mut study = study(SMALL);
    study.options.resamples = 200;
    let results = evaluate(&study);
    (study, results)
}

fn made(study: &Study, results: &Results) -> BTreeMap<String, Vec<u8>> {
    files(study, results).expect("the report is made").into_iter().map(|f| (f.path, f.bytes)).collect()
}

fn batches(bytes: &[u8]) -> Vec<arrow::array::RecordBatch> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).expect("a Parquet file").build().expect("a reader");
    reader.map(|b| b.expect("a batch")).collect()
}

#[test]
fn the_planted_signal_is_found() {
    let (study, results) = small();
    assert_eq!(results.probe.as_deref(), Some("logistic"));
    assert!((results.floor - 1.0 / 7.0).abs() < 0.01);
    // The signal is strongest at 65 % of the depth, in the largest model, under the first condition.
    for curve in &results.depth {
        assert!((curve.peak.depth.value - 0.65).abs() < 0.2, "{curve:?}");
        assert!(curve.chosen_on_validation);
        let (from, to) = (curve.peak.from.depth(4), curve.peak.to.depth(4));
        assert!(from <= curve.peak.depth.value && curve.peak.depth.value <= to);
    }
    let at = |model: usize| results.scale.iter().find(|r| r.place.model == model && r.place.condition == 0).expect("a row").best.value;
    assert!(at(0) < at(1) && at(1) < at(2));
    let trend = results.trends.iter().find(|t| t.condition == Some(0) && t.what == "best layer").expect("a trend");
    assert!(trend.slope.lo.expect("an interval") > 0.0);
    let over_words = results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == "bag-of-words");
    assert_eq!(over_words.clone().count(), 3);
    assert!(over_words.clone().all(|c| c.difference.value > 0.0 && c.p_holm >= c.p && c.p.is_some()));
    assert!(over_words.clone().any(|c| c.p_holm.is_some_and(|p| p < 0.05)));
    assert_eq!(study.conditions.len(), 2);
}

#[test]
fn masking_the_prompt_shortens_the_half_life() {
    let (_, results) = small();
    for p in &results.persistence {
        let tokens = |context: Context| {
            let decay = p.decays.iter().find(|d| d.context == context && d.class.is_none()).expect("a decay");
            match decay.half_life {
                HalfLife::Reached { tokens, .. } => tokens,
                _ => f64::INFINITY,
            }
        };
        assert!(tokens(Context::MaskedPrompt) < tokens(Context::Full), "{:?}", p.place);
    }
}

#[test]
fn intervals_hold_their_values_and_absent_rows_do_not_count() {
    let (study, results) = small();
    for (p, scores) in study.predictions.iter().zip(&results.scores) {
        for metric in &scores.metrics {
            let e = metric.estimate;
            let (lo, hi) = (e.lo.expect("an interval"), e.hi.expect("an interval"));
            assert!(lo <= hi, "{metric:?}");
            if metric.name == "accuracy" {
                assert!(lo <= e.value && e.value <= hi, "{metric:?}");
                let present = p.probabilities.chunks(7).filter(|r| r.iter().any(|v| *v > 0.0)).count();
                assert_eq!(e.n, present);
            }
        }
    }
    assert!(study.predictions.iter().any(|p| p.probabilities.chunks(7).any(|r| r.iter().all(|v| *v == 0.0))));
}

#[test]
fn the_same_study_gives_the_same_bytes() {
    let (study, results) = small();
    assert_eq!(evaluate(&study), results);
    assert_eq!(made(&study, &results), made(&study, &results));
}

#[test]
fn tables_are_tidy_and_complete() {
    let (study, results) = small();
    let files = made(&study, &results);
    let rows: usize = batches(&files["results.parquet"]).iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, results.scores.iter().map(|s| s.metrics.len()).sum::<usize>());
    let first = &batches(&files["results.parquet"])[0];
    for (name, kind) in [("value", "Float64"), ("layer", "Utf8"), ("normed", "Boolean"), ("offset", "UInt32"), ("n", "UInt64")] {
        assert_eq!(first.schema().field_with_name(name).expect("a column").data_type().to_string(), kind);
    }
    // Accuracy computed again from predictions.parquet is the accuracy of results.parquet.
    let mut right: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let text = |batch: &arrow::array::RecordBatch, column: &str, row: usize| {
        let column = batch.column_by_name(column).expect("a column").as_string::<i32>();
        if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
    };
    let key = |batch: &arrow::array::RecordBatch, row: usize| {
        let offset = batch.column_by_name("offset").expect("a column").as_primitive::<arrow::datatypes::UInt32Type>();
        let seed = batch.column_by_name("seed").expect("a column").as_primitive::<arrow::datatypes::UInt64Type>().value(row);
        let words = ["model", "layer", "condition", "context", "probe"].map(|c| text(batch, c, row)).join("/");
        format!("{words}/{:?}/{seed}", offset.is_valid(row).then(|| offset.value(row)))
    };
    for batch in batches(&files["predictions.parquet"]) {
        let lists = batch.column_by_name("probabilities").expect("a column").as_list::<i32>().clone();
        for row in 0..batch.num_rows() {
            let entry = right.entry(key(&batch, row)).or_default();
            entry.0 += f64::from(u8::from(text(&batch, "truth", row) == text(&batch, "predicted", row)));
            entry.1 += 1.0;
            let list = lists.value(row);
            assert!((list.as_primitive::<Float32Type>().values().iter().sum::<f32>() - 1.0).abs() < 1e-3);
        }
    }
    let mut seen = 0;
    for batch in batches(&files["results.parquet"]) {
        let values = batch.column_by_name("value").expect("a column").as_primitive::<Float64Type>().clone();
        for row in (0..batch.num_rows()).filter(|r| text(&batch, "metric", *r) == "accuracy") {
            let (hits, n) = right[&key(&batch, row)];
            assert!((values.value(row) - hits / n).abs() < 1e-12);
            seen += 1;
        }
    }
    assert_eq!(seen, right.len());
    assert_eq!(batches(&files["runs.parquet"]).iter().map(|b| b.num_rows()).sum::<usize>(), study.runs.len());
}

#[test]
fn the_page_stands_alone_and_says_the_numbers() {
    let (study, results) = small();
    let files = made(&study, &results);
    let html = String::from_utf8(files["report.html"].clone()).expect("UTF-8");
    for forbidden in ["http://", "https://", "<script", "<img", "@import", "url(", "<link rel=\"stylesheet"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for tag in ["section", "figure", "table", "svg", "details", "ul", "tr"] {
        let (open, close) = (html.matches(&format!("<{tag}")).count(), html.matches(&format!("</{tag}>")).count());
        assert_eq!(open, close, "{tag}");
    }
    let best = results.depth.iter().flat_map(|c| [c.points[c.best].accuracy.value]).fold(0.0, f64::max);
    assert!(html.contains(&format!("{:.1}%", best * 100.0)));
    let figures: Vec<&String> = files.keys().filter(|f| f.ends_with(".svg")).collect();
    let mut all: Vec<String> = limbic_report::FIGURES.iter().map(|name| format!("figures/{name}.svg")).collect();
    all.sort();
    assert_eq!(figures, all.iter().collect::<Vec<_>>());
    let markdown = String::from_utf8(files["report.md"].clone()).expect("UTF-8");
    for figure in figures {
        assert!(markdown.contains(&format!("({figure})")), "{figure}");
        let svg = String::from_utf8(files[figure].clone()).expect("UTF-8");
        assert!(svg.starts_with("<svg xmlns=") && svg.matches("<svg").count() == svg.matches("</svg>").count());
    }
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).expect("JSON");
    assert_eq!(summary["results"]["depth"][0]["place"]["model"], "Linden-0.6B");
}

#[test]
fn names_from_outside_are_escaped() {
    let (mut study, _) = small();
    study.title = "<script>alert('a')</script>".to_owned();
    study.models[0].name = "a<b>&\"c\" | d".to_owned();
    study.conditions[0].name = "</svg><i>".to_owned();
    study.classes[0] = "<u>|".to_owned();
    let files = made(&study, &evaluate(&study));
    let html = String::from_utf8(files["report.html"].clone()).expect("UTF-8");
    assert!(!html.contains("<script") && !html.contains("<i>") && !html.contains("<u>") && !html.contains("a<b>"));
    let markdown = String::from_utf8(files["report.md"].clone()).expect("UTF-8");
    assert!(markdown.contains("a<b>&\"c\" \\| d"));
}

#[test]
fn sections_without_data_say_so() {
    let mut study = study(Size { models: 1, layers: 2, conditions: 1, offsets: 1, rows: 70, masked: false, mlp: false });
    study.runs.clear();
    study.quarantined.clear();
    study.notes.clear();
    study.predictions.retain(|p| p.layer.is_none_or(|l| l == Layer::Final));
    let page = |study: &Study| String::from_utf8(made(study, &evaluate(study))["report.html"].clone()).expect("UTF-8");
    let html = page(&study);
    for sentence in [
        "no curve over depth",
        "Only one offset was measured",
        "Only one prompt condition",
        "No unit has been committed yet",
        "No unit was quarantined",
    ] {
        assert!(html.contains(sentence), "{sentence}");
    }
    study.predictions.clear();
    assert!(page(&study).contains("No probe has been fitted yet"));
    study.test.clear();
    study.models.clear();
    study.conditions.clear();
    study.classes.clear();
    study.options = ReportSpec { resamples: 0, ..ReportSpec::default() };
    assert!(page(&study).contains("Neither a baseline nor a probe"));
}

#[test]
fn one_group_gives_no_interval_and_few_groups_a_warning() {
    let (mut study, _) = small();
    for row in &mut study.test {
        row.group = "the only author".to_owned();
    }
    let results = evaluate(&study);
    assert!(results.scores.iter().flat_map(|s| &s.metrics).all(|m| (m.estimate.lo, m.estimate.hi) == (None, None)));
    assert!(!results.comparisons.is_empty());
    assert!(results.comparisons.iter().all(|c| (c.p, c.p_holm, c.difference.lo) == (None, None, None)));
    assert!(results.depth.iter().all(|c| c.peak.depth.lo.is_none()));
    assert!(results.trends.iter().all(|t| t.slope.lo.is_none()));
    assert!(results.warnings[0].contains("of one group"), "{:?}", results.warnings);
    let html = String::from_utf8(made(&study, &results)["report.html"].clone()).expect("UTF-8");
    assert!(!html.contains("&lt; 0.001") && !html.contains("It beats") && !html.contains("the probe beats"), "nothing is certain");

    for (i, row) in study.test.iter_mut().enumerate() {
        row.group = format!("author {}", i % 5);
    }
    let results = evaluate(&study);
    assert!(results.scores[0].accuracy().expect("an accuracy").lo.is_some());
    assert!(results.warnings[0].contains("only 5 groups"), "{:?}", results.warnings);
    assert!(!small().1.warnings.iter().any(|w| w.contains("groups")));
}

#[test]
fn a_class_whose_rows_are_of_one_group_has_no_interval() {
    let (mut study, _) = small();
    for row in study.test.iter_mut().filter(|r| r.class == 2) {
        row.group = "one".to_owned();
    }
    let results = evaluate(&study);
    let name = format!("recall:{}", study.classes[2]);
    assert!(results.scores.iter().filter_map(|s| s.get(&name)).all(|e| e.lo.is_none()));
    assert!(results.scores.iter().filter_map(|s| s.accuracy()).all(|e| e.lo.is_some()));
}

#[test]
fn what_was_left_out_is_said() {
    let (mut study, _) = small();
    let cells = study.test.len() * study.classes.len();
    for p in study.predictions.iter_mut().filter(|p| p.read_out.is_some_and(|r| r.offset >= 8)) {
        let fit = p.fit.as_mut().expect("a fit");
        fit.absent = Some("no train row of joy (3 of 280 rows reach this read-out)".to_owned());
        p.probabilities = vec![0.0; cells];
    }
    let absent = study.predictions.iter().filter(|p| !p.exists()).count();
    assert!(absent > 0);
    let run = study.runs.iter_mut().find(|r| r.kind == UnitKind::Extract).expect("a run");
    run.counts.extend([("skipped_rows".to_owned(), 7), ("truncated_rows".to_owned(), 2)]);
    let (model, condition) = (study.models[0].name.clone(), study.conditions[0].name.clone());
    let results = evaluate(&study);
    let files = made(&study, &results);
    let html = String::from_utf8(files["report.html"].clone()).expect("UTF-8");
    for sentence in [
        format!("{absent} of "),
        "no train row of joy".to_owned(),
        format!("{model}, {condition}: 7 of 4,096 prompts were longer than the context and left out."),
        "2 of 4,096 prompts were longer than the context and cut to their last tokens.".to_owned(),
    ] {
        assert!(html.contains(&sentence), "{sentence}: {:?}", results.warnings);
    }
    let runs = &batches(&files["runs.parquet"])[0];
    let column = |name: &str| runs.column_by_name(name).expect("a column").as_primitive::<UInt64Type>().clone();
    assert_eq!(arrow::compute::sum(&column("skipped_rows")), Some(7));
    assert_eq!(arrow::compute::sum(&column("truncated_rows")), Some(2));
}

#[test]
fn a_figure_of_too_many_panels_says_what_it_leaves_out() {
    let (mut study, _) = small();
    let template = study.models[0].clone();
    let ours: Vec<_> = study.predictions.iter().filter(|p| p.model == Some(0)).cloned().collect();
    study.predictions.retain(|p| p.model.is_none());
    study.models = (0..26).map(|i| limbic_report::ModelEntry { name: format!("model-{i}"), ..template.clone() }).collect();
    for model in 0..26 {
        study.predictions.extend(ours.iter().cloned().map(|p| limbic_report::Prediction { model: Some(model), ..p }));
    }
    study.runs.clear();
    study.options.resamples = 100;
    let results = evaluate(&study);
    let html = String::from_utf8(made(&study, &results)["report.html"].clone()).expect("UTF-8");
    assert!(html.contains("The first 24 of 26 panels are shown"), "depth has one panel per model");
    assert!(html.contains("The first 24 of 52 panels are shown"), "heat maps have one per model and condition");
}

#[test]
fn what_does_not_fit_is_rejected() {
    let (mut study, results) = small();
    study.predictions[3].probabilities.pop();
    assert!(matches!(files(&study, &results), Err(ReportError::Shape { prediction: 3, .. })));
    assert!(evaluate(&study).warnings[0].contains("another shape"));
    let (mut study, results) = small();
    study.predictions[0].condition = Some(9);
    assert!(matches!(files(&study, &results), Err(ReportError::Index { axis: "condition", index: 9, .. })));
    let (mut study, results) = small();
    study.predictions.pop();
    assert!(matches!(files(&study, &results), Err(ReportError::Mismatch { .. })));
}

/// Thousands of predictions, 1000 resamples, 200 groups: prints how long evaluation takes.
#[test]
#[ignore = "takes some seconds and asserts a time"]
fn thousands_of_predictions_are_evaluated_in_seconds() {
    let study = study(Size { models: 5, layers: 30, conditions: 4, offsets: 5, rows: 400, masked: false, mlp: false });
    let start = std::time::Instant::now();
    let results = evaluate(&study);
    let elapsed = start.elapsed();
    println!("{} predictions, {} groups: evaluated in {elapsed:?}", study.predictions.len(), results.groups);
    assert!(study.predictions.len() > 3000 && elapsed.as_secs() < 30, "{elapsed:?}");
}

/// Writes the demo page: `LIMBIC_REPORT_DEMO=folder cargo test --release -p limbic-report -- --ignored demo`.
#[test]
#[ignore = "writes files for people to look at"]
fn demo() {
    let folder = std::env::var("LIMBIC_REPORT_DEMO").map_or_else(|_| std::env::temp_dir().join("limbic-report-demo"), Into::into);
    let study = study(DEMO);
    let start = std::time::Instant::now();
    let results = evaluate(&study);
    let evaluated = start.elapsed();
    let files = files(&study, &results).expect("the report is made");
    println!("{} predictions: evaluated in {evaluated:?}, files after {:?}", study.predictions.len(), start.elapsed());
    for file in files {
        let path = folder.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        println!("{} {}", file.path, file.bytes.len());
        std::fs::write(path, file.bytes).expect("the file is written");
    }
}
