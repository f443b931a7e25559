//! The study's measure of one prediction: the one number that curves and differences are about, overall and per class, on
//! all rows and in every resample.

use std::collections::BTreeMap;

use limbic_proto::rows::Scheme;

use super::target::Target;
use crate::results::{Estimate, Measure};
use crate::statistics::comparison::p_value;
use crate::statistics::moments::{Drawn as DrawnMoments, Moments};
use crate::statistics::ranking::{self, Ranked, mean_of_draws};
use crate::statistics::resamples::{Resamples, settled, telling};
use crate::statistics::tally::{RowGroups, Tally};
use crate::statistics::{metrics, several};

/// A statistic on all rows and in every resample.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// On all rows.
    pub value: f64,
    /// In every resample; NaN where it is undefined.
    pub draws: Vec<f64>,
    /// Rows that it is of.
    pub n: usize,
    /// Rows that decide how much it varies: `n`, but for a class those of it or of the others, whichever are fewer.
    pub rests: usize,
    /// Groups that its rows are of.
    pub groups: usize,
}

impl Drawn {
    /// The score with its interval; none of one that is 0 or 1 in every resample.
    pub fn estimate(&self, resamples: &Resamples) -> Estimate {
        if settled(self.value, &self.draws) { Estimate::point(self.value, self.n) } else { self.difference(resamples) }
    }

    /// The difference of two with its interval.
    pub fn difference(&self, resamples: &Resamples) -> Estimate {
        resamples.estimate(self.value, &self.draws, self.n, self.telling())
    }

    /// Whether its resamples tell how much it varies.
    pub fn telling(&self) -> bool {
        telling(self.rests, self.groups)
    }

    /// The p-value of "it is zero"; none where its resamples tell nothing.
    pub fn p_value(&self) -> Option<f64> {
        self.telling().then(|| p_value(&self.draws, self.groups))
    }

    /// The mean of several, resample by resample; none of none.
    pub fn mean(all: &[Drawn]) -> Option<Drawn> {
        let (first, n) = (all.first()?, all.len() as f64);
        let mut draws = vec![0.0; first.draws.len()];
        for one in all {
            draws.iter_mut().zip(&one.draws).for_each(|(sum, d)| *sum += d / n);
        }
        Some(Drawn {
            value: all.iter().map(|d| d.value).sum::<f64>() / n,
            draws,
            n: all.iter().map(|d| d.n).min()?,
            rests: all.iter().map(|d| d.rests).min()?,
            groups: all.iter().map(|d| d.groups).min()?,
        })
    }

    /// One minus another, resample by resample. What is zero but for rounding is zero, so that it counts in both tails.
    pub fn minus(&self, other: &Drawn) -> Drawn {
        let clean = |d: f64| if d.abs() < 1e-12 { 0.0 } else { d };
        Drawn {
            value: clean(self.value - other.value),
            draws: self.draws.iter().zip(&other.draws).map(|(a, b)| clean(a - b)).collect(),
            n: self.n.min(other.n),
            rests: self.rests.min(other.rests),
            groups: self.groups.min(other.groups),
        }
    }
}

/// What predictions are measured with, at one level of the labels.
#[derive(Debug)]
pub struct Ruler<'a> {
    /// The truth.
    pub target: Target,
    /// The test rows by group.
    pub groups: &'a RowGroups,
    /// Each row's group.
    pub group: &'a [u32],
    /// The resamples.
    pub resamples: &'a Resamples,
    /// Under one class a row: per class the rows of it in every resample, for predictions that have every row.
    pub truth: Vec<Vec<u32>>,
}

