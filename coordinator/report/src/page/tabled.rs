//! The sections controls, baselines and labels.

use super::comparisons::{self, of_what};
use super::section::{Cell, DASH, Section, dash};
use crate::figures::Figure;
use crate::results::{Choice, Estimate, Line, Results};
use crate::study::Study;
use crate::wording::{Notation, above_its_interval, count, layer, list};
use limbic_proto::rows::Scheme;

/// What is the probe's own doing; none where no control was run.
pub fn controls(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    let rows = comparisons::rows(study, results, "controls");
    if rows.is_empty() {
        return None;
    }
    let mut section = Section::new("controls", "Controls");
    section.say("How much is in the states, and how much in the probe? Shuffled labels: the same probe fitted to labels that say nothing of the states and tested on the true ones, which is chance unless labels leak; what it reaches beyond them is its selectivity. Random direction: the same probe on random projections of the states. Random weights: the same cell of the model's untrained twin.");
    section.say("P-values are corrected among the comparisons of one probe with one control.");
    section.figure(figures, "controls");
    section.table(
        format!(
            "Probe minus its control at its representative layer, paired, {}; {}",
            of_what(results),
            comparisons::note_of(results, "controls")
        ),
        comparisons::COLUMNS,
        rows,
    );
    Some(section)
}

/// The metrics that tables of probes show, by scheme: (metric, head, notation).
fn shown(scheme: Scheme) -> &'static [(&'static str, &'static str, Notation)] {
    match scheme {
        Scheme::Single => &[
            ("macro-f1", "#macro-F1", Notation::Share),
            ("auroc", "#AUROC", Notation::Real),
            ("log-loss", "#log-loss", Notation::Real),
            ("ece", "#ECE", Notation::Real),
            ("mdl-compression", "#compression", Notation::Real),
        ],
        Scheme::Multi => &[
            ("micro-f1", "#micro-F1", Notation::Share),
            ("macro-f1", "#macro-F1", Notation::Share),
            ("auroc", "#AUROC", Notation::Real),
            ("ranking-precision", "#ranking precision", Notation::Real),
            ("subset-accuracy", "#all labels right", Notation::Share),
        ],
        Scheme::Intensity => &[("ccc", "#CCC", Notation::Real), ("qwk", "#QWK", Notation::Real), ("mae", "#MAE", Notation::Real)],
        Scheme::Continuous => &[("ccc", "#CCC", Notation::Real), ("r2", "#R²", Notation::Real), ("mae", "#MAE", Notation::Real)],
    }
}

/// Whether a probe has several seeds.
fn seeded(results: &Results) -> bool {
    results.probes.iter().any(|l| l.spread.is_some())
}

fn line(study: &Study, results: &Results, l: &Line, metrics: &[(&str, &str, Notation)]) -> Vec<Cell> {
    let or_dash = |s: &str| if s.is_empty() { DASH.to_owned() } else { s.to_owned() };
    let mut row: Vec<Cell> = vec![l.probe.clone().into()];
    row.extend(l.pooling.filter(|_| results.poolings.len() > 1).map(Cell::from));
    row.extend([
        or_dash(study.model_name(l.model)).into(),
        or_dash(study.condition_name(l.condition)).into(),
        l.layer.map_or_else(|| DASH.to_owned(), layer).into(),
        Notation::of(&results.measure).estimate(l.score).into(),
    ]);
    if seeded(results) && l.layer.is_some() {
        row.push(l.spread.map_or_else(dash, |s| s.seeds.to_string().into()));
        row.push(l.spread.map_or_else(dash, |s| Cell::sorted(Notation::of(&results.measure).spread(s), s.sd)));
    }
    for (name, _, notation) in metrics {
        row.push(results.score_of(l, name).map_or_else(dash, |e| notation.estimate(e).into()));
    }
    row
}

