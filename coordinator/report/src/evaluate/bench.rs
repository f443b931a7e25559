//! What all summaries share: the test rows, their resamples, and the predictions by where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::spec::Control;

use super::measure::{Drawn, Ruler};
use super::target::Rollup;
use crate::results::{Estimate, Measure, Place};
use crate::statistics::resamples::Resamples;
use crate::statistics::tally::RowGroups;
use crate::study::{Fit, ReportError, Study};

/// A place's fits by one probe, as one origin: everything but layer, read-out and seed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Whose states.
    pub place: Place,
    /// The probe.
    pub probe: Arc<str>,
    /// What it is.
    pub origin: Origin,
}

/// Whether it is the probe itself, or a control, or one that was fitted elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The control that it is.
    pub control: Option<Control>,
    /// The condition that it was fitted under, where that is another one.
    pub fitted_condition: Option<usize>,
    /// The read-out that it was fitted at, where that is another one.
    pub fitted_at: Option<ReadOut>,
}

/// Predictions by layer and read-out, one per sampling seed and seed.
pub type Cells = BTreeMap<(Layer, ReadOut), Vec<usize>>;

/// Two sides of a comparison that depend on the replies of one sampling seed, or on none.
pub type Sides = (Option<u64>, Vec<usize>, Vec<usize>);

/// What all summaries share.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The study.
    pub study: &'a Study,
    /// What predictions are measured with.
    pub ruler: Ruler<'a>,
    /// The same at every coarser level.
    pub levels: Vec<(Rollup, Ruler<'a>)>,
    /// What curves and differences are about.
    pub measure: Measure,
    /// Predictions by where they belong, sampling seeds and seeds ascending; fits that are absent are left out.
    pub cells: BTreeMap<Series, Cells>,
    /// The poolings that probes were fitted at, at the prompt; where there are several, probes are named with theirs.
    pub poolings: Vec<Pooling>,
    /// Per prediction the study's measure without an interval, where it is defined.
    pub values: Vec<Option<f64>>,
    /// Per prediction the rows that it has.
    pub rows: Vec<u32>,
    /// The first thing that couldn't be read.
    pub failed: Mutex<Option<ReportError>>,
}

/// The test rows and their resamples, on which a bench stands.
#[derive(Debug)]
pub struct Ground {
    /// The rows by group.
    pub groups: RowGroups,
    /// Each row's group.
    pub group: Vec<u32>,
    /// The resamples.
    pub resamples: Resamples,
}

impl Ground {
    /// The ground of a study.
    pub fn new(study: &Study) -> Ground {
        let groups = RowGroups::new(study.test.iter().map(|r| r.group.as_str()));
        let resamples = Resamples::new(groups.groups(), study.options.resamples, study.options.confidence, study.seed);
        let mut group = vec![0; study.test.len()];
        for (g, row) in groups.iter() {
            group[row] = g;
        }
        Ground { groups, group, resamples }
    }
}

