//! Scores of what several predictions stand for together, one per seed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Drawn, Ends, Sheet, of_classes, order_alone};
use crate::evaluate::bench::Bench;
use crate::results::{Catalogue, Line, Scores};

/// The sum over seeds of a metric, resample by resample.
struct Sum {
    seeds: usize,
    value: f64,
    draws: Option<Vec<f64>>,
    ends: Ends,
    n: usize,
    telling: bool,
}

impl Sum {
    fn new(one: &Drawn<'_>) -> Sum {
        let draws = one.draws.map(<[f64]>::to_vec);
        Sum { seeds: 1, value: one.value, draws, ends: one.ends, n: one.n, telling: one.telling }
    }

    fn add(&mut self, one: &Drawn<'_>) {
        self.seeds += 1;
        self.value += one.value;
        if let (Some(sum), Some(draws)) = (&mut self.draws, one.draws) {
            sum.iter_mut().zip(draws).for_each(|(s, d)| *s += d);
        }
        if let (Ends::Noisy(sum), Ends::Noisy(most)) = (&mut self.ends, one.ends) {
            *sum += most;
        }
        self.n = self.n.min(one.n);
        self.telling &= one.telling;
    }
}

/// Of every line of several seeds the mean of its metrics, with the interval of the mean; `of_single` says of which those of
/// single classes are wanted.
pub fn over_seeds(
    bench: &Bench<'_>,
    catalogue: &Catalogue,
    lines: &[&Line],
    of_single: impl Fn(&Line) -> bool,
) -> BTreeMap<Vec<usize>, Scores> {
    let several: BTreeMap<&[usize], bool> =
        lines.iter().filter(|l| l.predictions.len() > 1).map(|l| (l.predictions.as_slice(), of_single(l))).collect();
    several.into_par_iter().filter_map(|(seeds, detailed)| Some((seeds.to_vec(), mean(bench, catalogue, seeds, detailed)?))).collect()
}

/// A metric that a seed lacks has no mean.
fn mean(bench: &Bench<'_>, catalogue: &Catalogue, seeds: &[usize], detailed: bool) -> Option<Scores> {
    let resamples = bench.ruler.resamples;
    let mut sums: BTreeMap<u16, Sum> = BTreeMap::new();
    for i in seeds {
        let put = &mut |id: u16, one: Drawn<'_>| {
            sums.entry(id).and_modify(|sum| sum.add(&one)).or_insert_with(|| Sum::new(&one));
        };
        let p = &bench.study.predictions[*i];
        let mut sheet = Sheet { catalogue, level: None, put, only: order_alone(p, bench.study.scheme), detailed, ranked: true };
        of_classes(&mut sheet, bench, p, &bench.read(*i)?);
    }
    let mut scores = Scores::default();
    let share = 1.0 / seeds.len() as f64;
    for (id, mut sum) in sums.into_iter().filter(|(_, sum)| sum.seeds == seeds.len()) {
        sum.draws.iter_mut().flatten().for_each(|d| *d *= share);
        if let Ends::Noisy(most) = &mut sum.ends {
            *most *= share;
        }
        let Sum { value, draws, ends, n, telling, .. } = sum;
        scores.put(id, Drawn { value: value * share, draws: draws.as_deref(), ends, n, telling }.estimate(resamples));
    }
    Some(scores)
}
