//! Several labels a row, intensities, places on scales.

use std::collections::BTreeSet;

use limbic_proto::axis::Context;
use limbic_proto::rows::Scheme;
use limbic_report::{HalfLife, Prediction, Results, Study};

use super::synthetic::valued;
use super::{evaluated, made, text, values};

fn of(scheme: Scheme) -> (Study, Results) {
    let study = valued(scheme, 240);
    let results = evaluated(&study);
    (study, results)
}

const SCHEMES: [(Scheme, &str, &str); 3] =
    [(Scheme::Multi, "map", "logistic"), (Scheme::Intensity, "pearson", "ridge"), (Scheme::Continuous, "pearson", "ridge")];

#[test]
fn every_scheme_has_its_measure_and_the_signal_is_found_in_it() {
    for (scheme, measure, probe) in SCHEMES {
        let (study, results) = of(scheme);
        assert_eq!((results.measure.name, results.probe.as_deref()), (measure, Some(probe)), "{scheme:?}");
        for curve in &results.depth {
            // Of blocks 0 to 4, the third is nearest to 65 % of the depth.
            assert!((curve.peak.depth.value - 0.65).abs() < 0.2, "{scheme:?} {:?}", curve.peak);
            let shuffled = &curve.controls.iter().find(|c| c.control == "shuffled-labels").expect("a control").points[curve.best];
            assert!(shuffled.expect("it was measured").value < curve.shown().score.value - 0.2, "{scheme:?}");
        }
        let over_words = results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == "bag-of-words");
        assert!(over_words.clone().count() > 0 && over_words.clone().all(|c| c.difference.lo.expect("groups") > 0.0), "{scheme:?}");
        for p in &results.persistence {
            let decay = p.decay(probe, Context::Full, None).and_then(|d| d.main()).expect("a decay");
            assert!(matches!(decay.half_life, HalfLife::Reached { tokens, .. } if (1.5..8.0).contains(&tokens)), "{:?}", decay.half_life);
        }
        let fit = study.predictions.iter().position(|p| p.fit.is_some()).expect("a fit");
        let scores: Vec<&str> = results.scores[fit].iter().map(|(id, _)| results.catalogue.name(id).name.as_str()).collect();
        let wanted: &[&str] = match scheme {
            Scheme::Multi => &["map", "micro-f1", "macro-f1", "auroc", "ap:joy", "f1:joy"],
            Scheme::Intensity => &["pearson", "ccc", "mae", "qwk", "qwk:joy"],
            _ => &["pearson", "ccc", "mae", "r2", "r2:valence"],
        };
        assert!(wanted.iter().all(|name| scores.contains(name)), "{scheme:?}: {scores:?}");
    }
}

/// Asked which label a text has, a model shares one probability out among all of them: no label of several reaches a half, and a
/// share is no level. What order it puts rows in is all that can be measured.
#[test]
fn likelihoods_of_answers_are_measured_by_their_order_alone() {
    for (scheme, kept) in [(Scheme::Multi, ["ap", "auroc", "map", "ranking-precision"].as_slice()), (Scheme::Intensity, &["pearson"])] {
        let mut study = valued(scheme, 240);
        let same = study.predictions.last().unwrap().values.clone();
        study.predictions.push(Prediction::baseline("zero-shot", Some(0), same));
        let results = evaluated(&study);
        let of = |prediction: usize| {
            let names = results.scores[prediction].iter().map(|(id, _)| results.catalogue.name(id).name.split(':').next().unwrap());
            names.collect::<BTreeSet<_>>()
        };
        let (words, asked) = (study.predictions.len() - 2, study.predictions.len() - 1);
        assert_eq!(of(asked), kept.iter().copied().collect(), "{scheme:?}");
        assert!(of(words).len() > kept.len() && of(words).is_superset(&of(asked)), "{scheme:?}: {:?}", of(words));
        let files = made(&study, &results);
        assert!(!text(&files, "report.md").contains("NaN"), "{scheme:?}");
    }
}

