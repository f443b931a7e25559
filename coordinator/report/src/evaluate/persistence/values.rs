//! What decays are fitted to: the measure over offsets, of all sampling seeds together and of each alone, and a curve beside
//! its control.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::Context;

use super::super::bench::Bench;
use super::super::measure::Drawn;
use super::floor::{Floor, floor};
use crate::results::Spread;

/// The measure of some predictions, and what is followed per class.
type Whole = (Drawn, Vec<Option<Drawn>>);

/// The values of each sampling seed, overall and per class; under none where nothing was drawn.
type OfSeeds = BTreeMap<Option<u64>, (f64, Vec<Option<f64>>)>;

/// The measure at one offset, and what is followed per class: means over sampling seeds.
pub(super) struct AtOffset {
    whole: Drawn,
    classes: Vec<Option<Drawn>>,
    /// The values of each sampling seed; under none where nothing was drawn.
    seeds: OfSeeds,
}

impl AtOffset {
    /// Of some predictions, each on its own rows; none where one is undefined.
    pub fn of(bench: &Bench<'_>, predictions: &[usize]) -> Option<AtOffset> {
        let of = |(seed, p): (Option<u64>, Vec<usize>)| Some((seed, (bench.drawn(&p)?, bench.of_classes(&p, None))));
        AtOffset::mean(bench.by_sampling_seed(predictions).into_iter().map(of).collect::<Option<Vec<_>>>()?)
    }

    /// What the same predictions would have without any signal, each on its own rows.
    pub fn floor(bench: &Bench<'_>, predictions: &[usize]) -> Option<AtOffset> {
        let of = |i: &usize| {
            let named = bench.study.predictions[*i].fit.as_ref().and_then(|fit| fit.commonest);
            let Floor { whole, classes } = floor(bench, &bench.ruler.present(&bench.read(*i)?, None), named)?;
            Some((whole, classes.into_iter().map(Some).collect()))
        };
        let seeds = bench.by_sampling_seed(predictions).into_iter();
        let of_seed = |(seed, p): (Option<u64>, Vec<usize>)| {
            let all: Vec<(Option<u64>, Whole)> = p.iter().map(|i| Some((None, of(i)?))).collect::<Option<_>>()?;
            let mean = AtOffset::mean(all)?;
            Some((seed, (mean.whole, mean.classes)))
        };
        AtOffset::mean(seeds.map(of_seed).collect::<Option<Vec<_>>>()?)
    }

    /// The mean over sampling seeds; none of none.
    fn mean(seeds: Vec<(Option<u64>, Whole)>) -> Option<AtOffset> {
        let classes = seeds.first()?.1.1.len();
        let of_class = |class: usize| {
            let all: Option<Vec<Drawn>> = seeds.iter().map(|s| s.1.1[class].clone()).collect();
            Drawn::mean(&all?)
        };
        let whole: Vec<Drawn> = seeds.iter().map(|s| s.1.0.clone()).collect();
        let value = |(seed, (whole, classes)): &(Option<u64>, Whole)| {
            (*seed, (whole.value, classes.iter().map(|c| c.as_ref().map(|c| c.value)).collect()))
        };
        Some(AtOffset {
            whole: Drawn::mean(&whole)?,
            classes: (0..classes).map(of_class).collect(),
            seeds: seeds.iter().map(value).collect(),
        })
    }
}

/// The measure over offsets, and what is followed per class.
pub(super) struct Values {
    whole: Vec<Drawn>,
    /// `[classes][offsets]`; none for a class that is undefined somewhere.
    classes: Vec<Option<Vec<Drawn>>>,
    /// At each offset the values of each sampling seed.
    seeds: Vec<OfSeeds>,
}

impl Values {
    pub fn new(at: Vec<AtOffset>, classes: usize) -> Values {
        let class = |class: usize| at.iter().map(|d| d.classes[class].clone()).collect::<Option<Vec<Drawn>>>();
        let classes = (0..classes).map(class).collect();
        let (whole, seeds) = at.into_iter().map(|d| (d.whole, d.seeds)).unzip();
        Values { whole, classes, seeds }
    }

    /// The mean over sampling seeds at every offset, over all classes or of one.
    pub fn of(&self, class: Option<usize>) -> Option<&Vec<Drawn>> {
        match class {
            None => Some(&self.whole),
            Some(class) => self.classes[class].as_ref(),
        }
    }