impl<'a> Ruler<'a> {
    /// Measures against a truth.
    pub fn new(target: Target, groups: &'a RowGroups, group: &'a [u32], resamples: &'a Resamples) -> Ruler<'a> {
        let truth = if target.scheme == Scheme::Single {
            let all: Vec<Option<u32>> = target.class.iter().map(|c| Some(*c)).collect();
            Tally::new(groups, target.classes.len(), &target.class, &all).draw(resamples, None).truth.into_owned()
        } else {
            Vec::new()
        };
        Ruler { target, groups, group, resamples, truth }
    }

    /// Which rows count: those that the prediction has, and of `rows` where it is given.
    pub fn present(&self, values: &[f32], rows: Option<&[bool]>) -> Vec<bool> {
        let mut present = self.target.present(values);
        if let Some(rows) = rows {
            present.iter_mut().zip(rows).for_each(|(p, r)| *p &= r);
        }
        present
    }

    /// How many groups some rows are of.
    pub fn groups_of(&self, present: &[bool]) -> usize {
        self.groups.column(|row| u32::from(present[row])).len()
    }

    /// Row statistics averaged over the rows that count.
    pub fn mean(&self, present: &[bool], of_row: impl Fn(usize) -> f64) -> Option<Drawn> {
        let n = present.iter().filter(|p| **p).count();
        if n == 0 {
            return None;
        }
        let column = self.groups.column(|row| u32::from(present[row]));
        let counts = self.resamples.sum(&column);
        let sums = self.resamples.sum_real(&self.groups.column_real(|row| present[row].then(|| of_row(row))));
        let draws = sums.iter().zip(counts).map(|(s, n)| if n == 0 { f64::NAN } else { s / f64::from(n) }).collect();
        let value = (0..present.len()).filter(|r| present[*r]).map(of_row).sum::<f64>() / n as f64;
        Some(Drawn { value, draws, n, rests: n, groups: column.len() })
    }

    /// The study's measure; none where no row counts, or where it is undefined.
    pub fn headline(&self, values: &[f32], rows: Option<&[bool]>) -> Option<Drawn> {
        let present = self.present(values, rows);
        let found = match self.target.scheme {
            Scheme::Single => {
                let predicted = self.target.predicted(values);
                let hits = self.groups.column(|row| u32::from(present[row] && predicted[row] == Some(self.target.class[row])));
                let all = self.groups.column(|row| u32::from(present[row]));
                let total = |column: &[(u32, u32)]| column.iter().map(|e| e.1 as usize).sum::<usize>();
                let n = total(&all);
                let (hit, drawn) = (self.resamples.sum(&hits), self.resamples.sum(&all));
                let draws = hit.iter().zip(drawn).map(|(h, n)| if n == 0 { f64::NAN } else { f64::from(*h) / f64::from(n) }).collect();
                Drawn { value: total(&hits) as f64 / n as f64, draws, n, rests: n, groups: all.len() }
            }
            _ => {
                let classes: Vec<Drawn> = self.of_classes(values, Some(&present)).into_iter().flatten().collect();
                let (values, lists): (Vec<f64>, Vec<Vec<f64>>) = classes.into_iter().map(|c| (c.value, c.draws)).unzip();
                let n = present.iter().filter(|p| **p).count();
                let value = metrics::mean(values.into_iter());
                Drawn { value, draws: mean_of_draws(&lists, self.resamples.count()), n, rests: n, groups: self.groups_of(&present) }
            }
        };
        (found.n > 0 && !found.value.is_nan()).then_some(found)
    }

    /// What is followed per class: informedness, average precision or Pearson's correlation; none where it is undefined.
    /// `n` counts the rows of the class, or all where it is a number of every row.
    pub fn of_classes(&self, values: &[f32], rows: Option<&[bool]>) -> Vec<Option<Drawn>> {
        let present = self.present(values, rows);
        let classes = self.target.classes.len();
        match self.target.scheme {
            Scheme::Single => {
                let predicted = self.target.predicted(values).into_iter().zip(&present).map(|(p, there)| p.filter(|_| *there));
                let tally = Tally::new(self.groups, classes, &self.target.class, &predicted.collect::<Vec<_>>());
                let (totals, draws) = (tally.totals(), tally.draw(self.resamples, None));
                let all: u32 = totals.truth.iter().sum();
                let of_class = |class: usize| {
                    let [drawn] = draws.map(|t| [metrics::informedness(t, class)]);
                    let own = totals.truth[class];
                    let (n, rests, groups) = (own as usize, own.min(all - own) as usize, tally.truth[class].len());
                    Drawn { value: metrics::informedness(&totals, class), draws: drawn, n, rests, groups }
                };
                (0..classes).map(|class| Some(of_class(class)).filter(|d| d.n > 0 && !d.value.is_nan())).collect()
            }
            Scheme::Multi => {
                let rows: Vec<usize> = (0..present.len()).filter(|r| present[*r]).collect();
                let of_class = |class: usize| {
                    let n = rows.iter().filter(|r| self.target.is(**r, class)).count();
                    let ranked = Ranked::new(values, &rows, classes, class, |r| self.target.is(r, class));
                    (n > 0).then(|| Drawn {
                        value: ranked.precision(),
                        draws: ranked.precision_draws(self.group, self.resamples),
                        n,
                        rests: n.min(rows.len() - n),
                        groups: self.groups.column(|row| u32::from(present[row] && self.target.is(row, class))).len(),
                    })
                };
                (0..classes).map(of_class).collect()
            }
            Scheme::Intensity | Scheme::Continuous => {
                let of_class = |class: usize| {
                    let drawn = self.moments(values, &present, class);
                    let (value, n, (rests, groups)) = (drawn.all.pearson(), drawn.rows(), self.varying(&present, class));
                    (!value.is_nan()).then(|| Drawn { value, draws: drawn.map(Moments::pearson), n, rests, groups })
                };
                (0..classes).map(of_class).collect()
            }
        }
    }

    /// How many of some rows have another than a class's commonest value, on which how its values vary rests, and of how many groups
    /// these are.
    pub fn varying(&self, present: &[bool], class: usize) -> (usize, usize) {
        let classes = self.target.classes.len();
        let value = |row: usize| self.target.values[row * classes + class];
        let mut counts = BTreeMap::<u32, usize>::new();
        (0..present.len()).filter(|row| present[*row]).for_each(|row| *counts.entry(value(row).to_bits()).or_default() += 1);
        let commonest = counts.iter().max_by_key(|(_, count)| **count).map(|(bits, _)| *bits);
        let others: Vec<bool> = (0..present.len()).map(|row| present[row] && Some(value(row).to_bits()) != commonest).collect();
        (others.iter().filter(|there| **there).count(), self.groups_of(&others))
    }

    /// The moments of one class's values.
    pub fn moments(&self, values: &[f32], present: &[bool], class: usize) -> DrawnMoments {
        let (classes, truth) = (self.target.classes.len(), &self.target.values);
        let all = truth.iter().skip(class).step_by(classes).map(|v| f64::from(*v));
        let origin = all.sum::<f64>() / present.len().max(1) as f64;
        let pair = |row: usize| {
            let at = row * classes + class;
            present[row].then(|| (f64::from(truth[at]), f64::from(values[at])))
        };
        DrawnMoments::new(self.groups, self.resamples, origin, pair)
    }
}

/// Per class the share of some rows that are of it.
pub fn shares(target: &Target, rows: &[bool]) -> Vec<f64> {
    let n = rows.iter().filter(|there| **there).count().max(1) as f64;
    let count = |class: usize| (0..rows.len()).filter(|row| rows[*row] && target.is(*row, class)).count() as f64;
    (0..target.classes.len()).map(|class| count(class) / n).collect()
}

/// Per label the average precision that so many rows, of which these shares have it, have on average in a random order; 0 of one
/// that none has.
pub fn at_random(shares: &[f64], rows: usize) -> Vec<f64> {
    let of = |share: &f64| (share * rows as f64).round() as usize;
    shares.iter().map(of).map(|hits| if hits == 0 { 0.0 } else { ranking::at_random(hits, rows) }).collect()
}

/// The mean over the labels that some row has.
pub fn mean_of_labels(of_labels: &[f64]) -> f64 {
    metrics::mean(of_labels.iter().copied().filter(|v| *v > 0.0))
}

/// The study's measure, but for its floor.
pub fn measure(target: &Target) -> Measure {
    let shares = shares(target, &vec![true; target.rows()]);
    match target.scheme {
        Scheme::Single => Measure {
            name: "accuracy",
            words: "accuracy",
            of_class: "informedness",
            share: true,
            floor: shares.iter().copied().fold(0.0, f64::max),
            class_floors: vec![0.0; shares.len()],
        },
        Scheme::Multi => {
            let floors = at_random(&shares, target.rows());
            Measure {
                name: "map",
                words: "mean average precision",
                of_class: "average precision",
                share: true,
                floor: mean_of_labels(&floors),
                class_floors: floors,
            }
        }
        Scheme::Intensity | Scheme::Continuous => Measure {
            name: "pearson",
            words: "mean Pearson's r",
            of_class: "Pearson's r",
            share: false,
            floor: 0.0,
            class_floors: vec![0.0; shares.len()],
        },
    }
}

/// Whether a row's labels are all as predicted: its most probable class, or every label at the threshold. None where labels
/// are numbers.
pub fn right(target: &Target, values: &[f32]) -> Option<Vec<Option<bool>>> {
    let classes = target.classes.len();
    match target.scheme {
        Scheme::Single => {
            let predicted = target.predicted(values).into_iter().zip(&target.class);
            Some(predicted.map(|(p, truth)| p.map(|p| p == *truth)).collect())
        }
        Scheme::Multi => {
            let present = target.present(values).into_iter().enumerate();
            let slice = |of: &[f32], row: usize| of[row * classes..][..classes].to_vec();
            Some(present.map(|(row, there)| there.then(|| several::exact(&slice(&target.values, row), &slice(values, row)))).collect())
        }
        Scheme::Intensity | Scheme::Continuous => None,
    }
}
