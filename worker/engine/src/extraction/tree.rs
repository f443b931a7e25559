//! Rows as a tree of their tokens: what several begin with alike is run once in a pass, for what a causal model makes of a token depends on
//! nothing behind it.
//!
//! A [`super::Prefix`] is what all rows of all passes begin with; a tree is of the rows of one pass, behind that.

use std::ops::Range;

use crate::pass::Pass;

/// What is to be run of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens<'a> {
    /// All of it.
    pub ids: &'a [u32],
    /// How many of the first tokens it may share with others; fewer than all.
    pub open: usize,
}

impl<'a> Tokens<'a> {
    fn shareable(&self) -> &'a [u32] {
        &self.ids[..self.open]
    }

    /// How many first tokens two rows share.
    fn alike(&self, other: &Tokens<'_>) -> usize {
        self.shareable().iter().zip(other.shareable()).take_while(|(a, b)| a == b).count()
    }
}

/// Rows in the order of their tokens: each shares more with its neighbours than with any other.
fn in_order(rows: &[Tokens<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| rows[*a].shareable().cmp(rows[*b].shareable()).then(a.cmp(b)));
    order
}

/// Where a row's tokens are in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The tokens that others begin with, too.
    pub stem: Vec<Range<usize>>,
    /// Its own, behind those.
    pub own: Range<usize>,
}

impl Leaf {
    /// Appends a row behind cached ones that shares nothing with others.
    pub(crate) fn alone(pass: &mut Pass, tokens: &[u32], prefix: Vec<Range<usize>>) -> Leaf {
        let start = pass.push(tokens, prefix);
        Leaf { stem: Vec::new(), own: start..start + tokens.len() }
    }

    /// How many tokens it shares.
    fn shared(&self) -> usize {
        self.stem.iter().map(ExactSizeIterator::len).sum()
    }

    /// Where a row's tokens `of` are, which must be its own.
    pub(crate) fn at(&self, of: Range<usize>) -> Range<usize> {
        let shared = self.shared();
        assert!(of.start >= shared, "a token that is read by itself is run by itself");
        self.own.start + of.start - shared..self.own.start + of.end - shared
    }
}

/// Rows in a pass.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// Where each row is.
    pub leaves: Vec<Leaf>,
    /// For each of the pass's sequences, one of the rows that it is of.
    pub rows: Vec<usize>,
}

/// Appends rows to an empty pass, each behind the cached ones of `prefix`.
pub(crate) fn plant(pass: &mut Pass, rows: &[Tokens<'_>], prefix: &[Range<usize>]) -> Planted {
    let order = in_order(rows);
    let mut planted = Planted { leaves: vec![Leaf { stem: Vec::new(), own: 0..0 }; rows.len()], rows: Vec::new() };
    let mut growing = Growing { pass, rows, prefix, planted: &mut planted };
    // From the back, for the next to grow is taken from there.
    let mut open = vec![(order.as_slice(), 0, Vec::new())];
    while let Some((among, depth, stem)) = open.pop() {
        let branches = growing.grow(among, depth, stem);
        open.extend(branches.into_iter().rev());
    }
    planted
}

/// Rows in the order of their tokens, how many of the first they are known to share, and where those are in the pass.
type Branch<'o> = (&'o [usize], usize, Vec<Range<usize>>);

struct Growing<'a, 'p> {
    pass: &'p mut Pass,
    rows: &'a [Tokens<'a>],
    prefix: &'a [Range<usize>],
    planted: &'p mut Planted,
}

impl Growing<'_, '_> {
    /// Runs what the rows of a branch have in common, and the rest of those that have no more of it; returns the branches behind.
    fn grow<'o>(&mut self, among: &'o [usize], depth: usize, mut stem: Vec<Range<usize>>) -> Vec<Branch<'o>> {
        let (first, last) = (among[0], among[among.len() - 1]);
        if among.len() == 1 {
            self.leaf(first, depth, stem);
            return Vec::new();
        }
        // In their order the first and the last are the least alike.
        let common = self.rows[first].alike(&self.rows[last]);
        if common > depth {
            let run = self.push(first, &self.rows[first].ids[depth..common], &stem);
            match stem.last_mut() {
                Some(before) if before.end == run.start => before.end = run.end,
                _ => stem.push(run),
            }
        }
        let (ending, going_on) = among.split_at(among.partition_point(|row| self.rows[*row].open == common));
        ending.iter().for_each(|row| self.leaf(*row, common, stem.clone()));
        let next = |row: &usize| self.rows[*row].ids[common];
        going_on.chunk_by(|a, b| next(a) == next(b)).map(|branch| (branch, common, stem.clone())).collect()
    }

    fn leaf(&mut self, row: usize, depth: usize, stem: Vec<Range<usize>>) {
        let own = self.push(row, &self.rows[row].ids[depth..], &stem);
        self.planted.leaves[row] = Leaf { stem, own };
    }

    fn push(&mut self, row: usize, tokens: &[u32], stem: &[Range<usize>]) -> Range<usize> {
        let start = self.pass.branch(tokens, self.prefix.to_vec(), stem.to_vec());
        self.planted.rows.push(row);
        start..start + tokens.len()
    }
}