    /// All sampling seeds, ascending; none where there are fewer than two.
    fn seeds(&self) -> BTreeSet<u64> {
        let seeds: BTreeSet<u64> = self.seeds.iter().flat_map(|at| at.keys()).copied().flatten().collect();
        if seeds.len() > 1 { seeds } else { BTreeSet::new() }
    }

    /// One sampling seed's curve; offsets that depend on no reply are in every one. None if it lacks an offset.
    fn of_seed(&self, seed: u64, class: Option<usize>) -> Option<Vec<f64>> {
        let value = |at: &OfSeeds| {
            let (whole, classes) = at.get(&Some(seed)).or(at.get(&None))?;
            class.map_or(Some(*whole), |class| classes[class])
        };
        self.seeds.iter().map(value).collect()
    }

    /// What the curve of every sampling seed has above another's, seeds ascending; none where there are fewer than two.
    pub fn above(&self, level: &Values, class: Option<usize>) -> Vec<Vec<f64>> {
        let above = |seed: u64| {
            let (curve, level) = (self.of_seed(seed, class)?, level.of_seed(seed, class)?);
            Some(curve.iter().zip(level).map(|(c, l)| c - l).collect())
        };
        self.seeds().into_iter().filter_map(above).collect()
    }

    /// How far each offset depends on the sampling seed; nothing where none does.
    pub fn spread(&self, class: Option<usize>) -> Vec<Option<Spread>> {
        let at = |at: &OfSeeds| {
            let values: Option<Vec<f64>> = at.values().map(|(whole, classes)| class.map_or(Some(*whole), |c| classes[c])).collect();
            Spread::of(&values?)
        };
        let all: Vec<Option<Spread>> = self.seeds.iter().map(at).collect();
        if all.iter().any(Option::is_some) { all } else { Vec::new() }
    }
}

/// The offsets of a curve, and the predictions behind each.
type Curve<'a> = (&'a [u32], &'a [&'a [usize]]);

/// A curve beside a control's, over the offsets that both have, at each on the rows that both have of the same replies.
pub(super) struct Beside {
    pub control: Context,
    pub offsets: Vec<u32>,
    pub curve: Values,
    pub level: Values,
}

impl Beside {
    /// None if fewer than two offsets are shared, such as offset 0: before there is a reply there is no control.
    pub fn new(bench: &Bench<'_>, curve: Curve<'_>, control: Context, against: Curve<'_>) -> Option<Beside> {
        let (mut offsets, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for (k, subject) in curve.0.iter().zip(curve.1) {
            let Some(there) = against.0.iter().position(|o| o == k) else { continue };
            let pairs = bench.paired(subject, against.1[there]);
            let both: Option<Vec<(Option<u64>, Whole, Whole)>> =
                pairs.into_iter().map(|(seed, a, b)| both(bench, &a, &b).map(|(a, b)| (seed, a, b))).collect();
            let Some(both) = both else { continue };
            let (our, their): (Vec<_>, Vec<_>) = both.into_iter().map(|(seed, a, b)| ((seed, a), (seed, b))).unzip();
            if let (Some(our), Some(their)) = (AtOffset::mean(our), AtOffset::mean(their)) {
                offsets.push(*k);
                ours.push(our);
                theirs.push(their);
            }
        }
        let classes = bench.study.classes.len();
        let (curve, level) = (Values::new(ours, classes), Values::new(theirs, classes));
        (offsets.len() > 1).then_some(Beside { control, offsets, curve, level })
    }

    /// The lead of every sampling seed's curve, seeds ascending; none where there are fewer than two.
    pub fn of_seeds(&self, class: Option<usize>) -> Vec<Vec<f64>> {
        self.curve.above(&self.level, class)
    }
}

/// Two sides on the rows that both have.
fn both(bench: &Bench<'_>, subject: &[usize], against: &[usize]) -> Option<(Whole, Whole)> {
    let mut rows = vec![true; bench.ruler.target.rows()];
    for prediction in subject.iter().chain(against) {
        rows = bench.ruler.present(&bench.read(*prediction)?, Some(&rows));
    }
    let of = |predictions: &[usize]| Some((bench.drawn_on(predictions, Some(&rows))?, bench.of_classes(predictions, Some(&rows))));
    Some((of(subject)?, of(against)?))
}
