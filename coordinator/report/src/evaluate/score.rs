//! Scores of every prediction: what each scheme is measured by, at every level of the labels.

mod seeds;
mod single;
mod valued;

use std::collections::BTreeSet;

use limbic_proto::rows::Scheme;
use rayon::prelude::*;
pub use seeds::over_seeds;

use super::bench::Bench;
use super::measure::Ruler;
use crate::results::{Catalogue, Estimate, Scores};
use crate::statistics::calibration::{EceDraws, ece_interval};
use crate::statistics::resamples::{Resamples, settled, telling};
use crate::study::Prediction;

/// Weighted additions (rows x classes x resamples x predictions) spent on intervals of statistics that need the rows
/// ranked before only baselines and representative layers get them: a few seconds on two cores.
const BUDGET: usize = 6_000_000_000;

/// Predictions up to which metrics of single classes and coarser levels are kept of all; beyond, of those at offset 0 alone.
const DETAILED: usize = 200_000;

/// A metric before it has an interval.
struct Drawn<'a> {
    value: f64,
    /// In every resample; without them it has no interval.
    draws: Option<&'a [f64]>,
    ends: Ends,
    n: usize,
    /// Whether its draws tell how much it varies.
    telling: bool,
}

/// What the ends of a metric's interval are.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// Quantiles of its draws.
    Quantiles,
    /// The same, moved by the bias that resampling shows, once for the draws' and once for the value's own.
    Unbiased,
    /// Those of a calibration error, to which noise can have added so much at most.
    Noisy(f64),
}

impl Drawn<'_> {
    fn estimate(&self, resamples: &Resamples) -> Estimate {
        let Some(draws) = self.draws.filter(|_| self.telling) else { return Estimate::point(self.value, self.n) };
        let interval = match self.ends {
            Ends::Quantiles if settled(self.value, draws) => None,
            Ends::Quantiles => resamples.interval(draws),
            Ends::Unbiased => resamples.unbiased_interval(self.value, draws),
            Ends::Noisy(most) => ece_interval(self.value, draws, most, resamples),
        };
        Estimate { value: self.value, lo: interval.map(|i| i.0), hi: interval.map(|i| i.1), n: self.n }
    }
}

/// One prediction's metrics in the making, at one level.
struct Sheet<'a> {
    catalogue: &'a Catalogue,
    level: Option<usize>,
    /// Where they go.
    put: &'a mut dyn FnMut(u16, Drawn<'_>),
    /// The metrics that its values mean anything by; none where they mean all.
    only: Option<&'static [&'static str]>,
    /// Whether metrics of single classes are wanted.
    detailed: bool,
    /// Whether intervals of what needs ranking are wanted.
    ranked: bool,
}

impl Sheet<'_> {
    /// The place of a metric that is measured.
    fn id(&self, name: &str) -> Option<u16> {
        let whole = name.split_once(':').map_or(name, |(whole, _)| whole);
        self.catalogue.id(self.level, name).filter(|_| self.only.is_none_or(|only| only.contains(&whole)))
    }

    /// Adds a metric of so many rows, which are of so many groups; without draws it has no interval.
    fn put(&mut self, name: &str, value: f64, draws: Option<&[f64]>, n: usize, groups: usize) {
        self.put_of_class(name, value, draws, n, (n, groups));
    }

    /// Adds a metric of so many rows whose variation hangs on other, fewer ones: their number, and that of their groups.
    fn put_of_class(&mut self, name: &str, value: f64, draws: Option<&[f64]>, n: usize, (rests, groups): (usize, usize)) {
        let Some(id) = self.id(name) else { return };
        (self.put)(id, Drawn { value, draws, ends: Ends::Quantiles, n, telling: telling(rests, groups) });
    }

    /// Adds a mean of F1 scores, which few rows of a class make too low.
    fn put_biased(&mut self, name: &str, value: f64, draws: &[f64], n: usize, groups: usize) {
        let Some(id) = self.id(name) else { return };
        (self.put)(id, Drawn { value, draws: Some(draws), ends: Ends::Unbiased, n, telling: telling(n, groups) });
    }

    /// Adds a calibration error.
    fn put_noisy(&mut self, name: &str, value: f64, gaps: &EceDraws, n: usize, groups: usize) {
        let Some(id) = self.id(name) else { return };
        (self.put)(id, Drawn { value, draws: Some(&gaps.draws), ends: Ends::Noisy(gaps.most), n, telling: telling(n, groups) });
    }
}

/// The names of all metrics of a study.
pub fn catalogue(bench: &Bench<'_>) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let levels = bench.levels.iter().map(|(_, ruler)| ruler).enumerate().map(|(i, ruler)| (Some(i), ruler));
    for (level, ruler) in std::iter::once((None, &bench.ruler)).chain(levels) {
        let scheme = ruler.target.scheme;
        let (whole, of_class): (&[&str], &[&str]) = match scheme {
            Scheme::Single => (single::WHOLE, single::OF_CLASS),
            Scheme::Multi => (valued::SEVERAL, valued::OF_LABEL),
            Scheme::Intensity => (valued::INTENSITY, valued::INTENSITY),
            Scheme::Continuous => (valued::CONTINUOUS, valued::CONTINUOUS),
        };
        whole.iter().for_each(|name| _ = catalogue.add(level, (*name).to_owned()));
        if level.is_none() {
            for name in ["coverage", "accuracy-over-all", "mdl-bits", "mdl-compression"] {
                catalogue.add(None, name.to_owned());
            }
        }
        for class in &ruler.target.classes {
            of_class.iter().for_each(|name| _ = catalogue.add(level, format!("{name}:{class}")));
        }
    }
    catalogue
}

