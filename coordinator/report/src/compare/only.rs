//! What only one of two studies has.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::Layer;
use serde::Serialize;

use super::{name, same_place, with_pooling};
use crate::results::{Place, Results};
use crate::study::Study;
use crate::wording;

/// What a study has that the other one lacks. Layers and offsets are those of models and conditions that both have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Only {
    /// Names of models.
    pub models: Vec<String>,
    /// Names of conditions.
    pub conditions: Vec<String>,
    /// Baselines and probes, with their pooling where it isn't the last token's.
    pub probes: Vec<String>,
    /// Layers at which probes were fitted.
    pub layers: Vec<Beyond<Layer>>,
    /// Offsets at which probes were fitted.
    pub offsets: Vec<Beyond<u32>>,
}

/// A layer or an offset that the other study lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Beyond<T> {
    /// Which.
    pub at: T,
    /// Under how many models and conditions that both studies have.
    pub places: usize,
    /// Of how many.
    pub of: usize,
}

/// What the first study has and the second lacks.
pub fn only(studies: [&Study; 2], results: [&Results; 2]) -> Only {
    let [a, b] = [0, 1].map(|i| Has::of(studies[i], results[i]));
    let shared: Vec<(Place, Place)> = a
        .layers
        .keys()
        .filter_map(|place| Some((*place, same_place(studies, *place)?)))
        .filter(|(_, other)| b.layers.contains_key(other))
        .collect();
    Only {
        models: beyond(a.models, &b.models),
        conditions: beyond(a.conditions, &b.conditions),
        probes: beyond(a.probes, &b.probes),
        layers: by_place(&shared, &a.layers, &b.layers),
        offsets: by_place(&shared, &a.offsets, &b.offsets),
    }
}

/// In the study's own order.
fn beyond<T: Ord>(ours: Vec<T>, theirs: &[T]) -> Vec<T> {
    ours.into_iter().filter(|one| !theirs.contains(one)).collect()
}

/// What there is at places of the first study and not at the same places of the second, ascending.
fn by_place<T: Ord + Copy>(shared: &[(Place, Place)], ours: &At<T>, theirs: &At<T>) -> Vec<Beyond<T>> {
    let mut places: BTreeMap<T, usize> = BTreeMap::new();
    for (here, there) in shared {
        let other = theirs.get(there);
        let lacking = ours.get(here).into_iter().flatten().filter(|one| !other.is_some_and(|other| other.contains(one)));
        lacking.for_each(|one| *places.entry(*one).or_default() += 1);
    }
    places.into_iter().map(|(at, places)| Beyond { at, places, of: shared.len() }).collect()
}

/// What there is at each place.
type At<T> = BTreeMap<Place, BTreeSet<T>>;

struct Has {
    models: Vec<String>,
    conditions: Vec<String>,
    probes: Vec<String>,
    layers: At<Layer>,
    offsets: At<u32>,
}

impl Has {
    fn of(study: &Study, results: &Results) -> Has {
        let (mut layers, mut offsets): (At<Layer>, At<u32>) = (At::new(), At::new());
        for curve in results.depth.iter().chain(&results.best) {
            layers.entry(curve.place).or_default().extend(curve.points.iter().map(|point| point.layer));
            // Also where nothing was fitted beyond the prompt.
            offsets.entry(curve.place).or_default().insert(0);
        }
        for p in &results.persistence {
            offsets.entry(p.place).or_default().extend(p.decays.iter().flat_map(|d| d.points.iter().map(|point| point.0)));
        }
        let mut probes: Vec<String> = Vec::new();
        for line in results.baselines.iter().chain(&results.probes) {
            let (probe, _, _, pooling) = name(study, line);
            let probe = with_pooling(probe, pooling);
            if !probes.contains(&probe) {
                probes.push(probe);
            }
        }
        Has {
            models: study.models.iter().map(|m| m.name.clone()).collect(),
            conditions: study.conditions.iter().map(|c| c.name.clone()).collect(),
            probes,
            layers,
            offsets,
        }
    }
}

impl<T> Beyond<T> {
    /// `3`, or `3 (in 2 of 6 models and conditions)`.
    fn words(&self, at: impl Fn(&T) -> String) -> String {
        match (self.places, self.of) {
            (places, of) if places == of => at(&self.at),
            (places, of) => format!("{} (in {places} of {of} models and conditions)", at(&self.at)),
        }
    }
}

impl Only {
    /// What it is, in words: `models a and b; layers 1 and 3`; none where there is nothing.
    pub fn words(&self) -> Option<String> {
        let layers: Vec<String> = self.layers.iter().map(|l| l.words(|l| wording::layer(*l))).collect();
        let offsets: Vec<String> = self.offsets.iter().map(|o| o.words(u32::to_string)).collect();
        let all = [
            ("model", &self.models),
            ("condition", &self.conditions),
            ("baseline or probe", &self.probes),
            ("layer", &layers),
            ("offset", &offsets),
        ];
        let several = |what: &str, n: usize| match (what, n) {
            (one, 1) => one.to_owned(),
            ("baseline or probe", _) => "baselines and probes".to_owned(),
            (one, _) => format!("{one}s"),
        };
        let words = |(what, names): &(&str, &Vec<String>)| format!("{} {}", several(what, names.len()), wording::list(names));
        let parts: Vec<String> = all.iter().filter(|(_, names)| !names.is_empty()).map(words).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
