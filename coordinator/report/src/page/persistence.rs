//! The section about how long the signal lasts.

use limbic_proto::axis::Context;

use super::comparisons::{self, of_what};
use super::section::{Cell, DASH, Section, dash};
use crate::figures::Figure;
use crate::results::{Choice, Decay, Estimate, Fitted, HalfLife, Persistence, Results};
use crate::study::Study;
use crate::wording::{Notation, count, decay, half_lives as of_seeds, layer, list};

/// How long it lasts; none where one offset was measured.
pub fn persistence(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    if results.persistence.is_empty() {
        return None;
    }
    let mut section = Section::new("persistence", "Persistence");
    let controls: Vec<Context> = [Context::MaskedPrompt, Context::ShuffledReply, Context::Filler]
        .into_iter()
        .filter(|context| results.persistence.iter().any(|p| p.grids.iter().any(|g| g.context == *context)))
        .collect();
    section.say("For how long after the prompt is it still there?");
    if results.several() {
        section.say(format!("Where no other probe is named, numbers are of the {} probe.", results.probe.as_deref().unwrap_or_default()));
    }
    section.say(chosen(results));
    for context in &controls {
        section.say(match context {
            Context::MaskedPrompt => "Masked prompt: the continuation encoded again alone, which tells what the reply itself carries from what is read back out of the prompt.",
            Context::ShuffledReply => "Shuffled reply: the prompt followed by another row's reply, which tells what the prompt carries forward whatever is said.",
            _ => "Filler: the prompt followed by one fixed text.",
        });
    }
    if !controls.is_empty() {
        section.say("Half-lives beyond a control are of the lead over it: the difference between the probe's score and the control's at the same offset, on the same rows. They are fitted from the first offset after the prompt on, because before a reply has begun it can't be encoded without its prompt, or be another one; tokens are counted from there.");
    }
    if controls.is_empty() {
        section.say("No control was run, so what persists can't be told from what is read back out of the prompt.");
    }
    if let Some(sentence) = sampled(study) {
        section.say(sentence);
        section.say("Intervals are over test rows, with these replies; from the lowest to the highest seed (bars) is how far another draw of the replies moves a number.");
        section.lead.extend(widest(study, results));
    }
    let shortest = results.persistence.iter().flat_map(|p| &p.decays).filter(|d| d.class.is_none());
    let fewest = shortest.flat_map(|d| d.points.iter().map(|p| (p.1.n, p.0))).min();
    if let Some((n, offset)) = fewest.filter(|(n, _)| *n < results.rows) {
        section.say(format!(
            "Replies end: only {} of {} test rows reach offset {offset}, so late offsets rest on rows with longer replies.",
            count(n as u64),
            count(results.rows as u64)
        ));
    }
    for figure in ["persistence-curves", "persistence-conditions", "persistence-heat", "persistence-classes", "half-life"] {
        section.figure(figures, figure);
    }
    half_lives(study, results, &controls, &mut section);
    seeds(study, results, !controls.is_empty(), &mut section);
    section.table(
        format!(
            "Full context minus each control at the last offset that both have, paired, {}; {}",
            of_what(results),
            comparisons::note_of(results, "contexts")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "contexts"),
    );
    section.table(
        format!(
            "The probe of offset 0 minus the one fitted there, at the last offset that both have, full context, paired, {}; {}",
            of_what(results),
            comparisons::note_of(results, "carried")
        ),
        comparisons::COLUMNS,
        comparisons::rows(study, results, "carried"),
    );
    Some(section)
}

/// How the layers of the curves were chosen.
fn chosen(results: &Results) -> String {
    let measure = results.measure.words;
    let by = match results.persistence.iter().map(|p| p.chosen).max() {
        Some(Choice::ValidationMeasure) => format!("by {measure} on validation rows"),
        Some(Choice::ValidationLoss) => format!("by loss on validation rows where a fit doesn't tell its {measure} there"),
        _ => format!("by {measure} on test rows, which flatters it: at no offset does every layer have validation rows to choose by"),
    };
    format!("Curves are at the layer that is best on average over offsets, {by}.")
}

