//! Sweeps of several revisions: only what is missing is planned, and nothing may be changed.

use std::collections::BTreeSet;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::Activations;
use limbic_proto::unit::{UnitKind, UnitSpec, Versions};

use super::super::{Plan, PlanError, Revision, plan, plan_revisions};
use super::{all_keys, keys_of};
use crate::testkit::{facts, rows, spec};

/// A plan of revisions, each given by its models and further fields. Models have two blocks.
fn revised(revisions: &[(&[&str], &str)]) -> Result<Plan, PlanError> {
    let specs: Vec<_> = revisions.iter().map(|(names, fields)| spec(names, fields)).collect();
    let models: Vec<Vec<_>> = revisions.iter().map(|(names, _)| names.iter().map(|name| facts(name, 2)).collect()).collect();
    let revisions: Vec<_> = specs.iter().zip(&models).map(|(spec, models)| Revision { spec, models }).collect();
    plan_revisions(&revisions, &rows(20, &["joy", "anger"]), Versions::CURRENT)
}

const BASE: (&[&str], &str) = (&["a"], "layers: [0, 2]\nexecution: {rows_per_unit: 8}");

#[test]
fn a_further_model_leaves_every_unit_as_it_is() {
    let (base, more) = (revised(&[BASE]).unwrap(), revised(&[BASE, (&["a", "b"], BASE.1)]).unwrap());
    assert!(all_keys(&base).is_subset(&all_keys(&more)));
    let alone = plan(&spec(&["b"], BASE.1), &rows(20, &["joy", "anger"]), &[facts("b", 2)]).unwrap();
    let new: BTreeSet<_> = all_keys(&more).difference(&all_keys(&base)).copied().collect();
    let of_b: BTreeSet<_> = all_keys(&alone).difference(&all_keys(&base)).copied().collect();
    assert_eq!(new, of_b, "the same units as in a sweep of that model alone");
    assert_eq!((base.cells.len(), more.cells.len()), (2, 4));
    assert_eq!(more.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn how_the_work_is_run_is_the_last_revisions_word_and_changes_no_unit() {
    let with = |execution: &str| format!("layers: [0, 2]\nexecution: {{rows_per_unit: 8{execution}}}");
    let (keep, release) = (with(""), with(", activations: release, priority: 3"));
    let (base, more) = (revised(&[BASE]).unwrap(), revised(&[(&["a"], &keep), (&["a"], &release)]).unwrap());
    assert_eq!(base.order, more.order);
    assert_eq!((base.activations, more.activations, more.priority), (Activations::Keep, Activations::Release, 3));
    assert!(!limbic_proto::key::canonical_json(&spec(&["a"], &keep)).contains("activations"), "as it was before there was a choice");
}

#[test]
fn a_further_layer_is_extracted_alone() {
    let (base, more) = (revised(&[BASE]).unwrap(), revised(&[BASE, (&["a"], "layers: [1, 2]\nexecution: {rows_per_unit: 8}")]).unwrap());
    assert!(all_keys(&base).is_subset(&all_keys(&more)));
    let new: Vec<_> = more.units.iter().filter(|(key, _)| !base.units.contains_key(key)).map(|(_, planned)| &planned.unit.spec).collect();
    let extracted: Vec<_> =
        new.iter().filter_map(|spec| if let UnitSpec::Extract(unit) = spec { Some(&unit.layers) } else { None }).collect();
    assert_eq!(extracted, [&vec![Layer::Block(1)]; 3], "three shards, and layer 2 is there already");
    assert_eq!(new.len(), 4, "and one fit");
    assert_eq!(more.layers, [[Layer::Block(0), Layer::Block(1), Layer::Block(2)]]);
    assert_eq!(more.cells.len(), 3);
}

#[test]
fn a_further_offset_is_read_at_all_layers_with_the_tokens_it_needs() {
    let with = |offsets: &str| format!("layers: [0, 2]\ncontinuation: {{}}\n{offsets}");
    let (few, many) = (with("offsets: [0, 2]"), with("offsets: [0, 2, 5]"));
    let (base, more) = (revised(&[(&["a"], &few)]).unwrap(), revised(&[(&["a"], &few), (&["a"], &many)]).unwrap());
    assert!(all_keys(&base).is_subset(&all_keys(&more)));
    let new: Vec<_> = more.units.iter().filter(|(key, _)| !base.units.contains_key(key)).map(|(_, planned)| &planned.unit.spec).collect();
    let UnitSpec::Extract(extract) = new.iter().find(|spec| spec.kind() == UnitKind::Extract).unwrap() else { unreachable!() };
    assert_eq!(extract.read_outs, [ReadOut::at(5)]);
    assert_eq!(extract.continuation.as_ref().unwrap().tokens, Some(5));
    assert_eq!(more.cells.len(), 6);
    assert_eq!(keys_of(&more, UnitKind::Fit).len(), keys_of(&base, UnitKind::Fit).len() + 2);
}

#[test]
fn the_same_again_adds_nothing_but_says_where_the_bytes_are_now() {
    let rows = rows(20, &["joy", "anger"]);
    let (spec, before) = (spec(&["a"], BASE.1), [facts("a", 2)]);
    let mut moved = before.clone();
    (moved[0].name, moved[0].source) = ("renamed".to_owned(), "/elsewhere/a".to_owned());
    let revisions = [Revision { spec: &spec, models: &before }, Revision { spec: &spec, models: &moved }];
    let (base, more) = (plan(&spec, &rows, &before).unwrap(), plan_revisions(&revisions, &rows, Versions::CURRENT).unwrap());
    assert_eq!((&base.order, &base.cells), (&more.order, &more.cells));
    assert_eq!((more.models[0].name.as_str(), more.models[0].source.as_str()), ("a", "/elsewhere/a"));
    let sources: BTreeSet<_> = more.units.values().filter_map(|planned| planned.unit.hints.model.as_ref()).map(|m| &m.source).collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["/elsewhere/a"]);
}

#[test]
fn what_would_change_a_sweep_is_refused() {
    let says = |later: (&[&str], &str), words: &[&str]| {
        let text = revised(&[BASE, later]).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says((&["a"], "seeds: [4]"), &["seeds: differs from what the sweep was first asked", "a sweep of its own"]);
    says((&["a"], "probes: [{kind: mlp}]"), &["probes: differs"]);
    says((&["a"], "conditions: [{name: raw, template: 'now {text}'}]"), &["conditions: `raw` puts another prompt", "another name"]);
    let one = |fields: &str| format!("offsets: [0, 1]\ncontinuation: {fields}");
    let changed = revised(&[(&["a"], &one("{}")), (&["a"], &one("{filler: 'and so'}"))]);
    assert!(changed.unwrap_err().to_string().starts_with("continuation: differs"));
    let (rows, spec, mut other) = (rows(20, &["joy", "anger"]), spec(&["a"], ""), [facts("b", 2)]);
    other[0].name = "a".to_owned();
    let models = [facts("a", 2)];
    let revisions = [Revision { spec: &spec, models: &models }, Revision { spec: &spec, models: &other }];
    assert!(plan_revisions(&revisions, &rows, Versions::CURRENT).unwrap_err().to_string().starts_with("models: `a` has other weights"));
}
