//! What a study doesn't say anything about, and why: by what was asked for, and by how much of that is computed.

use std::collections::BTreeSet;

use limbic_proto::axis::Layer;
use limbic_proto::rows::Scheme;
use limbic_proto::spec::Spec;

use crate::results::Results;
use crate::study::{Prediction, Study};
use crate::wording::{counted, list};

/// The sentence about it; none where every section has something.
pub fn unmeasured(study: &Study, results: &Results) -> Option<String> {
    let why = Why { study, asked: study.asked() };
    let missing: Vec<(bool, &str, String)> = vec![
        (results.scale.is_empty(), "scale and depth", why.scale()),
        (!results.scale.is_empty() && results.depth.iter().all(|c| c.points.len() < 2), "depth", why.depth()),
        (results.persistence.is_empty(), "persistence", why.persistence()),
        (results.conditions.is_empty(), "conditions", why.conditions()),
        (results.verdicts.is_empty(), "malleability", why.malleability()),
        (results.geometry.places.is_empty(), "geometry of states", why.geometry()),
        (!results.comparisons.iter().any(|c| c.family == "controls"), "controls", why.controls()),
        (results.costs.is_empty(), "cost", "no unit has been committed yet".to_owned()),
    ];
    let missing: Vec<String> = missing.into_iter().filter(|m| m.0).map(|(_, what, why)| format!("{what} ({why})")).collect();
    (!missing.is_empty()).then(|| format!("Not measured here: {}.", list(&missing)))
}

/// What reasons are drawn from.
struct Why<'a> {
    study: &'a Study,
    /// The spec, and those that the sweep was extended from; none where they can't be read.
    asked: Vec<Spec>,
}

impl Why<'_> {
    /// The reason by what was asked: `not`, where nothing was; else what is in the way of what was.
    fn asked(&self, asked: impl Fn(&Spec) -> bool, not: &str, in_the_way: impl Fn() -> String) -> String {
        match self.asked.iter().any(asked) {
            _ if self.asked.is_empty() => "this study holds none".to_owned(),
            false => not.to_owned(),
            true => format!("asked for, but {}", in_the_way()),
        }
    }

    /// What is in the way of what probes are needed for: that none was asked for, that these can't be fitted, or units.
    fn of_fits(&self, ours: impl Fn(&Prediction) -> bool, otherwise: &str) -> String {
        if self.asked.iter().all(|spec| spec.probes.is_empty()) {
            return "it needs probes, and none was asked for".to_owned();
        }
        let ours: Vec<&Prediction> = self.study.predictions.iter().filter(|p| p.model.is_some() && p.layer.is_some() && ours(p)).collect();
        let absent = ours.iter().find_map(|p| p.fit.as_ref()?.absent.clone()).filter(|_| !ours.iter().any(|p| p.exists()));
        absent.map_or_else(|| self.units(otherwise), |reason| format!("there can be no fit: {reason}"))
    }

    /// What is in the way by the units: that they failed, that they aren't committed yet, or something else.
    fn units(&self, otherwise: &str) -> String {
        let (progress, failed) = (self.study.progress, self.study.quarantined.len());
        match progress.units.saturating_sub(progress.units_done) {
            0 => otherwise.to_owned(),
            missing if failed >= missing => format!("{} failed for good", counted(failed, "unit")),
            _ => "not computed yet".to_owned(),
        }
    }

    fn scale(&self) -> String {
        let otherwise = "no trained model has a probe at offset 0";
        self.asked(|spec| !spec.probes.is_empty(), "no probe was asked for", || self.of_fits(Prediction::at_home, otherwise))
    }

    fn depth(&self) -> String {
        let several = self.study.models.iter().any(|model| {
            let layers = self.asked.iter().filter_map(|spec| spec.layers.resolve(model.layers).ok());
            layers.flatten().collect::<BTreeSet<Layer>>().len() > 1
        });
        self.asked(|_| several, "one layer was asked for", || self.of_fits(Prediction::at_home, "one layer alone has probes"))
    }

    fn persistence(&self) -> String {
        let offsets: BTreeSet<u32> = self.asked.iter().flat_map(|spec| spec.offsets.iter().copied()).collect();
        let beyond = |p: &Prediction| p.at_home() && p.read_out.is_some_and(|r| r.offset > 0);
        let otherwise = "no probe stands at two offsets";
        self.asked(|_| offsets.len() > 1, "one offset was asked for", || self.of_fits(beyond, otherwise))
    }

    fn conditions(&self) -> String {
        match self.study.conditions.len() {
            0 | 1 => "one prompt condition was asked for".to_owned(),
            _ => self.asked(|_| true, "", || self.of_fits(Prediction::at_home, "no trained model has a probe at offset 0")),
        }
    }

    fn malleability(&self) -> String {
        let in_the_way = || match self.study.scheme {
            Scheme::Single => self.units("no test row's reply has a verdict"),
            _ => "it needs rows of one class".to_owned(),
        };
        self.asked(|spec| spec.judge.is_some(), "nobody was asked to judge replies", in_the_way)
    }

    fn geometry(&self) -> String {
        let in_the_way = || {
            if self.asked.iter().filter(|spec| spec.geometry).any(|spec| spec.offsets.contains(&0)) {
                self.of_fits(Prediction::at_home, "no states were described")
            } else {
                "it needs offset 0".to_owned()
            }
        };
        self.asked(|spec| spec.geometry, "not asked for", in_the_way)
    }

    fn controls(&self) -> String {
        let twins = self.study.models.iter().any(|model| model.twin_of.is_some());
        let in_the_way = || self.of_fits(|p| p.control.is_some(), "none stands beside a trained model's probe");
        self.asked(|spec| twins || !spec.controls.is_empty(), "of probes, none was asked for", in_the_way)
    }
}
