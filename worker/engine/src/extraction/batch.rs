//! Batches: rows, or groups of such, filled to a token budget, and what becomes of a batch that failed.

use std::collections::{BTreeMap, VecDeque};

use limbic_proto::spec::BadRows;

use super::ExtractError;
use super::tree::{Tokens, neighbours};

/// The batches that are still to be run.
///
/// At first they depend on the rows' lengths, their groups and the budget alone, what has the most tokens first. A batch for which the memory does not
/// suffice comes back in halves, and so do all that follow; rows' numbers don't depend on it.
pub(crate) struct Queue<'a> {
    lengths: &'a [usize],
    /// The group that each row is in.
    groups: Vec<usize>,
    /// What rows begin with, where groups are of such as begin alike.
    alike: Option<Alike<'a>>,
    budget: usize,
    left: VecDeque<Part>,
    /// Whether the batch that was given last stays by itself.
    alone: bool,
    /// How often the budget was halved.
    pub memory_retries: u64,
}

/// Rows that begin alike, to be grouped by that.
#[derive(Clone, Copy)]
pub(crate) struct Alike<'a> {
    /// All rows' tokens.
    pub rows: &'a [Tokens<'a>],
    /// How many further tokens each has.
    pub further: usize,
}

/// Rows that are run together.
struct Part {
    tokens: usize,
    rows: Vec<usize>,
    /// A row among them is looked for that can't be computed: nothing joins them.
    alone: bool,
}

/// What to do after a batch that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Forget what it left; its rows are in the queue again.
    Again,
    /// Forget what it left, and leave out its only row.
    LeaveOut(usize),
}

impl<'a> Queue<'a> {
    /// All rows of the given lengths.
    pub(crate) fn new(lengths: &'a [usize], budget: usize) -> Queue<'a> {
        Queue::of_groups(lengths, (0..lengths.len()).collect(), budget)
    }

    /// All rows of the given lengths; such as begin alike are run together, as many as have `budget` tokens when what they share counts
    /// once.
    pub(crate) fn of_alike(lengths: &'a [usize], alike: Alike<'a>, budget: usize) -> Queue<'a> {
        let alike = Some(alike);
        let mut queue =
            Queue { lengths, groups: vec![0; lengths.len()], alike, budget, left: VecDeque::new(), alone: false, memory_retries: 0 };
        queue.fill((0..lengths.len()).collect());
        queue
    }

