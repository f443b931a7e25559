//! What is known of single units: where they stand, what went wrong with them, what came out.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use limbic_core::plan::Plan;
use limbic_core::selector::Selector;
use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptLog, AttemptState, ShownUnit, UnitView, Voided};
use limbic_proto::unit::STATES;
use limbic_store::{Store, StoreError};

use crate::failure::Failure;
use crate::progress::{bytes, count, seconds};

/// The units that somebody means: by the beginning of a key, of one of `units`, or by a selector over the plan. `units` may
/// hold halves of planned units, too.
///
/// # Errors
/// None fits.
pub fn meant(plan: &Plan, units: impl IntoIterator<Item = UnitKey>, wanted: &str) -> Result<Vec<UnitKey>, Failure> {
    if wanted.contains('=') {
        return wanted.parse::<Selector>().and_then(|selector| selector.resolve(plan)).map_err(Failure::user);
    }
    let fitting: Vec<UnitKey> = units.into_iter().filter(|key| key.hex().starts_with(wanted)).collect();
    if fitting.is_empty() || wanted.is_empty() {
        return Err(Failure::user(format_args!(
            "unit `{wanted}`: no unit of the sweep has a key that begins so; write more of it, or a selector such as `kind=fit layer=3`"
        )));
    }
    Ok(fitting)
}

/// How many units' objects are read at once.
const READERS: usize = 8;

/// Units' views, each with the commit of the generation that it names and the last lines of its attempts' logs.
///
/// # Errors
/// The store can't be read.
pub async fn with_objects(store: &Store, views: Vec<(UnitKey, UnitView)>, log_lines: u32) -> Result<Vec<ShownUnit>, StoreError> {
    let read = views.into_iter().map(|(key, view)| async move {
        let (commit, logs, voided) =
            tokio::try_join!(store.commit(&key, view.generation), store.logs(&key), voided(store, &key, view.generation))?;
        let released = commit.is_some() && store.is_released(&key, view.generation).await?;
        let logs = logs.into_iter().map(|log| AttemptLog::tail(log.attempt, &log.text, log_lines)).collect();
        Ok(ShownUnit { view, commit, voided, released, logs })
    });
    stream::iter(read).buffered(READERS).try_collect().await
}

/// The most results of earlier generations that are shown.
const MOST_VOIDED: u32 = 100;

/// A unit's last results before a generation.
async fn voided(store: &Store, unit: &UnitKey, before: u32) -> Result<Vec<Voided>, StoreError> {
    let mut all = Vec::new();
    for generation in before.saturating_sub(MOST_VOIDED)..before {
        let Some(reason) = store.voided(unit, generation).await? else { continue };
        let attempt = match store.commit(unit, generation).await? {
            Some(Commit::Done(done)) => Some(done.attempt),
            _ => None,
        };
        all.push(Voided { generation, attempt, reason });
    }
    Ok(all)
}

/// How much of a budget is spent: `2 of 3`, or `2` where nobody said how large it is.
pub fn of_budget(spent: u32, budget: u32) -> String {
    if budget == 0 { spent.to_string() } else { format!("{spent} of {budget}") }
}

