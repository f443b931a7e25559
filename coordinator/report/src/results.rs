//! What [`crate::evaluate`] finds: scores of every prediction, and the summaries that pages and figures show.

use limbic_proto::axis::{Context, Layer};
use serde::Serialize;

/// A number with its percentile-bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value on all rows.
    pub value: f64,
    /// Lower end of the interval; none where no interval was computed.
    pub lo: Option<f64>,
    /// Upper end of the interval.
    pub hi: Option<f64>,
    /// Test rows it rests on.
    pub n: usize,
}

impl Estimate {
    /// A value without an interval.
    pub fn point(value: f64, n: usize) -> Estimate {
        Estimate { value, lo: None, hi: None, n }
    }
}

/// One named number of one prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// `accuracy`, `macro-f1`, `balanced-accuracy`, `log-loss` (nats), `auroc`, `ece`, or `recall:joy`, `precision:joy`, `f1:joy`.
    pub name: String,
    /// Its value.
    pub estimate: Estimate,
}

/// All numbers of one prediction.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Scores {
    /// In a fixed order; what is undefined (no row, an unseen class) is left out.
    pub metrics: Vec<Metric>,
}

impl Scores {
    /// One metric by name.
    pub fn get(&self, name: &str) -> Option<Estimate> {
        self.metrics.iter().find(|m| m.name == name).map(|m| m.estimate)
    }

    /// The accuracy.
    pub fn accuracy(&self) -> Option<Estimate> {
        self.get("accuracy")
    }
}

/// A model's name with what else identifies it on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Index into the study's models.
    pub model: usize,
    /// Index into the study's conditions.
    pub condition: usize,
}

/// One point of a depth curve: the mean over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DepthPoint {
    /// The tap.
    pub layer: Layer,
    /// Relative depth in 0..=1.
    pub depth: f64,
    /// Test accuracy.
    pub accuracy: Estimate,
    /// Standard deviation of the accuracy over seeds; none with one seed.
    pub seed_sd: Option<f64>,
    /// Mean validation log-loss over seeds, in nats.
    pub validation_log_loss: Option<f64>,
    /// The predictions behind it, one per seed.
    pub predictions: Vec<usize>,
}

/// Where a curve is highest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    /// The layer with the highest test accuracy.
    pub layer: Layer,
    /// Its relative depth with the interval of the bootstrapped argmax.
    pub depth: Estimate,
    /// The interval's ends as layers.
    pub from: Layer,
    /// The interval's ends as layers.
    pub to: Layer,
}

/// Accuracy over layers at offset 0.
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
    /// Where the test accuracy is highest.
    pub peak: Peak,
    /// Index into `points` of the layer that stands for this curve: the lowest validation log-loss, or (where a fit
    /// has none) the highest test accuracy.
    pub best: usize,
    /// Whether `best` was chosen on validation rows, so that its test accuracy isn't flattered by the choice.
    pub chosen_on_validation: bool,
}

/// One model under one condition, beside its size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaleRow {
    /// Whose.
    pub place: Place,
    /// The representative layer.
    pub layer: Layer,
    /// Accuracy there.
    pub best: Estimate,
    /// The last layer that was measured.
    pub last_layer: Layer,
    /// Accuracy there.
    pub last: Estimate,
    /// Zero-shot accuracy, if it was asked.
    pub zero_shot: Option<Estimate>,
}

/// Least-squares slope of accuracy on log10(parameters): accuracy gained per tenfold size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// Index into the study's conditions; none for zero-shot, which has its own prompt.
    pub condition: Option<usize>,
    /// `best layer`, `last layer` or `zero-shot`.
    pub what: &'static str,
    /// The slope; the interval is over test rows, with the models held fixed.
    pub slope: Estimate,
    /// The line's value at one parameter (log10 = 0).
    pub intercept: f64,
    /// How many models.
    pub models: usize,
}

/// A paired difference in accuracy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// `baselines`, `conditions`, `contexts` or `probes`: Holm's correction is within one.
    pub family: &'static str,
    /// The model.
    pub model: usize,
    /// What is compared, in words.
    pub subject: String,
    /// With what.
    pub against: String,
    /// Accuracy of the subject, on the rows both predict.
    pub subject_accuracy: f64,
    /// Accuracy of the other.
    pub against_accuracy: f64,
    /// Subject minus other.
    pub difference: Estimate,
    /// Two-sided bootstrap p-value, with a normal tail where no resample crosses zero; none where the rows are of fewer
    /// than two groups.
    pub p: Option<f64>,
    /// After Holm's correction within the family.
    pub p_holm: Option<f64>,
}