/// What numbers beyond the prompt are where replies were drawn with several seeds; none elsewhere.
pub fn sampled(study: &Study) -> Option<String> {
    let seeds: Vec<String> = study.sampling_seeds().iter().map(u64::to_string).collect();
    let n = seeds.len();
    let fewer = if study.progress.finished() { "" } else { ", or over those that are computed" };
    (n > 1).then(|| {
        format!(
            "Every prompt has {n} sampled replies, of the seeds {}: what is read of a reply is the mean over them{fewer}.",
            list(&seeds)
        )
    })
}

/// Where the main curves differ most between sampling seeds, in words; none where there are not several.
pub fn widest(study: &Study, results: &Results) -> Option<String> {
    let notation = Notation::of(&results.measure);
    let primary = results.probe.as_deref()?;
    let curves = results.persistence.iter().filter_map(|p| Some((p, p.decay(primary, Context::Full, None)?)));
    let spreads = curves.flat_map(|(p, d)| d.spreads().map(move |(k, spread)| (p, k, spread)));
    let (p, offset, spread) = spreads.max_by(|a, b| a.2.width().total_cmp(&b.2.width()))?;
    Some(format!(
        "Between the {} sampling seeds {} differs by {}{} at most: {} at offset {offset} in {}, {}.",
        spread.seeds,
        results.measure.words,
        notation.difference(spread.width()).replace('+', ""),
        notation.of_difference(),
        notation.spread(spread),
        study.models[p.place.model].name,
        study.conditions[p.place.condition].name,
    ))
}

/// The head of half-lives towards what there is without any signal.
fn to_floor(results: &Results) -> String {
    format!("#half-life to {}", results.measure.level())
}

/// How far every curve depends on the sampling seed; where it is `controlled`, with its lead over a control.
fn seeds(study: &Study, results: &Results, controlled: bool, section: &mut Section) {
    let notation = Notation::of(&results.measure);
    let curves = results.persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_none()).map(move |d| (p, d)));
    let row = |(p, d): (&Persistence, &Decay)| -> Option<Vec<Cell>> {
        let widest = d.spreads().max_by(|a, b| a.1.width().total_cmp(&b.1.width()))?;
        let last = d.spreads().last()?;
        let half_lives = |towards: Option<Context>| match d.to(towards).map(|f| f.of_seeds.as_slice()) {
            None | Some([]) => dash(),
            Some(all) => of_seeds(all).into(),
        };
        let lead = d.main().and_then(|f| f.towards);
        let named = |k: u32, s: crate::results::Spread| Cell::sorted(format!("{} at {k}", notation.spread(s)), s.width());
        let mut row = vec![
            study.models[p.place.model].name.clone().into(),
            study.conditions[p.place.condition].name.clone().into(),
            format!("{}, layer {}", curve(d), layer(p.layer)).into(),
            widest.1.seeds.to_string().into(),
            named(widest.0, widest.1),
            named(last.0, last.1),
            half_lives(None),
        ];
        row.extend(controlled.then(|| if lead.is_some() { half_lives(lead) } else { dash() }));
        Some(row)
    };
    let to_floor = to_floor(results);
    let mut columns = vec!["model", "condition", "curve", "#seeds", "#widest", "#last offset", to_floor.as_str()];
    columns.extend(controlled.then_some("#half-life of the lead"));
    section.table(
        format!("Between sampling seeds: {} from the lowest to the highest seed, with the standard deviation, and the half-life of each seed's own curve", results.measure.words),
        &columns,
        curves.filter_map(row).collect(),
    );
}

