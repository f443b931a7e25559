//! What a report says of sections that it lacks: why, by what was asked for and what of it is computed.

use std::sync::Arc;

use limbic_proto::rows::Scheme;
use limbic_report::{Fit, Prediction, Progress, Quarantined, Study};
use serde_json::{Value, json};

use super::planted::{bare, model, prediction, test_row};
use super::{evaluated, made, text};
use limbic_proto::axis::ReadOut;

/// A spec that asks for one thing after the other.
fn spec(more: &Value) -> Value {
    let mut spec = json!({"dataset": {"source": "rows.jsonl"}, "models": [{"source": "model-0"}], "layers": [0], "offsets": [0]});
    let all = spec.as_object_mut().expect("a map");
    more.as_object().expect("a map").iter().for_each(|(key, value)| drop(all.insert(key.clone(), value.clone())));
    spec
}

/// A study of so many units done of ten, with one fit at offset 0.
fn study(more: &Value, units_done: usize) -> Study {
    let values = (0..70).flat_map(|row| (0..7).map(move |class| f32::from(u8::from(class == row % 7)))).collect();
    let predictions = vec![prediction(0, 0, ReadOut::LAST, 1.0, values)];
    let test = (0..70).map(|row| test_row(row, (row % 7) as u32, Vec::new())).collect();
    let mut study = Study { models: vec![model(0, 2)], spec: spec(more), ..bare(Scheme::Single, test, predictions, 1) };
    study.options.resamples = 50;
    study.progress = Progress { cells: 10, cells_done: units_done, units: 10, units_done };
    assert!(!study.asked().is_empty(), "the spec is one");
    study
}

/// The reason that the report gives for a missing section.
fn reason(study: &Study, section: &str) -> String {
    let markdown = text(&made(study, &evaluated(study)), "report.md");
    let (_, sentence) = markdown.split_once("Not measured here: ").expect("something is missing");
    let (_, rest) = sentence.split_once(&format!("{section} (")).unwrap_or_else(|| panic!("{section} in {sentence}"));
    rest.split_once(')').expect("an end").0.to_owned()
}

const CONTINUATION: &str = "continuation";

#[test]
fn what_was_not_asked_for_is_said_to_be() {
    let study = study(&json!({}), 10);
    for (section, why) in [
        ("depth", "one layer was asked for"),
        ("persistence", "one offset was asked for"),
        ("conditions", "one prompt condition was asked for"),
        ("malleability", "nobody was asked to judge replies"),
        ("geometry of states", "not asked for"),
        ("controls", "of probes, none was asked for"),
        ("cost", "no unit has been committed yet"),
    ] {
        assert_eq!(reason(&study, section), why, "{section}");
    }
    let mut none = study.clone();
    none.spec = spec(&json!({"probes": []}));
    none.predictions.clear();
    assert_eq!(reason(&none, "scale and depth"), "no probe was asked for");
    none.spec = json!({"a spec": "of another version"});
    assert_eq!(reason(&none, "persistence"), "this study holds none");
}

/// What of everything was asked for.
fn everything() -> Value {
    json!({
        "layers": "all", "offsets": [0, 4], CONTINUATION: {"tokens": 8}, "judge": {}, "geometry": true, "controls": ["shuffled-labels"],
        "conditions": [{"name": "raw"}, {"name": "calm", "template": "Calmly: {text}"}],
    })
}

const SECTIONS: [&str; 5] = ["depth", "persistence", "malleability", "geometry of states", "controls"];

#[test]
fn what_was_asked_for_is_not_computed_yet_or_has_failed() {
    let mut study = study(&everything(), 4);
    for section in SECTIONS {
        assert_eq!(reason(&study, section), "asked for, but not computed yet", "{section}");
    }
    let quarantined = |n: usize| Quarantined { unit: n.to_string(), title: n.to_string(), error: "no memory".to_owned() };
    study.quarantined = (0..6).map(quarantined).collect();
    for section in SECTIONS {
        assert_eq!(reason(&study, section), "asked for, but 6 units failed for good", "{section}");
    }
    study.quarantined.pop();
    assert_eq!(reason(&study, "persistence"), "asked for, but not computed yet", "one more is to come");
    // What a sweep was extended by is asked for as well as what it was extended from.
    study.spec = json!([spec(&everything()), spec(&json!({}))]);
    assert_eq!(reason(&study, "malleability"), "asked for, but not computed yet");
    study.predictions.clear();
    study.conditions.push(study.conditions[0].clone());
    for section in ["scale and depth", "conditions"] {
        assert_eq!(reason(&study, section), "asked for, but not computed yet", "{section}");
    }
}

#[test]
fn what_can_not_be_is_said_to_need_what_it_needs() {
    let mut study = study(&everything(), 10);
    let late = Prediction {
        read_out: Some(ReadOut::at(4)),
        fit: Some(Fit {
            train: 100,
            validation_score: None,
            commonest: None,
            validation_loss: None,
            strength: None,
            converged: true,
            absent: Some(Arc::from("too few replies reach it")),
            mdl: None,
        }),
        ..study.predictions[0].clone()
    };
    for (section, why) in SECTIONS.into_iter().zip([
        "one layer alone has probes",
        "no probe stands at two offsets",
        "no test row's reply has a verdict",
        "no states were described",
        "none stands beside a trained model's probe",
    ]) {
        assert_eq!(reason(&study, section), format!("asked for, but {why}"), "{section}");
    }
    study.predictions.push(late);
    assert_eq!(reason(&study, "persistence"), "asked for, but there can be no fit: too few replies reach it");
    let mut bare = everything();
    bare["probes"] = json!([]);
    study.spec = spec(&bare);
    study.predictions.clear();
    for section in ["persistence", "geometry of states", "controls"] {
        assert_eq!(reason(&study, section), "asked for, but it needs probes, and none was asked for", "{section}");
    }
    let mut late = everything();
    late["offsets"] = json!([4, 8]);
    study.spec = spec(&late);
    assert_eq!(reason(&study, "geometry of states"), "asked for, but it needs offset 0");
}

#[test]
fn every_seed_that_something_was_drawn_with_is_told() {
    let asks = json!({
        "dataset": {"source": "rows.jsonl", "seed": 17},
        CONTINUATION: {"tokens": 8, "temperature": 0.7, "seeds": [23, 29]},
        "conditions": [{"name": "few", "template": "{text} ->"}],
    });
    let page = |study: &Study| text(&made(study, &evaluated(study)), "report.md");
    let markdown = page(&study(&asks, 10));
    for row in ["| probe seeds | 0 |", "| seed of splitting, balancing and drawing rows | 17 |", "| sampling seeds of replies | 23, 29 |"] {
        assert!(markdown.contains(row), "{row} in {markdown}");
    }
    let greedy = page(&study(&json!({"dataset": {"source": "rows.jsonl", "split": "split"}, CONTINUATION: {"tokens": 8}}), 10));
    for what in ["seed of splitting", "sampling seeds"] {
        assert!(!greedy.contains(&format!("| {what}")), "{what}");
    }
}
