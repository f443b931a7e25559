//! Which of several layers, probes or places stands for all: chosen on validation rows wherever fits tell how they do there,
//! so that its test score isn't flattered by the choice.

use limbic_proto::rows::Scheme;

use super::bench::Bench;
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

    /// That of a point where probes of several kinds compete: losses of probabilities and of numbers, which intensities have both,
    /// decide no tie.
    pub fn among_probes(point: &DepthPoint, scheme: Scheme, by: Choice) -> Merit {
        let merit = Merit::of(point);
        Merit { loss: merit.loss.filter(|_| scheme != Scheme::Intensity || by == Choice::ValidationLoss), ..merit }
    }

    /// That of some fits (seeds), mean over them.
    pub fn of_fits(bench: &Bench<'_>, predictions: &[usize]) -> Merit {
        let (measure, loss) = (bench.validation_score(predictions), bench.validation(predictions));
        Merit { measure, loss, test: bench.value(predictions) }
    }

    /// Whether it is better than another, by what both are chosen by. What it lacks is the worst that there is.
    pub fn beats(&self, other: &Merit, by: Choice) -> bool {
        let low = |loss: Option<f64>| loss.map(|loss| -loss);
        let worth = |m: &Merit| match by {
            Choice::ValidationMeasure => [m.measure, low(m.loss)],
            Choice::ValidationLoss => [low(m.loss), None],
            Choice::Test => [m.test, None],
        };
        worth(self).map(|w| w.unwrap_or(f64::NEG_INFINITY)) > worth(other).map(|w| w.unwrap_or(f64::NEG_INFINITY))
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
///
/// Candidates that are as good by the measure, as many are on few validation rows, are told apart by their loss there.
pub fn best(all: &[Merit]) -> (usize, Choice) {
    let choice = if !all.is_empty() && all.iter().all(|m| m.measure.is_some()) {
        Choice::ValidationMeasure
    } else if all.iter().any(|m| m.loss.is_some()) {
        Choice::ValidationLoss
    } else {
        Choice::Test
    };
    let best = (0..all.len()).reduce(|best, i| if all[i].beats(&all[best], choice) { i } else { best });
    (best.unwrap_or(0), choice)
}

#[cfg(test)]
mod tests {
    use super::{Choice, Merit, best};

    fn merit(measure: f64, loss: impl Into<Option<f64>>) -> Merit {
        Merit { measure: Some(measure), loss: loss.into(), test: Some(0.5) }
    }

    #[test]
    fn what_ties_on_validation_rows_is_told_apart_by_its_loss_and_else_the_first_is_taken() {
        let chosen = |all: &[Merit]| best(all).0;
        assert_eq!(best(&[merit(0.6, 0.9), merit(0.7, 1.2), merit(0.7, 1.1)]), (2, Choice::ValidationMeasure));
        assert_eq!(chosen(&[merit(0.7, 1.1), merit(0.7, 1.1), merit(0.6, 0.1)]), 0);
        assert_eq!(chosen(&[merit(0.7, None), merit(0.7, 1.1)]), 1, "a loss that is no number is the worst");
        assert_eq!(chosen(&[merit(0.7, 1.1), merit(0.7, None)]), 0);
        assert_eq!(chosen(&[merit(0.0, None), merit(0.0, None)]), 0);
    }

    #[test]
    fn what_one_lacks_none_is_chosen_by() {
        let unmeasured = |loss| Merit { measure: None, loss, test: Some(0.9) };
        assert_eq!(best(&[merit(0.9, 1.3), unmeasured(Some(1.1))]), (1, Choice::ValidationLoss));
        assert_eq!(best(&[unmeasured(None), Merit { test: Some(1.0), ..unmeasured(None) }]), (1, Choice::Test));
        assert_eq!(best(&[]), (0, Choice::Test));
    }
}
