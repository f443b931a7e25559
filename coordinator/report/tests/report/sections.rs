//! Sections of a whole study: what each finds.

use limbic_proto::axis::{Context, Pooling, ReadOut};
use limbic_report::{Deferred, Results, Source, Study, evaluate};

use super::{evaluated, made, text, whole};

fn name(study: &Study, condition: usize) -> &str {
    &study.conditions[condition].name
}

#[test]
fn probes_are_best_at_home() {
    let (study, results) = whole();
    assert!(!results.transfer.is_empty());
    for matrix in &results.transfer {
        for (tested, _) in matrix.conditions.iter().enumerate() {
            let column: Vec<f64> = matrix.cells.iter().map(|row| row[tested].expect("it was measured").value).collect();
            assert!(column.iter().enumerate().all(|(fitted, v)| fitted == tested || *v < column[tested]), "{column:?}");
        }
    }
    let lost = results.comparisons.iter().filter(|c| c.family == "transfer");
    assert!(lost.clone().count() > 0 && lost.clone().all(|c| c.difference.value < 0.0), "{}", study.title);
}

#[test]
fn probes_at_another_pooling_are_carried_too() {
    let (mut study, results) = whole();
    for read_out in study.predictions.iter_mut().filter_map(|p| p.read_out.as_mut()).filter(|r| **r == ReadOut::LAST) {
        read_out.pooling = Pooling::UtteranceMean;
    }
    let again = evaluated(&study);
    assert_eq!(again.pooling, Some("utterance-mean"));
    let cells = |results: &Results| results.transfer.iter().map(|m| m.cells.clone()).collect::<Vec<_>>();
    assert!(!results.transfer.is_empty());
    assert_eq!(cells(&again), cells(&results));
    let carried = |results: &Results| results.comparisons.iter().filter(|c| c.family == "transfer").count();
    assert_eq!(carried(&again), carried(&results));
}

#[test]
fn a_curve_that_only_falls_does_not_rise() {
    let (mut study, results) = whole();
    let peak = results.depth.iter().map(|c| c.peak.layer).max().expect("curves");
    study.predictions.retain(|p| p.layer.is_none_or(|layer| layer >= peak));
    let results = evaluated(&study);
    assert!(results.depth.iter().all(|c| c.points.len() > 2), "layers are left above {peak}");
    let page = text(&made(&study, &results), "report.md");
    assert!(page.contains("is highest at the first measured layer"), "{page}");
    assert!(!page.contains("it rises from"));
}

#[test]
fn controls_stand_below_the_probe_and_a_twin_is_no_model_of_its_own() {
    let (study, results) = whole();
    let twin = study.models.iter().position(|m| m.twin_of.is_some()).expect("a twin");
    for control in ["shuffled-labels", "random-direction", "random-weights"] {
        let of: Vec<_> = results.comparisons.iter().filter(|c| c.family == "controls" && c.against == control).collect();
        assert!(!of.is_empty() && of.iter().all(|c| c.difference.lo.expect("groups") > 0.0), "{control}");
        assert!(control != "random-weights" || of.iter().all(|c| study.models[c.model].name == "Linden-0.6B"), "only one has a twin");
    }
    let in_place = |r: &Results| r.scale.iter().all(|s| s.place.model != twin) && r.persistence.iter().all(|p| p.place.model != twin);
    assert!(in_place(&results) && results.comparisons.iter().all(|c| c.family == "depth" || c.model != twin));
}

#[test]
fn controls_stand_beside_the_curves_over_offsets() {
    let (study, results) = whole();
    for p in &results.persistence {
        let names: Vec<&str> = p.controls.iter().map(|c| c.control).collect();
        let twinned = p.place.model == 0;
        assert_eq!(names, if twinned { &["shuffled-labels", "random-weights"][..] } else { &["shuffled-labels"] });
        let probe = p.decay("logistic", Context::Full, None).expect("a curve");
        for control in &p.controls {
            assert_eq!(control.points.len(), p.offsets.len());
            let first = control.points[0].expect("offset 0 was measured");
            assert!(first.value < probe.points[0].1.value, "{}", control.control);
        }
    }
    let files = made(&study, &results);
    let csv = text(&files, "figures/persistence-curves.csv");
    for control in ["shuffled-labels", "random-weights"] {
        assert!(csv.lines().any(|l| l.contains(&format!(",full,,{control},8,"))), "{control}");
        assert!(text(&files, "figures/persistence-curves.svg").contains(&format!("data-s=\"{control}\"")), "{control}");
    }
}

