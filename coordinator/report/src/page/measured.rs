//! The sections scale, depth and conditions.

use super::comparisons::{self, of_what};
use super::section::{Cell, DASH, Section, dash};
use crate::figures::Figure;
use crate::results::{Choice, Place, Results};
use crate::study::Study;
use crate::wording::{Notation, capital, layer, list, parameters};
use limbic_proto::axis::Layer;

/// Scores beside size; none where no probe on a model's states has been fitted.
pub fn scale(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.scale.is_empty() {
        return None;
    }
    let notation = Notation::of(&results.measure);
    let mut section = Section::new("scale", "Scale");
    section.say(format!("Does a larger model carry more? {}", choices(results)));
    if results.trends.is_empty() {
        section.say("A trend needs at least three models of known, different size.");
    }
    section.figure(figures, "scale");
    // What the model itself says when it is asked.
    let asked: Vec<&str> = ["mean-embedding", "zero-shot", "zero-shot-mean", "zero-shot-calibrated", "zero-shot-json"]
        .into_iter()
        .filter(|name| results.baselines.iter().any(|b| b.probe == *name))
        .collect();
    let mut columns = vec!["model", "#parameters", "condition", "#best layer", "#score there", "#last layer", "#random weights"];
    let names: Vec<String> = asked.iter().map(|name| format!("#{name}")).collect();
    columns.extend(names.iter().map(String::as_str));
    let rows = results.scale.iter().map(|r| {
        let model = &study.models[r.place.model];
        let mut row: Vec<Cell> = vec![
            model.name.clone().into(),
            Cell::sorted(parameters(model.parameters), model.parameters as f64),
            study.conditions[r.place.condition].name.clone().into(),
            layer(r.layer).into(),
            notation.estimate(r.best).into(),
            notation.estimate(r.last).into(),
            r.twin.map_or_else(dash, |e| notation.estimate(e).into()),
        ];
        let of = |name: &&str| results.baselines.iter().find(|b| b.probe == **name && b.model == Some(r.place.model));
        row.extend(asked.iter().map(|name| of(name).map_or_else(dash, |b| notation.estimate(b.score).into())));
        row
    });
    let title = format!("{} per model and condition", results.measure.words);
    section.table(capital(&title), &columns, rows.collect());
    json_answers(study, results, &mut section);
    let condition = |c: Option<usize>| c.map_or_else(|| DASH.to_owned(), |c| study.conditions[c].name.clone());
    let by_family = results.trends.iter().any(|t| t.family.is_some());
    let rows = results.trends.iter().map(|t| {
        let between = |(lo, hi): (f64, f64)| Cell::sorted(format!("{} to {}", notation.difference(lo), notation.difference(hi)), lo);
        let mut row: Vec<Cell> = vec![t.what.into(), condition(t.condition).into()];
        if by_family {
            row.push(t.family.as_deref().unwrap_or("all").into());
        }
        row.extend([
            Cell::sorted(notation.points(t.slope), t.slope.value),
            t.over_models.map_or_else(dash, between),
            t.models.to_string().into(),
        ]);
        row
    });
    let mut columns = vec!["trend of", "condition", "#slope", "#over models", "#models"];
    if by_family {
        columns.insert(2, "family");
    }
    let with = if results.trends.iter().any(|t| t.over_models.is_some()) {
        ": with its interval over test rows, the models held fixed, and the interval over models, by how far they lie from the line (t, models − 2 degrees of freedom)"
    } else {
        ""
    };
    section.table(format!("Gain per tenfold parameters, {}{with}", of_what(results)), &columns, rows.collect());
    section.table(
        format!(
            "Model minus model at their representative layers, paired, {}; {}",
            of_what(results),
            comparisons::note_of(results, "models")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "models"),
    );
    Some(section)
}

