//! Where everything lies in the store, relative to its root. Nothing under `sweeps/`, `commit/` or `rows/` is ever
//! overwritten or deleted.

use crate::key::{Digest, UnitKey};

/// The canonical spec of a sweep's revision.
pub fn spec(sweep: &str, revision: u64) -> String {
    format!("sweeps/{sweep}/spec/{revision:010}")
}

/// The folder of all sweeps.
pub fn sweeps() -> &'static str {
    "sweeps"
}

/// The folder of a sweep's journal.
pub fn log_folder(sweep: &str) -> String {
    format!("sweeps/{sweep}/log")
}

/// One journal object.
pub fn log(sweep: &str, seq: u64) -> String {
    format!("sweeps/{sweep}/log/{seq:020}")
}

/// The folder of a sweep's snapshots.
pub fn snap_folder(sweep: &str) -> String {
    format!("sweeps/{sweep}/snap")
}

/// The fold of a sweep's journal up to, and without, entry `seq`.
pub fn snap(sweep: &str, seq: u64) -> String {
    format!("sweeps/{sweep}/snap/{seq:020}")
}

/// A dataset's canonical rows.
pub fn rows(digest: &Digest) -> String {
    format!("rows/{}/{digest}", digest.fan_out())
}

/// One artifact of an attempt.
pub fn artifact(unit: &UnitKey, attempt: &str, name: &str) -> String {
    format!("data/{}/{unit}/{attempt}/{name}", unit.fan_out())
}

/// A unit's commit.
pub fn commit(unit: &UnitKey) -> String {
    format!("commit/{}/{unit}", unit.fan_out())
}
