//! Scores of every prediction: counts for all of them, probabilities with intervals as far as that is affordable.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::Bench;
use crate::results::{Estimate, Metric, Scores};
use crate::statistics::tally::Totals;
use crate::statistics::{calibration, metrics, ranking};

/// Weighted additions (rows x classes x resamples x predictions) spent on intervals of AUROC, ECE and log-loss before
/// only baselines and representative layers get them: a few seconds on two cores.
const BUDGET: usize = 6_000_000_000;

/// Accuracy, macro-F1, balanced accuracy and per-class metrics with intervals, and the draws of the accuracy.
pub fn counts(bench: &Bench<'_>) -> (Vec<Scores>, Vec<Vec<f64>>) {
    let everything: Vec<Option<u32>> = bench.truth.iter().map(|t| Some(*t)).collect();
    let classes = bench.study.classes.len();
    let full = crate::statistics::tally::Tally::new(&bench.groups, classes, &bench.truth, &everything);
    let truth = full.draw(&bench.resamples, None).truth.into_owned();
    bench
        .study
        .predictions
        .par_iter()
        .map(|p| {
            let tally = bench.tally(p);
            let totals = tally.totals();
            let n: u32 = totals.truth.iter().sum();
            if n == 0 {
                return (Scores::default(), vec![f64::NAN; bench.resamples.count()]);
            }
            let draws = tally.draw(&bench.resamples, (n as usize == bench.truth.len()).then_some(truth.as_slice()));
            let mut scores = Scores::default();
            let mut push = |name: String, value: f64, draws: &[f64], n: u32, groups: usize| {
                if !value.is_nan() {
                    scores.metrics.push(Metric { name, estimate: bench.resamples.estimate_over(groups, value, draws, n as usize) });
                }
            };
            let three = |t: &Totals| [metrics::accuracy(t), metrics::macro_f1(t), metrics::balanced_accuracy(t)];
            let [accuracy, macro_f1, balanced] = draws.map(three);
            let [a, f, b] = three(&totals);
            let groups = tally.groups();
            push("accuracy".to_owned(), a, &accuracy, n, groups);
            push("macro-f1".to_owned(), f, &macro_f1, n, groups);
            push("balanced-accuracy".to_owned(), b, &balanced, n, groups);
            for (class, name) in bench.study.classes.iter().enumerate() {
                let three = |t: &Totals| [metrics::recall(t, class), metrics::precision(t, class), metrics::f1(t, class)];
                // Recall rests on the class's rows, precision on those called so, F1 on both.
                let (own, called) = (tally.truth[class].len(), tally.predicted[class].len());
                let groups = [own, called, own.max(called)];
                for (((metric, value), draws), groups) in
                    ["recall", "precision", "f1"].iter().zip(three(&totals)).zip(draws.map(three)).zip(groups)
                {
                    push(format!("{metric}:{name}"), value, &draws, totals.truth[class], groups);
                }
            }
            (scores, accuracy)
        })
        .unzip()
}

/// Adds log-loss, AUROC and ECE to the bench's scores and hands them over. Intervals of these go to all predictions if
/// that is affordable, else to `wanted` alone, which is said in `warnings`.
pub fn probabilities(bench: &mut Bench<'_>, wanted: &BTreeSet<usize>, warnings: &mut Vec<String>) -> Vec<Scores> {
    let study = bench.study;
    let (rows, classes) = (study.test.len(), study.classes.len());
    let cost = rows * classes * study.options.resamples;
    let all = cost.saturating_mul(study.predictions.len()) <= BUDGET;
    if !all {
        warnings.push(format!(
            "Intervals of AUROC, log-loss and calibration error were computed for the {} baselines and representative layers only; all other metrics have intervals everywhere.",
            wanted.len()
        ));
    }
    let mut scores = std::mem::take(&mut bench.scores);
    let mut group = vec![0; rows];
    for (g, row) in bench.groups.iter() {
        group[row] = g;
    }
    scores.par_iter_mut().enumerate().for_each(|(i, scores)| {
        let p = &study.predictions[i];
        let predicted = bench.predicted(p);
        let present: Vec<usize> = (0..rows).filter(|r| predicted[*r].is_some()).collect();
        if present.is_empty() {
            return;
        }
        let call = |r: usize| predicted[r].map(|c| calibration::Call::new(&p.probabilities[r * classes..][..classes], bench.truth[r], c));
        let calls: Vec<Option<calibration::Call>> = (0..rows).map(call).collect();
        let draws = all || wanted.contains(&i);
        let mut push = |name: &str, value: f64, draws: Option<Vec<f64>>| {
            let estimate = match draws {
                Some(draws) => bench.resamples.estimate(value, &draws, present.len()),
                None => Estimate::point(value, present.len()),
            };
            if !value.is_nan() {
                scores.metrics.push(Metric { name: name.to_owned(), estimate });
            }
        };
        let (groups, resamples) = (&bench.groups, &bench.resamples);
        let loss = draws.then(|| calibration::log_loss_draws(&calls, groups, resamples));
        push("log-loss", calibration::log_loss(&calls), loss);
        let ece = draws.then(|| calibration::ece_draws(&calls, groups, resamples));
        push("ece", calibration::ece(&calls), ece);
        let area = ranking::auroc(&p.probabilities, &bench.truth, &present, classes);
        let areas = draws.then(|| ranking::auroc_draws(&p.probabilities, &bench.truth, &present, classes, &group, resamples));
        push("auroc", area, areas);
    });
    scores
}