/// How many tokens the tree of rows has.
pub(crate) fn size(rows: &[Tokens<'_>]) -> usize {
    let order = in_order(rows);
    let shared: usize = order.windows(2).map(|pair| rows[pair[0]].alike(&rows[pair[1]])).sum();
    rows.iter().map(|row| row.ids.len()).sum::<usize>() - shared
}

/// The rows that are best run together, each by a number: such as follow one another in the order of their tokens, of which so many that
/// one pass over all that they have has at most `budget` tokens, `further` of each row among them.
pub(crate) fn neighbours(rows: &[Tokens<'_>], further: usize, budget: usize) -> Vec<usize> {
    let (mut groups, mut group, mut tokens) = (vec![0; rows.len()], 0, 0);
    let mut before: Option<usize> = None;
    for row in in_order(rows) {
        let all = rows[row].ids.len() + further;
        let more = all - before.map_or(0, |before| rows[before].alike(&rows[row]));
        tokens += more;
        if tokens > budget && before.is_some() {
            (group, tokens) = (group + 1, all);
        }
        groups[row] = group;
        before = Some(row);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    /// What a row's tokens are in a pass, by where it is.
    fn read(pass: &Pass, leaf: &Leaf) -> Vec<u32> {
        leaf.stem.iter().chain([&leaf.own]).cloned().flatten().map(|at| pass.tokens[at]).collect()
    }

    #[test]
    fn what_rows_begin_with_is_run_once() {
        let ids: [&[u32]; 5] = [&[1, 2, 3, 4], &[7], &[1, 2, 3, 5, 6], &[1, 2], &[1, 2, 3, 4]];
        let rows = ids.map(|ids| Tokens { ids, open: ids.len() - 1 });
        let (mut pass, prefix) = (Pass::default(), vec![0..10]);
        let planted = plant(&mut pass, &rows, &prefix);
        assert_eq!(pass.tokens, [7, 1, 2, 2, 3, 4, 4, 5, 6], "the last token of each is its own");
        assert_eq!(pass.positions, [10, 10, 11, 11, 12, 13, 13, 13, 14]);
        assert_eq!(planted.rows.len(), pass.sequences.len());
        let leaf = |stem: &[Range<usize>], own| Leaf { stem: stem.to_vec(), own };
        assert_eq!(planted.leaves[3], leaf(&[1..2], 2..3));
        assert_eq!(planted.leaves[2], leaf(&[1..2, 3..5], 7..9), "its stem goes around the row that ends");
        assert_eq!(planted.leaves[2].at(4..5), 8..9);
    }

    fn tokens() -> impl Strategy<Value = Vec<(Vec<u32>, prop::sample::Index)>> {
        prop::collection::vec((prop::collection::vec(0u32..3, 1..12), any::<prop::sample::Index>()), 1..40)
    }

    proptest! {
        /// Every row is whole and at its positions; every beginning is run once; a sequence sees what stands before it.
        #[test]
        fn rows_are_whole_and_beginnings_are_run_once(of in tokens()) {
            let rows: Vec<Tokens<'_>> = of.iter().map(|(ids, open)| Tokens { ids, open: open.index(ids.len()) }).collect();
            let (mut pass, prefix) = (Pass::default(), vec![2..5, 9..11]);
            let planted = plant(&mut pass, &rows, &prefix);
            for (row, leaf) in rows.iter().zip(&planted.leaves) {
                prop_assert_eq!(read(&pass, leaf), row.ids);
                let positions: Vec<u32> = leaf.stem.iter().chain([&leaf.own]).cloned().flatten().map(|at| pass.positions[at]).collect();
                prop_assert_eq!(positions, (5..5 + row.ids.len() as u32).collect::<Vec<_>>());
                prop_assert_eq!(leaf.at(row.open..row.ids.len()).end, leaf.own.end);
            }
            let beginnings: HashSet<&[u32]> = rows.iter().flat_map(|row| (1..=row.open).map(|n| &row.ids[..n])).collect();
            let own: usize = rows.iter().map(|row| row.ids.len() - row.open).sum();
            prop_assert_eq!(pass.tokens.len(), beginnings.len() + own);
            prop_assert_eq!(pass.tokens.len(), super::size(&rows));
            prop_assert!(pass.sequences.iter().all(|s| s.stem.iter().all(|stem| stem.end <= s.start) && s.prefix == prefix));
            prop_assert!(pass.sequences.iter().all(|s| s.stem.windows(2).all(|pair| pair[0].end < pair[1].start)));
            prop_assert_eq!(planted.rows.len(), pass.sequences.len());
        }

        #[test]
        fn neighbours_fit_into_a_pass(of in tokens(), further in 0usize..4, budget in 1usize..60) {
            let rows: Vec<Tokens<'_>> = of.iter().map(|(ids, open)| Tokens { ids, open: open.index(ids.len()) }).collect();
            let groups = neighbours(&rows, further, budget);
            for group in 0..=groups.iter().copied().max().unwrap_or(0) {
                let members: Vec<Tokens<'_>> = rows.iter().zip(&groups).filter(|(_, of)| **of == group).map(|(row, _)| *row).collect();
                let mut pass = Pass::default();
                plant(&mut pass, &members, &[]);
                prop_assert!(pass.tokens.len() + further * members.len() <= budget || members.len() == 1);
            }
        }
    }
}
