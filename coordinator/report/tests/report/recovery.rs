//! How often what is estimated holds what was planted: peaks and half-lives in a hundred studies, false alarms where there
//! is nothing to find, and the coverage of intervals of every scheme.

use limbic_proto::axis::{Context, Layer};
use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, HalfLife, Prediction, Results, Study, evaluate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::planted::{CHANCE, Control, Signal, bare, normal, test_row};

/// Counts per name over many studies, in the order of first mention.
fn shares(studies: u64, of: impl Fn(u64) -> Vec<(&'static str, bool)> + Sync + Send) -> Vec<(&'static str, f64, usize)> {
    let all: Vec<Vec<(&'static str, bool)>> = (0..studies).into_par_iter().map(of).collect();
    let mut counts: Vec<(&'static str, usize, usize)> = Vec::new();
    for (name, hit) in all.into_iter().flatten() {
        let at = counts.iter().position(|c| c.0 == name).unwrap_or_else(|| {
            counts.push((name, 0, 0));
            counts.len() - 1
        });
        counts[at].1 += usize::from(hit);
        counts[at].2 += 1;
    }
    let shares: Vec<_> = counts.into_iter().map(|(name, hits, n)| (name, hits as f64 / n as f64, n)).collect();
    for (name, share, n) in &shares {
        println!("{name}: {:.1} % of {n}", share * 100.0);
    }
    shares
}

fn half_life(results: &Results, model: usize) -> HalfLife {
    let place = results.persistence.iter().find(|p| p.place.model == model).expect("several offsets");
    place.decay("logistic", Context::Full, None).and_then(|d| d.main()).expect("a decay").half_life.clone()
}

/// Whether the interval holds the planted half-life.
fn holds(found: &HalfLife, tokens: f64) -> bool {
    match found {
        HalfLife::Reached { lo, hi, .. } => lo.is_some_and(|lo| lo <= tokens) && hi.is_none_or(|hi| tokens <= hi),
        HalfLife::NotReached { lo, .. } => lo.is_none_or(|lo| lo <= tokens),
        HalfLife::NoSignal | HalfLife::TooFew => false,
    }
}

#[test]
fn peak_and_half_life_are_within_their_intervals_in_nine_of_ten_studies() {
    const PEAK: usize = 3;
    let signal = |half_life: f64| Signal {
        layers: vec![0.25, 0.45, 0.62, 0.72, 0.64, 0.5],
        offsets: vec![0, 1, 2, 4, 8, 16, 32],
        half_life,
        control: None,
        models: 1,
        rows: 280,
    };
    let found = shares(100, |seed| {
        let mut out = Vec::new();
        for (name, tokens) in [("half-life of 3 tokens", 3.0), ("half-life of 9 tokens", 9.0), ("half-life beyond the last offset", 80.0)] {
            let results = evaluate(&signal(tokens).study(seed)).expect("the study is sound");
            out.push((name, holds(&half_life(&results, 0), tokens)));
            let peak = &results.depth[0].peak;
            out.push(("peak", peak.from <= Layer::Block(PEAK as u32) && Layer::Block(PEAK as u32) <= peak.to));
            // An interval that holds every layer would hold the peak too.
            out.push(("peak told from the first two layers", peak.from > Layer::Block(1)));
        }
        out
    });
    assert!(found.iter().all(|(name, share, _)| *share >= if *name == "peak" { 0.95 } else { 0.9 }), "{found:?}");
}

/// A signal at one layer beside what the reply alone carries. At offset 0 it is far above chance whatever the lead: there is
/// no reply yet, and so no control.
fn beside(half_life: f64, control: Control) -> Signal {
    Signal { layers: vec![0.75], offsets: vec![0, 1, 2, 4, 8, 16, 32, 64], half_life, control: Some(control), models: 1, rows: 560 }
}

#[test]
fn a_lead_over_a_control_halves_as_fast_as_planted() {
    let flat = Control { share: 0.35, half_life: 1e9, lead: 0.4 };
    let fading = Control { share: 0.45, half_life: 20.0, lead: 0.35 };
    let found = shares(100, |seed| {
        let planted = [("3 tokens over a flat control", 3.0, flat), ("9 tokens over a flat control", 9.0, flat)];
        let planted = planted.into_iter().chain([("9 tokens over a fading control", 9.0, fading), ("beyond the last offset", 150.0, flat)]);
        let one = |(name, tokens, control)| {
            let results = evaluate(&beside(tokens, control).study(seed)).expect("the study is sound");
            (name, holds(&half_life(&results, 0), tokens))
        };
        planted.map(one).collect()
    });
    assert!(found.iter().all(|(_, share, _)| *share >= 0.9), "{found:?}");
}

#[test]
fn without_a_lead_over_the_control_no_half_life_is_named() {
    let found = shares(300, |seed| {
        let none = Control { share: 0.45, half_life: 20.0, lead: 0.0 };
        let results = evaluate(&beside(9.0, none).study(seed)).expect("the study is sound");
        let lasts = |h: &HalfLife| matches!(h, HalfLife::Reached { .. } | HalfLife::NotReached { .. });
        let curve = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
        vec![
            ("beyond the control", lasts(&half_life(&results, 0))),
            ("beyond chance", lasts(&curve.to_majority().expect("a fit").half_life)),
        ]
    });
    // One-sided at 2.5 %; three standard errors of 300 studies are 2.7 points.
    assert!(found[0].1 <= 0.052 && found[1].1 == 1.0, "{found:?}");
}

#[test]
fn without_a_signal_false_alarms_are_as_rare_as_said() {
    let signal = Signal { layers: vec![CHANCE; 5], offsets: vec![0, 4, 16], half_life: 5.0, control: None, models: 3, rows: 210 };
    let found = shares(300, |seed| {
        let results = evaluate(&signal.study(seed)).expect("the study is sound");
        let mut out = Vec::new();
        for c in results.comparisons.iter().filter(|c| c.family == "baselines") {
            let name = if c.against == "majority" { "probe against majority" } else { "probe against words, p < 0.05" };
            out.push((name, c.p.expect("groups") < 0.05));
        }
        let family = |name: &str| results.comparisons.iter().any(|c| c.family == name && c.p_holm.is_some_and(|p| p < 0.05));
        out.push(("any probe against a baseline after Holm", family("baselines")));
        out.push(("any model against another after Holm", family("models")));
        let trend = results.trends.iter().find(|t| t.what == "best layer").expect("three sizes").slope;
        out.push(("trend with size", trend.lo.expect("groups") > 0.0 || trend.hi.expect("groups") < 0.0));
        for model in 0..3 {
            out.push(("a half-life of nothing", half_life(&results, model) != HalfLife::NoSignal));
            out.push(("any layer called worse than the best", results.depth[model].points.iter().any(|p| p.as_good() == Some(false))));
        }
        out
    });
    // Three standard errors of 300 studies around 5 % are 3.8 points. What is corrected or one-sided may be rarer; and so is
    // a difference from the majority, whose share of right rows varies in resamples but not between stratified test sets.
    for (name, share, _) in &found {
        let rarest = if name.contains("p < 0.05") || name.starts_with("trend") { 0.015 } else { 0.0 };
        assert!((rarest..0.088).contains(share), "{name}: {share}");
    }
}

/// A study whose one prediction has known scores in the population.
type Draw = fn(&mut ChaCha8Rng, usize, u64) -> Study;

/// One class a row: states of the strength at which rows of the class are right so often.
fn single(_: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    Signal { layers: vec![0.55], offsets: vec![0], half_life: 1.0, control: None, models: 1, rows }.study(seed)
}

fn noise_of(rng: &mut ChaCha8Rng, rows: usize, classes: usize) -> Vec<f64> {
    let mut group = vec![0.0; classes];
    (0..rows)
        .flat_map(|row| {
            if row.is_multiple_of(2) {
                group.fill_with(|| normal(rng));
            }
            (0..classes).map(|c| 0.3_f64.sqrt() * group[c] + 0.7_f64.sqrt() * normal(rng)).collect::<Vec<_>>()
        })
        .collect()
}

/// Three labels, each of three rows in ten.
fn several(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth: Vec<f32> = (0..rows * 3).map(|_| f32::from(u8::from(rng.random::<f64>() < 0.3))).collect();
    let logit = |(t, e): (&f32, f64)| -1.0 + 1.6 * f64::from(*t) + e;
    let values = truth.iter().zip(noise_of(rng, rows, 3)).map(logit).map(|x| (1.0 / (1.0 + (-x).exp())) as f32).collect();
    valued(Scheme::Multi, truth, values, seed)
}

/// Two scales whose predictions are biased and too narrow.
fn scales(rng: &mut ChaCha8Rng, rows: usize, seed: u64) -> Study {
    let truth: Vec<f32> = noise_of(rng, rows, 2).into_iter().map(|x| (3.0 + x) as f32).collect();
    let value = |(t, e): (&f32, f64)| (3.2 + 0.6 * (f64::from(*t) - 3.0) + 0.6 * e) as f32;
    let values = truth.iter().zip(noise_of(rng, rows, 2)).map(value).collect();
    valued(Scheme::Continuous, truth, values, seed)
}

fn valued(scheme: Scheme, truth: Vec<f32>, values: Vec<f32>, seed: u64) -> Study {
    let classes = if scheme == Scheme::Multi { 3 } else { 2 };
    let test = truth.chunks(classes).enumerate().map(|(row, of_row)| test_row(row, 0, of_row.to_vec())).collect();
    bare(scheme, test, vec![Prediction::baseline("bag-of-words", None, Deferred::held(values))], seed)
}

#[test]
fn intervals_cover_as_often_as_they_say() {
    let all: [(Draw, &[&'static str]); 3] = [
        (single, &["accuracy", "macro-f1", "balanced-accuracy", "log-loss", "auroc", "recall:c2", "f1:c3"]),
        (several, &["micro-f1", "macro-f1", "subset-accuracy", "ranking-precision", "map", "auroc", "ap:c1"]),
        (scales, &["pearson", "ccc", "mae", "r2", "pearson:c1"]),
    ];
    for (draw, metrics) in all {
        // The population: one study so large that its own error doesn't matter.
        let mut large = draw(&mut ChaCha8Rng::seed_from_u64(99), 210_000, 99);
        large.options.resamples = 0;
        let truth = evaluate(&large).expect("the study is sound");
        let found = shares(400, |seed| {
            let results = evaluate(&draw(&mut ChaCha8Rng::seed_from_u64(1_000 + seed), 280, seed)).expect("the study is sound");
            let holds = |metric: &&'static str| {
                let (e, truth) = (results.score(0, metric).expect("a score"), truth.score(0, metric).expect("a score").value);
                (*metric, e.lo.expect("an interval") <= truth && truth <= e.hi.expect("an interval"))
            };
            metrics.iter().map(holds).collect()
        });
        assert!(found.iter().all(|(_, share, _)| (0.9..=0.98).contains(share)), "{found:?}");
    }
}
