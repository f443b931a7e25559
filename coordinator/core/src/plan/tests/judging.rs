//! Several judges of the same replies, from the start or one after another.

use std::collections::BTreeSet;

use limbic_proto::key::UnitKey;
use limbic_proto::unit::{JudgeUnit, UnitKind, UnitSpec, Versions};

use super::{all_keys, keys_of};
use crate::plan::{ModelFacts, Place, Plan, PlanError, Revision, plan_revisions};
use crate::testkit::{facts, rows, spec};

const NAMES: [&str; 3] = ["a", "b", "a-random"];

/// Two trained models of two blocks and one of random weights; `a` is the largest that is trained.
fn models(names: &[&str]) -> Vec<ModelFacts> {
    let one = |name: &&str| {
        let blocks = if *name == "a" { 3 } else { 2 };
        ModelFacts { random_weights: name.ends_with("random").then_some(0), ..facts(name, blocks) }
    };
    names.iter().map(one).collect()
}

/// A revision: its models, offsets and judge.
type Asked = (&'static [&'static str], &'static str, &'static str);

fn revised(revisions: &[Asked]) -> Result<Plan, PlanError> {
    let fields = |offsets: &str, judge: &str| {
        format!(
            "conditions: [{{name: raw}}, {{name: calm, template: 'calm {{text}}'}}]\nlayers: [0, 2]\nexecution: {{rows_per_unit: 10}}\n\
             offsets: {offsets}\ncontinuation: {{}}\nbaselines: []\n{judge}"
        )
    };
    let specs: Vec<_> = revisions.iter().map(|(names, offsets, judge)| spec(names, &fields(offsets, judge))).collect();
    let models: Vec<_> = revisions.iter().map(|(names, ..)| self::models(names)).collect();
    let revisions: Vec<_> = specs.iter().zip(&models).map(|(spec, models)| Revision { spec, models }).collect();
    plan_revisions(&revisions, &rows(20, &["joy", "anger"]), Versions::CURRENT)
}

fn judged(judge: &'static str) -> Plan {
    revised(&[(&NAMES, "[0, 3]", judge)]).unwrap()
}

fn judges(plan: &Plan) -> BTreeSet<(usize, usize, usize, (usize, usize))> {
    let of = |key: &UnitKey| match plan.units[key].place {
        Place::Judge { judge, model, condition, rows, .. } => Some((judge, model, condition, rows)),
        _ => None,
    };
    plan.order.iter().filter_map(of).collect()
}

/// The units of a judge.
fn of_judge(plan: &Plan, wanted: usize) -> BTreeSet<UnitKey> {
    let by = |place: &Place| matches!(place, Place::Judge { judge, .. } if *judge == wanted);
    plan.units.iter().filter(|(_, planned)| by(&planned.place)).map(|(key, _)| *key).collect()
}

fn replies(plan: &Plan, judge: usize) -> BTreeSet<UnitKey> {
    let unit = |key: &UnitKey| match &plan.units[key].unit.spec {
        UnitSpec::Judge(JudgeUnit { replies, .. }) => *replies,
        other => panic!("{other:?}"),
    };
    of_judge(plan, judge).iter().map(unit).collect()
}

#[test]
fn every_judge_that_is_named_judges_every_reply() {
    let both = judged("judge: {models: [b, a]}");
    // 2 judges x 2 trained models x 2 conditions x 2 shards.
    assert_eq!(judges(&both).len(), 16);
    assert_eq!(replies(&both, 0), replies(&both, 1), "the same replies");
    for (judge, name) in NAMES.iter().enumerate().take(2) {
        let unit = &both.units[of_judge(&both, judge).first().unwrap()].unit;
        assert_eq!(unit.spec.model(), Some(&both.models[judge].identity()));
        assert_eq!(unit.hints.model.as_ref().unwrap().name, *name);
    }
    assert_eq!(both.order.len(), both.units.len());
    let at = |key: &UnitKey| both.order.iter().position(|k| k == key).unwrap();
    for key in keys_of(&both, UnitKind::Judge) {
        assert!(both.units[&key].unit.spec.dependencies().iter().all(|replies| at(replies) < at(&key)), "after what it judges");
    }
}

#[test]
fn a_judge_has_the_same_units_whoever_judges_beside_it() {
    let (largest, one, both, all) =
        (judged("judge: {}"), judged("judge: {model: b}"), judged("judge: {models: [a, b]}"), judged("judge: {models: all}"));
    assert_eq!(of_judge(&largest, 0), of_judge(&both, 0));
    assert_eq!(of_judge(&one, 1), of_judge(&both, 1));
    assert_eq!(all_keys(&both), all_keys(&all), "random weights judge nothing, unless they are named");
    assert_eq!(all_keys(&both), all_keys(&largest).union(&all_keys(&one)).copied().collect());
    assert_eq!(of_judge(&judged("judge: {models: [a-random]}"), 2).len(), 8);
}

