//! "What this shows": the key figures and the sentences, computed from the numbers.

pub mod dominant;
mod extent;
mod malleability;
mod power;

use limbic_proto::axis::Context;
use limbic_proto::rows::{Scheme, Split};

use super::Card;
use crate::evaluate::{Merit, too_few};
use crate::results::{Choice, Comparison, DepthCurve, HalfLife, Place, Results};
use crate::study::Study;
use crate::wording::{Notation, above_its_interval, capital, half_life, layer, list, p_value, percent};

/// Of the curves that stand against the baselines, the best of a trained model.
fn headline<'a>(study: &Study, results: &'a Results) -> Option<&'a DepthCurve> {
    let ours = results.best.iter().filter(|c| study.models[c.place.model].random_weights.is_none());
    let merit = |c: &DepthCurve| Merit::among_probes(c.shown(), study.scheme, results.chosen);
    ours.reduce(|best, c| if merit(c).beats(&merit(best), results.chosen) { c } else { best })
}

/// The main probe's curve at the headline's place, or the first of its model's.
fn main_curve<'a>(results: &'a Results, headline: &'a DepthCurve) -> &'a DepthCurve {
    let here = results.depth.iter().find(|c| c.place == headline.place);
    here.or_else(|| results.depth.iter().find(|c| c.place.model == headline.place.model)).unwrap_or(headline)
}

fn where_is(study: &Study, curve: &DepthCurve) -> String {
    let condition = if study.conditions.len() > 1 { format!(", {}", study.conditions[curve.place.condition].name) } else { String::new() };
    format!("{}, layer {}{condition}", study.models[curve.place.model].name, layer(curve.shown().layer))
}

/// The model, and the condition where there are several.
fn place_of(study: &Study, place: Place) -> String {
    let condition = if study.conditions.len() > 1 { format!(", {}", study.conditions[place.condition].name) } else { String::new() };
    format!("{}{condition}", study.models[place.model].name)
}

/// What of the best probe was chosen, and by what.
fn chosen(study: &Study, results: &Results) -> String {
    let mut what = several(study, results);
    what.push("layer".to_owned());
    let by = match results.chosen {
        Choice::ValidationMeasure => format!("by {} on validation rows", results.measure.words),
        Choice::ValidationLoss => format!("by loss on validation rows, because not all fits tell their {} there", results.measure.words),
        Choice::Test => "on the test rows themselves, so its score is flattered".to_owned(),
    };
    format!("{} chosen {by}{}", list(&what), luckier(study, results))
}

/// How many of the other choices did better on the test rows: with few validation rows many do, and "best" would mislead.
fn luckier(study: &Study, results: &Results) -> String {
    let Some(best) = headline(study, results).filter(|_| results.chosen.on_validation()) else { return String::new() };
    let ours = |c: &&DepthCurve| study.models[c.place.model].random_weights.is_none();
    let all = results.curves.iter().filter(ours);
    let higher = all.clone().filter(|c| c.shown().score.value > best.shown().score.value).count();
    let others = all.count().saturating_sub(1);
    let several = several(study, results);
    let others = match several.as_slice() {
        [] => return String::new(),
        [one] if others == 1 => format!("the other {one}"),
        [one] => format!("the {others} other {one}s"),
        all if others == 1 => format!("the other combination of {}", list(all)),
        all => format!("the {others} other combinations of {}", list(all)),
    };
    let scored = match higher {
        0 => return String::new(),
        1 if others.starts_with("the other ") => format!("{others}, at its own layer, scores"),
        1 => format!("1 of {others}, each at its own layer, scores"),
        n => format!("{n} of {others}, each at its own layer, score"),
    };
    format!("; {scored} higher on the test rows")
}

/// Of what there are several that a best one could be chosen from, beside layers.
fn several(study: &Study, results: &Results) -> Vec<String> {
    let models = study.models.iter().filter(|m| m.random_weights.is_none()).count();
    let all = [("probe", results.kinds()), ("pooling", results.poolings.len()), ("model", models), ("condition", study.conditions.len())];
    all.iter().filter(|s| s.1 > 1).map(|s| s.0.to_owned()).collect()
}

