//! Which conditions are tested against which, of probes and of what replies express.

use std::collections::BTreeSet;

use limbic_report::{Comparison, ConditionEntry, Prediction, Results, Source, Study, Verdicts};

use super::synthetic::{Size, study};
use super::{evaluated, made, text};

const SIZE: Size = Size { models: 2, layers: 1, conditions: 4, offsets: 3, rows: 140, masked: false, mlp: false, whole: true };

/// Four conditions (raw, chat, emotional, calm), of which the replies under the last three are judged.
fn system_prompts() -> Study {
    let mut study = study(SIZE);
    study.options.resamples = 100;
    study.verdicts.retain(|v| v.condition > 0);
    study
}

fn of<'a>(results: &'a Results, family: &str, model: usize) -> Vec<&'a Comparison> {
    results.comparisons.iter().filter(|c| c.family == family && c.model == model).collect()
}

/// What stands before the first comma: the condition of a probe is the second word, of a reply the first.
fn word(side: &str, at: usize) -> String {
    side.split(", ").nth(at).expect("so many words").to_owned()
}

#[test]
fn every_two_conditions_are_compared_of_a_few() {
    let study = system_prompts();
    let results = evaluated(&study);
    for model in 0..2 {
        let found = of(&results, "conditions", model);
        let pairs: Vec<(String, String)> = found.iter().map(|c| (word(&c.subject, 1), word(&c.against, 1))).collect();
        let expected =
            [("chat", "raw"), ("emotional", "raw"), ("calm", "raw"), ("emotional", "chat"), ("calm", "chat"), ("calm", "emotional")];
        assert_eq!(pairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(found.iter().all(|c| c.corrected == 2 * 6 && c.p_holm.is_some()), "both models' together");
        let score = |condition: usize| {
            let curve = results.depth.iter().find(|c| (c.place.model, c.place.condition) == (model, condition)).expect("a curve");
            curve.shown().score.value
        };
        assert!((found[5].difference.value - (score(3) - score(2))).abs() < 1e-12, "calm against emotional");
    }
    let markdown = text(&made(&study, &results), "report.md");
    for words in [
        "Paired differences between conditions, in points of accuracy: every two conditions, the later one minus the earlier; p after Holm",
        " of 12 differences between two conditions survive",
    ] {
        assert!(markdown.contains(words), "`{words}` in {markdown}");
    }
}

#[test]
fn judged_conditions_are_compared_where_the_first_is_not_judged() {
    let study = system_prompts();
    let results = evaluated(&study);
    let whose: BTreeSet<(usize, Source)> = results.verdicts.iter().map(|v| (v.place.model, v.source)).collect();
    assert!(whose.iter().any(|w| w.1 == Source::Probe) && whose.len() > 2, "{whose:?}");
    for model in 0..2 {
        let found = of(&results, "replies", model);
        let pairs: Vec<(String, String)> = found.iter().map(|c| (word(&c.subject, 0), word(&c.against, 0))).collect();
        let expected = [("emotional", "chat"), ("calm", "chat"), ("calm", "emotional")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let voices = whose.iter().filter(|w| w.0 == model).count();
        assert_eq!(pairs, expected.iter().cycle().take(3 * voices).cloned().collect::<Vec<_>>());
        assert!(found.iter().all(|c| word(&c.subject, 1) == word(&c.against, 1)), "one judge beside itself");
    }
    let kept = |condition: usize| {
        let v = results.verdicts.iter().find(|v| v.place.condition == condition && v.place.model == 0 && v.source != Source::Probe);
        v.expect("judged").kept.value
    };
    let calm = of(&results, "replies", 0)[2];
    assert!((calm.difference.value - (kept(3) - kept(2))).abs() < 1e-12, "{calm:?}");
    let n = results.comparisons.iter().filter(|c| c.family == "replies").count();
    let markdown = text(&made(&study, &results), "report.md");
    for words in [
        "What do the replies express under chat, emotional and calm, against the label of the utterance?".to_owned(),
        format!(
            "Kept labels, paired, in points: every two conditions, the later one minus the earlier; p after Holm's and after Benjamini and Hochberg's correction over {n} comparisons"
        ),
        "Of the share of replies that express the utterance's label, ".to_owned(),
    ] {
        assert!(markdown.contains(&words), "`{words}` in {markdown}");
    }
}

#[test]
fn of_many_conditions_each_is_compared_with_the_first_and_the_page_says_so() {
    let mut study = study(Size { models: 1, conditions: 3, ..SIZE });
    study.options.resamples = 100;
    let (predictions, verdicts) = (study.predictions.clone(), study.verdicts.clone());
    for copy in 1..3 {
        let there = |condition: usize| condition + 3 * copy;
        study.conditions.extend((0..3).map(|c| ConditionEntry { name: format!("copy-{}", there(c)), description: "again".to_owned() }));
        let ours = predictions.iter().filter(|p| p.condition.is_some() && p.fitted_condition.is_none());
        study.predictions.extend(ours.map(|p| Prediction { condition: p.condition.map(there), ..p.clone() }));
        study.verdicts.extend(verdicts.iter().map(|v| Verdicts { condition: there(v.condition), ..v.clone() }));
    }
    study.verdicts.retain(|v| v.condition > 0);
    let results = evaluated(&study);
    let found = of(&results, "conditions", 0);
    assert!(found.len() == 8 && found.iter().all(|c| word(&c.against, 1) == "raw"), "{found:?}");
    let judged = of(&results, "replies", 0);
    assert_eq!(judged.len() % (8 * 7 / 2), 0, "eight are judged: every two");
    let markdown = text(&made(&study, &results), "report.md");
    for words in [
        "each condition minus raw, the first of 9 (every two are compared of up to 8)",
        "differences from raw",
        "Kept labels, paired, in points: every two conditions",
        "What do the replies express under chat, emotional, copy-3,",
    ] {
        assert!(markdown.contains(words), "`{words}` in {markdown}");
    }
}
