//! What must hold at the end, counted from the store and from the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use limbic_proto::commit::Artifact;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::STATES;

use super::logs::Logs;
use super::schedule::Deed;
use super::table::Found;
use super::watch::{Standing, Watch};

/// A look at the store is this much older than the grant that follows it, at most, in microseconds: the commit may come
/// in between.
const LOOK: i64 = 2_000_000;

/// The result of each unit: its highest link, wherever it was computed.
fn standing(results: &[Standing]) -> BTreeMap<UnitKey, &Standing> {
    let mut standing: BTreeMap<UnitKey, &Standing> = BTreeMap::new();
    for result in results {
        let highest = standing.entry(result.unit).or_insert(result);
        if highest.link < result.link {
            *highest = result;
        }
    }
    standing
}

/// Everything that was committed, without where and by whom.
fn contents<'a>(standing: &BTreeMap<UnitKey, &'a Standing>) -> BTreeMap<UnitKey, &'a [Artifact]> {
    standing.iter().map(|(unit, of)| (*unit, of.done.artifacts.as_slice())).collect()
}

/// Counts what was lost.
pub(super) async fn audit(found: &mut Found, calm: &str, mut watch: Watch, calm_logs: &Path, logs: &Path) -> anyhow::Result<()> {
    watch.look(true).await?;
    let results = watch.results().await?;
    let standing_now = standing(&results);
    let mut calm_watch = Watch::new(calm)?;
    calm_watch.look(false).await?;
    let calm_results = calm_watch.results().await?;
    let expected = standing(&calm_results);

    let mut wrong = Vec::new();
    let (actual, expected) = (contents(&standing_now), contents(&expected));
    for (unit, artifacts) in &expected {
        if actual.get(unit) != Some(artifacts) {
            wrong.push(format!("unit {} is {}", unit.short(), if actual.contains_key(unit) { "another" } else { "missing" }));
        }
    }
    wrong.extend(actual.keys().filter(|unit| !expected.contains_key(*unit)).map(|unit| format!("unit {} is of no plan", unit.short())));
    found.invariant("results differ", &wrong);

    // A flipped bit that nobody has read since is still there; whoever reads it next will see it.
    let flipped = found.done.get(&Deed::FlipBit).copied().unwrap_or(0);
    let unread = flipped.saturating_sub(watch.voided());
    found.counts.extend([("results voided and computed again", watch.voided() as u64), ("flipped bits that nobody read", unread as u64)]);
    let mut dangling = Vec::new();
    let mut rotten = 0;
    for standing in standing_now.values() {
        for wrong in watch.dangling(standing).await {
            if wrong.contains(STATES) && rotten < unread {
                rotten += 1;
            } else {
                dangling.push(wrong);
            }
        }
    }
    found.invariant("dangling references", &dangling);
    found.invariant("overwritten control objects", &watch.overwritten);

    let (calm_logs, logs) = (Logs::read(calm_logs)?, Logs::read(logs)?);
    let by_attempt: BTreeMap<&str, &Standing> = results.iter().map(|result| (result.done.attempt.as_str(), result)).collect();
    let mut lost = watch.lost.clone();
    let mut claims: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (attempt, unit) in &logs.committed {
        claims.entry(unit).or_default().insert(attempt);
        if !by_attempt.contains_key(attempt.as_str()) {
            lost.push(format!("attempt {attempt} says that it committed unit {unit}, and no commit names it"));
        }
    }
    found.invariant("lost commits", &lost);
    let links = |unit: &str| results.iter().filter(|result| result.unit.hex().starts_with(unit)).count();
    let twice: Vec<String> = claims
        .iter()
        .filter(|(unit, attempts)| attempts.len() > 1 && attempts.len() > links(unit))
        .map(|(unit, attempts)| format!("unit {unit} by {attempts:?}"))
        .collect();
    found.invariant("duplicate commits", &twice);

    // A unit's digits -> when each of its results was written.
    let mut written: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for result in &results {
        written.entry(result.unit.short()).or_default().push(result.written);
    }
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (digits, times) in &written {
        last.insert(digits, times.iter().copied().max().unwrap_or(0));
    }
    let after = |of: &BTreeMap<String, (String, i64)>| -> Vec<String> {
        of.iter()
            .filter_map(|(attempt, (unit, at))| {
                let since = at - last.get(unit.as_str())?;
                (since > LOOK).then(|| format!("unit {unit}, attempt {attempt}, {:.3} s after its commit", since as f64 / 1e6))
            })
            .collect()
    };
    found.invariant("committed units leased again", &after(&logs.granted));
    found.invariant("committed units computed again", &after(&logs.begun));
    found.invariant("failed attempts", &logs.failed.iter().cloned().collect::<Vec<_>>());
    found.invariant("errors in logs", &logs.errors.iter().chain(&calm_logs.errors).cloned().collect::<Vec<_>>());
    let useful = logs.begun.keys().filter(|attempt| by_attempt.contains_key(attempt.as_str())).count();
    found.waste(logs.begun.len(), logs.begun.len() - useful);
    found.counts.insert("attempts granted", logs.granted.len() as u64);
    found.counts.insert("control objects watched", watch.commits() as u64);
    found.counts.insert("attempts that left artifacts", watch.attempts().await? as u64);
    Ok(())
}
