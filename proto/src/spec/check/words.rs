//! Words that were perhaps meant: placeholders of templates and questions, and names close to a wrong one.

use super::{Finding, finding};

/// The one of some words that another was probably meant to be: the nearest within a third of the word's letters, and within one of
/// short words (letters added, dropped, changed or swapped with their neighbour, whatever their case; Damerau 1964).
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (most, word) = ((word.chars().count() / 3).max(1), word.to_lowercase());
    let distances = known.into_iter().map(|other| (strsim::damerau_levenshtein(&word, &other.to_lowercase()), other));
    distances.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// Whether two words of four letters or more are one but for a letter that one has more, or for neighbours that changed places: one is
/// misspelt, likely. A changed letter is no such sign (`class_a`, `class_b`).
pub fn slip(a: &str, b: &str) -> bool {
    let [mut ours, mut theirs] = [a, b].map(|word| word.to_lowercase().chars().collect::<Vec<char>>());
    let one = ours.len().min(theirs.len()) >= 4 && strsim::damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase()) == 1;
    ours.sort_unstable();
    theirs.sort_unstable();
    one && (ours.len() != theirs.len() || ours == theirs)
}

/// Checks that a text with placeholders has no others than these (`{text}`, …): a single word in braces that nothing takes the place of
/// would reach the model as it stands. Where none is known, nothing is filled in.
///
/// # Errors
/// The first word in braces that is none of them.
pub fn placeholders(field: &str, text: &str, known: &[&str]) -> Result<(), Finding> {
    let Some(word) = words(text).find(|word| !known.contains(&braced(word).as_str())) else { return Ok(()) };
    let bare: Vec<&str> = known.iter().map(|known| known.trim_matches(['{', '}'])).collect();
    let all: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
    let advice = match meant(word, bare) {
        Some(other) => format!("did you mean `{{{other}}}`?"),
        None if known.is_empty() => {
            return finding(
                field,
                format!("`{{{word}}}` is no placeholder: nothing is filled in here; did you mean `{{ {word} }}`, the braces as such?"),
            );
        }
        None => format!("what is filled in here is {}", all.join(" and ")),
    };
    let literal = format!("if the braces are meant as such, write a space inside: `{{ {word} }}`");
    finding(field, format!("`{{{word}}}` is no placeholder: {advice} ({literal})"))
}

/// The words of letters and underscores that stand in braces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| {
        let word = rest.split_once('}')?.0;
        (!word.is_empty() && word.chars().all(|c| c.is_alphabetic() || c == '_')).then_some(word)
    })
}

fn braced(word: &str) -> String {
    format!("{{{word}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let fields = ["dataset", "models", "layers", "label", "labels", "per_class", "text", "c"];
        for (word, other) in [
            ("layer", Some("layers")),
            ("lyares", Some("layers")),
            ("perclass", Some("per_class")),
            ("txt", Some("text")),
            ("Txt", Some("text")),
            ("TEXT", Some("text")),
            ("labels_", Some("labels")),
            ("hidden", None),
            ("words", None),
        ] {
            assert_eq!(meant(word, fields), other, "{word}");
        }
    }

    #[test]
    fn one_letter_is_a_slip_where_it_is_not_another_letter() {
        for (a, b) in [("anger", "angr"), ("surprise", "suprrise"), ("Disgust", "disgustt")] {
            assert!(slip(a, b) && slip(b, a), "{a} {b}");
        }
        for (a, b) in [("class_a", "class_b"), ("joy", "joyy"), ("sadness", "gladness"), ("anger", "Anger"), ("fear", "fear")] {
            assert!(!slip(a, b) && !slip(b, a), "{a} {b}");
        }
    }

    #[test]
    fn a_word_in_braces_must_be_known() {
        let said = |text: &str| placeholders("f", text, &["{text}", "{labels}"]).map_err(|found| found.message);
        for fine in ["{text}", "{labels}: {text}", "{", "}", "{}", "{ name }", "{\"emotion\": \"...\"}", "{a1}", "{{text}}", "} {text} {"] {
            assert_eq!(said(fine), Ok(()), "{fine}");
        }
        let message = said("Say {txt}").unwrap_err();
        assert!(message.starts_with("`{txt}` is no placeholder: did you mean `{text}`?") && message.contains("`{ txt }`"), "{message}");
        let message = placeholders("f", "as {name}", &[]).unwrap_err().message;
        assert!(message.contains("`{name}`") && message.contains("nothing is filled in here; did you mean `{ name }`"), "{message}");
        let message = said("{text} {name}").unwrap_err();
        assert!(message.contains("what is filled in here is `{text}` and `{labels}`"), "{message}");
    }
}
