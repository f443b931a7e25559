//! What stands against the baselines, of all probes, poolings and layers, and what it is chosen by.

use std::sync::Arc;

use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::rows::Scheme;
use limbic_report::{Choice, Fit, Prediction, Study};

use super::planted::Signal;
use super::synthetic::valued;
use super::{evaluated, made, text};

/// The share of test rows that each of two layers gets right, what validation says of it, and whose it is.
struct Fitted {
    probe: &'static str,
    pooling: Pooling,
    shares: [f64; 2],
    losses: [f64; 2],
    scores: [Option<f64>; 2],
}

const LOGISTIC: Fitted = Fitted { probe: "logistic", pooling: Pooling::Last, shares: [0.3, 0.4], losses: [1.8, 1.6], scores: [None, None] };

/// A study of those fits beside a bag of words.
fn study(fitted: &[Fitted]) -> Study {
    let planted = |shares: &[f64], seed: u64| {
        let signal = Signal { layers: shares.to_vec(), offsets: vec![0], half_life: f64::INFINITY, control: None, models: 1, rows: 420 };
        signal.study(seed)
    };
    let mut study = planted(&[0.3, 0.4], 1);
    study.predictions.retain(|p| p.fit.is_none());
    for (at, f) in fitted.iter().enumerate() {
        let fits = planted(&f.shares, 10 + at as u64).predictions.into_iter().filter(|p| p.fit.is_some());
        for (layer, p) in fits.enumerate() {
            let fit = Fit {
                validation_loss: Some(f.losses[layer]),
                validation_score: f.scores[layer],
                commonest: None,
                ..p.fit.clone().expect("it was kept for it")
            };
            let read_out = Some(ReadOut { pooling: f.pooling, ..ReadOut::LAST });
            study.predictions.push(Prediction { probe: Arc::from(f.probe), read_out, fit: Some(fit), ..p });
        }
    }
    study
}

/// As [`LOGISTIC`], a better one at another pooling, and the best of another kind. The best on test rows is not the best on
/// validation rows.
fn several() -> [Fitted; 4] {
    [
        LOGISTIC,
        Fitted { probe: "logistic", pooling: Pooling::UtteranceMean, shares: [0.4, 0.55], losses: [1.6, 1.4], ..LOGISTIC },
        Fitted { probe: "mlp", pooling: Pooling::UtteranceMean, shares: [0.5, 0.7], losses: [1.45, 1.2], ..LOGISTIC },
        Fitted { probe: "lda", pooling: Pooling::Last, shares: [0.3, 0.85], losses: [1.9, 1.5], ..LOGISTIC },
    ]
}

#[test]
fn the_best_of_all_probes_and_poolings_stands_against_the_baselines() {
    let study = study(&several());
    let results = evaluated(&study);
    let best = results.best_of(0).expect("a curve");
    assert_eq!((best.probe.as_str(), best.pooling, results.chosen), ("mlp", "utterance-mean", Choice::ValidationLoss));
    let baselines: Vec<_> = results.comparisons.iter().filter(|c| c.family == "baselines").collect();
    assert_eq!(baselines.len(), 2);
    assert!(baselines.iter().all(|c| c.subject == "mlp (utterance-mean), raw, layer 1" && c.subject_score > 0.6), "{baselines:?}");
    // Sections about layers are about one probe all the same, and every other one stands beside it.
    assert_eq!((results.probe.as_deref(), results.pooling), (Some("logistic"), Some("last")));
    assert!(results.depth.iter().all(|c| c.probe == "logistic" && c.pooling == "last"));
    let others: Vec<&str> = results.comparisons.iter().filter(|c| c.family == "probes").map(|c| c.subject.as_str()).collect();
    assert_eq!(others, ["lda (last), raw, layer 1", "logistic (utterance-mean), raw, layer 1", "mlp (utterance-mean), raw, layer 1"]);

    let files = made(&study, &results);
    let page = text(&files, "report.md");
    assert!(page.contains("best probe accuracy (mlp (utterance-mean), model-0, layer 1, chosen on validation rows)"), "the card");
    assert!(page.contains("apart best in model-0, layer 1 (mlp (utterance-mean)): "), "the sentence");
    assert!(page.contains("(probe, pooling and layer chosen by loss on validation rows"), "the choice");
    assert!(
        page.contains("; 1 of the 3 other combinations of probe and pooling, each at its own layer, scores higher on the test rows)"),
        "what was not chosen"
    );
    assert!(page.contains("The curves are of the logistic (last) probe."), "whose depth it is");
    assert!(page.contains("| probe | pooling | model | condition | layer |"), "the table of probes");
    assert!(page.contains("| mlp (utterance-mean) | model-0 | c0 |"), "the table of classes");
    let dots = text(&files, "figures/baselines.csv");
    assert_eq!(dots.lines().nth(1).map(|l| l.starts_with("model-0,mlp,utterance-mean,raw,1,")), Some(true), "{dots}");
}

