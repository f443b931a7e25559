//! Fits on a model's own states, which have few large directions and many small ones: with a weak penalty scores get large, and
//! what rounding adds to them step by step must not pass for the end.

use std::collections::BTreeSet;
use std::path::Path;

use limbic_engine::probe::{LogisticSettings, Matrix, Split, logistic};
use limbic_engine::{Model, Placement, Request};
use limbic_proto::axis::{Layer, ReadOut};
use serde_json::Value;

use crate::reference::{prompts, raw, run};

#[test]
fn a_weak_penalty_on_few_states_ends_where_the_gradient_does() {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart");
    let model = Model::load(&quickstart.join("models/tiny-4m"), &Placement::cpu()).unwrap();
    let corpus = std::fs::read_to_string(quickstart.join("corpus.jsonl")).unwrap();
    let rows: Vec<Value> = corpus.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for first in 0..4 {
        let some: Vec<&Value> = rows.iter().skip(first).step_by(15).take(98).collect();
        let texts: Vec<String> = some.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
        let labels: BTreeSet<&str> = some.iter().map(|row| row["label"].as_str().unwrap()).collect();
        let class = |row: &&Value| labels.iter().position(|label| *label == row["label"]).unwrap() as u32;
        let y: Vec<u32> = some.iter().map(class).collect();
        let request = Request::new(vec![Layer::Block(2)], vec![ReadOut::LAST]);
        let found = run(&model, &prompts(&model, &raw(), &texts), &request);
        let states = found.get(Layer::Block(2), ReadOut::LAST).unwrap();
        let split = Split::new(Matrix::new(&states.values, y.len(), found.width).unwrap(), &y);
        for strength in [1.0, 100.0] {
            let (_, report) = logistic::fit(&split, None, labels.len(), &LogisticSettings::fixed(strength)).unwrap();
            let point = report.chosen().unwrap();
            assert!(point.converged && point.gradient < 2e-5, "rows from {first} at C = {strength}: {point:?}");
        }
    }
}
