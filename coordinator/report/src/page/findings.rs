//! "What this shows": the key figures and the sentences, computed from the numbers.

use limbic_proto::axis::Context;

use super::Card;
use crate::figures::shown_condition;
use crate::results::{Comparison, Decay, DepthCurve, HalfLife, Persistence, Results, Trend};
use crate::study::Study;
use crate::wording::{estimate, half_life, layer, list, p_value, percent, points, signed};

/// The curve whose representative layer is best: on validation where possible, else on test.
fn headline(results: &Results) -> Option<&DepthCurve> {
    let by_validation = results.depth.iter().all(|c| c.points[c.best].validation_log_loss.is_some());
    let score = |c: &DepthCurve| {
        let point = &c.points[c.best];
        if by_validation { point.validation_log_loss.map_or(f64::NEG_INFINITY, |l| -l) } else { point.accuracy.value }
    };
    results.depth.iter().reduce(|best, c| if score(c) > score(best) { c } else { best })
}

fn overall(p: &Persistence, context: Context) -> Option<&Decay> {
    p.decays.iter().find(|d| d.context == context && d.class.is_none())
}

fn where_is(study: &Study, curve: &DepthCurve) -> String {
    let condition = if study.conditions.len() > 1 { format!(", {}", study.conditions[curve.place.condition].name) } else { String::new() };
    format!("{}, layer {}{condition}", study.models[curve.place.model].name, layer(curve.points[curve.best].layer))
}

/// Up to four key figures.
pub fn cards(study: &Study, results: &Results) -> Vec<Card> {
    let mut cards = Vec::new();
    let mut card = |value: String, label: &str, note: String| cards.push(Card { value, label: label.to_owned(), note });
    if let Some(curve) = headline(results) {
        let best = &curve.points[curve.best];
        card(percent(best.accuracy.value), "best probe accuracy", where_is(study, curve));
        let against =
            |name: &str| results.comparisons.iter().find(|c| c.family == "baselines" && c.model == curve.place.model && c.against == name);
        if let Some(c) = against("bag-of-words").or_else(|| against("majority")) {
            card(
                format!("{} pts", signed(c.difference.value * 100.0)),
                &format!("against {}", c.against),
                format!("{}, p\u{a0}{}", interval(c), p_words(c).replace(' ', "\u{a0}")),
            );
        }
        let peak = &curve.peak;
        let note = if peak.from == peak.to {
            format!("layer {}", layer(peak.layer))
        } else {
            format!("layer {}, interval {} to {}", layer(peak.layer), layer(peak.from), layer(peak.to))
        };
        if curve.points.len() > 1 {
            card(format!("{:.0}%", peak.depth.value * 100.0), "depth of the peak", note);
        }
        if let Some(p) = results.persistence.iter().find(|p| p.place == curve.place)
            && let Some(d) = overall(p, Context::Full)
        {
            let within = *p.offsets.last().unwrap_or(&0);
            let words = half_life(&d.half_life, within);
            let (value, note) = words.split_once(" [").unwrap_or((&words, ""));
            let note =
                if note.is_empty() { String::new() } else { format!("interval {}", note.trim_end_matches(']').replace(", ", " to ")) };
            let value = match d.half_life {
                HalfLife::NotReached { within, .. } => format!("> {within} tokens"),
                HalfLife::Reached { .. } => value.to_owned(),
                HalfLife::NoSignal | HalfLife::TooFew => "–".to_owned(),
            };
            card(value, "half-life of the signal", note);
        }
    }
    cards
}

fn interval(c: &Comparison) -> String {
    match (c.difference.lo, c.difference.hi) {
        (Some(lo), Some(hi)) => format!("{} to {}", signed(lo * 100.0), signed(hi * 100.0)),
        _ => "no interval".to_owned(),
    }
}

fn p_words(c: &Comparison) -> String {
    let words = p_value(c.p_holm);
    match c.p_holm {
        None => "not known".to_owned(),
        Some(_) if words.starts_with('<') => words,
        Some(_) => format!("= {words}"),
    }
}

