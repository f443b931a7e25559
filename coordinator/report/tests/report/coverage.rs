//! How often intervals hold the population's value: metrics of every scheme, labels that are rare, probabilities that are
//! calibrated and that aren't, and paired differences.

use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, Estimate, Prediction, Results, Study, evaluate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::planted::{Signal, bare, model, normal, prediction, strength, test_row};
use super::recovery::shares;
use super::values;

/// A study whose first prediction, and whose probe's difference from the words, are known in the population.
type Draw = fn(&mut ChaCha8Rng, usize, u64) -> Study;

/// How often rows of one class a row are right.
const SHARE: f64 = 0.55;

/// One class a row: states of the strength at which rows of the class are right so often.
fn single(_: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    Signal { layers: vec![SHARE], offsets: vec![0], half_life: 1.0, control: None, models: 1, rows }.study(seed)
}

/// One of 28 classes a row, drawn, the k-th a k-th as often as the first; four rows in ten are called what they are, the others anything.
fn uneven(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    const CLASSES: usize = 28;
    let rows = 3 * rows;
    let total: f64 = (1..=CLASSES).map(|k| 1.0 / k as f64).sum();
    let mut drawn = || {
        let mut left = total * rng.random::<f64>();
        (0..CLASSES - 1).find(|k| {
            left -= 1.0 / (k + 1) as f64;
            left < 0.0
        })
    };
    let pairs: Vec<[usize; 2]> = (0..rows).map(|_| [drawn(), drawn()].map(|class| class.unwrap_or(CLASSES - 1))).collect();
    let called = pairs.iter().map(|[truth, other]| if rng.random::<f64>() < 0.4 { *truth } else { *other });
    let values = called.flat_map(|called| (0..CLASSES).map(move |class| f32::from(u8::from(class == called)))).collect();
    let test = pairs.iter().enumerate().map(|(row, [truth, _])| test_row(row, *truth as u32, Vec::new())).collect();
    let classes = (0..CLASSES).map(|class| format!("c{class}")).collect();
    let predictions = vec![prediction(0, 0, ReadOut::LAST, 1.0, values)];
    Study { classes, models: vec![model(0, 1)], ..bare(Scheme::Single, test, predictions, seed) }
}

/// The same with probabilities raised to a power.
fn sharpened(study: Study, power: f64) -> Study {
    let mut study = study;
    let plain = values(&study.predictions[0]);
    let raised = plain.chunks(study.classes.len()).flat_map(|row| {
        let raised: Vec<f64> = row.iter().map(|p| f64::from(*p).powf(power)).collect();
        let total: f64 = raised.iter().sum();
        raised.into_iter().map(move |p| (p / total) as f32).collect::<Vec<_>>()
    });
    let raised = raised.collect();
    study.predictions[0].values = Deferred::held(raised);
    study
}

/// Probabilities that are what they say: a class's evidence is its state times the strength.
fn calibrated(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    sharpened(single(rng, rows, seed), strength(SHARE))
}

fn overconfident(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    sharpened(single(rng, rows, seed), 2.0 * strength(SHARE))
}

/// Noise `[rows, classes]`, three tenths of it a group's.
fn noise_of(rng: &mut ChaCha8Rng, rows: usize, classes: usize) -> Vec<f64> {
    let mut group = vec![0.0; classes];
    (0..rows)
        .flat_map(|row| {
            if row.is_multiple_of(2) {
                group.fill_with(|| normal(rng));
            }
            (0..classes).map(|c| 0.3_f64.sqrt() * group[c] + 0.7_f64.sqrt() * normal(rng)).collect::<Vec<_>>()
        })
        .collect()
}

/// Labels of these shares, seen through noise.
fn labels(rng: &mut ChaCha8Rng, rows: usize, shares: &[f64], seed: u64) -> Study {
    let classes = shares.len();
    let truth: Vec<f32> = (0..rows * classes).map(|i| f32::from(u8::from(rng.random::<f64>() < shares[i % classes]))).collect();
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    valued(Scheme::Multi, rng, classes, truth, seed, |t, strength, e| logistic(-1.0 + 1.6 * strength * t + e))
}