/// What stands against the baselines.
fn against(results: &Results) -> String {
    let all = if results.several() {
        "Of all probes and poolings, each model's best stands against the baselines, chosen"
    } else {
        "Each model's best cell stands against the baselines, chosen"
    };
    match results.chosen {
        _ if results.best.is_empty() => String::new(),
        Choice::ValidationMeasure => format!("{all} by {} on validation rows.", results.measure.words),
        Choice::ValidationLoss => {
            format!("{all} by loss on validation rows (not all fits tell their {} there).", results.measure.words)
        }
        Choice::Test => format!("{all} on the test rows themselves, which flatters it."),
    }
}

/// The models that wrote answers none of which can be read; none where there is no such model.
fn unread(study: &Study, results: &Results) -> Option<String> {
    let scored = |model: usize| results.baselines.iter().any(|b| b.probe == "zero-shot-json" && b.model == Some(model));
    let names = results.written(study).into_iter().filter(|(model, _)| !scored(*model)).map(|(model, _)| study.models[model].name.clone());
    let names: Vec<String> = names.collect();
    let what = if names.len() == 1 { "it has no score and no row" } else { "they have no score and no row" };
    (!names.is_empty()).then(|| format!("None of the answers of {} to zero-shot-json can be read: {what}.", list(&names)))
}

/// Baselines, probes, and what separates them; none where neither has a result.
pub fn baselines(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    let unread = unread(study, results);
    if results.baselines.is_empty() && results.probes.is_empty() && unread.is_none() {
        return None;
    }
    let mut section = Section::new("baselines", "Baselines and probes");
    section.say(format!(
        "How much of it is in the words alone, and how much in the probe? Probes stand at their representative layer. {}",
        against(results)
    ));
    section.say(match study.scheme {
        Scheme::Single => "Log-loss is in nats, ECE is the expected calibration error over 15 bins (noise alone makes it larger than 0, which its intervals allow for, so that it can lie above its own), AUROC the macro average of one class against the rest.",
        Scheme::Multi => "A label counts as predicted from a probability of 0.5 on; average precision, AUROC and ranking precision look at the ranking alone. Average precision counts a row in its own precision and is too high where labels are rare; its intervals are of what it would be without that, and can lie below it.",
        Scheme::Intensity => "Pearson's r, CCC, QWK of rounded levels and mean absolute error are means over the classes.",
        Scheme::Continuous => "Pearson's r, CCC, R² and mean absolute error are means over the scales.",
    });
    if results.probes.iter().flat_map(|l| &l.predictions).any(|i| results.score(*i, "mdl-compression").is_some()) {
        section.say("Compression, how many times shorter labels become with the probe's help, is measured of logistic probes alone, in one order of train's rows.");
    }
    if results.baselines.is_empty() && unread.is_none() {
        section.say("No baseline was run.");
    }
    section.lead.extend(unread);
    section.figure(figures, "baselines");
    let all = || results.baselines.iter().chain(&results.probes);
    let known = |name: &str| all().any(|l| l.predictions.iter().any(|i| results.score(*i, name).is_some()));
    let metrics: Vec<_> = shown(study.scheme).iter().copied().filter(|m| known(m.0)).collect();
    let head = format!("#{}", results.measure.words);
    let mut columns = vec!["probe", "model", "condition", "#layer", head.as_str()];
    columns.extend(metrics.iter().map(|m| m.1));
    section.table("Baselines", &columns, results.baselines.iter().map(|l| line(study, results, l, &metrics)).collect());
    if results.poolings.len() > 1 {
        columns.insert(1, "pooling");
    }
    if seeded(results) {
        let at = columns.len() - metrics.len();
        columns.splice(at..at, ["#seeds", "#between seeds"]);
    }
    section.table(
        if seeded(results) {
            "Probes at their representative layer, the mean over seeds where there are several; between seeds: from the lowest to the highest, with the standard deviation"
        } else {
            "Probes at their representative layer"
        },
        &columns,
        results.probes.iter().map(|l| line(study, results, l, &metrics)).collect(),
    );
    section.table(
        format!(
            "Best probe minus baseline, paired over the same test rows, {}; {}",
            of_what(results),
            comparisons::note_of(results, "baselines")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "baselines"),
    );
    section.table(
        format!(
            "Other probes{} minus the main one, paired, {}; {}",
            if results.poolings.len() > 1 { " and poolings" } else { "" },
            of_what(results),
            comparisons::note_of(results, "probes")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "probes"),
    );
    per_class(study, results, &mut section);
    Some(section)
}

