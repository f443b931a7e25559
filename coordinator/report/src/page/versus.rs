//! The page of two sweeps side by side.

use std::collections::BTreeSet;

use limbic_proto::axis::Context;

use super::section::{Cell, DASH, Section, cells, dash};
use super::{Pages, View, unfinished};
use crate::compare::{Differing, HalfLives, Paired, Renamed, Shared, Versus};
use crate::figures::Figure;
use crate::results::Estimate;
use crate::study::{ReportError, Study};
use crate::wording::{Notation, count, half_life, layer, list, p_value};

/// The page as HTML and as Markdown.
pub fn versus(versus: &Versus<'_>, figures: &[Figure]) -> Result<Pages, ReportError> {
    let [first, second] = versus.studies;
    let mut shared = Section::new("shared", "Baselines and probes");
    shared.say("Each probe stands at its representative layer, which may be another one in the other sweep.");
    shared.figure(figures, "compare");
    table(&mut shared, versus, "lines", "What both measured");
    let mut layers = Section::new("layers", "Layers");
    table(&mut layers, versus, "layers", "The main probe at every layer that both measured, at the first offset");
    let mut offsets = Section::new("offsets", "Offsets");
    table(&mut offsets, versus, "offsets", "The main probe at every offset that both measured, each at its own layer of the decays");
    offsets.table(
        "Half-life of the signal, down to each level, by the main probe in full context",
        &["model", "condition", "down to", "A", "B"],
        versus.half_lives.iter().map(|h| lasting(h, versus.results[0].measure.level())).collect(),
    );
    let sections = [shared, layers, offsets, sweeps(versus), apart(versus)];
    let same = |a: &str, b: &str| if a == b { a.to_owned() } else { format!("{a} and {b}") };
    let view = View {
        title: format!("{} and {}", label(first, second, "A"), label(second, first, "B")),
        eyebrow: "Limbic comparison · sweeps".to_owned(),
        sweep: same(&first.sweep, &second.sweep),
        software: same(&first.software, &second.software),
        facts: [("A", first), ("B", second)].map(|(l, s)| format!("{l}: {} ({})", s.title, s.sweep)).to_vec(),
        unfinished: [("A", first), ("B", second)].iter().filter_map(|(l, s)| Some(format!("{l}: {}", unfinished(s)?))).collect(),
        cards: Vec::new(),
        findings: findings(versus),
        sections: sections.into_iter().filter(|s| !s.blocks.is_empty()).collect(),
        files: "compare.json".to_owned(),
    };
    view.render("compare.html", "compare.md")
}

/// A study's title, told apart from another of the same.
fn label(study: &Study, other: &Study, letter: &str) -> String {
    if study.title == other.title { format!("{} ({letter})", study.title) } else { study.title.clone() }
}

fn notation(versus: &Versus<'_>) -> [Notation; 2] {
    versus.results.each_ref().map(|r| Notation::of(&r.measure))
}

fn findings(versus: &Versus<'_>) -> Vec<String> {
    let [a, b] = versus.rows.map(|n| count(n as u64));
    let mut out = vec![if versus.paired {
        format!("Both sweeps test the same {a} rows, so differences are paired: B minus A, row by row, in the same resamples.")
    } else {
        format!(
            "The sweeps don't test the same rows with the same labels ({a} in A, {b} in B, {} in both), so scores stand side by side and no difference is tested.",
            count(versus.common as u64)
        )
    }];
    if let Some(groups) = versus.resampled {
        let [a, b] = versus.groups;
        if [a, b] != [groups; 2] {
            out.push(format!(
                "The sweeps group these rows differently ({} groups in A, {} in B): rows that either of them puts into one group are resampled together, in {} groups.",
                count(a as u64),
                count(b as u64),
                count(groups as u64)
            ));
        }
    }
    out.extend(versus.too_few.clone());
    out.extend(other_labels(versus.studies));
    let probed = |s: &Shared| s.layers[0].is_some();
    if !versus.shared.iter().any(probed) {
        out.push("No model, condition and probe of the same names is in both.".to_owned());
    }
    let same =
        |r: &Renamed| format!("The condition {} of B puts the same prompt as {} of A, and stands under that name.", r.second, r.name);
    out.extend(versus.renamed.iter().map(same));
    let changed = &versus.changed;
    for (what, names) in [
        ("not of the same bytes: model", &changed.models),
        ("not the same prompt: condition", &changed.conditions),
        ("not fitted in the same way: probe", &changed.probes),
    ] {
        if !names.is_empty() {
            out.push(format!("Of the same name but {what}{} {}.", if names.len() == 1 { "" } else { "s" }, list(names)));
        }
    }
    for (family, what) in [("lines", "baselines and probes"), ("layers", "layers"), ("offsets", "offsets")] {
        let all: Vec<&Shared> = versus.shared.iter().filter(|s| s.family == family).collect();
        if all.is_empty() {
            continue;
        }
        let what = if family == "lines" && !all.iter().any(|s| probed(s)) { "baselines" } else { what };
        let places: BTreeSet<_> = all.iter().map(|s| (&s.model, &s.condition)).collect();
        let several = if family != "lines" && places.len() > 1 { ", counted in each model and condition" } else { "" };
        out.extend(if versus.paired { told_apart(versus, &all, &format!("{what}{several}")) } else { None });
    }
    for (letter, only) in ["A", "B"].into_iter().zip(&versus.only) {
        out.extend(only.words().map(|what| format!("Only in {letter}: {what}.")));
    }
    out
}

