//! What a YAML parser says, in the words of the file.

use super::words::meant;

/// What a parser found, after the place where it found it, in the words of the file; such a file needs at least `needed`.
pub(in crate::spec) fn syntax(text: &str, error: &serde_saphyr::Error, needed: &str) -> String {
    use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};
    let error = error.without_snippet();
    let Some(place) = error.location() else { return UserMessageFormatter.format_message(error).into_owned() };
    let line = text.lines().nth((place.line() as usize).saturating_sub(1)).unwrap_or("");
    let rest: String = line.chars().skip((place.column() as usize).saturating_sub(1)).collect();
    let found = rest.split([',', ']', '}', '#']).next().unwrap_or("").trim();
    let message = match error {
        Error::Eof { .. } => format!("the file ends here; it needs at least {needed}"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is there twice: keep one"),
        Error::SerdeUnknownField { field, expected, .. } if expected.is_empty() => {
            format!("unknown field `{field}`; there is nothing else to set here")
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            let meant = meant(field, expected.iter().copied()).map_or(String::new(), |other| format!("; did you mean `{other}`?"));
            let mark = if meant.is_empty() { ";" } else { "" };
            format!("unknown field `{field}`{meant}{mark} the fields here are {}", expected.join(", "))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let meant = meant(variant, expected.iter().copied()).map_or(String::new(), |other| format!("; did you mean `{other}`?"));
            let mark = if meant.is_empty() { ";" } else { "" };
            format!("`{variant}` is not known here{meant}{mark} write one of {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        Error::InvalidScalar { ty, .. } => {
            let expected = match *ty {
                "boolean" => "true or false",
                ty if ty.starts_with('u') => "a whole number, 0 or above",
                ty if ty.starts_with('i') => "a whole number",
                _ => "a number",
            };
            format!("expected {expected}, found `{found}`")
        }
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    let shown = if line.trim().is_empty() { String::new() } else { format!("\n  {} | {}", place.line(), line.trim_end()) };
    format!("line {}, column {}: {message}{shown}", place.line(), place.column())
}
