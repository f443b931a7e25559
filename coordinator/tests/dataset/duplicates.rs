//! Near-duplicates stay together, and never repeat a held-out row.

use std::collections::BTreeMap;

use limbic_proto::rows::{Row, Split};
use serde_json::json;

use crate::{Numbers, by_id, ingested, lines, text};

fn group<'a>(rows: &'a [Row], text: &str) -> &'a str {
    &rows.iter().find(|r| r.text == text).unwrap_or_else(|| panic!("no row `{text}`")).group
}

fn with(texts: &[&str]) -> Vec<Row> {
    let extra: String =
        texts.iter().enumerate().map(|(i, t)| json!({"text": t, "label": format!("c{}", i % 2)}).to_string() + "\n").collect();
    ingested(json!({}), "d.jsonl", &(lines(&[20, 20]) + &extra)).rows.rows
}

#[test]
fn case_punctuation_and_white_space_are_folded() {
    let rows = with(&["Don't  you dare!", "dont you DARE", "Do you dare", "😂😂", "😡😡", ":)", ":("]);
    assert_eq!(group(&rows, "Don't  you dare!"), group(&rows, "dont you DARE"));
    for (a, b) in [("Do you dare", "dont you DARE"), ("😂😂", "😡😡"), (":)", ":(")] {
        assert_ne!(group(&rows, a), group(&rows, b));
    }
}

#[test]
fn accents_and_scripts_without_spaces_are_compared() {
    // The same sentence, its accents composed or not.
    let (composed, apart) =
        ("Je suis tr\u{e8}s d\u{e9}\u{e7}u par cette r\u{e9}ponse", "Je suis tre\u{300}s de\u{301}c\u{327}u par cette re\u{301}ponse");
    // Sixteen characters have fourteen runs of three, of which one more character takes none away.
    let chinese = "我今天收到了她的信真的非常高兴啊";
    let longer = format!("{chinese}呢");
    let rows = with(&[composed, apart, chinese, &longer, "我昨天丢了她的钱包真的非常难过啊"]);
    assert_eq!(group(&rows, composed), group(&rows, apart));
    assert_eq!(group(&rows, chinese), group(&rows, &longer));
    assert_ne!(group(&rows, chinese), group(&rows, "我昨天丢了她的钱包真的非常难过啊"));
}

#[test]
fn similarity_is_counted_in_runs_of_three_words() {
    // Eleven words have nine runs; a word changed at the end leaves eight of ten: 0.8. One in the middle leaves six of twelve.
    let base = "a b c d e f g h i j k";
    let rows = with(&[base, "a b c d e f g h i j z", "a b c d e z g h i j k"]);
    assert_eq!(group(&rows, base), group(&rows, "a b c d e f g h i j z"));
    assert_ne!(group(&rows, base), group(&rows, "a b c d e z g h i j k"));
    // Ten words: seven of nine is below 0.8.
    let rows = with(&["a b c d e f g h i j", "a b c d e f g h i z"]);
    assert_ne!(group(&rows, "a b c d e f g h i j"), group(&rows, "a b c d e f g h i z"));
}

/// The similarity as it is defined, for the exactness of the search.
fn similar(a: &str, b: &str) -> bool {
    let runs = |t: &str| t.split(' ').collect::<Vec<_>>().windows(3).map(|w| w.join(" ")).collect::<std::collections::BTreeSet<_>>();
    let (x, y) = (runs(a), runs(b));
    let shared = x.intersection(&y).count();
    a == b || (shared > 0 && 5 * shared >= 4 * (x.len() + y.len() - shared))
}

#[test]
fn the_search_finds_every_pair_that_a_full_comparison_finds() {
    // Of few words, every run of three is in very many texts.
    for vocabulary in [40, 3] {
        finds_every_pair(vocabulary);
    }
}

fn finds_every_pair(vocabulary: usize) {
    let mut numbers = Numbers(7);
    let mut texts: Vec<String> = Vec::new();
    for i in 0..400 {
        let mut words: Vec<String> = if i > 20 && numbers.below(3) > 0 {
            texts[numbers.below(i)].split(' ').map(str::to_owned).collect()
        } else {
            (0..3 + numbers.below(22)).map(|_| format!("w{}", numbers.below(vocabulary))).collect()
        };
        for _ in 0..numbers.below(3) {
            let at = numbers.below(words.len());
            words[at] = format!("w{}", numbers.below(vocabulary));
        }
        texts.push(words.join(" "));
    }
    let mut roots: Vec<usize> = (0..texts.len()).collect();
    for i in 0..texts.len() {
        for j in 0..i {
            if similar(&texts[i], &texts[j]) && roots[i] != roots[j] {
                let (from, to) = (roots[i].max(roots[j]), roots[i].min(roots[j]));
                roots.iter_mut().filter(|r| **r == from).for_each(|r| *r = to);
            }
        }
    }
    let lines: String = texts.iter().enumerate().map(|(i, t)| json!({"text": t, "label": i % 2}).to_string() + "\n").collect();
    let rows = by_id(ingested(json!({}), "d.jsonl", &lines).rows.rows);
    let found: Vec<usize> = rows.iter().map(|r| r.group.parse::<usize>().unwrap() - 1).collect();
    assert_eq!(found, roots);
    let clusters = roots.iter().enumerate().filter(|(i, r)| i != *r).count();
    assert!(clusters > 50, "the test has too few near-duplicates: {clusters}");
}

