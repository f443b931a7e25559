//! What the reader of the numbers should know: what was left out, cut short or never fitted, and intervals that say less
//! than they seem to.

use std::collections::BTreeMap;

use limbic_proto::axis::Context;
use limbic_proto::rows::Scheme;
use limbic_proto::spec::ReportSpec;
use limbic_proto::unit::UnitKind;

use super::bench::Bench;
use crate::results::{Comparison, Fitted, Persistence};
use crate::statistics::comparison::draw_beyond;
use crate::statistics::resamples::FEWEST;
use crate::study::{Prediction, Run, Study};
use crate::wording::{count, p_value};

/// Groups below which the cluster bootstrap is known to give intervals that are too narrow (Cameron, Gelbach & Miller
/// 2008 find it so up to about twenty).
const FEW_GROUPS: usize = 20;

/// Draws beyond zero that are few: their number is off by a third or more of itself (Poisson).
const FEW_DRAWS: f64 = 10.0;

/// At most so many reasons why fits are absent are told.
const REASONS: usize = 6;

/// All warnings, one sentence each.
pub fn all(bench: &Bench<'_>, comparisons: &[Comparison], persistence: &[Persistence]) -> Vec<String> {
    let study = bench.study;
    let mut warnings = Vec::new();
    warnings.extend(too_few(study.test.iter().map(|row| row.group.as_str())));
    warnings.extend(late(persistence).filter(|_| bench.ruler.groups.groups() >= FEW_GROUPS));
    warnings.extend(shrinking(bench, persistence));
    let mut say = |n: usize, what: &str| {
        if n > 0 {
            warnings.push(format!("{} of {} predictions {what}", count(n as u64), count(study.predictions.len() as u64)));
        }
    };
    say(
        study.predictions.iter().filter(|p| p.fit.as_ref().is_some_and(|f| f.absent.is_none() && !f.converged)).count(),
        "come from fits that stopped before their optimum.",
    );
    let partial = |i: &usize| bench.values[*i].is_some() && (bench.rows[*i] as usize) < study.test.len();
    let at_zero = |p: &Prediction| p.at_home() && p.read_out.is_some_and(|r| r.context == Context::Full && r.offset == 0);
    let lacking = (0..study.predictions.len()).filter(|i| at_zero(&study.predictions[*i])).filter(partial).count();
    say(lacking, "at offset 0 miss some test rows (skipped prompts).");
    warnings.extend(coarse(comparisons, &study.options));
    warnings.extend(absent(study));
    warnings.extend(prompts(study));
    if !super::score::detailed(bench) {
        warnings.push("Metrics of single classes and of coarser levels were kept for baselines and for probes at offset 0 only: there are too many predictions for more.".to_owned());
    }
    if crate::tables::too_many(study) {
        warnings.push("predictions.parquet holds baselines and probes at offset 0 only: there are too many predictions for more. The store has them all.".to_owned());
    }
    if let Some(probe) = study.options.probe.as_deref().filter(|probe| !bench.cells.keys().any(|s| &*s.probe == *probe)) {
        warnings.push(format!("`report.probe` asks for {probe}, which no fit is of yet: another one takes its place."));
    }
    if study.scheme == Scheme::Continuous && !study.options.levels.is_empty() {
        warnings.push("`report.levels` was left out: scales have no coarser classes.".to_owned());
    }
    for (level, class) in unnamed(study) {
        warnings.push(format!("Level {level} doesn't say where the class {class} belongs; it stays as it is."));
    }
    warnings
}

/// What so few test rows, or so few groups of them, can't tell, by each row's group; none where there are enough. Groups of very
/// different sizes tell as much as fewer equal ones: as many as (Σ n)² / Σ n² (Kish 1965).
pub fn too_few<'g>(of_rows: impl IntoIterator<Item = &'g str>) -> Option<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    of_rows.into_iter().for_each(|group| *sizes.entry(group).or_default() += 1);
    let (rows, groups) = (sizes.values().sum::<usize>(), sizes.len());
    let equal = (rows as f64).powi(2) / sizes.values().map(|n| (*n as f64).powi(2)).sum::<f64>();
    let too = "intervals from so few are too narrow and p-values too small; read them as lower bounds of the doubt.";
    match groups {
        0 => None,
        _ if rows < FEWEST => Some(format!(
            "There are only {rows} test rows, too few to tell anything from chance: there are no intervals and no p-values."
        )),
        1 => Some(
            "All test rows are of one group, so nothing can be told from chance: there are no intervals and no p-values. Name a `group` column with more values, or none."
                .to_owned(),
        ),
        n if n < FEW_GROUPS && n == rows => Some(format!("There are only {n} test rows: {too}")),
        n if n < FEW_GROUPS => Some(format!("The test rows are of only {n} groups: {too}")),
        n if equal < FEW_GROUPS as f64 => {
            Some(format!("The test rows are of {n} groups, but these differ so much in size that they tell no more than {equal:.0} equal ones: {too}"))
        }
        _ => None,
    }
}