/// Up to four key figures.
pub fn cards(study: &Study, results: &Results) -> Vec<Card> {
    let notation = Notation::of(&results.measure);
    let mut cards = Vec::new();
    let mut card = |value: String, label: &str, note: String| cards.push(Card { value, label: label.to_owned(), note });
    let Some(curve) = headline(study, results) else { return cards };
    let best = curve.shown();
    let named = results.named(&curve.probe, Some(curve.pooling));
    let on = if results.chosen == Choice::Test { "the test rows" } else { "validation rows" };
    let note = format!("{named}, {}, chosen on {on}", where_is(study, curve));
    card(notation.value(best.score.value), &format!("best probe {}", results.measure.words), note);
    let against =
        |name: &str| results.comparisons.iter().find(|c| c.family == "baselines" && c.model == curve.place.model && c.against == name);
    if let Some(c) = against("bag-of-words").or_else(|| against("majority")) {
        let pts = if notation == Notation::Share { " pts" } else { "" };
        card(
            format!("{}{pts}", notation.difference(c.difference.value)),
            &format!("against {}", c.against),
            match c.p_holm {
                None => "not tested".to_owned(),
                Some(_) => format!("{}, p\u{a0}{}{}", interval(notation, c), p_words(c).replace(' ', "\u{a0}"), of_how_many(&[c])),
            },
        );
    }
    let curve = main_curve(results, curve);
    let whose = if results.several() { format!("{}, ", results.main()) } else { String::new() };
    let whose = format!("{whose}{}, ", place_of(study, curve.place));
    let peak = &curve.peak;
    let note = if peak.from == peak.to {
        format!("layer {}", layer(peak.layer))
    } else {
        format!("layer {}, interval {} to {}", layer(peak.layer), layer(peak.from), layer(peak.to))
    };
    if curve.points.len() > 1 && extent::signal(study, results, curve) == Some(true) {
        card(format!("{:.0}%", peak.depth.value * 100.0), "depth of the peak", format!("{whose}{note}"));
    }
    if let Some(p) = results.persistence.iter().find(|p| p.place == curve.place)
        && let Some(decay) = p.decay(&curve.probe, Context::Full, None)
        && let Some(fit) = decay.main()
    {
        let words = half_life(&fit.half_life);
        let (value, note) = words.split_once(" [").unwrap_or((&words, ""));
        let (label, towards) = match fit.towards {
            None => ("half-life of the signal", String::new()),
            Some(c) => ("half-life of the lead", format!("over the {} control", c.as_str())),
        };
        let interval =
            if note.is_empty() { String::new() } else { format!("interval {}", note.trim_end_matches(']').replace(", ", " to ")) };
        let off = if fit.poor() { "no exponential".to_owned() } else { String::new() };
        let note = [format!("{whose}layer {}", layer(p.layer)), interval, towards, off]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join(", ");
        let value = match fit.half_life {
            HalfLife::NotReached { within, .. } => format!("> {within} tokens"),
            HalfLife::Reached { .. } | HalfLife::Sooner { .. } => value.to_owned(),
            HalfLife::NoSignal | HalfLife::TooFew | HalfLife::TooFewRows => "–".to_owned(),
        };
        card(value, label, note);
    }
    cards
}

fn interval(notation: Notation, c: &Comparison) -> String {
    match (c.difference.lo, c.difference.hi) {
        (Some(lo), Some(hi)) => format!("{} to {}", notation.difference(lo), notation.difference(hi)),
        _ => "no interval".to_owned(),
    }
}

fn p_words(c: &Comparison) -> String {
    p_equals(c.p_holm)
}

/// `= 0.031`, `< 0.001`, `not known`.
fn p_equals(p: Option<f64>) -> String {
    let words = p_value(p);
    match p {
        None => "not known".to_owned(),
        Some(_) if words.starts_with('<') => words,
        Some(_) => format!("= {words}"),
    }
}