#[test]
fn poolings_are_not_spoken_of_where_there_is_one() {
    let study = study(&[LOGISTIC]);
    let page = text(&made(&study, &evaluated(&study)), "report.md");
    assert!(!page.contains("(last)") && !page.contains("pooling"), "{page}");
    assert!(page.contains("(layer chosen by loss on validation rows"));
}

#[test]
fn the_measure_on_validation_rows_chooses_where_every_fit_tells_it() {
    // A probe that is sure of what it gets wrong has a large loss, whatever it gets right.
    let sure = |scores| Fitted { shares: [0.2, 0.5], losses: [2.0, 9.0], scores, ..LOGISTIC };
    let results = evaluated(&study(&[sure([Some(0.2), Some(0.5)])]));
    let curve = &results.depth[0];
    assert_eq!((curve.best, curve.chosen, results.chosen), (1, Choice::ValidationMeasure, Choice::ValidationMeasure));
    // What a part of the fits tells chooses nothing.
    for scores in [[None, None], [None, Some(0.5)]] {
        let results = evaluated(&study(&[sure(scores)]));
        assert_eq!((results.depth[0].best, results.depth[0].chosen), (0, Choice::ValidationLoss), "{scores:?}");
    }
    let page = |study: &Study| text(&made(study, &evaluated(study)), "report.md");
    let told = page(&study(&[sure([Some(0.2), Some(0.5)])]));
    assert!(told.contains("(layer chosen by accuracy on validation rows)"));
    assert!(told.contains("The best layer is the one with the highest accuracy on validation rows"));
    assert!(page(&study(&[sure([None, None])])).contains("The best layer is the one with the lowest loss on validation rows"));
}

#[test]
fn without_validation_rows_the_choice_is_said_to_flatter() {
    let mut study = study(&[LOGISTIC]);
    study.predictions.iter_mut().filter_map(|p| p.fit.as_mut()).for_each(|f| f.validation_loss = None);
    let results = evaluated(&study);
    assert_eq!((results.chosen, results.depth[0].best), (Choice::Test, 1));
    assert!(text(&made(&study, &results), "report.md").contains("(layer chosen on the test rows themselves, so its score is flattered)"));
}

