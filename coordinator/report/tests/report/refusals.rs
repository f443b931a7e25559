//! What is refused.

use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, ReportError, evaluate, files};

use super::{small, values, whole};

#[test]
fn what_does_not_fit_is_rejected() {
    let (mut study, _) = small();
    let mut short = values(&study.predictions[3]);
    short.pop();
    study.predictions[3].values = Deferred::held(short);
    assert!(matches!(evaluate(&study), Err(ReportError::Shape { prediction: 3, .. })));
    let (mut study, results) = small();
    study.predictions[0].condition = Some(9);
    assert!(matches!(files(&study, &results), Err(ReportError::Index { axis: "condition", index: 9, .. })));
    assert!(matches!(evaluate(&study), Err(ReportError::Index { .. })));
    let (mut study, results) = small();
    study.predictions.pop();
    assert!(matches!(files(&study, &results), Err(ReportError::Mismatch { .. })));
    let (mut study, _) = small();
    study.scheme = Scheme::Multi;
    assert!(matches!(evaluate(&study), Err(ReportError::Values { found: 0, classes: 7, .. })));
    let (mut study, _) = whole();
    study.verdicts[1].values.pop();
    assert!(matches!(evaluate(&study), Err(ReportError::Shape { .. })));
}

#[test]
fn what_can_not_be_read_ends_the_evaluation_and_is_named() {
    let (mut study, _) = small();
    study.predictions[5].values = Deferred::new(|| Err("the store is gone".to_owned()));
    let said = evaluate(&study).expect_err("it can't be read").to_string();
    assert!(said.contains("prediction 5 (logistic)") && said.contains("the store is gone"), "{said}");
    let (mut study, _) = whole();
    study.geometry[2].tensors = Deferred::new(|| Err("the store is gone".to_owned()));
    let said = evaluate(&study).expect_err("it can't be read").to_string();
    assert!(said.contains("geometry of Linden-0.6B, raw, layer 2"), "{said}");
}
