//! The nearest of some names: what a misspelt column or label probably meant.

/// The name of the smallest edit distance (case folded), if it is small against the length.
pub(super) fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let distances = names.iter().map(|name| (distance(&wanted, &name.to_lowercase()), name.as_str()));
    distances.filter(|(d, _)| *d <= allowed).min().map(|(_, name)| name)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_none() {
        let names = ["text".to_owned(), "labels".to_owned(), "utterance".to_owned()];
        assert_eq!(nearest("Txt", &names), Some("text"));
        assert_eq!(nearest("label", &names), Some("labels"));
        assert_eq!(nearest("comment", &names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
