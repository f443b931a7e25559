//! The probe that sections are about, and every other beside it.

use super::{evaluated, made, small, text, whole};

/// The rows of a table of `report.md`, its head first.
fn table(page: &str, title: &str) -> Vec<String> {
    let from = page.find(&format!("**{title}")).unwrap_or_else(|| panic!("no table {title}"));
    let rows = page[from..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.filter(|line| !line.starts_with("| ---")).map(str::to_owned).collect()
}

#[test]
fn a_report_is_about_the_probe_that_it_asks_for() {
    let (mut study, first) = small();
    study.options.probe = Some("mlp".to_owned());
    let results = evaluated(&study);
    assert_eq!((first.probe.as_deref(), results.probe.as_deref()), (Some("logistic"), Some("mlp")));
    assert!(!results.depth.is_empty() && results.depth.iter().all(|c| c.probe == "mlp"));
    assert!(results.scale.iter().zip(&first.scale).any(|(a, b)| a.best != b.best));
    assert_eq!((&results.best, results.chosen), (&first.best, first.chosen), "what is best is not asked for");
    assert!(text(&made(&study, &results), "report.md").contains("The curves are of the mlp probe."));

    study.options.probe = Some("lda".to_owned());
    let results = evaluated(&study);
    assert_eq!(results.probe.as_deref(), Some("logistic"));
    assert!(results.warnings.iter().any(|w| w.contains("`report.probe` asks for lda")), "{:?}", results.warnings);
}

#[test]
fn every_probe_stands_at_every_layer() {
    let (study, results) = small();
    let page = text(&made(&study, &results), "report.md");
    let rows = table(&page, "Every probe at every layer");
    assert_eq!(rows[0], "| model | condition | layer | logistic | mlp | ");
    let points: usize = results.depth.iter().map(|c| c.points.len()).sum();
    assert_eq!(rows.len(), 1 + points);
    assert!(rows.iter().all(|row| !row.contains('–')), "both probes are measured everywhere");
}

#[test]
fn probes_of_several_seeds_show_how_far_they_lie_apart() {
    let (study, results) = small();
    for line in &results.probes {
        let values: Vec<f64> = line.predictions.iter().map(|i| results.score(*i, "accuracy").expect("an accuracy").value).collect();
        let spread = line.spread.map(|s| (s.seeds, s.lowest, s.highest));
        let expected = (line.probe == "mlp").then(|| (2, values[0].min(values[1]), values[0].max(values[1])));
        assert_eq!(spread, expected, "{}", line.probe);
    }
    let page = text(&made(&study, &results), "report.md");
    let rows = table(&page, "Probes at their representative layer, the mean over seeds");
    assert!(rows[0].starts_with("| probe | model | condition | layer | accuracy | seeds | between seeds |"), "{}", rows[0]);
    let line = results.probes.iter().find(|l| l.probe == "mlp").expect("an mlp");
    let spread = line.spread.expect("two seeds");
    let cell = format!("| 2 | {:.1}% to {:.1}% (sd {:.1}) |", spread.lowest * 100.0, spread.highest * 100.0, spread.sd * 100.0);
    assert!(rows.iter().any(|row| row.starts_with("| mlp |") && row.contains(&cell)), "{cell} {rows:?}");
    assert!(rows.iter().filter(|row| row.starts_with("| logistic |")).all(|row| row.contains("| – | – |")));
}

#[test]
fn metrics_of_several_seeds_have_the_interval_of_their_mean() {
    let (study, results) = small();
    let mlp: Vec<_> = results.probes.iter().filter(|l| l.probe == "mlp").collect();
    assert!(!mlp.is_empty() && mlp.iter().all(|l| l.predictions.len() == 2));
    for line in &mlp {
        // What the curves say of the same seeds is found another way.
        let accuracy = results.score_of(line, "accuracy").expect("an accuracy");
        let ends = [accuracy.lo.zip(line.score.lo), accuracy.hi.zip(line.score.hi)];
        assert!(ends.iter().all(|e| e.is_some_and(|(a, b)| (a - b).abs() < 1e-12)) && accuracy.n == line.score.n, "{accuracy:?}");
        for metric in ["macro-f1", "auroc", "log-loss", "ece"] {
            let seeds: Vec<_> = line.predictions.iter().map(|i| results.score(*i, metric).expect("a score")).collect();
            let e = results.score_of(line, metric).unwrap_or_else(|| panic!("no {metric}"));
            assert!((e.value - (seeds[0].value + seeds[1].value) / 2.0).abs() < 1e-12, "{metric}");
            let width = |e: &limbic_report::Estimate| e.hi.expect("groups") - e.lo.expect("groups");
            let (widest, ours) = (width(&seeds[0]).max(width(&seeds[1])), width(&e));
            assert!(ours > 0.0 && ours < 1.05 * widest, "the mean of two varies less than they do: {metric} {e:?} {seeds:?}");
        }
    }
    let rows = table(&text(&made(&study, &results), "report.md"), "Probes at their representative layer");
    let cells = |row: &String| row.split('|').filter(|cell| cell.contains('[')).count();
    assert!(rows.iter().filter(|row| row.starts_with("| mlp |")).all(|row| cells(row) == 5), "accuracy and four others: {rows:?}");
}

#[test]
fn half_lives_of_classes_are_of_the_offset_aware_probe_too() {
    let (study, results) = whole();
    let page = text(&made(&study, &results), "report.md");
    let rows = table(&page, "Half-life of each class's informedness, full context: of the logistic probe");
    assert!(rows[0].starts_with("| model | condition | probe | class |"), "{}", rows[0]);
    for probe in ["logistic", "offset-mlp"] {
        let of = rows.iter().filter(|row| row.contains(&format!("| {probe} |"))).count();
        assert_eq!(of, results.persistence.len() * study.classes.len(), "{probe}");
    }
}

#[test]
fn what_description_lengths_are_of_is_said_where_they_stand() {
    let (mut study, results) = small();
    let files = made(&study, &results);
    let page = text(&files, "report.md");
    assert_eq!(page.matches("of logistic probes alone, in one order of train's rows").count(), 3, "of layers, their figure, and of probes");
    study.predictions.iter_mut().filter_map(|p| p.fit.as_mut()).for_each(|f| f.mdl = None);
    assert!(!text(&made(&study, &evaluated(&study)), "report.md").contains("in one order of train's rows"));
}
