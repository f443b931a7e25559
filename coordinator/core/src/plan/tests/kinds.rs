//! What a sweep has beside extraction and fits: transfers, verdicts, baselines on embeddings, written answers, twins.

use std::collections::BTreeSet;

use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Split;
use limbic_proto::spec::{Baseline, Prompt};
use limbic_proto::unit::{Asking, Features, FitUnit, JudgeUnit, TransferUnit, UnitKind, UnitSpec, Versions};

use super::{all_keys, keys_of, planned, prompts};
use crate::plan::{Place, Plan, PlanError, PlannedUnit, Revision, plan, plan_revisions};
use crate::testkit::{facts, rows, spec};

const TWO: &str = "conditions: [{name: raw}, {name: calm, template: 'calm {text}'}]\nlayers: [0, 2]\nexecution: {rows_per_unit: 10}\n";
const THREE: &str = "conditions: [{name: raw}, {name: calm, template: 'calm {text}'}, {name: loud, template: 'LOUD {text}'}]\n\
                     layers: [0, 2]\nexecution: {rows_per_unit: 10}\n";

fn with(conditions: &str, more: &str) -> Plan {
    planned(&["a"], &format!("{conditions}{more}"))
}

fn of_kind(plan: &Plan, kind: UnitKind) -> Vec<&PlannedUnit> {
    plan.order.iter().map(|key| &plan.units[key]).filter(|planned| planned.unit.spec.kind() == kind).collect()
}

fn transfers(plan: &Plan) -> Vec<(&TransferUnit, &Place)> {
    let of = |planned: &'_ &PlannedUnit| matches!(planned.unit.spec, UnitSpec::Transfer(_));
    let units = plan.order.iter().map(|key| &plan.units[key]).filter(of);
    units.map(|planned| if let UnitSpec::Transfer(unit) = &planned.unit.spec { (unit, &planned.place) } else { unreachable!() }).collect()
}

fn judges(plan: &Plan) -> Vec<(&JudgeUnit, &Place)> {
    let units = plan.order.iter().map(|key| &plan.units[key]);
    units.filter_map(|planned| if let UnitSpec::Judge(unit) = &planned.unit.spec { Some((unit, &planned.place)) } else { None }).collect()
}

/// Where the fit of a (condition, layer) is.
fn fit(plan: &Plan, condition: usize, layer: Layer) -> UnitKey {
    let ours = |place: &Place| matches!(place, Place::Fit { model: 0, condition: c, layer: l, .. } if (*c, *l) == (condition, layer));
    *plan.units.iter().find(|(_, planned)| ours(&planned.place)).expect("it is fitted").0
}

fn extracts(plan: &Plan, condition: usize) -> Vec<UnitKey> {
    let here = |key: &&UnitKey| matches!(plan.units[key].place, Place::Extract { condition: c, .. } if c == condition);
    plan.order.iter().filter(here).copied().collect()
}

#[test]
fn probes_of_every_condition_are_used_under_every_other() {
    let plan = with(THREE, "transfer: [conditions]\noffsets: [0, 3]\ncontinuation: {}");
    let found = transfers(&plan);
    assert_eq!(found.len(), 3 * 2, "conditions x layers");
    for (unit, place) in found {
        let Place::Transfer { model: 0, condition, layer, from } = place else { panic!("{place:?}") };
        assert_eq!(unit.extracts, extracts(&plan, *condition), "the states of the condition that they are used under");
        assert_eq!(unit.fits, from.iter().map(|c| fit(&plan, *c, *layer)).collect::<Vec<_>>(), "in the place's order");
        let others: BTreeSet<usize> = (0..3).filter(|c| c != condition).collect();
        assert_eq!(from.iter().copied().collect::<BTreeSet<_>>(), others);
        assert_eq!((unit.layer, unit.read_outs.as_slice()), (*layer, [ReadOut::LAST].as_slice()), "offset 0 alone");
    }
}

#[test]
fn the_order_of_conditions_is_in_no_transfers_key() {
    let turned = "conditions: [{name: loud, template: 'LOUD {text}'}, {name: raw}, {name: calm, template: 'calm {text}'}]\n\
                  layers: [0, 2]\nexecution: {rows_per_unit: 10}\n";
    let keys = |conditions| keys_of(&with(conditions, "transfer: [conditions]"), UnitKind::Transfer);
    assert_eq!(keys(THREE), keys(turned));
}

