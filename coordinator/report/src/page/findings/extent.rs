//! Where the signal is and how long it lasts, in sentences: size, depth, persistence.

use limbic_proto::axis::{Context, Pooling};

use super::{of_how_many, p_equals, p_words, place_of, sure, tested};
use crate::results::{Comparison, Decay, DepthCurve, Fitted, HalfLife, Persistence, Results, Trend};
use crate::study::Study;
use crate::wording::{Notation, capital, decay as decay_words, layer, list};

/// The trend with size under the headline's condition, and where else it is clear.
pub fn trend(study: &Study, results: &Results, curve: &DepthCurve, notation: Notation) -> Option<String> {
    let of = |alone: bool| results.trends.iter().filter(move |t| t.what == "best layer" && t.family.is_some() == alone);
    let best: Vec<&Trend> = of(false).collect();
    let here = best.iter().find(|t| t.condition == Some(curve.place.condition))?;
    let models = here.models;
    let (direction, rises) = match (here.sure(), here.over_rows(), here.slope.value > 0.0) {
        (true, _, true) => ("Larger models carry more".to_owned(), ""),
        (true, _, false) => ("Larger models carry less".to_owned(), ""),
        (false, true, more) => {
            let how = if more { "more" } else { "less" };
            (format!("Of these {models} models larger ones carry {how}"), ", which doesn't show that models of other makes would")
        }
        (false, false, _) => ("No clear trend with size".to_owned(), ""),
    };
    let name = |t: &Trend| study.condition_name(t.condition).to_owned();
    let place = if study.conditions.len() > 1 { format!(" ({})", name(here)) } else { String::new() };
    let elsewhere: Vec<String> = best
        .iter()
        .filter(|t| t.condition != here.condition && t.sure())
        .map(|t| format!("{} ({})", notation.points(t.slope), name(t)))
        .collect();
    let elsewhere = match elsewhere.as_slice() {
        [] => String::new(),
        [one] => format!(" Under another condition the slope is clear: {one}."),
        all => format!(" Under other conditions the slope is clear: {}.", list(all)),
    };
    let families: Vec<String> = of(true)
        .filter(|t| t.condition == here.condition)
        .map(|t| format!("{} in the {} of {}", notation.points(t.slope), t.models, t.family.as_deref().unwrap_or("")))
        .collect();
    let families = if families.is_empty() { String::new() } else { format!("; by family it is {}", list(&families)) };
    let what = if results.measure.share { format!("points of {}", results.measure.words) } else { format!("of {}", results.measure.words) };
    let over_rows = if here.slope.lo.is_some() { format!(", over test rows with these {models} models held fixed") } else { String::new() };
    let over_models = here.over_models.map_or_else(String::new, |(lo, hi)| {
        format!("; over models {} to {} (t, {})", notation.difference(lo), notation.difference(hi), counted_freedom(models))
    });
    let whose = whose(results);
    Some(format!(
        "{direction}{place}: {} {what}{whose} per tenfold parameters{over_rows}{over_models}{rises}{families}.{elsewhere}",
        notation.points(here.slope),
    ))
}

/// ` of the logistic probe`, where there are several probes.
fn whose(results: &Results) -> String {
    if results.several() { format!(" of {}", results.the_probe()) } else { String::new() }
}

fn counted_freedom(models: usize) -> String {
    let freedom = models - 2;
    format!("{freedom} degree{} of freedom", if freedom == 1 { "" } else { "s" })
}

/// Whether a curve has a signal, at the layer that stands for it: beside the majority baseline, corrected, where they were compared, else
/// by its interval. None where nothing is tested.
pub fn signal(study: &Study, results: &Results, curve: &DepthCurve) -> Option<bool> {
    let named = format!("{},", results.named(&curve.probe, Some(curve.pooling)));
    let ours = |c: &&Comparison| {
        // Another probe's signal is none of this one's.
        let here = c.model == curve.place.model && c.condition == Some(curve.place.condition) && c.subject.starts_with(&named);
        c.family == "baselines" && c.against == "majority" && here && c.p_holm.is_some()
    };
    match results.comparisons.iter().find(ours) {
        Some(c) => Some(sure(study, c) && c.difference.value > 0.0),
        None => curve.shown().score.lo.map(|lo| lo > results.measure.floor),
    }
}