/// ` (Holm's correction over 12 comparisons)`: how the p-values behind a sentence were corrected; nothing where there was but
/// one.
fn of_how_many(found: &[&Comparison]) -> String {
    match found.iter().map(|c| c.corrected).max() {
        None | Some(0 | 1) => String::new(),
        Some(n) => format!(" (Holm's correction over {} comparisons)", crate::wording::count(n as u64)),
    }
}

/// Whether any of these could be tested: of few rows, or of one group, none can.
fn tested(found: &[&Comparison]) -> bool {
    found.iter().any(|c| c.p_holm.is_some())
}

/// Whether a difference survives Holm's correction.
fn sure(study: &Study, c: &Comparison) -> bool {
    c.p_holm.is_some_and(|p| p < 1.0 - study.options.confidence)
}

/// One sentence per question that the study can answer.
pub fn sentences(study: &Study, results: &Results) -> Vec<String> {
    let notation = Notation::of(&results.measure);
    let mut out = Vec::new();
    let Some(curve) = headline(study, results) else {
        out.push("No probe has been fitted yet, so nothing can be said about the models' states.".to_owned());
        out.extend(written(study, results));
        return out;
    };
    out.extend(too_few(study.test.iter().map(|row| row.group.as_str())));
    let best = curve.shown();
    let (chosen, named) = (chosen(study, results), results.named(&curve.probe, Some(curve.pooling)));
    let floor = beside_the_floor(study, results, curve);
    out.push(if results.measure.name == "accuracy" {
        format!(
            "A probe tells the {} classes apart best in {} ({named}): {} of the test rows are right, against {} for the majority class{floor} ({chosen}).",
            study.classes.len(),
            where_is(study, curve),
            notation.estimate(best.score),
            notation.value(results.measure.floor),
        )
    } else {
        format!(
            "A probe does best in {} ({named}): {} of {}, against {} {}{floor} ({chosen}).",
            where_is(study, curve),
            results.measure.words,
            notation.estimate(best.score),
            notation.value(results.measure.floor),
            if results.measure.name == "map" { "in a random order" } else { "without any signal" },
        )
    });
    out.extend(above_its_interval(&results.measure, std::iter::once(best.score)).map(str::to_owned));
    for name in ["bag-of-words", "mean-embedding", "zero-shot", "zero-shot-json"] {
        let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "baselines" && c.against == name).collect();
        let parts = [against(study, notation, name, &found, best.score.n), dominant::of_baseline(study, results, name)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        out.extend((!parts.is_empty()).then(|| parts.join(" ")));
    }
    out.extend(written(study, results));
    out.extend(controls(study, results, notation));
    let curve = main_curve(results, curve);
    out.extend(extent::trend(study, results, curve, notation));
    out.extend(extent::depth(study, results, curve, notation));
    out.extend(extent::persistence(study, results, curve, notation));
    out.extend(conditions(study, results, notation));
    out.extend(transfer(study, results, notation));
    out.extend(malleability::sentences(study, results));
    out.extend(geometry(study, results, curve));
    out.extend(power::sentence(results, study.options.confidence, notation));
    out
}

/// Whether the best probe can be told from the majority class; nothing where it can, or where they weren't compared.
fn beside_the_floor(study: &Study, results: &Results, curve: &DepthCurve) -> String {
    let ours = |c: &&Comparison| c.family == "baselines" && c.model == curve.place.model && c.against == "majority";
    match results.comparisons.iter().find(ours) {
        Some(c) if !tested(&[c]) => ", against which it isn't tested".to_owned(),
        Some(c) if !sure(study, c) => format!(", from which it can't be told, p {}{}", p_words(c), of_how_many(&[c])),
        _ => String::new(),
    }
}