#[test]
fn a_further_condition_adds_the_transfers_that_are_missing() {
    let (two, three) = (spec(&["a"], &format!("{TWO}transfer: [conditions]")), spec(&["a"], &format!("{THREE}transfer: [conditions]")));
    let (rows, models) = (rows(20, &["joy", "anger"]), [facts("a", 2)]);
    let revision = |spec| Revision { spec, models: &models };
    let base = plan_revisions(&[revision(&two)], &rows, Versions::CURRENT).unwrap();
    let more = plan_revisions(&[revision(&two), revision(&three)], &rows, Versions::CURRENT).unwrap();
    assert!(all_keys(&base).is_subset(&all_keys(&more)));
    let new: Vec<(usize, Vec<usize>)> = transfers(&more)
        .into_iter()
        .filter(|(unit, _)| !base.units.contains_key(&UnitSpec::Transfer((*unit).clone()).key()))
        .map(|(_, place)| if let Place::Transfer { condition, from, .. } = place { (*condition, from.clone()) } else { unreachable!() })
        .collect();
    assert_eq!(new.len(), 3 * 2);
    for (to, from) in new {
        // The old ones get the new one's probes, the new one those of both.
        assert_eq!(from.iter().copied().collect::<BTreeSet<_>>(), if to == 2 { BTreeSet::from([0, 1]) } else { BTreeSet::from([2]) });
    }
    assert_eq!(
        plan_revisions(&[revision(&two), revision(&three), revision(&three)], &rows, Versions::CURRENT).unwrap().order,
        more.order,
        "again, nothing is missing"
    );
}

#[test]
fn probes_of_offset_0_go_on_inside_their_fit_unit() {
    let flags = |fields: &str| {
        let plan = planned(&["a"], fields);
        let unit = |key: &UnitKey| if let UnitSpec::Fit(FitUnit { transfer, .. }) = plan.units[key].unit.spec { transfer } else { false };
        plan.order.iter().any(unit)
    };
    assert!(flags("transfer: [offsets]\noffsets: [0, 3]\ncontinuation: {}"));
    assert!(!flags("transfer: [offsets]"), "there is no further offset");
    assert!(!flags("transfer: [conditions]\noffsets: [0, 3]\ncontinuation: {}"));
}

#[test]
fn the_largest_trained_model_judges_what_the_others_wrote() {
    let models = [facts("small", 2), facts("large", 6), facts("large-random", 9)].map(|mut model| {
        model.random_weights = model.name.ends_with("random").then_some(0);
        model
    });
    let fields = format!("{TWO}offsets: [0, 3]\ncontinuation: {{}}\njudge: {{}}");
    let plan = plan(&spec(&["small", "large", "large-random"], &fields), &rows(20, &["joy", "anger"]), &models).unwrap();
    let found = judges(&plan);
    assert_eq!(found.len(), 2 * 2 * 2, "trained models x conditions x shards");
    for (unit, place) in found {
        let Place::Judge { judge: 1, model, condition, sampling_seed: None, rows } = place else { panic!("{place:?}") };
        assert_eq!(unit.model, models[1].identity());
        let replies = &plan.units[&unit.replies];
        assert_eq!(replies.place, Place::Extract { model: *model, condition: *condition, sampling_seed: None, rows: *rows });
        assert_eq!(unit.prompt, Prompt::Template("Reply: {text}\n\nWhich emotion does this reply express: joy or anger?\nAnswer:".into()));
        assert_eq!(unit.answers, [" joy", " anger"]);
    }
    // Verdicts come after what they judge, and are worth something.
    assert!(plan.estimate.units[&UnitKind::Judge].flops > 0.0);
    let of_judge = plan.estimate.models[1].passes.units;
    assert_eq!(of_judge, (2 * 2 + 2 + 8) as u64, "its own states and answers, and every verdict");
}

#[test]
fn a_judge_and_what_it_judges_can_be_named() {
    let fields = |judge: &str| format!("{TWO}offsets: [0, 3]\ncontinuation: {{}}\njudge: {judge}");
    let found = |judge: &str| {
        let plan = planned(&["a", "b"], &fields(judge));
        judges(&plan).iter().map(|(_, place)| (*place).clone()).collect::<Vec<_>>()
    };
    let all = found("{model: b, conditions: [calm]}");
    assert_eq!(all.len(), 2 * 2);
    assert!(all.iter().all(|place| matches!(place, Place::Judge { judge: 1, condition: 1, .. })));
    // Shards without a test row are not judged: every reported number is measured on test.
    let mut data = rows(20, &["joy", "anger"]);
    data.rows.sort_by_key(|row| row.split);
    let plan = plan(&spec(&["a"], &fields("{}")), &data, &[facts("a", 2)]).unwrap();
    assert!(judges(&plan).iter().all(|(_, place)| matches!(place, Place::Judge { rows: (10, 20), .. })));
}

