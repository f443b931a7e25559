//! Rows of a cache: which are free for the next prompt and its reply.

use std::ops::Range;

/// The free rows of a cache.
#[derive(Debug)]
pub(super) struct Room {
    /// Ascending, not empty, no two of them adjacent.
    free: Vec<Range<usize>>,
}

impl Room {
    /// All of `rows` are free.
    pub(super) fn new(rows: Range<usize>) -> Room {
        Room { free: if rows.is_empty() { Vec::new() } else { vec![rows] } }
    }

    /// The first `len` free rows that lie one after another.
    pub(super) fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let at = self.free.iter().position(|free| free.len() >= len)?;
        let start = self.free[at].start;
        self.free[at].start += len;
        if self.free[at].is_empty() {
            self.free.remove(at);
        }
        Some(start..start + len)
    }

    /// Takes rows back.
    pub(super) fn give(&mut self, rows: Range<usize>) {
        let at = self.free.partition_point(|free| free.start < rows.start);
        self.free.insert(at, rows);
        for later in [at + 1, at] {
            if later > 0 && later < self.free.len() && self.free[later - 1].end == self.free[later].start {
                self.free[later - 1].end = self.free[later].end;
                self.free.remove(later);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_given_twice_or_lost(steps in prop::collection::vec((any::<bool>(), 1usize..30, any::<prop::sample::Index>()), 0..200)) {
            let mut room = Room::new(7..107);
            let mut taken: Vec<Range<usize>> = Vec::new();
            for (give, len, which) in steps {
                if give && !taken.is_empty() {
                    room.give(taken.swap_remove(which.index(taken.len())));
                } else if let Some(rows) = room.take(len) {
                    prop_assert!(rows.len() == len && rows.start >= 7 && rows.end <= 107);
                    prop_assert!(taken.iter().all(|other| other.end <= rows.start || rows.end <= other.start));
                    taken.push(rows);
                }
                prop_assert!(room.free.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", room.free);
                let all: usize = room.free.iter().chain(&taken).map(ExactSizeIterator::len).sum();
                prop_assert_eq!(all, 100);
            }
            taken.into_iter().for_each(|rows| room.give(rows));
            prop_assert_eq!(room.free, vec![7..107]);
        }
    }
}