/// The probe beside one baseline. Of fewer rows than all `rows`, because the baseline answers no others, it says so.
fn against(study: &Study, notation: Notation, name: &str, found: &[&Comparison], rows: usize) -> Option<String> {
    let better = found.iter().filter(|c| sure(study, c) && c.difference.value > 0.0).count();
    let worse = found.iter().filter(|c| sure(study, c) && c.difference.value < 0.0).count();
    let extreme = |a: &&&Comparison, b: &&&Comparison| a.difference.value.total_cmp(&b.difference.value);
    let (low, high) = (found.iter().min_by(extreme)?, found.iter().max_by(extreme)?);
    let on = match found.iter().map(|c| c.difference.n).min()? {
        n if n >= rows => String::new(),
        n if found.len() == 1 => format!(" on the {n} of {rows} rows that it answers"),
        n => format!(" on the rows that it answers (as few as {n} of {rows})"),
    };
    let what = match (found.len(), better, worse) {
        (1, ..) if !tested(found) => format!("It isn't tested against {name}"),
        _ if !tested(found) => format!("The probe isn't tested against {name}"),
        (1, 1, 0) => format!("It beats {name}"),
        (1, 0, 1) => format!("{} beats it", capital(name)),
        (1, ..) => format!("It can't be told from {name}"),
        (n, b, 0) if b == n => format!("In {} the probe beats {name}", all_models(n)),
        (n, 0, w) if w == n => format!("In {} {name} beats the probe", all_models(n)),
        (2, 0, 0) => format!("The probe can't be told from {name} in either model"),
        (n, 0, 0) => format!("The probe can't be told from {name} in any of {n} models"),
        (n, b, w) => {
            let parts = [(b, "beats"), (w, "loses to"), (n - b - w, "can't be told from")];
            let parts: Vec<String> = parts.iter().filter(|p| p.0 > 0).map(|(k, verb)| format!("{verb} it in {k}")).collect();
            format!("Against {name} in {n} models, the probe {}", list(&parts))
        }
    } + &on;
    let corrected = of_how_many(found);
    let numbers = if found.len() == 1 {
        format!("by {}{}, p {}{corrected}", notation.points(low.difference), notation.of_difference(), p_words(low))
    } else {
        format!(
            "differences run from {} ({}) to {} ({}){}",
            notation.points(low.difference),
            study.models[low.model].name,
            notation.points(high.difference),
            study.models[high.model].name,
            notation.of_difference()
        )
    };
    Some(match (found.len(), better) {
        (1, 1) => format!("{what} {numbers}."),
        (1, _) if !tested(found) => format!("{what}: the difference is {}{}.", notation.points(low.difference), notation.of_difference()),
        (1, _) => {
            format!(
                "{what}: the difference is {}{}, p {}{corrected}.",
                notation.points(low.difference),
                notation.of_difference(),
                p_words(low)
            )
        }
        _ => format!("{what}{corrected}; {numbers}."),
    })
}

/// All of so many models.
fn all_models(n: usize) -> String {
    if n == 2 { "both models".to_owned() } else { format!("all {n} models") }
}

/// How many written answers could be read.
fn written(study: &Study, results: &Results) -> Option<String> {
    let coverage = |(model, prediction): (usize, usize)| Some((model, results.score(prediction, "coverage")?.value));
    let found: Vec<(usize, f64)> = results.written(study).into_iter().filter_map(coverage).collect();
    let least = found.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let most = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let name = |m: usize| &study.models[m].name;
    Some(if found.len() == 1 {
        format!("Asked for JSON, {} names a label in {} of its answers.", name(least.0), percent(least.1))
    } else if least.1 == most.1 {
        format!("Asked for JSON, {} name a label in {} of their answers.", all_models(found.len()), percent(least.1))
    } else {
        format!(
            "Asked for JSON, models name a label in {} ({}) to {} ({}) of their answers.",
            percent(least.1),
            name(least.0),
            percent(most.1),
            name(most.0)
        )
    })
}

