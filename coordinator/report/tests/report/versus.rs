//! Two studies side by side.

use std::collections::BTreeMap;

use limbic_report::{Deferred, Study, compare};

use super::planted::Signal;
use super::synthetic::{Size, study};
use super::{text, values};

fn files(a: &Study, b: &Study) -> BTreeMap<String, Vec<u8>> {
    compare(a, b).expect("both are sound").into_iter().map(|f| (f.path, f.bytes)).collect()
}

fn json(files: &BTreeMap<String, Vec<u8>>) -> serde_json::Value {
    serde_json::from_slice::<serde_json::Value>(&files["compare.json"]).expect("JSON")["comparison"].clone()
}

fn small() -> Study {
    let mut study = study(Size { models: 2, layers: 3, conditions: 2, offsets: 5, rows: 140, masked: true, mlp: true, whole: false });
    study.options.resamples = 100;
    study
}

/// The same study with its rows and classes in another order.
fn turned(study: &Study) -> Study {
    let mut other = study.clone();
    let last = study.classes.len() as u32 - 1;
    other.test.reverse();
    other.classes.reverse();
    other.test.iter_mut().for_each(|row| row.class = last - row.class);
    for p in &mut other.predictions {
        let mut all = values(p);
        all.reverse();
        p.values = Deferred::held(all);
    }
    other
}

#[test]
fn a_study_in_another_order_is_the_same() {
    let study = small();
    for other in [study.clone(), turned(&study)] {
        let files = files(&study, &other);
        let found = json(&files);
        assert_eq!(found["paired"], true);
        let shared = found["shared"].as_array().expect("a list");
        for family in ["lines", "layers", "offsets"] {
            assert!(shared.iter().any(|s| s["family"] == family), "{family}");
        }
        for s in shared {
            let d = &s["paired"]["difference"];
            assert_eq!((d["value"].as_f64(), d["lo"].as_f64(), d["hi"].as_f64()), (Some(0.0), Some(0.0), Some(0.0)), "{s}");
            assert!(s["paired"]["p"].is_null(), "nothing is tested");
        }
        let lives = found["half_lives"].as_array().expect("a list");
        assert!(!lives.is_empty() && lives.iter().all(|h| h["half_lives"][0]["state"] == h["half_lives"][1]["state"]));
        let lines = shared.iter().filter(|s| s["family"] == "lines").count();
        assert!(text(&files, "compare.html").contains(&format!("Nothing differs in {lines} shared baselines and probes.")));
    }
}

#[test]
fn a_stronger_signal_is_told_and_an_equal_one_is_not() {
    let of = |share: f64, seed: u64| {
        let layers = vec![0.3, share, share - 0.1];
        Signal { layers, offsets: vec![0, 1, 4], half_life: 6.0, control: None, models: 2, rows: 420 }.study(seed)
    };
    let (weak, equal, strong) = (of(0.5, 1), of(0.5, 2), of(0.62, 3));
    let against = |other: &Study| json(&files(&weak, other))["shared"].as_array().expect("a list").clone();
    let probes = |shared: &[serde_json::Value]| -> Vec<(f64, f64)> {
        let ours = shared.iter().filter(|s| s["family"] == "lines" && s["probe"] == "logistic");
        ours.map(|s| (s["paired"]["difference"]["value"].as_f64().expect("a number"), s["paired"]["p_holm"].as_f64().expect("p"))).collect()
    };
    let (told, same) = (probes(&against(&strong)), probes(&against(&equal)));
    assert_eq!((told.len(), same.len()), (2, 2));
    assert!(told.iter().all(|(d, p)| (0.04..0.2).contains(d) && *p < 0.05), "{told:?}");
    assert!(same.iter().all(|(d, p)| d.abs() < 0.08 && *p > 0.05), "{same:?}");
    // What B wins A loses.
    let back = json(&files(&strong, &weak));
    let back = probes(back["shared"].as_array().expect("a list"));
    assert!(told.iter().zip(&back).all(|(a, b)| (a.0 + b.0).abs() < 1e-12), "{told:?} {back:?}");
}

#[test]
fn what_either_groups_is_resampled_together_whichever_comes_first() {
    let of = |share: f64, seed: u64| {
        let layers = vec![share];
        Signal { layers, offsets: vec![0], half_life: 6.0, control: None, models: 1, rows: 280 }.study(seed)
    };
    let (mut a, mut b) = (of(0.5, 1), of(0.6, 2));
    b.seed = a.seed;
    // Neither knows all: one the groups of the first rows, the other those of the last.
    for (row, (ours, theirs)) in a.test.iter_mut().zip(&mut b.test).enumerate() {
        let (four, alone) = ((row / 4).to_string(), format!("alone {row}"));
        (ours.group, theirs.group) = if row < 140 { (four, alone) } else { (alone, four) };
    }
    let interval = |a: &Study, b: &Study| {
        let files = files(a, b);
        let found = json(&files);
        let shared = found["shared"].as_array().expect("a list");
        let ours = shared.iter().find(|s| s["family"] == "lines" && s["probe"] == "logistic").expect("a probe")["paired"].clone();
        let end = |end: &str| ours["difference"][end].as_f64().expect("an end");
        assert!(text(&files, "compare.md").contains("The sweeps group these rows differently"));
        (end("lo"), end("hi"), ours["p"].as_f64(), found["resampled"].as_u64())
    };
    let (there, back) = (interval(&a, &b), interval(&b, &a));
    assert!((there.0 + back.1).abs() < 1e-12 && (there.1 + back.0).abs() < 1e-12, "{there:?} {back:?}");
    assert!((there.2, there.3) == (back.2, back.3) && there.3 == Some(70), "{there:?} {back:?}");
}

