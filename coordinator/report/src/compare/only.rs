//! What only one of two studies has.

use std::collections::BTreeSet;

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
    pub layers: Vec<Layer>,
    /// Offsets at which probes were fitted.
    pub offsets: Vec<u32>,
}

/// What the first study has and the second lacks.
pub fn only(studies: [&Study; 2], results: [&Results; 2]) -> Only {
    let [a, b] = [0, 1].map(|i| Has::of(studies[i], results[i], |place| same_place([studies[i], studies[1 - i]], place).is_some()));
    Only {
        models: beyond(a.models, &b.models),
        conditions: beyond(a.conditions, &b.conditions),
        probes: beyond(a.probes, &b.probes),
        layers: beyond(a.layers, &b.layers),
        offsets: beyond(a.offsets, &b.offsets),
    }
}

/// In the study's own order.
fn beyond<T: Ord>(ours: Vec<T>, theirs: &[T]) -> Vec<T> {
    ours.into_iter().filter(|one| !theirs.contains(one)).collect()
}

struct Has {
    models: Vec<String>,
    conditions: Vec<String>,
    probes: Vec<String>,
    layers: Vec<Layer>,
    offsets: Vec<u32>,
}

impl Has {
    fn of(study: &Study, results: &Results, shared: impl Fn(Place) -> bool) -> Has {
        let depth = results.depth.iter().chain(&results.best).filter(|curve| shared(curve.place));
        let layers: BTreeSet<Layer> = depth.flat_map(|curve| curve.points.iter().map(|point| point.layer)).collect();
        let lasting = results.persistence.iter().filter(|p| shared(p.place));
        let offsets: BTreeSet<u32> = lasting.flat_map(|p| p.decays.iter()).flat_map(|d| d.points.iter().map(|point| point.0)).collect();
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
            layers: layers.into_iter().collect(),
            offsets: offsets.into_iter().collect(),
        }
    }
}

impl Only {
    /// What it is, in words: `models a and b; layers 1 and 3`; none where there is nothing.
    pub fn words(&self) -> Option<String> {
        let layers: Vec<String> = self.layers.iter().map(|l| wording::layer(*l)).collect();
        let offsets: Vec<String> = self.offsets.iter().map(u32::to_string).collect();
        let all = [
            ("models", &self.models),
            ("conditions", &self.conditions),
            ("baselines and probes", &self.probes),
            ("layers", &layers),
            ("offsets", &offsets),
        ];
        let parts: Vec<String> =
            all.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what} {}", wording::list(names))).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