/// Three labels, each of three rows in ten.
fn several(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    labels(rng, rows, &[0.3; 3], seed)
}

/// Twelve labels, half of them of fewer than five rows in a hundred.
fn rare(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    labels(rng, 2 * rows, &[0.01, 0.015, 0.02, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2], seed)
}

/// One of four labels, and in one row of ten another too. Labels that nearly sum to one make intervals of their mean narrow, so
/// that little of a bias is enough to miss.
fn one_of_four(rng: &mut ChaCha8Rng, rows: usize) -> Vec<f32> {
    let row = |_: usize| {
        let draw: f64 = rng.random();
        let own = [0.4, 0.7, 0.9].iter().filter(|upto| draw > **upto).count();
        let other = if rng.random::<f64>() < 0.1 { rng.random_range(0..4) } else { own };
        (0..4).map(move |label| f32::from(u8::from(label == own || label == other)))
    };
    (0..rows).flat_map(row).collect()
}

/// Scores that are the same for every row, as those of the majority are.
fn constant(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth = one_of_four(rng, rows);
    valued(Scheme::Multi, rng, 4, truth, seed, |_, _, _| 0.25)
}

/// Scores of two values, as those of written answers are.
fn two_valued(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth = one_of_four(rng, rows);
    valued(Scheme::Multi, rng, 4, truth, seed, |t, strength, e| if 1.6 * strength * t + e > 1.0 { 0.8 } else { 0.2 })
}

/// Two classes of four levels, most often absent.
fn intensities(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth = noise_of(rng, rows, 2).into_iter().map(|x| (1.2 * x + 0.3).round().clamp(0.0, 3.0) as f32).collect();
    valued(Scheme::Intensity, rng, 2, truth, seed, |t, strength, e| (0.3 + 0.7 * strength * t + 0.6 * e).max(0.0))
}

/// Two scales whose predictions are biased and too narrow.
fn scales(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth = noise_of(rng, rows, 2).into_iter().map(|x| (3.0 + x) as f32).collect();
    valued(Scheme::Continuous, rng, 2, truth, seed, |t, strength, e| 3.2 + 0.6 * strength * (t - 3.0) + 0.6 * e)
}

/// A probe that sees the truth at full strength, and the words, which see it at half and share half of the probe's noise.
fn valued(scheme: Scheme, rng: &mut ChaCha8Rng, classes: usize, truth: Vec<f32>, seed: u64, seen: impl Fn(f64, f64, f64) -> f64) -> Study {
    let rows = truth.len() / classes;
    let [ours, theirs] = [0, 1].map(|_| noise_of(rng, rows, classes));
    let shared = ours.iter().zip(&theirs).map(|(a, b)| 0.5_f64.sqrt() * (a + b)).collect::<Vec<f64>>();
    let of = |strength: f64, noise: &[f64]| truth.iter().zip(noise).map(|(t, e)| seen(f64::from(*t), strength, *e) as f32).collect();
    let predictions = vec![
        prediction(0, 0, ReadOut::LAST, 1.0, of(1.0, &ours)),
        Prediction::baseline("bag-of-words", None, Deferred::held(of(0.5, &shared))),
    ];
    let test = truth.chunks(classes).enumerate().map(|(row, of_row)| test_row(row, 0, of_row.to_vec())).collect();
    Study { models: vec![model(0, 1)], ..bare(scheme, test, predictions, seed) }
}

/// A score of the first prediction, or the paired difference from the words in the study's measure.
fn found(results: &Results, metric: &str) -> Estimate {
    match metric {
        "difference" => results.comparisons.iter().find(|c| c.against == "bag-of-words").expect("both are there").difference,
        _ => results.score(0, metric).unwrap_or_else(|| panic!("no {metric}")),
    }
}