/// Whether intervals of what needs ranking are affordable for all predictions.
pub fn affordable(bench: &Bench<'_>) -> bool {
    let study = bench.study;
    let cost = study.test.len() * study.classes.len() * study.options.resamples;
    matches!(study.scheme, Scheme::Intensity | Scheme::Continuous) || cost.saturating_mul(study.predictions.len()) <= BUDGET
}

/// Scores all predictions, or those of `only`.
pub fn all(bench: &Bench<'_>, catalogue: &Catalogue, only: Option<&BTreeSet<usize>>, ranked: bool) -> Vec<(usize, Scores)> {
    let wanted: Vec<usize> = match only {
        Some(only) => only.iter().copied().collect(),
        None => (0..bench.study.predictions.len()).collect(),
    };
    let few = bench.study.predictions.len() <= DETAILED;
    wanted
        .into_par_iter()
        .map(|i| {
            let p = &bench.study.predictions[i];
            let detailed = few || only.is_some() || (p.read_out.is_none_or(|r| r.offset == 0) && p.at_home());
            (i, one(bench, catalogue, i, detailed, ranked).unwrap_or_default())
        })
        .collect()
}

/// Whether every prediction has metrics of single classes and levels.
pub fn detailed(bench: &Bench<'_>) -> bool {
    bench.study.predictions.len() <= DETAILED
}

fn one(bench: &Bench<'_>, catalogue: &Catalogue, index: usize, detailed: bool, ranked: bool) -> Option<Scores> {
    let p = &bench.study.predictions[index];
    if !p.exists() {
        return None;
    }
    let values = bench.read(index)?;
    let mut scores = Scores::default();
    let resamples = bench.ruler.resamples;
    let put = &mut |id: u16, drawn: Drawn<'_>| scores.put(id, drawn.estimate(resamples));
    let mut sheet = Sheet { catalogue, level: None, put, only: order_alone(p, bench.study.scheme), detailed, ranked };
    of_classes(&mut sheet, bench, p, &values);
    if detailed {
        for (level, (rollup, ruler)) in bench.levels.iter().enumerate() {
            let values = rollup.values(ruler.target.scheme, &values);
            sheet.level = Some(level);
            fill(&mut sheet, ruler, &values);
        }
    }
    Some(scores)
}

/// The metrics of predictions whose values say in which order rows come, and no more: a model that is asked which label a text has
/// shares one probability out among all of them, where several may be true, or each has a level.
fn order_alone(p: &Prediction, scheme: Scheme) -> Option<&'static [&'static str]> {
    match scheme {
        Scheme::Multi if LIKELIHOODS.contains(&&*p.probe) => Some(&["map", "ap", "auroc", "ranking-precision"]),
        Scheme::Intensity if LIKELIHOODS.contains(&&*p.probe) => Some(&["pearson"]),
        Scheme::Intensity if &*p.probe == WRITTEN => Some(&["pearson", "coverage", "accuracy-over-all"]),
        _ => None,
    }
}

/// Baselines that are likelihoods of answers, and the one that is a written answer.
const LIKELIHOODS: [&str; 3] = ["zero-shot", "zero-shot-mean", "zero-shot-calibrated"];
const WRITTEN: &str = "zero-shot-json";

/// What is measured at the level of the classes themselves.
fn of_classes(sheet: &mut Sheet<'_>, bench: &Bench<'_>, p: &Prediction, values: &[f32]) {
    fill(sheet, &bench.ruler, values);
    answers(sheet, &bench.ruler, p, values);
    if let Some(mdl) = p.fit.as_ref().and_then(|f| f.mdl) {
        sheet.put("mdl-bits", mdl.bits, None, 0, 0);
        sheet.put("mdl-compression", mdl.uniform_bits / mdl.bits, None, 0, 0);
    }
}

fn fill(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, values: &[f32]) {
    match ruler.target.scheme {
        Scheme::Single => single::fill(sheet, ruler, values),
        Scheme::Multi => valued::several(sheet, ruler, values),
        Scheme::Intensity | Scheme::Continuous => valued::numbers(sheet, ruler, values),
    }
}

/// Of written answers: how many could be read, and how many are right among all.
fn answers(sheet: &mut Sheet<'_>, ruler: &Ruler<'_>, p: &Prediction, values: &[f32]) {
    if &*p.probe != WRITTEN {
        return;
    }
    let read = ruler.target.present(values);
    let mut asked = read.clone();
    p.unreadable.iter().for_each(|row| asked[*row as usize] = true);
    if let Some(covered) = ruler.mean(&asked, |row| f64::from(u8::from(read[row]))) {
        sheet.put("coverage", covered.value, Some(&covered.draws), covered.n, covered.groups);
    }
    let Some(right) = super::measure::right(&ruler.target, values) else { return };
    if let Some(over_all) = ruler.mean(&asked, |row| f64::from(u8::from(right[row] == Some(true)))) {
        sheet.put("accuracy-over-all", over_all.value, Some(&over_all.draws), over_all.n, over_all.groups);
    }
}