/// How the layer that stands for a curve of the main probe was chosen.
fn choices(results: &Results) -> String {
    let measure = results.measure.words;
    let by = match results.depth.iter().map(|c| c.chosen).max() {
        Some(Choice::ValidationMeasure) => {
            format!("the one with the highest {measure} on validation rows, so its test score is not flattered by the choice")
        }
        Some(Choice::ValidationLoss) => format!(
            "the one with the lowest loss on validation rows where a fit doesn't tell its {measure} there: its test score is not flattered by the choice, but another layer's can be higher, for probes that are sure of what they get wrong have a large loss whatever they get right"
        ),
        _ => "the one with the highest score on test rows, which flatters it: there are no validation rows to choose by".to_owned(),
    };
    let whose = if results.several() { format!(" All numbers are of {}.", results.the_probe()) } else { String::new() };
    format!("The best layer is {by}.{whose}")
}

/// Coverage of written answers, of models too none of whose answers can be read.
fn json_answers(study: &Study, results: &Results, section: &mut Section) {
    let rows = results.written(study).into_iter().map(|(model, prediction)| {
        let metric = |name: &str| results.score(prediction, name).map_or_else(dash, |e| Notation::Share.estimate(e).into());
        vec![study.model_name(Some(model)).into(), metric("coverage"), metric("accuracy"), metric("accuracy-over-all")]
    });
    section.table(
        "Written answers (JSON): the share that names one label, and accuracy over those alone and over all rows",
        &["model", "#coverage", "#accuracy over parsable", "#accuracy over all"],
        rows.collect(),
    );
}

/// Curves over layers; none where at most one layer was measured.
pub fn depth(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.depth.iter().all(|c| c.points.len() < 2) {
        return None;
    }
    let notation = Notation::of(&results.measure);
    let mut section = Section::new("depth", "Depth");
    section.say("Where in the stack is it? Layer 0 is the embedding output, layer l the residual stream after block l, final the state after the final norm.");
    if results.several() {
        section.say(format!("The curves are of {}.", results.the_probe()));
    }
    if results.depth.iter().any(|c| c.chosen.on_validation()) {
        section.say("The peak is the layer with the highest score on test rows; the best layer of other sections was chosen on validation rows, so that its score isn't flattered. Where several layers can't be told from one another, the two often differ.");
    }
    for figure in ["depth", "depth-models", "depth-compression"] {
        section.figure(figures, figure);
    }
    let compressed = results.depth.iter().any(|c| c.points.iter().any(|p| p.compression.is_some()));
    if compressed {
        section.say("Compression is measured of logistic probes alone, in one order of train's rows: another order gives another description length, and how far it lies is not measured.");
    }
    let rows = results.depth.iter().filter_map(|c| {
        let top = c.points.iter().find(|p| p.layer == c.peak.layer)?;
        let ends = if c.peak.depth.lo.is_none() {
            DASH.to_owned()
        } else if c.peak.from == c.peak.to {
            layer(c.peak.from)
        } else {
            format!("{} to {}", layer(c.peak.from), layer(c.peak.to))
        };
        let good = c.points.iter().filter(|p| p.as_good() == Some(true)).count();
        Some(vec![
            study.models[c.place.model].name.clone().into(),
            study.conditions[c.place.condition].name.clone().into(),
            layer(c.peak.layer).into(),
            ends.into(),
            format!("{:.0}%", c.peak.depth.value * 100.0).into(),
            notation.estimate(top.score).into(),
            if top.as_good_as_peak.is_some() { format!("{good} of {}", c.points.len()).into() } else { dash() },
            top.spread.map_or_else(dash, |s| notation.difference(s.sd).replace('+', "").into()),
            top.compression.map_or_else(dash, |c| format!("{c:.2}×").into()),
        ])
    });
    let columns = ["model", "condition", "#peak layer", "#interval", "#depth", "#score", "#as good", "#sd over seeds", "#compression"];
    let told = results.depth.iter().any(|c| c.peak.depth.lo.is_some());
    section.table(
        if told {
            "Peak layer, with the interval of the bootstrapped argmax; as good: layers that can't be told from the best (multiple comparisons with the best, Benjamini and Hochberg)"
        } else {
            "Peak layer"
        },
        &columns,
        rows.collect(),
    );
    let rows = results.depth.iter().flat_map(|c| c.points.iter().map(move |p| (c, p))).map(|(c, p)| {
        let mut row: Vec<Cell> = vec![
            study.models[c.place.model].name.clone().into(),
            study.conditions[c.place.condition].name.clone().into(),
            layer(p.layer).into(),
            notation.estimate(p.score).into(),
        ];
        for control in ["shuffled-labels", "random-direction", "random-weights"] {
            let of = c.controls.iter().find(|k| k.control == control);
            let at = c.points.iter().position(|q| q.layer == p.layer).and_then(|i| of?.points[i]);
            row.push(at.map_or_else(dash, |e| notation.value(e.value).into()));
        }
        row.push(p.as_good_as_peak.map_or_else(dash, |v| Cell::sorted(crate::wording::p_value(Some(v)), v)));
        row.push(p.compression.map_or_else(dash, |c| format!("{c:.2}×").into()));
        row
    });
    let columns = [
        "model",
        "condition",
        "#layer",
        "#score",
        "#shuffled labels",
        "#random direction",
        "#random weights",
        "#p as good as best",
        "#compression",
    ];
    section.table(
        if told {
            "Every layer, with the controls that were run; p as good as best: multiple comparisons with the best, after Benjamini and Hochberg's correction over the layers of the curve"
        } else {
            "Every layer, with the controls that were run"
        },
        &columns,
        rows.collect(),
    );
    every_probe(study, results, notation, &mut section);
    Some(section)
}