#[test]
fn texts_without_content_are_asked_of_judges_where_the_spec_has_them() {
    let (plain, calibrated) = (judged("judge: {}"), judged("judge: {content_free: [N/A, '']}"));
    let texts = |plan: &Plan| -> BTreeSet<Vec<String>> {
        let of = |key: &UnitKey| match &plan.units[key].unit.spec {
            UnitSpec::Judge(unit) => Some(unit.content_free.clone()),
            _ => None,
        };
        plan.order.iter().filter_map(of).collect()
    };
    assert_eq!((texts(&plain), texts(&calibrated)), (BTreeSet::from([vec![]]), BTreeSet::from([vec!["N/A".to_owned(), String::new()]])));
    assert!(of_judge(&plain, 0).is_disjoint(&of_judge(&calibrated, 0)) && replies(&plain, 0) == replies(&calibrated, 0));
    let unit = &plain.units[of_judge(&plain, 0).first().unwrap()].unit.spec;
    assert!(!serde_json::to_string(unit).unwrap().contains("content_free"), "keys of what was judged before stay");
}

#[test]
fn a_further_judge_adds_its_own_verdicts_on_the_same_replies_and_nothing_else() {
    let base: Asked = (&NAMES, "[0, 3]", "judge: {model: b}");
    let (before, more) = (revised(&[base]).unwrap(), revised(&[base, (&NAMES, "[0, 3]", "judge: {models: [a]}")]).unwrap());
    let new: BTreeSet<_> = all_keys(&more).difference(&all_keys(&before)).copied().collect();
    assert!(all_keys(&before).is_subset(&all_keys(&more)) && new == of_judge(&more, 0));
    assert_eq!(all_keys(&more), all_keys(&judged("judge: {models: [a, b]}")), "as if it had been there from the start");
    assert_eq!(before.cells, more.cells);
    // A further offset reads longer replies: those that are judged stay the ones that everybody judged.
    let longer = revised(&[base, (&NAMES, "[0, 3, 5]", "judge: {models: [a, b]}")]).unwrap();
    assert_eq!((replies(&longer, 0), replies(&longer, 1)), (replies(&before, 1), replies(&before, 1)));
    assert_eq!(keys_of(&longer, UnitKind::Judge), keys_of(&more, UnitKind::Judge));
    let again = revised(&[base, (&NAMES, "[0, 3]", "judge: {models: all}"), (&NAMES, "[0, 3]", "judge: {models: all}")]).unwrap();
    assert_eq!(again.order, more.order, "and again, nothing is missing");
}

#[test]
fn a_further_model_judges_and_is_judged_where_all_do() {
    let all = "judge: {models: all}";
    let alone: Asked = (&["a"], "[0, 3]", all);
    let (before, more) = (revised(&[alone]).unwrap(), revised(&[alone, (&["a", "b"], "[0, 3]", all)]).unwrap());
    assert!(keys_of(&before, UnitKind::Judge).is_subset(&keys_of(&more, UnitKind::Judge)));
    assert_eq!(all_keys(&more), all_keys(&revised(&[(&["a", "b"], "[0, 3]", all)]).unwrap()));
    // The largest, which nobody named, judges what its revision adds.
    let (small, large): (Asked, Asked) = ((&["b"], "[0, 3]", "judge: {}"), (&["b", "a"], "[0, 3]", "judge: {}"));
    let found: BTreeSet<_> = judges(&revised(&[small, large]).unwrap()).into_iter().map(|(judge, model, ..)| (judge, model)).collect();
    assert_eq!(found, BTreeSet::from([(0, 0), (1, 1)]));
}

#[test]
fn a_judge_is_known_by_the_name_that_its_revision_gives_it() {
    let specs = [spec(&["a"], "offsets: [0, 3]\ncontinuation: {}"), spec(&["old", "b"], "offsets: [0, 3]\ncontinuation: {}")];
    let mut later = models(&["a", "b"]);
    later[0].name = "old".to_owned();
    let asked = limbic_proto::spec::Judge { models: Some(limbic_proto::spec::Judges::Named(vec!["old".into()])), ..Default::default() };
    let [first, second] = specs.map(|spec| limbic_proto::spec::Spec { judge: Some(asked.clone()), ..spec });
    let first = limbic_proto::spec::Spec { judge: Some(limbic_proto::spec::Judge::default()), ..first };
    let revisions = [Revision { spec: &first, models: &models(&["a"]) }, Revision { spec: &second, models: &later }];
    let plan = plan_revisions(&revisions, &rows(20, &["joy", "anger"]), Versions::CURRENT).unwrap();
    let by: BTreeSet<_> = judges(&plan).into_iter().map(|(judge, model, ..)| (judge, model)).collect();
    assert_eq!(by, BTreeSet::from([(0, 0), (0, 1)]), "the first model, which the plan calls `a`, judges what `b` replies");
}

#[test]
fn another_question_is_another_sweep() {
    let base: Asked = (&NAMES, "[0, 3]", "judge: {model: b}");
    for later in ["judge: {model: a}", "judge: {models: [a], question: 'What is {text}?'}", "judge: {models: all, conditions: [calm]}", ""]
    {
        let error = revised(&[base, (&NAMES, "[0, 3]", later)]).unwrap_err().to_string();
        assert!(error.starts_with("judge: differs") && error.contains("`judge.models`"), "{later}: {error}");
    }
}