/// Half-lives of every curve, and per class of the main one.
fn half_lives(study: &Study, results: &Results, controls: &[Context], section: &mut Section) {
    let notation = Notation::of(&results.measure);
    let primary = results.probe.as_deref().unwrap_or("");
    let (mut whole, mut per_class) = (Vec::new(), Vec::new());
    // The offset-aware probe is the one that is made for it, whichever is the main one.
    let per_class_of = |d: &Decay| (d.probe == primary || d.probe == "offset-mlp") && !d.transferred && d.context == Context::Full;
    let all = results.persistence.iter().flat_map(|p| &p.decays).filter(|d| d.class.is_some() && per_class_of(d));
    let several = all.clone().any(|d| d.probe != primary) && all.clone().any(|d| d.probe == primary);
    for p in &results.persistence {
        for d in &p.decays {
            match d.class {
                None => whole.push(row(study, p, d, controls, notation, &curve(d))),
                Some(class) if per_class_of(d) => {
                    let mut row = row(study, p, d, controls, notation, &study.classes[class]);
                    if several {
                        row.insert(2, d.probe.clone().into());
                    }
                    per_class.push(row);
                }
                Some(_) => {}
            }
        }
    }
    let towards: Vec<String> = controls.iter().map(|c| format!("#to {}", c.as_str())).collect();
    let to_floor = to_floor(results);
    let columns = |third, to_floor| {
        let mut columns = vec!["model", "condition", third, "#first offset", "#last offset", "#kept", to_floor];
        columns.extend(towards.iter().map(String::as_str));
        columns
    };
    let decays = || results.persistence.iter().flat_map(|p| &p.decays);
    let kept = if decays().any(|d| d.to_majority().is_some_and(|f| f.retained.is_some())) {
        "; kept: share of the first offset's signal that is left at the last that enough rows reach, whatever lies between them"
    } else {
        ""
    };
    let lead = if controls.is_empty() { "" } else { ", and of its lead over each control at the same offset" };
    let poor = if decays().any(|d| d.shown().any(Fitted::poor)) {
        "; fit off: offsets at which the fitted curve lies outside the interval of what was measured, so that the half-life is of a curve that isn't exponential, and says little"
    } else {
        ""
    };
    section.table(
        format!(
            "Half-life of {}, by a decay towards {} on the rows of each offset{lead}{kept}{poor}",
            results.measure.words,
            results.measure.the_level()
        ),
        &columns("curve", to_floor.as_str()),
        whole,
    );
    let title = match several {
        true => format!(
            "Half-life of each class's {}, full context: of the {primary} probe fitted at each offset, and of the offset-aware one",
            results.measure.of_class
        ),
        false => format!("Half-life of each class's {}, the probe fitted at each offset, full context", results.measure.of_class),
    };
    // Informedness and correlations of a class say nothing at zero.
    let zero = results.measure.class_floors.iter().all(|floor| *floor == 0.0);
    let mut columns = columns("class", if zero { "#half-life to zero" } else { to_floor.as_str() });
    if several {
        columns.insert(2, "probe");
    }
    section.table(title, &columns, per_class);
}

/// What a curve is: `logistic, layer 4`, `logistic of offset 0, masked-prompt`.
fn curve(d: &Decay) -> String {
    let context = if d.context == Context::Full { String::new() } else { format!(", {}", d.context.as_str()) };
    format!("{}{}{context}", d.probe, if d.transferred { " of offset 0" } else { "" })
}

fn row(study: &Study, p: &Persistence, d: &Decay, controls: &[Context], notation: Notation, name: &str) -> Vec<Cell> {
    let end = |point: Option<&(u32, Estimate)>| point.map_or_else(|| DASH.to_owned(), |(k, e)| format!("{} at {k}", notation.estimate(*e)));
    let said = |f: Option<&Fitted>| match f {
        None => dash(),
        Some(f) => Cell::sorted(decay(f), tokens(&f.half_life)),
    };
    let majority = d.to_majority();
    // Offsets that few rows reach are in no decay.
    let last = d.points.last().map(|point| point.0);
    let until = |f: &Fitted| f.offsets.last().copied().filter(|offset| Some(*offset) != last);
    let kept = majority.and_then(|f| {
        let at = until(f).map_or_else(String::new, |offset| format!(" at {offset}"));
        Some(Notation::Share.estimate(f.retained?) + &at)
    });
    let kept = kept.unwrap_or_else(|| DASH.to_owned());
    let mut row: Vec<Cell> = vec![
        study.models[p.place.model].name.clone().into(),
        study.conditions[p.place.condition].name.clone().into(),
        if d.class.is_none() { format!("{name}, layer {}", layer(p.layer)).into() } else { name.into() },
        end(d.points.first()).into(),
        end(d.points.last()).into(),
        kept.into(),
        said(majority),
    ];
    row.extend(controls.iter().map(|c| said(d.shown().find(|f| f.towards == Some(*c)))));
    row
}

/// What half-lives are sorted by: those beyond the offsets last, those without signal first.
fn tokens(h: &HalfLife) -> f64 {
    match h {
        HalfLife::Reached { tokens, .. } | HalfLife::Sooner { than: tokens, .. } => *tokens,
        HalfLife::NotReached { .. } => 1e9,
        HalfLife::NoSignal => -1.0,
        HalfLife::TooFew | HalfLife::TooFewRows => f64::NAN,
    }
}
