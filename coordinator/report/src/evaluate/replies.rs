//! What replies express: verdicts of judges and of the probe on the reply's states, against the label of the utterance and
//! against one another.

use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::rows::Scheme;

use super::bench::Bench;
use super::measure::Drawn;
use crate::results::{Calls, Comparison, Estimate, Kappa, Place, Results, Source, Verdict};
use crate::statistics::agreement::kappa;
use crate::statistics::comparison::p_value;
use crate::statistics::metrics;
use crate::statistics::tally::{Tally, Totals};
use crate::study::Verdicts;

/// Who called which label for each row.
type Called = Vec<Option<u32>>;

/// The calls of every judge and of the probe.
pub fn calls(bench: &Bench<'_>, results: &Results) -> Vec<Calls> {
    if bench.study.scheme != Scheme::Single {
        return Vec::new();
    }
    let mut called: Vec<Calls> = Vec::new();
    for v in &bench.study.verdicts {
        let place = Place { model: v.model, condition: v.condition };
        called.push(Calls { place, source: Source::Judge { model: v.judge }, calls: bench.ruler.target.predicted(&v.values) });
    }
    for v in &bench.study.verdicts {
        let place = Place { model: v.model, condition: v.condition };
        if find(&called, place, Source::Probe).is_none()
            && let Some(calls) = of_probe(bench, results, v)
        {
            called.push(Calls { place, source: Source::Probe, calls });
        }
    }
    called
}

fn find(called: &[Calls], place: Place, source: Source) -> Option<&Calls> {
    called.iter().find(|c| c.place == place && c.source == source)
}

/// The verdicts, the agreement of each judge with the probe and of the judges with one another, and how each condition differs
/// from the first.
pub fn all(bench: &Bench<'_>, called: &[Calls]) -> (Vec<Verdict>, Vec<Kappa>, Vec<Comparison>) {
    let (mut verdicts, mut kappas, mut comparisons) = (Vec::new(), Vec::new(), Vec::new());
    for (at, Calls { place, source, calls }) in called.iter().enumerate() {
        verdicts.extend(verdict(bench, *place, *source, calls));
        if let Source::Judge { model: judge } = *source {
            // Each pair of judges once; the probe's calls come behind all judges'.
            let others = called[at + 1..].iter().filter(|other| other.place == *place && same_replies(bench, *place, judge, other.source));
            kappas.extend(others.filter_map(|other| agreement(bench, *place, judge, calls, other)));
        }
        if place.condition > 0 {
            let first = find(called, Place { condition: 0, ..*place }, *source);
            comparisons.extend(first.and_then(|first| shift(bench, *place, *source, calls, &first.calls)));
        }
    }
    (verdicts, kappas, comparisons)
}

/// The primary probe's calls on the reply: its probabilities at every measured offset beyond the prompt, in full context,
/// averaged over the offsets that a row's reply reaches.
fn of_probe(bench: &Bench<'_>, results: &Results, v: &Verdicts) -> Option<Called> {
    let place = Place { model: v.model, condition: v.condition };
    let probe = results.probe.as_ref()?;
    let layer = results.persistence.iter().find(|p| p.place == place).map(|p| p.layer)?;
    let cells = bench.home(place, probe)?;
    let (rows, classes) = (bench.study.test.len(), bench.study.classes.len());
    let (mut sum, mut any) = (vec![0.0_f32; rows * classes], false);
    for (_, predictions) in cells.iter().filter(|((l, r), _)| *l == layer && beyond(*r)) {
        for i in predictions {
            let values = bench.read(*i)?;
            let present = bench.ruler.target.present(&values);
            any = true;
            for row in (0..rows).filter(|r| present[*r]) {
                (0..classes).for_each(|class| sum[row * classes + class] += values[row * classes + class]);
            }
        }
    }
    // Which class is highest doesn't depend on how many were summed.
    any.then(|| bench.ruler.target.predicted(&sum))
}

fn beyond(read_out: ReadOut) -> bool {
    read_out.offset > 0 && read_out.context == Context::Full
}

