//! The trend with size: what other test rows would leave of it, and what other models would.

use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, Prediction, Results, Study};

use super::planted::{CLASSES, bare, model, prediction, test_row};
use super::{evaluated, made, text};

const ROWS: usize = 700;

/// Models of 10⁸, 10⁹, … parameters, of which so many of a hundred rows are right.
fn study(right: &[usize]) -> (Study, Results) {
    of_families(right, &[])
}

/// The same of models that are not all of one family.
fn of_families(right: &[usize], families: &[&str]) -> (Study, Results) {
    let values = |right: usize| -> Vec<f32> {
        let says = move |row: usize| if row * 37 % 100 < right { row % CLASSES } else { (row + 1) % CLASSES };
        (0..ROWS).flat_map(move |row| (0..CLASSES).map(move |class| f32::from(u8::from(class == says(row))))).collect()
    };
    let predictions = right.iter().enumerate().map(|(at, right)| prediction(at, 0, ReadOut::LAST, 1.0, values(*right))).collect();
    let test = (0..ROWS).map(|row| test_row(row, (row % CLASSES) as u32, Vec::new())).collect();
    let mut models: Vec<_> = (0..right.len()).map(|at| model(at, 1)).collect();
    models.iter_mut().zip(families).for_each(|(model, family)| model.family = (*family).to_owned());
    let mut study = Study { models, ..bare(Scheme::Single, test, predictions, 5) };
    let asked =
        right.iter().enumerate().map(|(at, right)| Prediction::baseline("zero-shot-json", Some(at), Deferred::held(values(*right))));
    study.predictions.extend(asked);
    let results = evaluated(&study);
    (study, results)
}

#[test]
fn size_is_said_to_matter_where_neither_other_rows_nor_other_models_would_undo_it() {
    for (right, words, sure) in [
        // Nearly on a line: t of 2 degrees of freedom.
        (&[40, 50, 61, 70][..], "Larger models carry more: +10.1 [", true),
        (&[70, 61, 50, 40], "Larger models carry less: −10.1 [", true),
        // On average ten points for each step, and thirty off the line.
        (&[40, 80, 60], "Of these 3 models larger ones carry more: +10.0 [", false),
        (&[60, 80, 40], "Of these 3 models larger ones carry less: −10.0 [", false),
        (&[50, 70, 50], "No clear trend with size: ", false),
    ] {
        let (study, results) = study(right);
        let trend = results.trends.iter().find(|t| t.what == "best layer").expect("several sizes");
        assert_eq!(trend.sure(), sure, "{trend:?}");
        let (lo, hi) = trend.over_models.expect("rows enough");
        assert!(lo < trend.slope.value && trend.slope.value < hi);
        assert!((lo + hi - 2.0 * trend.slope.value).abs() < 1e-9, "it lies around the slope");
        let markdown = text(&made(&study, &results), "report.md");
        let held = format!("over test rows with these {} models held fixed; over models", right.len());
        for words in [words, &held, "| trend of | condition | slope | over models | models |"] {
            assert!(markdown.contains(words), "`{words}` in {markdown}");
        }
        assert_eq!(markdown.contains("doesn't show that models of other makes would"), words.starts_with("Of these"));
    }
    // 40, 80 and 60 %: the residuals of the line are 10, -20 and 10 points, so that the error of its slope is 17.3 points, and t of
    // one degree of freedom 12.7.
    let (_, results) = study(&[40, 80, 60]);
    let (lo, hi) = results.trends[0].over_models.expect("rows enough");
    assert!((lo + 2.1008).abs() < 1e-3 && (hi - 2.3008).abs() < 1e-3, "{lo} to {hi}");
}

#[test]
fn families_have_trends_of_their_own_and_written_answers_have_one() {
    // One family rises by ten points for each tenfold, the other, whose models are larger, lies lower and rises as fast: through all
    // of them there is no such line. Of the third there are too few.
    let families = ["llama", "llama", "llama", "qwen3", "qwen3", "qwen3", "mistral", "mistral"];
    let (study, results) = of_families(&[60, 70, 80, 40, 50, 60, 50, 50], &families);
    for what in ["best layer", "last layer", "zero-shot-json"] {
        let found: Vec<_> = results.trends.iter().filter(|t| t.what == what).collect();
        let named: Vec<_> = found.iter().map(|t| (t.family.as_deref(), t.models)).collect();
        assert_eq!(named, [(None, 8), (Some("llama"), 3), (Some("qwen3"), 3)], "{what}");
        assert!(found[0].slope.value < 0.0 && found[1..].iter().all(|t| (t.slope.value - 0.1).abs() < 1e-9), "{found:?}");
    }
    let markdown = text(&made(&study, &results), "report.md");
    for words in
        ["; by family it is +10.0 [", " in the 3 of llama and +10.0 [", "| trend of | condition | family | slope | over models | models |"]
    {
        assert!(markdown.contains(words), "`{words}` in {markdown}");
    }
    let (study, results) = of_families(&[60, 70, 80], &["llama"; 3]);
    assert!(results.trends.iter().all(|t| t.family.is_none()), "one family is all there is");
    assert!(!text(&made(&study, &results), "report.md").contains("by family"));
}
