//! Properties of plans, and every refusal.

mod costs;
mod draws;
mod judging;
mod kinds;
mod moments;
mod revisions;

use std::collections::BTreeSet;

use limbic_proto::axis::Layer;
use limbic_proto::key::UnitKey;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Prompt, Spec};
use limbic_proto::unit::{PromptUnit, UnitKind, UnitSpec};
use proptest::prelude::*;

use super::*;
use crate::testkit::{facts, rows, spec};

fn keys_of(plan: &Plan, kind: UnitKind) -> BTreeSet<UnitKey> {
    plan.units.iter().filter(|(_, planned)| planned.unit.spec.kind() == kind).map(|(key, _)| *key).collect()
}

fn all_keys(plan: &Plan) -> BTreeSet<UnitKey> {
    plan.units.keys().copied().collect()
}

fn planned(names: &[&str], fields: &str) -> Plan {
    crate::testkit::small_plan(names, fields)
}

fn prompts(plan: &Plan) -> Vec<&PromptUnit> {
    let of = |key| match &plan.units[key].unit.spec {
        UnitSpec::Prompt(unit) => Some(unit),
        _ => None,
    };
    plan.order.iter().filter_map(of).collect()
}

#[test]
fn units_are_counted_per_kind() {
    let plan = planned(&["a", "b"], "conditions: [{name: raw}, {name: calm, template: 'calm {text}'}]\nexecution: {rows_per_unit: 8}");
    // 2 models x 2 conditions x 3 shards; 2 x 2 x 4 layers (0, 1, 2, final) and two baselines; 2 models x 2 shards.
    assert_eq!(keys_of(&plan, UnitKind::Extract).len(), 12);
    assert_eq!(keys_of(&plan, UnitKind::Fit).len(), 18);
    // The test rows lie in 4..20, which makes two shards of eight.
    assert_eq!(keys_of(&plan, UnitKind::Prompt).len(), 4);
    assert_eq!(plan.cells.len(), 16);
    assert_eq!(plan.order.len(), plan.units.len());
    let ranges: Vec<_> = prompts(&plan).iter().map(|unit| unit.rows.count).collect();
    assert_eq!(ranges, [8, 8, 8, 8]);
}

#[test]
fn names_store_and_token_budget_are_in_no_key() {
    let base = planned(&["a"], "");
    let mut models = vec![facts("a", 2)];
    (models[0].name, models[0].source) = ("renamed".into(), "s3://elsewhere/a".into());
    let other = spec(
        &["a"],
        "name: other\nstore: /tmp/elsewhere\nconditions: [{name: bare}]\nexecution: {token_budget: 99}\nreport: {resamples: 500, probe: logistic}",
    );
    let moved = plan(&other, &rows(20, &["joy", "anger"]), &models).unwrap();
    assert_eq!(all_keys(&base), all_keys(&moved));
    assert_eq!(moved.units.values().next().unwrap().unit.hints.token_budget, 99);
}

#[test]
fn the_order_of_offsets_seeds_and_probes_is_in_no_key() {
    let one = "offsets: [0, 4]\ncontinuation: {}\nseeds: [1, 2]\nprobes: [{kind: logistic}, {kind: mlp}]";
    let two = "offsets: [4, 0]\ncontinuation: {tokens: 4, seed: 9}\nseeds: [2, 1]\nprobes: [{kind: mlp}, {kind: logistic}]";
    assert_eq!(all_keys(&planned(&["a"], one)), all_keys(&planned(&["a"], two)));
}

#[test]
fn seeds_only_multiply_probes_that_draw() {
    let with = |fields| keys_of(&planned(&["a"], fields), UnitKind::Fit);
    assert_eq!(with("seeds: [3]"), with("seeds: [5, 7]"), "logistic draws nothing");
    assert_ne!(with("seeds: [3]\nprobes: [{kind: mlp}]"), with("seeds: [5]\nprobes: [{kind: mlp}]"));
}