/// Where the peak lies.
pub fn depth(study: &Study, results: &Results, curve: &DepthCurve, notation: Notation) -> Option<String> {
    let trained = |c: &&DepthCurve| study.models[c.place.model].random_weights.is_none();
    // Nothing peaks without a signal.
    let peaks = |c: &&DepthCurve| signal(study, results, c) != Some(false);
    let here = results.depth.iter().filter(trained).filter(|c| c.place.condition == curve.place.condition && c.points.len() > 2);
    let same: Vec<&DepthCurve> = here.filter(|c| c.place == curve.place || peaks(c)).collect();
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
    let first = &curve.points[0];
    if first.layer == last.layer {
        return None;
    }
    if !peaks(&curve) {
        return Some(format!(
            "In {} {}{} is not clearly above {}, so where it peaks says nothing.",
            place_of(study, curve.place),
            results.measure.words,
            whose(results),
            results.measure.the_level(),
        ));
    }
    // Not "rises from layer 4 to layer 4".
    let rise = if first.layer == top.layer {
        format!("is highest at the first measured layer, {} ({})", layer(top.layer), notation.value(top.score.value))
    } else {
        format!(
            "rises from {} at layer {} to {} at layer {}",
            notation.value(first.score.value),
            // Behind a chat template that token is the same in every prompt.
            layer(first.layer).replace(
                "(embeddings)",
                if curve.pooling == Pooling::Last.as_str() { "(the last token's embedding)" } else { "(embeddings)" }
            ),
            notation.value(top.score.value),
            layer(top.layer)
        )
    };
    let fall = if last.layer == top.layer {
        "and is highest at the last measured layer".to_owned()
    } else if notation.value(last.score.value) == notation.value(top.score.value) {
        "and is as high at the last measured layer".to_owned()
    } else {
        format!(
            "and falls by {}{} to the last measured layer ({})",
            notation.difference(top.score.value - last.score.value).replace('+', ""),
            notation.of_difference(),
            notation.value(last.score.value)
        )
    };
    let good = curve.points.iter().filter(|p| p.as_good() == Some(true)).count();
    let alike = if good > 1 { format!(" {good} of its {} layers can't be told from the best.", curve.points.len()) } else { String::new() };
    let shown = curve.shown().layer;
    let apart = if curve.chosen.on_validation() && shown != top.layer {
        format!(
            " That is the highest score on test rows; what stands for the probe is layer {}, chosen on validation rows, so that its score ({}) isn't flattered.",
            layer(shown),
            notation.value(curve.shown().score.value)
        )
    } else {
        String::new()
    };
    // Of scores that nothing is known of it is where the highest one happens to be.
    let peaks = if signal(study, results, curve).is_some() { "peaks" } else { "is highest, which isn't tested," };
    Some(format!(
        "{}{} {peaks} {place} of the depth{}; in {} it {rise} {fall}.{apart}{alike}",
        capital(results.measure.words),
        whose(results),
        if study.conditions.len() > 1 { format!(" under {}", study.conditions[curve.place.condition].name) } else { String::new() },
        study.models[curve.place.model].name,
    ))
}

/// How long the signal lasts, overall and per class.
pub fn persistence(study: &Study, results: &Results, curve: &DepthCurve, notation: Notation) -> Vec<String> {
    let mut out = Vec::new();
    let Some(p) = results.persistence.iter().find(|p| p.place == curve.place).or(results.persistence.first()) else { return out };
    if let Some(d) = p.decay(&curve.probe, Context::Full, None)
        && let (Some(first), Some(last), Some(majority)) = (d.points.first(), d.points.last(), d.to_majority())
    {
        let towards = d.shown().filter_map(|f| Some((f.towards?, f)));
        let beyond: Vec<String> = towards.map(|(c, f)| lead(d, c, f, notation)).collect();
        let beyond = if beyond.is_empty() { String::new() } else { format!("; {}", list(&beyond)) };
        // Replies end, and what is left at the last offset may be few rows.
        let rows = |n: usize| if first.1.n == last.1.n { String::new() } else { format!(" ({})", crate::wording::counted(n, "row")) };
        out.push(format!(
            "In {} (layer {}) {}{} goes from {} at offset {}{} to {} at offset {}{}; half-life: {}{beyond}{}.",
            place_of(study, p.place),
            layer(p.layer),
            results.measure.words,
            whose(results),
            notation.value(first.1.value),
            first.0,
            rows(first.1.n),
            notation.value(last.1.value),
            last.0,
            rows(last.1.n),
            decay_words(majority),
            elsewhere(study, results, p, &curve.probe),
        ));
    }
    out.extend(crate::page::persistence::widest(study, results));
    out.extend(carried(study, results, p, curve, notation));
    out.extend(classes(study, p, &curve.probe));
    out
}

/// `4.1 tokens beyond the masked-prompt control, which goes from 14.3% to 21.9% itself`: a lead that is lost because the control rises is
/// no signal that is lost.
fn lead(d: &Decay, control: Context, fit: &Fitted, notation: Notation) -> String {
    let words = format!("{} beyond the {} control", decay_words(fit), control.as_str());
    let (Some(from), Some(to)) = (fit.floor.first(), fit.floor.last()) else { return words };
    let why = if d.overtaken(fit) { ": more of the lead goes by its rise than by a loss of the signal" } else { "" };
    format!("{words}, which goes from {} to {} itself{why}", notation.value(*from), notation.value(*to))
}

/// `; under other conditions the half-life is 3.1 tokens (thinking)`: how long the same model's signal lasts there, by the same fits.
fn elsewhere(study: &Study, results: &Results, p: &Persistence, probe: &str) -> String {
    let others = results.persistence.iter().filter(|o| o.place.model == p.place.model && o.place.condition != p.place.condition);
    let towards = p.towards(probe);
    let said = |o: &Persistence| {
        let fit = o.decay(probe, Context::Full, None)?.to(towards).filter(|fit| fit.half_life.lasts())?;
        Some(format!("{} ({})", decay_words(fit), study.conditions[o.place.condition].name))
    };
    let said: Vec<String> = others.filter_map(said).collect();
    let beyond = towards.map_or_else(String::new, |control| format!(" beyond the {} control", control.as_str()));
    if said.is_empty() { String::new() } else { format!("; under other conditions the half-life{beyond} is {}", list(&said)) }
}