#[test]
fn replies_are_written_where_they_are_read_or_judged() {
    let continued = |fields: &str| -> Vec<(usize, Option<u32>)> {
        let plan = with(TWO, fields);
        let extracts = of_kind(&plan, UnitKind::Extract).into_iter().filter_map(|planned| match (&planned.place, &planned.unit.spec) {
            (Place::Extract { condition, .. }, UnitSpec::Extract(unit)) => {
                Some((*condition, unit.continuation.as_ref().map(|c| c.tokens.unwrap())))
            }
            _ => None,
        });
        extracts.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(continued("continuation: {tokens: 7}"), [(0, None), (1, None)]);
    assert_eq!(continued("continuation: {tokens: 7}\njudge: {conditions: [calm]}"), [(0, None), (1, Some(7))]);
    assert_eq!(continued("offsets: [0, 3]\ncontinuation: {}\njudge: {conditions: [calm]}"), [(0, Some(3)), (1, Some(3))]);
}

#[test]
fn a_further_offset_does_not_have_replies_judged_twice() {
    let fields = |offsets: &str| format!("{TWO}offsets: {offsets}\ncontinuation: {{}}\njudge: {{}}");
    let (few, many) = (spec(&["a"], &fields("[0, 2]")), spec(&["a"], &fields("[0, 2, 5]")));
    let (rows, models) = (rows(20, &["joy", "anger"]), [facts("a", 2)]);
    let base = plan_revisions(&[Revision { spec: &few, models: &models }], &rows, Versions::CURRENT).unwrap();
    let more =
        plan_revisions(&[Revision { spec: &few, models: &models }, Revision { spec: &many, models: &models }], &rows, Versions::CURRENT)
            .unwrap();
    assert_eq!(keys_of(&base, UnitKind::Judge), keys_of(&more, UnitKind::Judge));
    assert_eq!(judges(&base).len(), 4);
}

#[test]
fn the_mean_embedding_baseline_reads_layer_0_of_the_bare_text_once_a_model() {
    let plan = planned(&["a", "b"], &format!("{THREE}baselines: [mean-embedding]\nprobes: [{{kind: mlp}}, {{kind: logistic, c: [0.5]}}]"));
    let places =
        |wanted: fn(&Place) -> bool| plan.order.iter().map(|key| &plan.units[key]).filter(|p| wanted(&p.place)).collect::<Vec<_>>();
    let embeddings = places(|place| matches!(place, Place::Embedding { .. }));
    assert_eq!(embeddings.len(), 2 * 2, "models x shards, whatever the conditions");
    let UnitSpec::Extract(unit) = &embeddings[0].unit.spec else { panic!() };
    assert_eq!(
        (unit.layers.as_slice(), &unit.prompt, &unit.continuation),
        ([Layer::Block(0)].as_slice(), &Prompt::Template("{text}".into()), &None)
    );
    assert_eq!(unit.read_outs, [ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST }]);
    let fits = places(|place| matches!(place, Place::Baseline { baseline: Baseline::MeanEmbedding, model: Some(_) }));
    assert_eq!(fits.len(), 2);
    let UnitSpec::Fit(FitUnit { probes, features: Features::States { extracts, .. }, controls, .. }) = &fits[0].unit.spec else { panic!() };
    assert_eq!((probes.len(), probes[0].name(), extracts.len(), controls.len()), (1, "logistic", 2, 0), "the spec's own logistic probe");
    assert_eq!(embeddings[0].unit.hints.title, "extract a embeddings rows 0..10");
    assert_eq!(fits[0].unit.hints.title, "fit a mean-embedding");
}

#[test]
fn written_answers_are_asked_for_beside_likelihoods() {
    let plan = planned(&["a"], "baselines: [zero-shot, zero-shot-json]\nzero_shot: {json_tokens: 9}");
    let units = prompts(&plan);
    assert_eq!(units.iter().map(|unit| unit.asking).collect::<Vec<_>>(), [Asking::Likelihood, Asking::Answer { tokens: 9 }]);
    let (likelihood, json) = (units[0], units[1]);
    assert_eq!((likelihood.answers.len(), likelihood.content_free.len()), (2, 3));
    assert!(json.answers.is_empty() && json.content_free.is_empty());
    assert!(matches!(&json.prompt, Prompt::Template(text) if text.contains("JSON") && text.contains("joy or anger")));
    let titles: Vec<&str> = of_kind(&plan, UnitKind::Prompt).iter().map(|planned| planned.unit.hints.title.as_str()).collect();
    assert_eq!(titles, ["prompt a rows 4..20", "prompt a json rows 4..20"]);
}

