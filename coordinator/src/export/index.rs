//! `export.json`: whose results a folder has, and which arrays.

use std::path::Path;

use limbic_proto::axis::Layer;
use limbic_store::whole::write_whole;
use serde::{Deserialize, Serialize};

use super::Exported;
use crate::collect;
use crate::failure::Failure;
use crate::sweep::Sweep;

/// The file's name.
const INDEX: &str = "export.json";

/// The file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    sweep: String,
    name: String,
    rows: usize,
    states: Vec<ArrayEntry>,
}

/// One array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArrayEntry {
    /// Relative to the folder.
    pub(super) file: String,
    pub(super) model: String,
    pub(super) condition: String,
    pub(super) layer: Layer,
    pub(super) offset: u32,
    pub(super) pooling: String,
    pub(super) context: String,
    pub(super) sampling_seed: Option<u64>,
    /// The second axis.
    pub(super) width: usize,
    /// Rows that have a state; the others are NaN.
    pub(super) states: usize,
}

impl Index {
    /// What an earlier export of the sweep has left in a folder.
    pub(super) fn open(out: &Path, sweep: &Sweep) -> Result<Index, Failure> {
        let path = out.join(INDEX);
        let new = || Index { sweep: sweep.id.clone(), name: sweep.name().to_owned(), rows: sweep.rows.rows.len(), states: Vec::new() };
        let Ok(bytes) = std::fs::read(&path) else { return Ok(new()) };
        let other = |whose: &str| {
            Failure::user(format_args!("--out {}: the folder has {whose}; name another folder, or remove it first", out.display()))
        };
        let found: Index = serde_json::from_slice(&bytes).map_err(|e| other(&format!("an {INDEX} that can't be read ({e})")))?;
        if found.sweep != sweep.id {
            return Err(other(&format!("the export of another sweep, {} ({})", found.sweep, found.name)));
        }
        Ok(Index { states: found.states, ..new() })
    }

    /// The same with arrays that were written since, in place of those of the same files.
    pub(super) fn with(self, arrays: Vec<ArrayEntry>) -> Index {
        let mut states = self.states;
        states.retain(|known| arrays.iter().all(|new| new.file != known.file));
        states.extend(arrays);
        Index { states, ..self }
    }

    pub(super) fn write(&self, out: &Path, done: &mut Exported) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(self).expect("an index serializes");
        write_whole(&out.join(INDEX), &bytes).map_err(|e| collect::unwritten(out, INDEX, &e))?;
        done.files.push(INDEX.to_owned());
        Ok(())
    }
}