/// One sentence per question that the study can answer.
pub fn sentences(study: &Study, results: &Results) -> Vec<String> {
    let mut out = Vec::new();
    let Some(curve) = headline(results) else {
        out.push("No probe has been fitted yet, so nothing can be said about the models' states.".to_owned());
        return out;
    };
    let best = &curve.points[curve.best];
    let chosen = if curve.chosen_on_validation {
        "chosen on validation rows"
    } else {
        "chosen on the test rows themselves, so its accuracy is flattered"
    };
    out.push(format!(
        "A {} probe tells the {} classes apart best in {}: {} of the test rows are right, against {} for the majority class (layer {chosen}).",
        curve.probe,
        study.classes.len(),
        where_is(study, curve),
        estimate(best.accuracy),
        percent(results.floor),
    ));
    for name in ["bag-of-words", "zero-shot"] {
        let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == name).collect();
        out.extend(against(study, name, &found));
    }
    out.extend(trend(study, results, curve));
    out.extend(depth(study, results, curve));
    out.extend(persistence(study, results, curve));
    out.extend(conditions(study, results));
    out
}

fn against(study: &Study, name: &str, found: &[&Comparison]) -> Option<String> {
    let sure = |c: &&&Comparison| c.p_holm.is_some_and(|p| p < 1.0 - study.options.confidence);
    let better = found.iter().filter(sure).filter(|c| c.difference.value > 0.0).count();
    let worse = found.iter().filter(sure).filter(|c| c.difference.value < 0.0).count();
    let extreme = |a: &&&Comparison, b: &&&Comparison| a.difference.value.total_cmp(&b.difference.value);
    let (low, high) = (found.iter().min_by(extreme)?, found.iter().max_by(extreme)?);
    let what = match (found.len(), better, worse) {
        (1, 1, 0) => format!("It beats {name}"),
        (1, 0, 1) => format!("{} beats it", capital(name)),
        (1, ..) => format!("It can't be told from {name}"),
        (n, b, 0) if b == n => format!("In all {n} models the probe beats {name}"),
        (n, 0, w) if w == n => format!("In all {n} models {name} beats the probe"),
        (n, 0, 0) => format!("The probe can't be told from {name} in any of {n} models"),
        (n, b, w) => {
            let parts = [(b, "beats"), (w, "loses to"), (n - b - w, "can't be told from")];
            let parts: Vec<String> = parts.iter().filter(|p| p.0 > 0).map(|(k, verb)| format!("{verb} it in {k}")).collect();
            format!("Against {name} in {n} models, the probe {}", list(&parts))
        }
    };
    let numbers = if found.len() == 1 {
        format!("by {} points (p {})", points(low.difference), p_words(low))
    } else {
        format!(
            "differences run from {} ({}) to {} ({}) points",
            points(low.difference),
            study.models[low.model].name,
            points(high.difference),
            study.models[high.model].name
        )
    };
    Some(match (found.len(), better + worse) {
        (1, 1) => format!("{what} {numbers}."),
        (1, _) => format!("{what}: the difference is {} points (p {}).", points(low.difference), p_words(low)),
        _ => format!("{what}; {numbers}."),
    })
}

