//! Whose reply follows whose prompt in the context `shuffled-reply`.

use limbic_proto::key::Digest;

/// For each of some rows, another one; `None` where there is only one row.
///
/// Rows are put into an order that their ids alone determine, and neighbours in it exchange their replies; of an odd number
/// the last three pass theirs on in a circle. So no row keeps its own, every reply is used once, and the rows can be run
/// two by two.
pub fn partners(ids: &[&str]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_cached_key(|&row| (Digest::of_json(&("shuffled-reply", ids[row])), row));
    let mut partners = vec![None; ids.len()];
    let mut rest = order.as_slice();
    while rest.len() > 1 {
        let (circle, others) = rest.split_at(if rest.len() == 3 { 3 } else { 2 });
        for (at, &row) in circle.iter().enumerate() {
            partners[row] = Some(circle[(at + 1) % circle.len()]);
        }
        rest = others;
    }
    partners
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everyone_gets_the_reply_of_someone_else(count in 2usize..60, salt in any::<u32>()) {
            let ids: Vec<String> = (0..count).map(|i| format!("{salt}-{i}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found: Vec<usize> = partners(&ids).into_iter().map(Option::unwrap).collect();
            let mut used = found.clone();
            used.sort_unstable();
            prop_assert_eq!(used, (0..count).collect::<Vec<_>>());
            prop_assert!(found.iter().enumerate().all(|(row, partner)| row != *partner));
            // Three hang together at most.
            let circle = |row: usize| found[found[found[row]]] == row || found[found[row]] == row;
            prop_assert!((0..count).all(circle));
            // The same rows in another order exchange the same replies.
            let turned: Vec<&str> = ids.iter().rev().copied().collect();
            let again = partners(&turned);
            prop_assert!((0..count).all(|row| again[count - 1 - row] == Some(count - 1 - found[row])));
        }
    }

    #[test]
    fn who_is_alone_has_no_partner() {
        assert_eq!((partners(&[]), partners(&["a"])), (vec![], vec![None]));
    }
}