/// Whether the probe of offset 0 still reads the signal later on.
fn carried(study: &Study, results: &Results, p: &Persistence, curve: &DepthCurve, notation: Notation) -> Option<String> {
    let at = p.carried(&curve.probe)?;
    let ours = |c: &&Comparison| c.family == "carried" && c.model == p.place.model && c.condition == Some(p.place.condition);
    let c = results.comparisons.iter().find(ours)?;
    let relation = match (sure(study, c), c.difference.value > 0.0) {
        (true, true) => "reads more than",
        (true, false) => "reads less than",
        (false, _) if tested(&[c]) => "can't be told from",
        (false, _) => "isn't tested against",
    };
    Some(format!(
        "The probe of offset 0, used unchanged at offset {at}, {relation} one fitted there: {} against {} on the same rows, a difference of {}{}, p {}{} ({}, {}).",
        notation.value(c.subject_score),
        notation.value(c.against_score),
        notation.points(c.difference),
        notation.of_difference(),
        p_words(c),
        of_how_many(&[c]),
        study.models[p.place.model].name,
        study.conditions[p.place.condition].name,
    ))
}

/// Whether the class of the longest half-life outlasts that of the shortest.
fn classes(study: &Study, p: &Persistence, probe: &str) -> Option<String> {
    let all: Vec<(&Decay, &Fitted)> = (0..study.classes.len())
        .filter_map(|class| p.decay(probe, Context::Full, Some(class)))
        .filter_map(|decay| Some((decay, p.of_class(decay)?)))
        .collect();
    let extremes = p.extremes?;
    let name = |d: &Decay| d.class.map_or("", |c| &*study.classes[c]);
    let words = |class: usize| {
        let (decay, fit) = all.iter().find(|(d, _)| d.class == Some(class)).expect("it has a half-life");
        format!("{} ({})", name(decay), decay_words(fit))
    };
    let beyond = p.towards(probe).map_or_else(String::new, |control| format!(", beyond the {} control", control.as_str()));
    let place = format!("{}, {}{beyond}", study.models[p.place.model].name, study.conditions[p.place.condition].name);
    let named = |which: &dyn Fn(&Decay, &Fitted) -> bool| -> Vec<String> {
        all.iter().filter(|(d, f)| which(d, f)).map(|(d, _)| name(d).to_owned()).collect()
    };
    let unreached = |f: &Fitted| matches!(f.half_life, HalfLife::NotReached { .. });
    let last_too = all.iter().any(|(d, f)| d.class == Some(extremes.longest) && unreached(f));
    let as_long = named(&|d, f| last_too && unreached(f) && ![Some(extremes.longest), Some(extremes.shortest)].contains(&d.class));
    let later = named(&|_, f| f.half_life == HalfLife::NoSignal && f.later);
    let otherwise = named(&|_, f| f.half_life.lasts() && f.poor());
    let lasting = all.iter().filter(|(_, f)| f.half_life.lasts() && !f.poor()).count();
    let mut others = if as_long.is_empty() { String::new() } else { format!(" Nor is the half-life of {} reached.", list(&as_long)) };
    if !later.is_empty() {
        others += &format!(
            " {} begin{} without a clear signal and ha{} one later, so that there is no half-life to compare.",
            capital(&list(&later)),
            if later.len() == 1 { "s" } else { "" },
            if later.len() == 1 { "s" } else { "ve" }
        );
    }
    if !otherwise.is_empty() {
        others += &format!(
            " {} do{} something else than to decay exponentially, and {} left out.",
            capital(&list(&otherwise)),
            if otherwise.len() == 1 { "es" } else { "" },
            if otherwise.len() == 1 { "is" } else { "are" }
        );
    }
    let without = study.classes.len() - lasting - later.len() - otherwise.len();
    if without > 0 {
        others += &format!(" For {without} of the {} classes there is no half-life to compare.", study.classes.len());
    }
    let pairs = if lasting > 2 { format!(" over all pairs of {lasting} classes") } else { String::new() };
    let tested = extremes.p.map_or_else(|| ", not tested".to_owned(), |p| format!(", p {}{pairs}", p_equals(Some(p))));
    let (longest, shortest) = (words(extremes.longest), words(extremes.shortest));
    Some(if extremes.p.is_some_and(|p| p < 1.0 - study.options.confidence) {
        format!(
            "{} outlasts {shortest} ({place}): the longest and the shortest half-life{tested}; of the classes between them nothing is said.{others}",
            capital(&longest),
        )
    } else {
        format!(
            "No class clearly outlasts another ({place}): the longest half-life is that of {longest}, the shortest that of {shortest}{tested}.{others}"
        )
    })
}