/// The trend with size under the headline's condition, and where else it is clear.
fn trend(study: &Study, results: &Results, curve: &DepthCurve) -> Option<String> {
    let best: Vec<&Trend> = results.trends.iter().filter(|t| t.what == "best layer").collect();
    let here = best.iter().find(|t| t.condition == Some(curve.place.condition))?;
    let sure = |t: &Trend| t.slope.lo.is_some_and(|lo| lo > 0.0) || t.slope.hi.is_some_and(|hi| hi < 0.0);
    let direction = match (sure(here), here.slope.value > 0.0) {
        (true, true) => "Larger models carry more",
        (true, false) => "Larger models carry less",
        (false, _) => "No clear trend with size",
    };
    let name = |t: &Trend| study.condition_name(t.condition).to_owned();
    let place = if study.conditions.len() > 1 { format!(" ({})", name(here)) } else { String::new() };
    let elsewhere: Vec<String> = best
        .iter()
        .filter(|t| t.condition != here.condition && sure(t))
        .map(|t| format!("under {} it is {}", name(t), points(t.slope)))
        .collect();
    let elsewhere = if elsewhere.is_empty() { String::new() } else { format!("; {}", list(&elsewhere)) };
    Some(format!(
        "{direction}{place}: {} points of accuracy per tenfold parameters over {} models{elsewhere}.",
        points(here.slope),
        here.models
    ))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn depth(study: &Study, results: &Results, curve: &DepthCurve) -> Option<String> {
    let same: Vec<&DepthCurve> =
        results.depth.iter().filter(|c| c.place.condition == curve.place.condition && c.points.len() > 2).collect();
    let (low, high) = same.iter().map(|c| c.peak.depth.value).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
    if same.is_empty() {
        return None;
    }
    let place = if high - low < 0.005 {
        format!("at {:.0}%", high * 100.0)
    } else {
        format!("between {:.0}% and {:.0}%", low * 100.0, high * 100.0)
    };
    let last = &curve.points[curve.points.len() - 1];
    let top = curve.points.iter().find(|p| p.layer == curve.peak.layer)?;
    let fall = if last.layer == top.layer {
        "and is highest at the last measured layer".to_owned()
    } else {
        format!(
            "and falls by {:.1} points to the last measured layer ({})",
            (top.accuracy.value - last.accuracy.value) * 100.0,
            percent(last.accuracy.value)
        )
    };
    Some(format!(
        "Accuracy peaks {place} of the depth; in {} it rises from {} at layer {} to {} at layer {} {fall}.",
        study.models[curve.place.model].name,
        percent(curve.points[0].accuracy.value),
        layer(curve.points[0].layer),
        percent(top.accuracy.value),
        layer(top.layer),
    ))
}

fn persistence(study: &Study, results: &Results, curve: &DepthCurve) -> Vec<String> {
    let mut out = Vec::new();
    let Some(p) = results.persistence.iter().find(|p| p.place == curve.place).or(results.persistence.first()) else { return out };
    let within = *p.offsets.last().unwrap_or(&0);
    if let Some(d) = overall(p, Context::Full)
        && let (Some(first), Some(last)) = (d.points.first(), d.points.last())
    {
        let masked = overall(p, Context::MaskedPrompt)
            .map_or_else(String::new, |m| format!("; with the prompt masked: {}", half_life(&m.half_life, within)));
        out.push(format!(
            "In {} (layer {}) accuracy goes from {} at offset {} to {} at offset {}; half-life: {}{masked}.",
            study.models[p.place.model].name,
            layer(p.layer),
            percent(first.1.value),
            first.0,
            percent(last.1.value),
            last.0,
            half_life(&d.half_life, within),
        ));
    }
    let Some(condition) = shown_condition(results) else { return out };
    let p = results.persistence.iter().find(|p| p.place.model == curve.place.model && p.place.condition == condition).unwrap_or(p);
    out.extend(classes(study, p, within));
    out
}

/// Which class lasts longest and which shortest, if their intervals tell them apart.
fn classes(study: &Study, p: &Persistence, within: u32) -> Option<String> {
    // (half-life, lower end, upper end), infinite beyond the measured offsets.
    let mut lasting: Vec<(f64, f64, f64, &Decay)> = Vec::new();
    for d in p.decays.iter().filter(|d| d.context == Context::Full && d.class.is_some()) {
        match d.half_life {
            // Without an interval nothing is told apart from it.
            HalfLife::Reached { tokens, lo, hi } => lasting.push((tokens, lo.unwrap_or(0.0), hi.unwrap_or(f64::INFINITY), d)),
            HalfLife::NotReached { within, lo } => lasting.push((f64::INFINITY, lo.unwrap_or(f64::from(within)), f64::INFINITY, d)),
            HalfLife::NoSignal | HalfLife::TooFew => {}
        }
    }
    lasting.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [shortest, .., longest] = lasting.as_slice() else { return None };
    let words = |d: &Decay| format!("{} ({})", d.class.map_or("", |c| &study.classes[c]), half_life(&d.half_life, within));
    let place = format!("{}, {}", study.models[p.place.model].name, study.conditions[p.place.condition].name);
    Some(if longest.1 > shortest.2 {
        format!("{} lasts longest and {} shortest ({place}).", capital(&words(longest.3)), words(shortest.3))
    } else {
        format!(
            "No class clearly outlasts another ({place}): the intervals of the longest, {}, and the shortest, {}, overlap.",
            words(longest.3),
            words(shortest.3)
        )
    })
}

fn conditions(study: &Study, results: &Results) -> Option<String> {
    let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "conditions").collect();
    let strongest = found.iter().max_by(|a, b| a.difference.value.abs().total_cmp(&b.difference.value.abs()))?;
    let sure = found.iter().filter(|c| c.p_holm.is_some_and(|p| p < 1.0 - study.options.confidence)).count();
    let reference = &study.conditions[0].name;
    let rest = if sure == 0 {
        format!("none of the {} differences from {reference} survives Holm's correction", found.len())
    } else {
        format!("{sure} of {} differences from {reference} survive Holm's correction", found.len())
    };
    Some(format!(
        "Putting the utterance to the model in another way: {rest}; the largest is {} points ({}, {}).",
        points(strongest.difference),
        study.models[strongest.model].name,
        strongest.subject,
    ))
}