/// Half-lives that rest on offsets which few groups' replies reach.
fn late(persistence: &[Persistence]) -> Option<String> {
    let fits = || persistence.iter().flat_map(|p| p.decays.iter().filter(|d| d.class.is_none()).flat_map(|d| &d.fits));
    let few = |fit: &&Fitted| fit.half_life.lasts() && fit.groups < FEW_GROUPS;
    let least = fits().filter(few).map(|fit| fit.groups).min()?;
    Some(format!(
        "{} of {} half-lives rest on late offsets that replies of fewer than {FEW_GROUPS} groups reach ({least} at the least): their intervals are too narrow.",
        count(fits().filter(few).count() as u64),
        count(fits().filter(|fit| fit.half_life.lasts()).count() as u64),
    ))
}

/// Train rows that the probe of the last offset has of those that the first one's has, below which a decay can be theirs.
const FEWER: f64 = 0.8;

/// Decays whose probes are fitted on ever fewer rows, which alone makes them worse.
fn shrinking(bench: &Bench<'_>, persistence: &[Persistence]) -> Option<String> {
    let at = |p: &Persistence, offset: u32| {
        let fits = bench.study.predictions.iter().filter(|fit| {
            let here = (fit.model, fit.condition, fit.layer) == (Some(p.place.model), Some(p.place.condition), Some(p.layer));
            here && fit.at_home() && p.decays.first().is_some_and(|decay| *decay.probe == *fit.probe)
        });
        let mut of_offset = fits.filter(|fit| fit.read_out.is_some_and(|r| r.offset == offset && r.context == Context::Full));
        of_offset.find_map(|fit| Some(fit.fit.as_ref().filter(|fit| fit.absent.is_none())?.train))
    };
    let ends = |p: &Persistence| {
        let (first, last) = (at(p, *p.offsets.first()?)?, at(p, *p.offsets.last()?)?);
        ((last as f64) < FEWER * first as f64).then_some((first, last))
    };
    let all: Vec<(usize, usize)> = persistence.iter().filter_map(ends).collect();
    let (first, last) = all.iter().copied().min_by(|a, b| (a.1 * b.0).cmp(&(b.1 * a.0)))?;
    Some(format!(
        "Replies end, so that probes of late offsets are fitted on fewer rows: in {} of {} curves on less than {:.0} % of those of the first offset ({} instead of {} at the least). That alone lowers a curve, and shortens half-lives; `transfer: [offsets]` shows the probe of offset 0 beside them, which has all rows.",
        all.len(),
        persistence.len(),
        FEWER * 100.0,
        count(last as u64),
        count(first as u64),
    ))
}

/// Comparisons that Holm's correction leaves undecided, though so few draws lie beyond zero that one more or less would decide.
fn coarse(comparisons: &[Comparison], options: &ReportSpec) -> Option<String> {
    let (alpha, step) = (1.0 - options.confidence, draw_beyond(options.resamples));
    let few =
        |c: &&Comparison| c.p.is_some_and(|p| p > 1.5 * step && p <= FEW_DRAWS * step && p < alpha) && c.p_holm.is_some_and(|p| p >= alpha);
    let affected: Vec<&Comparison> = comparisons.iter().filter(few).collect();
    let most = affected.iter().map(|c| c.corrected).max()?;
    let decided = if affected.len() == 1 { "1 comparison is" } else { &format!("{} comparisons are", count(affected.len() as u64)) };
    Some(format!(
        "{decided} undecided by a few resamples: each of {} beyond zero is {} of a p-value, {} after a correction over {}. A higher `report.resamples` tells more.",
        count(options.resamples as u64),
        p_value(Some(step)),
        p_value(Some((step * most as f64).min(1.0))),
        count(most as u64),
    ))
}

/// Classes that a level's map doesn't name.
fn unnamed(study: &Study) -> impl Iterator<Item = (&str, &str)> {
    let classes = study.classes.iter().map(String::as_str);
    study
        .options
        .levels
        .iter()
        .flat_map(move |level| classes.clone().filter(|c| !level.map.contains_key(*c)).map(|c| (level.name.as_str(), c)))
}