/// One fitted decay over offsets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decay {
    /// The context.
    pub context: Context,
    /// The class whose informedness (recall minus false-alarm rate) decays; none = accuracy over all classes.
    pub class: Option<usize>,
    /// `(offset, value)`, offsets ascending.
    pub points: Vec<(u32, Estimate)>,
    /// What is left without any signal.
    pub floor: f64,
    /// How long the signal lasts.
    pub half_life: HalfLife,
    /// Share of the first offset's signal (above the floor) left at the last offset.
    pub retained: Option<Estimate>,
}

/// The half-life of an exponential `floor + a·exp(-k·ln2/h)` fitted by least squares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum HalfLife {
    /// Reached within the measured offsets: tokens, with an interval whose upper end may lie beyond (none).
    Reached {
        /// Tokens.
        tokens: f64,
        /// Lower end; none where no interval was computed.
        lo: Option<f64>,
        /// Upper end; none = beyond the measured offsets (or no interval).
        hi: Option<f64>,
    },
    /// The fitted half-life lies beyond the last offset.
    NotReached {
        /// The last offset.
        within: u32,
        /// Lower end of the interval; none if that too lies beyond.
        lo: Option<f64>,
    },
    /// No signal above the floor to decay.
    NoSignal,
    /// Fewer than three offsets.
    TooFew,
}

/// Accuracy over layers and offsets of one model under one condition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Persistence {
    /// Whose.
    pub place: Place,
    /// Ascending.
    pub layers: Vec<Layer>,
    /// Ascending.
    pub offsets: Vec<u32>,
    /// `[layers][offsets]`, full context.
    pub full: Vec<Vec<Option<Estimate>>>,
    /// `[layers][offsets]`, prompt masked; empty if not measured.
    pub masked: Vec<Vec<Option<Estimate>>>,
    /// The layer of the decay curves: best on average over offsets, by validation log-loss where there is one.
    pub layer: Layer,
    /// Over all classes and per class, full context and masked prompt.
    pub decays: Vec<Decay>,
}

/// What one condition does at its representative layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionResult {
    /// Whose.
    pub place: Place,
    /// The representative layer.
    pub layer: Layer,
    /// Accuracy there.
    pub accuracy: Estimate,
    /// Recall per class; none for a class without test rows.
    pub recall: Vec<Option<Estimate>>,
}

/// A baseline, or a probe at its representative layer, as one line of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The probe's or baseline's name.
    pub probe: String,
    /// The model, if any.
    pub model: Option<usize>,
    /// The condition, if any.
    pub condition: Option<usize>,
    /// The layer, if any.
    pub layer: Option<Layer>,
    /// The pooling, if any.
    pub pooling: Option<&'static str>,
    /// Indices into the study's predictions, one per seed.
    pub predictions: Vec<usize>,
    /// Its accuracy, mean over seeds.
    pub accuracy: Estimate,
}

/// Time, tokens and bytes of one kind of unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// `extract`, `fit`, `prompt`.
    pub kind: &'static str,
    /// Committed attempts.
    pub units: usize,
    /// Sum of their seconds.
    pub seconds: f64,
    /// The median unit's seconds.
    pub median_seconds: f64,
    /// Sum of tokens.
    pub tokens: u64,
    /// Sum of bytes.
    pub bytes: u64,
}

/// Everything that pages, figures and tables show.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Results {
    /// One per prediction of the study, in its order.
    #[serde(skip)]
    pub scores: Vec<Scores>,
    /// The probe that curves and summaries are about: `logistic` if it was fitted, else the first.
    pub probe: Option<String>,
    /// Test rows, groups and classes.
    pub rows: usize,
    /// Groups that are resampled.
    pub groups: usize,
    /// Majority, bag-of-words, zero-shot.
    pub baselines: Vec<Line>,
    /// Every probe and pooling at its representative layer, per model and condition.
    pub probes: Vec<Line>,
    /// The majority's test accuracy (or the largest class share): what no signal looks like.
    pub floor: f64,
    /// One per model and condition, primary probe.
    pub depth: Vec<DepthCurve>,
    /// One per model and condition.
    pub scale: Vec<ScaleRow>,
    /// Where at least three models of different, known size were measured.
    pub trends: Vec<Trend>,
    /// One per model and condition with at least two offsets.
    pub persistence: Vec<Persistence>,
    /// One per model and condition, where there are several conditions.
    pub conditions: Vec<ConditionResult>,
    /// Paired differences.
    pub comparisons: Vec<Comparison>,
    /// One per kind of unit.
    pub costs: Vec<Cost>,
    /// What the reader of the numbers should know, found while computing them.
    pub warnings: Vec<String>,
}
