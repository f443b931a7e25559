//! What replies do with the label, and whether the condition changes it, in sentences.

use std::collections::BTreeSet;

use super::dominant::{behind, bound, of_replies};
use super::{it_is, sure, survivors};
use crate::results::{Caller, Comparison, Kappa, Results, Source, Verdict};
use crate::study::Study;
use crate::wording::{Notation, percent};

/// How often replies express the utterance's label, how far judges and probe agree on it, how it differs between conditions, and
/// whose calls are nearly all of one label.
pub fn sentences(study: &Study, results: &Results) -> Vec<String> {
    let mut out: Vec<String> = range(study, results).into_iter().collect();
    if let Some(words) = kappas(results, true) {
        let probe = results.reading.map_or_else(String::new, |r| format!("; probe: {}", crate::wording::reading(r)));
        out.push(format!("Judge and probe agree on the replies with a kappa of {words}{probe}."));
    }
    out.extend(
        kappas(results, false).map(|words| format!("The judges agree with one another on the same replies with a kappa of {words}.")),
    );
    out.extend(kept(study, results));
    out.extend(of_replies(study, results));
    out
}

/// The least and the most of kept labels by judges.
fn range(study: &Study, results: &Results) -> Option<String> {
    let judged = |v: &&Verdict| matches!(v.source, Source::Judge { .. });
    let all: Vec<_> = results.verdicts.iter().filter(judged).collect();
    let by = |a: &&&Verdict, b: &&&Verdict| a.kept.value.total_cmp(&b.kept.value);
    let several = results.judges().len() > 1;
    let (low, high) = (all.iter().min_by(by)?, all.iter().max_by(by)?);
    let place = |v: &Verdict| {
        let judge = match v.source {
            Source::Judge { model } if several => format!(", judge {}", study.models[model].name),
            _ => String::new(),
        };
        format!("{}, {}{judge}", study.models[v.place.model].name, study.conditions[v.place.condition].name)
    };
    // Rows without a reply, or with an empty one, are none of these.
    let replies = |v: &Verdict| match v.kept.n {
        1 => "1 reply".to_owned(),
        n => format!("{} replies", crate::wording::count(n as u64)),
    };
    let chance = format!("the majority class has {}", percent(results.measure.floor));
    let one_label = all.iter().filter(|v| results.dominant(v).is_some()).count();
    let one_label = behind(one_label, all.len(), &format!("the judge gives one label to {} of the replies", bound()));
    Some(if all.len() == 1 {
        format!("By the judge, {} of the replies express the utterance's label ({chance}){one_label}.", Notation::Share.estimate(low.kept))
    } else {
        format!(
            "By the {}, {} ({}, {}) to {} ({}, {}) of the replies express the utterance's label ({chance}){one_label}.",
            if several { "judges" } else { "judge" },
            Notation::Share.estimate(low.kept),
            place(low),
            replies(low),
            Notation::Share.estimate(high.kept),
            place(high),
            replies(high)
        )
    })
}

/// The least and the most agreement of judges with the probe, or with one another.
fn kappas(results: &Results, with_probe: bool) -> Option<String> {
    let ours: Vec<&Kappa> = results.kappas.iter().filter(|k| (k.with == Source::Probe) == with_probe).collect();
    let by = |a: &&&Kappa, b: &&&Kappa| a.kappa.value.total_cmp(&b.kappa.value);
    let (low, high) = (ours.iter().min_by(by)?, ours.iter().max_by(by)?);
    let words = match ours.len() {
        1 => Notation::Real.estimate(low.kappa),
        _ => format!("{} to {}", Notation::Real.value(low.kappa.value), Notation::Real.value(high.kappa.value)),
    };
    let one_label = |k: &Kappa| {
        let sides = [Source::Judge { model: k.judge }, k.with];
        sides.iter().any(|side| results.verdicts.iter().any(|v| (v.place, v.source) == (k.place, *side) && results.dominant(v).is_some()))
    };
    let dominated = ours.iter().filter(|k| one_label(k)).count();
    let what = format!("one of them gives one label to {} of the replies, where kappa says little", bound());
    Some(format!("{words} (0 = no more than their frequencies give{})", behind(dominated, ours.len(), &what)))
}

/// How often kept labels differ between conditions, and where most; none where no two conditions were judged.
fn kept(study: &Study, results: &Results) -> Option<String> {
    let found: Vec<&Comparison> = results.comparisons.iter().filter(|c| c.family == "replies").collect();
    // Of a few replies any difference is large.
    let tested = |c: &&&Comparison| c.p.is_some() || found.iter().all(|c| c.p.is_none());
    let strongest = found.iter().filter(tested).max_by(|a, b| a.difference.value.abs().total_cmp(&b.difference.value.abs()))?;
    let clear = found.iter().filter(|c| sure(study, c)).count();
    let of_one_label = results.dominant.iter().filter_map(|d| match (d.caller, d.condition) {
        (Caller::Replies(source), Some(condition)) => Some((d.model, source.under(study, condition))),
        _ => None,
    });
    let of_one_label: BTreeSet<(usize, String)> = of_one_label.collect();
    let rests = |c: &Comparison| [&c.subject, &c.against].into_iter().any(|side| of_one_label.contains(&(c.model, side.clone())));
    let dominated = found.iter().filter(|c| rests(c)).count();
    Some(format!(
        "Of the share of replies that express the utterance's label, {}; {} {} points ({}, {} against {}, {} replies to the same rows){}.",
        survivors(clear, &found, &results.contrasts_of_replies().counted(study)),
        it_is(found.len()),
        Notation::Share.points(strongest.difference),
        study.models[strongest.model].name,
        strongest.subject,
        strongest.against,
        crate::wording::count(strongest.difference.n as u64),
        behind(dominated, found.len(), &format!("one label takes {} of the calls of a side, which can hide a change", bound())),
    ))
}
