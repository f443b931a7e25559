//! What [`crate::evaluate()`] finds: scores of every prediction, and the summaries that pages and figures show.

mod contrasts;
mod depth;
mod dominant;
mod geometry;
mod persistence;
mod replies;
mod scale;
mod scores;

use std::collections::BTreeMap;

use limbic_proto::axis::{Layer, ReadOut};
use serde::Serialize;

pub use contrasts::Contrasts;
pub use depth::{Choice, ControlCurve, DepthCurve, DepthPoint, Peak};
pub use dominant::{Caller, DOMINANT, Dominant};
pub use geometry::{Across, AffectPlane, Contour, GeometryResults, LayerGeometry, PlaceGeometry, Scatter, ScatterPoint};
pub use persistence::{Decay, Extremes, Fitted, Grid, HalfLife, Persistence};
pub use replies::{Calls, Kappa, Reading, Source, Verdict};
pub use scale::{ScaleRow, Trend};
pub use scores::{Catalogue, MetricName, Scores};

use crate::study::Study;

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

/// How far a number depends on the draw: over a probe's seeds, or over the replies of several sampling seeds, each measured on all
/// its rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many seeds; at least two.
    pub seeds: usize,
    /// The lowest of them.
    pub lowest: f64,
    /// The highest of them.
    pub highest: f64,
    /// Their standard deviation (n - 1).
    pub sd: f64,
}

impl Spread {
    /// Of one number per seed; none of fewer than two.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let (lowest, highest) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        (values.len() > 1).then_some(Spread { seeds: values.len(), lowest, highest, sd })
    }

    /// From the lowest to the highest.
    pub fn width(&self) -> f64 {
        self.highest - self.lowest
    }
}

/// The one number that curves, differences and summaries are about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// `accuracy`, `map` or `pearson`.
    pub name: &'static str,
    /// In words, such as `accuracy`.
    pub words: &'static str,
    /// What is followed over offsets for each class.
    pub of_class: &'static str,
    /// Whether it is a share, which is shown in percent.
    pub share: bool,
    /// What it is without any signal: the majority baseline's value; of mean average precision, that of a random order.
    pub floor: f64,
    /// The same per class, for what is followed over offsets.
    pub class_floors: Vec<f64>,
}

impl Measure {
    /// Whose level the floor is.
    pub fn level(&self) -> &'static str {
        if self.name == "map" { "random order" } else { "majority" }
    }

    /// The same in a sentence.
    pub fn the_level(&self) -> &'static str {
        if self.name == "map" { "the level of a random order" } else { "the majority's level" }
    }
}

/// A model under a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Index into the study's models.
    pub model: usize,
    /// Index into the study's conditions.
    pub condition: usize,
}

/// A paired difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// `baselines`, `models`, `conditions`, `contexts`, `carried`, `probes`, `controls`, `transfer` or `replies`: corrections for
    /// several tests are within one, of controls within those of one probe and one control.
    pub family: &'static str,
    /// The model; the first one where models are compared.
    pub model: usize,
    /// The condition, where there is one of both.
    pub condition: Option<usize>,
    /// What is compared, in words.
    pub subject: String,
    /// With what.
    pub against: String,
    /// The subject's score, on the rows both predict.
    pub subject_score: f64,
    /// The other's.
    pub against_score: f64,
    /// Subject minus other.
    pub difference: Estimate,
    /// Two-sided bootstrap p-value, with a normal tail where no resample crosses zero; none where the rows are
    /// fewer than ten, or of fewer than two groups.
    pub p: Option<f64>,
    /// After Holm's correction within the family.
    pub p_holm: Option<f64>,
    /// After Benjamini and Hochberg's correction within the family.
    pub p_bh: Option<f64>,
    /// How many comparisons were corrected together: those of the family that have a p-value.
    pub corrected: usize,
    /// The smallest difference that as many rows, of as much discordance, would show with 80 % power at the report's
    /// confidence, uncorrected; none where none would.
    pub detectable: Option<f64>,
}

/// What one condition does at its representative layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionResult {
    /// Whose.
    pub place: Place,
    /// The representative layer.
    pub layer: Layer,
    /// The score there.
    pub score: Estimate,
    /// Per class its recall (or, of numbers, its Pearson correlation); none for a class without test rows.
    pub of_class: Vec<Option<Estimate>>,
}

/// Probes of each condition on the states of every other, at one layer of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferMatrix {
    /// Index into the study's models.
    pub model: usize,
    /// The layer.
    pub layer: Layer,
    /// The states: those at the main pooling of the prompt.
    #[serde(skip)]
    pub read_out: ReadOut,
    /// The probe.
    pub probe: String,
    /// The conditions; indices into the study's.
    pub conditions: Vec<usize>,
    /// `[fitted under][tested under]`.
    pub cells: Vec<Vec<Option<Estimate>>>,
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
    /// Its score, mean over seeds.
    pub score: Estimate,
    /// How far it depends on the probe's seed; none with one seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// One line at a coarser level of the labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelRow {
    /// The level's name; none = the classes themselves.
    pub level: Option<String>,
    /// How many classes it has.
    pub classes: usize,
    /// The line.
    pub line: Line,
    /// The score at that level, mean over seeds.
    pub score: Estimate,
    /// Of the rows whose own class is missed, the share whose coarser class is right; none at the level of the classes
    /// themselves and where rows have no single class.
    pub near_misses: Option<f64>,
}