    /// All rows of the given lengths; those of one group stay in one batch until memory is short.
    pub(crate) fn of_groups(lengths: &'a [usize], groups: Vec<usize>, budget: usize) -> Queue<'a> {
        let mut queue = Queue { lengths, groups, alike: None, budget, left: VecDeque::new(), alone: false, memory_retries: 0 };
        queue.fill((0..lengths.len()).collect());
        queue
    }

    /// Sorts rows by groups, the longest first, ties by their first row. Where memory turned out to be short, a group that
    /// exceeds the budget is broken up.
    fn fill(&mut self, mut rows: Vec<usize>) {
        rows.sort_unstable();
        if let Some(Alike { rows: all, further }) = self.alike {
            let tokens: Vec<Tokens<'_>> = rows.iter().map(|&row| all[row]).collect();
            for (row, group) in rows.iter().zip(neighbours(&tokens, further, self.budget)) {
                self.groups[*row] = group;
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        rows.into_iter().for_each(|row| groups.entry(self.groups[row]).or_default().push(row));
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for group in groups.into_values() {
            match self.alike.is_none() && self.tokens(&group) > self.budget && self.memory_retries > 0 {
                true => parts.extend(group.into_iter().map(|row| vec![row])),
                false => parts.push(group),
            }
        }
        let mut parts: Vec<Part> = parts.into_iter().map(|rows| Part { tokens: self.tokens(&rows), rows, alone: false }).collect();
        parts.sort_by(|a, b| (b.tokens, &a.rows).cmp(&(a.tokens, &b.rows)));
        self.left = parts.into();
    }

    /// Tokens per batch, as often as it was halved.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// The next batch: so many groups that it doesn't exceed the budget, except a single group that does so alone.
    pub(crate) fn next(&mut self) -> Option<Vec<usize>> {
        let Part { mut tokens, mut rows, alone } = self.left.pop_front()?;
        self.alone = alone;
        let (budget, lengths) = (self.budget, self.lengths);
        self.join(|more| {
            tokens += more.iter().map(|&row| lengths[row]).sum::<usize>();
            let fits = tokens <= budget;
            if fits {
                rows.extend(more);
            }
            fits
        });
        Some(rows)
    }

    /// Gives groups to a batch that is under way, as long as `takes` has room for all rows of the next one.
    pub(crate) fn join(&mut self, mut takes: impl FnMut(&[usize]) -> bool) {
        while !self.alone && self.left.front().is_some_and(|part| !part.alone && takes(&part.rows)) {
            self.left.pop_front();
        }
    }

    /// The tokens of all rows that may yet join the batch under way.
    pub(crate) fn joining(&self) -> usize {
        if self.alone { 0 } else { self.left.iter().take_while(|part| !part.alone).map(|part| part.tokens).sum() }
    }

    /// The group that a row is in.
    pub(crate) fn group(&self, row: usize) -> usize {
        self.groups[row]
    }

    /// The tokens of rows.
    pub(crate) fn tokens(&self, rows: &[usize]) -> usize {
        rows.iter().map(|&row| self.lengths[row]).sum()
    }

    /// Where a batch is halved: between groups, if it has several.
    fn middle(&self, rows: &[usize]) -> usize {
        let between = (1..rows.len()).filter(|&at| self.groups[rows[at - 1]] != self.groups[rows[at]]);
        between.min_by_key(|at| at.abs_diff(rows.len() / 2)).unwrap_or(rows.len() / 2)
    }

    /// Decides about a batch that failed.
    ///
    /// Without memory the budget is halved, down to one row. A row that can't be computed is looked for by halving its
    /// batch, for on some devices it spoils its neighbours; found, it is left out if that is the policy.
    pub(crate) fn judge(&mut self, error: ExtractError, rows: Vec<usize>, policy: BadRows) -> Result<Verdict, ExtractError> {
        match &error {
            ExtractError::Device(cause) if out_of_memory(cause) => {
                let tokens = self.tokens(&rows);
                // A row that ran beside others (of replies under way, or of a larger budget) may have room alone.
                if rows.len() == 1 && self.budget <= tokens {
                    let what = format!("in a pass over one row of {tokens} tokens, after the budget was halved as far as it goes");
                    return Err(ExtractError::OutOfMemory { what, message: cause.to_string() });
                }
                self.budget = (self.budget.min(tokens) / 2).max(1);
                self.memory_retries += 1;
                tracing::warn!(tokens, budget = self.budget, "out of memory; trying again with half the tokens a pass");
                let rest = self.left.drain(..).flat_map(|part| part.rows);
                let all = rows.into_iter().chain(rest).collect();
                self.fill(all);
                Ok(Verdict::Again)
            }
            _ if !error.names_a_row() => Err(error),
            _ if rows.len() > 1 => {
                let (first, second) = rows.split_at(self.middle(&rows));
                for half in [second, first] {
                    self.left.push_front(Part { tokens: self.tokens(half), rows: half.to_vec(), alone: true });
                }
                Ok(Verdict::Again)
            }
            _ if policy == BadRows::Skip => Ok(Verdict::LeaveOut(rows[0])),
            _ => Err(error),
        }
    }
}

/// Whether a device says that its memory does not suffice. There is no kind for it: CUDA, cuBLAS and cuDNN each have
/// words of their own.
pub(crate) fn out_of_memory(error: &candle_core::Error) -> bool {
    let said = format!("{error} {error:?}").to_lowercase();
    ["out of memory", "out_of_memory", "alloc_failed"].iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::axis::{Layer, ReadOut};
    use proptest::prelude::*;

    fn drained(mut queue: Queue<'_>) -> Vec<Vec<usize>> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    fn no_memory() -> ExtractError {
        ExtractError::Device(candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into()))
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_batch_within_budget(lengths in prop::collection::vec(1usize..300, 0..80), budget in 1usize..600) {
            let groups = drained(Queue::new(&lengths, budget));
            let mut rows: Vec<usize> = groups.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for group in &groups {
                let sum: usize = group.iter().map(|&r| lengths[r]).sum();
                prop_assert!(sum <= budget || group.len() == 1);
            }
        }

        #[test]
        fn every_row_is_run_once_if_the_memory_holds_one(lengths in prop::collection::vec(1usize..300, 1..80), budget in 1usize..6000, room in 300usize..900) {
            let mut queue = Queue::new(&lengths, budget);
            let mut ran = Vec::new();
            while let Some(rows) = queue.next() {
                if queue.tokens(&rows) > room {
                    prop_assert_eq!(queue.judge(no_memory(), rows, BadRows::Stop).unwrap(), Verdict::Again);
                } else {
                    ran.extend(rows);
                }
            }
            ran.sort_unstable();
            prop_assert_eq!(ran, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert!(queue.memory_retries <= 16, "{} retries", queue.memory_retries);
        }

        #[test]
        fn bad_rows_are_found_among_their_neighbours(bad in prop::collection::vec(any::<bool>(), 1..40)) {
            let lengths = vec![10; bad.len()];
            let mut queue = Queue::new(&lengths, 100);
            let (mut ran, mut left_out) = (Vec::new(), Vec::new());
            while let Some(rows) = queue.next() {
                if let Some(&row) = rows.iter().find(|row| bad[**row]) {
                    let error = ExtractError::NotFinite { row, layer: Layer::Final, read_out: ReadOut::LAST };
                    if let Verdict::LeaveOut(row) = queue.judge(error, rows, BadRows::Skip).unwrap() {
                        left_out.push(row);
                    }
                } else {
                    ran.extend(rows);
                }
            }
            ran.sort_unstable();
            prop_assert_eq!(ran, (0..bad.len()).filter(|row| !bad[*row]).collect::<Vec<_>>());
            prop_assert_eq!(left_out, (0..bad.len()).filter(|row| bad[*row]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_row_that_fails_ends_it_with_its_reason() {
        let mut queue = Queue::new(&[700], 100);
        let rows = queue.next().unwrap();
        let error = queue.judge(no_memory(), rows, BadRows::Skip).unwrap_err();
        assert!(matches!(error, ExtractError::OutOfMemory { .. }) && error.to_string().contains("one row of 700 tokens"), "{error}");
        let error = ExtractError::ScoresNotFinite { row: 0 };
        assert!(matches!(queue.judge(error, vec![0], BadRows::Stop), Err(ExtractError::ScoresNotFinite { row: 0 })));
        let other = ExtractError::Device(candle_core::Error::Msg("an illegal memory access was encountered".into()));
        assert!(matches!(queue.judge(other, vec![0, 1], BadRows::Skip), Err(ExtractError::Device(_))));
        for words in ["CUBLAS_STATUS_ALLOC_FAILED", "DriverError(CUDA_ERROR_OUT_OF_MEMORY, ..)", "Out of memory"] {
            assert!(out_of_memory(&candle_core::Error::Msg(words.into()).context("matmul")), "{words}");
        }
    }
}
