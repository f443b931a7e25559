//! Paired differences, each over the test rows that both sides predict: probe against baselines and controls, model against
//! model, condition against condition, context against context, probe against probe, at home against carried over, to another
//! condition or a later offset.

mod pairs;

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::bench::Bench;
use super::measure::{Drawn, right};
use crate::results::{Comparison, Results};
use crate::statistics::comparison::{benjamini_hochberg, holm};
use crate::statistics::power;

/// One side of a difference: what it is called, and its predictions (seeds).
#[derive(Debug, Clone)]
pub struct Side {
    /// In words.
    pub name: String,
    /// Indices of predictions.
    pub predictions: Vec<usize>,
}

/// Two sides that belong to one family.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Corrections for several tests are within one.
    pub family: &'static str,
    /// The model.
    pub model: usize,
    /// The condition, where there is one of both.
    pub condition: Option<usize>,
    /// What is compared.
    pub subject: Side,
    /// With what.
    pub against: Side,
}

/// All paired differences.
pub fn all(bench: &Bench<'_>, results: &Results) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = pairs::all(bench, results).into_par_iter().filter_map(|pair| difference(bench, &pair)).collect();
    correct(&mut comparisons);
    comparisons
}

/// What is corrected together: a family; of controls those of one probe beside one control, because another probe or control asks
/// another question.
fn question(c: &Comparison) -> (&'static str, String) {
    let probe = c.subject.split(',').next().unwrap_or_default();
    (c.family, if c.family == "controls" { format!("{probe}, {}", c.against) } else { String::new() })
}

/// Corrects for several tests within each question.
pub fn correct(comparisons: &mut [Comparison]) {
    let questions: BTreeSet<(&'static str, String)> = comparisons.iter().map(question).collect();
    for asked in questions {
        let of = |(i, c): (usize, &Comparison)| Some((i, c.p?)).filter(|_| question(c) == asked);
        let (members, p): (Vec<usize>, Vec<f64>) = comparisons.iter().enumerate().filter_map(of).unzip();
        for ((i, strict), discovery) in members.into_iter().zip(holm(&p)).zip(benjamini_hochberg(&p)) {
            let c = &mut comparisons[i];
            (c.p_holm, c.p_bh, c.corrected) = (Some(strict), Some(discovery), p.len());
        }
    }
}

/// Two sides on the rows that both have.
struct Met {
    subject: Drawn,
    against: Drawn,
    /// The mean squared difference between how often both sides are right about a row, where rows are right or wrong by the measure
    /// itself: of single fits the share of rows of which one side is right alone.
    discordance: Option<f64>,
}

/// Mean score of one side minus the other's, on the rows that every prediction of both has. What depends on the replies of
/// several sampling seeds meets what depends on the same ones, and the mean over seeds counts.
pub fn difference(bench: &Bench<'_>, pair: &Pair) -> Option<Comparison> {
    let pairs = bench.paired(&pair.subject.predictions, &pair.against.predictions);
    let met: Vec<Met> = pairs.iter().map(|(_, ours, theirs)| meet(bench, ours, theirs)).collect::<Option<_>>()?;
    let mean = |side: fn(&Met) -> &Drawn| Drawn::mean(&met.iter().map(|m| side(m).clone()).collect::<Vec<_>>());
    let (a, b) = (mean(|m| &m.subject)?, mean(|m| &m.against)?);
    let difference = a.minus(&b);
    let p = difference.p_value();
    let discordance: Option<f64> = met.iter().map(|m| m.discordance).sum::<Option<f64>>().map(|sum| sum / met.len() as f64);
    Some(Comparison {
        family: pair.family,
        model: pair.model,
        condition: pair.condition,
        subject: pair.subject.name.clone(),
        against: pair.against.name.clone(),
        subject_score: a.value,
        against_score: b.value,
        difference: difference.difference(bench.ruler.resamples),
        p,
        p_holm: p,
        p_bh: p,
        corrected: usize::from(p.is_some()),
        detectable: detectable(bench, &difference, discordance),
    })
}

fn meet(bench: &Bench<'_>, subject: &[usize], against: &[usize]) -> Option<Met> {
    let values: Option<Vec<_>> = subject.iter().chain(against).map(|i| bench.read(*i)).collect();
    let values = values.filter(|_| !subject.is_empty() && !against.is_empty())?;
    let mut rows = vec![true; bench.ruler.target.rows()];
    values.iter().for_each(|v| rows = bench.ruler.present(v, Some(&rows)));
    let (ours, theirs) = values.split_at(subject.len());
    let side = |of: &[std::sync::Arc<Vec<f32>>]| -> Option<Drawn> {
        Drawn::mean(&of.iter().map(|v| bench.ruler.headline(v, Some(&rows))).collect::<Option<Vec<_>>>()?)
    };
    let (a, b) = (side(ours)?, side(theirs)?);
    let [hits_a, hits_b] = [ours, theirs].map(|side| hits(bench, side));
    let discordance = hits_a.zip(hits_b).map(|(ours, theirs)| {
        let differ = |row: usize| (ours[row] - theirs[row]).powi(2);
        (0..rows.len()).filter(|r| rows[*r]).map(differ).sum::<f64>() / a.n.min(b.n) as f64
    });
    Some(Met { subject: a, against: b, discordance })
}

/// Per row, the share of a side's seeds that are right, where rows are right or wrong by the measure itself.
fn hits(bench: &Bench<'_>, side: &[std::sync::Arc<Vec<f32>>]) -> Option<Vec<f64>> {
    if bench.measure.name != "accuracy" {
        return None;
    }
    let mut hits = vec![0.0; bench.ruler.target.rows()];
    for values in side {
        for (hit, right) in hits.iter_mut().zip(right(&bench.ruler.target, values)?) {
            *hit += f64::from(u8::from(right == Some(true))) / side.len() as f64;
        }
    }
    Some(hits)
}

/// The smallest difference that such a comparison shows with 80 % power. Where rows are right or wrong it follows from how
/// many differ; rows of one group tell less than as many rows of several, by as much as the bootstrap's variance is larger
/// than that of single rows (the design effect, Kish 1965).
pub fn detectable(bench: &Bench<'_>, difference: &Drawn, discordance: Option<f64>) -> Option<f64> {
    let z = power::two_sided(bench.study.options.confidence);
    let defined: Vec<f64> = difference.draws.iter().copied().filter(|d| !d.is_nan()).collect();
    if !difference.telling() || defined.len() < 2 {
        return None;
    }
    let mean = defined.iter().sum::<f64>() / defined.len() as f64;
    let variance = defined.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (defined.len() - 1) as f64;
    let Some(discordance) = discordance else { return (variance > 0.0).then(|| power::from_error(variance.sqrt(), z)) };
    let n = difference.n as f64;
    let single = (discordance - difference.value.powi(2)) / n;
    let effect = if single > 0.0 { (variance / single).max(1.0) } else { 1.0 };
    power::smallest_difference(discordance, n / effect, z)
}
