//! Several seeds of sampling: as many replies to every prompt, and nothing twice that doesn't depend on them.

use std::collections::BTreeSet;

use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::unit::{ExtractUnit, Features, FitUnit, JudgeUnit, UnitKind, UnitSpec, Versions};

use super::{all_keys, keys_of, planned};
use crate::plan::{Place, Plan, PlanError, Revision, plan_revisions};
use crate::testkit::{facts, rows, spec};

/// A sweep of one model, one layer and two shards, sampled with those seeds.
fn fields(seeds: &str, more: &str) -> String {
    format!(
        "layers: [1]\noffsets: [0, 2, 5]\nexecution: {{rows_per_unit: 10}}\nbaselines: []\n\
         continuation: {{temperature: 0.8{seeds}, controls: [masked-prompt, filler], filler: and so}}\n{more}"
    )
}

fn sampled(seeds: &str, more: &str) -> Plan {
    planned(&["a"], &fields(seeds, more))
}

fn extended(revisions: &[String]) -> Result<Plan, PlanError> {
    let specs: Vec<_> = revisions.iter().map(|fields| spec(&["a"], fields)).collect();
    let models = [facts("a", 2)];
    let revisions: Vec<_> = specs.iter().map(|spec| Revision { spec, models: &models }).collect();
    plan_revisions(&revisions, &rows(20, &["joy", "anger"]), Versions::CURRENT)
}

fn extracts(plan: &Plan, seed: u64) -> Vec<(UnitKey, &ExtractUnit)> {
    let of = |key: &UnitKey| match &plan.units[key].unit.spec {
        UnitSpec::Extract(unit) if plan.units[key].place.sampling_seed() == Some(seed) => Some((*key, unit)),
        _ => None,
    };
    plan.order.iter().filter_map(of).collect()
}

fn fit(plan: &Plan, seed: u64) -> &FitUnit {
    let of = |key: &UnitKey| match &plan.units[key].unit.spec {
        UnitSpec::Fit(unit) if plan.units[key].place.sampling_seed() == Some(seed) => Some(unit),
        _ => None,
    };
    plan.order.iter().find_map(of).expect("a fit of that seed")
}

fn names(read_outs: &[ReadOut]) -> Vec<String> {
    read_outs.iter().map(|read_out| read_out.name()).collect()
}

/// What is read of the replies alone.
const OF_REPLIES: [&str; 4] = ["k2", "k2.masked-prompt", "k5", "k5.masked-prompt"];