#[test]
fn what_is_added_leaves_the_rest() {
    let base = planned(&["a"], "layers: [0, 1]\nexecution: {rows_per_unit: 8}");
    let extracts = keys_of(&base, UnitKind::Extract);
    let model = planned(&["a", "b"], "layers: [0, 1]\nexecution: {rows_per_unit: 8}");
    assert!(all_keys(&model).is_superset(&all_keys(&base)), "a further model");
    let condition =
        planned(&["a"], "layers: [0, 1]\nexecution: {rows_per_unit: 8}\nconditions: [{name: raw}, {name: x, template: 'x {text}'}]");
    assert!(all_keys(&condition).is_superset(&all_keys(&base)), "a further condition");
    let probe = planned(&["a"], "layers: [0, 1]\nexecution: {rows_per_unit: 8}\nprobes: [{kind: logistic}, {kind: mlp}]");
    assert_eq!(keys_of(&probe, UnitKind::Extract), extracts, "a further probe leaves the states");
    let layer = planned(&["a"], "layers: [0, 1, 2]\nexecution: {rows_per_unit: 8}");
    assert!(keys_of(&layer, UnitKind::Extract).is_disjoint(&extracts), "a further layer makes other states");
    assert_eq!(keys_of(&layer, UnitKind::Prompt), keys_of(&base, UnitKind::Prompt));
}

#[test]
fn a_changed_row_changes_its_own_shard_alone() {
    let spec = spec(&["a"], "execution: {rows_per_unit: 8}");
    let mut data = rows(20, &["joy", "anger"]);
    let before = plan(&spec, &data, &[facts("a", 2)]).unwrap();
    data.rows[10].text = "something else".into();
    let after = plan(&spec, &data, &[facts("a", 2)]).unwrap();
    let (before, after) = (keys_of(&before, UnitKind::Extract), keys_of(&after, UnitKind::Extract));
    assert_eq!(before.intersection(&after).count(), 2);
}

#[test]
fn without_probes_a_cell_needs_its_states() {
    let plan = planned(&["a"], "probes: []\nbaselines: []\nexecution: {rows_per_unit: 8}");
    assert_eq!(plan.units.len(), 3);
    assert!(plan.cells.iter().all(|cell| cell.units.len() == 3));
}

#[test]
fn the_continuation_is_as_long_as_the_largest_offset() {
    let plan = planned(&["a"], "offsets: [0, 2, 6]\ncontinuation: {}");
    let UnitSpec::Extract(unit) = &plan.units[&plan.order[2]].unit.spec else { panic!("the baselines come first") };
    assert_eq!(unit.continuation.as_ref().unwrap().tokens, Some(6));
    assert_eq!(unit.layers, [Layer::Block(0), Layer::Block(1), Layer::Block(2), Layer::Final]);
    let none = planned(&["a"], "continuation: {tokens: 5}");
    let UnitSpec::Extract(unit) = &none.units[&none.order[2]].unit.spec else { panic!("the baselines come first") };
    assert_eq!(unit.continuation, None, "only offset 0 is asked");
}

#[test]
fn a_plain_question_ends_in_answer_and_the_answers_begin_with_a_space() {
    let plan = planned(&["a"], "zero_shot: {question: '{text}: {labels}?', answers: {joy: happiness}}");
    let unit = prompts(&plan)[0];
    assert_eq!(unit.prompt, Prompt::Template("{text}: happiness or anger?\nAnswer:".into()));
    assert_eq!(unit.answers, [" happiness", " anger"]);
}

#[test]
fn a_chat_question_is_a_user_message_without_thinking() {
    let mut model = facts("a", 2);
    model.chat_template = true;
    let data = rows(30, &["joy", "anger", "fear"]);
    let plan = plan(&spec(&["a"], ""), &data, std::slice::from_ref(&model)).unwrap();
    let unit = prompts(&plan)[0];
    let Prompt::Chat(chat) = &unit.prompt else { panic!("{:?}", unit.prompt) };
    assert_eq!(chat.user, "{text}\n\nWhich emotion is this: joy, anger or fear?");
    assert_eq!(chat.variables["enable_thinking"], false);
    assert_eq!(unit.answers, ["joy", "anger", "fear"]);
    let plain = super::plan(&spec(&["a"], "zero_shot: {chat: false}"), &data, &[model]).unwrap();
    assert!(matches!(prompts(&plain)[0].prompt, Prompt::Template(_)));
}

