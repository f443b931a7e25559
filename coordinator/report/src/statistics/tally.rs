//! Group confusion counts of one prediction: what accuracy, precision, recall and F1 are made of, in any resample.

use std::borrow::Cow;

use super::resamples::{Column, Resamples};

/// The test rows sorted by group; made once per study.
#[derive(Debug, Clone)]
pub struct RowGroups {
    /// Row indices, group by group.
    order: Vec<u32>,
    /// The group of each entry of `order`.
    group: Vec<u32>,
    groups: usize,
}

impl RowGroups {
    /// From each row's group name; groups are numbered by first appearance.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> RowGroups {
        let mut numbers = std::collections::BTreeMap::new();
        let mut rows: Vec<(u32, u32)> = Vec::new();
        for (row, name) in names.into_iter().enumerate() {
            let next = numbers.len() as u32;
            rows.push((*numbers.entry(name).or_insert(next), row as u32));
        }
        rows.sort_unstable();
        RowGroups { order: rows.iter().map(|r| r.1).collect(), group: rows.iter().map(|r| r.0).collect(), groups: numbers.len() }
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// `(group, row)`, groups ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        self.group.iter().zip(&self.order).map(|(g, r)| (*g, *r as usize))
    }

    /// Group totals of one value per row, where it isn't zero.
    pub fn column(&self, value: impl Fn(usize) -> u32) -> Column {
        let mut column = Column::new();
        for (group, row) in self.iter() {
            match (value(row), column.last_mut()) {
                (0, _) => {}
                (v, Some(last)) if last.0 == group => last.1 += v,
                (v, _) => column.push((group, v)),
            }
        }
        column
    }

    /// Group totals of one real value per row; rows without one are left out.
    pub fn column_real(&self, value: impl Fn(usize) -> Option<f64>) -> Vec<(u32, f64)> {
        let mut column: Vec<(u32, f64)> = Vec::new();
        for (group, row) in self.iter() {
            match (value(row), column.last_mut()) {
                (None, _) => {}
                (Some(v), Some(last)) if last.0 == group => last.1 += v,
                (Some(v), _) => column.push((group, v)),
            }
        }
        column
    }
}

/// Per class: how many rows are of it, are predicted as it, are both; per group.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Rows of the class, among those predicted.
    pub truth: Vec<Column>,
    /// Rows predicted as the class.
    pub predicted: Vec<Column>,
    /// Rows of the class predicted as the class.
    pub hit: Vec<Column>,
}

/// Per class totals: of all rows, or of one resample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Rows of the class.
    pub truth: Vec<u32>,
    /// Rows predicted as the class.
    pub predicted: Vec<u32>,
    /// Rows of the class predicted as the class.
    pub hit: Vec<u32>,
}

impl Tally {
    /// Counts `predicted` (none = absent) against `truth`, each `[rows]`.
    pub fn new(groups: &RowGroups, classes: usize, truth: &[u32], predicted: &[Option<u32>]) -> Tally {
        let mut tally = Tally { truth: vec![Vec::new(); classes], predicted: vec![Vec::new(); classes], hit: vec![Vec::new(); classes] };
        let add = |column: &mut Column, group: u32| match column.last_mut() {
            Some(last) if last.0 == group => last.1 += 1,
            _ => column.push((group, 1)),
        };
        for (group, row) in groups.iter() {
            if let Some(guess) = predicted[row] {
                add(&mut tally.truth[truth[row] as usize], group);
                add(&mut tally.predicted[guess as usize], group);
                if guess == truth[row] {
                    add(&mut tally.hit[guess as usize], group);
                }
            }
        }
        tally
    }

    /// How many groups have a predicted row.
    pub fn groups(&self) -> usize {
        self.truth.iter().flatten().map(|entry| entry.0).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Totals over all rows.
    pub fn totals(&self) -> Totals {
        let sum = |columns: &[Column]| columns.iter().map(|c| c.iter().map(|e| e.1).sum()).collect();
        Totals { truth: sum(&self.truth), predicted: sum(&self.predicted), hit: sum(&self.hit) }
    }

    /// Totals in every resample, given the sums of `truth` if they are known (they are shared by all predictions that
    /// have every row).
    pub fn draw<'a>(&self, resamples: &Resamples, truth: Option<&'a [Vec<u32>]>) -> Draws<'a> {
        let sum = |columns: &[Column]| -> Vec<Vec<u32>> { columns.iter().map(|c| resamples.sum(c)).collect() };
        Draws {
            count: resamples.count(),
            truth: truth.map_or_else(|| Cow::Owned(sum(&self.truth)), Cow::Borrowed),
            predicted: sum(&self.predicted),
            hit: sum(&self.hit),
        }
    }
}

/// A prediction's totals in every resample.
#[derive(Debug, Clone)]
pub struct Draws<'a> {
    count: usize,
    /// `[classes][resamples]`.
    pub truth: Cow<'a, [Vec<u32>]>,
    predicted: Vec<Vec<u32>>,
    hit: Vec<Vec<u32>>,
}

impl Draws<'_> {
    /// A statistic of each resample's totals, in order.
    pub fn map<const N: usize>(&self, mut statistic: impl FnMut(&Totals) -> [f64; N]) -> [Vec<f64>; N] {
        let classes = self.hit.len();
        let mut totals = Totals { truth: vec![0; classes], predicted: vec![0; classes], hit: vec![0; classes] };
        let mut out = std::array::from_fn(|_| Vec::with_capacity(self.count));
        for r in 0..self.count {
            for class in 0..classes {
                totals.truth[class] = self.truth[class][r];
                totals.predicted[class] = self.predicted[class][r];
                totals.hit[class] = self.hit[class][r];
            }
            for (draws, value) in out.iter_mut().zip(statistic(&totals)) {
                draws.push(value);
            }
        }
        out
    }
}