/// Every class of the baselines and of each model's best probe, where labels are more than one class a row.
fn per_class(study: &Study, results: &Results, section: &mut Section) {
    let metrics: &[&str] = match study.scheme {
        Scheme::Single => &["f1"],
        Scheme::Multi => &["ap", "f1"],
        Scheme::Intensity => &["pearson", "ccc", "qwk", "mae"],
        Scheme::Continuous => &["pearson", "ccc", "r2", "mae"],
    };
    let best: Vec<Line> = results.best.iter().map(crate::evaluate::line).collect();
    let mut rows = Vec::new();
    for l in results.baselines.iter().filter(|l| l.probe != "majority").chain(&best) {
        for class in &study.classes {
            let values: Vec<Option<Estimate>> = metrics.iter().map(|m| results.score_of(l, &format!("{m}:{class}"))).collect();
            let mut row: Vec<Cell> =
                vec![results.named(&l.probe, l.pooling).into(), study.model_name(l.model).into(), class.clone().into()];
            row.extend(values.iter().map(|e| e.map_or_else(dash, |e| Notation::Real.estimate(e).into())));
            let n = values.iter().flatten().map(|e| e.n).max().unwrap_or(0);
            row.push(count(n as u64).into());
            rows.push(row);
        }
    }
    let heads: Vec<String> = metrics.iter().map(|m| format!("#{m}")).collect();
    let mut columns = vec!["probe", "model", "class"];
    columns.extend(heads.iter().map(String::as_str));
    columns.push("#rows");
    section.table("Every class, baselines and each model's best probe", &columns, rows);
}

/// Coarser levels of the labels; none where there are none.
pub fn levels(study: &Study, results: &Results) -> Option<Section> {
    if results.levels.is_empty() {
        return None;
    }
    let mut section = Section::new("labels", "Labels");
    let names: Vec<String> = study
        .options
        .levels
        .iter()
        .map(|l| {
            let mut coarser: Vec<String> = study.classes.iter().map(|c| l.map.get(c).unwrap_or(c).clone()).collect();
            coarser.sort_unstable();
            coarser.dedup();
            format!("{} ({})", l.name, coarser.join(", "))
        })
        .collect();
    section.say(format!(
        "How much of it is coarse? Predictions of the {} classes are rolled up to {}: {}.",
        study.classes.len(),
        list(&names),
        if study.scheme == Scheme::Single { "probabilities are summed" } else { "the highest value of the finer classes counts" }
    ));
    if let Some(why) = above_its_interval(&results.measure, results.levels.iter().map(|r| r.score)) {
        section.say(why);
    }
    let notation = Notation::of(&results.measure);
    let rows = results.levels.iter().map(|r| {
        vec![
            r.level.clone().unwrap_or_else(|| "classes".to_owned()).into(),
            r.classes.to_string().into(),
            results.named(&r.line.probe, r.line.pooling).into(),
            study.model_name(r.line.model).into(),
            study.condition_name(r.line.condition).into(),
            r.line.layer.map_or_else(|| DASH.to_owned(), layer).into(),
            notation.estimate(r.score).into(),
            r.near_misses.map_or_else(dash, |s| Notation::Share.value(s).into()),
        ]
    });
    let head = format!("#{}", results.measure.words);
    let columns = ["level", "#classes", "probe", "model", "condition", "#layer", head.as_str(), "#near misses"];
    section.table(
        "Baselines and best probes at every level; near misses: of the rows whose own class is missed, those whose coarser class is right",
        &columns,
        rows.collect(),
    );
    Some(section)
}