/// How labels or classes differ, so that there are no same rows; none where they are the same.
fn other_labels([a, b]: [&Study; 2]) -> Option<String> {
    if a.scheme != b.scheme {
        return Some(format!("Labels are of other kinds: {} in A, {} in B.", a.scheme.as_str(), b.scheme.as_str()));
    }
    let lacking =
        |of: &Study, other: &Study| -> Vec<String> { of.classes.iter().filter(|c| !other.classes.contains(c)).cloned().collect() };
    let only = [("A", lacking(a, b)), ("B", lacking(b, a))];
    let words: Vec<String> = only
        .iter()
        .filter(|(_, classes)| !classes.is_empty())
        .map(|(letter, classes)| format!("only {letter} has {}", list(classes)))
        .collect();
    (!words.is_empty()).then(|| format!("Classes differ: {}.", words.join(", ")))
}

fn told_apart(versus: &Versus<'_>, all: &[&Shared], what: &str) -> Option<String> {
    let [notation, _] = notation(versus);
    let pairs: Vec<(&&Shared, &Paired)> = all.iter().filter_map(|s| Some((s, s.paired.as_ref()?))).collect();
    let tested = pairs.iter().filter(|(_, p)| p.p.is_some()).count();
    let same = pairs.iter().filter(|(_, p)| p.p.is_none() && p.difference.value == 0.0).count();
    if pairs.is_empty() {
        return None;
    }
    if same == pairs.len() {
        return Some(format!("Nothing differs in {same} shared {what}."));
    }
    let sure: Vec<&Paired> = pairs.iter().filter(|(s, _)| s.sure(versus.studies[0])).map(|(_, p)| *p).collect();
    let better = sure.iter().filter(|p| p.difference.value > 0.0).count();
    let (largest, by) = pairs.iter().max_by(|x, y| x.1.difference.value.abs().total_cmp(&y.1.difference.value.abs()))?;
    let corrected = if tested > 1 { format!(" (after Holm's correction over {tested} comparisons)") } else { String::new() };
    let is = |n: usize| if n == 1 { "is" } else { "are" };
    let (apart, untested) = (tested - sure.len(), pairs.len() - tested - same);
    let mut parts = Vec::new();
    parts.extend((same > 0).then(|| format!("{same} {} the same in both", is(same))));
    parts.extend((untested > 0).then(|| format!("{untested} can't be told apart at all")));
    if tested > 0 {
        let others = if parts.is_empty() { "" } else { "of the others " };
        parts.push(format!(
            "{others}B is better in {better}, worse in {}, and can't be told from A in {apart}{corrected}",
            sure.len() - better
        ));
    }
    Some(format!(
        "Of {} shared {what}, {}; the largest difference is {}{} ({}).",
        pairs.len(),
        parts.join("; "),
        notation.points(by.difference),
        notation.of_difference(),
        largest.words()
    ))
}

/// How many differences of a family were corrected together.
fn tested(versus: &Versus<'_>, family: &str) -> usize {
    versus.shared.iter().filter(|s| s.family == family && s.paired.as_ref().is_some_and(|p| p.p.is_some())).count()
}

