//! The sections with figures: scale, depth, persistence, prompt conditions.

use limbic_proto::axis::Context;

use super::Section;
use crate::figures::Figure;
use crate::results::{Estimate, Results};
use crate::study::Study;
use crate::wording::{count, estimate, half_life, layer, list, parameters, points};

/// Accuracy beside size.
pub fn scale(study: &Study, results: &Results, figures: &[Figure]) -> Section {
    let mut section = Section::new("scale", "Scale");
    if results.scale.is_empty() {
        section.say("No probe on a model's states has been fitted yet, so there is nothing to set beside model size.");
        return section;
    }
    section.say("Does a larger model carry more? The best layer is the one with the lowest validation log-loss where fits report it, so its test accuracy is not flattered by the choice.");
    if results.trends.is_empty() {
        section.say("A trend needs at least three models of known, different size.");
    }
    section.figure(figures, "scale");
    let rows = results.scale.iter().map(|r| {
        let model = &study.models[r.place.model];
        vec![
            model.name.clone(),
            parameters(model.parameters),
            study.conditions[r.place.condition].name.clone(),
            layer(r.layer),
            estimate(r.best),
            estimate(r.last),
            r.zero_shot.map_or_else(|| "–".to_owned(), estimate),
        ]
    });
    section.table(
        "Accuracy per model and condition",
        &["model", "#parameters", "condition", "#best layer", "#accuracy there", "#last layer", "#zero-shot"],
        rows.collect(),
    );
    let condition = |c: Option<usize>| c.map_or_else(|| "–".to_owned(), |c| study.conditions[c].name.clone());
    let rows = results.trends.iter().map(|t| vec![t.what.to_owned(), condition(t.condition), points(t.slope), t.models.to_string()]);
    section.table(
        "Points of accuracy per tenfold parameters; the intervals are over test rows, with the models held fixed",
        &["trend of", "condition", "#slope", "#models"],
        rows.collect(),
    );
    section
}

/// Curves over layers.
pub fn depth(study: &Study, results: &Results, figures: &[Figure]) -> Section {
    let mut section = Section::new("depth", "Depth");
    if results.depth.iter().all(|c| c.points.len() < 2) {
        section.say("At most one layer was measured, so there is no curve over depth.");
        return section;
    }
    section.say("Where in the stack is it? Layer 0 is the embedding output, layer l the residual stream after block l, final the state after the final norm.");
    section.figure(figures, "depth");
    section.figure(figures, "depth-models");
    let seeded = results.depth.iter().any(|c| c.points.iter().any(|p| p.seed_sd.is_some()));
    let rows = results.depth.iter().filter_map(|c| {
        let top = c.points.iter().find(|p| p.layer == c.peak.layer)?;
        let ends = if c.peak.depth.lo.is_none() {
            "–".to_owned()
        } else if c.peak.from == c.peak.to {
            layer(c.peak.from)
        } else {
            format!("{} to {}", layer(c.peak.from), layer(c.peak.to))
        };
        let mut row = vec![
            study.models[c.place.model].name.clone(),
            study.conditions[c.place.condition].name.clone(),
            layer(c.peak.layer),
            ends,
            format!("{:.0}%", c.peak.depth.value * 100.0),
            estimate(top.accuracy),
        ];
        if seeded {
            row.push(top.seed_sd.map_or_else(|| "–".to_owned(), |sd| format!("{:.1}", sd * 100.0)));
        }
        Some(row)
    });
    let columns = ["model", "condition", "#peak layer", "#interval", "#depth", "#accuracy", "#sd over seeds"];
    section.table("Peak layer, with the interval of the bootstrapped argmax", &columns[..6 + usize::from(seeded)], rows.collect());
    section
}

/// How long it lasts.
pub fn persistence(study: &Study, results: &Results, figures: &[Figure]) -> Section {
    let mut section = Section::new("persistence", "Persistence");
    if results.persistence.is_empty() {
        section.say("Only one offset was measured, so nothing is known about how long the signal lasts.");
        return section;
    }
    let masked = results.persistence.iter().any(|p| !p.masked.is_empty());
    section.say(if masked {
        "For how long after the prompt is it still there? The masked-prompt control tells what the continuation carries from what is read back out of the prompt."
    } else {
        "For how long after the prompt is it still there? No masked-prompt control was run, so what persists can't be told from what is read back out of the prompt."
    });
    let fewest = results
        .persistence
        .iter()
        .flat_map(|p| &p.decays)
        .filter(|d| d.class.is_none())
        .flat_map(|d| d.points.iter().map(|p| (p.1.n, p.0)))
        .min();
    if let Some((n, offset)) = fewest.filter(|(n, _)| *n < results.rows) {
        section.say(format!(
            "Replies end: only {} of {} test rows reach offset {offset}, so late offsets rest on rows with longer replies.",
            count(n as u64),
            count(results.rows as u64)
        ));
    }
    for figure in ["persistence-heat", "persistence-conditions", "persistence-classes", "half-life"] {
        section.figure(figures, figure);
    }
    let (mut overall, mut per_class) = (Vec::new(), Vec::new());
    for p in &results.persistence {
        let within = *p.offsets.last().unwrap_or(&0);
        for d in p.decays.iter().filter(|d| d.context == Context::Full) {
            let twin = p.decays.iter().find(|m| m.context == Context::MaskedPrompt && m.class == d.class);
            let end = |point: Option<&(u32, Estimate)>| point.map_or_else(String::new, |(k, e)| format!("{} at {k}", estimate(*e)));
            let row = vec![
                study.models[p.place.model].name.clone(),
                study.conditions[p.place.condition].name.clone(),
                d.class.map_or_else(|| layer(p.layer), |c| study.classes[c].clone()),
                end(d.points.first()),
                end(d.points.last()),
                d.retained.map_or_else(|| "–".to_owned(), estimate),
                half_life(&d.half_life, within),
                twin.map_or_else(|| "–".to_owned(), |m| half_life(&m.half_life, within)),
            ];
            if d.class.is_none() { overall.push(row) } else { per_class.push(row) }
        }
    }
    let columns = |third| ["model", "condition", third, "#first offset", "#last offset", "#kept", "#half-life", "#prompt masked"];
    section.table(
        "Half-life of accuracy; kept: share of the first offset's signal (above the majority class) that is left at the last offset",
        &columns("#layer"),
        overall,
    );
    section.table("Half-life of each class's informedness (recall minus false-alarm rate)", &columns("class"), per_class);
    section.table(
        "Full context minus masked prompt at the last offset, paired, in points of accuracy; p after Holm's correction",
        super::tabled::DIFFERENCE,
        super::tabled::differences(study, results, "contexts"),
    );
    section
}

/// What the prompt does.
pub fn conditions(study: &Study, results: &Results, figures: &[Figure]) -> Section {
    let mut section = Section::new("malleability", "Malleability");
    if results.conditions.is_empty() {
        section.say("Only one prompt condition was measured, so there is nothing to compare.");
        return section;
    }
    let described: Vec<String> = study.conditions.iter().map(|c| format!("{} ({})", c.name, c.description)).collect();
    section.say(format!("Does it matter how the utterance is put to the model? Conditions: {}.", list(&described)));
    section.figure(figures, "conditions");
    section.figure(figures, "conditions-recall");
    section.table(
        format!("Paired differences from {}, in points of accuracy; p after Holm's correction", study.conditions[0].name),
        super::tabled::DIFFERENCE,
        super::tabled::differences(study, results, "conditions"),
    );
    section
}