#[test]
fn written_answers_stand_beside_likelihoods_over_size() {
    let (study, results) = whole();
    let csv = text(&made(&study, &results), "figures/scale.csv");
    for row in &results.scale {
        let asked = |name: &str| results.baselines.iter().find(|b| b.probe == name && b.model == Some(row.place.model)).map(|b| b.score);
        assert_eq!((row.zero_shot, row.zero_shot_json), (asked("zero-shot"), asked("zero-shot-json")));
        let json = row.zero_shot_json.expect("it was asked");
        assert!(json.n < study.test.len(), "not every answer names a label");
        let model = &study.models[row.place.model];
        assert!(csv.contains(&format!("{},{},zero-shot-json,,", model.name, model.parameters)));
    }
}

#[test]
fn the_judge_sees_what_the_emotional_prompt_does() {
    let (study, results) = whole();
    let judged: Vec<_> = results.verdicts.iter().filter(|v| matches!(v.source, Source::Judge { .. })).collect();
    assert_eq!(judged.len(), 6, "three models under two conditions");
    for verdict in &judged {
        let rows: usize = verdict.shift.iter().flatten().sum();
        let kept: usize = (0..study.classes.len()).map(|c| verdict.shift[c][c]).sum();
        assert!((verdict.kept.value - kept as f64 / rows as f64).abs() < 1e-12);
        for (class, recall) in verdict.recall.iter().enumerate() {
            let own: usize = verdict.shift[class].iter().sum();
            assert!((recall.expect("rows").value - verdict.shift[class][class] as f64 / own as f64).abs() < 1e-12);
        }
        let said = |class: usize| verdict.shift.iter().map(|row| row[class]).sum::<usize>();
        for (class, precision) in verdict.precision.iter().enumerate() {
            assert_eq!(precision.map(|p| p.n), Some(said(class)).filter(|n| *n > 0), "{}", name(&study, verdict.place.condition));
        }
    }
    assert!(!results.kappas.is_empty() && results.kappas.iter().all(|k| k.kappa.value > 0.0 && k.kappa.value < 1.0));
}

#[test]
fn directions_near_one_another_are_merged_first() {
    let (study, results) = whole();
    let place = &results.geometry.places[0];
    let first = &place.merges[0];
    let mut pair = [study.classes[first.left].as_str(), study.classes[first.right].as_str()];
    pair.sort_unstable();
    let nearest = (0..7)
        .flat_map(|a| (a + 1..7).map(move |b| (a, b)))
        .max_by(|x, y| place.directions[x.0][x.1].total_cmp(&place.directions[y.0][y.1]))
        .expect("pairs");
    let mut names = [study.classes[nearest.0].as_str(), study.classes[nearest.1].as_str()];
    names.sort_unstable();
    assert_eq!(pair, names);
    for (a, row) in place.cka.iter().enumerate() {
        assert!((row[a] - 1.0).abs() < 1e-6 && row.iter().enumerate().all(|(b, v)| (v - place.cka[b][a]).abs() < 1e-9));
    }
}

#[test]
fn a_layer_whose_states_are_all_the_same_is_never_the_best_one() {
    let (mut study, _) = whole();
    let mut same = (*study.geometry[0].tensors.read().unwrap()).clone();
    (same.silhouette, same.fisher) = (0.99, f32::NAN);
    study.geometry[0].tensors = Deferred::held(same);
    let results = evaluate(&study).unwrap();
    let layers = &results.geometry.places[0].layers;
    assert!(layers[0].silhouette.is_nan() && layers[1..].iter().all(|l| l.silhouette.is_finite()));
    assert!(!text(&made(&study, &results), "report.md").contains("0.990 at"));
}