fn verdict(bench: &Bench<'_>, place: Place, source: Source, calls: &Called) -> Option<Verdict> {
    let (ruler, classes) = (&bench.ruler, bench.study.classes.len());
    let tally = Tally::new(ruler.groups, classes, &ruler.target.class, calls);
    let totals = tally.totals();
    let n = totals.truth.iter().sum::<u32>() as usize;
    if n == 0 {
        return None;
    }
    let draws = tally.draw(ruler.resamples, None);
    let of_class = |class: usize, statistic: fn(&Totals, usize) -> f64, rows: u32, groups: usize| -> Option<Estimate> {
        let [drawn] = draws.map(|t| [statistic(t, class)]);
        let value = statistic(&totals, class);
        (!value.is_nan()).then(|| ruler.resamples.estimate_over(groups, value, &drawn, rows as usize))
    };
    let [kept] = draws.map(|t| [metrics::accuracy(t)]);
    let mut shift = vec![vec![0; classes]; classes];
    for (truth, call) in ruler.target.class.iter().zip(calls) {
        if let Some(call) = call {
            shift[*truth as usize][*call as usize] += 1;
        }
    }
    let recall = |c: usize| of_class(c, metrics::recall, totals.truth[c], tally.truth[c].len());
    let precision = |c: usize| of_class(c, metrics::precision, totals.predicted[c], tally.predicted[c].len());
    Some(Verdict {
        place,
        source,
        kept: ruler.resamples.estimate_over(tally.groups(), metrics::accuracy(&totals), &kept, n),
        recall: (0..classes).map(recall).collect(),
        precision: (0..classes).map(precision).collect(),
        shift,
    })
}

/// Whether a judge has read the replies that the other source is about: those of a sweep that was extended by longer replies
/// may differ from one judge to the next.
fn same_replies(bench: &Bench<'_>, place: Place, judge: usize, other: Source) -> bool {
    let of = |judge: usize| bench.study.verdicts.iter().find(|v| (v.judge, v.model, v.condition) == (judge, place.model, place.condition));
    match other {
        Source::Judge { model } => of(judge).zip(of(model)).is_some_and(|(a, b)| !a.replies.is_disjoint(&b.replies)),
        Source::Probe => true,
    }
}

fn agreement(bench: &Bench<'_>, place: Place, judge: usize, of_judge: &Called, other: &Calls) -> Option<Kappa> {
    let ruler = &bench.ruler;
    // A row that the judge has no verdict on counts for nobody: the other's call there is left out too.
    let first: Vec<u32> = of_judge.iter().map(|c| c.unwrap_or(0)).collect();
    let second: Called = of_judge.iter().zip(&other.calls).map(|(j, p)| j.and(*p)).collect();
    let tally = Tally::new(ruler.groups, bench.study.classes.len(), &first, &second);
    let totals = tally.totals();
    let [draws] = tally.draw(ruler.resamples, None).map(|t| [kappa(t)]);
    let value = kappa(&totals);
    let n = totals.truth.iter().sum::<u32>() as usize;
    let estimate = || ruler.resamples.estimate_over(tally.groups(), value, &draws, n);
    (!value.is_nan()).then(|| Kappa { place, judge, with: other.source, kappa: estimate() })
}

/// How much more (or less) often replies under a condition express the utterance's label than under the first.
fn shift(bench: &Bench<'_>, place: Place, source: Source, calls: &Called, first: &Called) -> Option<Comparison> {
    let (ruler, study) = (&bench.ruler, bench.study);
    let both: Vec<bool> = calls.iter().zip(first).map(|(a, b)| a.is_some() && b.is_some()).collect();
    let kept =
        |calls: &Called| -> Option<Drawn> { ruler.mean(&both, |row| f64::from(u8::from(calls[row] == Some(ruler.target.class[row])))) };
    let (here, there) = (kept(calls)?, kept(first)?);
    let difference = here.minus(&there);
    let p = (difference.groups > 1).then(|| p_value(difference.value, &difference.draws));
    let who = match source {
        Source::Judge { model } => format!("judge {}", study.models[model].name),
        Source::Probe => "probe".to_owned(),
    };
    let name = |condition: usize| format!("{}, {who}", study.conditions[condition].name);
    Some(Comparison {
        family: "replies",
        model: place.model,
        condition: Some(place.condition),
        subject: name(place.condition),
        against: name(0),
        subject_score: here.value,
        against_score: there.value,
        difference: difference.estimate(ruler.resamples),
        p,
        p_holm: p,
        p_bh: p,
        corrected: usize::from(p.is_some()),
        detectable: None,
    })
}