#[test]
fn punctuation_of_every_script_is_a_gap() {
    for (plain, stopped) in [
        ("यह अच्छा है", "यह अच्छा है।"),
        ("هل هذا جيد", "هل هذا جيد؟"),
        ("یہ اچھا ہے", "یہ اچھا ہے۔"),
        ("ጥሩ ነው", "ጥሩ ነው።"),
        ("so good", "so good‼"),
    ] {
        let texts = [plain.to_owned(), stopped.to_owned()].into_iter().chain((0..12).map(text));
        let lines: String = texts.enumerate().map(|(i, t)| json!({"text": t, "label": i % 2}).to_string() + "\n").collect();
        let rows = by_id(ingested(json!({}), "d.jsonl", &lines).rows.rows);
        assert_eq!((rows[0].group.as_str(), rows[1].group.as_str()), ("1", "1"), "{plain}");
    }
}

#[test]
fn groups_that_alike_texts_join_are_told() {
    // Of fifty authors twenty say thanks.
    let line = |i: usize| {
        let said = if i.is_multiple_of(4) && i < 80 { "thanks".to_owned() } else { text(i) };
        json!({"text": said, "label": format!("c{}", i % 2), "author": i / 4}).to_string() + "\n"
    };
    let lines: String = (0..200).map(line).collect();
    let told = |fields: serde_json::Value| ingested(fields, "d.jsonl", &lines).notes.into_iter().find(|n| n.contains("groups became"));
    let said = told(json!({"group": "author"})).expect("a note");
    let expected = "near-duplicates: 50 groups became 31, for texts of different groups are alike; the largest has 80 of 200 rows";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(told(json!({})), None);
    assert_eq!(told(json!({"group": "author", "near_duplicates": "ignore"})), None);
}

#[test]
fn with_given_splits_copies_of_held_out_rows_are_dropped_and_told() {
    let row =
        |i: usize, text: &str, split: &str| json!({"id": format!("r{i}"), "text": text, "label": format!("c{}", i % 2), "split": split});
    let mut rows: Vec<_> = (0..12).map(|i| row(i, &text(i), ["train", "validation", "test"][i / 4])).collect();
    rows.push(row(12, &text(9), "train"));
    rows.push(row(13, &text(9).to_uppercase(), "validation"));
    rows.push(row(14, &text(5), "train"));
    rows.push(row(15, &text(1), "train"));
    let file: String = rows.iter().map(|r| r.to_string() + "\n").collect();
    let done = ingested(json!({}), "d.jsonl", &file);
    let ids: Vec<&str> = done.rows.rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["r0", "r1", "r2", "r3", "r15", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11"]);
    assert_eq!(done.rows.rows[4].group, "r1");
    let told =
        "near-duplicates: 2 clusters straddle the given splits; 2 train and 1 validation rows that repeat a held-out row were dropped";
    assert!(done.notes.iter().any(|n| n == told), "{:?}", done.notes);
    assert_eq!(ingested(json!({"near_duplicates": "ignore"}), "d.jsonl", &file).rows.rows.len(), 16);
}

#[test]
fn near_duplicates_never_straddle_splits_made_by_shares() {
    for seed in 0..20 {
        let mut numbers = Numbers(seed);
        let lines: String = (0..300)
            .map(|i| {
                json!({"text": format!("{}{}", text(numbers.below(150)), ["", "!", " ..."][numbers.below(3)]), "label": i % 3}).to_string()
                    + "\n"
            })
            .collect();
        let rows = ingested(json!({"seed": seed}), "d.jsonl", &lines).rows.rows;
        let mut splits: BTreeMap<&str, Split> = BTreeMap::new();
        for row in &rows {
            let key = row.text.trim_end_matches(['!', '.', ' ']);
            assert_eq!(*splits.entry(key).or_insert(row.split), row.split, "seed {seed}, `{}`", row.text);
        }
    }
}
