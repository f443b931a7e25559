//! Paired differences in accuracy (probe against baselines, condition against condition, with and without the prompt,
//! probe against probe) and what each condition does per class.

use limbic_proto::axis::Context;
use rayon::prelude::*;

use super::persistence::twin;
use super::{BASELINES, Bench};
use crate::results::{Comparison, ConditionResult, DepthCurve, Results};
use crate::statistics::comparison::{holm, p_value};
use crate::statistics::metrics;

/// One per place if there are several conditions: accuracy and recall per class at the representative layer.
pub fn conditions(bench: &Bench<'_>, curves: &[DepthCurve]) -> Vec<ConditionResult> {
    if bench.study.conditions.len() < 2 {
        return Vec::new();
    }
    let one = |curve: &DepthCurve| {
        let best = &curve.points[curve.best];
        let recall = |class: usize| {
            let seeds: Vec<_> = best.predictions.iter().map(|i| bench.tally(&bench.study.predictions[*i])).collect();
            let value = metrics::mean(seeds.iter().map(|t| metrics::recall(&t.totals(), class)));
            let lists: Vec<Vec<f64>> =
                seeds.iter().map(|t| t.draw(&bench.resamples, None).map(|t| [metrics::recall(t, class)])).map(|[d]| d).collect();
            let n = seeds.iter().map(|t| t.totals().truth[class]).min()?;
            let groups = seeds.iter().map(|t| t.truth[class].len()).min()?;
            (n > 0).then(|| bench.resamples.estimate_over(groups, value, &super::mean_draws(lists.iter()), n as usize))
        };
        let recall = (0..bench.study.classes.len()).map(recall).collect();
        ConditionResult { place: curve.place, layer: best.layer, accuracy: best.accuracy, recall }
    };
    curves.par_iter().map(one).collect()
}

/// One side of a difference: what it is called, and its predictions (seeds).
struct Side {
    name: String,
    predictions: Vec<usize>,
}