#[test]
fn a_probe_far_below_its_control_is_drawn_where_it_is() {
    let (study, mut results) = whole();
    let worst = results.comparisons.iter_mut().find(|c| c.family == "controls").expect("controls");
    (worst.difference.value, worst.difference.lo, worst.difference.hi) = (-0.4, Some(-0.48), Some(-0.32));
    let figure = super::text(&super::made(&study, &results), "figures/controls.svg");
    let ticks: Vec<&str> = figure.split('>').filter_map(|rest| rest.split_once("</text")).map(|(text, _)| text).collect();
    assert!(ticks.iter().any(|text| ["-50%", "−50%"].contains(text)), "the axis reaches as far: {ticks:?}");
}

#[test]
fn written_answers_have_a_coverage_and_coarser_labels_are_easier() {
    let (study, results) = whole();
    let json = study.predictions.iter().position(|p| &*p.probe == "zero-shot-json").expect("written answers");
    let [coverage, parsable, over_all] =
        ["coverage", "accuracy", "accuracy-over-all"].map(|name| results.score(json, name).expect(name).value);
    assert!((coverage * parsable - over_all).abs() < 1e-12 && coverage < 1.0);
    assert!(super::page(&study).contains(" on the rows that it answers (as few as "), "a comparison over fewer rows says so");
    let at = |level: Option<&str>| {
        let rows = results.levels.iter().filter(|l| l.level.as_deref() == level && l.line.layer.is_some());
        rows.map(|l| l.score.value).collect::<Vec<f64>>()
    };
    let (fine, coarse) = (at(None), at(Some("valence")));
    assert!(!fine.is_empty() && fine.len() == coarse.len() && fine.iter().zip(&coarse).all(|(f, c)| c >= f));
}

#[test]
fn a_model_none_of_whose_answers_can_be_read_is_told_too() {
    let (mut study, _) = whole();
    study.options.resamples = 50;
    let rows = study.test.len() as u32;
    let mut written = study.predictions.iter_mut().filter(|p| &*p.probe == "zero-shot-json");
    let mute = written.next().expect("written answers");
    super::emptied(mute);
    mute.unreadable = (0..rows).collect();
    let name = study.models[mute.model.expect("a model's")].name.clone();
    let markdown = |study: &limbic_report::Study| text(&made(study, &super::evaluated(study)), "report.md");
    let page = markdown(&study);
    // Behind its caption.
    let table = |page: &str| {
        let (_, rest) = page.split_once("Written answers (JSON)").expect("the table");
        rest.split("\n\n").nth(1).expect("rows").to_owned()
    };
    let written_rows = table(&page);
    let line = written_rows.lines().find(|line| line.starts_with(&format!("| {name} |"))).expect("the model's row");
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    assert!(cells[2].starts_with("0.0%") && cells[3] == "–" && cells[4].starts_with("0.0%"), "{line}");
    let sentence = format!("Asked for JSON, models name a label in 0.0% ({name}) to ");
    assert!(page.contains(&sentence), "{sentence}");
    let missing = format!("None of the answers of {name} to zero-shot-json can be read: it has no score and no row.");
    assert!(page.contains(&missing), "{missing}");

    // Where nobody's can be, and no probe was fitted.
    for p in study.predictions.iter_mut().filter(|p| &*p.probe == "zero-shot-json") {
        super::emptied(p);
        p.unreadable = (0..rows).collect();
    }
    let page = markdown(&study);
    // The column of scores has none, so it isn't there.
    assert_eq!(table(&page).lines().filter(|line| line.contains("| 0.0%")).count(), 3, "{page}");
    assert!(!table(&page).contains('–'), "{page}");
    assert!(page.contains("Asked for JSON, all 3 models name a label in 0.0% of their answers."));
    study.predictions.retain(|p| &*p.probe == "zero-shot-json");
    let page = markdown(&study);
    assert!(page.contains("No probe has been fitted yet") && page.contains("Asked for JSON, all 3 models name a label in 0.0%"));
    assert!(page.contains("None of the answers of ") && !page.contains("No baseline was run"));
    study.predictions.truncate(1);
    assert!(markdown(&study).contains(&format!("Asked for JSON, {name} names a label in 0.0% of its answers.")));
}
