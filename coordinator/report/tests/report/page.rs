//! Pages: whole, alone, escaped, and frank about what is missing.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use limbic_proto::axis::Layer;
use limbic_proto::spec::ReportSpec;
use limbic_proto::unit::UnitKind;
use limbic_report::Progress;

use super::synthetic::{Size, study};
use super::{batches, emptied, evaluated, made, page, small, text, whole};

/// Every tag that is opened is closed.
fn balanced(html: &str) {
    let (markup, script) = html.split_once("\n<script>\n").expect("the page ends in its script");
    for tag in ["section", "figure", "table", "svg", "g", "details", "ul", "tr", "script"] {
        let opened = markup.matches(&format!("<{tag} ")).count() + markup.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, markup.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert_eq!(script.matches("</script>").count(), 1);
}

#[test]
fn the_page_stands_alone_and_says_the_numbers() {
    let (study, results) = whole();
    let files = made(&study, &results);
    let html = text(&files, "report.html").replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http://", "https://", "<script src", "<img", "@import", "url(", "<link rel=\"stylesheet", "fetch(", "XMLHttp"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("default-src 'none'"), "and the browser is told so");
    balanced(&html);
    let best = results.depth.iter().map(|c| c.shown().score.value).fold(0.0, f64::max);
    assert!(html.contains(&format!("{:.1}%", best * 100.0)));
    let figures: Vec<&String> = files.keys().filter(|f| f.ends_with(".svg")).collect();
    let mut all: Vec<String> = limbic_report::FIGURES
        .iter()
        .filter(|f| !["geometry-angles", "geometry-affect"].contains(f))
        .map(|name| format!("figures/{name}.svg"))
        .collect();
    all.sort();
    assert_eq!(figures, all.iter().collect::<Vec<_>>(), "scales alone have angles and a plane of affect");
    let markdown = text(&files, "report.md");
    for figure in figures {
        assert!(markdown.contains(&format!("({figure})")), "{figure}");
        let svg = text(&files, figure);
        assert!(svg.starts_with("<svg xmlns=") && svg.matches("<svg").count() == svg.matches("</svg>").count());
        let csv = text(&files, &figure.replace(".svg", ".csv"));
        assert!(csv.lines().count() > 1, "{figure} brings its numbers");
        let columns = csv.lines().next().expect("a head").split(',').count();
        assert!(csv.lines().skip(1).all(|line| line.contains('"') || line.split(',').count() == columns), "{figure}");
    }
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).expect("JSON");
    assert_eq!(summary["results"]["depth"][0]["place"]["model"], "Linden-0.6B");
    assert_eq!(summary["results"]["geometry"]["across"]["places"][0]["condition"], "raw");
}

#[test]
fn every_section_is_there_where_it_has_data() {
    let (study, results) = whole();
    let html = text(&made(&study, &results), "report.html");
    let titles = [
        "Scale",
        "Depth",
        "Conditions",
        "Persistence",
        "Malleability",
        "Geometry",
        "Controls",
        "Baselines and probes",
        "Labels",
        "Cost",
        "Provenance",
        "Notes",
    ];
    let mut at = 0;
    for title in titles {
        at += html[at..].find(&format!(">{title}</h2>")).unwrap_or_else(|| panic!("{title}"));
    }
    assert!(html.len() < 2_500_000, "{} bytes", html.len());
}

#[test]
fn a_best_layer_that_is_not_the_peak_is_explained() {
    let (study, mut results) = small();
    let says = |results: &limbic_report::Results| {
        let markdown = text(&made(&study, results), "report.md");
        assert!(markdown.contains("The peak is the layer with the highest score on test rows"), "where the peaks are listed");
        markdown.contains("what stands for the probe is layer") && markdown.contains(", chosen on validation rows, so that its score (")
    };
    for curve in &mut results.depth {
        curve.best = curve.points.iter().position(|p| p.layer == curve.peak.layer).expect("the peak is a point");
    }
    assert!(!says(&results), "both are one layer");
    for curve in &mut results.depth {
        curve.best = usize::from(curve.best == 0);
    }
    assert!(says(&results));
}

#[test]
fn one_of_a_thing_is_not_many() {
    let (study, mut results) = small();
    (results.rows, results.groups) = (1, 1);
    let html = text(&made(&study, &results), "report.html");
    assert!(html.contains("1 test row in 1 group"));
    assert!(html.contains("intervals over 1 group of test rows"));
}

