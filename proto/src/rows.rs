//! Canonical rows: the dataset as every unit sees it, written once into the store as JSON Lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::key::Digest;

/// Which part of the study a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Probes are fitted on it.
    Train,
    /// Strengths and epochs are chosen on it.
    Validation,
    /// Every reported number is measured on it.
    Test,
}

impl Split {
    /// All splits, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The word used in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

/// What a row's label is, and so what probes predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// One class a row. Predictions are probabilities that sum to 1.
    #[default]
    Single,
    /// Any number of classes a row, none included. Predictions are a probability for each class (one against the rest).
    Multi,
    /// A whole-numbered intensity for every class, 0 = absent. Predictions are expected intensities.
    Intensity,
    /// Real numbers on named scales (valence, arousal, dominance). The scales take the place of classes.
    Continuous,
}

impl Scheme {
    /// The word used in specs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Single => "single",
            Scheme::Multi => "multi",
            Scheme::Intensity => "intensity",
            Scheme::Continuous => "continuous",
        }
    }

    /// Whether it is the default, which is not written: rows and keys of units are older than this field.
    pub fn is_default(&self) -> bool {
        *self == Scheme::default()
    }
}

/// One labelled utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique in the dataset. (A row that balancing repeats is stored once, with a `weight`.)
    pub id: String,
    /// The utterance.
    pub text: String,
    /// Index into [`Rows::classes`]. Under [`Scheme::Multi`] and [`Scheme::Intensity`] the class of the highest value (of
    /// several, the rarest in the dataset), or 0 where there is none; under [`Scheme::Continuous`] always 0.
    pub class: u32,
    /// Rows of one group lie in one split, and intervals resample groups.
    pub group: String,
    /// The split.
    pub split: Split,
    /// How often the row counts in training (balancing repeats minority rows); 1 elsewhere.
    pub weight: u32,
    /// One number per class or scale, under a scheme other than [`Scheme::Single`]: 0 or 1, an intensity, or a place on the
    /// scale. Empty under [`Scheme::Single`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f32>,
}

/// The first line of the rows artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    classes: Vec<String>,
    rows: usize,
    #[serde(default, skip_serializing_if = "Scheme::is_default")]
    scheme: Scheme,
}

/// The whole dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// What the labels are.
    pub scheme: Scheme,
    /// The classes (or scales), in the order of all score vectors.
    pub classes: Vec<String>,
    /// The rows, in the order of all tensors.
    pub rows: Vec<Row>,
}

/// Why a rows artifact can't be read.
#[derive(Debug, thiserror::Error)]
#[error("rows artifact, line {line}: {message}")]
pub struct RowsError {
    line: usize,
    message: String,
}

impl Rows {
    /// The artifact's bytes: a head line, then one row a line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head { classes: self.classes.clone(), rows: self.rows.len(), scheme: self.scheme };
        let mut out = serde_json::to_vec(&head).expect("a head serializes");
        for row in &self.rows {
            out.push(b'\n');
            serde_json::to_writer(&mut out, row).expect("a row serializes");
        }
        out
    }

    /// Reads the artifact back.
    ///
    /// # Errors
    /// The first line that is not what [`Rows::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Rows, RowsError> {
        let fail = |line: usize, message: String| RowsError { line: line + 1, message };
        let mut lines = bytes.split(|b| *b == b'\n').enumerate();
        let (_, first) = lines.next().ok_or_else(|| fail(0, "is missing".to_owned()))?;
        let head: Head = serde_json::from_slice(first).map_err(|e| fail(0, e.to_string()))?;
        let rows =
            lines.map(|(i, line)| serde_json::from_slice(line).map_err(|e| fail(i, e.to_string()))).collect::<Result<Vec<Row>, _>>()?;
        if rows.len() != head.rows {
            return Err(fail(rows.len(), format!("the file ends after {} of {} rows", rows.len(), head.rows)));
        }
        let outputs = if head.scheme == Scheme::Single { 0 } else { head.classes.len() };
        if let Some((at, row)) = rows.iter().enumerate().find(|(_, row)| row.values.len() != outputs) {
            return Err(fail(at + 1, format!("{} values where there must be {outputs}", row.values.len())));
        }
        Ok(Rows { scheme: head.scheme, classes: head.classes, rows })
    }

    /// The artifact's name: the digest of its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Whether balancing repeats any row that probes are fitted on.
    pub fn repeat(&self) -> bool {
        self.rows.iter().any(|row| row.split == Split::Train && row.weight != 1)
    }

    /// The digest of what the model sees of some rows: ids (they seed sampling) and texts.
    pub fn texts_digest(rows: &[Row]) -> Digest {
        Digest::of_json(&rows.iter().map(|r| (&r.id, &r.text)).collect::<Vec<_>>())
    }

    /// The digest of what a probe sees of the rows beside their states: ids, classes, splits, weights, groups (shuffled
    /// labels move with them), and the values under schemes that have them.
    pub fn targets_digest(&self) -> Digest {
        let targets: Vec<_> = self.rows.iter().map(|r| (&r.id, r.class, r.split, r.weight, &r.group, &r.values)).collect();
        Digest::of_json(&(self.scheme, &self.classes, targets))
    }

    /// The digest of what the moments of the train rows among some rows depend on beside their states: which these are, what
    /// they are labelled with, and how much each counts.
    ///
    /// # Panics
    /// There are no such rows.
    pub fn moments_digest(&self, rows: std::ops::Range<usize>) -> Digest {
        let train = |r: &'_ Row| (r.split == Split::Train).then(|| (r.class, r.weight, r.values.clone()));
        let targets: Vec<_> = self.rows[rows].iter().map(train).collect();
        Digest::of_json(&("moments", self.scheme, self.classes.len(), targets))
    }
}
