//! Fit and transfer units: probes on the states of one layer, and what is written of them.

use serde::{Deserialize, Serialize};

use crate::axis::{Layer, ReadOut};
use crate::key::{Digest, UnitKey};
use crate::rows::Scheme;
use crate::spec::{Control, LogisticSpec, ProbeSpec, RidgeSpec};

/// The artifact name of a fit unit's predictions.
pub const PREDICTIONS: &str = "predictions.safetensors";
/// The artifact name of a fit unit's reports.
pub const FITS: &str = "fits.json";
/// The artifact name of a fit unit's weights.
pub const WEIGHTS: &str = "weights.safetensors";
/// The artifact name of a fit unit's geometry.
///
/// It holds f32 tensors for every read-out r at offset 0, of states that were standardised on train; what lacks a state is
/// NaN:
/// - `{r}.coordinates` `[test rows, 3]`: test rows along the first three principal components of train;
/// - `{r}.explained` `[components]`: the share of train's variance along each of the first ten;
/// - `{r}.directions` `[outputs, d]`: for each class the mean of its train rows minus that of all others; under
///   [`Scheme::Intensity`] and [`Scheme::Continuous`] the slope of the states on the value;
/// - `{r}.similarity` `[s, s]`: inner products of s test rows, centred (the matrix that CKA and RSA start from). The rows
///   are [`similarity_rows`], the same for every layer, condition and model;
/// - `{r}.separation` `[2]`: mean silhouette of the classes, and Fisher's ratio (trace of the scatter between classes over
///   that within), both over test rows; NaN where rows have no single class.
pub const GEOMETRY: &str = "geometry.safetensors";

/// How many test rows similarity matrices are about, at most: enough to compare representations, few enough to keep.
const SIMILARITY_ROWS: usize = 256;

/// Which test rows the similarity matrices are about, of so many: at most 256.
pub fn similarity_rows(test: usize) -> Vec<usize> {
    some_rows(test, SIMILARITY_ROWS)
}

/// At most so many of `n` rows, ascending, and always the same ones. They are drawn by their numbers' hashes: of evenly spaced ones
/// those of a corpus whose classes take turns could all be of one class.
pub fn some_rows(n: usize, most: usize) -> Vec<usize> {
    // Steele, Lea & Flood 2014, the output function of SplitMix64.
    let hash = |row: &usize| {
        let mut z = (*row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut rows: Vec<usize> = (0..n).collect();
    if n > most {
        rows.sort_unstable_by_key(hash);
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}

/// What probes are fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The states of one layer, from these extract units; their rows, concatenated, are the dataset.
    States {
        /// The extract units, in row order.
        extracts: Vec<UnitKey>,
        /// The layer.
        layer: Layer,
    },
    /// TF-IDF of the utterances.
    BagOfWords {
        /// [`crate::rows::Rows::texts_digest`] of all rows.
        texts: Digest,
    },
    /// Nothing but the class shares of train.
    Majority,
}

/// Probes on one layer's states (every read-out, every probe, every seed), or a baseline.
///
/// Artifacts: `predictions.safetensors` with one f32 tensor `[test rows, outputs]` per fit, named by [`FitName`] (test
/// rows in dataset order; a row without a state at that read-out is all NaN; see [`Scheme`] for what the numbers are);
/// `fits.json`, a list of [`FitRecord`]; `weights.safetensors` with the weights and standardiser of each fit that is no
/// control, tensors named `{FitName}.{tensor}`; with `geometry` also `geometry.safetensors` (see [`GEOMETRY`]).
///
/// A probe that draws nothing is fitted once and has the seed 0; controls draw from every seed. Labels are shuffled with their
/// rows' weights, so that classes count as before. An `offset-mlp` is one network for all offsets of a pooling and context,
/// kept once for each read-out, as it reads there. What is carried on from offset 0 (see `transfer`) are the other probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitUnit {
    /// [`super::Versions::fit`].
    pub version: u32,
    /// What is fitted on.
    pub features: Features,
    /// [`crate::rows::Rows::targets_digest`].
    pub targets: Digest,
    /// The read-outs; empty for baselines.
    pub read_outs: Vec<ReadOut>,
    /// The probes; for bag-of-words one logistic or ridge probe, for majority none.
    pub probes: Vec<ProbeSpec>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What is fitted beside each probe, of what needs the same states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// Whether probes of offset 0 (pooling `last`) are used at every further read-out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transfer: bool,
    /// Whether the geometry of the read-outs at offset 0 is described.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub geometry: bool,
}

/// Probes of some fit units on the states of one layer under another condition, at the read-out that each was fitted at.
///
/// Artifacts: `predictions.safetensors` as a fit unit's, tensors named `{index of the fit unit}.{FitName}`; `fits.json`, a
/// list of [`TransferRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferUnit {
    /// [`super::PROBE_VERSION`].
    pub version: u32,
    /// The fit units whose probes are used.
    pub fits: Vec<UnitKey>,
    /// The extract units whose states they are used on, in row order.
    pub extracts: Vec<UnitKey>,
    /// The layer.
    pub layer: Layer,
    /// [`crate::rows::Rows::targets_digest`].
    pub targets: Digest,
    /// The read-outs; probes that were fitted at others are left out.
    pub read_outs: Vec<ReadOut>,
}