/// Every probe at every layer, one column for each probe and pooling.
fn every_probe(study: &Study, results: &Results, notation: Notation, section: &mut Section) {
    if !results.several() {
        return;
    }
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    let mut places: Vec<(Place, Layer)> = Vec::new();
    for c in &results.curves {
        let kind = (c.probe.as_str(), c.pooling);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        places.extend(c.points.iter().map(|p| (c.place, p.layer)));
    }
    places.sort_unstable();
    places.dedup();
    let rows = places.into_iter().map(|(place, at)| {
        let mut row: Vec<Cell> =
            vec![study.models[place.model].name.clone().into(), study.conditions[place.condition].name.clone().into(), layer(at).into()];
        row.extend(kinds.iter().map(|(probe, pooling)| {
            let curve = results.curves.iter().find(|c| c.place == place && c.probe == *probe && c.pooling == *pooling);
            let point = curve.and_then(|c| c.points.iter().find(|p| p.layer == at));
            point.map_or_else(dash, |p| notation.estimate(p.score).into())
        }));
        row
    });
    let heads: Vec<String> = kinds.iter().map(|(probe, pooling)| format!("#{}", results.named(probe, Some(pooling)))).collect();
    let mut columns = vec!["model", "condition", "#layer"];
    columns.extend(heads.iter().map(String::as_str));
    let title = format!("Every probe at every layer: {}, of probes with several seeds their mean", results.measure.words);
    section.table(title, &columns, rows.collect());
}

/// What the prompt does, and whether a probe of one condition serves under another; none with one condition.
pub fn conditions(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.conditions.is_empty() {
        return None;
    }
    let mut section = Section::new("conditions", "Conditions");
    let described: Vec<String> = study.conditions.iter().map(|c| format!("{} ({})", c.name, c.description)).collect();
    let listed = described.len() <= 8;
    section.say(format!(
        "Does it matter how the utterance is put to the model?{}",
        if listed { format!(" Conditions: {}.", list(&described)) } else { String::new() }
    ));
    if results.several() {
        section.say(format!("All numbers are of {}.", results.the_probe()));
    }
    section.figure(figures, "conditions");
    section.figure(figures, "conditions-classes");
    if !listed {
        let rows = study.conditions.iter().map(|c| vec![c.name.clone().into(), c.description.clone().into()]).collect();
        section.table("Conditions", &["condition", "what it is"], rows);
    }
    section.table(
        format!(
            "Paired differences between conditions, {}: {}; {}",
            of_what(results),
            results.contrasts().words(study),
            comparisons::note_of(results, "conditions")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "conditions"),
    );
    section.figure(figures, "transfer");
    section.table(
        format!("Probes carried over minus probes at home, paired, {}; {}", of_what(results), comparisons::note_of(results, "transfer")),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "transfer"),
    );
    Some(section)
}
