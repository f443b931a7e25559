//! Canonical rows: the dataset as every unit sees it, written once into the store as JSON Lines.

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

/// One labelled utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique in the dataset. (A row that balancing repeats is stored once, with a `weight`.)
    pub id: String,
    /// The utterance.
    pub text: String,
    /// Index into [`Rows::classes`].
    pub class: u32,
    /// Rows of one group lie in one split, and intervals resample groups.
    pub group: String,
    /// The split.
    pub split: Split,
    /// How often the row counts in training (balancing repeats minority rows); 1 elsewhere.
    pub weight: u32,
}

/// The first line of the rows artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    classes: Vec<String>,
    rows: usize,
}

/// The whole dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// The classes, in the order of all score vectors.
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
        let head = Head { classes: self.classes.clone(), rows: self.rows.len() };
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
        Ok(Rows { classes: head.classes, rows })
    }

    /// The artifact's name: the digest of its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The digest of what the model sees of some rows: ids (they seed sampling) and texts.
    pub fn texts_digest(rows: &[Row]) -> Digest {
        Digest::of_json(&rows.iter().map(|r| (&r.id, &r.text)).collect::<Vec<_>>())
    }

    /// The digest of what a probe sees of the rows beside their states: ids, classes, splits, weights.
    pub fn targets_digest(&self) -> Digest {
        let targets: Vec<_> = self.rows.iter().map(|r| (&r.id, r.class, r.split, r.weight)).collect();
        Digest::of_json(&(&self.classes, targets))
    }
}