/// What the controls say: how much the probe reaches without any signal.
fn controls(study: &Study, results: &Results, notation: Notation) -> Vec<String> {
    // In one place the probe that the page speaks of, where it has controls; over several, one probe for all.
    let places = results.depth.iter().filter(|c| study.models[c.place.model].random_weights.is_none()).count();
    let beside = |name: &str| results.comparisons.iter().any(|c| c.family == "controls" && c.subject.starts_with(&format!("{name},")));
    let best = headline(study, results).map(|c| results.named(&c.probe, Some(c.pooling))).filter(|name| places == 1 && beside(name));
    let (it, whose) = match &best {
        Some(_) => ("It".to_owned(), "The probe".to_owned()),
        None if results.several() => (capital(&results.the_probe()), capital(&results.the_probe())),
        None => ("It".to_owned(), "The probe".to_owned()),
    };
    let named = best.unwrap_or_else(|| results.main());
    let mut out = Vec::new();
    for (control, what) in [
        ("shuffled-labels", "the same probe on shuffled labels"),
        ("random-direction", "random directions of the same states"),
        ("random-weights", "the untrained twin at the same layer"),
    ] {
        let ours = |c: &&Comparison| c.family == "controls" && c.against == control && c.subject.starts_with(&format!("{named},"));
        let found: Vec<&Comparison> = results.comparisons.iter().filter(ours).collect();
        let Some(low) = found.iter().min_by(|a, b| a.difference.value.total_cmp(&b.difference.value)) else { continue };
        let high = found.iter().max_by(|a, b| a.difference.value.total_cmp(&b.difference.value)).expect("as many as for the lowest");
        let clear = found.iter().filter(|c| sure(study, c) && c.difference.value > 0.0).count();
        let cells = if found.len() == 1 { "the best cell".to_owned() } else { format!("{clear} of {} cells", found.len()) };
        let place = |c: &Comparison| {
            let condition = if study.conditions.len() > 1 { format!(", {}", study.condition_name(c.condition)) } else { String::new() };
            format!("{}{condition}", study.models[c.model].name)
        };
        let corrected = of_how_many(&found);
        out.push(match (found.len(), clear) {
            (1, 1) => format!("{it} exceeds {what} by {}{}{corrected}.", notation.points(low.difference), notation.of_difference()),
            (1, _) if !tested(&found) => {
                format!(
                    "{it} isn't tested against {what}: the difference is {}{}.",
                    notation.points(low.difference),
                    notation.of_difference()
                )
            }
            (1, _) => format!(
                "{it} does not clearly exceed {what}: the difference is {}{}{corrected}.",
                notation.points(low.difference),
                notation.of_difference()
            ),
            _ => format!(
                "{whose} {}{corrected}; differences run from {} ({}) to {} ({}){}.",
                if tested(&found) { format!("exceeds {what} in {cells}") } else { format!("isn't tested against {what}") },
                notation.points(low.difference),
                place(low),
                notation.points(high.difference),
                place(high),
                notation.of_difference()
            ),
        });
    }
    out
}

fn conditions(study: &Study, results: &Results, notation: Notation) -> Option<String> {
    let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "conditions").collect();
    let strongest = found.iter().max_by(|a, b| a.difference.value.abs().total_cmp(&b.difference.value.abs()))?;
    let clear = found.iter().filter(|c| sure(study, c)).count();
    Some(format!(
        "Putting the utterance to the model in another way: {}; {} {}{} ({}, {} against {}).",
        survivors(clear, &found, &results.contrasts().counted(study)),
        it_is(found.len()),
        notation.points(strongest.difference),
        notation.of_difference(),
        study.models[strongest.model].name,
        strongest.subject,
        strongest.against,
    ))
}

/// How the largest of so many differences is begun with.
fn it_is(found: usize) -> &'static str {
    if found == 1 { "it is" } else { "the largest is" }
}

