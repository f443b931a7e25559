//! The smallest differences that comparisons would show.

use super::{evaluated, made, text, whole};

#[test]
fn kept_labels_have_one_and_the_page_counts_those_without() {
    let (study, mut results) = whole();
    let replies: Vec<_> = results.comparisons.iter().filter(|c| c.family == "replies").cloned().collect();
    assert!(!replies.is_empty());
    for c in &replies {
        let shows = c.detectable.unwrap_or_else(|| panic!("{c:?}"));
        let width = c.difference.hi.expect("groups") - c.difference.lo.expect("groups");
        assert!((0.4..1.6).contains(&(shows / width)), "2.8 standard errors beside an interval of 3.9: {c:?}");
    }
    let page = |results: &limbic_report::Results| text(&made(&study, results), "report.md");
    let none = |results: &limbic_report::Results| results.comparisons.iter().filter(|c| c.detectable.is_none()).count();
    results.comparisons.iter_mut().filter(|c| c.detectable.is_none()).for_each(|c| c.detectable = Some(0.1));
    let all = results.comparisons.len();
    assert!(page(&results).contains(&format!("over all {all} comparisons); smaller ones")));
    results.comparisons[..2].iter_mut().for_each(|c| c.p_holm = Some(1.0));
    results.comparisons[0].detectable = None;
    assert!(page(&results).contains(&format!("over {} comparisons; one more has too few rows that differ to show any)", all - 1)));
    results.comparisons[1].detectable = None;
    assert_eq!(none(&results), 2);
    assert!(page(&results).contains(&format!("over {} comparisons; 2 more have too few rows that differ to show any)", all - 2)));
    // What is clear has shown enough.
    results.comparisons[1].p_holm = Some(0.001);
    assert!(page(&results).contains(&format!("over {} comparisons; one more has too few rows that differ to show any)", all - 2)));
}

#[test]
fn two_sides_that_never_differ_would_show_nothing() {
    let mut study = super::synthetic::valued(limbic_proto::rows::Scheme::Multi, 120);
    let majority = study.predictions.iter().position(|p| &*p.probe == "majority").expect("a baseline");
    let values = study.predictions[majority].values.clone();
    study.predictions.iter_mut().for_each(|p| p.values = values.clone());
    let results = evaluated(&study);
    assert!(!results.comparisons.is_empty() && results.comparisons.iter().all(|c| c.detectable.is_none()), "{:?}", results.comparisons);
    assert!(!text(&made(&study, &results), "report.md").contains("with 80% power (from"));
}
