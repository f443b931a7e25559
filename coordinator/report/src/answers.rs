//! Labels read from what a model writes when it is asked for JSON.
//!
//! A label counts only if it stands in a JSON object, wherever in the text that is (models like to talk around it, and to
//! fence it). Its words may be written in any case, or stand among other words; but a text that names several where one
//! was asked for, or none, can't be read. A class that is a number may be a number there, where no text is a class's word.
//! What can't be read is counted, not mended: how often a model can be understood is part of what is measured.

use serde_json::Value;

/// The words for each class: its own name and, where it has another, the one that was asked for.
#[derive(Debug, Clone)]
pub struct Words {
    /// Per class, as they are written.
    written: Vec<Vec<String>>,
    /// Per class, in lower case.
    lower: Vec<Vec<String>>,
}

/// How closely a text names a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    /// It is the word.
    Exact,
    /// It is the word but for upper and lower case.
    AnyCase,
    /// The word stands in it among others.
    Within,
}

impl Words {
    /// The words of each class.
    pub fn new(words: Vec<Vec<String>>) -> Words {
        let lower = words.iter().map(|all| all.iter().map(|w| w.to_lowercase()).collect()).collect();
        Words { written: words, lower }
    }

    /// The one class that a written answer names; none if it names none or several. The closest kind of match decides: of
    /// `{"emotion": "joy", "why": "no anger in it"}` it is joy.
    pub fn label(&self, answer: &str) -> Option<usize> {
        let found = self.found(&objects(answer));
        let closest = found.iter().map(|f| f.0).min()?;
        let mut classes: Vec<usize> = found.into_iter().filter(|f| f.0 == closest).flat_map(|f| f.1).collect();
        classes.sort_unstable();
        classes.dedup();
        if let [class] = classes[..] { Some(class) } else { None }
    }

    /// All classes that a written answer names, ascending; none if it names none and doesn't say so by an empty list.
    pub fn labels(&self, answer: &str) -> Option<Vec<usize>> {
        let objects = objects(answer);
        let mut classes: Vec<usize> = self.found(&objects).into_iter().flat_map(|f| f.1).collect();
        classes.sort_unstable();
        classes.dedup();
        let silent = objects.iter().all(|object| strings(object).is_empty() && numbers(object).is_empty());
        let none = silent && objects.iter().any(|o| o.as_object().is_some_and(|o| o.values().any(Value::is_array)));
        (!classes.is_empty() || none).then_some(classes)
    }

    /// The number that a written answer gives each class, such as `{"joy": 2}`, 0 where it gives none; none if it gives none
    /// to any.
    pub fn numbers(&self, answer: &str) -> Option<Vec<f32>> {
        let mut numbers = vec![0.0; self.lower.len()];
        let mut any = false;
        for object in objects(answer) {
            for (key, value) in object.as_object().into_iter().flatten() {
                let class = self.lower.iter().position(|words| words.contains(&key.trim().to_lowercase()));
                if let (Some(class), Some(number)) = (class, value.as_f64()) {
                    numbers[class] = number as f32;
                    any = true;
                }
            }
        }
        any.then_some(numbers)
    }

    /// What objects name: by strings that are a class's word; where none is, classes that are numbers by the numbers, which else are how
    /// sure a model is, and the like; and else by strings in which such words stand.
    fn found(&self, objects: &[Value]) -> Vec<(Match, Vec<usize>)> {
        let by_words: Vec<_> = objects.iter().flat_map(strings).filter_map(|text| self.named(&text)).collect();
        if by_words.iter().any(|(kind, _)| *kind < Match::Within) {
            return by_words;
        }
        let class =
            |[written, short]: [String; 2]| self.written.iter().position(|words| words.contains(&written) || words.contains(&short));
        let by_numbers: Vec<_> = objects.iter().flat_map(numbers).filter_map(class).map(|class| (Match::Exact, vec![class])).collect();
        if by_numbers.is_empty() { by_words } else { by_numbers }
    }