#[test]
fn rows_ordered_by_split_are_asked_about_in_test_alone() {
    let mut data = rows(20, &["joy", "anger"]);
    data.rows.sort_by_key(|row| row.split);
    assert_eq!(questions::shards(&data, 3), [(16, 19), (19, 20)]);
    let plan = plan(&spec(&["a"], ""), &data, &[facts("a", 2)]).unwrap();
    assert_eq!(prompts(&plan)[0].rows.count, 4);
}

#[test]
fn lists_read_naturally() {
    let list = |words: &[&str]| questions::natural_list(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    assert_eq!(list(&[]), "");
    assert_eq!(list(&["joy"]), "joy");
    assert_eq!(list(&["joy", "fear"]), "joy or fear");
    assert_eq!(list(&["joy", "fear", "anger"]), "joy, fear or anger");
}

/// A spec, rows and models with something wrong, and what is said about it.
fn refusal(fields: &str, change: impl FnOnce(&mut Spec, &mut Rows, &mut Vec<ModelFacts>)) -> PlanError {
    let (mut spec, mut data, mut models) = (spec(&["a", "b"], fields), rows(20, &["joy", "anger"]), vec![facts("a", 2), facts("b", 3)]);
    change(&mut spec, &mut data, &mut models);
    plan(&spec, &data, &models).unwrap_err()
}

#[test]
fn replies_leave_room_for_prompts() {
    let mut models = [facts("a", 2), facts("b", 2)];
    models[1].architecture.context = 64;
    let room = |fields: &str| room(&spec(&["a", "b"], fields), &models).map_err(|error| error.to_string());
    for (fields, words) in [
        ("offsets: [0, 64]\ncontinuation: {}", ["offsets: 64 tokens", "`b`", "context is 64", "smaller offsets"]),
        ("offsets: [0, 9]\ncontinuation: {tokens: 80}", ["continuation.tokens: 80 tokens", "`b`", "context is 64", "lower it"]),
        ("judge: {}\ncontinuation: {tokens: 64}", ["continuation.tokens: 64 tokens", "`b`", "context is 64", "lower it"]),
    ] {
        let refused = room(fields).unwrap_err();
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
    for fields in [
        "offsets: [0, 63]\ncontinuation: {}",
        // Nobody asks for a reply; the text that takes its place is short; rows without room are left out.
        "offsets: [0]\ncontinuation: {tokens: 80}",
        "offsets: [0, 9]\ncontinuation: {tokens: 80, filler: and so on and on and on and on}",
        "offsets: [0, 64]\ncontinuation: {}\ntoo_long: skip",
    ] {
        assert_eq!(room(fields), Ok(()), "{fields}");
    }
}

#[test]
fn refusals_name_the_field_and_what_to_do() {
    let says = |error: PlanError, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says(refusal("layers: [3]", |_, _, _| {}), &["layers", "`a` has no layer 3", "0 (embeddings) to 2", "depth"]);
    says(
        refusal("conditions: [{name: c, chat: {}}]", |_, _, m| m[0].chat_template = true),
        &["conditions[0].chat", "`b`", "`c`", "template"],
    );
    says(refusal("", |s, _, _| s.models.clear()), &["models", "empty"]);
    let offsets = |s: &mut Spec, _: &mut Rows, _: &mut Vec<ModelFacts>| s.offsets = (0..3_000_000).collect();
    says(refusal("layers: all", offsets), &["offsets", "27000000 cells", "fewer"]);
    says(refusal("", |_, _, m| m.truncate(1)), &["models", "2", "1"]);
    says(refusal("", |_, _, m| m[1].digest = m[0].digest), &["models", "`a` and `b`", "drop one"]);
    says(refusal("conditions: [{name: x}, {name: y, template: '{text}'}]", |_, _, _| {}), &["conditions", "`x` and `y`", "drop one"]);
    says(refusal("", |_, r, _| r.classes.truncate(1)), &["dataset.labels", "2 classes"]);
    says(refusal("", |_, r, _| r.rows[3].class = 7), &["`r3`", "class number 7"]);
    for (split, word) in [(Split::Train, "train"), (Split::Validation, "validation"), (Split::Test, "test")] {
        says(refusal("", |_, r, _| r.rows.retain(|row| row.split != split)), &["dataset.shares", word]);
        says(refusal("", |_, r, _| r.rows.retain(|row| row.split != split || row.class == 0)), &["dataset.labels", "anger", word]);
    }
    says(
        refusal("", |s, r, _| {
            s.dataset.split = Some("part".into());
            r.rows.retain(|row| row.split != Split::Test);
        }),
        &["dataset.split"],
    );
    says(refusal("report: {levels: [{name: sign, map: {joy: good}}]}", |_, _, _| {}), &["report.levels", "`sign`", "`anger`"]);
    says(refusal("zero_shot: {question: '{text} {text}'}", |_, _, _| {}), &["zero_shot.question", "exactly once"]);
    says(refusal("zero_shot: {answers: {rage: x}}", |_, _, _| {}), &["zero_shot.answers", "`rage`", "joy, anger"]);
    says(refusal("zero_shot: {answers: {joy: ' x'}}", |_, _, _| {}), &["zero_shot.answers", "joy", "spaces"]);
    says(refusal("zero_shot: {answers: {joy: anger}}", |_, _, _| {}), &["zero_shot.answers", "`joy` and `anger`"]);
}

/// Everything that a sweep may have beside cells.
const EVERYTHING: &str = "\ntransfer: [conditions]\njudge: {}\ngeometry: true\ncontrols: [shuffled-labels]\n\
                          baselines: [majority, bag-of-words, mean-embedding, zero-shot, zero-shot-json]";

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_closed_and_counts_its_axes(
        depths in prop::collection::vec(1usize..5, 1..4), conditions in 1usize..4, offsets in prop::collection::btree_set(0u32..9, 1..4),
        count in 20usize..60, size in 1usize..70, mlp in any::<bool>(), seeds in 1u64..4, more in any::<bool>(), draws in 0u64..4,
    ) {
        let names: Vec<String> = (0..depths.len()).map(|i| format!("m{i}")).collect();
        let conditions: Vec<String> = (0..conditions).map(|i| format!("{{name: c{i}, template: '{i} {{text}}'}}")).collect();
        // Replies are drawn once or more, where any are read.
        let draws = if offsets.iter().any(|k| *k > 0) { draws } else { draws.min(1) };
        let drawn: Vec<Option<u64>> = if draws == 0 { vec![None] } else { (0..draws).map(Some).collect() };
        let sampling = if draws == 0 { String::new() } else { format!(", temperature: 1, seeds: {:?}", (0..draws).collect::<Vec<_>>()) };
        let fields = format!(
            "conditions: [{}]\noffsets: [{}]\ncontinuation: {{tokens: 9{sampling}}}\nexecution: {{rows_per_unit: {size}}}\nseeds: {:?}\nprobes: [{{kind: {}}}]{}",
            conditions.join(", "), offsets.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            (0..seeds).collect::<Vec<_>>(), if mlp { "mlp" } else { "logistic" }, if more { EVERYTHING } else { "" },
        );
        let spec = spec(&names.iter().map(String::as_str).collect::<Vec<_>>(), &fields);
        let models: Vec<ModelFacts> = names.iter().zip(&depths).map(|(name, depth)| facts(name, *depth)).collect();
        let data = rows(count, &["joy", "anger"]);
        let plan = plan(&spec, &data, &models).unwrap();

        let layers: usize = depths.iter().map(|depth| depth + 2).sum();
        let beyond = offsets.iter().filter(|k| **k > 0).count();
        prop_assert_eq!(plan.cells.len(), layers * conditions.len() * (offsets.len() - beyond + beyond * drawn.len()));
        prop_assert_eq!(plan.estimate.cells as usize, plan.cells.len());
        prop_assert_eq!(plan.estimate.units.values().map(|kind| kind.units).sum::<u64>() as usize, plan.units.len());
        let mut done = BTreeSet::new();
        for key in &plan.order {
            let planned = &plan.units[key];
            prop_assert_eq!(planned.unit.spec.key(), *key);
            prop_assert!(planned.unit.spec.dependencies().iter().all(|d| done.contains(d)), "dependencies come first");
            prop_assert!(planned.unit.hints.flops > 0.0 && planned.bytes > 0);
            done.insert(*key);
        }
        prop_assert_eq!(done.len(), plan.units.len());
        prop_assert!(plan.cells.iter().all(|cell| !cell.units.is_empty() && cell.units.iter().all(|key| plan.units.contains_key(key))));
        for cell in &plan.cells {
            // What doesn't depend on the replies stands beside the first ones.
            let sampling_seed = if cell.offset > 0 { cell.sampling_seed } else { drawn[0].filter(|_| beyond > 0) };
            let place = Place::Fit { model: cell.model, condition: cell.condition, layer: cell.layer, sampling_seed, carried: false };
            prop_assert_eq!(&plan.units[&cell.units[0]].place, &place);
        }
        let places = (0..models.len()).flat_map(|m| (0..conditions.len()).map(move |c| (m, c)));
        for (model, condition, seed) in places.flat_map(|(m, c)| drawn.iter().map(move |seed| (m, c, *seed))) {
            // Replies are drawn where they are read or judged.
            let seed = seed.filter(|_| beyond > 0 || more);
            let mut next = 0;
            for planned in plan.order.iter().map(|key| &plan.units[key]) {
                if let Place::Extract { model: m, condition: c, sampling_seed, rows } = planned.place
                    && (m, c, sampling_seed) == (model, condition, seed)
                {
                    prop_assert_eq!(rows.0, next, "shards follow one another");
                    next = rows.1;
                }
            }
            prop_assert_eq!(next, count, "shards cover all rows");
        }
        prop_assert_eq!(plan, super::plan(&spec, &data, &models).unwrap(), "planning again gives the same");
    }
}

#[test]
fn units_are_sized_by_the_bytes_of_their_states_where_the_spec_does_not_say() {
    let sizes = |layers: usize, hidden: usize, fields: &str| -> Vec<usize> {
        let mut model = facts("a", layers);
        (model.architecture.layers, model.architecture.hidden) = (layers, hidden);
        let plan = plan(&spec(&["a"], fields), &rows(1300, &["joy", "anger"]), &[model]).unwrap();
        let of = |key: &UnitKey| match &plan.units[key].unit.spec {
            UnitSpec::Extract(unit) => Some(unit.rows.count),
            _ => None,
        };
        plan.order.iter().filter_map(of).collect()
    };
    // Small models: as few equal units as have 512 rows at most.
    assert_eq!(sizes(2, 64, ""), [433, 433, 434]);
    // A 7B model at all 34 layers and 11 read-outs has 6.1 MB of states a row: 175 rows make 1 GiB, and 8 units are needed.
    let many = "offsets: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\ncontinuation: {}";
    let found = sizes(32, 4096, many);
    assert_eq!((found.len(), found.iter().sum::<usize>()), (8, 1300));
    assert!(found.iter().all(|rows| (162..=163).contains(rows)), "{found:?}");
    // 175 rows x 34 layers x 11 read-outs x 4096 numbers of 4 bytes are just below 1 GiB.
    // What the spec says counts.
    assert_eq!(sizes(32, 4096, &format!("{many}\nexecution: {{rows_per_unit: 1000}}")), [1000, 300]);
    // One row that is larger is a unit of its own.
    assert_eq!(sizes(32, 4_000_000, many).len(), 1300);
}

#[test]
fn models_of_one_sweep_may_have_units_of_different_sizes() {
    let (small, mut large) = (facts("a", 2), facts("b", 2));
    large.architecture.hidden = 1 << 20;
    let plan = plan(&spec(&["a", "b"], "probes: []\nbaselines: []"), &rows(600, &["joy", "anger"]), &[small, large]).unwrap();
    let count = |model| plan.units.values().filter(|p| matches!(p.place, Place::Extract { model: m, .. } if m == model)).count();
    assert_eq!((count(0), count(1)), (2, 10));
    for cell in &plan.cells {
        assert_eq!(cell.units.len(), count(cell.model), "a cell has the shards of its model");
    }
}
