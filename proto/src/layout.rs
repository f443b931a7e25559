//! Where everything lies in the store, relative to its root. Nothing under `sweeps/`, `commit/`, `released/` or `rows/` is
//! ever overwritten or deleted.

use crate::commit;
use crate::key::{Digest, UnitKey};

/// The canonical spec of a sweep's revision.
pub fn spec(sweep: &str, revision: u64) -> String {
    format!("sweeps/{sweep}/spec/{revision:010}")
}

/// The folder of a sweep's specs.
pub fn spec_folder(sweep: &str) -> String {
    format!("sweeps/{sweep}/spec")
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

/// What stands in the place of an attempt's id for the finished blocks of a unit that was interrupted.
pub const PARTS: &str = "parts";

/// The folder of what a unit's attempts have left.
pub fn attempts(unit: &UnitKey) -> String {
    format!("data/{}/{unit}", unit.fan_out())
}

/// The name of an attempt's log among its artifacts. No commit names it.
pub const ATTEMPT_LOG: &str = "log.txt";

/// The folder of the finished blocks of a unit that was interrupted. An accelerator, never the truth.
pub fn parts(unit: &UnitKey) -> String {
    format!("data/{}/{unit}/{PARTS}", unit.fan_out())
}

/// One finished block of a unit that was interrupted.
pub fn part(unit: &UnitKey, file: &str) -> String {
    artifact(unit, PARTS, file)
}

/// What the file of a block is called. Of a generation above 0 it says so: whoever asked for a unit again asked for new numbers.
pub fn part_file(name: &str, generation: u32) -> String {
    if generation == 0 { name.to_owned() } else { format!("{name}.{generation}") }
}

/// The generation that the file of a block is of; none where it isn't called so.
pub fn part_generation(file: &str) -> Option<u32> {
    file.split_once('.').map_or(Some(0), |(_, generation)| generation.parse().ok())
}

/// What stands in the place of an attempt's id for verdicts on replies.
pub const VERDICTS: &str = "verdicts";

/// The folder of the verdicts that units have left for others. In the place of a unit's key stands the digest of what was asked:
/// judge, kind of device, question, answers and policy. An accelerator, never the truth.
pub fn verdicts(asked: &Digest) -> String {
    format!("data/{}/{asked}/{VERDICTS}", asked.fan_out())
}

/// Verdicts on some replies.
pub fn verdicts_named(asked: &Digest, name: &str) -> String {
    artifact(asked, VERDICTS, name)
}

/// The folder of all commits.
pub fn commits() -> &'static str {
    "commit"
}

/// One link of a unit's chain of commits: link 2g is the result of generation g, link 2g + 1 voids it; see
/// [`crate::commit`].
pub fn commit(unit: &UnitKey, link: u32) -> String {
    chained(commits(), unit, link)
}

fn chained(folder: &str, unit: &UnitKey, link: u32) -> String {
    match link {
        0 => format!("{folder}/{}/{unit}", unit.fan_out()),
        _ => format!("{folder}/{}/{unit}.{link}", unit.fan_out()),
    }
}

/// The folder of all marks.
pub fn splits() -> &'static str {
    "split"
}

/// The mark of a unit that may have been split. It is written before the commit that says so, so that such units are found
/// without reading every commit.
pub fn split(unit: &UnitKey) -> String {
    format!("split/{}/{unit}", unit.fan_out())
}

/// The folder of all markers of released activations.
pub fn releases() -> &'static str {
    "released"
}

/// The marker that says that the activations of a generation's result were released, named as that result's commit is. It
/// is written before they are deleted.
pub fn released(unit: &UnitKey, generation: u32) -> String {
    chained(releases(), unit, commit::result(generation))
}

/// Links beyond which a name is none of ours: half a million generations.
const MOST_LINKS: u32 = 1 << 20;

/// The unit and the link that a name in the commits' folders stands for, or a marker's name; none if it is neither.
pub fn link(name: &str) -> Option<(UnitKey, u32)> {
    match name.split_once('.') {
        None => Some((name.parse().ok()?, 0)),
        // Only the one spelling that `commit` writes counts.
        Some((unit, link)) => {
            let number: u32 = link.parse().ok().filter(|n: &u32| (1..MOST_LINKS).contains(n) && n.to_string() == link)?;
            Some((unit.parse().ok()?, number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocks_file_says_its_generation() {
        for (generation, file) in [(0, "0003-ab"), (7, "0003-ab.7")] {
            assert_eq!((part_file("0003-ab", generation).as_str(), part_generation(file)), (file, Some(generation)));
        }
        assert_eq!(part_generation("states.safetensors"), None);
    }

    #[test]
    fn a_commits_name_says_unit_and_link() {
        let unit = Digest::of(b"unit");
        for n in [0, 1, 2, 17] {
            let path = commit(&unit, n);
            assert_eq!(link(path.rsplit('/').next().unwrap()), Some((unit, n)));
            assert_eq!(released(&unit, n), commit(&unit, 2 * n).replacen("commit", "released", 1));
        }
        for name in [
            format!("{unit}.0"),
            format!("{unit}.01"),
            format!("{unit}.4294967295"),
            format!("{unit}.x"),
            format!("{unit}#1"),
            "x".to_owned(),
        ] {
            assert_eq!(link(&name), None, "{name}");
        }
    }
}