    /// The classes that a text names, by the closest kind of match.
    fn named(&self, text: &str) -> Option<(Match, Vec<usize>)> {
        let text = text.trim();
        let of = |words: &[Vec<String>], is: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..words.len()).filter(|class| words[*class].iter().any(|w| is(w))).collect()
        };
        let exact = of(&self.written, &|word| word == text);
        if !exact.is_empty() {
            return Some((Match::Exact, exact));
        }
        let lower = text.to_lowercase();
        let any_case = of(&self.lower, &|word| word == lower);
        if !any_case.is_empty() {
            return Some((Match::AnyCase, any_case));
        }
        let within = self.within(&lower);
        (!within.is_empty()).then_some((Match::Within, within))
    }

    /// The classes whose word stands in a text, between what is neither letter nor digit; of words that overlap (`happy` in
    /// `very happy`) the longer counts.
    fn within(&self, text: &str) -> Vec<usize> {
        let mut spans: Vec<(usize, usize, usize)> = Vec::new();
        for (class, words) in self.lower.iter().enumerate() {
            for word in words.iter().filter(|w| !w.is_empty()) {
                for (start, _) in text.match_indices(word.as_str()) {
                    let end = start + word.len();
                    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
                    if apart(text[..start].chars().next_back()) && apart(text[end..].chars().next()) {
                        spans.push((start, end, class));
                    }
                }
            }
        }
        let longest = |s: &(usize, usize, usize)| !spans.iter().any(|o| o.0 <= s.0 && s.1 <= o.1 && o.1 - o.0 > s.1 - s.0);
        let mut classes: Vec<usize> = spans.iter().filter(|s| longest(s)).map(|s| s.2).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// The JSON objects in a text, from left to right; none lies within another.
fn objects(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{') {
        at += open;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(object)) => {
                at += values.byte_offset();
                found.push(object);
            }
            _ => at += 1,
        }
    }
    found
}

/// All strings among a value's values, however deep; keys don't count.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(strings).collect(),
        Value::Object(object) => object.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// All numbers among a value's values, however deep: as they are written, and without the decimals of a whole one.
