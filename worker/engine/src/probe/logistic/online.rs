//! The minimum description length of labels by the online code: how many bits they take when they are sent in growing
//! portions, each with the help of a probe that was fitted to all before it.

use std::collections::BTreeMap;

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
    /// Bits of the uniform code: log2 of the classes for each row, as often as it counts.
    pub uniform_bits: f64,
}

/// Where portions end, in percent of the rows (Voita & Titov 2020, section 3.2).
const PORTIONS: [f64; 11] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25.0, 50.0, 100.0];

/// Measures the labels of rows `[n, d]`, which must be standardised or centred (sender and receiver both know the features
/// of all rows, so the standardiser may be that of all).
///
/// Groups of rows are sent in an order drawn from the seed, each group whole in one portion: were an original in one portion and its
/// rewrite in the next, the probe would have seen the answer, and labels would look cheap that nothing tells. A portion therefore ends
/// with the group in which it would end, and portions that end with the same group are one. `groups` names the group of each row. The
/// first portion is sent with the uniform code, each further one with
/// the logistic probe of that strength on all rows before it. Of `t` rows
/// before, a class that none of them has is given the probability `1 / (t + K)`, and the probe's probabilities share what
/// is left.
///
/// A row of weight w counts w times: as rows before, in the probe, in its bits, and in the size of portions; the code is that of a
/// data set in which it stands w times, in its group. Were it sent once, a probe that was fitted to balanced classes would be
/// asked of the classes as they were, and pay for the difference between the two priors, which the states have no part in.
///
/// # Errors
/// Bad input, or labels of another scheme than one class a row.
///
/// # Panics
/// If there are not as many groups' names as rows.
pub fn online_code<G: Ord + Copy>(
    x: &Matrix<'_>,
    targets: &Targets<'_>,
    classes: usize,
    groups: &[G],
    strength: f64,
    seed: u64,
) -> Result<OnlineCode, ProbeError> {
    assert_eq!(groups.len(), x.rows(), "every row has a group");
    x.check("train")?;
    targets.check("train", x.rows(), classes)?;
    let Labels::Single(labels) = targets.labels else {
        return Err(ProbeError::Scheme { probe: "the online code", scheme: targets.labels.scheme().as_str() });
    };
    let d = x.columns();
    let (order, ends) = portions(groups, |row| targets.weight(row), seed);
    let sent: Vec<f32> = order.iter().flat_map(|&row| x.row(row)).copied().collect();
    let labels: Vec<u32> = order.iter().map(|&row| labels[row]).collect();
    let weights: Vec<f32> = order.iter().map(|&row| targets.weight(row) as f32).collect();
    let uniform = (classes as f64).log2();
    let count = |rows: &[f32]| rows.iter().map(|&w| f64::from(w)).sum::<f64>();
    let mut bits = count(&weights[..ends[0]]) * uniform;
    for pair in ends.windows(2) {
        let (before, end) = (pair[0], pair[1]);
        let known = Known::of(&labels[..before], &weights[..before], classes);
        let rows = |from: usize, to: usize| Matrix::new(&sent[from * d..to * d], to - from, d);
        let helped = known.probabilities(&rows(0, before)?, &weights[..before], &rows(before, end)?, strength)?;
        let sent = labels[before..end].iter().zip(&weights[before..end]).enumerate();
        let cost = |(row, (&label, &weight)): (usize, (&u32, &f32))| f64::from(weight) * known.share(&helped, row, label).log2();
        bits -= sent.map(cost).sum::<f64>();
    }
    Ok(OnlineCode { bits, uniform_bits: count(&weights) * uniform })
}

/// The order in which rows are sent, and where in it portions end, which hold their shares of what the rows count together.
fn portions<G: Ord + Copy>(groups: &[G], weight: impl Fn(usize) -> f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let n = groups.len();
    let mut rows_of: BTreeMap<G, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(row, group)| rows_of.entry(*group).or_default().push(row));
    // In the order of their first rows, so that names don't matter.
    let mut members: Vec<Vec<usize>> = rows_of.into_values().collect();
    members.sort();
    // Where groups end: what all rows up to there count, and how many they are.
    let (mut order, mut boundaries, mut total) = (Vec::with_capacity(n), Vec::with_capacity(members.len()), 0f64);
    for group in shuffled(members.len(), seed) {
        order.extend_from_slice(&members[group]);
        total += members[group].iter().map(|&row| weight(row)).sum::<f64>();
        boundaries.push((total, order.len()));
    }
    let least = PORTIONS[..PORTIONS.len() - 1].iter().map(|share| (total * share / 100.0).round().max(1.0).min(total));
    let mut ends: Vec<usize> = least.map(|end| boundaries[boundaries.partition_point(|(counted, _)| *counted < end)].1).collect();
    ends.push(n);
    ends.dedup();
    (order, ends)
}

