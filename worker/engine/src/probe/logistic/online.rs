//! The minimum description length of labels by the online code: how many bits they take when they are sent in growing
//! portions, each with the help of a probe that was fitted to all before it.

use super::{LogisticSettings, fit};
use crate::probe::control::shuffled;
use crate::probe::error::ProbeError;
use crate::probe::labels::{Labels, Targets};
use crate::probe::matrix::{Matrix, Split};

/// How long labels are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnlineCode {
    /// Bits of the online code.
    pub bits: f64,
    /// Bits of the uniform code: rows times log2 of the classes.
    pub uniform_bits: f64,
}

/// Where portions end, in percent of the rows (Voita & Titov 2020, section 3.2).
const PORTIONS: [f64; 11] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25.0, 50.0, 100.0];

/// Measures the labels of rows `[n, d]`, which must be standardised or centred (sender and receiver both know the features
/// of all rows, so the standardiser may be that of all).
///
/// Rows are sent in an order drawn from the seed. The first portion is sent with the uniform code, each further one with
/// the logistic probe of that strength on all rows before it; every row is sent once, whatever its weight is. Of `t` rows
/// before, a class that none of them has is given the probability `1 / (t + K)`, and the probe's probabilities share what
/// is left.
///
/// # Errors
/// Bad input, or labels of another scheme than one class a row.
pub fn online_code(x: &Matrix<'_>, targets: &Targets<'_>, classes: usize, strength: f64, seed: u64) -> Result<OnlineCode, ProbeError> {
    x.check("train")?;
    targets.check("train", x.rows(), classes)?;
    let Labels::Single(labels) = targets.labels else {
        return Err(ProbeError::Scheme { probe: "the online code", scheme: targets.labels.scheme().as_str() });
    };
    let (n, d) = (x.rows(), x.columns());
    let order = shuffled(n, seed);
    let sent: Vec<f32> = order.iter().flat_map(|&row| x.row(row)).copied().collect();
    let labels: Vec<u32> = order.iter().map(|&row| labels[row]).collect();
    let weights: Vec<f32> = order.iter().map(|&row| targets.weight(row) as f32).collect();
    let mut ends: Vec<usize> = PORTIONS.iter().map(|share| ((n as f64 * share / 100.0).round() as usize).max(1)).collect();
    ends.dedup();
    let uniform = (classes as f64).log2();
    let mut bits = ends[0] as f64 * uniform;
    for pair in ends.windows(2) {
        let (before, end) = (pair[0], pair[1]);
        let known = Known::of(&labels[..before], &weights[..before], classes);
        let rows = |from: usize, to: usize| Matrix::new(&sent[from * d..to * d], to - from, d);
        let helped = known.probabilities(&rows(0, before)?, &weights[..before], &rows(before, end)?, strength)?;
        let share = |(row, &label): (usize, &u32)| known.share(&helped, row, label);
        bits -= labels[before..end].iter().enumerate().map(share).map(f64::log2).sum::<f64>();
    }
    Ok(OnlineCode { bits, uniform_bits: n as f64 * uniform })
}

/// The classes of the rows that were sent.
struct Known {
    /// The place of each class among those that occur.
    places: Vec<Option<u32>>,
    labels: Vec<u32>,
    count: usize,
}

impl Known {
    fn of(labels: &[u32], weights: &[f32], classes: usize) -> Known {
        let occurs = |class: usize| labels.iter().zip(weights).any(|(&l, &w)| l as usize == class && w > 0.0);
        let mut count = 0;
        let places: Vec<Option<u32>> = (0..classes)
            .map(|class| {
                occurs(class).then(|| {
                    count += 1;
                    count - 1
                })
            })
            .collect();
        // A row that doesn't count may have a class that doesn't occur; it is as good as any.
        let labels = labels.iter().map(|&l| places[l as usize].unwrap_or(0)).collect();
        Known { places, labels, count: count as usize }
    }

    /// Probabilities `[rows, count]` of the classes that occur.
    fn probabilities(&self, before: &Matrix<'_>, weights: &[f32], next: &Matrix<'_>, strength: f64) -> Result<Vec<f32>, ProbeError> {
        if self.count < 2 {
            return Ok(vec![1.0; next.rows()]);
        }
        let settings = LogisticSettings { standardise: false, ..LogisticSettings::fixed(strength) };
        let split = Split::new(*before, &self.labels).weighing(Some(weights));
        fit(&split, None, self.count, &settings)?.0.predict(next)
    }

    /// What a row's label is given.
    fn share(&self, probabilities: &[f32], row: usize, label: u32) -> f64 {
        let (all, before) = (self.places.len(), self.labels.len());
        let each = 1.0 / (before + all) as f64;
        match self.places[label as usize] {
            None => each,
            Some(place) => {
                let left = 1.0 - (all - self.count) as f64 * each;
                left * f64::from(probabilities[row * self.count.max(1) + place as usize].max(f32::MIN_POSITIVE))
            }
        }
    }
}
