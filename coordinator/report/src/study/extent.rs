//! What a study is of: the rows of its dataset, and how much of its sweep is computed.

use std::collections::BTreeSet;

use limbic_proto::key::Digest;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use serde::Serialize;

/// The dataset, as every unit of the sweep sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DatasetEntry {
    /// BLAKE3 of the canonical rows: ids, texts, labels, groups, splits and weights.
    pub digest: String,
    /// Its splits, in their order; those without a row are left out.
    pub splits: Vec<SplitEntry>,
}

/// The rows of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitEntry {
    /// Which.
    pub split: Split,
    /// How many rows there are.
    pub rows: usize,
    /// In how many groups.
    pub groups: usize,
    /// How often they count in training together: more than `rows` where balancing repeats some.
    pub weight: u64,
    /// Per class the rows that have it, those of several counted for each; empty under [`Scheme::Continuous`], whose scales
    /// every row has.
    pub of_class: Vec<usize>,
}

impl DatasetEntry {
    /// Counts the rows of a dataset.
    pub fn new(digest: &Digest, rows: &Rows) -> DatasetEntry {
        let splits = Split::ALL.into_iter().map(|split| SplitEntry::new(split, rows)).filter(|s| s.rows > 0).collect();
        DatasetEntry { digest: digest.hex(), splits }
    }
}

impl SplitEntry {
    fn new(split: Split, rows: &Rows) -> SplitEntry {
        let ours: Vec<&Row> = rows.rows.iter().filter(|r| r.split == split).collect();
        let has = |row: &Row, class: usize| match rows.scheme {
            Scheme::Single => row.class as usize == class,
            _ => row.values[class] > 0.0,
        };
        let classes = if rows.scheme == Scheme::Continuous { 0 } else { rows.classes.len() };
        SplitEntry {
            split,
            rows: ours.len(),
            groups: ours.iter().map(|r| r.group.as_str()).collect::<BTreeSet<_>>().len(),
            weight: ours.iter().map(|r| u64::from(r.weight)).sum(),
            of_class: (0..classes).map(|class| ours.iter().filter(|r| has(r, class)).count()).collect(),
        }
    }
}

/// How much of the sweep is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Cells of the sweep.
    pub cells: usize,
    /// Those all of whose units are committed.
    pub cells_done: usize,
    /// Units, as the sweep's status counts them: one that was split, and its halves too.
    pub units: usize,
    /// Those that are committed; one that was split if its halves are.
    pub units_done: usize,
}

impl Progress {
    /// Whether nothing is missing.
    pub fn finished(&self) -> bool {
        self.units_done >= self.units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_per_split_and_class() {
        let row = |id: &str, class, group: &str, split, weight, values: &[f32]| Row {
            id: id.to_owned(),
            text: id.to_owned(),
            class,
            group: group.to_owned(),
            split,
            weight,
            values: values.to_vec(),
        };
        let mut rows = Rows {
            scheme: Scheme::Single,
            classes: vec!["joy".to_owned(), "fear".to_owned()],
            rows: vec![
                row("a", 0, "g", Split::Train, 1, &[1.0, 2.0]),
                row("b", 1, "g", Split::Train, 3, &[0.0, 1.0]),
                row("c", 1, "h", Split::Test, 1, &[0.5, 0.0]),
            ],
        };
        let splits = |rows: &Rows| DatasetEntry::new(&rows.digest(), rows).splits;
        let of = |rows: &Rows| splits(rows).into_iter().map(|s| (s.split, s.rows, s.groups, s.weight, s.of_class)).collect::<Vec<_>>();
        assert_eq!(of(&rows), [(Split::Train, 2, 1, 4, vec![1, 1]), (Split::Test, 1, 1, 1, vec![0, 1])]);
        rows.scheme = Scheme::Intensity;
        assert_eq!(of(&rows), [(Split::Train, 2, 1, 4, vec![1, 2]), (Split::Test, 1, 1, 1, vec![1, 0])]);
        rows.scheme = Scheme::Continuous;
        assert!(of(&rows).iter().all(|s| s.4.is_empty()));
    }
}