#[test]
fn marks_of_every_panel_can_be_read_by_the_script() {
    let (study, results) = whole();
    let html = text(&made(&study, &results), "report.html");
    let mut figures = 0;
    for figure in html.split("<figure ").skip(1) {
        let figure = figure.split("</figure>").next().expect("it is closed");
        let json = figure.split("class=\"marks\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("marks");
        type Panel = (Vec<String>, Vec<(f64, f64, i64, String)>);
        let panels: Vec<Panel> = serde_json::from_str(json).expect("JSON");
        assert_eq!(panels.len(), figure.matches("<svg ").count());
        for (series, marks) in &panels {
            assert!(marks.iter().all(|m| m.2 < series.len() as i64 && !m.3.is_empty()));
            for name in series {
                assert!(figure.contains(&format!("data-s=\"{name}\"")), "{name} is drawn as a group");
            }
        }
        figures += 1;
    }
    assert_eq!(figures, limbic_report::FIGURES.len() - 2);
}

#[test]
fn names_from_outside_are_escaped() {
    let (mut study, _) = small();
    study.title = "<script>alert('a')</script>".to_owned();
    study.models[0].name = "a<b>&\"c\" | d".to_owned();
    study.conditions[0].name = "</svg><i>".to_owned();
    study.classes[0] = "<u>|".to_owned();
    let files = made(&study, &evaluated(&study));
    let html = text(&files, "report.html");
    balanced(&html);
    assert!(!html.contains("alert('a')</script>") && !html.contains("<i>") && !html.contains("<u>") && !html.contains("a<b>"));
    assert!(text(&files, "report.md").contains("a\\<b>&\"c\" \\| d"));
}

#[test]
fn sections_without_data_are_left_out_and_the_notes_say_so() {
    let mut study = study(Size { models: 1, layers: 2, conditions: 1, offsets: 1, rows: 70, masked: false, mlp: false, whole: false });
    study.runs.clear();
    study.quarantined.clear();
    study.notes.clear();
    study.spec["models"] = serde_json::json!([{"source": "hf://example/Linden-0.6B"}]);
    study.predictions.retain(|p| p.layer.is_none_or(|l| l == Layer::Final));
    let html = page(&study);
    for title in ["Depth", "Conditions", "Persistence", "Malleability", "Controls", "Labels", "Cost"] {
        assert!(!html.contains(&format!(">{title}</h2>")), "{title}");
    }
    for words in [
        "depth (asked for, but one layer alone has probes)",
        "persistence (one offset was asked for)",
        "conditions (one prompt condition was asked for)",
        "geometry of states (not asked for)",
        "no unit has been committed yet",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(html.contains("No unit was quarantined"));
    study.predictions.clear();
    assert!(page(&study).contains("No probe has been fitted yet"));
    study.test.clear();
    study.models.clear();
    study.conditions.clear();
    study.classes.clear();
    study.options = ReportSpec { resamples: 0, ..ReportSpec::default() };
    let html = page(&study);
    assert!(html.contains("scale and depth (asked for, but no trained model has a probe at offset 0)") && !html.contains("Baselines"));
}

#[test]
fn what_was_left_out_is_said() {
    let (mut study, _) = small();
    for p in study.predictions.iter_mut().filter(|p| p.read_out.is_some_and(|r| r.offset >= 8)) {
        let fit = p.fit.as_mut().expect("a fit");
        fit.absent = Some("no train row of joy (3 of 280 rows reach this read-out)".into());
        emptied(p);
    }
    let absent = study.predictions.iter().filter(|p| !p.exists()).count();
    assert!(absent > 0);
    let run = study.runs.iter_mut().find(|r| r.kind == UnitKind::Extract).expect("a run");
    run.counts.extend([("skipped_rows".to_owned(), 7), ("truncated_rows".to_owned(), 2)]);
    let (model, condition) = (study.models[0].name.clone(), study.conditions[0].name.clone());
    let results = evaluated(&study);
    let files = made(&study, &results);
    let html = text(&files, "report.html");
    for sentence in [
        format!("{absent} of "),
        "no train row of joy".to_owned(),
        format!("{model}, {condition}: 7 of 4,096 prompts were longer than the context and left out."),
        "2 of 4,096 prompts were longer than the context and lost the first tokens of their text.".to_owned(),
    ] {
        assert!(html.contains(&sentence), "{sentence}: {:?}", results.warnings);
    }
    let runs = &batches(&files["runs.parquet"])[0];
    let column = |name: &str| runs.column_by_name(name).expect("a column").as_primitive::<UInt64Type>().clone();
    assert_eq!(column("skipped_rows").iter().flatten().sum::<u64>(), 7);
    assert_eq!(column("truncated_rows").iter().flatten().sum::<u64>(), 2);
}

#[test]
fn an_unfinished_sweep_says_so_at_the_head_of_both_pages() {
    let (mut study, results) = small();
    let files = made(&study, &results);
    assert!(["report.html", "report.md"].iter().all(|page| !text(&files, page).contains("Unfinished")));
    study.progress = Progress { cells: 1_040, cells_done: 12, units: 90, units_done: 30 };
    let files = made(&study, &results);
    for page in ["report.html", "report.md"] {
        let page = text(&files, page);
        let said = page.find("Unfinished: 12 of 1,040 cells and 30 of 90 units are computed (1 unit failed for good)");
        assert!(said.expect("it says so") < page.find("What this shows").expect("a first section"));
    }
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).expect("JSON");
    assert_eq!(summary["progress"]["cells_done"], 12);
    study.progress = Progress { cells: 0, cells_done: 0, ..study.progress };
    assert!(text(&made(&study, &results), "report.md").contains("Unfinished: 30 of 90 units are computed"));
}

#[test]
fn the_page_names_the_files_that_there_are() {
    for ((study, results), there) in [(small(), false), (whole(), true)] {
        let files = made(&study, &results);
        for name in ["verdicts.parquet", "geometry.parquet"] {
            assert_eq!(files.contains_key(name), there);
            assert!(["report.html", "report.md"].iter().all(|page| text(&files, page).contains(name) == there), "{name}");
        }
        assert!(text(&files, "report.md").contains("predictions.parquet, runs.parquet"));
    }
}

#[test]
fn provenance_tells_rows_and_programs() {
    let (mut study, results) = small();
    study.runs[0].software = "0.2.0".to_owned();
    let markdown = text(&made(&study, &results), "report.md");
    let (devices, rest) = (study.runs.len() - 1, study.test.len());
    for line in [
        format!("| digest of the rows (BLAKE3) | {} |", study.dataset.digest),
        format!("| test | {rest} | {} |{}", rest / 2, format!(" {} |", rest / 7).repeat(7)),
        "| 0.2.0 | cpu | 1 | worker-0 |".to_owned(),
        format!("| 0.1.0 | cpu | {devices} | worker-0, worker-1 |"),
    ] {
        assert!(markdown.contains(&line), "{line}");
    }
}

#[test]
fn p_values_say_over_how_many_comparisons_they_were_corrected() {
    let (study, results) = whole();
    let markdown = text(&made(&study, &results), "report.md");
    // Of controls those of one probe and one control are corrected together.
    let one = |c: &&limbic_report::Comparison| (c.subject.split(',').next().map(str::to_owned), c.against.clone());
    let controls: Vec<_> = results.comparisons.iter().filter(|c| c.family == "controls").collect();
    assert!(!controls.is_empty() && controls.iter().all(|c| c.corrected == controls.iter().filter(|o| one(o) == one(c)).count()));
    for family in ["baselines", "models", "conditions", "contexts", "probes", "transfer", "replies"] {
        let all: Vec<_> = results.comparisons.iter().filter(|c| c.family == family).collect();
        assert!(all.len() > 1 && all.iter().all(|c| c.corrected == all.len()), "{family}");
        let caption = format!("correction over {} comparisons; would show", all.len());
        assert!(markdown.contains(&caption), "{family}: {caption}");
    }
    let of = |family: &str| results.comparisons.iter().filter(|c| c.family == family).count();
    for sentence in ["the probe beats bag-of-words", "clearly loses to"] {
        let line = markdown.lines().find(|l| l.contains(sentence)).unwrap_or_else(|| panic!("{sentence}"));
        let family = if sentence.starts_with("clearly") { "transfer" } else { "baselines" };
        assert!(line.contains(&format!("(Holm's correction over {} comparisons)", of(family))), "{line}");
    }
}

#[test]
fn the_panels_of_a_large_figure_are_folded_and_none_is_left_out() {
    let (mut study, _) = small();
    let template = study.models[0].clone();
    let ours: Vec<_> = study.predictions.iter().filter(|p| p.model == Some(0)).cloned().collect();
    study.predictions.retain(|p| p.model.is_none());
    study.models = (0..26).map(|i| limbic_report::ModelEntry { name: format!("model-{i}"), ..template.clone() }).collect();
    for model in 0..26 {
        study.predictions.extend(ours.iter().cloned().map(|p| limbic_report::Prediction { model: Some(model), ..p }));
    }
    study.runs.clear();
    study.options.resamples = 100;
    let results = evaluated(&study);
    let files = made(&study, &results);
    let html = text(&files, "report.html");
    assert!(html.contains("<summary>2 more panels</summary>"), "depth has one panel per model");
    assert!(html.contains("<summary>28 more panels</summary>"), "heat maps have one per model and condition");
    assert!(
        html.matches("aria-label=\"model-25").count() > 2 && text(&files, "figures/depth.svg").contains("model-25"),
        "none is left out"
    );
}