fn numbers(value: &Value) -> Vec<[String; 2]> {
    match value {
        Value::Number(number) => {
            let written = number.to_string();
            let short = number.as_f64().filter(|_| number.is_f64()).map_or_else(|| written.clone(), |number| number.to_string());
            vec![[written, short]]
        }
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        Value::Object(object) => object.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> Words {
        let names = ["anger", "joy", "very happy", "happy", "Überraschung"];
        let mut words: Vec<Vec<String>> = names.iter().map(|n| vec![(*n).to_owned()]).collect();
        words[1].push("happiness".to_owned());
        Words::new(words)
    }

    #[test]
    fn one_label_is_read_wherever_the_object_stands() {
        for (answer, class) in [
            (r#"{"emotion": "joy"}"#, Some(1)),
            ("Sure! Here it is:\n```json\n{\"emotion\": \"Joy\"}\n```\nAnything else?", Some(1)),
            (r#"{"emotion": " happiness "}"#, Some(1)),
            (r#"{"emotion": "The speaker feels JOY."}"#, Some(1)),
            (r#"{"label": ["anger"]}"#, Some(0)),
            (r#"{"answer": {"emotion": "anger", "confidence": 0.9}}"#, Some(0)),
            (r#"{"emotion": "very happy"}"#, Some(2)),
            (r#"{"emotion": "she is very happy!"}"#, Some(2)),
            (r#"{"emotion": "überraschung"}"#, Some(4)),
            (r#"{broken {"emotion": "joy"}"#, Some(1)),
            // The same label twice is one label.
            (r#"{"emotion": "joy"} {"emotion": "joy"}"#, Some(1)),
            // The closest kind of match decides.
            (r#"{"emotion": "joy", "why": "no anger in it"}"#, Some(1)),
            (r#"{"emotion": "joy", "second": "Anger"}"#, Some(1)),
        ] {
            assert_eq!(words().label(answer), class, "{answer}");
        }
    }

    #[test]
    fn none_or_several_can_not_be_read() {
        for answer in [
            "",
            "joy",
            r#"{"emotion": "joy"#,
            r#"{"emotion": ""}"#,
            r#"{"emotion": "sadness"}"#,
            r#"{"emotion": "enjoyment"}"#,
            r#"{"emotion": 1}"#,
            r#"{"joy": true}"#,
            r#"["joy"]"#,
            r#"{"emotion": "joy or anger"}"#,
            r#"{"emotion": ["joy", "anger"]}"#,
            r#"{"emotion": "joy"} or {"emotion": "anger"}"#,
        ] {
            assert_eq!(words().label(answer), None, "{answer}");
        }
    }

    #[test]
    fn several_labels_are_all_read_and_an_empty_list_is_an_answer() {
        assert_eq!(words().labels(r#"{"emotions": ["Joy", "anger", "joy"]}"#), Some(vec![0, 1]));
        assert_eq!(words().labels(r#"{"emotions": "joy, very happy"}"#), Some(vec![1, 2]));
        assert_eq!(words().labels(r#"{"emotions": []}"#), Some(Vec::new()));
        for unreadable in [r#"{"emotions": ["bliss"]}"#, "{}", "none", r#"{"emotions": null}"#] {
            assert_eq!(words().labels(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn classes_that_are_numbers_are_read_from_numbers_that_nothing_else_names() {
        let ratings = Words::new((0..6).map(|n| vec![n.to_string()]).collect());
        for (answer, class) in [
            (r#"{"rating": 4}"#, Some(4)),
            (r#"{"rating": 4.0}"#, Some(4)),
            (r#"{"label": "1", "score": 0}"#, Some(1)),
            (r#"{"label": "4", "of": 5}"#, Some(4)),
            (r#"{"confidence": 0.9}"#, None),
            (r#"{"rating": 7}"#, None),
            (r#"{"rating": 4, "of": 5}"#, None),
            (r#"{"rating": 4, "why": "I rate it 4 out of 5"}"#, Some(4)),
            (r#"{"rating": 4, "why": "only 1 sign of anger"}"#, Some(4)),
            (r#"{"why": "I rate it 4"}"#, Some(4)),
        ] {
            assert_eq!(ratings.label(answer), class, "{answer}");
        }
        assert_eq!(ratings.labels(r#"{"labels": ["1"], "confidence": 0.9}"#), Some(vec![1]));
        assert_eq!(ratings.labels(r#"{"labels": [1, 3]}"#), Some(vec![1, 3]));
        assert_eq!(ratings.labels(r#"{"labels": [7]}"#), None);
        assert_eq!(ratings.labels(r#"{"labels": [1, 3], "why": "2 cues"}"#), Some(vec![1, 3]));
        // As pandas writes whole numbers beside missing ones, and ids that no float holds.
        let odd = Words::new(vec![vec!["0.0".to_owned()], vec!["1.0".to_owned()], vec!["9007199254740993".to_owned()]]);
        assert_eq!(odd.label(r#"{"label": 1.0}"#), Some(1));
        assert_eq!(odd.label(r#"{"label": 9007199254740993}"#), Some(2));
    }

    #[test]
    fn numbers_belong_to_their_keys() {
        assert_eq!(words().numbers(r#"so: {"Joy": 2, "anger": 0.5, "other": 3}"#), Some(vec![0.5, 2.0, 0.0, 0.0, 0.0]));
        assert_eq!(words().numbers(r#"{"emotion": "joy"}"#), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let words = words();
            let label = words.label(&text);
            prop_assert!(label.is_none_or(|l| l < 5));
            let _ = (words.labels(&text), words.numbers(&text));
        }

        #[test]
        fn an_answer_in_any_company_is_read(before in "[^{}\"]{0,40}", after in "[^{}\"]{0,40}", class in 0_usize..5) {
            let name = ["anger", "joy", "very happy", "happy", "Überraschung"][class];
            let answer = format!("{before}{{\"emotion\": \"{name}\"}}{after}");
            prop_assert_eq!(words().label(&answer), Some(class));
        }
    }
}
