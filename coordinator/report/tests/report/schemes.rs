//! Several labels a row, intensities, places on scales.

use limbic_proto::axis::Context;
use limbic_proto::rows::Scheme;
use limbic_report::{HalfLife, Results, Study};

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

#[test]
fn labels_roll_up_where_a_row_has_several() {
    let (_, results) = of(Scheme::Multi);
    let rolled: Vec<_> = results.levels.iter().filter(|l| l.level.as_deref() == Some("valence")).collect();
    assert!(!rolled.is_empty() && rolled.iter().all(|l| l.classes == 2 && l.near_misses.is_none()));
}