#[test]
fn a_twin_has_cells_and_nothing_else() {
    let twin = || {
        let mut model = facts("a-random", 2);
        (model.digest, model.random_weights) = (Digest::of(b"a and seed 0"), Some(0));
        model
    };
    let fields = format!(
        "{TWO}offsets: [0, 3]\ncontinuation: {{}}\ntransfer: [conditions]\njudge: {{}}\ncontrols: [random-weights]\n\
         baselines: [majority, bag-of-words, mean-embedding, zero-shot, zero-shot-json]"
    );
    let data = rows(20, &["joy", "anger"]);
    let alone = plan(&spec(&["a"], &fields), &data, &[facts("a", 2)]).unwrap();
    let both = plan(&spec(&["a", "a-random"], &fields), &data, &[facts("a", 2), twin()]).unwrap();
    let new: Vec<_> = both.order.iter().filter(|key| !alone.units.contains_key(key)).map(|key| &both.units[key]).collect();
    assert!(new.iter().all(|planned| matches!(planned.place, Place::Extract { model: 1, .. } | Place::Fit { model: 1, .. })));
    assert_eq!((new.len(), both.cells.len()), (2 * 2 + 2 * 2, 2 * alone.cells.len()));
    let hint = new[0].unit.hints.model.as_ref().unwrap();
    assert_eq!((hint.name.as_str(), hint.random_weights), ("a-random", Some(0)));
    assert!(all_keys(&alone).is_subset(&all_keys(&both)), "the trained model's units are as they were");
}

#[test]
fn controls_on_the_same_states_are_in_the_fit_and_twins_are_not() {
    let controls = |fields: &str| {
        let plan = planned(&["a"], fields);
        let unit = |key: &UnitKey| {
            if let UnitSpec::Fit(FitUnit { controls, features: Features::States { .. }, .. }) = &plan.units[key].unit.spec {
                Some(controls.clone())
            } else {
                None
            }
        };
        plan.order.iter().find_map(unit).unwrap()
    };
    assert_eq!(
        controls("controls: [random-direction, random-weights, shuffled-labels]"),
        controls("controls: [shuffled-labels, random-direction]")
    );
    assert_eq!(controls("controls: [random-weights]"), []);
}

const NOTHING: &str = "layers: []\nprobes: []\n";

#[test]
fn a_sweep_may_do_nothing_but_ask() {
    let asked = planned(&["a", "b"], &format!("{NOTHING}baselines: []\nwriting: {{tokens: 9}}\nexecution: {{rows_per_unit: 8}}"));
    // Every row is written about, not only those between the first and the last test row.
    let rows: Vec<Place> = asked.order.iter().map(|key| asked.units[key].place.clone()).collect();
    let of = |model: usize| [(0, 8), (8, 16), (16, 20)].map(|rows| Place::Writing { model, rows });
    assert_eq!((rows, asked.cells.len()), ([of(0), of(1)].concat(), 0));
    for unit in prompts(&asked) {
        assert_eq!((unit.asking, unit.answers.len(), unit.content_free.len()), (Asking::Answer { tokens: 9 }, 0, 0));
    }
    assert!(asked.units.values().all(|planned| planned.unit.hints.model.is_some() && planned.tokens > 0));
    let zero_shot = planned(&["a"], &format!("{NOTHING}baselines: [zero-shot]"));
    assert!(of_kind(&zero_shot, UnitKind::Prompt).len() == zero_shot.units.len() && zero_shot.cells.is_empty());
}

#[test]
fn only_what_is_fitted_needs_every_split() {
    let mut of_test = rows(6, &["joy", "anger"]);
    of_test.rows.iter_mut().for_each(|row| (row.split, row.class) = (Split::Test, 0));
    let plan =
        |fields: &str, rows: &_| plan(&spec(&["a"], &format!("{NOTHING}{fields}")), rows, &[facts("a", 2)]).map(|plan| plan.units.len());
    assert_eq!(plan("baselines: [zero-shot]", &of_test), Ok(1));
    assert_eq!(plan("baselines: []\nwriting: {tokens: 1}", &of_test), Ok(1));
    assert_eq!(plan("baselines: [majority]", &of_test), Err(PlanError::EmptySplit { split: Split::Train, column: false }));
    of_test.rows.iter_mut().for_each(|row| row.split = Split::Train);
    assert_eq!(plan("baselines: [zero-shot]", &of_test), Err(PlanError::EmptySplit { split: Split::Test, column: false }));
}

#[test]
fn a_description_length_is_drawn_by_the_smallest_seed_whatever_else_is_fitted() {
    let coded = "{kind: logistic, c: [1], mdl: true}";
    let seeds = |probes: &str| {
        let plan = planned(&["a"], &format!("layers: [1]\nbaselines: []\nseeds: [7, 5]\nprobes: [{probes}]"));
        let fits = plan
            .units
            .values()
            .filter_map(|planned| if let UnitSpec::Fit(unit) = &planned.unit.spec { Some(unit.seeds.clone()) } else { None });
        fits.collect::<Vec<_>>()
    };
    assert_eq!(seeds(coded), [[5]]);
    assert_eq!(seeds(&format!("{coded}, {{kind: mlp, hidden: 4}}")), [[5, 7]]);
    assert_eq!(seeds("{kind: logistic, c: [1]}"), [[0]], "nothing draws from it");
}