#[test]
fn other_rows_stand_side_by_side() {
    let a = small();
    let mut fewer = a.clone();
    fewer.test.truncate(126);
    for p in &mut fewer.predictions {
        p.values = Deferred::held(values(p)[..126 * 7].to_vec());
    }
    let mut relabelled = a.clone();
    relabelled.test[0].class = (relabelled.test[0].class + 1) % 7;
    let mut reworded = a.clone();
    reworded.test[0].text = "something else".to_owned();
    for (b, common) in [(fewer, 126), (relabelled, 140), (reworded, 139)] {
        let files = files(&a, &b);
        let (html, found) = (text(&files, "compare.html"), json(&files));
        assert_eq!((&found["paired"], &found["common"]), (&serde_json::json!(false), &serde_json::json!(common)));
        assert!(found["shared"].as_array().expect("a list").iter().all(|s| s["paired"].is_null()));
        assert!(html.contains("side by side") && !html.contains("B minus A"));
    }
}

#[test]
fn other_classes_are_named() {
    let a = small();
    let mut b = a.clone();
    b.classes[2] = "awe".to_owned();
    let markdown = text(&files(&a, &b), "compare.md");
    assert!(markdown.contains(&format!("Classes differ: only A has {}, only B has awe.", a.classes[2])), "{markdown}");
    assert!(!text(&files(&a, &turned(&a)), "compare.md").contains("Classes differ"));
}

#[test]
fn what_only_one_has_and_what_specs_say_is_told() {
    let a = small();
    let mut b = a.clone();
    b.models[1].name = "Rowan-2B".to_owned();
    b.models[0].digest = "f".repeat(64);
    b.spec["layers"] = serde_json::json!([0, 1]);
    b.spec["dataset"]["limit"] = serde_json::json!(140);
    let markdown = text(&files(&a, &b), "compare.md");
    for words in [
        "Only in A: model Linden-1.7B.",
        "Only in B: model Rowan-2B.",
        "Of the same name but not of the same bytes: model Linden-0.6B.",
        "| layers | all | [0,1] |",
        "| dataset.limit | – | 140 |",
    ] {
        assert!(markdown.contains(words), "{words}: {markdown}");
    }
    assert!(!markdown.contains("| dataset.source |"));
}

#[test]
fn probes_layers_and_offsets_of_one_alone_are_told() {
    let a = small();
    let mut b = a.clone();
    let last = a.predictions.iter().filter_map(|p| p.layer).max().expect("there are layers");
    b.predictions.retain(|p| &*p.probe != "mlp" && p.layer != Some(last) && p.read_out.is_none_or(|r| r.offset < 4));
    let files = files(&a, &b);
    let told = json(&files)["only"].clone();
    assert_eq!(told[0]["probes"], serde_json::json!(["mlp"]));
    assert_eq!(told[0]["layers"].as_array().map(Vec::len), Some(1), "{told}");
    assert!(told[0]["offsets"].as_array().is_some_and(|o| !o.is_empty()), "{told}");
    assert_eq!(told[1], serde_json::json!({"models": [], "conditions": [], "probes": [], "layers": [], "offsets": []}));
    let markdown = text(&files, "compare.md");
    assert!(markdown.contains("Only in A: baseline or probe mlp; layer ") && !markdown.contains("Only in B"), "{markdown}");

    // Offset 0 is in both, though one has nothing beyond it.
    let mut alone = a.clone();
    alone.predictions.retain(|p| p.read_out.is_none_or(|r| r.offset == 0));
    let told = json(&self::files(&a, &alone))["only"].clone();
    assert!(told[0]["offsets"].as_array().is_some_and(|o| !o.is_empty() && o.iter().all(|o| o["at"] != 0)), "{told}");

    // Without a probe in common nothing is said of probes.
    b.predictions.retain(|p| p.layer.is_none());
    let markdown = text(&self::files(&a, &b), "compare.md");
    assert!(markdown.contains("No model, condition and probe of the same names is in both."), "{markdown}");
    assert!(markdown.contains(" shared baselines.") && !markdown.contains(" shared baselines and probes"), "{markdown}");
}

#[test]
fn layers_that_only_some_models_have_are_told_too() {
    let (mut a, mut b) = (small(), small());
    // Each lacks another layer of another model: the layers of all models together are the same.
    let layers: std::collections::BTreeSet<_> = a.predictions.iter().filter_map(|p| p.layer).collect();
    let layers: Vec<_> = layers.into_iter().collect();
    a.predictions.retain(|p| (p.model, p.layer) != (Some(0), Some(layers[1])));
    b.predictions.retain(|p| (p.model, p.layer) != (Some(1), Some(layers[0])));
    let markdown = text(&files(&a, &b), "compare.md");
    assert!(markdown.contains("Only in A: layer 0 (embeddings) (in 2 of 4 models and conditions)."), "{markdown}");
    assert!(markdown.contains("Only in B: layer 1 (in 2 of 4 models and conditions)."), "{markdown}");
}