#[test]
fn pages_speak_in_the_schemes_terms() {
    for (scheme, words, not) in [
        (Scheme::Multi, "mean average precision", "Silhouette of"),
        (Scheme::Intensity, "mean Pearson&#x27;s r", "log-loss"),
        (Scheme::Continuous, "mean Pearson&#x27;s r", "AUROC"),
    ] {
        let (study, results) = of(scheme);
        let files = made(&study, &results);
        let (html, markdown) = (text(&files, "report.html"), text(&files, "report.md"));
        assert!(html.contains(words) && !html.contains(not) && !markdown.contains("NaN"), "{scheme:?}");
        assert_eq!(
            files.contains_key("figures/geometry-angles.svg"),
            scheme == Scheme::Continuous,
            "directions have angles to one another"
        );
        assert_eq!(files.contains_key("figures/geometry-affect.svg"), scheme == Scheme::Continuous);
        if scheme == Scheme::Continuous {
            let (rows, csv) = (study.test.len(), text(&files, "figures/geometry-affect.csv"));
            assert_eq!(csv.lines().count(), 1 + rows);
            // What is predicted there is what the scores of the layer rest on.
            let plane = &results.geometry.affect[0];
            let shown = results.depth.iter().find(|c| c.place == plane.place).expect("a curve").shown();
            let predicted = values(&study.predictions[shown.predictions[0]]);
            let expected = |row: usize| (f64::from(predicted[row * 3]), f64::from(predicted[row * 3 + 1]));
            assert!(plane.points.iter().all(|(row, at)| *at == expected(*row)) && plane.points.len() == rows);
        }
    }
}

/// What rows have on average in a random order: at place k a row of the label has the precision 1/k by itself, and of the others
/// above it their share.
fn random_order(hits: usize, rows: usize) -> f64 {
    let others = (hits as f64 - 1.0) / (rows as f64 - 1.0);
    (1..=rows).map(|k| (1.0 + (k as f64 - 1.0) * others) / k as f64).sum::<f64>() / rows as f64
}

#[test]
fn average_precision_stands_beside_that_of_a_random_order() {
    let (study, results) = of(Scheme::Multi);
    let rows = study.test.len();
    let hits = |class: usize| study.test.iter().filter(|r| r.values[class] > 0.5).count();
    let floors: Vec<f64> = (0..study.classes.len()).map(|class| random_order(hits(class), rows)).collect();
    let whole = floors.iter().sum::<f64>() / floors.len() as f64;
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(results.measure.floor, whole), "{} and {whole}", results.measure.floor);
    assert!(floors.iter().zip(&results.measure.class_floors).all(|(a, b)| near(*a, *b)), "{:?}", results.measure.class_floors);
    // The majority's scores are tied, and have the labels' shares.
    let majority = results.baselines.iter().find(|b| b.probe == "majority").expect("a baseline").score;
    assert!(majority.value < whole && majority.lo.expect("groups") <= majority.value && majority.value <= majority.hi.expect("groups"));
    let markdown = text(&made(&study, &results), "report.md");
    let against = format!("against {:.1}% in a random order (", whole * 100.0);
    assert!(markdown.contains(&against) && !markdown.contains("without any signal"), "{markdown}");
    assert!(markdown.contains("half-life to random order") && !markdown.contains("half-life to majority"), "{markdown}");
}

#[test]
fn a_value_above_its_interval_is_explained_where_it_stands() {
    let (study, mut results) = of(Scheme::Multi);
    let says = |results: &Results, heading: &str| {
        let markdown = text(&made(&study, results), "report.md");
        let section = markdown.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_else(|| panic!("{markdown}")).to_owned();
        section.contains("counts a row in its own precision")
    };
    let inside = |e: &mut limbic_report::Estimate| e.hi = Some(e.value);
    let above = |e: &mut limbic_report::Estimate| e.hi = Some(e.value - 0.001);
    results.levels.iter_mut().for_each(|r| inside(&mut r.score));
    results.best.iter_mut().flat_map(|c| &mut c.points).for_each(|p| inside(&mut p.score));
    assert!(!says(&results, "What this shows") && !says(&results, "Labels"));
    above(&mut results.levels.last_mut().expect("levels").score);
    assert!(!says(&results, "What this shows") && says(&results, "Labels"));
    results.best.iter_mut().flat_map(|c| &mut c.points).for_each(|p| above(&mut p.score));
    assert!(says(&results, "What this shows"));
}

#[test]
fn labels_roll_up_where_a_row_has_several() {
    let (_, results) = of(Scheme::Multi);
    let rolled: Vec<_> = results.levels.iter().filter(|l| l.level.as_deref() == Some("valence")).collect();
    assert!(!rolled.is_empty() && rolled.iter().all(|l| l.classes == 2 && l.near_misses.is_none()));
}
