//! What units are estimated to cost: sums agree, and more work costs more.

use limbic_proto::unit::{UnitKind, UnitSpec};

use super::{EVERYTHING, planned};
use crate::plan::{Place, Plan};

const BASE: &str =
    "offsets: [0, 3]\ncontinuation: {}\nconditions: [{name: raw}, {name: calm, template: 'calm {text}'}]\nexecution: {rows_per_unit: 10}";

fn kind(plan: &Plan, kind: UnitKind) -> (f64, u64) {
    let of = &plan.estimate.units[&kind];
    (of.flops, of.bytes_stored)
}

#[test]
fn kinds_models_and_words_each_sum_up_to_the_whole() {
    let plan = planned(&["a", "b"], &format!("{BASE}{EVERYTHING}"));
    let e = &plan.estimate;
    let by_kind = e.units.values().fold((0, 0, 0.0), |sum, of| (sum.0 + of.units, sum.1 + of.bytes_stored, sum.2 + of.flops));
    let parts = e.models.iter().flat_map(|model| [model.passes, model.fits]).chain([e.words]);
    let by_model = parts.fold((0, 0, 0.0), |sum, of| (sum.0 + of.units, sum.1 + of.bytes_stored, sum.2 + of.flops));
    assert_eq!((by_kind.0, by_kind.1), (plan.units.len() as u64, e.bytes_stored));
    assert_eq!((by_model.0, by_model.1), (by_kind.0, by_kind.1));
    assert!((by_model.2 / e.flops - 1.0).abs() < 1e-12 && (by_kind.2 / e.flops - 1.0).abs() < 1e-12);
    assert_eq!(e.words.units, 2, "majority and bag-of-words");
    assert_eq!(e.models[0].fits.units, 2 * 4 + 2 * 4 + 1, "fits, transfers, mean-embedding");
}

#[test]
fn states_are_counted_to_the_byte() {
    let plan = planned(&["a"], BASE);
    // 20 rows x 2 conditions x 4 layers x 2 read-outs x 64 numbers of 4 bytes.
    assert_eq!(plan.estimate.state_bytes, 20 * 2 * 4 * 2 * 64 * 4);
    let with = planned(&["a"], &format!("{BASE}\nbaselines: [mean-embedding]"));
    assert_eq!(with.estimate.state_bytes - plan.estimate.state_bytes, 20 * 64 * 4);
    assert!(plan.estimate.state_bytes < kind(&plan, UnitKind::Extract).1, "tokens are stored beside them");
}

#[test]
fn more_work_costs_more() {
    let fit = |fields: &str| kind(&planned(&["a"], &format!("{BASE}\n{fields}")), UnitKind::Fit);
    let plain = fit("probes: [{kind: logistic, c: [1]}]");
    for more in [
        "probes: [{kind: logistic, c: [1], mdl: true}]",
        "probes: [{kind: logistic, c: [1, 2]}]",
        "probes: [{kind: logistic, c: [1]}, {kind: lda}]",
        "probes: [{kind: logistic, c: [1]}]\ncontrols: [shuffled-labels]",
        "probes: [{kind: logistic, c: [1]}]\ntransfer: [offsets]",
        "probes: [{kind: logistic, c: [1]}]\ngeometry: true",
    ] {
        assert!(fit(more).0 > plain.0, "{more}");
    }
    let transfer = |fields: &str| kind(&planned(&["a"], &format!("{BASE}\ntransfer: [conditions]\n{fields}")), UnitKind::Transfer);
    let (one, four) = (transfer("probes: [{kind: lda}]"), transfer("probes: [{kind: lda}, {kind: mlp}]\nseeds: [1, 2, 3]"));
    assert_eq!((four.0, four.1), (4.0 * one.0, 4 * one.1), "every seed of a probe is transferred");
}

#[test]
fn embeddings_alone_cost_something() {
    let plan = planned(&["a"], "layers: [0]\nbaselines: [mean-embedding]");
    let extracts = plan.units.values().filter(|planned| matches!(planned.unit.spec, UnitSpec::Extract(_)));
    assert!(extracts.clone().any(|planned| matches!(planned.place, Place::Embedding { .. })));
    assert!(extracts.into_iter().all(|planned| planned.unit.hints.flops > 0.0), "or a sweep's progress would stand still");
}