#[test]
fn an_offset_without_validation_rows_does_not_choose_the_layer_of_decays() {
    // The second layer is better on test rows, the first on validation rows.
    let signal = Signal { layers: vec![0.4, 0.8], offsets: vec![0, 2, 4], half_life: 9.0, control: None, models: 1, rows: 280 };
    let mut study = signal.study(3);
    let tell = |study: &mut Study, upto: u32| {
        for p in study.predictions.iter_mut().filter(|p| p.fit.is_some()) {
            let (first, offset) = (p.layer == Some(Layer::Block(0)), p.read_out.expect("a place").offset);
            let fit = p.fit.as_mut().expect("it has one");
            fit.validation_score = Some(if first { 0.6 } else { 0.5 }).filter(|_| offset < upto);
            fit.validation_loss = fit.validation_score.map(|score| 1.0 - score);
        }
    };
    for (upto, layer, choice, words) in [
        (9, 0, Choice::ValidationMeasure, "by accuracy on validation rows."),
        (4, 0, Choice::ValidationMeasure, "by accuracy on validation rows."),
        (0, 1, Choice::Test, "by accuracy on test rows, which flatters it"),
    ] {
        tell(&mut study, upto);
        let results = evaluated(&study);
        let p = &results.persistence[0];
        assert_eq!((p.layer, p.chosen), (Layer::Block(layer), choice), "{upto}");
        let page = text(&made(&study, &results), "report.md");
        assert!(page.contains(&format!("Curves are at the layer that is best on average over offsets, {words}")), "{words}: {page}");
    }
    // What one layer lacks at an offset, no layer is judged by there; one that lacks it everywhere comes last.
    let losses = |study: &mut Study, lacks: fn(u32) -> bool| {
        for p in study.predictions.iter_mut().filter(|p| p.fit.is_some()) {
            let (first, offset) = (p.layer == Some(Layer::Block(0)), p.read_out.expect("a place").offset);
            let fit = p.fit.as_mut().expect("it has one");
            fit.validation_score = None;
            fit.validation_loss = Some(if first { 0.1 } else { 0.2 }).filter(|_| !(first && lacks(offset)));
        }
    };
    losses(&mut study, |offset| offset == 4);
    assert_eq!(evaluated(&study).persistence[0].layer, Layer::Block(0));
    losses(&mut study, |_| true);
    let results = evaluated(&study);
    assert_eq!((results.persistence[0].layer, results.persistence[0].chosen), (Layer::Block(1), Choice::ValidationLoss));
}

#[test]
fn a_fit_that_ran_away_is_not_chosen() {
    let mut study = study(&[LOGISTIC]);
    let fits = study.predictions.iter_mut().filter_map(|p| p.fit.as_mut());
    fits.last().expect("a fit").validation_loss = Some(f64::INFINITY);
    let curve = &evaluated(&study).depth[0];
    assert_eq!((curve.best, curve.chosen), (0, Choice::ValidationLoss));
}

#[test]
fn losses_of_probabilities_and_of_numbers_are_not_compared() {
    let mut study = valued(Scheme::Intensity, 120);
    let others: Vec<Prediction> = study.predictions.iter().filter(|p| p.at_home() && p.fit.is_some()).cloned().collect();
    for p in others {
        // Nats, and so many of them.
        let fit = p.fit.clone().map(|f| Fit { validation_loss: f.validation_loss.map(|l| l / 10.0), ..f });
        study.predictions.push(Prediction { probe: Arc::from("logistic"), fit, ..p });
    }
    study.predictions.iter_mut().filter(|p| &*p.probe == "ridge").for_each(|p| p.probe = Arc::from("mlp"));
    let results = evaluated(&study);
    assert_eq!((results.chosen, results.best[0].probe.as_str()), (Choice::ValidationLoss, "logistic"));
    // The other way round, the lower loss is the other's.
    study.predictions.iter_mut().filter(|p| &*p.probe == "mlp").filter_map(|p| p.fit.as_mut()).for_each(|f| {
        f.validation_loss = f.validation_loss.map(|l| l / 1000.0);
    });
    assert_eq!(evaluated(&study).best[0].probe, "logistic");
    // Their correlations can be compared.
    study.predictions.iter_mut().for_each(|p| {
        let mlp = &*p.probe == "mlp";
        p.fit.iter_mut().for_each(|f| f.validation_score = Some(if mlp { 0.5 } else { 0.4 }));
    });
    assert_eq!(evaluated(&study).best[0].probe, "mlp");
}