/// One probe of a transfer unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRecord {
    /// Index into [`TransferUnit::fits`].
    pub fit: usize,
    /// The probe's name in that unit.
    pub name: FitName,
    /// Test rows predicted.
    pub test: usize,
}

impl TransferRecord {
    /// The tensor's name, such as `1.logistic.k0.s0`.
    pub fn tensor(&self) -> String {
        format!("{}.{}", self.fit, self.name.tensor())
    }
}

/// The name of one fit inside a fit unit's artifacts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitName {
    /// [`ProbeSpec::name`], or a baseline's name.
    pub probe: String,
    /// The control that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// The read-out that it predicts from; none for baselines on the words.
    pub read_out: Option<ReadOut>,
    /// The read-out that it was fitted at, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_at: Option<ReadOut>,
    /// The seed.
    pub seed: u64,
}

impl FitName {
    /// A probe at a read-out.
    pub fn new(probe: &str, read_out: Option<ReadOut>, seed: u64) -> FitName {
        FitName { probe: probe.to_owned(), control: None, read_out, fitted_at: None, seed }
    }

    /// The tensor's name, such as `logistic.k8.s0`, `logistic.shuffled-labels.k8.s0` or `logistic.k8.from.k0.s0`.
    pub fn tensor(&self) -> String {
        let mut name = self.probe.clone();
        if let Some(control) = self.control {
            name = format!("{name}.{}", control.name());
        }
        if let Some(read_out) = self.read_out {
            name = format!("{name}.{}", read_out.name());
        }
        if let Some(from) = self.fitted_at {
            name = format!("{name}.from.{}", from.name());
        }
        format!("{name}.s{}", self.seed)
    }
}

/// How one fit went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRecord {
    /// Which fit.
    pub name: FitName,
    /// Train rows used.
    pub train: usize,
    /// Validation rows used.
    pub validation: usize,
    /// Test rows predicted.
    pub test: usize,
    /// The chosen strength C of a logistic fit, or penalty alpha of a ridge fit.
    pub strength: Option<f64>,
    /// Mean loss on validation: log-loss in nats (summed over classes under [`Scheme::Multi`] and [`Scheme::Intensity`]), or
    /// squared error in units of the targets' variance where predictions are no probabilities.
    pub validation_log_loss: Option<f64>,
    /// The study's measure on validation, by which reports choose layers and probes: accuracy under [`Scheme::Single`], mean
    /// average precision under [`Scheme::Multi`], else the mean of Pearson's r. Of probes on states that are no control; absent
    /// from records that were written before it was kept, and where it is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_score: Option<f64>,
    /// Under [`Scheme::Single`] the class that most train rows are of, counted by their weights, the first among equals: what a probe
    /// names that tells nothing. Of probes on states, but of `offset-mlp`; absent from records that were written before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commonest: Option<u32>,
    /// Steps (MLP) or iterations (logistic).
    pub iterations: usize,
    /// Whether the optimum was reached (always true of an MLP, which stops by plan).
    pub converged: bool,
    /// Why there is no fit at this read-out (for instance too few rows reach this offset), if there is none.
    pub absent: Option<String>,
    /// The minimum description length of the labels, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mdl: Option<Mdl>,
}

/// How long the labels of train are when they are sent with a probe's help (Voita and Titov 2020, online code).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mdl {
    /// Bits of the online code.
    pub bits: f64,
    /// Bits of the uniform code: log2 of the classes for each row, as often as it counts.
    pub uniform_bits: f64,
}

/// How the bag-of-words baseline is fitted: as the logistic (or, to numbers, the ridge) probe is, with the strength that
/// validation chooses; on rows of unit length the useful ones lie higher than on standardised states. They are part of the
/// unit's identity.
pub fn bag_of_words_probe(scheme: Scheme) -> ProbeSpec {
    match scheme {
        Scheme::Single | Scheme::Multi => {
            ProbeSpec::Logistic(LogisticSpec { c: vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0], ..LogisticSpec::default() })
        }
        Scheme::Intensity | Scheme::Continuous => ProbeSpec::Ridge(RidgeSpec { alpha: vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0] }),
    }
}

#[cfg(test)]
mod tests {
    use super::FitRecord;

    #[test]
    fn some_rows_are_of_every_class_whatever_turns_they_take() {
        for (n, classes) in [(2000, 2), (2000, 8), (1792, 7), (1000, 4)] {
            let rows = super::some_rows(n, 256);
            assert!(rows.len() == 256 && rows.is_sorted_by(|a, b| a < b) && rows[255] < n);
            let of = |class: usize| rows.iter().filter(|row| *row % classes == class).count();
            assert!((0..classes).all(|class| of(class) * classes > 100), "{n} rows of {classes} classes");
        }
        assert_eq!(super::some_rows(5, 256), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn records_of_before_the_validation_score_was_kept_are_read_and_written_as_they_were() {
        let old = r#"{"name":{"probe":"ridge","read_out":null,"seed":0},"train":8,"validation":1,"test":1,"strength":1.0,"validation_log_loss":0.5,"iterations":0,"converged":true,"absent":null}"#;
        let record: FitRecord = serde_json::from_str(old).expect("a record");
        assert_eq!((record.validation_score, serde_json::to_string(&record).expect("it serializes").as_str()), (None, old));
        let new = FitRecord { validation_score: Some(0.25), ..record };
        let read: FitRecord = serde_json::from_str(&serde_json::to_string(&new).expect("it serializes")).expect("a record");
        assert_eq!(read, new);
    }
}
