//! What replies express: verdicts of judges and of the probe on the reply's states, against the label of the utterance and
//! against one another.

use std::collections::BTreeSet;

use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Scheme;

use super::bench::{Bench, Cells, Origin};
use super::compare::detectable;
use super::measure::Drawn;
use crate::results::{Calls, Comparison, Contrasts, Kappa, Place, Reading, Results, Source, Spread, Verdict};
use crate::statistics::agreement::kappa;
use crate::statistics::metrics;
use crate::statistics::tally::{Tally, Totals};
use crate::study::Verdicts;

/// Who called which label for each row.
type Called = Vec<Option<u32>>;

/// How the probe reads the replies that were judged: the first of [`Reading::ALL`] that is there for any of them.
pub fn reading(bench: &Bench<'_>, results: &Results) -> Option<Reading> {
    let there = |reading: &Reading| bench.study.verdicts.iter().any(|v| of_probe(bench, results, *reading, v).is_some());
    Reading::ALL.into_iter().filter(|_| bench.study.scheme == Scheme::Single).find(there)
}

/// The calls of every judge and of the probe, of each sampling seed's replies.
pub fn calls(bench: &Bench<'_>, results: &Results) -> Vec<Calls> {
    if bench.study.scheme != Scheme::Single {
        return Vec::new();
    }
    let mut called: Vec<Calls> = Vec::new();
    for v in &bench.study.verdicts {
        let (place, source) = (Place { model: v.model, condition: v.condition }, Source::Judge { model: v.judge });
        called.push(Calls { place, source, sampling_seed: v.sampling_seed, calls: bench.ruler.target.predicted(&v.values) });
    }
    for v in &bench.study.verdicts {
        let (place, sampling_seed) = (Place { model: v.model, condition: v.condition }, v.sampling_seed);
        if find(&called, place, Source::Probe, sampling_seed).is_none()
            && let Some(calls) = results.reading.and_then(|reading| of_probe(bench, results, reading, v))
        {
            called.push(Calls { place, source: Source::Probe, sampling_seed, calls });
        }
    }
    called
}

fn find(called: &[Calls], place: Place, source: Source, sampling_seed: Option<u64>) -> Option<&Calls> {
    called.iter().find(|c| (c.place, c.source, c.sampling_seed) == (place, source, sampling_seed))
}

/// What one source says of one place's replies, of each sampling seed.
struct Voice<'a> {
    place: Place,
    source: Source,
    of_seeds: Vec<&'a Calls>,
}

impl Voice<'_> {
    /// Every source of every place once, in order: the probe's behind all judges'.
    fn all(called: &[Calls]) -> Vec<Voice<'_>> {
        let mut voices: Vec<Voice<'_>> = Vec::new();
        for calls in called {
            match voices.iter_mut().find(|v| (v.place, v.source) == (calls.place, calls.source)) {
                Some(voice) => voice.of_seeds.push(calls),
                None => voices.push(Voice { place: calls.place, source: calls.source, of_seeds: vec![calls] }),
            }
        }
        voices
    }

    /// Its calls beside another's, of the seeds that both have.
    fn beside<'a>(&'a self, other: &'a Voice<'_>) -> impl Iterator<Item = (&'a Calls, &'a Calls)> {
        self.of_seeds.iter().filter_map(|calls| Some((*calls, *other.of_seeds.iter().find(|o| o.sampling_seed == calls.sampling_seed)?)))
    }
}

/// The verdicts, the agreement of each judge with the probe and of the judges with one another, and how conditions differ: means
/// over sampling seeds.
pub fn all(bench: &Bench<'_>, called: &[Calls]) -> (Vec<Verdict>, Vec<Kappa>, Vec<Comparison>) {
    let (mut verdicts, mut kappas, mut comparisons) = (Vec::new(), Vec::new(), Vec::new());
    let voices = Voice::all(called);
    for (at, voice) in voices.iter().enumerate() {
        verdicts.extend(verdict(bench, &voice.of_seeds));
        if let Source::Judge { model: judge } = voice.source {
            // Each pair of judges once.
            let others = voices[at + 1..].iter().filter(|other| other.place == voice.place);
            kappas.extend(others.filter_map(|other| agreement(bench, judge, voice, other)));
        }
    }
    // Judges, and the probe, of one model beside themselves.
    let speakers: BTreeSet<(usize, Source)> = voices.iter().map(|v| (v.place.model, v.source)).collect();
    let contrasts = Contrasts::between(called.iter().map(|c| c.place.condition));
    for (model, source) in speakers {
        let under = |condition: usize| voices.iter().find(|v| (v.place, v.source) == (Place { model, condition }, source));
        let both = contrasts.pairs().filter_map(|(later, earlier)| under(later).zip(under(earlier)));
        comparisons.extend(both.filter_map(|(later, earlier)| shift(bench, later, earlier)));
    }
    (verdicts, kappas, comparisons)
}