/// The coverage of metrics over test sets of 280 rows; a label with too few rows for an interval has none to cover.
fn coverage(studies: u64, draw: Draw, metrics: &'static [&'static str]) -> Vec<(&'static str, f64, usize)> {
    // The population: one study so large that its own error doesn't matter.
    let mut large = draw(&mut ChaCha8Rng::seed_from_u64(99), 210_000, 99);
    large.options.resamples = 0;
    let truth = evaluate(&large).expect("the study is sound");
    shares(studies, |seed| {
        let results = evaluate(&draw(&mut ChaCha8Rng::seed_from_u64(1_000 + seed), 280, seed)).expect("the study is sound");
        let holds = |metric: &&'static str| {
            let (e, truth) = (found(&results, metric), found(&truth, metric).value);
            Some((*metric, e.lo? <= truth && truth <= e.hi?))
        };
        metrics.iter().filter_map(holds).collect()
    })
}

/// Whether every one of the metrics has an interval in at least half of the studies, which holds the truth as often as said.
fn covers(studies: u64, draw: Draw, metrics: &'static [&'static str]) {
    let all = coverage(studies, draw, metrics);
    counted(&all, studies, metrics);
    assert!(all.iter().all(|(_, share, _)| (0.9..=0.98).contains(share)), "{all:?}");
}

fn counted(all: &[(&'static str, f64, usize)], studies: u64, metrics: &[&str]) {
    for metric in metrics {
        let intervals = all.iter().find(|a| a.0 == *metric).map_or(0, |a| a.2);
        assert!(2 * intervals as u64 >= studies, "{metric}: {intervals} intervals in {studies} studies");
    }
}

#[test]
fn intervals_cover_as_often_as_they_say() {
    covers(400, single, &["accuracy", "macro-f1", "balanced-accuracy", "log-loss", "ece", "auroc", "recall:c2", "f1:c3", "difference"]);
    covers(400, several, &["micro-f1", "macro-f1", "subset-accuracy", "ranking-precision", "map", "auroc", "ap:c1", "difference"]);
    covers(400, intensities, &["pearson", "ccc", "mae", "qwk", "pearson:c1", "qwk:c0", "difference"]);
    covers(400, scales, &["pearson", "ccc", "mae", "r2", "pearson:c1", "difference"]);
}

#[test]
fn rare_labels_are_covered_too() {
    covers(300, uneven, &["accuracy", "macro-f1", "balanced-accuracy"]);
    covers(300, rare, &["map", "auroc", "macro-f1", "ap:c7", "ap:c11", "difference"]);
}

#[test]
fn scores_that_are_tied_are_covered_too() {
    covers(400, constant, &["map", "ap:c0", "ap:c3"]);
    covers(400, two_valued, &["map", "ap:c0", "ap:c3", "difference"]);
}

#[test]
fn calibration_errors_are_covered_wherever_they_lie() {
    covers(400, overconfident, &["ece", "log-loss"]);
    // At the end of what is possible the interval can only miss on one side.
    let all = coverage(400, calibrated, &["ece", "log-loss"]);
    counted(&all, 400, &["ece", "log-loss"]);
    assert!(all.iter().all(|(_, share, _)| (0.9..=0.995).contains(share)), "{all:?}");
}

#[test]
fn a_label_of_few_rows_has_no_interval() {
    let study = rare(&mut ChaCha8Rng::seed_from_u64(5), 280, 5);
    let results = evaluate(&study).expect("the study is sound");
    let rows = |class: usize| study.test.iter().filter(|r| r.values[class] > 0.0).count();
    for (class, name) in study.classes.iter().enumerate() {
        let rows = rows(class);
        let found = results.score(0, &format!("ap:{name}"));
        assert_eq!(found.is_some(), rows > 0, "{name}: {rows} rows");
        assert!(found.is_none_or(|e| e.lo.is_some() == (rows >= 10)), "{name}: {rows} rows, {found:?}");
    }
    assert!((1..10).contains(&rows(0)) && rows(11) >= 10, "labels of both kinds");
    assert!(["ap:c11", "map"].iter().all(|metric| found(&results, metric).lo.is_some()));
}