/// How many of some differences are clear: `3 of 15 differences between two conditions survive Holm's correction over 15
/// comparisons`.
fn survivors(clear: usize, found: &[&Comparison], between: &str) -> String {
    let corrected = found.iter().map(|c| c.corrected).max().unwrap_or(0);
    match (clear, found.len()) {
        (_, 1) if corrected == 0 => format!("the difference {between} isn't tested"),
        (_, n) if corrected == 0 => format!("none of the {n} differences {between} is tested"),
        (0, 1) => format!("the difference {between} can't be told from chance"),
        (1, 1) => format!("the difference {between} is clear"),
        (0, n) => format!("none of the {n} differences {between} survives Holm's correction over {corrected} comparisons"),
        (1, n) => format!("1 of {n} differences {between} survives Holm's correction over {corrected} comparisons"),
        (k, n) => format!("{k} of {n} differences {between} survive Holm's correction over {corrected} comparisons"),
    }
}

/// Whether a probe of one condition serves under another.
fn transfer(study: &Study, results: &Results, notation: Notation) -> Option<String> {
    let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "transfer").collect();
    let worst = found.iter().min_by(|a, b| a.difference.value.total_cmp(&b.difference.value))?;
    let what = if tested(&found) {
        let lost = found.iter().filter(|c| sure(study, c) && c.difference.value < 0.0).count();
        format!("clearly loses to the probe fitted there in {lost} of {} cases{}", found.len(), of_how_many(&found))
    } else {
        format!("isn't tested against the probe fitted there in any of {} cases", found.len())
    };
    // Where every score is at least as high away from home, the least of the gains is no loss.
    let most = if worst.difference.value < 0.0 { "the most" } else { "in none is its score lower; the least gain is" };
    Some(format!(
        "Carried to another condition, {} {what}; {most} in {}, {}: {}{}.",
        results.the_probe(),
        study.models[worst.model].name,
        worst.subject,
        notation.points(worst.difference),
        notation.of_difference()
    ))
}

/// Whether train has as many rows of each class, give or take a twentieth.
fn equal(study: &Study) -> bool {
    let Some(train) = study.dataset.splits.iter().find(|entry| entry.split == Split::Train) else { return false };
    let (least, most) = (train.of_class.iter().min(), train.of_class.iter().max());
    // What balancing repeats counts as often, and by classes that isn't known.
    train.weight == train.rows as u64 && least.zip(most).is_some_and(|(least, most)| 20 * (most - least) <= *most)
}

/// Which classes lie together in the headline's model.
fn geometry(study: &Study, results: &Results, curve: &DepthCurve) -> Option<String> {
    let p = results.geometry.places.iter().find(|p| p.place == curve.place)?;
    let n = p.directions.len();
    let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|(a, b)| p.directions[*a][*b].is_finite());
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let cosine = |pair: &(usize, usize)| p.directions[pair.0][pair.1];
    let near = pairs.iter().max_by(|a, b| cosine(a).total_cmp(&cosine(b)))?;
    let far = pairs.iter().min_by(|a, b| cosine(a).total_cmp(&cosine(b)))?;
    let both = |pair: &(usize, usize)| format!("{} and {}", study.classes[pair.0], study.classes[pair.1]);
    // Directions of equally many rows of each class from all others sum to zero, so that those of classes which lie alike point away
    // from one another.
    let alike = match study.scheme {
        Scheme::Single if pairs.len() * 2 == n * (n - 1) && equal(study) => {
            format!("; where all {n} classes lie alike every pair has {}", Notation::Real.value(-1.0 / (n as f64 - 1.0)))
        }
        _ => String::new(),
    };
    (near != far).then(|| {
        format!(
            "In {}, layer {}, the directions of {} lie closest (cosine {}), those of {} farthest apart (cosine {}{}){}.",
            place_of(study, p.place),
            layer(p.layers[p.shown].layer),
            both(near),
            Notation::Real.value(cosine(near)),
            both(far),
            Notation::Real.value(cosine(far)),
            alike,
            if results.geometry.places.len() > 1 { "; elsewhere it can be other pairs" } else { "" },
        )
    })
}