/// Fits that don't exist, by reason, with the offsets at which they are missing.
fn absent(study: &Study) -> Vec<String> {
    // Reason -> (fits, lowest and highest offset).
    let mut reasons: BTreeMap<&str, (usize, u32, u32)> = BTreeMap::new();
    let mut total = 0;
    for p in &study.predictions {
        if let Some(reason) = p.fit.as_ref().and_then(|f| f.absent.as_deref()) {
            let offset = p.read_out.map_or(0, |r| r.offset);
            let entry = reasons.entry(reason).or_insert((0, offset, offset));
            *entry = (entry.0 + 1, entry.1.min(offset), entry.2.max(offset));
            total += 1;
        }
    }
    if total == 0 {
        return Vec::new();
    }
    let mut most: Vec<(&str, (usize, u32, u32))> = reasons.into_iter().collect();
    most.sort_by_key(|(_, (n, ..))| std::cmp::Reverse(*n));
    let told = most.iter().take(REASONS).map(|(reason, (n, low, high))| {
        let at = if low == high { format!("at offset {low}") } else { format!("at offsets {low} to {high}") };
        format!("{} {at}: {reason}", count(*n as u64))
    });
    let mut sentence = format!(
        "{} of {} fits are absent from every table and figure ({}",
        count(total),
        count(study.predictions.iter().filter(|p| p.fit.is_some()).count() as u64),
        told.collect::<Vec<_>>().join("; ")
    );
    if most.len() > REASONS {
        sentence += &format!("; {} more reasons", most.len() - REASONS);
    }
    vec![sentence + ")."]
}

/// What is counted of every unit that asks a model; rows that are skipped are longer than the context, or bad.
const COUNTS: [&str; 5] = ["rows", "skipped_rows", "bad_rows", "truncated_rows", "empty_replies"];

/// Prompts that were left out or cut, per model, condition (none = the zero-shot question) and judge (none = the model's own),
/// and replies that are empty.
fn prompts(study: &Study) -> Vec<String> {
    let asks = |run: &&Run| match run.kind {
        UnitKind::Prompt | UnitKind::Judge => true,
        UnitKind::Extract => run.condition.is_some(),
        UnitKind::Fit | UnitKind::Transfer => false,
    };
    let mut of_seeds: BTreeMap<_, [u64; 5]> = BTreeMap::new();
    for run in study.runs.iter().filter(asks) {
        let Some(model) = run.model else { continue };
        // Every seed's replies are judged.
        let seed = run.sampling_seed.filter(|_| run.judge.is_none());
        let sum = of_seeds.entry((model, run.condition, run.judge, seed)).or_default();
        for (total, name) in sum.iter_mut().zip(COUNTS) {
            *total += run.counts.get(name).copied().unwrap_or(0);
        }
    }
    // Whatever follows them, the prompts are the same; and whoever judges them, the replies.
    let mut sums: BTreeMap<_, [u64; 5]> = BTreeMap::new();
    let mut replies: BTreeMap<_, [u64; 2]> = BTreeMap::new();
    for ((model, condition, judge, _), sum) in of_seeds {
        let most = sums.entry((model, condition, judge)).or_default();
        *most = (*most).max(sum);
        let most = replies.entry((model, condition)).or_default();
        *most = (*most).max([sum[0], sum[4]].map(|n| if judge.is_some() { n } else { 0 }));
    }
    let place = |model: usize, condition: Option<usize>| match condition {
        Some(condition) => format!("{}, {}", study.model_name(Some(model)), study.condition_name(Some(condition))),
        None => format!("{}, zero-shot question", study.model_name(Some(model))),
    };
    let mut sentences = Vec::new();
    let mut say = |place: String, n: u64, rows: u64, what: &str| {
        if n > 0 {
            sentences.push(format!("{place}: {} of {} {what}.", count(n), count(rows)));
        }
    };
    for ((model, condition, judge), [rows, skipped, bad, truncated, _]) in sums {
        let (place, what) = match judge {
            None => (place(model, condition), "prompts"),
            Some(_) => (format!("{}, judge {}", place(model, condition), study.model_name(judge)), "questions"),
        };
        say(place.clone(), skipped.saturating_sub(bad), rows, &format!("{what} were longer than the context and left out"));
        say(place.clone(), truncated, rows, &format!("{what} were longer than the context and lost the first tokens of their text"));
        say(place, bad, rows, &format!("{what} could not be computed and were left out"));
    }
    for ((model, condition), [rows, empty]) in replies {
        say(place(model, condition), empty, rows, "replies in the units of its judges were empty and have no verdict");
    }
    sentences
}
