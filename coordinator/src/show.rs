//! What is known of single units: where they stand, what went wrong with them, what came out.

use limbic_core::plan::Plan;
use limbic_core::selector::Selector;
use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::status::{AttemptState, ShownUnit, UnitView};
use limbic_proto::unit::STATES;
use limbic_store::{Store, StoreError};

use crate::failure::Failure;
use crate::progress::{bytes, count, seconds};

/// The units that somebody means: by the beginning of a key, or by a selector.
///
/// # Errors
/// None fits.
pub fn meant(plan: &Plan, wanted: &str) -> Result<Vec<UnitKey>, Failure> {
    if wanted.contains('=') {
        return wanted.parse::<Selector>().and_then(|selector| selector.resolve(plan)).map_err(Failure::user);
    }
    let fitting: Vec<UnitKey> = plan.order.iter().filter(|key| key.hex().starts_with(wanted)).copied().collect();
    if fitting.is_empty() || wanted.is_empty() {
        return Err(Failure::user(format_args!(
            "unit `{wanted}`: no unit of the sweep has a key that begins so; write more of it, or a selector such as `kind=fit layer=3`"
        )));
    }
    Ok(fitting)
}

/// A unit's view with the commit of the generation that it names.
///
/// # Errors
/// The store can't be read.
pub async fn with_commit(store: &Store, key: &UnitKey, view: UnitView) -> Result<ShownUnit, StoreError> {
    let commit = store.commit(key, view.generation).await?;
    let released = commit.is_some() && store.is_released(key, view.generation).await?;
    Ok(ShownUnit { view, commit, released })
}

/// One unit for people.
pub fn in_words(unit: &ShownUnit) -> String {
    let ShownUnit { view, commit, released } = unit;
    let mut text = format!("unit      {}\n          {}: {}\n", view.unit, view.title, view.phase);
    text += &format!(
        "units     reads {} ({} done), read by {} ({} done)\n",
        view.dependencies.total, view.dependencies.committed, view.dependants.total, view.dependants.committed
    );
    text +=
        &format!("budgets   {} failed, {} lost, {} found corrupt; generation {}\n", view.fails, view.losses, view.voids, view.generation);
    if let Some(error) = &view.error {
        text += &format!("error     {error}\n");
    }
    for attempt in &view.attempts {
        let state = match attempt.state {
            AttemptState::Running => format!("running, {:.0} %", 100.0 * attempt.share.unwrap_or(0.0)),
            AttemptState::Failed => format!("failed: {}", attempt.error.as_deref().unwrap_or("it did not say why")),
            AttemptState::Lost => "lost with its worker".to_owned(),
        };
        text += &format!("attempt   {} on {}: {state}\n", attempt.attempt, attempt.worker);
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
        }
        Some(Commit::Split { children, .. }) => text += &format!("commit    split into {} units\n", children.len()),
        Some(Commit::Void { reason, .. }) => text += &format!("commit    void: {reason}\n"),
    }
    text
}
