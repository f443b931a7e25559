//! What controls draw: shuffled rows, shuffled labels, random directions. The same seed draws the same everywhere.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::fitted::Linear;
use super::matrix::Matrix;

/// Fisher-Yates, with the index drawn from the high bits of a 64-bit product.
pub(crate) fn shuffle<T>(rng: &mut ChaCha8Rng, order: &mut [T]) {
    for last in (1..order.len()).rev() {
        let at = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, at as usize);
    }
}

/// The numbers `0..n` in an order drawn from the seed.
pub(crate) fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(&mut ChaCha8Rng::seed_from_u64(seed), &mut order);
    order
}

/// A standard normal number (Box and Muller 1958).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let (radius, turn) = ((-2.0 * (1.0 - uniform()).ln()).sqrt(), std::f64::consts::TAU * uniform());
    radius * turn.cos()
}

/// For each row the row whose label it is given, so that labels tell nothing of the features any more but keep their
/// numbers and which of them stand together in a group.
///
/// `groups` names the group of each row. Groups are laid end to end in two random orders, and the labels in the one order are
/// dealt to the rows in the other, each group's in a random order. So groups give labels to groups of other sizes too, for
/// size can go with the class; and rows to rows of another place in their group, for many corpora list a group's rows by
/// class. Where all groups are of one size they exchange their labels as wholes.
pub fn shuffled_labels<G: Ord + Copy>(groups: &[G], seed: u64) -> Vec<usize> {
    let mut rows_of: BTreeMap<G, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(row, group)| rows_of.entry(*group).or_default().push(row));
    // In the order of their first rows, so that names don't matter.
    let mut to: Vec<Vec<usize>> = rows_of.into_values().collect();
    to.sort();
    let mut given = to.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    shuffle(&mut rng, &mut to);
    shuffle(&mut rng, &mut given);
    given.iter_mut().for_each(|rows| shuffle(&mut rng, rows));
    let mut from = vec![0; groups.len()];
    to.iter().flatten().zip(given.iter().flatten()).for_each(|(row, source)| from[*row] = *source);
    from
}

/// So many random directions of `d` columns: a map of independent standard normal weights, over the root of `d` so that
/// projections of standardised features have a size of about 1.
pub fn random_directions(d: usize, directions: usize, seed: u64) -> Linear {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scale = 1.0 / (d as f64).sqrt();
    Linear { weight: (0..directions * d).map(|_| (normal(&mut rng) * scale) as f32).collect(), bias: vec![0.0; directions] }
}

/// Features `[n, d]` along directions, `[n, directions]`.
pub fn projected(x: &Matrix<'_>, directions: &Linear) -> Vec<f32> {
    let mut out = vec![0f32; x.rows() * directions.bias.len()];
    if x.rows() > 0 {
        directions.apply(x.data(), x.rows(), &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_size_of_a_group_says_of_the_class_is_not_kept() {
        // Four in five of 300 single rows are of the one class, four in five of 150 pairs of the other.
        let groups: Vec<usize> = (0..600).map(|row| if row < 300 { row } else { 300 + (row - 300) / 2 }).collect();
        let class = |row: usize| usize::from(groups[row].is_multiple_of(5)) ^ usize::from(row >= 300);
        let alike = |seed| {
            let from = shuffled_labels(&groups, seed);
            from.iter().enumerate().filter(|(row, from)| class(*row) == class(**from)).count()
        };
        let share = (0..50).map(alike).sum::<usize>() as f64 / (50.0 * 600.0);
        assert!((share - 0.5).abs() < 0.02, "{share} have a row's class, where exchange within a size would give 0.68");
    }

    #[test]
    fn groups_of_one_size_exchange_their_labels_as_wholes() {
        let groups: Vec<usize> = (0..60).map(|row| row % 20).collect();
        let from = shuffled_labels(&groups, 3);
        let mut sources = from.clone();
        sources.sort_unstable();
        assert!(sources.into_iter().eq(0..60), "every label is used once");
        assert!(from.iter().enumerate().filter(|(row, from)| row == *from).count() < 20);
        for group in 0..20 {
            let given: Vec<usize> = (0..3).map(|k| groups[from[group + 20 * k]]).collect();
            assert!(given.windows(2).all(|w| w[0] == w[1]), "group {group} has the labels of {given:?}");
        }
        assert_eq!(from, shuffled_labels(&groups, 3));
        assert_ne!(from, shuffled_labels(&groups, 4));
        let renamed: Vec<usize> = groups.iter().map(|g| 100 - g).collect();
        assert_eq!(from, shuffled_labels(&renamed, 3), "names don't matter");
    }

    #[test]
    fn rows_that_every_group_lists_by_class_keep_no_more_of_their_labels_than_by_chance() {
        // Seven rows a group, one of each class, in the same order in all; groups of one size, and each of its own.
        let alike: Vec<(usize, usize)> = (0..7 * 40).map(|row| (row / 7, row % 7)).collect();
        let apart: Vec<(usize, usize)> = (1..=40).flat_map(|size| (0..7 * size).map(move |row| (size, row % 7))).collect();
        for rows in [alike, apart] {
            let groups: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let kept = |seed| {
                let from = shuffled_labels(&groups, seed);
                from.iter().enumerate().filter(|(row, from)| rows[*row].1 == rows[**from].1).count()
            };
            let share = (0..50).map(kept).sum::<usize>() as f64 / (50 * rows.len()) as f64;
            assert!((share - 1.0 / 7.0).abs() < 0.02, "{share} of labels are kept");
        }
    }

    #[test]
    fn groups_of_other_sizes_are_dealt_out() {
        // One group of 5, one of 4, one of 3: none has a fellow.
        let groups = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2];
        let from: Vec<Vec<usize>> = (0..20).map(|seed| shuffled_labels(&groups, seed)).collect();
        for from in &from {
            let mut sources = from.clone();
            sources.sort_unstable();
            assert!(sources.into_iter().eq(0..12));
        }
        assert!(from.iter().any(|from| groups[from[0]] != 0));
        let single = shuffled_labels(&[7; 30], 1);
        assert!(single.iter().enumerate().any(|(row, from)| row != *from));
        assert_eq!(shuffled_labels::<u32>(&[], 1), Vec::<usize>::new());
    }

    #[test]
    fn directions_are_about_as_long_as_one() {
        let map = random_directions(400, 5, 9);
        for direction in map.weight.chunks_exact(400) {
            let length: f32 = direction.iter().map(|w| w * w).sum();
            assert!((length - 1.0).abs() < 0.3, "{length}");
        }
        assert_eq!(map, random_directions(400, 5, 9));
    }
}