/// All paired differences, with Holm's correction within each family.
pub fn all(bench: &Bench<'_>, results: &Results) -> Vec<Comparison> {
    let mut pairs: Vec<(&'static str, usize, Side, Side)> = Vec::new();
    for model in 0..bench.study.models.len() {
        if let Some(best) = best_curve(&results.depth, model) {
            for probe in BASELINES {
                let owner = if probe == "zero-shot" { Some(model) } else { None };
                let predictions = bench.baseline(probe, owner);
                if !predictions.is_empty() {
                    pairs.push(("baselines", model, side(bench, best), Side { name: probe.to_owned(), predictions }));
                }
            }
        }
    }
    for first in results.depth.iter().filter(|c| c.place.condition == 0) {
        for other in results.depth.iter().filter(|c| c.place.model == first.place.model && c.place.condition > 0) {
            pairs.push(("conditions", first.place.model, side(bench, other), side(bench, first)));
        }
    }
    for persistence in &results.persistence {
        pairs.extend(contexts(bench, results, persistence));
    }
    for (place, probe) in results.depth.iter().map(|c| (c.place, c)) {
        let others = results.probes.iter().filter(|l| l.probe != probe.probe && l.pooling == Some(probe.pooling));
        for line in others.filter(|l| (l.model, l.condition) == (Some(place.model), Some(place.condition))) {
            if let Some(layer) = line.layer {
                let name = format!("{}, {}, layer {layer}", line.probe, bench.study.condition_name(line.condition));
                pairs.push(("probes", place.model, Side { name, predictions: line.predictions.clone() }, side(bench, probe)));
            }
        }
    }
    let mut comparisons: Vec<Comparison> = pairs
        .into_par_iter()
        .filter_map(|(family, model, subject, against)| difference(bench, family, model, &subject, &against))
        .collect();
    for family in ["baselines", "conditions", "contexts", "probes"] {
        let (members, p): (Vec<usize>, Vec<f64>) =
            comparisons.iter().enumerate().filter(|(_, c)| c.family == family).filter_map(|(i, c)| Some((i, c.p?))).unzip();
        for (i, p) in members.into_iter().zip(holm(&p)) {
            comparisons[i].p_holm = Some(p);
        }
    }
    comparisons
}

/// The curve of a model whose representative layer is best: on validation if all were chosen so, else on test.
pub fn best_curve(curves: &[DepthCurve], model: usize) -> Option<&DepthCurve> {
    let ours: Vec<&DepthCurve> = curves.iter().filter(|c| c.place.model == model).collect();
    let losses: Option<Vec<f64>> = ours.iter().map(|c| c.points[c.best].validation_log_loss).collect();
    let at = match losses {
        Some(losses) => super::curves::argmax(losses.iter().map(|l| -l)),
        None => super::curves::argmax(ours.iter().map(|c| c.points[c.best].accuracy.value)),
    };
    ours.get(at).copied()
}

fn side(bench: &Bench<'_>, curve: &DepthCurve) -> Side {
    let best = &curve.points[curve.best];
    let name = format!("{}, {}, layer {}", curve.probe, bench.study.condition_name(Some(curve.place.condition)), best.layer);
    Side { name, predictions: best.predictions.clone() }
}

/// Full context against the masked prompt at the last offset that has both, at the layer of the decay curves.
fn contexts(bench: &Bench<'_>, results: &Results, persistence: &crate::results::Persistence) -> Option<(&'static str, usize, Side, Side)> {
    let ours = |context: Context| {
        bench.cells.iter().filter(move |(c, _)| {
            c.place == persistence.place
                && c.layer == persistence.layer
                && Some(&c.probe) == results.probe.as_ref()
                && c.read_out.context == context
        })
    };
    let (masked, control) = ours(Context::MaskedPrompt).max_by_key(|(c, _)| c.read_out.offset)?;
    let (_, full) = ours(Context::Full).find(|(c, _)| twin(c.read_out, masked.read_out))?;
    let condition = bench.study.condition_name(Some(persistence.place.condition));
    let name = format!("{condition}, layer {}, offset {}, full context", persistence.layer, masked.read_out.offset);
    let subject = Side { name, predictions: full.clone() };
    Some(("contexts", persistence.place.model, subject, Side { name: "masked prompt".to_owned(), predictions: control.clone() }))
}

/// Mean accuracy of one side minus the other's, on the rows that every prediction of both has.
fn difference(bench: &Bench<'_>, family: &'static str, model: usize, subject: &Side, against: &Side) -> Option<Comparison> {
    let rows = bench.truth.len();
    let mut present = vec![true; rows];
    let mut hits = |side: &Side| {
        let mut hits = vec![0.0; rows];
        for i in &side.predictions {
            for (row, guess) in bench.predicted(&bench.study.predictions[*i]).into_iter().enumerate() {
                present[row] &= guess.is_some();
                if guess == Some(bench.truth[row]) {
                    hits[row] += 1.0 / side.predictions.len() as f64;
                }
            }
        }
        hits
    };
    let (ours, theirs) = (hits(subject), hits(against));
    let n = present.iter().filter(|p| **p).count();
    if n == 0 {
        return None;
    }
    let mean = |hits: &[f64]| hits.iter().zip(&present).filter(|(_, p)| **p).map(|(h, _)| h).sum::<f64>() / n as f64;
    let gaps = bench.resamples.sum_real(&bench.groups.column_real(|r| present[r].then(|| ours[r] - theirs[r])));
    let groups = bench.groups.column(|r| u32::from(present[r]));
    let counts = bench.resamples.sum(&groups);
    let draws: Vec<f64> = gaps.iter().zip(counts).map(|(g, n)| if n == 0 { f64::NAN } else { g / f64::from(n) }).collect();
    // Sums of thirds and the like: what should be zero must count as zero in both tails.
    let draws: Vec<f64> = draws.into_iter().map(|d| if d.abs() < 1e-12 { 0.0 } else { d }).collect();
    let (a, b) = (mean(&ours), mean(&theirs));
    let p = (groups.len() > 1).then(|| p_value(a - b, &draws));
    Some(Comparison {
        family,
        model,
        subject: subject.name.clone(),
        against: against.name.clone(),
        subject_accuracy: a,
        against_accuracy: b,
        difference: bench.resamples.estimate_over(groups.len(), a - b, &draws, n),
        p,
        p_holm: p,
    })
}
