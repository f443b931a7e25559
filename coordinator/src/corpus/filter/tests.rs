//! Texts that stay, and texts that go.

use crate::corpus::tests::{comment, spec};
use crate::corpus::{Entry, Reason};

use super::Filter;

/// What the filters of a spec say of texts, all from the entry `from` on new.
fn filtered(fields: &str, texts: &[&str], from: usize) -> Vec<Option<Reason>> {
    let mut entries: Vec<Entry> = texts.iter().enumerate().map(|(i, text)| comment(&i.to_string(), text, None)).collect();
    Filter::new(&spec(fields).filters).unwrap().apply(&mut entries, from);
    entries.into_iter().map(|entry| entry.refused).collect()
}

#[test]
fn length_is_counted_in_words() {
    let found = filtered("filters: {words: {min: 2, max: 3}}", &["one", "one two", "one  two\nthree", "one two three four", " "], 0);
    assert_eq!(found, [Some(Reason::Short), None, None, Some(Reason::Long), Some(Reason::Empty)]);
    let found = filtered(
        "filters: {words: {min: 2, max: 6}}",
        &["我很高兴", "好", "我今天真的很高兴", "Wow 好", "ดีใจ", "好。", "我很高兴，你呢。"],
        0,
    );
    assert_eq!(
        found,
        [None, Some(Reason::Short), Some(Reason::Long), None, None, Some(Reason::Short), None],
        "where no spaces part words, characters count"
    );
}

#[test]
fn another_language_goes_where_it_can_be_told() {
    let texts = [
        "I really don't know what I was thinking when I bought these shoes yesterday.",
        "Ich weiß wirklich nicht, was ich mir gestern beim Kauf dieser Schuhe gedacht habe.",
        "Я правда не знаю, о чём я думал, когда покупал вчера эти ботинки.",
        "lol ok",
    ];
    assert_eq!(filtered("filters: {languages: [eng]}", &texts, 0), [None, Some(Reason::Language), Some(Reason::Language), None]);
    assert_eq!(filtered("filters: {languages: [eng, deu]}", &texts, 0), [None, None, Some(Reason::Language), None]);
    assert_eq!(filtered("", &texts, 0), [None; 4]);
    let error = Filter::new(&spec("filters: {languages: [english]}").filters).unwrap_err();
    assert!(error.starts_with("filters.languages: `english` is no language") && error.contains(" eng, "), "{error}");
}

#[test]
fn the_first_of_copies_stays() {
    let long = "the bus was late again and nobody at the stop said a word about it";
    let near = "The bus was late again, and nobody at the stop said a word about it!";
    let similar = "the bus was late again and nobody at the stop said a word about it today";
    let texts = [long, "the bus  was late again and nobody at the stop said a word about it", near, similar, "something else entirely"];
    let (copy, alike) = (Some(Reason::Copy), Some(Reason::NearCopy));
    assert_eq!(filtered("", &texts, 0), [None, copy, alike, alike, None]);
    assert_eq!(filtered("filters: {duplicates: exact}", &texts, 0), [None, copy, None, None, None]);
    assert_eq!(filtered("filters: {duplicates: keep}", &texts, 0), [None; 5]);
}

#[test]
fn what_stood_before_stays_whatever_comes() {
    // The third is alike to both others, which are not alike to one another.
    let words = |from: usize, to: usize| (from..to).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
    let (a, b, between) = (words(0, 30), words(6, 36), words(3, 33));
    assert_eq!(filtered("", &[&a, &b], 0), [None, None]);
    assert_eq!(filtered("", &[&a, &b, &between], 2), [None, None, Some(Reason::NearCopy)]);
    assert_eq!(filtered("", &[&a, "x y z", &a], 2), [None, None, Some(Reason::Copy)]);
}