impl Bench<'_> {
    /// A prediction's values; none where it can't be read or has another shape, which ends the evaluation.
    pub fn read(&self, prediction: usize) -> Option<Arc<Vec<f32>>> {
        let p = &self.study.predictions[prediction];
        let (rows, classes) = (self.study.test.len(), self.study.classes.len());
        let found = match p.values.read() {
            Ok(values) if values.len() == rows * classes => return Some(values),
            Ok(values) => ReportError::Shape { prediction, rows, classes, len: values.len() },
            Err(message) => ReportError::Read { what: format!("prediction {prediction} ({})", p.probe), message },
        };
        self.fail(found);
        None
    }

    /// Notes what couldn't be read.
    pub fn fail(&self, error: ReportError) {
        self.failed.lock().expect("nobody panicked with it").get_or_insert(error);
    }

    /// The measure of some predictions (seeds), mean over them.
    pub fn drawn(&self, predictions: &[usize]) -> Option<Drawn> {
        self.drawn_on(predictions, None)
    }

    /// The same, on some rows alone.
    pub fn drawn_on(&self, predictions: &[usize], rows: Option<&[bool]>) -> Option<Drawn> {
        let all: Option<Vec<Drawn>> = predictions.iter().map(|i| self.ruler.headline(&self.read(*i)?, rows)).collect();
        Drawn::mean(&all?)
    }

    /// The same with its interval.
    pub fn estimate(&self, predictions: &[usize]) -> Option<Estimate> {
        Some(self.drawn(predictions)?.estimate(self.ruler.resamples))
    }

    /// The measure without an interval, mean over some predictions.
    pub fn value(&self, predictions: &[usize]) -> Option<f64> {
        let all: Option<Vec<f64>> = predictions.iter().map(|i| self.values[*i]).collect();
        all.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
    }

    /// The same as an estimate without an interval, of as many rows as the prediction of the fewest.
    pub fn point(&self, predictions: &[usize]) -> Option<Estimate> {
        let n = predictions.iter().map(|i| self.rows[*i]).min()?;
        Some(Estimate::point(self.value(predictions)?, n as usize))
    }

    /// What is followed per class, mean over some predictions, on some rows alone if they are given; none for a class of
    /// which one has none.
    pub fn of_classes(&self, predictions: &[usize], rows: Option<&[bool]>) -> Vec<Option<Drawn>> {
        let seeds: Vec<Vec<Option<Drawn>>> =
            predictions.iter().filter_map(|i| Some(self.ruler.of_classes(&self.read(*i)?, rows))).collect();
        let of_class = |class: usize| {
            let all: Option<Vec<Drawn>> = seeds.iter().map(|s| s[class].clone()).collect();
            Drawn::mean(&all?)
        };
        (0..self.study.classes.len()).map(of_class).collect()
    }

    /// Some predictions by the sampling seed whose replies they depend on; under none where they depend on no reply.
    pub fn by_sampling_seed(&self, predictions: &[usize]) -> BTreeMap<Option<u64>, Vec<usize>> {
        let mut by_seed: BTreeMap<Option<u64>, Vec<usize>> = BTreeMap::new();
        predictions.iter().for_each(|i| by_seed.entry(self.study.predictions[*i].sampling_seed).or_default().push(*i));
        by_seed
    }

    /// The predictions of two sides, sampling seed by sampling seed: what is said of the same replies is compared on the rows
    /// that those replies have. A side that depends on no reply stands beside each; sides of different seeds stay whole.
    pub fn paired(&self, subject: &[usize], against: &[usize]) -> Vec<Sides> {
        let (ours, theirs) = (self.by_sampling_seed(subject), self.by_sampling_seed(against));
        let undrawn = |side: &BTreeMap<Option<u64>, Vec<usize>>| side.keys().all(Option::is_none);
        let seeds: BTreeSet<Option<u64>> = ours.keys().chain(theirs.keys()).copied().filter(Option::is_some).collect();
        if seeds.is_empty() || !(undrawn(&ours) || undrawn(&theirs) || ours.keys().eq(theirs.keys())) {
            return vec![(None, subject.to_vec(), against.to_vec())];
        }
        let of = |side: &BTreeMap<Option<u64>, Vec<usize>>, seed| side.get(seed).or(side.get(&None)).cloned().unwrap_or_default();
        seeds.iter().map(|seed| (*seed, of(&ours, seed), of(&theirs, seed))).collect()
    }

    /// The predictions of a baseline, for one model or for none.
    pub fn baseline(&self, probe: &str, model: Option<usize>) -> Vec<usize> {
        let found = |i: &usize| {
            let p = &self.study.predictions[*i];
            &*p.probe == probe && p.layer.is_none() && p.model == model && self.values[*i].is_some()
        };
        (0..self.study.predictions.len()).filter(found).collect()
    }

    /// The cells of a probe at its own place.
    pub fn home(&self, place: Place, probe: &str) -> Option<&Cells> {
        self.of(place, probe, Origin::default())
    }

    /// The cells of a probe of one origin.
    pub fn of(&self, place: Place, probe: &str, origin: Origin) -> Option<&Cells> {
        self.cells.get(&Series { place, probe: Arc::from(probe), origin })
    }

    /// Mean validation loss of some fits; none if one of them has none.
    pub fn validation(&self, predictions: &[usize]) -> Option<f64> {
        self.of_fits(predictions, |fit| fit.validation_loss)
    }

    /// The study's measure on validation rows, mean over some fits; none if one of them doesn't tell.
    pub fn validation_score(&self, predictions: &[usize]) -> Option<f64> {
        self.of_fits(predictions, |fit| fit.validation_score)
    }

    fn of_fits(&self, predictions: &[usize], of: fn(&Fit) -> Option<f64>) -> Option<f64> {
        let of = |i: &usize| of(self.study.predictions[*i].fit.as_ref()?).filter(|v| v.is_finite());
        let values: Option<Vec<f64>> = predictions.iter().map(of).collect();
        values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
    }

    /// The twin of random weights of a model.
    pub fn twin(&self, model: usize) -> Option<usize> {
        self.study.models.iter().position(|m| m.twin_of == Some(model))
    }

    /// The models with weights of their own.
    pub fn trained(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.study.models.len()).filter(|m| self.study.models[*m].random_weights.is_none())
    }
}

/// The first index of the highest value; 0 if there is none.
pub fn argmax(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best }).0
}