fn table(section: &mut Section, versus: &Versus<'_>, family: &'static str, caption: &str) {
    let [a, b] = notation(versus);
    let score = |notation: Notation, e: Estimate| Cell::sorted(notation.estimate(e), e.value);
    let p = |p: Option<f64>| p.map_or_else(dash, |value| Cell::sorted(p_value(p), value));
    let row = |s: &Shared| {
        let or_dash = |text: &Option<String>| Cell::from(text.clone().unwrap_or_else(|| DASH.to_owned()));
        let at = |l: Option<limbic_proto::axis::Layer>| Cell::from(l.map_or_else(|| DASH.to_owned(), layer));
        let mut row = vec![or_dash(&s.model), or_dash(&s.condition), s.probe.clone().into()];
        match family {
            "layers" => row.push(at(s.layers[0])),
            _ => row.extend(s.layers.map(at)),
        }
        row.extend(s.offset.map(|k| Cell::from(k.to_string())));
        row.extend([score(a, s.scores[0]), score(b, s.scores[1])]);
        if versus.paired {
            match &s.paired {
                None => row.extend([(); 5].map(|()| dash())),
                Some(d) => {
                    row.push(Cell::sorted(a.points(d.difference), d.difference.value));
                    row.extend([p(d.p_holm), p(d.p_bh)]);
                    row.push(d.detectable.map_or_else(dash, |d| Cell::sorted(a.difference(d).replace('+', "±"), d)));
                    row.push(count(d.difference.n as u64).into());
                }
            }
        }
        row
    };
    let rows: Vec<Vec<Cell>> = versus.shared.iter().filter(|s| s.family == family).map(row).collect();
    let mut columns = vec!["model", "condition", "probe"];
    columns.extend(if family == "layers" { &["#layer"][..] } else { &["#layer A", "#layer B"] });
    columns.extend((family == "offsets").then_some("#offset"));
    columns.extend(["#A", "#B"]);
    if versus.paired {
        columns.extend(["#B minus A", "#p (Holm)", "#p (BH)", "#would show", "#rows"]);
    }
    let words = versus.results.each_ref().map(|r| r.measure.words);
    let of = if words[0] == words[1] { words[0].to_owned() } else { format!("{} of A, {} of B", words[0], words[1]) };
    let detectable = versus.shared.iter().any(|s| s.family == family && s.paired.as_ref().is_some_and(|p| p.detectable.is_some()));
    let note = if versus.paired { format!("; {}", super::comparisons::note(tested(versus, family), detectable)) } else { String::new() };
    section.table(format!("{caption}: {of}{note}"), &columns, rows);
}

fn lasting(h: &HalfLives, level: &'static str) -> Vec<Cell> {
    let towards = h.towards.map_or(level, Context::as_str).to_owned();
    let [a, b] = [0, 1].map(|i| half_life(&h.half_lives[i]));
    cells([h.model.clone(), h.condition.clone(), towards, a, b])
}

/// Where the two come from.
fn sweeps(versus: &Versus<'_>) -> Section {
    let mut section = Section::new("sweeps", "The two sweeps");
    let names = |all: Vec<&String>| all.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    type Fact = (&'static str, fn(&Study) -> String);
    let facts: [Fact; 6] = [
        ("sweep", |s| s.sweep.clone()),
        ("title", |s| s.title.clone()),
        ("software", |s| s.software.clone()),
        ("labels", |s| s.scheme.as_str().to_owned()),
        ("test rows", |s| count(s.test.len() as u64)),
        ("intervals", |s| {
            format!("{:.0}%, {} resamples, seed {}", s.options.confidence * 100.0, count(s.options.resamples as u64), s.seed)
        }),
    ];
    let mut rows: Vec<Vec<Cell>> =
        facts.iter().map(|(what, of)| cells([(*what).to_owned(), of(versus.studies[0]), of(versus.studies[1])])).collect();
    let [a, b] = versus.studies;
    rows.push(cells(["classes".to_owned(), names(a.classes.iter().collect()), names(b.classes.iter().collect())]));
    let models = |s: &Study| names(s.models.iter().map(|m| &m.name).collect());
    rows.push(cells(["models".to_owned(), models(a), models(b)]));
    let conditions = |s: &Study| names(s.conditions.iter().map(|c| &c.name).collect());
    rows.push(cells(["conditions".to_owned(), conditions(a), conditions(b)]));
    section.table("What they are", &["what", "A", "B"], rows);
    section
}

/// Where the two specs differ.
fn apart(versus: &Versus<'_>) -> Section {
    let mut section = Section::new("specs", "What differs in the specs");
    let row = |d: &Differing| {
        let [a, b] = d.said.each_ref().map(|said| said.clone().unwrap_or_else(|| DASH.to_owned()));
        cells([d.field.clone(), a, b])
    };
    for (letter, study) in [("A", versus.studies[0]), ("B", versus.studies[1])] {
        if let Some(several) = study.spec.as_array().filter(|specs| specs.len() > 1) {
            section.say(format!(
                "{letter} has {} revisions: what it asks is what their specs ask together, lists joined; which model has which layers isn't said by it.",
                several.len()
            ));
        }
    }
    section.table("Fields", &["field", "A", "B"], versus.specs.iter().map(row).collect());
    section
}