/// Time, tokens and bytes of one kind of unit on one kind of device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// `extract`, `fit`, `prompt`, …
    pub kind: &'static str,
    /// `cpu`, `cuda`, …
    pub device: String,
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// The names of all metrics.
    #[serde(skip)]
    pub catalogue: Catalogue,
    /// One per prediction of the study, in its order.
    #[serde(skip)]
    pub scores: Vec<Scores>,
    /// What curves, differences and summaries are about.
    pub measure: Measure,
    /// The main probe, which sections about layers, conditions and offsets are about: that of `report.probe`, else `logistic` if it
    /// was fitted, else `ridge`, else the first. It needn't be the best one.
    pub probe: Option<String>,
    /// Its pooling at offset 0: `last`, or the first that was measured.
    pub pooling: Option<&'static str>,
    /// All poolings at offset 0 that probes were fitted at.
    pub poolings: Vec<&'static str>,
    /// What the best of a model's probes, poolings and conditions were chosen by.
    pub chosen: Choice,
    /// Per model the curve that stands against the baselines: of all probes, poolings and conditions the one whose representative
    /// layer is best, as `chosen` says.
    pub best: Vec<DepthCurve>,
    /// Test rows.
    pub rows: usize,
    /// Groups that are resampled.
    pub groups: usize,
    /// Majority, bag-of-words, mean embeddings, zero-shot.
    pub baselines: Vec<Line>,
    /// The scores of what stands for several seeds in them and in `probes`, by its predictions: means, with their intervals.
    #[serde(skip)]
    pub over_seeds: BTreeMap<Vec<usize>, Scores>,
    /// Every probe and pooling at its representative layer, per model and condition.
    pub probes: Vec<Line>,
    /// One per model, condition, probe and pooling.
    #[serde(skip)]
    pub curves: Vec<DepthCurve>,
    /// One per model and condition, of the main probe and pooling.
    pub depth: Vec<DepthCurve>,
    /// One per model and condition.
    pub scale: Vec<ScaleRow>,
    /// Where at least three models of different, known size were measured.
    pub trends: Vec<Trend>,
    /// One per model and condition with at least two offsets.
    pub persistence: Vec<Persistence>,
    /// One per model and condition, where there are several conditions.
    pub conditions: Vec<ConditionResult>,
    /// One per model whose probes were used under other conditions.
    pub transfer: Vec<TransferMatrix>,
    /// How the probe reads replies; none where it reads none that were judged.
    pub reading: Option<Reading>,
    /// What judges and probe say of every reply.
    #[serde(skip)]
    pub calls: Vec<Calls>,
    /// What judges and probe say of the replies.
    pub verdicts: Vec<Verdict>,
    /// The agreement of each judge with the probe, and of judges with one another.
    pub kappas: Vec<Kappa>,
    /// Labels that make up nearly all of somebody's calls of replies, or of a model's answers.
    pub dominant: Vec<Dominant>,
    /// What the states look like.
    pub geometry: GeometryResults,
    /// Baselines and best probes at every level of the labels, where there are several.
    pub levels: Vec<LevelRow>,
    /// Paired differences.
    pub comparisons: Vec<Comparison>,
    /// One per kind of unit and of device.
    pub costs: Vec<Cost>,
    /// What the reader of the numbers should know, found while computing them.
    pub warnings: Vec<String>,
}

impl Results {
    /// The curve that stands for a model against the baselines.
    pub fn best_of(&self, model: usize) -> Option<&DepthCurve> {
        self.best.iter().find(|c| c.place.model == model)
    }

    /// What a probe is called: with its pooling where several were measured.
    pub fn named(&self, probe: &str, pooling: Option<&str>) -> String {
        crate::wording::probe(probe, pooling.filter(|_| self.poolings.len() > 1))
    }

    /// What the main probe is called.
    pub fn main(&self) -> String {
        self.named(self.probe.as_deref().unwrap_or("probe"), self.pooling)
    }

    /// The main probe in a sentence: `the probe`, or where there are others `the logistic (last) probe`.
    pub fn the_probe(&self) -> String {
        if self.several() { format!("the {} probe", self.main()) } else { "the probe".to_owned() }
    }

    /// How many probes were fitted.
    pub fn kinds(&self) -> usize {
        self.probes.iter().map(|l| l.probe.as_str()).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Whether the main probe is one of several, so that it must be named.
    pub fn several(&self) -> bool {
        self.kinds() > 1 || self.poolings.len() > 1
    }

    /// The models that wrote answers, each with its prediction. One none of whose answers can be read has a coverage, but no
    /// score, and is none of the baselines.
    pub fn written(&self, study: &Study) -> Vec<(usize, usize)> {
        let asked = study.predictions.iter().enumerate().filter(|(_, p)| &*p.probe == "zero-shot-json");
        let asked = asked.filter(|(i, _)| self.score(*i, "coverage").is_some());
        let mut written: Vec<(usize, usize)> = asked.filter_map(|(i, p)| Some((p.model?, i))).collect();
        written.sort_unstable();
        written
    }

    /// One metric of a line at the level of the classes themselves: the mean over its seeds.
    pub fn score_of(&self, line: &Line, metric: &str) -> Option<Estimate> {
        match line.predictions.as_slice() {
            [one] => self.score(*one, metric),
            several => self.over_seeds.get(several)?.get(self.catalogue.id(None, metric)?),
        }
    }

    /// One metric of one prediction at the level of the classes themselves.
    pub fn score(&self, prediction: usize, metric: &str) -> Option<Estimate> {
        self.scores[prediction].get(self.catalogue.id(None, metric)?)
    }
}