#[test]
fn a_further_seed_adds_what_depends_on_its_replies() {
    let (one, three) = (sampled(", seed: 4", ""), sampled(", seeds: [4, 0, 9]", ""));
    assert!(all_keys(&one).is_subset(&all_keys(&three)), "the first seed's units are those of a sweep of that seed alone");
    assert_eq!(one.units.len() * 3, three.units.len());
    assert_eq!((one.cells.len(), three.cells.len()), (3, 1 + 2 * 3), "offset 0 once, two further offsets for each seed");
    let of_cells: Vec<(u32, Option<u64>)> = three.cells.iter().map(|cell| (cell.offset, cell.sampling_seed)).collect();
    let beyond = |k| [Some(0), Some(4), Some(9)].map(|seed| (k, seed));
    assert_eq!(of_cells, [vec![(0, None)], beyond(2).to_vec(), beyond(5).to_vec()].concat());
    assert_eq!(three.sampling_seeds(), BTreeSet::from([0, 4, 9]));
    for seed in [0, 9] {
        let found = extracts(&three, seed);
        assert_eq!(found.len(), 2, "a unit for each shard");
        for (_, unit) in &found {
            assert_eq!(names(&unit.read_outs), OF_REPLIES, "neither offset 0 nor the filler depends on the replies");
            let first = extracts(&three, 4)[0].1.continuation.clone().unwrap();
            let drawn = unit.continuation.clone().unwrap();
            assert_eq!((drawn.seed, drawn.tokens), (Some(seed), first.tokens));
            assert_eq!(limbic_proto::spec::Continuation { seed: Some(4), ..drawn }, first, "the same reply but for its seed");
        }
        let Features::States { extracts: read, .. } = &fit(&three, seed).features else { panic!("probes on states") };
        assert_eq!(read, &found.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        assert_eq!(names(&fit(&three, seed).read_outs), OF_REPLIES);
    }
    let reads = |context| extracts(&three, 4)[0].1.read_outs.iter().any(|read_out| read_out.context == context);
    assert!(reads(Context::Filler) && extracts(&three, 4)[0].1.read_outs.contains(&ReadOut::LAST));
    let titles: Vec<&str> = three.order.iter().map(|key| three.units[key].unit.hints.title.as_str()).collect();
    assert!(
        titles.contains(&"extract a raw sampling seed 9 rows 10..20") && titles.contains(&"fit a raw sampling seed 4 layer 1"),
        "{titles:?}"
    );
    let plain = |planned: &crate::plan::PlannedUnit| !planned.unit.hints.title.contains("sampling");
    assert!(one.units.values().all(plain), "one seed is as it was");
}

#[test]
fn one_seed_has_one_spelling_and_the_first_of_several_is_the_first() {
    assert_eq!(all_keys(&sampled(", seed: 4", "")), all_keys(&sampled(", seeds: [4]", "")));
    assert_eq!(all_keys(&sampled("", "")), all_keys(&sampled(", seed: 0", "")));
    assert!(all_keys(&sampled(", seed: 4", "")).is_disjoint(&all_keys(&sampled(", seed: 5", ""))));
    assert!(all_keys(&sampled(", seed: 4", "")).is_subset(&all_keys(&sampled(", seeds: [4, 5]", ""))));
    assert!(!all_keys(&sampled(", seed: 4", "")).is_subset(&all_keys(&sampled(", seeds: [5, 4]", ""))));
}

#[test]
fn keys_are_what_they_were_before_there_could_be_several_seeds() {
    let plan = sampled(", seed: 4", "");
    let (_, unit) = extracts(&plan, 4)[0];
    let written = limbic_proto::key::canonical_json(&unit.continuation);
    let before = r#"{"controls":["masked-prompt","filler"],"filler":"and so","seed":4,"stop_at_eos":true,"temperature":0.8,"tokens":5}"#;
    assert_eq!(written, before);
    let greedy = planned(&["a"], "offsets: [0, 2]\ncontinuation: {seed: 4}\nbaselines: []\nlayers: [1]");
    let UnitSpec::Extract(unit) = &greedy.units[&greedy.order[0]].unit.spec else { panic!("the states come first") };
    assert_eq!(limbic_proto::key::canonical_json(&unit.continuation), r#"{"seed":0,"stop_at_eos":true,"temperature":0.0,"tokens":2}"#);
    assert!(greedy.cells.iter().all(|cell| cell.sampling_seed.is_none()) && greedy.sampling_seeds().is_empty());
}

#[test]
fn offset_0_is_read_again_where_a_probe_of_it_is_carried_on() {
    for more in ["transfer: [offsets]", "probes: [{kind: offset-mlp}]"] {
        let plan = sampled(", seeds: [0, 1]", &format!("geometry: true\npooling: [last, first]\n{more}"));
        let carried = [&["k0"], &OF_REPLIES[..]].concat();
        assert_eq!(names(&fit(&plan, 1).read_outs), carried, "{more}: the one pooling that is carried on");
        assert!(fit(&plan, 0).geometry && !fit(&plan, 1).geometry, "{more}: the geometry of offset 0 is the first seed's");
        assert_eq!((fit(&plan, 0).transfer, fit(&plan, 1).transfer), (more == "transfer: [offsets]", more == "transfer: [offsets]"));
        let carries = |seed| {
            plan.units.values().any(|p| matches!(p.place, Place::Fit { sampling_seed, carried: true, .. } if sampling_seed == Some(seed)))
        };
        assert!(carries(1) && !carries(0), "{more}");
        assert_eq!(plan.cells.len(), 1 + 2 * 2, "{more}: offset 0 is one cell");
    }
    assert!(!fit(&sampled(", seeds: [0, 1]", "geometry: true"), 1).geometry);
}

#[test]
fn shards_are_those_of_the_first_seed() {
    let mut model = facts("a", 2);
    model.architecture.hidden = 1 << 20;
    let fields = "offsets: [0, 2]\nbaselines: []\ncontinuation: {temperature: 1, seeds: [0, 1]}";
    let plan = crate::plan::plan(&spec(&["a"], fields), &rows(100, &["joy", "anger"]), &[model]).unwrap();
    let sizes = |seed| extracts(&plan, seed).iter().map(|(_, unit)| unit.rows.count).collect::<Vec<_>>();
    assert!(sizes(0).len() > 1);
    assert_eq!(sizes(0), sizes(1), "so that rows exchange replies with the same rows");
}

#[test]
fn the_replies_of_every_seed_are_judged() {
    let judged = |plan: &Plan| -> Vec<(Option<u64>, UnitKey)> {
        let of = |key: &UnitKey| match &plan.units[key].unit.spec {
            UnitSpec::Judge(JudgeUnit { replies, .. }) => Some((plan.units[key].place.sampling_seed(), *replies)),
            _ => None,
        };
        plan.order.iter().filter_map(of).collect()
    };
    for offsets in ["offsets: [0, 2]", "offsets: [0]"] {
        let fields =
            format!("{offsets}\nlayers: [1]\nbaselines: []\njudge: {{}}\ncontinuation: {{tokens: 7, temperature: 1, seeds: [0, 3]}}");
        let plan = planned(&["a"], &fields);
        let found = judged(&plan);
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [Some(0), Some(3)], "{offsets}");
        for (seed, replies) in found {
            let (_, unit) = extracts(&plan, seed.unwrap()).into_iter().find(|(key, _)| *key == replies).expect("the seed's own replies");
            assert_eq!((unit.continuation.as_ref().unwrap().tokens, unit.continuation.as_ref().unwrap().seed), (Some(7), seed));
            // Where nothing is read of a reply it is written all the same.
            assert_eq!(unit.layers.is_empty(), offsets == "offsets: [0]" && seed == Some(3), "{offsets}");
        }
        let again = plan_revisions(
            &[Revision { spec: &spec(&["a"], &fields), models: &[facts("a", 2)] }; 2],
            &rows(20, &["joy", "anger"]),
            Versions::CURRENT,
        );
        assert_eq!(again.unwrap().order, plan.order, "asked again, it adds nothing");
    }
}

#[test]
fn every_judge_judges_the_replies_of_every_seed_and_joins_where_others_have() {
    let planned = |revisions: &[(&str, &str)]| {
        let specs: Vec<_> = revisions.iter().map(|(seeds, judge)| spec(&["a", "b"], &fields(seeds, judge))).collect();
        let models = [facts("a", 2), facts("b", 2)];
        let revisions: Vec<_> = specs.iter().map(|spec| Revision { spec, models: &models }).collect();
        plan_revisions(&revisions, &rows(20, &["joy", "anger"]), Versions::CURRENT).unwrap()
    };
    let judged = |plan: &Plan| -> BTreeSet<(usize, usize, Option<u64>, UnitKey)> {
        let of = |key: &UnitKey| match (&plan.units[key].place, &plan.units[key].unit.spec) {
            (Place::Judge { judge, model, sampling_seed, .. }, UnitSpec::Judge(unit)) => {
                Some((*judge, *model, *sampling_seed, unit.replies))
            }
            _ => None,
        };
        plan.order.iter().filter_map(of).collect()
    };
    let (one, both) = ("judge: {models: [b]}", "judge: {models: [a, b]}");
    let whole = planned(&[(", seeds: [0, 3]", both)]);
    // 2 judges x 2 models x 2 seeds x 2 shards, all of which have test rows.
    assert_eq!(judged(&whole).len(), 16);
    let replies = |wanted| judged(&whole).into_iter().filter(move |j| j.0 == wanted).map(|j| (j.1, j.2, j.3)).collect::<BTreeSet<_>>();
    assert_eq!(replies(0), replies(1), "the same replies");
    let seeds: BTreeSet<_> = replies(0).into_iter().map(|(model, seed, _)| (model, seed)).collect();
    assert_eq!(seeds, BTreeSet::from([(0, Some(0)), (0, Some(3)), (1, Some(0)), (1, Some(3))]));
    // By a seed and then by a judge, or the other way round.
    for revisions in [
        [(", seeds: [0]", one), (", seeds: [0, 3]", one), (", seeds: [0, 3]", both)],
        [(", seeds: [0]", one), (", seeds: [0]", both), (", seeds: [0, 3]", both)],
    ] {
        assert_eq!(judged(&planned(&revisions)), judged(&whole), "{revisions:?}");
        assert_eq!(all_keys(&planned(&revisions)), all_keys(&whole), "{revisions:?}");
    }
}

#[test]
fn a_sweep_is_extended_by_a_seed() {
    let (first, both) = (fields(", seed: 0", ""), fields(", seeds: [0, 1]", ""));
    let (base, whole) = (sampled(", seed: 0", ""), sampled(", seeds: [0, 1]", ""));
    let more = extended(&[first.clone(), both.clone()]).unwrap();
    assert_eq!(all_keys(&more), all_keys(&whole), "the units of one sweep over both");
    assert_eq!(more.cells, whole.cells);
    let new: BTreeSet<_> = all_keys(&more).difference(&all_keys(&base)).copied().collect();
    assert_eq!(new.len(), 2 + 1, "two shards and a fit");
    assert_eq!(extended(&[first.clone(), both.clone(), both.clone()]).unwrap().order, more.order);
    // The seed alone is as good; offset 0 is there already.
    assert_eq!(all_keys(&extended(&[first.clone(), fields(", seed: 1", "")]).unwrap()), all_keys(&whole));
    let other = fields("", "").replace("temperature: 0.8", "temperature: 0.9");
    let refused = extended(&[first, other]).unwrap_err().to_string();
    assert!(refused.starts_with("continuation: differs") && refused.contains("seeds of sampling"), "{refused}");
}

#[test]
fn a_further_offset_is_read_in_the_replies_of_every_seed() {
    let base = fields(", seeds: [0, 1]", "transfer: [offsets]");
    let more = extended(&[base.clone(), base.replace("[0, 2, 5]", "[0, 2, 5, 6]")]).unwrap();
    let base = extended(&[base]).unwrap();
    let new = more.units.iter().filter(|(key, _)| !base.units.contains_key(key)).map(|(_, planned)| &planned.unit.spec);
    let read: BTreeSet<(Option<u64>, Vec<String>)> = new
        .filter_map(|spec| match spec {
            UnitSpec::Extract(unit) => Some((unit.continuation.as_ref().unwrap().seed, names(&unit.read_outs))),
            _ => None,
        })
        .collect();
    let named = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let of = |seed, read: &[&str]| (Some(seed), named(read));
    assert_eq!(read, BTreeSet::from([of(0, &["k6", "k6.masked-prompt", "k6.filler"]), of(1, &["k6", "k6.masked-prompt"])]));
    assert_eq!(keys_of(&more, UnitKind::Fit).len(), keys_of(&base, UnitKind::Fit).len() + 2);
}
