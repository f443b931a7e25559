//! Plans that store moments in place of the states of train rows: what is in a key, how rows are cut, what is stored.

use limbic_proto::unit::{ExtractUnit, UnitKind, UnitSpec, Versions};

use super::*;

const RIDGE: &str = "probes: [{kind: ridge}]";

fn with(activations: &str) -> String {
    format!("{RIDGE}\nexecution: {{activations: {activations}}}")
}

/// The extract units with the rows that each is about.
fn extracts(plan: &Plan) -> Vec<(&ExtractUnit, (usize, usize))> {
    let of = |key| match &plan.units[key].unit {
        Unit { spec: UnitSpec::Extract(unit), hints } => Some((unit, hints.rows)),
        _ => None,
    };
    plan.order.iter().filter_map(of).collect()
}

#[test]
fn only_units_that_store_moments_have_other_keys() {
    let (keep, release, none) = (planned(&["a"], &with("keep")), planned(&["a"], &with("release")), planned(&["a"], &with("none")));
    assert_eq!((&keep.order, &all_keys(&keep)), (&release.order, &all_keys(&planned(&["a"], RIDGE))));
    assert!(extracts(&keep).iter().all(|(unit, _)| unit.moments.is_none()));
    assert!(!limbic_proto::key::canonical_json(extracts(&keep)[0].0).contains("moments"), "as it was before there was such a field");
    for kind in [UnitKind::Extract, UnitKind::Fit] {
        let shared = keys_of(&keep, kind).intersection(&keys_of(&none, kind)).count();
        assert_eq!(shared, if kind == UnitKind::Fit { 2 } else { 0 }, "the baselines on words alone");
    }
    assert_eq!(keys_of(&keep, UnitKind::Prompt), keys_of(&none, UnitKind::Prompt));
}

#[test]
fn moments_depend_on_the_labels_of_train_rows_in_their_shard_alone() {
    let spec = spec(&["a"], &format!("{RIDGE}\nexecution: {{activations: none, rows_per_unit: 10}}"));
    let keys = |data: &Rows| keys_of(&plan(&spec, data, &[facts("a", 2)]).unwrap(), UnitKind::Extract);
    let base = rows(20, &["joy", "anger"]);
    let changed = |change: &dyn Fn(&mut Rows)| {
        let mut data = base.clone();
        change(&mut data);
        keys(&base).intersection(&keys(&data)).count()
    };
    assert_eq!(changed(&|_| {}), 2);
    assert_eq!(changed(&|data| data.rows[11].class = 1 - data.rows[11].class), 1, "a label");
    assert_eq!(changed(&|data| data.rows[11].weight = 2), 1, "a weight");
    assert_eq!(changed(&|data| data.rows[11].split = Split::Test), 1, "a split");
    assert_eq!(changed(&|data| data.rows[13].class = 1 - data.rows[13].class), 2, "a label of a validation row");
}

#[test]
fn units_have_four_rows_for_each_feature_unless_the_spec_says_otherwise() {
    // The tests' models are 64 wide.
    let cut = |count: usize, fields: &str| -> Vec<(usize, usize)> {
        let spec = spec(&["a"], fields);
        let plan = plan(&spec, &rows(count, &["joy", "anger"]), &[facts("a", 2)]).unwrap();
        extracts(&plan).into_iter().map(|(_, range)| range).collect()
    };
    assert_eq!(cut(200, &with("none")), [(0, 200)]);
    assert_eq!(cut(256, &with("none")), [(0, 256)]);
    assert_eq!(cut(300, &with("none")), [(0, 300)], "moments of a few rows are larger than their states");
    assert_eq!(cut(600, &with("none")), [(0, 256), (256, 600)]);
    assert_eq!(cut(600, &with("keep")), [(0, 300), (300, 600)]);
    let asked = format!("{RIDGE}\nexecution: {{activations: none, rows_per_unit: 250}}");
    assert_eq!(cut(600, &asked), [(0, 250), (250, 500), (500, 600)]);
    // Rows exchange their replies with the rows of their unit, which has the same rows as where all states are kept.
    let exchanged = |activations| format!("{}\noffsets: [0, 2]\ncontinuation: {{controls: [shuffled-reply]}}", with(activations));
    assert_eq!(cut(600, &exchanged("none")), cut(600, &exchanged("keep")));
}

#[test]
fn what_is_stored_is_counted_to_the_byte() {
    let plan = planned(&["a"], &format!("{}\noffsets: [0, 3]\ncontinuation: {{}}", with("none")));
    // 8 of 20 rows are held out; 4 layers x 2 read-outs, 64 numbers wide, of 2 classes.
    let moments = 8 * (64 * 65 / 2 + (3 + 2) * 64 + 2 + 2 * 2);
    assert_eq!(plan.estimate.state_bytes, 4 * 2 * (8 * 64 * 4 + moments));
    // The states of the baseline on embeddings are all stored.
    let with_words = planned(&["a"], &format!("{}\noffsets: [0, 3]\ncontinuation: {{}}\nbaselines: [mean-embedding]", with("none")));
    assert_eq!(with_words.estimate.state_bytes - plan.estimate.state_bytes, 20 * 64 * 4);
    assert_eq!(extracts(&with_words).iter().filter(|(unit, _)| unit.moments.is_none()).count(), 1);
    let large = rows(2000, &["joy", "anger"]);
    let bytes = |activations: &str| {
        let spec = spec(&["a"], &with(activations));
        super::super::plan(&spec, &large, &[facts("a", 2)]).unwrap().estimate.state_bytes
    };
    assert!(bytes("none") < bytes("keep") * 2 / 3, "{} of {}", bytes("none"), bytes("keep"));
}

#[test]
fn a_sweep_that_stored_its_states_keeps_its_units_and_adds_by_moments() {
    let (rows, models) = (rows(20, &["joy", "anger"]), [facts("a", 2)]);
    let specs = [("[0, 1]", "keep"), ("[0, 1]", "none"), ("[0, 1, 2]", "none")];
    let specs = specs.map(|(layers, activations)| spec(&["a"], &format!("{}\nlayers: {layers}", with(activations))));
    let revised = |specs: &[Spec]| {
        let revisions: Vec<Revision<'_>> = specs.iter().map(|spec| Revision { spec, models: &models }).collect();
        plan_revisions(&revisions, &rows, Versions::CURRENT).unwrap()
    };
    let (first, second, third) = (revised(&specs[..1]), revised(&specs[..2]), revised(&specs));
    assert_eq!(first.order, second.order);
    assert!(!first.activations.releases() && second.activations.releases());
    let stored: Vec<bool> = extracts(&third).into_iter().map(|(unit, _)| unit.moments.is_some()).collect();
    assert_eq!(stored, [false, true], "the further layer's");
}
