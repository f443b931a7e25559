//! A fitted probe of a sweep as a file of its own: weights, standardiser, and what is needed to read new texts with it.

use std::collections::HashMap;

use limbic_core::plan::{Place, PlannedUnit};
use limbic_core::selector::Selector;
use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::card::{CARD, ProbeCard};
use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::{FITS, FitRecord, WEIGHTS};
use limbic_store::Store;
use safetensors::SafeTensors;

use crate::chains::Chains;
use crate::failure::Failure;
use crate::show;
use crate::sweep::Sweep;

/// Names of fits that an error lists.
const SHOWN: usize = 12;

/// The file of the one probe that is meant: of a fit unit (the beginning of its key, or terms as `limbic show` takes them)
/// the fit of that name, else that of the logistic (or ridge, or first) probe at the last prompt token, or at the offset that a term
/// names.
///
/// # Errors
/// None or several units fit, the unit isn't committed, it has no such probe, or the store can't be read.
pub async fn probe(store: &Store, sweep: &Sweep, wanted: &str, fit: Option<&str>) -> Result<Vec<u8>, Failure> {
    let unit = unit(sweep, wanted)?;
    let (planned, chains) = (&sweep.plan.units[&unit], Chains::read(store, sweep).await?);
    let mut known = Vec::new();
    for (key, part) in chains.results(unit, planned) {
        let Some(generation) = chains.standing(&key) else { continue };
        let Some(Commit::Done(done)) = store.commit(&key, generation).await? else { continue };
        let records: Vec<FitRecord> =
            serde_json::from_slice(&store.artifact(&key, &done, FITS).await?).map_err(|e| corrupt(part, FITS, e))?;
        let kept = |r: &FitRecord| r.absent.is_none() && r.name.control.is_none() && r.name.fitted_at.is_none();
        for record in records.into_iter().filter(kept) {
            known.push((key, done.clone(), record));
        }
    }
    let found = match fit {
        Some(name) => known.iter().find(|(_, _, record)| record.name.tensor() == name),
        None => {
            let terms = wanted.parse::<Selector>().unwrap_or_default();
            let meant = |record: &FitRecord| record.name.read_out.is_none_or(|read_out| terms.means_offset(read_out.offset));
            // As in reports, the logistic probe speaks for the others.
            known.iter().filter(|(_, _, record)| meant(record)).min_by_key(|(_, _, record)| {
                let rank = ["logistic", "ridge"].iter().position(|probe| *probe == record.name.probe).unwrap_or(2);
                let context = record.name.read_out.map(|read_out| read_out.context);
                (record.name.read_out != Some(ReadOut::LAST), context != Some(Context::Full), rank)
            })
        }
    };
    let Some((key, done, record)) = found else {
        let names: Vec<String> = known.iter().map(|(_, _, record)| record.name.tensor()).collect();
        return Err(match (fit, names.is_empty()) {
            (_, true) => Failure::user(format_args!(
                "{}: no probe of it is committed yet; `limbic status` says where the sweep stands",
                planned.unit.hints.title
            )),
            (asked, false) => {
                let (shown, others) = (names[..names.len().min(SHOWN)].join(", "), names.len().saturating_sub(SHOWN));
                let others = if others > 0 { format!(" and {others} more") } else { String::new() };
                let asked = asked.map_or_else(|| format!("`{wanted}`"), |name| format!("--fit {name}"));
                Failure::user(format_args!("{asked}: {} has {shown}{others}", planned.unit.hints.title))
            }
        });
    };
    let weights = store.artifact(key, done, WEIGHTS).await?;
    file(&card(sweep, planned, key, record), &weights).map_err(|message| corrupt(planned, WEIGHTS, message))
}

/// The fit unit that is meant.
fn unit(sweep: &Sweep, wanted: &str) -> Result<UnitKey, Failure> {
    let on_states = |key: &UnitKey| matches!(sweep.plan.units[key].place, Place::Fit { .. });
    let fitting: Vec<UnitKey> = show::meant(&sweep.plan, sweep.plan.order.iter().copied(), wanted)?.into_iter().filter(on_states).collect();
    let titles: Vec<&str> = fitting.iter().take(5).map(|key| sweep.plan.units[key].unit.hints.title.as_str()).collect();
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::user(format_args!("`{wanted}`: no unit that it means fits probes on states; try `limbic show 'kind=fit'`"))),
        several => {
            let others = if several.len() > titles.len() { ", …" } else { "" };
            // Fits that an extension added have the same names as those before, and other offsets.
            let offset = if titles.windows(2).any(|two| two[0] == two[1]) { " offset=K" } else { "" };
            let seed = if sweep.plan.sampling_seeds().len() > 1 { " sampling_seed=N" } else { "" };
            Err(Failure::user(format_args!(
                "`{wanted}` means {} units ({}{others}); name one, as in `model=NAME condition=NAME layer=N{offset}{seed}`",
                several.len(),
                titles.join(", ")
            )))
        }
    }
}

fn card(sweep: &Sweep, planned: &PlannedUnit, key: &UnitKey, record: &FitRecord) -> ProbeCard {
    let Place::Fit { model, condition, layer, .. } = planned.place else { unreachable!("the unit fits probes on states") };
    let (model, condition) = (&sweep.plan.models[model], &sweep.plan.conditions[condition]);
    ProbeCard {
        probe: record.name.probe.clone(),
        fit: record.name.tensor(),
        sweep: sweep.id.clone(),
        unit: key.hex(),
        scheme: sweep.rows.scheme,
        classes: sweep.rows.classes.clone(),
        model: model.name.clone(),
        source: model.source.clone(),
        digest: model.digest,
        dtype: model.dtype,
        random_weights: model.random_weights,
        condition: condition.name.clone(),
        prompt: condition.prompt(),
        layer,
        read_out: record.name.read_out.expect("a probe on states has a read-out"),
    }
}

/// The fit's tensors out of the unit's, with the card.
fn file(card: &ProbeCard, weights: &[u8]) -> Result<Vec<u8>, String> {
    let prefix = format!("{}.", card.fit);
    let all = SafeTensors::deserialize(weights).map_err(|e| e.to_string())?;
    let own: Vec<_> = all.iter().filter_map(|(name, view)| Some((name.strip_prefix(&prefix)?.to_owned(), view))).collect();
    let notes = HashMap::from([(CARD.to_owned(), serde_json::to_string(card).expect("a card serializes"))]);
    safetensors::serialize(own, Some(notes)).map_err(|e| e.to_string())
}

fn corrupt(planned: &PlannedUnit, artifact: &str, message: impl std::fmt::Display) -> Failure {
    Failure::user(format_args!("{}: {artifact} can't be read: {message}", planned.unit.hints.title))
}
