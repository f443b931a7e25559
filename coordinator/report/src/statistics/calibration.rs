//! How well probabilities are calibrated: log-loss and expected calibration error.

use super::normal::erfc;
use super::resamples::Resamples;
use super::tally::RowGroups;

/// Bins of equal width in the expected calibration error.
pub const BINS: usize = 15;

/// Per row, what calibration needs: none where the prediction is absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// The highest probability.
    pub confidence: f64,
    /// Whether its class is the true one.
    pub right: bool,
    /// -ln of the true class's probability, in nats.
    pub loss: f64,
}

impl Call {
    /// From one row of probabilities. Probabilities are clipped at f32's epsilon, as in scikit-learn.
    pub fn new(probabilities: &[f32], truth: u32, predicted: u32) -> Call {
        let eps = f64::from(f32::EPSILON);
        let p = f64::from(probabilities[truth as usize]).clamp(eps, 1.0);
        Call { confidence: f64::from(probabilities[predicted as usize]), right: truth == predicted, loss: -p.ln() }
    }

    fn bin(&self) -> usize {
        // Bins are (i/15, (i+1)/15], as in Guo et al.
        ((self.confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
    }
}

/// Mean log-loss in nats; NaN without rows.
pub fn log_loss(calls: &[Option<Call>]) -> f64 {
    super::metrics::mean(calls.iter().flatten().map(|c| c.loss))
}

/// Expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean distance between confidence and accuracy
/// over 15 bins of confidence, weighted by their rows; in 0..=1, NaN without rows.
pub fn ece(calls: &[Option<Call>]) -> f64 {
    let mut gap = [0.0; BINS];
    let mut rows = 0.0;
    for call in calls.iter().flatten() {
        gap[call.bin()] += call.confidence - f64::from(u8::from(call.right));
        rows += 1.0;
    }
    if rows == 0.0 { f64::NAN } else { gap.iter().map(|g| g.abs()).sum::<f64>() / rows }
}

/// Log-loss in every resample.
pub fn log_loss_draws(calls: &[Option<Call>], groups: &RowGroups, resamples: &Resamples) -> Vec<f64> {
    let loss = resamples.sum_real(&groups.column_real(|row| calls[row].map(|c| c.loss)));
    let rows = resamples.sum(&groups.column(|row| u32::from(calls[row].is_some())));
    loss.iter().zip(rows).map(|(l, n)| if n == 0 { f64::NAN } else { l / f64::from(n) }).collect()
}

/// Bins this many standard errors from being calibrated are taken to be so in [`ece_interval`]'s lower end.
const CALIBRATED: f64 = 1.5;

/// The expected calibration error in every resample, and what its interval needs beside it.
#[derive(Debug, Clone)]
pub struct EceDraws {
    /// In every resample.
    pub draws: Vec<f64>,
    /// The most that noise can have added.
    pub most: f64,
}

/// The draws behind [`ece_interval`].
pub fn ece_draws(calls: &[Option<Call>], groups: &RowGroups, resamples: &Resamples) -> EceDraws {
    let rows = calls.iter().flatten().count() as f64;
    let drawn_rows = resamples.sum(&groups.column(|row| u32::from(calls[row].is_some())));
    let (mut draws, mut most) = (vec![0.0; resamples.count()], 0.0);
    for bin in 0..BINS {
        let gap = groups.column_real(|row| calls[row].filter(|c| c.bin() == bin).map(|c| c.confidence - f64::from(u8::from(c.right))));
        let drawn: Vec<f64> = resamples.sum_real(&gap).iter().zip(&drawn_rows).map(|(g, n)| g / f64::from(*n)).collect();
        draws.iter_mut().zip(&drawn).for_each(|(t, g)| *t += g.abs());
        let (gap, error) = (gap.iter().map(|g| g.1).sum::<f64>() / rows, deviation(&drawn));
        most += excess((gap.abs() - CALIBRATED * error).max(0.0), error);
    }
    EceDraws { draws, most }
}

/// The interval of the expected calibration error that was `found`, none where there is none to be had.
///
/// The error is a sum of distances, which noise makes larger: a calibrated probe has one above 0 in any sample, and a yet
/// larger one in resamples of that, so that a percentile interval would never hold the truth. By how much a bin's distance
/// is too large follows from its standard error and the true distance (the mean of a folded normal distribution, Leone,
/// Nelson and Nottingham 1961): most where that is 0, nothing where it is far from it. The upper end is moved down by what
/// resampling itself adds, which is the least it can be; the lower end also by the most that it can be, each bin's true
/// distance being taken [`CALIBRATED`] standard errors below the one found.
pub fn ece_interval(found: f64, draws: &[f64], most: f64, resamples: &Resamples) -> Option<(f64, f64)> {
    let (lo, hi) = resamples.interval(draws)?;
    let least = super::metrics::mean(draws.iter().copied()) - found;
    // Both ends are moved; where little is left between them they may not change sides.
    let hi = (hi - 2.0 * least).max(0.0);
    Some(((lo - least - most).clamp(0.0, hi), hi))
}

/// How much larger than `distance` the mean distance from 0 of a normal variable is that lies there with such an error.
fn excess(distance: f64, error: f64) -> f64 {
    if error <= 0.0 {
        return 0.0;
    }
    let z = distance / error;
    error * (2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp() - distance * erfc(z / std::f64::consts::SQRT_2)
}

/// The standard deviation of what is defined.
fn deviation(draws: &[f64]) -> f64 {
    let mean = super::metrics::mean(draws.iter().copied());
    super::metrics::mean(draws.iter().map(|d| (d - mean).powi(2))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(rows: &[(f64, bool)]) -> Vec<Option<Call>> {
        rows.iter().map(|(confidence, right)| Some(Call { confidence: *confidence, right: *right, loss: 0.0 })).collect()
    }

    #[test]
    fn log_loss_is_scikit_learns() {
        // sklearn's docs: log_loss(["spam","ham","ham","spam"], [[.1,.9],[.9,.1],[.8,.2],[.35,.65]]) = 0.21616…
        let rows = [([0.1, 0.9], 1), ([0.9, 0.1], 0), ([0.8, 0.2], 0), ([0.35, 0.65], 1)];
        let calls: Vec<Option<Call>> = rows.iter().map(|(p, t)| Some(Call::new(p, *t, *t))).collect();
        assert!((log_loss(&calls) - 0.216_16).abs() < 1e-5);
        let certain = Call::new(&[1.0, 0.0], 1, 0);
        assert!((certain.loss - 15.942_385).abs() < 1e-5, "clipped, not infinite: {}", certain.loss);
    }

    #[test]
    fn ece_by_hand() {
        // Two bins: 3 rows at .9 with 2 right (|2.7 - 2| = .7), 1 row at .6, right (|.6 - 1| = .4): 1.1 / 4.
        let calls = calls(&[(0.9, true), (0.9, true), (0.9, false), (0.6, true)]);
        assert!((ece(&calls) - 0.275).abs() < 1e-12);
        assert!(ece(&[None, None]).is_nan());
    }

    #[test]
    fn noise_adds_most_where_there_is_nothing_else() {
        // The mean of |N(0, 1)| is sqrt(2 / pi); that of |N(1, 1)| is 1.166_63; far out nothing is added.
        for (distance, mean) in [(0.0, 0.797_885), (1.0, 1.166_631), (6.0, 6.0)] {
            assert!((distance + excess(distance, 1.0) - mean).abs() < 1e-5, "{distance}");
        }
        assert_eq!(excess(0.1, 0.0), 0.0);
    }

    #[test]
    fn draws_with_one_group_are_the_value() {
        let calls = calls(&[(0.9, true), (0.7, false), (0.3, true), (1.0, true), (0.0, false)]);
        let groups = RowGroups::new(["g"; 5]);
        let resamples = Resamples::new(1, 3, 0.95, 0);
        assert!(log_loss_draws(&calls, &groups, &resamples).iter().all(|d| d.abs() < 1e-12));
        let EceDraws { draws, most } = ece_draws(&calls, &groups, &resamples);
        assert_eq!(ece_interval(ece(&calls), &draws, most, &resamples), None);
    }
}
