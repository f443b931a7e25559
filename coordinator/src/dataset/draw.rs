//! Draws without a random number generator: a row's rank for a purpose is the digest of purpose, seed and id.

use std::collections::BTreeMap;

use limbic_proto::key::Digest;
use limbic_proto::rows::Split;
use limbic_proto::spec::DatasetSpec;

use super::error::DatasetError;
use super::{Draft, Given, balance, stratified};

/// A number that looks random and depends on nothing but its arguments. Lower ranks are drawn first.
pub fn rank(purpose: &str, seed: u64, id: &str) -> u64 {
    Digest::of(format!("{purpose}\0{seed}\0{id}").as_bytes()).seed()
}

/// The given rows, lowest rank first.
pub(super) fn ranked(purpose: &str, seed: u64, drafts: &[Draft], mut indices: Vec<usize>) -> Vec<usize> {
    indices.sort_by_cached_key(|&i| (rank(purpose, seed, &drafts[i].id), i));
    indices
}

/// Rows by split and stratum (their class, as a rule); where splits are still to be made, all under train.
type Strata = BTreeMap<(Split, u32), Vec<usize>>;

/// At most the spec's limit of rows: given splits keep their shares of the rows, classes theirs within a split, and every
/// class enough rows to reach every split. Within a split, rows that balancing would cut anyway don't count, so a limited
/// dataset is not thinned twice. Rows are drawn, not groups: of a group, some may go.
pub(super) fn limit(
    spec: &DatasetSpec,
    classes: &[String],
    given: Given,
    drafts: Vec<Draft>,
    notes: &mut Vec<String>,
) -> Result<Vec<Draft>, DatasetError> {
    let total = drafts.len();
    let Some(limit) = spec.limit.filter(|limit| *limit < total) else { return Ok(drafts) };
    let mut strata = Strata::new();
    for (i, draft) in drafts.iter().enumerate() {
        strata.entry((draft.split.unwrap_or(Split::Train), draft.strata[0])).or_default().push(i);
    }
    let of_split = |split| strata.iter().filter(move |((s, _), _)| *s == split).map(|((_, class), rows)| (*class, rows.len()));
    let caps = Split::ALL.map(|split| balance::size(spec.balance, split, classes, of_split(split)));
    let useful: Vec<usize> = strata.iter().map(|((split, _), rows)| rows.len().min(caps[*split as usize])).collect();
    // A stratum must feed as many splits as are still to be made of it.
    let floor = |split: Split| match (given, split) {
        (Given::Nothing, _) => 3,
        (Given::TrainTest, Split::Train) => 2,
        _ => 1,
    };
    let floors: Vec<usize> = strata.keys().zip(&useful).map(|((split, _), rows)| floor(*split).min(*rows)).collect();
    let needed = floors.iter().sum();
    if limit < needed {
        return Err(DatasetError::LimitTooSmall { limit, needed });
    }
    let limit = limit.min(useful.iter().sum());
    let exact = exact(limit as f64 / total as f64, &strata, &useful);
    let mut kept = vec![false; total];
    for (rows, quota) in strata.into_values().zip(quotas(limit, &exact, &useful, &floors)) {
        for i in ranked("limit", spec.seed, &drafts, rows).into_iter().take(quota) {
            kept[i] = true;
        }
    }
    notes.push(format!("limit: {limit} of {total} rows were drawn, {}", stratified(spec)));
    Ok(drafts.into_iter().zip(kept).filter_map(|(draft, kept)| kept.then_some(draft)).collect())
}

/// What each stratum should give: its split's share of the rows, divided among the classes by their useful rows.
fn exact(fraction: f64, strata: &Strata, useful: &[usize]) -> Vec<f64> {
    let mut totals = [(0, 0); Split::ALL.len()];
    for (((split, _), rows), useful) in strata.iter().zip(useful) {
        let (all, of_use) = &mut totals[*split as usize];
        (*all, *of_use) = (*all + rows.len(), *of_use + useful);
    }
    let give = |split: Split, useful: usize| fraction * totals[split as usize].0 as f64 * useful as f64 / totals[split as usize].1 as f64;
    strata.keys().zip(useful).map(|((split, _), useful)| give(*split, *useful)).collect()
}

/// Quotas that sum to `limit`, within floors and sizes: the exact shares rounded down, then mended one by one where the
/// difference from the exact share is largest.
fn quotas(limit: usize, exact: &[f64], sizes: &[usize], floors: &[usize]) -> Vec<usize> {
    let mut quotas: Vec<usize> = (0..sizes.len()).map(|i| (exact[i].floor() as usize).clamp(floors[i], sizes[i])).collect();
    let lacking = |quotas: &[usize], i: usize| exact[i] - quotas[i] as f64;
    while quotas.iter().sum::<usize>() < limit {
        let open = (0..sizes.len()).filter(|&i| quotas[i] < sizes[i]);
        let next = open.max_by(|&a, &b| lacking(&quotas, a).total_cmp(&lacking(&quotas, b)).then(b.cmp(&a)));
        quotas[next.expect("the limit is at most the number of rows")] += 1;
    }
    while quotas.iter().sum::<usize>() > limit {
        let open = (0..sizes.len()).filter(|&i| quotas[i] > floors[i]);
        let next = open.min_by(|&a, &b| lacking(&quotas, a).total_cmp(&lacking(&quotas, b)).then(a.cmp(&b)));
        quotas[next.expect("the limit is not below the floors")] -= 1;
    }
    quotas
}
