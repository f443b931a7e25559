//! The whole report on synthetic studies with a planted signal.

mod planted;
mod synthetic;

mod best;
mod browser;
mod carried;
mod contrasts;
mod coverage;
mod demo;
mod dominant;
mod draws;
mod judges;
mod main_probe;
mod page;
mod persistence;
mod power;
mod recovery;
mod reference;
mod refusals;
mod schemes;
mod sections;
mod signal;
mod tables;
mod trend;
mod unmeasured;
mod versus;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use limbic_report::{Deferred, Prediction, Results, Study, evaluate, files};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use synthetic::{Size, study};

const SMALL: Size = Size { models: 3, layers: 4, conditions: 2, offsets: 7, rows: 280, masked: true, mlp: true, whole: false };

fn evaluated(study: &Study) -> Results {
    evaluate(study).expect("the study is sound")
}

/// A study as it is resampled in tests, and its results; evaluated once.
fn made_once(size: Size) -> (Study, Results) {
    let mut study = study(size);
    study.options.resamples = 200;
    let results = evaluated(&study);
    (study, results)
}

fn small() -> (Study, Results) {
    static SMALL_ONE: LazyLock<(Study, Results)> = LazyLock::new(|| made_once(SMALL));
    SMALL_ONE.clone()
}

/// A study with something for every section.
fn whole() -> (Study, Results) {
    static WHOLE: LazyLock<(Study, Results)> = LazyLock::new(|| made_once(Size { rows: 210, whole: true, ..SMALL }));
    WHOLE.clone()
}

fn made(study: &Study, results: &Results) -> BTreeMap<String, Vec<u8>> {
    files(study, results).expect("the report is made").into_iter().map(|f| (f.path, f.bytes)).collect()
}

fn page(study: &Study) -> String {
    text(&made(study, &evaluated(study)), "report.html")
}

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files[name].clone()).expect("UTF-8")
}

fn batches(bytes: &[u8]) -> Vec<arrow_array::RecordBatch> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).expect("a Parquet file").build().expect("a reader");
    reader.map(|b| b.expect("a batch")).collect()
}

fn values(p: &Prediction) -> Vec<f32> {
    p.values.read().expect("held in memory").to_vec()
}

/// A prediction without a single row.
fn emptied(p: &mut Prediction) {
    p.values = Deferred::held(vec![f32::NAN; values(p).len()]);
}
