//! The text that was asked for, out of what a model wrote around it.
//!
//! Models introduce what they write ("Here is the rewritten comment:"), put it between quotation marks, number it, and go on
//! explaining. What is taken is the first paragraph that is no introduction, on one line, without such marks. Nothing else is
//! mended.

/// What opens a quotation, and what closes it.
const QUOTES: [(char, char); 5] = [('"', '"'), ('“', '”'), ('\'', '\''), ('‘', '’'), ('«', '»')];

/// The text of an answer; empty if there is none.
pub fn text(answer: &str) -> String {
    let mut paragraphs = answer.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()).peekable();
    while let Some(paragraph) = paragraphs.next() {
        let mut lines: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines[0].ends_with(':') && (lines.len() > 1 || paragraphs.peek().is_some()) {
            lines.remove(0);
        }
        if !lines.is_empty() {
            return bare(&lines.join(" "));
        }
    }
    String::new()
}

/// Without a name before it, a list's mark, and quotation marks around it.
fn bare(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let shorter = unquoted(unmarked(unnamed(&text)));
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter.to_owned();
    }
}

/// Without `Comment:` or `Rewritten comment:` before it.
fn unnamed(text: &str) -> &str {
    match text.split_once(':') {
        Some((name, rest)) if name.len() <= 40 && name.to_lowercase().ends_with("comment") => rest.trim(),
        _ => text,
    }
}

/// Without `-`, `*` or `1.` before it.
fn unmarked(text: &str) -> &str {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = if digits.len() < text.len() { digits.strip_prefix(". ").or_else(|| digits.strip_prefix(") ")) } else { None };
    numbered.or_else(|| text.strip_prefix("- ")).or_else(|| text.strip_prefix("* ")).unwrap_or(text).trim()
}

/// Without quotation marks around the whole of it.
fn unquoted(text: &str) -> &str {
    let inner = |(open, close): &(char, char)| text.strip_prefix(*open)?.strip_suffix(*close).filter(|inner| !inner.contains(*close));
    QUOTES.iter().find_map(inner).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn what_is_written_around_a_text_goes() {
        for (answer, expected) in [
            ("I love this bus.", "I love this bus."),
            ("  \"I love this bus.\"\n\nThis comment expresses joy.", "I love this bus."),
            ("Here is the rewritten comment:\n\n“What a bus!”", "What a bus!"),
            ("Sure! Here it is:\nComment: 1. What\n a bus!", "What a bus!"),
            ("Rewritten comment: - 'a bus'", "a bus"),
            ("\"One\" and \"two\"", "\"One\" and \"two\""),
            ("My rule: never", "My rule: never"),
            ("He said:", "He said:"),
            ("2 buses came", "2 buses came"),
            ("\n \n\n", ""),
            ("\"\"", ""),
            ("", ""),
        ] {
            assert_eq!(text(answer), expected, "{answer:?}");
        }
    }
}