/// The classes of the rows that were sent.
struct Known {
    /// The place of each class among those that occur.
    places: Vec<Option<u32>>,
    labels: Vec<u32>,
    count: usize,
    /// How much the rows count together.
    total: f64,
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
        Known { places, labels, count: count as usize, total: weights.iter().map(|&w| f64::from(w)).sum() }
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
        let all = self.places.len();
        let each = 1.0 / (self.total + all as f64);
        match self.places[label as usize] {
            None => each,
            Some(place) => {
                let left = 1.0 - (all - self.count) as f64 * each;
                left * f64::from(probabilities[row * self.count.max(1) + place as usize].max(f32::MIN_POSITIVE))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::probe::control::normal;

    proptest! {
        #[test]
        fn no_group_straddles_portions(groups in prop::collection::vec(0usize..40, 1..300), seed in any::<u64>()) {
            let (order, ends) = portions(&groups, |_| 1.0, seed);
            prop_assert!(order.iter().copied().collect::<BTreeSet<_>>().into_iter().eq(0..groups.len()), "every row is sent once");
            prop_assert!(order.len() == groups.len() && ends.last() == Some(&groups.len()));
            prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
            let mut sent = BTreeSet::new();
            for (from, to) in [0].iter().chain(&ends).zip(&ends) {
                let here: BTreeSet<usize> = order[*from..*to].iter().map(|&row| groups[row]).collect();
                prop_assert!(sent.is_disjoint(&here), "{groups:?} {order:?} {ends:?}");
                sent.extend(here);
            }
            let renamed: Vec<usize> = groups.iter().map(|group| 100 - group).collect();
            prop_assert_eq!((order, ends), portions(&renamed, |_| 1.0, seed), "names don't matter");
        }

        #[test]
        fn rows_that_are_groups_of_their_own_are_cut_where_the_paper_cuts(n in 1usize..2000, seed in any::<u64>()) {
            let (order, ends) = portions(&(0..n).collect::<Vec<_>>(), |_| 1.0, seed);
            prop_assert_eq!(order, shuffled(n, seed));
            let mut expected: Vec<usize> = PORTIONS.map(|share| ((n as f64 * share / 100.0).round() as usize).max(1)).into();
            expected.dedup();
            prop_assert_eq!(ends, expected);
        }
    }

    /// Rare classes count several times, as under balancing.
    #[test]
    fn a_row_of_weight_3_is_as_long_as_three_of_its_group() {
        let (n, d, classes) = (240, 6, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let y: Vec<u32> = (0..n).map(|row| [0, 0, 0, 0, 0, 1, 0, 0, 2, 1][row % 10]).collect();
        let x: Vec<f32> = (0..n * d).map(|at| normal(&mut rng) as f32 + if at % d == y[at / d] as usize { 1.0 } else { 0.0 }).collect();
        let weights: Vec<f32> = y.iter().map(|&class| [1.0, 3.0, 6.0][class as usize]).collect();
        let rows: Vec<usize> = (0..n).flat_map(|row| std::iter::repeat_n(row, weights[row] as usize)).collect();
        let groups: Vec<usize> = (0..n).map(|row| row / 2).collect();
        let once = Targets { labels: Labels::Single(&y), weights: Some(&weights) };
        let repeated_y: Vec<u32> = rows.iter().map(|&row| y[row]).collect();
        let repeated_x: Vec<f32> = rows.iter().flat_map(|&row| &x[row * d..(row + 1) * d]).copied().collect();
        let repeated_groups: Vec<usize> = rows.iter().map(|&row| groups[row]).collect();
        let repeated = Targets { labels: Labels::Single(&repeated_y), weights: None };
        for seed in 0..3 {
            let weighed = online_code(&Matrix::new(&x, n, d).unwrap(), &once, classes, &groups, 0.1, seed).unwrap();
            let matrix = Matrix::new(&repeated_x, rows.len(), d).unwrap();
            let stood = online_code(&matrix, &repeated, classes, &repeated_groups, 0.1, seed).unwrap();
            assert!((weighed.uniform_bits - stood.uniform_bits).abs() < 1e-9, "{weighed:?} {stood:?}");
            assert!((weighed.bits / stood.bits - 1.0).abs() < 1e-3, "{weighed:?} {stood:?}");
        }
    }

    /// Labels that nothing tells, of rows that stand there twice: only who has seen the other one knows.
    #[test]
    fn a_copy_in_an_earlier_portion_makes_no_label_cheap() {
        let (n, d, classes) = (400, 200, 4);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let once: Vec<f32> = (0..n / 2 * d).map(|_| normal(&mut rng) as f32).collect();
        let x = [once.clone(), once].concat();
        let of: Vec<u32> = (0..n as u32 / 2).map(|row| row.wrapping_mul(2_654_435_761) >> 30).collect();
        let y = [of.clone(), of].concat();
        let targets = Targets { labels: Labels::Single(&y), weights: None };
        let x = Matrix::new(&x, n, d).unwrap();
        let compression = |groups: &[usize]| {
            let code = online_code(&x, &targets, classes, groups, 0.01, 0).unwrap();
            assert_eq!(code.uniform_bits, n as f64 * 2.0);
            code.uniform_bits / code.bits
        };
        let (apart, together) = (compression(&(0..n).collect::<Vec<_>>()), compression(&(0..n).map(|row| row % 200).collect::<Vec<_>>()));
        assert!(apart > 1.05 && together < 1.0, "{apart} {together}");
    }
}
