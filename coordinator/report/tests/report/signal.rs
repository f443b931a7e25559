//! What was planted is found.

use limbic_proto::axis::Context;
use limbic_report::{Comparison, Deferred, HalfLife, Prediction, Results, Study};

use super::planted::{self, Signal};
use super::synthetic::{Size, study};
use super::{SMALL, evaluated, made, small, text, values, whole};

#[test]
fn the_planted_signal_is_found() {
    let (study, results) = small();
    assert_eq!(results.probe.as_deref(), Some("logistic"));
    assert!((results.measure.floor - 1.0 / 7.0).abs() < 0.01);
    // The signal is strongest at 65 % of the depth, in the largest model, under the first condition.
    for curve in &results.depth {
        assert!((curve.peak.depth.value - 0.65).abs() < 0.2, "{curve:?}");
        assert!(curve.chosen.on_validation());
        let (from, to) = (curve.peak.from.depth(4), curve.peak.to.depth(4));
        assert!(from <= curve.peak.depth.value && curve.peak.depth.value <= to);
    }
    let at = |model: usize| results.scale.iter().find(|r| r.place.model == model && r.place.condition == 0).expect("a row").best.value;
    assert!(at(0) < at(1) && at(1) < at(2));
    let trend = results.trends.iter().find(|t| t.condition == Some(0) && t.what == "best layer").expect("a trend");
    assert!(trend.slope.lo.expect("an interval") > 0.0);
    let over_words = results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == "bag-of-words");
    assert_eq!(over_words.clone().count(), 3);
    assert!(over_words.clone().all(|c| c.difference.value > 0.0 && c.p_holm >= c.p && c.p.is_some()));
    assert!(over_words.clone().any(|c| c.p_holm.is_some_and(|p| p < 0.05)));
    assert_eq!(study.conditions.len(), 2);
}

#[test]
fn masking_the_prompt_shortens_the_half_life() {
    let (_, results) = small();
    for p in &results.persistence {
        let tokens = |context: Context| {
            let decay = p.decay("logistic", context, None).and_then(|d| d.to_majority()).expect("a decay");
            match decay.half_life {
                HalfLife::Reached { tokens, .. } => tokens,
                _ => f64::INFINITY,
            }
        };
        assert!(tokens(Context::MaskedPrompt) < tokens(Context::Full), "{:?}", p.place);
    }
}

#[test]
fn intervals_hold_their_values_and_absent_rows_do_not_count() {
    let (study, results) = small();
    for (p, scores) in study.predictions.iter().zip(&results.scores) {
        for (id, e) in scores.iter() {
            let name = &results.catalogue.name(id).name;
            if name.starts_with("mdl-") {
                assert_eq!((e.lo, e.hi), (None, None), "it is measured on train");
                continue;
            }
            // What is nowhere, or everywhere, may be so in every resample.
            if e.lo.is_none() && (e.value == 0.0 || e.value == 1.0) {
                continue;
            }
            let (lo, hi) = (e.lo.expect("an interval"), e.hi.expect("an interval"));
            assert!(lo <= hi, "{name} {e:?}");
            if name == "accuracy" {
                assert!(lo <= e.value && e.value <= hi, "{e:?}");
                let present = values(p).chunks(7).filter(|r| r[0].is_finite()).count();
                assert_eq!(e.n, present);
            }
        }
    }
    assert!(study.predictions.iter().any(|p| values(p).iter().any(|v| v.is_nan())));
}

#[test]
fn one_group_gives_no_interval_and_few_groups_a_warning() {
    let (mut study, _) = small();
    for row in &mut study.test {
        row.group = "the only author".to_owned();
    }
    let results = evaluated(&study);
    assert!(results.scores.iter().flat_map(|s| s.iter()).all(|(_, e)| (e.lo, e.hi) == (None, None)));
    assert!(!results.comparisons.is_empty());
    assert!(results.comparisons.iter().all(|c| (c.p, c.p_holm, c.difference.lo) == (None, None, None)));
    assert!(results.depth.iter().all(|c| c.peak.depth.lo.is_none()));
    assert!(results.trends.iter().all(|t| t.slope.lo.is_none()));
    assert!(results.warnings[0].contains("of one group"), "{:?}", results.warnings);
    let html = text(&made(&study, &results), "report.html");
    assert!(!html.contains("&lt; 0.001") && !html.contains("It beats") && !html.contains("the probe beats"), "nothing is certain");

    for (i, row) in study.test.iter_mut().enumerate() {
        row.group = format!("author {}", i % 5);
    }
    let results = evaluated(&study);
    assert!(results.score(0, "accuracy").expect("an accuracy").lo.is_some());
    assert!(results.warnings[0].contains("only 5 groups"), "{:?}", results.warnings);
    assert!(!small().1.warnings.iter().any(|w| w.contains("groups")));
}