#[test]
fn what_goes_by_one_name_and_is_not_the_same_is_told() {
    let a = small();
    let mut spec = serde_json::json!({
        "name": "s", "models": [{"source": "m"}], "dataset": {"source": "rows.jsonl", "text": "text", "label": "label"},
        "conditions": [{"name": "raw"}, {"name": "said", "template": "{text}!"}], "probes": [{"kind": "logistic", "c": [1.0]}],
    });
    let (mut a, mut b) = (a.clone(), a);
    a.spec = spec.clone();
    spec["conditions"][1]["template"] = "He said: {text}".into();
    spec["probes"][0]["c"] = serde_json::json!([0.5]);
    b.spec = spec;
    let files = files(&a, &b);
    let markdown = text(&files, "compare.md");
    assert!(!a.asked().is_empty(), "it is a spec");
    assert!(markdown.contains("Of the same name but not the same prompt: condition said."), "{markdown}");
    assert!(markdown.contains("Of the same name but not fitted in the same way: probe logistic."), "{markdown}");
    let told = json(&files);
    assert_eq!(told["changed"], serde_json::json!({"models": [], "conditions": ["said"], "probes": ["logistic"]}));
    assert!(told["specs"].as_array().is_some_and(|s| s.iter().any(|d| d["field"] == "probes")), "{told}");
}

#[test]
fn a_prompt_is_matched_whatever_its_name() {
    let mut a = small();
    let [first, second] = [0, 1].map(|i| a.conditions[i].name.clone());
    a.spec = serde_json::json!({
        "name": "s", "models": [{"source": "m"}], "dataset": {"source": "rows.jsonl", "text": "text", "label": "label"},
        "conditions": [{"name": first}, {"name": second, "template": "{text}!"}], "probes": [{"kind": "logistic", "c": [1.0]}],
    });
    let mut b = a.clone();
    "loudly".clone_into(&mut b.conditions[1].name);
    b.spec["conditions"][1]["name"] = "loudly".into();
    let told = files(&a, &b);
    let found = json(&told);
    assert_eq!(found["renamed"], serde_json::json!([{"name": second, "second": "loudly"}]));
    assert_eq!(found["only"][0]["conditions"], serde_json::json!([]));
    assert_eq!(found["shared"], json(&files(&a, &a))["shared"], "all of it is paired");
    let sentence = format!("The condition loudly of B puts the same prompt as {second} of A, and stands under that name.");
    assert!(text(&told, "compare.md").contains(&sentence));

    // Another prompt is another condition.
    b.spec["conditions"][1]["template"] = "{text}?".into();
    let found = json(&files(&a, &b));
    assert_eq!((&found["renamed"], &found["only"][1]["conditions"]), (&serde_json::json!([]), &serde_json::json!(["loudly"])));
}

#[test]
fn few_groups_are_told_before_anything_is_called_better() {
    let (a, mut b) = (small(), small());
    let few = |mut study: Study| {
        for (i, row) in study.test.iter_mut().enumerate() {
            row.group = format!("g{}", i % 7);
        }
        study
    };
    b.options.resamples = 100;
    let told = |a: &Study, b: &Study| text(&files(a, b), "compare.md").contains("of only 7 groups: intervals from so few are too narrow");
    assert!(told(&few(a.clone()), &few(b.clone())) && !told(&a, &b));
}

#[test]
fn an_extended_sweep_asks_what_all_its_specs_ask() {
    let (a, mut b) = (small(), small());
    let mut first = b.spec.clone();
    first["layers"] = serde_json::json!([0, 1]);
    let mut second = b.spec.clone();
    second["layers"] = serde_json::json!([0, 1, 3]);
    second["execution"] = serde_json::json!({"token_budget": 4096});
    b.spec = serde_json::json!([first, second]);
    let markdown = text(&files(&a, &b), "compare.md");
    assert!(markdown.contains("| layers | all | [0,1,3] |"), "{markdown}");
    assert!(markdown.contains("B has 2 revisions: what it asks is what their specs ask together") && !markdown.contains("A has 2"));
    assert!(markdown.contains("| execution.token_budget | – | 4096 |"), "{markdown}");
    assert!(!markdown.contains("|  | {") && !markdown.contains("| dataset."), "{markdown}");
}

#[test]
fn pages_stand_alone() {
    let a = small();
    let mut b = turned(&a);
    b.title = "<script>alert('b')</script>".to_owned();
    let files = files(&a, &b);
    let html = text(&files, "compare.html").replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http://", "https://", "<script src", "<img", "@import", "alert('b')</script>"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(text(&files, "figures/compare.csv").lines().count() > 4);
    assert!(text(&files, "compare.md").contains("(figures/compare.svg)"));
}