/// The main probe's calls on the reply: its probabilities at every measured offset beyond the prompt, averaged over the
/// offsets that a row's reply reaches.
fn of_probe(bench: &Bench<'_>, results: &Results, reading: Reading, v: &Verdicts) -> Option<Called> {
    let place = Place { model: v.model, condition: v.condition };
    let layer = results.persistence.iter().find(|p| p.place == place).map(|p| p.layer)?;
    let cells = read_by(bench, results, reading, place)?;
    let ours = |r: &ReadOut| r.offset > 0 && r.context == reading.context;
    let (rows, classes) = (bench.study.test.len(), bench.study.classes.len());
    let (mut sum, mut any) = (vec![0.0_f32; rows * classes], false);
    for (_, predictions) in cells.iter().filter(|((l, r), _)| *l == layer && ours(r)) {
        for i in predictions.iter().filter(|i| bench.study.predictions[**i].sampling_seed == v.sampling_seed) {
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

/// The cells of the main probe by one reading.
fn read_by<'a>(bench: &'a Bench<'_>, results: &Results, reading: Reading, place: Place) -> Option<&'a Cells> {
    let fitted_at = reading.carried.then_some(ReadOut::LAST);
    bench.of(place, results.probe.as_ref()?, Origin { fitted_at, ..Origin::default() })
}

/// Shares of one sampling seed's replies.
struct Shares {
    kept: Drawn,
    recall: Vec<Option<Drawn>>,
    precision: Vec<Option<Drawn>>,
}

/// None where no row has a verdict.
fn shares(bench: &Bench<'_>, calls: &Called) -> Option<Shares> {
    let (ruler, classes) = (&bench.ruler, bench.study.classes.len());
    let tally = Tally::new(ruler.groups, classes, &ruler.target.class, calls);
    let totals = tally.totals();
    let n = totals.truth.iter().sum::<u32>() as usize;
    if n == 0 {
        return None;
    }
    let draws = tally.draw(ruler.resamples, None);
    let of_class = |class: usize, statistic: fn(&Totals, usize) -> f64, rows: u32, groups: usize| -> Option<Drawn> {
        let [drawn] = draws.map(|t| [statistic(t, class)]);
        let value = statistic(&totals, class);
        (!value.is_nan()).then_some(Drawn { value, draws: drawn, n: rows as usize, rests: rows as usize, groups })
    };
    let [kept] = draws.map(|t| [metrics::accuracy(t)]);
    let recall = |c: usize| of_class(c, metrics::recall, totals.truth[c], tally.truth[c].len());
    let precision = |c: usize| of_class(c, metrics::precision, totals.predicted[c], tally.predicted[c].len());
    Some(Shares {
        kept: Drawn { value: metrics::accuracy(&totals), draws: kept, n, rests: n, groups: tally.groups() },
        recall: (0..classes).map(recall).collect(),
        precision: (0..classes).map(precision).collect(),
    })
}

fn verdict(bench: &Bench<'_>, of_seeds: &[&Calls]) -> Option<Verdict> {
    let (ruler, classes) = (&bench.ruler, bench.study.classes.len());
    let all: Vec<Shares> = of_seeds.iter().filter_map(|c| shares(bench, &c.calls)).collect();
    let kept: Vec<Drawn> = all.iter().map(|s| s.kept.clone()).collect();
    // A class that no reply of one seed expresses has a precision in the others.
    let of_class = |class: usize, of: fn(&Shares) -> &Vec<Option<Drawn>>| {
        let defined: Vec<Drawn> = all.iter().filter_map(|s| of(s)[class].clone()).collect();
        Some(Drawn::mean(&defined)?.estimate(ruler.resamples))
    };
    let mut shift = vec![vec![0; classes]; classes];
    for (truth, call) in of_seeds.iter().flat_map(|c| ruler.target.class.iter().zip(&c.calls)) {
        if let Some(call) = call {
            shift[*truth as usize][*call as usize] += 1;
        }
    }
    Some(Verdict {
        place: of_seeds[0].place,
        source: of_seeds[0].source,
        kept: Drawn::mean(&kept)?.estimate(ruler.resamples),
        spread: spread(&kept),
        recall: (0..classes).map(|class| of_class(class, |s| &s.recall)).collect(),
        precision: (0..classes).map(|class| of_class(class, |s| &s.precision)).collect(),
        shift,
    })
}

fn spread(of_seeds: &[Drawn]) -> Option<Spread> {
    Spread::of(&of_seeds.iter().map(|d| d.value).collect::<Vec<_>>())
}

/// Whether a judge has read the replies that the other's calls are about: those of a sweep that was extended by longer replies
/// may differ from one judge to the next.
fn same_replies(bench: &Bench<'_>, judge: usize, other: &Calls) -> bool {
    let whose = |judge: usize| (judge, other.place.model, other.place.condition, other.sampling_seed);
    let of = |judge: usize| bench.study.verdicts.iter().find(|v| (v.judge, v.model, v.condition, v.sampling_seed) == whose(judge));
    match other.source {
        Source::Judge { model } => of(judge).zip(of(model)).is_some_and(|(a, b)| !a.replies.is_disjoint(&b.replies)),
        Source::Probe => true,
    }
}

/// The agreement of a judge with another source on the same replies.
fn agreement(bench: &Bench<'_>, judge: usize, voice: &Voice<'_>, other: &Voice<'_>) -> Option<Kappa> {
    let same = voice.beside(other).filter(|(_, theirs)| same_replies(bench, judge, theirs));
    let all: Vec<Drawn> = same.filter_map(|(own, theirs)| agree(bench, &own.calls, &theirs.calls)).collect();
    let kappa = Drawn::mean(&all)?.estimate(bench.ruler.resamples);
    Some(Kappa { place: voice.place, judge, with: other.source, kappa, spread: spread(&all) })
}

fn agree(bench: &Bench<'_>, of_judge: &Called, of_other: &Called) -> Option<Drawn> {
    let ruler = &bench.ruler;
    // A row that the judge has no verdict on counts for nobody: the other's call there is left out too.
    let first: Vec<u32> = of_judge.iter().map(|c| c.unwrap_or(0)).collect();
    let second: Called = of_judge.iter().zip(of_other).map(|(j, p)| j.and(*p)).collect();
    let tally = Tally::new(ruler.groups, bench.study.classes.len(), &first, &second);
    let totals = tally.totals();
    let [draws] = tally.draw(ruler.resamples, None).map(|t| [kappa(t)]);
    let value = kappa(&totals);
    let n = totals.truth.iter().sum::<u32>() as usize;
    (!value.is_nan()).then(|| Drawn { value, draws, n, rests: n, groups: tally.groups() })
}

/// How much more (or less) often replies under a condition express the utterance's label than under an earlier one.
fn shift(bench: &Bench<'_>, voice: &Voice<'_>, earlier: &Voice<'_>) -> Option<Comparison> {
    let (ruler, study, place) = (&bench.ruler, bench.study, voice.place);
    let kept = |(calls, earlier): (&Calls, &Calls)| {
        let (calls, earlier) = (&calls.calls, &earlier.calls);
        let both: Vec<bool> = calls.iter().zip(earlier.iter()).map(|(a, b)| a.is_some() && b.is_some()).collect();
        let keeps = |calls: &Called, row: usize| calls[row] == Some(ruler.target.class[row]);
        let share = |of: &dyn Fn(usize) -> bool| ruler.mean(&both, |row| f64::from(u8::from(of(row))));
        let differ = share(&|row| keeps(calls, row) != keeps(earlier, row))?.value;
        Some(((share(&|row| keeps(calls, row))?, share(&|row| keeps(earlier, row))?), differ))
    };
    let (sides, differ): (Vec<(Drawn, Drawn)>, Vec<f64>) = voice.beside(earlier).filter_map(kept).unzip();
    let (here, there): (Vec<Drawn>, Vec<Drawn>) = sides.into_iter().unzip();
    let (here, there) = (Drawn::mean(&here)?, Drawn::mean(&there)?);
    let difference = here.minus(&there);
    let p = difference.p_value();
    let name = |condition: usize| voice.source.under(study, condition);
    Some(Comparison {
        family: "replies",
        model: place.model,
        condition: Some(place.condition),
        subject: name(place.condition),
        against: name(earlier.place.condition),
        subject_score: here.value,
        against_score: there.value,
        difference: difference.difference(ruler.resamples),
        p,
        p_holm: p,
        p_bh: p,
        corrected: usize::from(p.is_some()),
        detectable: detectable(bench, &difference, Some(metrics::mean(differ.into_iter()))),
    })
}
