//! Filling batches to a token budget from length-sorted rows.

/// Groups rows of the given lengths so that no group exceeds `budget`, except a single row that does so alone.
///
/// Rows are sorted by length, ties by index, so the groups depend on the lengths and the budget only.
pub(crate) fn batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| (lengths[row], row));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut filled = usize::MAX;
    for row in order {
        match groups.last_mut() {
            Some(group) if filled + lengths[row] <= budget => {
                group.push(row);
                filled += lengths[row];
            }
            _ => {
                groups.push(vec![row]);
                filled = lengths[row];
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_is_in_one_batch_within_budget(lengths in prop::collection::vec(1usize..300, 0..80), budget in 1usize..600) {
            let groups = batches(&lengths, budget);
            let mut rows: Vec<usize> = groups.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for group in &groups {
                let sum: usize = group.iter().map(|&r| lengths[r]).sum();
                prop_assert!(sum <= budget || group.len() == 1);
            }
        }
    }
}
