//! Scores over layers.

use limbic_proto::axis::Layer;
use serde::Serialize;

use super::{Estimate, Place, Spread};

/// One point of a depth curve: the mean over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DepthPoint {
    /// The tap.
    pub layer: Layer,
    /// Relative depth in 0..=1.
    pub depth: f64,
    /// The test score.
    pub score: Estimate,
    /// How far the score depends on the probe's seed; none with one seed.
    pub spread: Option<Spread>,
    /// The study's measure on validation rows, mean over seeds; none where fits don't record it.
    pub validation_score: Option<f64>,
    /// Mean validation loss over seeds.
    pub validation_loss: Option<f64>,
    /// How many times shorter the labels are when they are sent with the probe's help (uniform code over online code); none
    /// where it was not measured.
    pub compression: Option<f64>,
    /// p-value of "as good as the best layer", after Benjamini and Hochberg's correction over the curve's layers; none
    /// where there is nothing to resample.
    pub as_good_as_peak: Option<f64>,
    /// The predictions behind it, one per seed.
    pub predictions: Vec<usize>,
}

/// The share of false discoveries that is put up with among the layers called worse than the best.
const FALSE_DISCOVERIES: f64 = 0.05;

impl DepthPoint {
    /// Whether the layer can't be told from the best one, at 5% false discoveries; none where nothing can be said.
    pub fn as_good(&self) -> Option<bool> {
        Some(self.as_good_as_peak? >= FALSE_DISCOVERIES)
    }
}

/// Where a curve is highest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    /// The layer with the highest test score.
    pub layer: Layer,
    /// Its relative depth with the interval of the bootstrapped argmax.
    pub depth: Estimate,
    /// The interval's ends as layers.
    pub from: Layer,
    /// The interval's ends as layers.
    pub to: Layer,
}

/// A control along a curve over layers or offsets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlCurve {
    /// `shuffled-labels`, `random-direction` or `random-weights`.
    pub control: &'static str,
    /// One per point of the curve; none where it was not measured.
    pub points: Vec<Option<Estimate>>,
}

/// What stands for several layers, probes or places was chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The study's measure on validation rows.
    ValidationMeasure,
    /// The loss on validation rows, because a fit doesn't record the measure there.
    ValidationLoss,
    /// The measure on the test rows themselves, which flatters it.
    Test,
}

impl Choice {
    /// Whether test rows had no part in it.
    pub fn on_validation(self) -> bool {
        self != Choice::Test
    }
}

/// Scores over layers at offset 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DepthCurve {
    /// Whose.
    pub place: Place,
    /// The probe.
    pub probe: String,
    /// The pooling at offset 0.
    pub pooling: &'static str,
    /// Layers ascending.
    pub points: Vec<DepthPoint>,
    /// Where the test score is highest.
    pub peak: Peak,
    /// Index into `points` of the layer that stands for this curve.
    pub best: usize,
    /// What `best` was chosen by.
    pub chosen: Choice,
    /// The controls that were run.
    pub controls: Vec<ControlCurve>,
}

impl DepthCurve {
    /// The point of the layer that stands for this curve.
    pub fn shown(&self) -> &DepthPoint {
        &self.points[self.best]
    }
}