#[test]
fn of_nine_rows_nothing_is_told_from_chance() {
    let study = study(Size { rows: 9, whole: true, ..SMALL });
    let results = evaluated(&study);
    assert!(results.scores.iter().flat_map(|s| s.iter()).all(|(_, e)| (e.lo, e.hi) == (None, None)));
    assert!(!results.comparisons.is_empty());
    assert!(results.comparisons.iter().all(|c| (c.p, c.p_holm, c.difference.lo, c.detectable) == (None, None, None, None)));
    assert!(results.depth.iter().all(|c| c.peak.depth.lo.is_none() && c.points.iter().all(|p| p.as_good().is_none())));
    assert!(!results.trends.is_empty() && results.trends.iter().all(|t| t.slope.lo.is_none() && t.over_models.is_none()));
    let fits: Vec<_> = results.persistence.iter().flat_map(|p| &p.decays).flat_map(|d| &d.fits).collect();
    assert!(!fits.is_empty() && fits.iter().all(|f| matches!(f.half_life, HalfLife::TooFewRows | HalfLife::TooFew)));
    assert!(fits.iter().all(|f| f.retained.is_none_or(|kept| kept.lo.is_none())));
    let report = text(&made(&study, &results), "report.md");
    assert!(report.contains("- There are only 9 test rows, too few to tell anything from chance"), "{report}");
    for words in ["interval 0", "interval 1", "correction over 0", "It beats"] {
        assert!(!report.contains(words), "`{words}` in {report}");
    }
}

#[test]
fn a_class_whose_rows_are_of_one_group_has_no_interval() {
    let (mut study, _) = small();
    for row in study.test.iter_mut().filter(|r| r.class == 2) {
        row.group = "one".to_owned();
    }
    let results = evaluated(&study);
    let name = format!("recall:{}", study.classes[2]);
    let all = |metric: &str| (0..study.predictions.len()).filter_map(|i| results.score(i, metric)).collect::<Vec<_>>();
    assert!(!all(&name).is_empty() && all(&name).iter().all(|e| e.lo.is_none()));
    assert!(all("accuracy").iter().all(|e| e.lo.is_some()));
}

#[test]
fn comparisons_that_a_few_resamples_decide_are_counted() {
    let (mut study, _) = small();
    study.options.resamples = 100;
    let mut said = Vec::new();
    for seed in 0..12 {
        study.seed = seed;
        let results = evaluated(&study);
        let few = |c: &&Comparison| c.p.zip(c.p_holm).is_some_and(|(p, holm)| p > 3.0 / 101.0 && p < 0.05 && holm >= 0.05);
        let n = results.comparisons.iter().filter(few).count();
        let sentence =
            results.warnings.iter().find(|w| w.contains("undecided by a few resamples: each of 100 beyond zero is 0.020 of a p-value"));
        match n {
            0 => assert!(sentence.is_none(), "{sentence:?}"),
            1 => assert!(sentence.is_some_and(|s| s.starts_with("1 comparison is ")), "{sentence:?}"),
            n => assert!(sentence.is_some_and(|s| s.starts_with(&format!("{n} comparisons are "))), "{n}: {sentence:?}"),
        }
        said.push(n > 0);
    }
    assert!(said.contains(&true), "{said:?}");
}

#[test]
fn a_baseline_that_says_the_same_as_another_is_not_tested_again() {
    let (mut study, before) = whole();
    let of = |results: &Results, name: &str| results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == name).count();
    let n = of(&before, "zero-shot");
    assert!(n > 1 && of(&before, "zero-shot-mean") == n);
    for model in 0..study.models.len() {
        let find = |name: &str| study.predictions.iter().position(|p| &*p.probe == name && p.model == Some(model));
        if let Some((summed, mean)) = find("zero-shot").zip(find("zero-shot-mean")) {
            study.predictions[mean].values = Deferred::held(values(&study.predictions[summed]));
        }
    }
    let after = evaluated(&study);
    assert_eq!([of(&after, "zero-shot"), of(&after, "zero-shot-mean")], [n, 0]);
    let corrected = |r: &Results| r.comparisons.iter().filter(|c| c.family == "baselines").map(|c| c.corrected).max();
    assert_eq!(corrected(&after), corrected(&before).map(|all| all - n));
}

#[test]
fn what_has_no_signal_peaks_nowhere() {
    let of = |layers: [f64; 4]| {
        let signal = Signal { layers: layers.to_vec(), offsets: vec![0], half_life: 1.0, control: None, models: 1, rows: 420 };
        let study = signal.study(1);
        text(&made(&study, &evaluated(&study)), "report.md")
    };
    let (nothing, something) = (of([planted::CHANCE; 4]), of([0.2, 0.4, 0.6, 0.4]));
    assert!(nothing.contains("so where it peaks says nothing.") && !nothing.contains(" peaks at "), "{nothing}");
    assert!(something.contains(" peaks at 67% of the depth") && !something.contains("so where it peaks says nothing."), "{something}");
}

#[test]
fn a_probe_without_a_signal_peaks_nowhere_whatever_another_finds() {
    let of = |share: f64| Signal { layers: vec![share; 4], offsets: vec![0], half_life: 1.0, control: None, models: 1, rows: 420 }.study(1);
    let mut study = of(0.6);
    let nothing = of(planted::CHANCE).predictions.into_iter().filter(|p| p.model.is_some());
    study.predictions.extend(nothing.map(|p| Prediction { probe: "mlp".into(), ..p }));
    let said = |study: &Study| text(&made(study, &evaluated(study)), "report.md");
    study.options.probe = Some("logistic".to_owned());
    let (something, nothing) = (said(&study), {
        study.options.probe = Some("mlp".to_owned());
        said(&study)
    });
    assert!(something.contains(" peaks at ") && something.contains("depth of the peak"), "{something}");
    assert!(nothing.contains("so where it peaks says nothing.") && !nothing.contains("depth of the peak"), "{nothing}");
}