/// One unit for people.
pub fn in_words(unit: &ShownUnit) -> String {
    let ShownUnit { view, commit, voided, released, logs } = unit;
    let mut logs: BTreeMap<&str, &AttemptLog> = logs.iter().map(|log| (log.attempt.as_str(), log)).collect();
    let mut log = |attempt: &str| logs.remove(attempt).map(log_in_words).unwrap_or_default();
    let mut text = format!("unit      {}\n          {}: {}\n", view.unit, view.title, view.phase);
    text += &format!(
        "units     reads {} ({} done), read by {} ({} done)\n",
        view.dependencies.total, view.dependencies.committed, view.dependants.total, view.dependants.committed
    );
    text += &format!(
        "budgets   {} failed, {} lost, {} found corrupt; generation {}\n",
        of_budget(view.fails, view.fail_budget),
        of_budget(view.losses, view.lost_budget),
        of_budget(view.voids, view.fail_budget),
        view.generation
    );
    if let Some(error) = &view.error {
        text += &format!("error     {error}\n");
    }
    for attempt in &view.attempts {
        let state = match attempt.state {
            AttemptState::Running => format!("running, {:.0} %", 100.0 * attempt.share.unwrap_or(0.0)),
            AttemptState::Failed => format!("failed: {}", attempt.error.as_deref().unwrap_or("it did not say why")),
            AttemptState::Lost => "lost with its worker".to_owned(),
        };
        text += &format!("attempt   {} on {}: {state}\n{}", attempt.attempt, attempt.worker, log(&attempt.attempt));
    }
    for Voided { generation, attempt, reason } in voided {
        let attempt = attempt.as_deref().unwrap_or("a split");
        text += &format!("voided    {attempt}, generation {generation}: {reason}\n{}", log(attempt));
    }
    match commit {
        None => {}
        Some(Commit::Done(done)) => {
            let p = &done.provenance;
            text += &format!(
                "commit    {} on {} ({}, {}), {}, {} tokens\n",
                done.attempt,
                p.worker,
                p.device,
                p.software,
                seconds(p.seconds),
                count(p.tokens as f64)
            );
            for artifact in &done.artifacts {
                let gone = if *released && artifact.name == STATES { "; released, so not there any more" } else { "" };
                text += &format!("artifact  {} ({}, BLAKE3 {}{gone})\n", artifact.name, bytes(artifact.len), artifact.blake3);
            }
            text += &log(&done.attempt);
        }
        Some(Commit::Split { children, .. }) => {
            text += &format!("commit    split into {} units\n", children.len());
            text = children.iter().fold(text, |text, child| text + &format!("half      {child}\n"));
        }
        Some(Commit::Void { reason, .. }) => text += &format!("commit    void: {reason}\n"),
    }
    // Of these only their logs are known: attempts that were stopped, or that lost a race.
    for (attempt, log) in logs {
        text += &format!("attempt   {attempt} ended without a result that stands\n{}", log_in_words(log));
    }
    text
}

fn log_in_words(log: &AttemptLog) -> String {
    let left_out = match log.left_out {
        0 => String::new(),
        n => format!("log       … (lines before these: {n}; --logs shows them)\n"),
    };
    log.lines.iter().fold(left_out, |text, line| text + &format!("log       {line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempts_log_stands_behind_it_whatever_became_of_it() {
        let text = (1..=9).map(|n| format!("line {n}\n")).collect::<String>();
        let unit: ShownUnit = serde_json::from_value(serde_json::json!({
            "sweep": "s", "unit": "aa", "title": "extract a", "kind": "extract", "phase": "committed", "generation": 1,
            "fails": 1, "losses": 1, "voids": 0, "error": null,
            "attempts": [
                {"attempt": "1-1", "worker": "w", "state": "failed", "error": "no memory", "share": null},
                {"attempt": "1-2", "worker": "w", "state": "lost", "error": null, "share": null},
            ],
            "dependencies": {"total": 0, "committed": 0}, "dependants": {"total": 0, "committed": 0},
            "commit": {"state": "done", "nonce": "n", "attempt": "1-4", "artifacts": [], "provenance":
                {"worker": "w", "software": "0", "device": "cpu", "seconds": 1.0, "tokens": 0, "counts": {}}},
            "voided": [{"generation": 0, "attempt": "1-0", "reason": "states.safetensors is corrupt"}],
            "logs": [AttemptLog::tail("1-0".into(), "first\n", 2), AttemptLog::tail("1-1".into(), &text, 2), AttemptLog::tail("1-3".into(), "given back\n", 2), AttemptLog::tail("1-4".into(), "done\n", 2)],
        }))
        .unwrap();
        let words = in_words(&unit);
        let expected = [
            "attempt   1-1 on w: failed: no memory",
            "log       … (lines before these: 7; --logs shows them)",
            "log       line 8",
            "log       line 9",
            "attempt   1-2 on w: lost with its worker",
            "voided    1-0, generation 0: states.safetensors is corrupt",
            "log       first",
            "commit    1-4 on w (cpu, 0), 1 s, 0 tokens",
            "log       done",
            "attempt   1-3 ended without a result that stands",
            "log       given back",
        ];
        assert_eq!(words.lines().skip(4).collect::<Vec<_>>(), expected, "{words}");
        assert_eq!(AttemptLog::tail("1-1".into(), &text, u32::MAX).left_out, 0);
    }
}
