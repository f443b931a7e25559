//! Which of several layers, probes or places stands for all: chosen on validation rows wherever fits tell how they do there,
//! so that its test score isn't flattered by the choice.

use super::bench::{Bench, argmax};
use crate::results::{Choice, DepthPoint};

/// What is known of one candidate.
#[derive(Debug, Clone, Copy)]
pub struct Merit {
    /// The study's measure on validation rows.
    pub measure: Option<f64>,
    /// The mean loss there.
    pub loss: Option<f64>,
    /// The study's measure on test rows.
    pub test: Option<f64>,
}

impl Merit {
    /// That of a point of a curve.
    pub fn of(point: &DepthPoint) -> Merit {
        Merit { measure: point.validation_score, loss: point.validation_loss, test: Some(point.score.value) }
    }

    /// That of some fits (seeds), mean over them.
    pub fn of_fits(bench: &Bench<'_>, predictions: &[usize]) -> Merit {
        let (measure, loss) = (bench.validation_score(predictions), bench.validation(predictions));
        Merit { measure, loss, test: bench.value(predictions) }
    }

    /// The mean of several; what one lacks, all lack.
    pub fn mean(all: &[Merit]) -> Merit {
        let mean = |of: fn(&Merit) -> Option<f64>| {
            let values: Option<Vec<f64>> = all.iter().map(of).collect();
            values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        Merit { measure: mean(|m| m.measure), loss: mean(|m| m.loss), test: mean(|m| m.test) }
    }
}

/// The mean of each of several candidates over the places that all have; one that has nothing anywhere keeps none from the others.
pub fn means(all: &[Vec<Merit>]) -> Vec<Merit> {
    let places = all.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |of: fn(&Merit) -> Option<f64>| -> Vec<Option<f64>> {
        let known: Vec<Vec<Option<f64>>> = all.iter().map(|merits| merits.iter().map(of).collect()).collect();
        let somewhere = |values: &&Vec<Option<f64>>| values.iter().any(Option::is_some);
        let common: Vec<usize> = (0..places).filter(|at| known.iter().filter(somewhere).all(|values| values[*at].is_some())).collect();
        let over = |values: &Vec<Option<f64>>| {
            let values: Option<Vec<f64>> = common.iter().map(|at| values[*at]).collect();
            values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        known.iter().map(over).collect()
    };
    let (measure, loss, test) = (mean(|m| m.measure), mean(|m| m.loss), mean(|m| m.test));
    (0..all.len()).map(|i| Merit { measure: measure[i], loss: loss[i], test: test[i] }).collect()
}

/// The first of the best, and what it was chosen by: the measure where all have it; else the loss, where a candidate without one
/// (a fit that ran away) comes last; else the test rows, of which there is no other word.
pub fn best(all: &[Merit]) -> (usize, Choice) {
    let lacking = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    if !all.is_empty() && all.iter().all(|m| m.measure.is_some()) {
        (argmax(all.iter().map(|m| lacking(m.measure))), Choice::ValidationMeasure)
    } else if all.iter().any(|m| m.loss.is_some()) {
        (argmax(all.iter().map(|m| lacking(m.loss.map(|l| -l)))), Choice::ValidationLoss)
    } else {
        (argmax(all.iter().map(|m| lacking(m.test))), Choice::Test)
    }
}
