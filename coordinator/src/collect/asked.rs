//! What models answered about every row of a sweep that does nothing but ask.

use limbic_core::plan::{Place, PlannedUnit};
use limbic_proto::spec::Baseline;
use limbic_proto::unit::{ANSWERS, Answer, SCORES};
use limbic_store::Store;

use super::likelihoods::likelihoods;
use super::predictions::bad;
use super::{CollectError, Fetched, all};
use crate::chains::Chains;
use crate::progress::Phase;
use crate::sweep::Sweep;

/// How likelihoods are read where texts without content calibrate them, and where they don't.
const CALIBRATED: [&str; 2] = ["zero-shot", "zero-shot-calibrated"];

/// The rows that a unit asks about, if it is one of the baseline, or without a baseline one that writes.
fn rows(planned: &PlannedUnit, asking: Option<Baseline>) -> Option<(usize, usize)> {
    match planned.place {
        Place::Prompt { baseline, rows, .. } if asking == Some(baseline) => Some(rows),
        Place::Writing { rows, .. } if asking.is_none() => Some(rows),
        _ => None,
    }
}

/// Every row's part of the committed results of one kind, in row order; none where a row was skipped or its unit isn't committed.
async fn of_rows<T: Clone>(
    store: &Store,
    sweep: &Sweep,
    chains: &Chains,
    (asking, artifact): (Option<Baseline>, &'static str),
    parse: impl Fn(&Fetched, usize) -> Result<Vec<Option<T>>, String>,
) -> Result<Vec<Option<T>>, CollectError> {
    let units: Vec<_> =
        chains.parts(sweep).into_iter().filter_map(|(key, planned)| Some((key, chains.standing(&key)?, rows(planned, asking)?))).collect();
    let phase = Phase::of(units.len(), "reading results");
    let fetched = all(store, units.iter().map(|(key, generation, _)| (*key, *generation, vec![artifact])).collect(), &phase).await?;
    drop(phase);
    let mut found = vec![None; sweep.rows.rows.len()];
    for (key, _, (from, to)) in units {
        let parsed = parse(&fetched[&key], to - from).map_err(|message| bad(&key, artifact, message))?;
        found[from..to].clone_from_slice(&parsed);
    }
    Ok(found)
}

/// The probabilities of the classes for every row of a sweep with the baseline `zero-shot`: calibrated where the spec has texts
/// without content.
///
/// # Errors
/// The store can't be read, or results are not what was committed.
pub async fn probabilities(store: &Store, sweep: &Sweep, chains: &Chains) -> Result<Vec<Option<Vec<f32>>>, CollectError> {
    let wanted = CALIBRATED[usize::from(!sweep.accepted.spec.zero_shot.content_free.is_empty())];
    let classes = sweep.rows.classes.len();
    of_rows(store, sweep, chains, (Some(Baseline::ZeroShot), SCORES), |fetched, rows| {
        let likelihoods = likelihoods(&fetched.artifacts[0], rows, classes)?;
        let readings = likelihoods.readings();
        let (_, reading) = readings.iter().find(|(name, _)| *name == wanted).ok_or("it has no texts without content")?;
        Ok((0..rows).map(reading).collect())
    })
    .await
}

/// What the model wrote about every row: under the baseline `zero-shot-json`, or without a baseline as `writing` asks.
///
/// # Errors
/// As [`probabilities`].
pub async fn written(store: &Store, sweep: &Sweep, chains: &Chains, asking: Option<Baseline>) -> Result<Vec<Option<String>>, CollectError> {
    of_rows(store, sweep, chains, (asking, ANSWERS), |fetched, rows| {
        let given: Vec<Answer> = serde_json::from_slice(&fetched.artifacts[0]).map_err(|e| e.to_string())?;
        if given.len() != rows {
            return Err(format!("{} answers for {rows} rows", given.len()));
        }
        Ok(given.into_iter().map(|answer| (!answer.skipped).then_some(answer.text)).collect())
    })
    .await
}
